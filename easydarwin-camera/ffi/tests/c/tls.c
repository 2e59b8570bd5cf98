/* TLS by a library of the vendor's, mbedTLS (examples/tls_mbedtls.c):
 *
 *     tls live CA CMS SERIAL KEY URL   registers and pushes through TLS; once it runs, nothing of ours takes memory
 *     tls refused CA CMS SERIAL KEY URL   neither CMS nor media server is believed
 *     tls shaken CA URL   the peer resets in the middle of the handshake
 *     tls cut CA URL   and in the middle of a frame, while SIGPIPE would end the process
 *     tls table   what edc_config_set_tls() takes
 */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "../../examples/tls_mbedtls.h"
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

/* Memory taken by what is linked statically, which is libedc and this file. */
static atomic_int taken;
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    atomic_fetch_add(&taken, 1);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    atomic_fetch_add(&taken, 1);
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    atomic_fetch_add(&taken, 1);
    return __real_realloc(memory, size);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    atomic_fetch_add(&taken, 1);
    return __real_posix_memalign(memory, alignment, size);
}

static atomic_int logged;

static void on_log(void *wanted, int32_t level, const char *text)
{
    (void)level;
    if (strstr(text, wanted))
        atomic_store(&logged, 1);
}

/* Waits for an event of this kind whose text has `part`. */
static void wait_for_text(edc_camera camera, int32_t kind, const char *part)
{
    for (;;) {
        edc_event event = EDC_INIT(event);
        CHECK(edc_next_event(camera, 20000, &event) == EDC_OK);
        if (event.kind != kind)
            continue;
        if (!strstr(event.text, part))
            fprintf(stderr, "%s\n", event.text);
        CHECK(strstr(event.text, part));
        return;
    }
}

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Pictures as an encoder makes them; waits until all of them are sent. Returns the time of the last one. */
static int64_t film(edc_camera camera, edc_stream stream, int64_t pts, int count)
{
    edc_stats stats = EDC_INIT(stats);
    edc_event event = EDC_INIT(event);
    for (; count; count--) {
        CHECK(push(stream, pts += 40000, count % 25 == 0, 20000) == EDC_QUEUED);
        edc_next_event(camera, 4, &event);
    }
    do {
        pause_ms(1);
        CHECK(edc_get_stats(stream, &stats) == EDC_OK);
    } while (stats.sent < stats.pushed);
    return pts;
}

static void live(edc_camera camera, edc_stream stream)
{
    int64_t pts = 0;
    int before, registered = 0, started = 0;
    while (!registered || !started) {
        edc_event event = EDC_INIT(event);
        CHECK(edc_next_event(camera, 20000, &event) == EDC_OK);
        registered |= event.kind == EDC_EVENT_REGISTERED;
        started |= event.kind == EDC_EVENT_PUSH_STARTED;
    }
    pts = film(camera, stream, pts, 100);
    before = atomic_load(&taken);
    film(camera, stream, pts, 200);
    if (atomic_load(&taken) != before)
        fprintf(stderr, "memory was taken %d times\n", atomic_load(&taken) - before);
    CHECK(atomic_load(&taken) == before);
}

static void cut(edc_camera camera, edc_stream stream)
{
    edc_event event = EDC_INIT(event);
    int64_t pts = 0;
    int32_t code;
    wait_for(camera, EDC_EVENT_PUSH_STARTED);
    do {
        CHECK(push(stream, pts += 40000, 1, 200000) >= 0);
        code = edc_next_event(camera, 10, &event);
        CHECK(code == EDC_OK || code == EDC_ERR_TIMEOUT);
    } while (code != EDC_OK || event.kind != EDC_EVENT_PUSH_FAILED);
    /* It comes back by itself. */
    wait_for(camera, EDC_EVENT_PUSH_STARTED);
}

static void *opens_nothing(void *user, int32_t fd, const char *host)
{
    CHECK(fd >= 0 && strcmp(host, "127.0.0.1") == 0);
    return user;
}

static int32_t does_nothing(void *user, void *session)
{
    (void)user, (void)session;
    return -7;
}

static int32_t reads_nothing(void *user, void *session, uint8_t *data, uint32_t length)
{
    (void)data, (void)length;
    return does_nothing(user, session);
}

