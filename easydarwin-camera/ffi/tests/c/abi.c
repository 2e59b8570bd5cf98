/* What the interface promised in its first version, without a network. It is compiled with the header of that
 * version, too: what came later belongs elsewhere. */
#define _GNU_SOURCE
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nobody listens there. */
#define NOWHERE "rtsp://127.0.0.1:9/nowhere"

static void arguments(void)
{
    edc_config *config = edc_config_new();
    edc_camera camera = 7;
    edc_stream stream = 0;
    edc_event event = EDC_INIT(event);
    int i;

    CHECK(edc_abi_version() == EDC_ABI_VERSION);
    for (i = 0; i > -20; i--)
        CHECK(strlen(edc_strerror(i)) > 0);
    CHECK(edc_config_set_serial(NULL, "x") == EDC_ERR_INVALID);
    CHECK(edc_config_set_serial(config, NULL) == EDC_ERR_INVALID);
    CHECK(strstr(edc_last_error(), "serial"));
    CHECK(edc_config_set_name(config, "\xff") == EDC_ERR_INVALID);
    CHECK(edc_config_add_stream(config, 0, EDC_CODEC_H264) == EDC_ERR_INVALID);
    CHECK(edc_config_add_stream(config, 1, 99) == EDC_ERR_UNSUPPORTED);
    CHECK(edc_config_set_stream_extra(config, 0, NULL, 0) == EDC_ERR_INVALID);
    CHECK(edc_config_set_transport(config, 9) == EDC_ERR_INVALID);
    CHECK(edc_config_set_queue(config, 1, 1) == EDC_ERR_INVALID);
    CHECK(edc_config_set_latency(config, 0, 0) == EDC_ERR_INVALID);
    CHECK(edc_config_set_thread(config, "a name that is too long", 0, 0) == EDC_ERR_INVALID);
    CHECK(edc_config_set_thread(config, "x", 0, 1000) == EDC_ERR_INVALID);
    CHECK(edc_start(config, &camera) == EDC_ERR_CONFIG && camera == 7);
    CHECK(strstr(edc_last_error(), "serial"));
    CHECK(edc_config_set_serial(config, "test") == EDC_OK);
    CHECK(edc_start(config, &camera) == EDC_ERR_CONFIG);
    CHECK(edc_config_set_push_to(config, NOWHERE) == EDC_OK);
    CHECK(edc_start(config, &camera) == EDC_ERR_CONFIG);
    CHECK(edc_config_add_sub_stream(config, 1) == EDC_ERR_INVALID);
    CHECK(edc_config_add_stream(config, 1, EDC_CODEC_G711A) == 0);
    CHECK(edc_config_add_sub_stream(config, 1) == EDC_ERR_INVALID);
    CHECK(edc_config_add_stream(config, 1, EDC_CODEC_H264) == 1);
    CHECK(edc_config_add_sub_stream(config, 1) == 2);
    CHECK(edc_config_add_sub_stream(config, 1) == EDC_ERR_INVALID);
    CHECK(edc_config_add_stream(config, 1, EDC_CODEC_G726) == 3);
    CHECK(edc_config_set_stream_g726(config, 3, 24000, EDC_G726_AAL2) == EDC_OK);
    CHECK(edc_start(config, &camera) == EDC_OK);
    for (i = 0; i < 4; i++)
        CHECK(edc_get_stream(camera, i, &stream) == EDC_OK && push(stream, 0, 1, 100) >= 0);
    CHECK(edc_destroy(camera) == EDC_OK);
    for (i = 4; i < (int)EDC_MAX_STREAMS; i++)
        CHECK(edc_config_add_stream(config, 1 + (uint32_t)i, EDC_CODEC_H264) == i);
    CHECK(edc_config_add_stream(config, 1, EDC_CODEC_H264) == EDC_ERR_FULL);
    CHECK(edc_start(config, NULL) == EDC_ERR_INVALID);
    edc_config_free(config);
    edc_config_free(NULL);

    CHECK(edc_get_stream(1, 0, &stream) == EDC_ERR_HANDLE);
    CHECK(edc_destroy(0) == EDC_ERR_HANDLE);
    CHECK(edc_event_fd(12345) == EDC_ERR_HANDLE);
    CHECK(edc_next_event(~(edc_camera)0, 0, &event) == EDC_ERR_HANDLE);
    CHECK(push(0, 0, 1, 100) == EDC_ERR_HANDLE);
}

