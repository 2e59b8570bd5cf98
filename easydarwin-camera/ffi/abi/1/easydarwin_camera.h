/* SPDX-License-Identifier: MIT OR Apache-2.0 */

#ifndef EASYDARWIN_CAMERA_H
#define EASYDARWIN_CAMERA_H

/* Made by cbindgen from easydarwin-camera/ffi/src; do not edit. */

#include <stdint.h>

/* Begin every edc_frame, edc_event and edc_stats like this: edc_frame frame = EDC_INIT(frame); */
#ifdef __cplusplus
#define EDC_INIT(variable) { sizeof(variable) }
#else
#define EDC_INIT(variable) { .size = sizeof(variable) }
#endif


/*
 Version of this interface. It is also the number in the shared library's name, and grows
 when a program that was built before would no longer run.
 */
#define EDC_ABI_VERSION 1

/*
 It worked.
 */
#define EDC_OK 0

/*
 An argument is NULL, out of range or no UTF-8.
 */
#define EDC_ERR_INVALID -1

/*
 No such camera or stream; it may have been destroyed.
 */
#define EDC_ERR_HANDLE -2

/*
 Not enough memory.
 */
#define EDC_ERR_NOMEM -3

/*
 Another thread is in the same call: one thread at a time pushes into a stream or takes events.
 */
#define EDC_ERR_BUSY -4

/*
 From inside a callback this would wait for itself.
 */
#define EDC_ERR_DEADLOCK -5

/*
 The process is a child of the one that started the camera.
 */
#define EDC_ERR_FORKED -6

/*
 A fault inside the library was caught; edc_last_error() tells where.
 */
#define EDC_ERR_PANIC -7

/*
 Nothing happened in the time given.
 */
#define EDC_ERR_TIMEOUT -8

/*
 The camera is being destroyed.
 */
#define EDC_ERR_CLOSED -9

/*
 This build, codec or mode has no such thing.
 */
#define EDC_ERR_UNSUPPORTED -10

/*
 Something that a camera needs was not set; edc_last_error() names it.
 */
#define EDC_ERR_CONFIG -11

/*
 All EDC_MAX_CAMERAS cameras are in use.
 */
#define EDC_ERR_FULL -12

/*
 The system refused something; edc_last_error() tells what.
 */
#define EDC_ERR_SYSTEM -13

/*
 No command of this number waits for an answer; it may have come too late.
 */
#define EDC_ERR_NO_COMMAND -14

/*
 Cameras in one process.
 */
#define EDC_MAX_CAMERAS 64

/*
 Elementary streams (video and audio counted apart) of one camera.
 */
#define EDC_MAX_STREAMS 8

/*
 Pieces of one frame.
 */
#define EDC_MAX_PARTS 64

/*
 H.264; frames are NAL units with start codes (Annex B), all of one picture.
 */
#define EDC_CODEC_H264 1

/*
 H.265; frames as with H.264.
 */
#define EDC_CODEC_H265 2

/*
 JPEG pictures, baseline, at most 2040 pixels a side.
 */
#define EDC_CODEC_MJPEG 3

/*
 AAC-LC; one frame, with or without ADTS header.
 */
#define EDC_CODEC_AAC 16

/*
 G.711 A-law, 8 kHz.
 */
#define EDC_CODEC_G711A 17

/*
 G.711 µ-law, 8 kHz.
 */
#define EDC_CODEC_G711U 18

/*
 G.726, 8 kHz; 32 kbit/s in the order of RFC 3551 unless set otherwise.
 */
#define EDC_CODEC_G726 19

/*
 Opus; one packet.
 */
#define EDC_CODEC_OPUS 20

/*
 The first sample in the least significant bits (RFC 3551).
 */
#define EDC_G726_RFC3551 0

/*
 The first sample in the most significant bits (ITU-T I.366.2).
 */
#define EDC_G726_AAL2 1

/*
 Media inside the RTSP connection: passes every firewall.
 */
#define EDC_TRANSPORT_TCP 0

/*
 Media over UDP; over TCP where the media server refuses it.
 */
#define EDC_TRANSPORT_UDP 1

/*
 Decoding can begin at this frame. Need not be set for H.264 and H.265, whose slices tell.
 */
#define EDC_FRAME_KEY 1

/*
 The frame waits to be sent.
 */
#define EDC_QUEUED 1

/*
 Dropped: nobody wants this stream now.
 */
#define EDC_DROPPED_NOT_WANTED 2

