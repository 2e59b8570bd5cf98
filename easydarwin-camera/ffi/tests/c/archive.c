/* archive [URL]: what only the delivered archive shows. The standard library's printers of panics and of
 * full memory, which scripts/firmware-archive made a plain return, return; and with a URL: a push needs less
 * than the smallest stack. Prints how much: "stack=BYTES". */
#define _GNU_SOURCE
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

int32_t edc_test_panic_here(void);
int32_t edc_test_panic_outside(void);
void edc_test_out_of_memory(void);

#define SMALLEST_STACK (128 * 1024)

/* Bytes of the network thread's stack that were ever written to. */
static size_t used;

/* The network's thread calls this. */
static void logged(void *user, int32_t level, const char *text)
{
    pthread_attr_t attributes;
    void *low;
    size_t size, guard, at;
    (void)user, (void)level, (void)text;
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getstack(&attributes, &low, &size) == 0);
    CHECK(pthread_attr_getguardsize(&attributes, &guard) == 0);
    pthread_attr_destroy(&attributes);
    /* Some libraries count the guard, which must not be read, some do not. */
    for (at = guard; at < size && ((const uint8_t *)low)[at] == 0; at++)
        ;
    used = size - at;
}

static void push_on_a_small_stack(const char *url)
{
    edc_config *config = configure(url);
    edc_stream stream;
    edc_camera camera;
    CHECK(edc_config_set_thread(config, "edc-small", 100, SMALLEST_STACK) == EDC_OK);
    CHECK(edc_config_set_log_callback(config, logged, NULL) == EDC_OK);
    camera = start(config, &stream);
    wait_for(camera, EDC_EVENT_PUSH_STARTED);
    for (int64_t picture = 0; picture < 50; picture++) {
        CHECK(push(stream, picture * 40000, picture % 10 == 0, 20000) == EDC_QUEUED);
        usleep(5000);
    }
    /* It logs its end. */
    used = 0;
    CHECK(edc_destroy(camera) == EDC_OK);
    CHECK(used > 0 && used < SMALLEST_STACK * 3 / 4);
    printf("stack=%zu\n", used);
}

/* The process ends as it should. */
static void aborted(int signal)
{
    (void)signal;
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv)
{
    CHECK(edc_test_panic_outside() == EDC_ERR_PANIC);
    /* Now behind the library's own hook. */
    CHECK(edc_test_panic_here() == EDC_ERR_PANIC);
    CHECK(edc_test_panic_outside() == EDC_ERR_PANIC);
    if (argc > 1)
        push_on_a_small_stack(argv[1]);
    signal(SIGABRT, aborted);
    edc_test_out_of_memory();
    return 1;
}
