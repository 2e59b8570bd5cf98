/* destroy URL: cameras are destroyed while other threads push into them, again and again. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_int pushed;

static void *encoder(void *stream)
{
    int64_t pts = 0;
    int32_t code;
    while ((code = push(*(edc_stream *)stream, pts += 40000, 1, 3000)) >= 0)
        atomic_fetch_add(&pushed, 1);
    CHECK(code == EDC_ERR_HANDLE);
    return NULL;
}

static void *second_encoder(void *stream)
{
    int32_t code;
    do
        code = push(*(edc_stream *)stream, 0, 1, 3000);
    while (code >= 0 || code == EDC_ERR_BUSY);
    CHECK(code == EDC_ERR_HANDLE);
    return NULL;
}

int main(int argc, char **argv)
{
    int round;
    CHECK(argc == 2);
    for (round = 0; round < 8; round++) {
        edc_config *config = configure(argv[1]);
        edc_stream streams[2];
        pthread_t threads[3];
        edc_camera camera;
        int until, i;

        CHECK(edc_config_add_stream(config, 1, EDC_CODEC_H264) == 1);
        camera = start(config, &streams[0]);
        CHECK(edc_get_stream(camera, 1, &streams[1]) == EDC_OK);
        wait_for(camera, EDC_EVENT_PUSH_STARTED);
        until = atomic_load(&pushed) + 50;
        CHECK(pthread_create(&threads[0], NULL, encoder, &streams[0]) == 0);
        CHECK(pthread_create(&threads[1], NULL, second_encoder, &streams[1]) == 0);
        CHECK(pthread_create(&threads[2], NULL, second_encoder, &streams[1]) == 0);
        while (atomic_load(&pushed) < until)
            sched_yield();
        CHECK(edc_destroy(camera) == EDC_OK);
        for (i = 0; i < 3; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
    }
    return 0;
}
