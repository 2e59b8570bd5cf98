/* reset URL: the peer resets the connection in the middle of a frame, while SIGPIPE would end the
 * process. */
#include "check.h"
#include <signal.h>

int main(int argc, char **argv)
{
    edc_stream stream;
    edc_camera camera;
    edc_event event = EDC_INIT(event);
    int64_t pts = 0;
    int32_t code;

    CHECK(argc == 2 && signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    camera = start(configure(argv[1]), &stream);
    wait_for(camera, EDC_EVENT_PUSH_STARTED);
    do {
        CHECK(push(stream, pts += 40000, 1, 200000) >= 0);
        code = edc_next_event(camera, 10, &event);
        CHECK(code == EDC_OK || code == EDC_ERR_TIMEOUT);
    } while (code != EDC_OK || event.kind != EDC_EVENT_PUSH_FAILED);
    /* And once more, by what is waiting in the queue. */
    wait_for(camera, EDC_EVENT_PUSH_STARTED);
    CHECK(push(stream, pts + 40000, 1, 200000) >= 0);
    wait_for(camera, EDC_EVENT_PUSH_FAILED);
    CHECK(edc_destroy(camera) == EDC_OK);
    return 0;
}