/* A program that was built when the structs were shorter, or will be when they are longer. */
static void sizes(edc_camera camera, edc_stream stream)
{
    struct {
        edc_stats known;
        uint64_t later;
    } longer;
    edc_stats shorter;
    edc_frame frame = EDC_INIT(frame);
    edc_part part = {(const uint8_t *)"\0\0\0\1\x65\x88", 6};

    memset(&shorter, 0xee, sizeof shorter);
    shorter.size = 16;
    CHECK(edc_get_stats(stream, &shorter) == EDC_OK);
    CHECK(shorter.size == 16 && shorter.pushed == 0 && shorter.sent == 0xeeeeeeeeeeeeeeee);
    memset(&longer, 0xee, sizeof longer);
    longer.known.size = sizeof longer;
    CHECK(edc_get_stats(stream, &longer.known) == EDC_OK);
    CHECK(longer.known.events_lost == 0 && longer.later == 0xeeeeeeeeeeeeeeee);

    frame.parts = &part;
    frame.part_count = 1;
    CHECK(edc_push_frame(stream, &frame) >= 0);
    frame.size = 16; /* without parts */
    CHECK(edc_push_frame(stream, &frame) == EDC_ERR_INVALID);
    frame.size = 0;
    CHECK(edc_push_frame(stream, &frame) == EDC_ERR_INVALID);
    CHECK(edc_push_frame(stream, NULL) == EDC_ERR_INVALID);
    frame.size = sizeof frame;
    frame.part_count = EDC_MAX_PARTS + 1;
    CHECK(edc_push_frame(stream, &frame) == EDC_ERR_INVALID);
    CHECK(edc_reply(camera, 1, 200) == EDC_ERR_NO_COMMAND);
    CHECK(edc_reply(camera, 1, 7) == EDC_ERR_INVALID);
    CHECK(edc_get_stream(camera, 1, &(edc_stream){0}) == EDC_ERR_INVALID);
}

/* Those that were open at the start; above the limit they are valgrind's. */
static char inherited[4096];

/* How many descriptors this process has beside those: all must be closed by exec(). */
static int descriptors(int remember)
{
    struct rlimit limit;
    DIR *all = opendir("/proc/self/fd");
    struct dirent *entry;
    int count = 0;
    CHECK(all && getrlimit(RLIMIT_NOFILE, &limit) == 0);
    while ((entry = readdir(all))) {
        int fd = atoi(entry->d_name);
        if (fd < 3 || fd == dirfd(all) || (rlim_t)fd >= limit.rlim_cur || fd >= (int)sizeof inherited)
            continue;
        if (remember)
            inherited[fd] = 1;
        else if (!inherited[fd]) {
            count++;
            CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        }
    }
    closedir(all);
    return count;
}

/* Every thread of the library is named as it was told, and blocks all signals that can be. */
static void threads(const char *name)
{
    DIR *all = opendir("/proc/self/task");
    struct dirent *entry;
    int ours = 0;
    while ((entry = readdir(all))) {
        char path[300], line[256];
        FILE *file;
        int tid = atoi(entry->d_name), named = 0;
        if (tid == 0 || tid == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
        file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file)) {
            unsigned long long mask;
            if (strncmp(line, "Name:", 5) == 0)
                named = strstr(line, name) != NULL;
            if (named && sscanf(line, "SigBlk: %llx", &mask) == 1) {
                ours++;
                CHECK(mask & 1ull << (SIGPIPE - 1) && mask & 1ull << (SIGTERM - 1));
                CHECK(mask & 1ull << (SIGUSR1 - 1) && mask & 1ull << (SIGCHLD - 1));
            }
        }
        if (file)
            fclose(file);
    }
    closedir(all);
    CHECK(ours == 1);
}

static void forked(edc_camera camera, edc_stream stream)
{
    int answer[2];
    char bad = 1;
    pid_t child;
    CHECK(pipe2(answer, O_CLOEXEC) == 0);
    child = fork();
    if (child == 0) {
        edc_event event = EDC_INIT(event);
        edc_stats stats = EDC_INIT(stats);
        edc_config *config = configure(NOWHERE);
        edc_camera other = 0;
        bad = edc_next_event(camera, 0, &event) != EDC_ERR_FORKED ||
                  edc_event_fd(camera) != EDC_ERR_FORKED || edc_destroy(camera) != EDC_ERR_FORKED ||
                  edc_reply(camera, 1, 200) != EDC_ERR_FORKED ||
                  edc_get_stats(stream, &stats) != EDC_ERR_FORKED ||
                  edc_get_stream(camera, 0, &stream) != EDC_ERR_FORKED ||
                  edc_start(config, &other) != EDC_ERR_FORKED;
        edc_config_free(config);
        /* Not by its exit code: valgrind sees there that the threads' memory has no owner. */
        _exit(write(answer[1], &bad, 1) != 1);
    }
    CHECK(child > 0 && read(answer[0], &bad, 1) == 1 && !bad);
    CHECK(waitpid(child, NULL, 0) == child);
    close(answer[0]);
    close(answer[1]);
    /* The parent goes on. */
    CHECK(push(stream, 1, 1, 100) >= 0);
    CHECK(edc_event_fd(camera) >= 0);
}

