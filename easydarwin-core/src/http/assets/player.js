// Plays a live fMP4 stream that comes over a WebSocket in a <video> element, by Media Source
// Extensions.
//
//   import { play } from "http://node:10080/player.js";
//   const player = play(video, "ws://node:10080/t/TOKEN/SERIAL/1/live.ws", { onstate: console.log });
//   player.stop();
//
// The socket sends a JSON text before each init segment, then the init segment, then fragments.
// The first picture is shown at once; then the picture runs to the live edge and stays close to
// it: a player that fell behind jumps, one that is a little late runs slightly faster. Lost connections and decoder errors lead to a new connection with
// growing pauses. Sound starts muted, because browsers allow nothing else without a click.

const DEFAULTS = {
  // Seconds behind the live edge that are normal; more is caught up by running faster...
  latency: 0.6,
  // ...and much more by a jump.
  maxLatency: 6,
  // How fast the cached picture group runs after the start until the live edge is reached. A jump
  // there would show nothing until all pictures of the group are decoded.
  catchUpRate: 3,
  // Seconds of past media that stay in memory.
  keep: 8,
  // Milliseconds without progress before the position is moved, and before all starts anew.
  nudgeAfter: 1000,
  restartAfter: 6000,
  // First and greatest pause before a new connection, in milliseconds.
  retryMin: 500,
  retryMax: 8000,
  // Greatest number of bytes that wait for the decoder; beyond that everything starts anew.
  maxQueue: 32 << 20,
  // Whether to connect again by itself. A URL with a short-lived token may need a fresh one:
  // give a function instead of a URL and it is asked each time.
  reconnect: true,
  onstate: () => {},
};

/**
 * Plays `url` (a ws: or wss: URL, or a function that gives one, also asynchronously) in `video`.
 *
 * `options.onstate(state, detail)` is told "connecting", "buffering", "playing", "reconnecting",
 * "ended", "error" and "stopped". Returns `{ stop(), state, stats() }`.
 */
export function play(video, url, options = {}) {
  const player = new Player(video, url, { ...DEFAULTS, ...options });
  player.connect();
  return {
    stop: () => player.stop(),
    stats: () => player.stats(),
    get state() {
      return player.state;
    },
  };
}

class Player {
  constructor(video, url, options) {
    this.video = video;
    this.url = url;
    this.options = options;
    this.state = "";
    this.stopped = false;
    this.attempt = 0;
    this.retry = 0;
    this.startedAt = performance.now();
    this.firstPictureAt = 0;
    this.source = null;
    this.onVideoError = () => {
      if (this.source && video.error) this.restart(`decoder: ${video.error.message}`);
    };
    this.onPicture = () => {
      if (this.source && !this.firstPictureAt) this.firstPictureAt = performance.now();
    };
    this.onPlaying = () => this.report("playing");
    video.addEventListener("error", this.onVideoError);
    video.addEventListener("loadeddata", this.onPicture);
    video.addEventListener("playing", this.onPlaying);
    video.muted = true;
    video.autoplay = true;
    video.playsInline = true;
    this.watch = setInterval(() => this.supervise(), 250);
  }

  report(state, detail = "") {
    if (this.state === state && !detail) return;
    this.state = state;
    this.options.onstate(state, detail);
  }

