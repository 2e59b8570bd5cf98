/* unproven CMS: it lets everybody in, and proves nothing. */
#include "check.h"

static edc_camera at(const char *cms, int32_t unproven)
{
    edc_stream stream;
    edc_config *config = edc_config_new();
    CHECK(edc_config_set_serial(config, "test") == EDC_OK);
    CHECK(edc_config_set_key(config, "a key") == EDC_OK);
    CHECK(edc_config_add_cms(config, cms) == EDC_OK);
    CHECK(edc_config_add_stream(config, 1, EDC_CODEC_H264) == 0);
    CHECK(edc_config_set_unproven_cms(NULL, unproven) == EDC_ERR_INVALID);
    if (unproven)
        CHECK(edc_config_set_unproven_cms(config, unproven) == EDC_OK);
    return start(config, &stream);
}

int main(int argc, char **argv)
{
    edc_event event = EDC_INIT(event);
    edc_camera camera;

    CHECK(argc == 2);
    camera = at(argv[1], 0);
    do
        CHECK(edc_next_event(camera, 20000, &event) == EDC_OK);
    while (event.kind == EDC_EVENT_DISCONNECTED);
    CHECK(event.kind == EDC_EVENT_LOGIN_REFUSED && strstr(event.text, "without proof"));
    CHECK(strcmp(event.detail, argv[1]) == 0 && event.value >= 25000);
    CHECK(edc_destroy(camera) == EDC_OK);

    camera = at(argv[1], 1);
    wait_for(camera, EDC_EVENT_REGISTERED);
    CHECK(edc_destroy(camera) == EDC_OK);
    return 0;
}
