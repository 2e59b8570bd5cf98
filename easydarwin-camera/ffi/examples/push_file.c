/* Pushes an H.264 file (Annex B) and an AAC file (ADTS), as an encoder would: picture by picture,
 * in real time.
 *
 *     push_file rtsp://HOST:PORT/PATH FILE.h264 FPS [FILE.aac]
 *     push_file cms:HOST:PORT SERIAL KEY FILE.h264 FPS [FILE.aac]     when a CMS asks for it
 *
 * Build: cc push_file.c -ledc (see docs/firmware.md). With -DWITH_MBEDTLS, tls_mbedtls.c and mbedTLS it speaks TLS, too:
 * rtsps:// and cms:tls://HOST:PORT are believed by the authorities in the file that EDC_CA names.
 */
#define _DEFAULT_SOURCE
#include <easydarwin_camera.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#ifdef WITH_MBEDTLS
#include "tls_mbedtls.h"
#endif

/* Read at a time; pictures that are larger make the window larger. */
#define PIECE 16384

/* A window on a file: `size` bytes are in memory, `at` of them were handed out. */
typedef struct {
    FILE *in;
    uint8_t *data;
    size_t size, at, room;
    int end;
} reader;

/* Cuts the next frame off. 0 at the end, -1 when it needs to see more of the file. */
typedef int cutter(reader *file, edc_part *parts);

/* Brings more of the file into the window, what was handed out goes. */
static int more(reader *file)
{
    size_t got;
    memmove(file->data, file->data + file->at, file->size -= file->at);
    file->at = 0;
    if (file->room - file->size < PIECE) {
        uint8_t *larger = realloc(file->data, file->room += 16 * PIECE);
        if (!larger)
            return -1;
        file->data = larger;
    }
    got = fread(file->data + file->size, 1, PIECE, file->in);
    file->size += got;
    file->end = got == 0;
    return 0;
}

static int open_file(reader *file, const char *path)
{
    file->in = fopen(path, "rb");
    return file->in ? more(file) : -1;
}

static void close_file(reader *file)
{
    if (file->in)
        fclose(file->in);
    free(file->data);
}

/* The next frame's parts, good until the next call. Returns their number, 0 at the end. */
static uint32_t next(reader *file, cutter *cut, edc_part *parts)
{
    int count;
    while ((count = cut(file, parts)) < 0)
        if (more(file))
            return 0;
    return (uint32_t)count;
}

/* Where the next start code begins (at its zeros), from `at` on. */
static size_t start_code(const reader *file, size_t at)
{
    for (; at + 3 <= file->size; at++)
        if (file->data[at] == 0 && file->data[at + 1] == 0 && file->data[at + 2] == 1)
            return at > 0 && file->data[at - 1] == 0 ? at - 1 : at;
    return file->size;
}

/* A picture: its NAL units as parts, as encoders hand them out. */
static int picture(reader *file, edc_part *parts)
{
    int count = 0, slices = 0;
    size_t at = file->at;
    while (at < file->size && count < (int)EDC_MAX_PARTS) {
        size_t body = at, end;
        int type, slice;
        while (body < file->size && file->data[body] == 0)
            body++;
        end = start_code(file, ++body);
        if (end == file->size && !file->end)
            return -1;
        type = body < end ? file->data[body] & 0x1f : 0;
        slice = type == 1 || type == 5;
        /* These begin the next picture (H.264, 7.4.1.2.3), and a slice that begins with macroblock 0; filler does not. */
        if (slices && ((type >= 6 && type <= 9) || (type >= 14 && type <= 18) ||
                       (slice && body + 1 < end && file->data[body + 1] & 0x80)))
            break;
        slices += slice;
        parts[count].data = file->data + at;
        parts[count++].length = (uint32_t)(end - at);
        at = end;
    }
    if (count == 0 && !file->end)
        return -1;
    file->at = at;
    return count;
}

/* Bytes before the first slice of the window. */
static uint32_t before_slices(const reader *file)
{
    size_t at = 0, body;
    for (; at < file->size; at = start_code(file, body)) {
        for (body = at; body < file->size && file->data[body] == 0; body++)
            ;
        if (++body < file->size && ((file->data[body] & 0x1f) == 1 || (file->data[body] & 0x1f) == 5))
            break;
    }
    return (uint32_t)at;
}