/*
 Dropped: wanted, but the media server is not reached yet, or no longer.
 */
#define EDC_DROPPED_NOT_CONNECTED 4

/*
 Dropped: the queue is full; the uplink is too slow.
 */
#define EDC_DROPPED_QUEUE 8

/*
 Dropped: what it needs was dropped before, so it waits for a key frame.
 */
#define EDC_DROPPED_WAITS 16

/*
 Dropped: empty, or larger than half of the queue.
 */
#define EDC_DROPPED_SIZE 32

/*
 Dropped: the camera starts anew after a fault, or ends.
 */
#define EDC_DROPPED_CLOSED 64

/*
 Dropped: the other one of main and sub stream is sent.
 */
#define EDC_DROPPED_NOT_SELECTED 128

/*
 Beside a drop: everything up to the next key frame will be dropped; ask the encoder for one.
 */
#define EDC_WAIT_KEY 256

/*
 The CMS took the registration; `text` is its address.
 */
#define EDC_EVENT_REGISTERED 1

/*
 No connection to the CMS; it is tried again. `text` says why.
 */
#define EDC_EVENT_DISCONNECTED 2

/*
 The stream of `channel` is wanted; `text` is the URL, without token and password.
 */
#define EDC_EVENT_PUSH_REQUESTED 3

/*
 Media of `channel` flows.
 */
#define EDC_EVENT_PUSH_STARTED 4

/*
 The push of `channel` was cut or refused; `text` says why. It is tried again while wanted.
 */
#define EDC_EVENT_PUSH_FAILED 5

/*
 The stream of `channel` is no longer wanted.
 */
#define EDC_EVENT_PUSH_STOPPED 6

/*
 The CMS took a snapshot of `channel`.
 */
#define EDC_EVENT_SNAPSHOT_SENT 7

/*
 The CMS `detail` refused this camera, `text` says how: key or serial have to be corrected. It is
 tried again after `value` ms.
 */
#define EDC_EVENT_LOGIN_REFUSED 8

/*
 Command: move, zoom, focus. `text` is STOP, UP, DOWN, LEFT, RIGHT, ZOOMIN..., `detail`
 CONTINUOUS or SINGLE, `argument` the speed.
 */
#define EDC_EVENT_PTZ 32

/*
 Command: `text` is GOTO, SET or REMOVE, `argument` the preset's number.
 */
#define EDC_EVENT_PRESET 33

/*
 Command: somebody wants to talk; `detail` is G711A, G711U or G726 (16 kbit/s), 8000 samples a second. Answered
 with 200, EDC_EVENT_SPEECH follows.
 */
#define EDC_EVENT_TALKBACK 34

/*
 Speech to be played now, in `data`: it comes in pace, 20 ms at a time. Without data it is missing: play
 silence. `value` is its place in what is said, in ms.
 */
#define EDC_EVENT_SPEECH 35

/*
 Nobody talks on `channel` any more.
 */
#define EDC_EVENT_TALKBACK_ENDED 36

/*
 Command: start anew, a moment after the answer.
 */
#define EDC_EVENT_REBOOT 37

/*
 Command: set these values, all of them or none; `text` has a line `name=value` for each.
 */
#define EDC_EVENT_CONFIG 38

/*
 Set the encoder of `channel` to `value` bits per second. Only the newest wish is kept.
 */
#define EDC_EVENT_BITRATE 64

/*
 Make a key frame on `stream`: a push begins, or a picture was dropped. Several wishes are one.
 */
#define EDC_EVENT_KEYFRAME 65

/*
 Send the main stream of `channel` (`value` 0), or the sub stream (1). Only the newest wish is kept.
 */
#define EDC_EVENT_SELECT 66

/*
 A fault in the network's thread was caught; `text` tells where. The camera starts anew
 after `value` ms, its handles stay good.
 */
#define EDC_EVENT_FAULT 96

/*
 Kinds of commands, as bits: EDC_EVENT_PTZ.
 */
#define EDC_COMMAND_PTZ 1

/*
 EDC_EVENT_PRESET.
 */
#define EDC_COMMAND_PRESET 2

/*
 EDC_EVENT_TALKBACK.
 */
#define EDC_COMMAND_TALKBACK 4

/*
 EDC_EVENT_REBOOT.
 */
#define EDC_COMMAND_REBOOT 8

/*
 EDC_EVENT_CONFIG.
 */
#define EDC_COMMAND_CONFIG 16