  async connect() {
    const attempt = ++this.attempt;
    this.report("connecting");
    let address;
    try {
      address = typeof this.url === "function" ? await this.url() : this.url;
    } catch (error) {
      if (attempt === this.attempt) this.retryLater(String(error));
      return;
    }
    if (this.stopped || attempt !== this.attempt) return;
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.openedAt = performance.now();
    };
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      if (typeof event.data === "string") this.describe(JSON.parse(event.data));
      else this.append(event.data);
    };
    socket.onclose = async (event) => {
      if (socket !== this.socket) return;
      let reason = event.reason || (opened ? "connection lost" : "no connection");
      // Only a plain request tells a page why its WebSocket was refused.
      if (!opened) reason = (await refusal(address)) || reason;
      if (socket !== this.socket) return;
      if (opened && event.code === 1001) this.report("ended", reason);
      this.retryLater(reason);
    };
  }

  // A new init segment: other codecs need another SourceBuffer, and that another MediaSource.
  describe(message) {
    if (message.type !== "init") return;
    this.info = message;
    if (!window.MediaSource && !window.ManagedMediaSource) {
      return this.fail("this browser has no Media Source Extensions; use the HLS address");
    }
    const Source = window.ManagedMediaSource || window.MediaSource;
    if (!Source.isTypeSupported(message.mime)) {
      return this.fail(`this browser cannot play ${message.codecs.join(", ")}`);
    }
    if (this.source && this.mime === message.mime) return;
    this.detach();
    this.mime = message.mime;
    this.report("buffering");
    const source = new Source();
    this.source = source;
    this.video.disableRemotePlayback = true;
    this.objectUrl = URL.createObjectURL(source);
    this.video.src = this.objectUrl;
    source.addEventListener(
      "sourceopen",
      () => {
        if (source !== this.source) return;
        this.buffer = source.addSourceBuffer(message.mime);
        this.buffer.mode = "segments";
        this.buffer.addEventListener("updateend", () => {
          if (source !== this.source) return;
          this.feed();
          if (!this.placed) this.supervise();
        });
        this.feed();
      },
      { once: true },
    );
    this.video.play().catch(() => {});
  }

  append(data) {
    if (!this.source) return;
    this.queue.push(data);
    this.queued += data.byteLength;
    if (this.queued > this.options.maxQueue) return this.restart("the decoder is too slow");
    this.feed();
  }

  // Hands over all that waits in one piece: the first picture group comes in one burst.
  feed() {
    const buffer = this.buffer;
    if (!buffer || buffer.updating || this.source.readyState !== "open") return;
    try {
      if (this.trim()) return;
      if (this.queue.length === 0) return;
      const data = this.queue.length === 1 ? this.queue[0] : join(this.queue, this.queued);
      buffer.appendBuffer(data);
      this.queue = [];
      this.queued = 0;
    } catch (error) {
      if (error.name === "QuotaExceededError") {
        this.options.keep = Math.max(1, this.options.keep / 2);
        if (!this.trim()) this.restart("too much media for this browser");
      } else {
        this.restart(String(error));
      }
    }
  }

  // Removes what lies far behind; in steps, because each removal costs.
  trim() {
    const { buffered } = this.buffer;
    if (!buffered.length) return false;
    const end = this.video.currentTime - this.options.keep;
    if (end - buffered.start(0) < this.options.keep / 2) return false;
    this.buffer.remove(0, end);
    return true;
  }

  supervise() {
    const { video, options } = this;
    if (!this.buffer || !this.buffer.buffered.length || this.stopped) return;
    const { buffered } = this.buffer;
    const start = buffered.start(buffered.length - 1);
    const end = buffered.end(buffered.length - 1);
    const now = performance.now();

    // Slightly before or behind is where a browser waits by itself, and a seek that has not ended
    // would only begin anew.
    const behind = end - video.currentTime;
    const outside = behind < -1 || video.currentTime < start - 0.1;
    if (video.seeking && !outside) {
      // Nothing to correct.
    } else if (!this.placed) {
      this.placed = true;
      if (video.currentTime < start) this.seek(start);
    } else if (outside || (behind > options.maxLatency && !video.paused)) {
      this.seek(Math.max(start, end - options.latency));
    } else {
      const late = behind - options.latency;
      if (late < 0.3) this.catchingUp = false;
      else if (late > 1.5) this.catchingUp = true;
      const slight = late > 0.5 ? 1.1 : late > 0.2 ? 1.05 : 1;
      video.playbackRate = this.catchingUp ? options.catchUpRate : slight;
    }

    // Nobody pressed pause on purpose before the first picture; later the user may.
    if (video.paused && !this.firstPictureAt) video.play().catch(() => {});
    if (video.currentTime !== this.lastTime || video.paused) {
      this.lastTime = video.currentTime;
      this.progressAt = now;
      // What plays for a while is no longer part of a row of failures.
      if (now - this.openedAt > this.options.retryMax) this.retry = 0;
      return;
    }
    const stalled = now - (this.progressAt || now);
    if (stalled > options.restartAfter) this.restart("no progress");
    else if (stalled > options.nudgeAfter && !video.seeking) {
      this.report("buffering");
      if (behind > 0.1) this.seek(Math.max(start, end - 0.1));
    }
  }

  seek(time) {
    this.video.currentTime = time;
    this.video.playbackRate = 1;
  }

  // Everything anew, with a pause.
  restart(reason) {
    if (this.stopped) return;
    this.retryLater(reason);
  }

  retryLater(reason) {
    if (this.stopped) return;
    this.closeSocket();
    this.detach();
    if (!this.options.reconnect) return this.fail(reason);
    const pause = Math.min(this.options.retryMax, this.options.retryMin * 2 ** this.retry++);
    this.report("reconnecting", reason);
    clearTimeout(this.timer);
    // Many viewers of one camera shall not all come back in the same moment.
    this.timer = setTimeout(() => this.connect(), pause * (0.75 + Math.random() / 2));
  }

  fail(reason) {
    this.stop("error", reason);
  }

  stop(state = "stopped", detail = "") {
    if (this.stopped) return;
    this.stopped = true;
    this.attempt++;
    clearInterval(this.watch);
    clearTimeout(this.timer);
    this.closeSocket();
    this.video.removeEventListener("error", this.onVideoError);
    this.video.removeEventListener("loadeddata", this.onPicture);
    this.video.removeEventListener("playing", this.onPlaying);
    this.detach();
    this.report(state, detail);
  }

  closeSocket() {
    const socket = this.socket;
    this.socket = null;
    if (socket) socket.close();
  }

  detach() {
    this.source = null;
    this.buffer = null;
    this.mime = "";
    this.queue = [];
    this.queued = 0;
    this.placed = false;
    this.progressAt = 0;
    if (this.objectUrl) {
      URL.revokeObjectURL(this.objectUrl);
      this.objectUrl = "";
      this.video.removeAttribute("src");
      this.video.load();
    }
  }

  stats() {
    const buffered = this.buffer ? this.buffer.buffered : { length: 0 };
    const end = buffered.length ? buffered.end(buffered.length - 1) : 0;
    return {
      state: this.state,
      mime: this.mime,
      width: this.info && this.info.width,
      height: this.info && this.info.height,
      behind: end ? end - this.video.currentTime : 0,
      firstPictureMs: this.firstPictureAt ? this.firstPictureAt - this.startedAt : 0,
    };
  }
}

function join(parts, size) {
  const all = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    all.set(new Uint8Array(part), offset);
    offset += part.byteLength;
  }
  return all;
}

async function refusal(address) {
  try {
    const answer = await fetch(address.replace(/^ws/, "http"));
    const body = await answer.json();
    // 426 is what a healthy stream answers to a plain request.
    return answer.status === 426 ? "" : body.error.message;
  } catch {
    return "";
  }
}