/* An ADTS frame. */
static int adts(reader *file, edc_part *part)
{
    const uint8_t *h = file->data + file->at;
    size_t left = file->size - file->at, length = 7;
    if (left >= 7)
        length = (size_t)(h[3] & 3) << 11 | (size_t)h[4] << 3 | h[5] >> 5;
    if (left < length)
        return file->end ? 0 : -1;
    if (h[0] != 0xff || length < 7)
        return 0;
    part->data = h;
    part->length = (uint32_t)length;
    file->at += length;
    return 1;
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Tells the camera what time it is, if the system knows, and how well. Once more whenever that changes. */
static void tell_time(edc_camera camera)
{
    struct timespec now;
    struct timex state = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    /* A system that was never told counts from 1970. */
    if (now.tv_sec > 1577836800)
        edc_set_clock(camera, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000,
                      adjtimex(&state) == TIME_ERROR ? EDC_CLOCK_RTC : EDC_CLOCK_NTP);
}

/* Takes the events that come until `until`; commands are answered with 'not supported'. Returns the
 * last kind of the push's own that came. */
static int32_t events_until(edc_camera camera, int64_t until)
{
    int32_t push = 0;
    for (;;) {
        edc_event event = EDC_INIT(event);
        int64_t left = (until - now_us() + 999) / 1000;
        if (left <= 0)
            return push;
        if (edc_next_event(camera, (int32_t)left, &event) != EDC_OK)
            continue;
        fprintf(stderr, "event %" PRId32 " channel %" PRIu32 " %s\n", event.kind, event.channel, event.text);
        if (event.command)
            edc_reply(camera, event.command, 501);
        if (event.kind >= EDC_EVENT_PUSH_REQUESTED && event.kind <= EDC_EVENT_PUSH_STOPPED)
            push = event.kind;
        if (push == EDC_EVENT_PUSH_STARTED)
            return push;
    }
}

static int failed(const char *what, int32_t code)
{
    fprintf(stderr, "%s: %s: %s\n", what, edc_strerror(code), edc_last_error());
    return 1;
}

int main(int argc, char **argv)
{
    int cms = argc > 1 && strncmp(argv[1], "cms:", 4) == 0;
    char **files = argv + (cms ? 4 : 2);
    int given = argc - (cms ? 4 : 2);
    reader video = {0}, audio = {0};
    edc_part parts[EDC_MAX_PARTS];
    edc_config *config = edc_config_new();
    edc_camera camera = 0;
    edc_stream pictures = 0, sound = 0;
    int32_t code, video_number, audio_number = -1;
    int64_t began, frame_us, audio_us = 0, sound_pts = 0;
    uint64_t frames = 0, queued = 0;

    if (given < 2 || !config || open_file(&video, files[0]) || (given > 2 && open_file(&audio, files[2]))) {
        fprintf(stderr, "usage: %s rtsp://URL | cms:HOST:PORT SERIAL KEY  FILE.h264 FPS [FILE.aac]\n", argv[0]);
        return 2;
    }
    frame_us = 1000000 / atoi(files[1]);

    edc_config_set_serial(config, cms ? argv[2] : "example");
    if (cms) {
        edc_config_add_cms(config, argv[1] + 4);
        edc_config_set_key(config, argv[3]);
    } else {
        edc_config_set_push_to(config, argv[1]);
    }
    video_number = edc_config_add_stream(config, 1, EDC_CODEC_H264);
    /* The parameter sets stand before the first picture: so the push need not wait for it. */
    if (next(&video, picture, parts)) {
        edc_config_set_stream_extra(config, video_number, video.data, before_slices(&video));
        video.at = 0;
    }
    if (audio.size > 7) {
        static const uint32_t rates[] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                         22050, 16000, 12000, 11025, 8000,  7350};
        uint32_t rate = rates[(audio.data[2] >> 2 & 15) % 13];
        uint32_t channels = (uint32_t)(audio.data[2] & 1) << 2 | audio.data[3] >> 6;
        audio_number = edc_config_add_stream(config, 1, EDC_CODEC_AAC);
        edc_config_set_stream_audio(config, audio_number, rate, channels);
        audio_us = 1024 * (int64_t)1000000 / rate;
    }
#ifdef WITH_MBEDTLS
    mbedtls_library *library = mbedtls_library_new(getenv("EDC_CA"));
    if (!library || mbedtls_library_use(library, config) != EDC_OK) {
        fprintf(stderr, "EDC_CA names no file of authorities\n");
        return 2;
    }
#endif
    code = edc_start(config, &camera);
    edc_config_free(config);
    if (code != EDC_OK)
        return failed("edc_start", code);
    tell_time(camera);
    edc_get_stream(camera, video_number, &pictures);
    if (audio_number >= 0)
        edc_get_stream(camera, audio_number, &sound);

    /* Nothing is lost when nothing is pushed before somebody wants it. */
    began = now_us() + (cms ? 24 * 3600 : 20) * (int64_t)1000000;
    if (events_until(camera, began) != EDC_EVENT_PUSH_STARTED) {
        edc_destroy(camera);
        close_file(&video);
        close_file(&audio);
        fprintf(stderr, "no push was started\n");
        return 1;
    }
    began = now_us();
    for (;; frames++) {
        edc_frame frame = EDC_INIT(frame);
        int64_t pts = (int64_t)frames * frame_us;
        frame.parts = parts;
        frame.part_count = next(&video, picture, parts);
        if (frame.part_count == 0)
            break;
        events_until(camera, began + pts);
        frame.pts_us = pts;
        code = edc_push_frame(pictures, &frame);
        if (code < 0)
            return failed("edc_push_frame", code);
        queued += code == EDC_QUEUED;
        while (audio.in && sound_pts <= pts + frame_us) {
            edc_part part;
            edc_frame piece = EDC_INIT(piece);
            piece.parts = &part;
            piece.part_count = next(&audio, adts, &part);
            if (piece.part_count == 0)
                break;
            piece.pts_us = sound_pts;
            sound_pts += audio_us;
            code = edc_push_frame(sound, &piece);
            if (code < 0)
                return failed("edc_push_frame", code);
        }
    }
    /* What was queued last is still on its way. */
    events_until(camera, now_us() + 1000000);
    {
        edc_stats stats = EDC_INIT(stats);
        edc_get_stats(pictures, &stats);
        printf("frames=%" PRIu64 " queued=%" PRIu64 " sent=%" PRIu64 "\n", frames, queued, stats.sent);
    }
    code = edc_destroy(camera);
#ifdef WITH_MBEDTLS
    mbedtls_library_free(library);
#endif
    close_file(&video);
    close_file(&audio);
    return code == EDC_OK ? 0 : failed("edc_destroy", code);
}