static void *take_event(void *camera)
{
    static edc_event event;
    intptr_t code;
    event.size = sizeof event;
    /* The other one may be inside when it comes. */
    do
        code = edc_next_event(*(edc_camera *)camera, -1, &event);
    while (code == EDC_OK || code == EDC_ERR_BUSY);
    return (void *)code;
}

static void events(void)
{
    edc_stream stream;
    edc_camera camera = start(configure(NOWHERE), &stream);
    struct pollfd ready = {edc_event_fd(camera), POLLIN, 0};
    edc_event event = EDC_INIT(event);
    pthread_t taker;
    void *code;

    CHECK(poll(&ready, 1, 20000) == 1);
    CHECK(edc_next_event(camera, 0, &event) == EDC_OK && event.kind == EDC_EVENT_PUSH_REQUESTED);
    CHECK(event.channel == 1 && strcmp(event.text, NOWHERE) == 0 && *event.detail == 0);
    wait_for(camera, EDC_EVENT_PUSH_FAILED);
    CHECK(pthread_create(&taker, NULL, take_event, &camera) == 0);
    do
        code = (void *)(intptr_t)edc_next_event(camera, 0, &event);
    while ((intptr_t)code != EDC_ERR_BUSY);
    CHECK(edc_destroy(camera) == EDC_OK);
    CHECK(pthread_join(taker, &code) == 0);
    CHECK((intptr_t)code == EDC_ERR_CLOSED || (intptr_t)code == EDC_ERR_HANDLE);
    CHECK(edc_destroy(camera) == EDC_ERR_HANDLE);
    CHECK(push(stream, 0, 1, 100) == EDC_ERR_HANDLE);
}

/* Every place of the table, twice: handles of the first round lead nowhere in the second. */
static void table(void)
{
    edc_camera cameras[EDC_MAX_CAMERAS], other;
    edc_stream streams[EDC_MAX_CAMERAS], stream;
    edc_config *config = configure(NOWHERE);
    unsigned i, round;
    edc_config_set_queue(config, 64 << 10, 4 << 10);
    for (round = 0; round < 2; round++) {
        for (i = 0; i < EDC_MAX_CAMERAS; i++) {
            CHECK(edc_start(config, &cameras[i]) == EDC_OK);
            CHECK(edc_get_stream(cameras[i], 0, &stream) == EDC_OK);
            if (round)
                CHECK(stream != streams[i] && push(streams[i], 0, 1, 100) == EDC_ERR_HANDLE);
            streams[i] = stream;
        }
        CHECK(edc_start(config, &other) == EDC_ERR_FULL);
        for (i = 0; i < EDC_MAX_CAMERAS; i++)
            CHECK(edc_destroy(cameras[i]) == EDC_OK);
    }
    edc_config_free(config);
}

int main(void)
{
    struct sigaction before[3], after;
    static const int signals[3] = {SIGPIPE, SIGTERM, SIGSEGV};
    sigset_t mask, mask_after;
    edc_stream stream;
    edc_camera camera;
    edc_config *config;
    int i;

    descriptors(1);
    for (i = 0; i < 3; i++)
        sigaction(signals[i], NULL, &before[i]);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);

    arguments();
    config = configure(NOWHERE);
    CHECK(edc_config_set_thread(config, "edc-test", 3, 0) == EDC_OK);
    camera = start(config, &stream);
    wait_for(camera, EDC_EVENT_PUSH_REQUESTED);
    threads("edc-test");
    CHECK(descriptors(0) > 0);
    sizes(camera, stream);
    forked(camera, stream);
    CHECK(edc_destroy(camera) == EDC_OK);
    /* Built with more than it needs, the runtime keeps a pair for signals: one for the process, not one for
     * each camera. */
    descriptors(1);
    events();
    table();

    CHECK(descriptors(0) == 0);
    for (i = 0; i < 3; i++) {
        sigaction(signals[i], NULL, &after);
        CHECK(after.sa_handler == before[i].sa_handler && after.sa_flags == before[i].sa_flags);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (i = 1; i < NSIG; i++)
        CHECK(sigismember(&mask, i) == sigismember(&mask_after, i));
    return 0;
}
