/* What the tests in C share: they end at the first thing that is not as it should be. */
#ifndef CHECK_H
#define CHECK_H

#include <easydarwin_camera.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition,           \
                    edc_last_error());                                                            \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* A configuration that pushes one H.264 stream. */
__attribute__((unused)) static edc_config *configure(const char *url)
{
    edc_config *config = edc_config_new();
    CHECK(config);
    CHECK(edc_config_set_serial(config, "test") == EDC_OK);
    CHECK(edc_config_set_push_to(config, url) == EDC_OK);
    CHECK(edc_config_add_stream(config, 1, EDC_CODEC_H264) == 0);
    return config;
}

static edc_camera start(edc_config *config, edc_stream *stream)
{
    edc_camera camera = 0;
    CHECK(edc_start(config, &camera) == EDC_OK);
    edc_config_free(config);
    CHECK(edc_get_stream(camera, 0, stream) == EDC_OK);
    return camera;
}

/* Waits for an event of this kind; everything else passes by. */
__attribute__((unused)) static void wait_for(edc_camera camera, int32_t kind)
{
    for (;;) {
        edc_event event = EDC_INIT(event);
        CHECK(edc_next_event(camera, 20000, &event) == EDC_OK);
        if (event.kind == kind)
            return;
    }
}

/* A key frame: parameter sets and a slice of `size` bytes; or a picture that needs the one before.
 * Nobody decodes them. */
__attribute__((unused)) static int32_t push(edc_stream stream, int64_t pts_us, int key, uint32_t size)
{
    static const uint8_t sets[] = {0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f,
                                   0x08, 0x84, 0x6a, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80};
    static uint8_t slice[1 << 20];
    edc_part parts[2] = {{sets, sizeof sets}, {slice, size}};
    edc_frame frame = EDC_INIT(frame);
    CHECK(size >= 6 && size <= sizeof slice);
    memset(slice, 0x55, size);
    memcpy(slice, key ? "\0\0\0\1\x65\x88" : "\0\0\0\1\x41\x88", 6);
    frame.pts_us = pts_us;
    frame.parts = key ? parts : parts + 1;
    frame.part_count = key ? 2 : 1;
    return edc_push_frame(stream, &frame);
}

#endif