/*
 What a camera is to run with; made by edc_config_new().
 */
typedef struct edc_config edc_config;

/*
 A camera; 0 is none.
 */
typedef uint64_t edc_camera;

/*
 An elementary stream of a camera; 0 is none.
 */
typedef uint64_t edc_stream;

/*
 What happened, or what somebody wants. Pointers are never NULL; unused texts are empty. They are good
 until the next edc_next_event() of the same camera, or its edc_destroy().
 */
typedef struct edc_event {
  /*
   sizeof(edc_event).
   */
  uint32_t size;
  /*
   EDC_EVENT_...
   */
  int32_t kind;
  /*
   Channel, from 1; 0 when it concerns none.
   */
  uint32_t channel;
  /*
   Events that were dropped before this one, because nobody took them.
   */
  uint32_t lost;
  /*
   Not 0: a command, to be answered with edc_reply() within 10 s.
   */
  uint64_t command;
  /*
   See the event's kind.
   */
  int64_t value;
  /*
   The stream that it concerns; 0 when none.
   */
  edc_stream stream;
  /*
   See the event's kind.
   */
  const char *text;
  /*
   See the event's kind.
   */
  const char *detail;
  /*
   See the event's kind.
   */
  const char *argument;
  /*
   See the event's kind; NULL when there is none.
   */
  const uint8_t *data;
  /*
   Bytes of `data`.
   */
  uint32_t data_length;
} edc_event;

/*
 Takes events on a thread of the SDK. `event` and what it points to are good until the call
 returns. It must not throw or longjmp; it may call everything but edc_destroy().
 */
typedef void (*edc_event_callback)(void *user, edc_camera camera, const struct edc_event *event);

/*
 Takes lines of the log: `level` is 1 error, 2 warning, 3 info, 4 debug. Called on the threads of
 the SDK. It must not throw or longjmp, nor block.
 */
typedef void (*edc_log_callback)(void *user, int32_t level, const char *text);

/*
 A piece of a frame.
 */
typedef struct edc_part {
  /*
   Where it begins.
   */
  const uint8_t *data;
  /*
   Bytes.
   */
  uint32_t length;
} edc_part;

/*
 One encoded picture or audio frame, in as many pieces as the encoder gave.
 */
typedef struct edc_frame {
  /*
   sizeof(edc_frame).
   */
  uint32_t size;
  /*
   EDC_FRAME_... bits.
   */
  uint32_t flags;
  /*
   When it was captured: microseconds of a monotonic clock, the same for all streams of a channel.
   */
  int64_t pts_us;
  /*
   The pieces, in their order.
   */
  const struct edc_part *parts;
  /*
   Number of pieces, 1 to EDC_MAX_PARTS.
   */
  uint32_t part_count;
} edc_frame;

/*
 Counters of a stream since edc_start().
 */
typedef struct edc_stats {
  /*
   sizeof(edc_stats).
   */
  uint32_t size;
  /*
   Times that the network's thread was built anew after a fault.
   */
  uint32_t faults;
  /*
   Frames given to edc_push_frame(). Each was sent, dropped by one of the causes below, or waits.
   */
  uint64_t pushed;
  /*
   Frames handed to the network.
   */
  uint64_t sent;
  /*
   Frames dropped because nobody wanted them.
   */
  uint64_t dropped_not_wanted;
  /*
   Frames dropped because the media server was not reached.
   */
  uint64_t dropped_not_connected;
  /*
   Frames dropped because the queue was full.
   */
  uint64_t dropped_queue;
  /*
   Frames dropped because what they need was dropped.
   */
  uint64_t dropped_waits;
  /*
   Frames dropped in the queue because they had become older than the longest latency.
   */
  uint64_t dropped_late;
  /*
   Frames dropped in the queue because the push ended.
   */
  uint64_t dropped_push_ended;
  /*
   Frames dropped because of their size.
   */
  uint64_t dropped_size;
  /*
   Frames dropped because they are not what the codec says.
   */
  uint64_t dropped_format;
  /*
   Frames dropped during a new start or the end.
   */
  uint64_t dropped_closed;
  /*
   Events dropped because nobody took them.
   */
  uint64_t events_lost;
  /*
   Frames dropped because the other one of main and sub stream was sent.
   */
  uint64_t dropped_not_selected;
} edc_stats;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The EDC_ABI_VERSION that the library was built with.
 */
uint32_t edc_abi_version(void);

