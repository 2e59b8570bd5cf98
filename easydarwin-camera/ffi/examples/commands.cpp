// A camera that is moved by commands of the CMS, tells what happens, and takes pictures on request, with
// callbacks. Pushes nothing.
//
//     commands HOST:PORT SERIAL TOKEN COUNT INTERFACE FILE.jpg      ends after COUNT commands
//
// Build: c++ commands.cpp -ledc (see docs/firmware.md).
#include <easydarwin_camera.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <mutex>
#include <stdexcept>
#include <string>

namespace {

// What the library said about a code that it returned.
void check(const char *what, int32_t code)
{
    if (code < 0)
        throw std::runtime_error(std::string(what) + ": " + edc_strerror(code) + ": " + edc_last_error());
}

class Config {
public:
    Config() : config(edc_config_new())
    {
        if (!config)
            throw std::bad_alloc();
    }
    ~Config() { edc_config_free(config); }
    Config(const Config &) = delete;
    Config &operator=(const Config &) = delete;
    edc_config *get() { return config; }

private:
    edc_config *config;
};

// Moves the lens, counts how often, and shows what it sees.
class Lens {
public:
    explicit Lens(const char *path)
    {
        std::ifstream file(path, std::ios::binary);
        picture.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }

    // Runs on a thread of the SDK: nothing may be thrown out of it.
    static void on_event(void *user, edc_camera camera, const edc_event *event) noexcept
    {
        static_cast<Lens *>(user)->handle(camera, *event);
    }

    void wait(int count)
    {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return commands >= count; });
    }

private:
    void handle(edc_camera camera, const edc_event &event)
    {
        std::printf("event %d %s %s %s\n", event.kind, event.text, event.detail, event.argument);
        std::fflush(stdout);
        if (event.kind == EDC_EVENT_SNAPSHOT) {
            const auto *jpeg = reinterpret_cast<const uint8_t *>(picture.data());
            tell("snapshot", edc_send_snapshot(camera, event.channel, jpeg, static_cast<uint32_t>(picture.size())));
        }
        if (event.command == 0)
            return;
        const int32_t code = event.kind == EDC_EVENT_PTZ ? 200 : 501;
        tell("reply", edc_reply(camera, event.command, code));
        if (code == 200) {
            const std::string data = std::string("{\"to\":\"") + event.text + "\"}";
            tell("event", edc_send_event(camera, "lens.moved", EDC_LEVEL_INFO, event.channel, data.c_str()));
        }
        // Would wait for the thread that it is called on.
        if (edc_destroy(camera) != EDC_ERR_DEADLOCK)
            std::abort();
        const std::lock_guard<std::mutex> lock(mutex);
        ++commands;
        changed.notify_all();
    }

    static void tell(const char *what, int32_t code)
    {
        if (code != EDC_OK)
            std::printf("%s: %s: %s\n", what, edc_strerror(code), edc_last_error());
    }

    std::string picture;
    std::mutex mutex;
    std::condition_variable changed;
    int commands = 0;
};

void on_log(void *, int32_t level, const char *text) noexcept
{
    std::printf("log %d %s\n", level, text);
    std::fflush(stdout);
}

void run(char **argv)
{
    Lens lens(argv[6]);
    Config config;
    check("serial", edc_config_set_serial(config.get(), argv[2]));
    check("token", edc_config_set_token(config.get(), argv[3]));
    check("cms", edc_config_add_cms(config.get(), argv[1]));
    check("stream", edc_config_add_stream(config.get(), 1, EDC_CODEC_H264));
    check("commands", edc_config_set_commands(config.get(), EDC_COMMAND_PTZ | EDC_COMMAND_PRESET | EDC_COMMAND_SNAPSHOT));
    check("interface", edc_config_set_interface(config.get(), argv[5]));
    check("thread", edc_config_set_thread(config.get(), "camera", 5, 0));
    check("events", edc_config_set_event_callback(config.get(), Lens::on_event, &lens));
    check("log", edc_config_set_log_callback(config.get(), on_log, nullptr));
    edc_camera camera = 0;
    check("start", edc_start(config.get(), &camera));
    // This device has a clock with a battery. After a first answer of NTP it would say so, too.
    check("clock", edc_set_clock(camera, static_cast<int64_t>(std::time(nullptr)) * 1000000, EDC_CLOCK_RTC));
    check("health", edc_send_health(camera, EDC_LEVEL_INFO, "{\"celsius\": 41.5}"));
    lens.wait(std::atoi(argv[4]));
    check("destroy", edc_destroy(camera));
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 7) {
        std::fprintf(stderr, "usage: %s HOST:PORT SERIAL TOKEN COUNT INTERFACE FILE.jpg\n", argv[0]);
        return 2;
    }
    try {
        run(argv);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
