/* What vendors tell: the clock, events, pictures, and the interface. */
#include "check.h"

#define NOWHERE "rtsp://127.0.0.1:9/nowhere"

static void without_cms(void)
{
    edc_stream stream;
    edc_camera camera = start(configure(NOWHERE), &stream);
    CHECK(edc_set_clock(camera, 1795386123000000, EDC_CLOCK_NTP) == EDC_OK);
    CHECK(edc_set_clock(camera, -1, EDC_CLOCK_RTC) == EDC_ERR_INVALID);
    CHECK(edc_set_clock(camera, INT64_MIN, EDC_CLOCK_UNSET) == EDC_OK);
    CHECK(edc_set_clock(camera, INT64_MAX, EDC_CLOCK_SERVER) == EDC_OK);
    CHECK(edc_set_clock(camera, 0, 4) == EDC_ERR_INVALID);
    CHECK(edc_set_clock(0, 0, EDC_CLOCK_RTC) == EDC_ERR_HANDLE);
    CHECK(edc_send_event(camera, "door.open", EDC_LEVEL_INFO, 1, NULL) == EDC_ERR_UNSUPPORTED);
    CHECK(edc_send_health(camera, EDC_LEVEL_INFO, NULL) == EDC_ERR_UNSUPPORTED);
    CHECK(edc_send_snapshot(camera, 1, (const uint8_t *)"x", 1) == EDC_ERR_UNSUPPORTED);
    CHECK(edc_destroy(camera) == EDC_OK);
}

static void with_cms(void)
{
    static const uint8_t large[EDC_MAX_SNAPSHOT + 1];
    edc_config *config = configure(NOWHERE);
    edc_camera camera;
    edc_stream stream;
    char json[2100];
    int i;
    CHECK(edc_config_add_cms(config, "127.0.0.1:9") == EDC_OK);
    CHECK(edc_config_set_key(config, "key") == EDC_OK);
    CHECK(edc_config_set_commands(config, EDC_COMMAND_SNAPSHOT << 1) == EDC_ERR_INVALID);
    CHECK(edc_config_set_commands(config, EDC_COMMAND_SNAPSHOT) == EDC_OK);
    camera = start(config, &stream);

    CHECK(edc_send_event(camera, NULL, EDC_LEVEL_INFO, 0, NULL) == EDC_ERR_INVALID);
    CHECK(edc_send_event(camera, "No Such", EDC_LEVEL_INFO, 0, NULL) == EDC_ERR_INVALID);
    CHECK(strstr(edc_last_error(), "a-z"));
    CHECK(edc_send_event(camera, "door", 3, 0, NULL) == EDC_ERR_INVALID);
    CHECK(edc_send_event(camera, "door", EDC_LEVEL_INFO, 0, "[1]") == EDC_ERR_INVALID);
    CHECK(edc_send_event(camera, "door", EDC_LEVEL_INFO, 0, "{\"a\":\xff}") == EDC_ERR_INVALID);
    memset(json, 'x', sizeof json);
    memcpy(json, "{\"a\":\"", 6);
    memcpy(json + sizeof json - 3, "\"}", 3);
    CHECK(edc_send_event(camera, "door", EDC_LEVEL_INFO, 0, json) == EDC_ERR_INVALID);
    CHECK(edc_send_health(camera, -1, NULL) == EDC_ERR_INVALID);
    CHECK(edc_send_health(camera, EDC_LEVEL_CRITICAL, "{\"celsius\":91}") == EDC_OK);
    /* Either it is taken, or there are too many at once. */
    for (i = 0; i < 1000; i++) {
        int32_t code = edc_send_event(camera, "door", EDC_LEVEL_WARNING, 1, "{\"open\":true}");
        CHECK(code == EDC_OK || code == EDC_ERR_AGAIN);
        CHECK(i > 0 || code == EDC_OK);
    }
    CHECK(edc_send_snapshot(camera, 1, large, 0) == EDC_ERR_INVALID);
    CHECK(edc_send_snapshot(camera, 1, NULL, 7) == EDC_ERR_INVALID);
    CHECK(edc_send_snapshot(camera, 1, large, sizeof large) == EDC_ERR_INVALID);
    CHECK(edc_send_snapshot(camera, 2, large, 7) == EDC_ERR_INVALID);
    for (i = 0; i < 100; i++)
        CHECK(edc_send_snapshot(camera, 1, large, EDC_MAX_SNAPSHOT) == EDC_OK);
    CHECK(edc_destroy(camera) == EDC_OK);
    CHECK(edc_send_health(camera, EDC_LEVEL_INFO, NULL) == EDC_ERR_HANDLE);
}

static void interface(void)
{
    edc_config *config = configure(NOWHERE);
    edc_event event = EDC_INIT(event);
    edc_camera camera = 0;
    edc_stream stream;
    CHECK(edc_config_set_interface(config, NULL) == EDC_ERR_INVALID);
    CHECK(edc_config_set_interface(config, "a/b") == EDC_OK);
    CHECK(edc_start(config, &camera) == EDC_ERR_CONFIG && strstr(edc_last_error(), "interface"));
    CHECK(edc_config_set_interface(config, "nothere0") == EDC_OK);
    camera = start(config, &stream);
    do
        CHECK(edc_next_event(camera, 20000, &event) == EDC_OK);
    while (event.kind != EDC_EVENT_PUSH_FAILED);
    CHECK(strstr(event.text, "interface \"nothere0\""));
    CHECK(edc_destroy(camera) == EDC_OK);
}

int main(void)
{
    without_cms();
    with_cms();
    interface();
    return 0;
}