/*
 What a code means, in English; never NULL, good for ever.
 */
const char *edc_strerror(int32_t code);

/*
 Details of the last failure on this thread; never NULL, empty when there was none. Good until the
 next failure on this thread.
 */
const char *edc_last_error(void);

/*
 A configuration with the defaults; NULL without memory. Free it with edc_config_free().
 */
struct edc_config *edc_config_new(void);

/*
 Frees a configuration; cameras that were started with it go on. NULL is let pass.

 # Safety
 `config` is NULL, or came from edc_config_new() and was not freed.
 */
void edc_config_free(struct edc_config *config);

/*
 The device's serial: 1 to 64 of A-Z a-z 0-9 _ -. Needed.

 # Safety
 `config` came from edc_config_new(); the text ends with a 0.
 */
int32_t edc_config_set_serial(struct edc_config *config, const char *serial);

/*
 The name in device lists; the serial by default.

 # Safety
 `config` came from edc_config_new(); the text ends with a 0.
 */
int32_t edc_config_set_name(struct edc_config *config, const char *name);

/*
 The tag in device lists; none by default.

 # Safety
 `config` came from edc_config_new(); the text ends with a 0.
 */
int32_t edc_config_set_tag(struct edc_config *config, const char *tag);

/*
 The key that the CMS made for this serial: proven, never sent. This or a token is needed with a CMS.

 # Safety
 `config` came from edc_config_new(); the text ends with a 0.
 */
int32_t edc_config_set_key(struct edc_config *config,
                           const char *key);

/*
 A token in the old manner, sent in plain. Not used beside a key.

 # Safety
 `config` came from edc_config_new(); the text ends with a 0.
 */
int32_t edc_config_set_token(struct edc_config *config, const char *token);

/*
 A CMS as host:port; several are tried in turn.

 # Safety
 `config` came from edc_config_new(); the text ends with a 0.
 */
int32_t edc_config_add_cms(struct edc_config *config, const char *address);

/*
 Pushes the first channel to this rtsp:// URL all the time, also without a CMS.

 # Safety
 `config` came from edc_config_new(); the text ends with a 0.
 */
int32_t edc_config_set_push_to(struct edc_config *config, const char *url);

/*
 Adds an elementary stream to a channel (from 1): EDC_CODEC_... Returns its number, from 0. All streams of a
 channel are pushed together.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_add_stream(struct edc_config *config,
                              uint32_t channel,
                              int32_t codec);

/*
 Adds the sub stream of a channel: the small pictures of its first video stream, in the same codec, which are sent
 instead when EDC_EVENT_SELECT says so. Push both, always. Returns its number.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_add_sub_stream(struct edc_config *config,
                                  uint32_t channel);

/*
 Parameters of a stream that are known before its first frame. H.264 and H.265: the parameter sets with start
 codes. AAC: the AudioSpecificConfig. Optional: parameter sets are taken from key frames, too.

 # Safety
 `config` came from edc_config_new(); `data` points to `length` bytes.
 */
int32_t edc_config_set_stream_extra(struct edc_config *config,
                                    int32_t stream,
                                    const uint8_t *data,
                                    uint32_t length);

/*
 Samples a second and channels of an audio stream; needed for AAC without AudioSpecificConfig.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_set_stream_audio(struct edc_config *config,
                                    int32_t stream,
                                    uint32_t rate,
                                    uint32_t channels);

/*
 Bits a second (16000, 24000, 32000 or 40000) and order of bits (EDC_G726_...) of a G.726 stream.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_set_stream_g726(struct edc_config *config,
                                   int32_t stream,
                                   uint32_t rate,
                                   int32_t packing);

/*
 EDC_TRANSPORT_TCP, the default, or EDC_TRANSPORT_UDP.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_set_transport(struct edc_config *config, int32_t transport);

/*
 Bytes of each video stream's queue (64 KiB and up, 1 MiB by default; a frame may have half of it) and of each
 audio stream's (4 KiB and up, 64 KiB by default). Taken at edc_start().

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_set_queue(struct edc_config *config,
                             uint32_t video_bytes,
                             uint32_t audio_bytes);

/*
 Frames that have waited longer than `max_latency_ms` (1000 by default) are dropped. A push begins with the last
 `pre_roll_ms` (0 by default), which must fit into the queue.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_set_latency(struct edc_config *config,
                               uint32_t max_latency_ms,
                               uint32_t pre_roll_ms);

/*
 Asks for advice: EDC_EVENT_BITRATE tells what the uplink carries, within `min_bps` and `max_bps`. The encoder is at
 `start_bps` when it begins.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_set_bitrate(struct edc_config *config,
                               uint32_t min_bps,
                               uint32_t max_bps,
                               uint32_t start_bps);

/*
 The same for the sub stream, which EDC_EVENT_SELECT asks for when the main one does not fit.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_set_sub_bitrate(struct edc_config *config, uint32_t min_bps, uint32_t max_bps);

/*
 Which commands this camera can do: EDC_COMMAND_... bits. Others are answered with 501 at once, and clients of the CMS
 are told so. Without this call: PTZ, presets and talkback.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_set_commands(struct edc_config *config,
                                int32_t commands);

/*
 Name (up to 15 bytes), niceness (-20 to 19; other numbers leave it as it is) and stack (128 KiB and up; 0 for
 the default of 256 KiB) of the SDK's threads.

 # Safety
 `config` came from edc_config_new(); the text ends with a 0.
 */
