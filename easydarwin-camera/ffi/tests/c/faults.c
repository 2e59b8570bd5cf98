/* faults URL: panics inside the library are told and healed, and nothing is printed. */
#include "check.h"

int32_t edc_test_panic(edc_camera camera);
int32_t edc_test_panic_here(void);

int main(int argc, char **argv)
{
    edc_stream stream;
    edc_camera camera;
    edc_event event = EDC_INIT(event);
    edc_stats stats = EDC_INIT(stats);
    int32_t verdict;

    CHECK(argc == 2);
    CHECK(edc_test_panic_here() == EDC_ERR_PANIC);
    CHECK(strstr(edc_last_error(), "injected by a test"));

    camera = start(configure(argv[1]), &stream);
    wait_for(camera, EDC_EVENT_PUSH_STARTED);
    CHECK(push(stream, 0, 1, 1000) == EDC_QUEUED);

    CHECK(edc_test_panic(camera) == EDC_OK);
    do
        CHECK(edc_next_event(camera, 20000, &event) == EDC_OK);
    while (event.kind != EDC_EVENT_FAULT);
    CHECK(strstr(event.text, "injected by a test") && event.value == 1000);
    /* Until it is built anew. */
    CHECK(push(stream, 1, 1, 1000) & EDC_DROPPED_CLOSED);

    wait_for(camera, EDC_EVENT_PUSH_STARTED);
    verdict = push(stream, 40000, 1, 1000);
    CHECK(verdict == EDC_QUEUED);
    CHECK(edc_get_stats(stream, &stats) == EDC_OK);
    CHECK(stats.faults == 1 && stats.pushed == 3 && stats.dropped_closed >= 1);

    /* Destroyed while it waits to start anew. */
    CHECK(edc_test_panic(camera) == EDC_OK);
    wait_for(camera, EDC_EVENT_FAULT);
    CHECK(edc_destroy(camera) == EDC_OK);
    return 0;
}