static int32_t writes_nothing(void *user, void *session, const uint8_t *data, uint32_t length)
{
    (void)data, (void)length;
    return does_nothing(user, session);
}

static void closes(void *user, void *session)
{
    CHECK(user == session);
}

static void table(const char *url)
{
    int something;
    int32_t code;
    edc_tls tls = EDC_INIT(tls);
    edc_stream stream;
    edc_camera camera;
    edc_config *config = configure(url);
    CHECK(edc_config_set_tls(NULL, &tls, NULL) == EDC_ERR_INVALID);
    CHECK(edc_config_set_tls(config, &tls, NULL) == EDC_ERR_INVALID && strstr(edc_last_error(), "handshake"));
    CHECK(edc_config_set_tls(config, NULL, NULL) == EDC_OK);
    /* Without a library there is no TLS, unless the whole workspace is built with one of ours. */
    CHECK(edc_config_add_cms(config, "tls://127.0.0.1:1") == EDC_OK);
    CHECK(edc_config_set_key(config, "a key") == EDC_OK);
    code = edc_start(config, &camera);
    CHECK(code == EDC_OK ? edc_destroy(camera) == EDC_OK
                         : code == EDC_ERR_CONFIG && strstr(edc_last_error(), "TLS"));
    edc_config_free(config);

    tls.open = opens_nothing;
    tls.handshake = does_nothing;
    tls.read = reads_nothing;
    tls.write = writes_nothing;
    tls.close = closes;
    config = configure(url);
    CHECK(edc_config_set_tls(config, &tls, &something) == EDC_OK);
    camera = start(config, &stream);
    wait_for_text(camera, EDC_EVENT_PUSH_FAILED, "returned -7");
    CHECK(edc_destroy(camera) == EDC_OK);

    config = configure(url);
    CHECK(edc_config_set_tls(config, &tls, NULL) == EDC_OK);
    camera = start(config, &stream);
    wait_for_text(camera, EDC_EVENT_PUSH_FAILED, "opens no session");
    CHECK(edc_destroy(camera) == EDC_OK);
}

int main(int argc, char **argv)
{
    const char *mode = argv[1];
    int with_cms = argc == 7;
    mbedtls_library *library;
    edc_config *config;
    edc_stream stream;
    edc_camera camera;

    CHECK(argc >= 3 && signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    if (strcmp(mode, "table") == 0) {
        table(argv[2]);
        return 0;
    }
    library = mbedtls_library_new(argv[2]);
    CHECK(library);
    config = configure(argv[argc - 1]);
    if (with_cms) {
        CHECK(edc_config_add_cms(config, argv[3]) == EDC_OK);
        CHECK(edc_config_set_serial(config, argv[4]) == EDC_OK);
        CHECK(edc_config_set_key(config, argv[5]) == EDC_OK);
    }
    /* However slow the machine is, no picture waits too long. */
    CHECK(edc_config_set_latency(config, 60000, 0) == EDC_OK);
    CHECK(edc_config_set_queue(config, 16 << 20, 64 << 10) == EDC_OK);
    CHECK(edc_config_set_log_callback(config, on_log, "not correctly signed") == EDC_OK);
    CHECK(mbedtls_library_use(library, config) == EDC_OK);
    camera = start(config, &stream);
    if (strcmp(mode, "live") == 0) {
        live(camera, stream);
    } else if (strcmp(mode, "cut") == 0) {
        cut(camera, stream);
    } else if (strcmp(mode, "shaken") == 0) {
        wait_for_text(camera, EDC_EVENT_PUSH_FAILED, "the TLS library");
        wait_for_text(camera, EDC_EVENT_PUSH_FAILED, "the TLS library");
    } else {
        CHECK(strcmp(mode, "refused") == 0);
        wait_for_text(camera, EDC_EVENT_DISCONNECTED, "not correctly signed");
        wait_for_text(camera, EDC_EVENT_PUSH_FAILED, "not correctly signed");
        CHECK(atomic_load(&logged));
    }
    CHECK(edc_destroy(camera) == EDC_OK);
    mbedtls_library_free(library);
    return 0;
}