int32_t edc_config_set_thread(struct edc_config *config,
                              const char *name,
                              int32_t nice,
                              uint32_t stack_bytes);

/*
 Calls this function with each event, on a thread of its own; edc_next_event() is not used then. NULL for none.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_set_event_callback(struct edc_config *config,
                                      edc_event_callback callback,
                                      void *user);

/*
 Calls this function with each line of the log. NULL for none.

 # Safety
 `config` came from edc_config_new().
 */
int32_t edc_config_set_log_callback(struct edc_config *config,
                                    edc_log_callback callback,
                                    void *user);

/*
 Starts a camera: takes the memory of its queues and starts its threads. The configuration stays the
 caller's, and is not needed any more. Call it after daemon() or fork().

 # Safety
 `config` came from edc_config_new() and was not freed; `camera` points to an edc_camera.
 */
int32_t edc_start(const struct edc_config *config, edc_camera *camera);

/*
 Ends a camera: waits for edc_push_frame() calls in flight, says goodbye to the media server, and ends its
 threads; no callback runs any more when it returns. Other threads may be in edc_push_frame()
 (EDC_ERR_HANDLE from now on) or edc_next_event() (EDC_ERR_CLOSED). Not from a callback:
 EDC_ERR_DEADLOCK.
 */
int32_t edc_destroy(edc_camera camera);

/*
 Copies a frame into the stream's queue and returns at once what became of it: EDC_QUEUED, or an
 EDC_DROPPED_... bit, perhaps with EDC_WAIT_KEY; or a negative error. The frame's memory is the caller's
 again. Takes no lock, allocates nothing, and makes at most one system call, which does not block.

 One thread at a time for each stream (EDC_ERR_BUSY). May run while edc_destroy() does.

 # Safety
 `frame` points to an edc_frame of the size it says, whose parts point to their bytes.
 */
int32_t edc_push_frame(edc_stream stream,
                       const struct edc_frame *frame);

/*
 Counters of a stream since edc_start().

 # Safety
 `stats` points to an edc_stats of the size it says.
 */
int32_t edc_get_stats(edc_stream stream, struct edc_stats *stats);

/*
 The handle of the stream that edc_config_add_stream() numbered so. Good until edc_destroy().

 # Safety
 `stream` points to an edc_stream.
 */
int32_t edc_get_stream(edc_camera camera, int32_t number, edc_stream *stream);

/*
 A descriptor for poll() or epoll: readable while events wait, and when the camera is destroyed, which
 closes it. Only to be polled.
 */
int32_t edc_event_fd(edc_camera camera);

/*
 Takes the next event, waiting for it up to `timeout_ms` (0: not at all, negative: for ever). EDC_ERR_TIMEOUT
 when there is none, EDC_ERR_UNSUPPORTED when a callback takes them. What the event points to is
 good until the next call. One thread at a time (EDC_ERR_BUSY).

 # Safety
 `event` points to an edc_event of the size it says.
 */
int32_t edc_next_event(edc_camera camera,
                       int32_t timeout_ms,
                       struct edc_event *event);

/*
 Answers a command: `code` is 200 when it was done, or a code like HTTP's: 501 for what the camera does not
 have, 701 for a failed device. Commands without an answer are answered with 408 after 10 s.
 */
int32_t edc_reply(edc_camera camera,
                  uint64_t command,
                  int32_t code);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EASYDARWIN_CAMERA_H */
