#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use easydarwin_core::media::Track;

use super::QueueConfig;
use super::bell::Wake;
use super::count::{DropCause, StreamCounts};
use super::data::Data;
use super::ring::Meta;
use super::sender::{Channel, JUMP, KEY, LENGTHS, Mode};
use super::stream::{Next, StreamFeed};
use super::sync::Ordering;
use super::wake::Alarm;
use crate::feedback::{Departure, StreamChoice};

/// A ring that is fuller than this keeps nothing of the past while a push goes on.
const CROWDED_PERCENT: u64 = 75;

/// How much later than the latency a picture may leave: a quarter of the 200 ms that are allowed, for what is
/// known of the uplink is past.
const KERNEL_DELAY: Duration = Duration::from_millis(50);

/// Frames that are expected within so many microseconds are waited for together.
const TOGETHER_US: u64 = 1_000;

/// The end of a [`queue`](super::queue) that a camera sends from.
#[derive(Debug)]
pub struct FrameFeed {
    tracks: Vec<Track>,
    pub(super) streams: Vec<StreamFeed>,
    channel: Arc<Channel>,
    alarm: Alarm,
    pub(super) epoch: Instant,
    configured_latency: Duration,
    max_latency: Duration,
    pre_roll: Duration,
    /// How late frames may be until the past that a push begins with is sent.
    allowed: Duration,
    live: bool,
    of_source: bool,
    /// When what is sent next would leave.
    departure: Departure,
    /// Until then nobody rings for a frame that comes in time.
    nap_us: Option<u64>,
    scratch: Vec<u8>,
}

impl FrameFeed {
    pub(super) fn new(
        tracks: Vec<Track>,
        streams: Vec<StreamFeed>,
        channel: Arc<Channel>,
        epoch: Instant,
        config: &QueueConfig,
    ) -> Self {
        let feed = Self {
            tracks,
            streams,
            channel,
            alarm: Alarm::new(),
            epoch,
            configured_latency: config.max_latency,
            max_latency: config.max_latency,
            pre_roll: config.pre_roll,
            allowed: config.max_latency,
            live: false,
            of_source: false,
            departure: Departure::default(),
            nap_us: None,
            scratch: Vec::new(),
        };
        feed.set_resting_mode(false);
        feed
    }

    /// What the streams carry.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// What became of the frames of a stream, by the index of its sender.
    pub fn counts(&self, stream: usize) -> Option<StreamCounts> {
        Some(self.streams.get(stream)?.shared.counters.read())
    }

    /// The feed of a source that is opened when it is wanted, and has nothing to keep.
    pub(crate) fn of_source(mut self) -> Self {
        self.of_source = true;
        self
    }

    pub(crate) fn is_of_source(&self) -> bool {
        self.of_source
    }

    /// From now on frames may wait for so long, at most as long as configured: more waits behind
    /// the ring.
    pub(crate) fn limit_latency(&mut self, limit: Duration) {
        let caught_up = self.allowed == self.max_latency;
        self.max_latency = limit.min(self.configured_latency);
        if caught_up {
            self.allowed = self.max_latency;
        }
    }

    /// When what is sent next would leave the kernel, from now on: a picture that would leave too late is
    /// not begun.
    pub(crate) fn set_departure(&mut self, departure: Departure) {
        self.departure = departure;
    }

    /// Nothing is sent before: the kernel holds enough.
    pub(crate) fn held(&self, now: Instant) -> Option<Instant> {
        self.departure.held(now)
    }

    /// How long frames may wait as configured.
    pub(crate) fn configured_latency(&self) -> Duration {
        self.configured_latency
    }

    /// Frames dropped because the uplink was too slow.
    pub(crate) fn slow_drops(&self) -> u64 {
        let counts = self
            .streams
            .iter()
            .map(|stream| stream.shared.counters.read());
        let slow = [DropCause::QueueFull, DropCause::Late];
        counts
            .map(|counts| {
                slow.iter()
                    .map(|cause| counts.dropped_by(*cause))
                    .sum::<u64>()
            })
            .sum()
    }

    /// Frames are taken for a push that is about to begin, or goes on. The first one of a video stream
    /// is a key frame, from the past if some is kept.
    pub(crate) fn open(&mut self, now: Instant) {
        if self.live {
            return;
        }
        self.live = true;
        self.keep_past(now, DropCause::NotWanted);
        let kept = self.streams.iter().filter(|stream| stream.has_frames());
        let oldest = kept.map(|stream| stream.consumer.meta(stream.read).pushed_us);
        let now_us = self.micros(now);
        let past = now_us.saturating_sub(oldest.min().unwrap_or(now_us));
        self.allowed = self.max_latency + Duration::from_micros(past);
        for stream in &mut self.streams {
            stream.wait_key = stream.shared.video;
        }
        self.channel.set_mode(Mode::Open);
    }

    /// The push has ended. `wanted` when it is to go on as soon as the media server is reached.
    pub(crate) fn rest(&mut self, wanted: bool, now: Instant) {
        if !self.live {
            self.set_resting_mode(wanted);
            return;
        }
        self.live = false;
        self.set_resting_mode(wanted);
        self.keep_past(now, DropCause::PushEnded);
    }

    /// The next frame to send, if there is one; drops what is too late.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Next> {
        self.next_of(now, None)
    }

    /// [`next`](Self::next) of the audio streams, or of the others.
    pub(crate) fn next_of(&mut self, now: Instant, audio: Option<bool>) -> Option<Next> {
        let now_us = self.micros(now);
        let oldest_us = now_us.saturating_sub(as_micros(self.allowed));
        let past = self.allowed.saturating_sub(self.max_latency);
        let latest = self.configured_latency + past + KERNEL_DELAY;
        let departure = self.departure;
        let leaves_late = |meta: &Meta| {
            let age = Duration::from_micros(now_us.saturating_sub(meta.pushed_us));
            let len = usize::try_from(meta.len).unwrap_or(usize::MAX);
            age.saturating_add(departure.after(len, now)) > latest
        };
        let mut first: Option<(usize, Meta)> = None;
        self.change_streams(oldest_us);
        for (at, stream) in self.streams.iter_mut().enumerate() {
            if !stream.selected {
                continue;
            }
            if audio.is_some_and(|audio| audio == stream.shared.video) {
                continue;
            }
            let head = stream.consumer.head();
            let before = stream.read;
            stream.skip_late(head, oldest_us, leaves_late);
            stream.skip_undecodable(head);
            if stream.read != before {
                stream.consumer.release_to(stream.read);
            }
            if stream.read >= head {
                continue;
            }
            let meta = stream.consumer.meta(stream.read);
            let earlier = first.is_none_or(|(_, best)| {
                // Of two of the same moment the audio frame, which is small.
                let sound = meta.pushed_us == best.pushed_us && !stream.shared.video;
                meta.pushed_us < best.pushed_us || sound
            });
            if earlier {
                first = Some((at, meta));
            }
        }
        let (at, meta) = first?;
        let stream = self.streams.get(at)?;
        let age = now_us.saturating_sub(meta.pushed_us);
        if age < as_micros(self.max_latency) {
            self.allowed = self.max_latency;
        }
        Some(Next {
            track: stream.track,
            stream: at,
            pts_us: meta.pts_us,
            pushed: self.epoch + Duration::from_micros(meta.pushed_us),
            len: usize::try_from(meta.len).unwrap_or(usize::MAX),
            key: meta.flags & KEY != 0,
            jump: stream.jumped || meta.flags & JUMP != 0,
        })
    }

    /// The bytes of the frame that [`next`](Self::next) told of.
    pub(crate) fn read(&mut self, next: &Next) -> Data<'_> {
        let Some(stream) = self.streams.get(next.stream) else {
            return Data::new(&[], false);
        };
        let lengths = stream.consumer.meta(stream.read).flags & LENGTHS != 0;
        let bytes = stream.consumer.read(stream.read, &mut self.scratch);
        Data::new(bytes, lengths)
    }

    /// That frame was handed to the network (`None`), or cannot be.
    pub(crate) fn done(&mut self, next: &Next, dropped: Option<DropCause>, now: Instant) {
        let since_us = self.micros(now).saturating_sub(as_micros(self.pre_roll));
        let kept = !self.pre_roll.is_zero();
        let Some(stream) = self.streams.get_mut(next.stream) else {
            return;
        };
        if dropped.is_none() {
            self.departure.add(next.len, now);
        }
        if stream.read >= stream.counted {
            let pushed_us = stream.consumer.meta(stream.read).pushed_us;
            stream.cadence.note(pushed_us);
            match dropped {
                None => stream.shared.counters.sent(),
                Some(cause) => stream.shared.counters.dropped(cause, 1),
            }
            stream.counted = stream.read + 1;
        }
        stream.read += 1;
        // A frame that could not be sent leaves the jump to the next one.
        stream.jumped = next.jump && dropped.is_some();
        let crowded = stream.consumer.used_percent() > CROWDED_PERCENT;
        let from = if kept && !crowded {
            stream.past(stream.read, since_us)
        } else {
            stream.read
        };
        stream.consumer.release_to(from);
    }

    /// Takes frames in while nobody sends them, and gives back the memory of what is too old.
    /// Call when the alarm rings and nothing is sent.
    pub(crate) fn keep(&mut self, now: Instant) {
        if !self.live {
            self.keep_past(now, DropCause::NotWanted);
        }
    }

    /// Sends the main or the sub stream from its next key frame on. Nothing happens without a sub
    /// stream.
    pub(crate) fn select(&mut self, choice: StreamChoice) {
        let Some(sub) = Some(self.tracks.len()).filter(|at| *at < self.streams.len()) else {
            return;
        };
        let track = self.streams.get(sub).map_or(0, |stream| stream.track);
        let (comes, stays) = match choice {
            StreamChoice::Main => (track, sub),
            StreamChoice::Sub => (sub, track),
        };
        if let Some(stream) = self.streams.get_mut(stays) {
            stream.comes = false;
        }
        if let Some(stream) = self.streams.get_mut(comes)
            && !stream.selected
        {
            stream.comes = true;
            stream.wait_key = true;
            stream.key_wanted = true;
            stream.shared.muted.store(0, Ordering::Relaxed);
        }
    }

    /// Goes over to a stream whose key frame has come.
    fn change_streams(&mut self, oldest_us: u64) {
        let Some(at) = self.streams.iter().position(|stream| stream.comes) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        let head = stream.consumer.head();
        stream.skip_late(head, oldest_us, |_| false);
        stream.skip_undecodable(head);
        stream.consumer.release_to(stream.read);
        if !stream.has_frames() {
            return;
        }
        (stream.selected, stream.comes) = (true, false);
        let track = stream.track;
        for (other, stream) in self.streams.iter_mut().enumerate() {
            if other != at && stream.track == track {
                stream.select(false);
            }
        }
    }

    /// Streams: as many as senders.
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Whether a stream is video that is sent, or is about to be.
    pub(crate) fn wants_keys(&self, stream: usize) -> bool {
        let stream = self.streams.get(stream);
        stream.is_some_and(|s| s.shared.video && (s.selected || s.comes))
    }

    /// Whether the encoder of a stream should make a key frame: a later frame needs one that was
    /// dropped. Tells it once.
    pub(crate) fn take_key_wanted(&mut self, stream: usize) -> bool {
        let stream = self.streams.get_mut(stream);
        stream.is_some_and(|stream| std::mem::take(&mut stream.key_wanted))
    }

    /// How long the oldest frame has waited, and the bytes that wait.
    pub(crate) fn backlog(&self, now: Instant) -> (Duration, usize) {
        let mut oldest_us = None;
        let mut bytes = 0_usize;
        for stream in &self.streams {
            for at in stream.read..stream.consumer.head() {
                let meta = stream.consumer.meta(at);
                let oldest = oldest_us.get_or_insert(meta.pushed_us);
                *oldest = meta.pushed_us.min(*oldest);
                bytes = bytes.saturating_add(usize::try_from(meta.len).unwrap_or(usize::MAX));
            }
        }
        let age = oldest_us.map_or(0, |oldest| self.micros(now).saturating_sub(oldest));
        (Duration::from_micros(age), bytes)
    }

    /// Ready when there are frames of a kind that can be taken now, or something urgent happened to
    /// the ring. Pending: look again at [`nap_ends`](Self::nap_ends), too; the bell does not ring for a frame that comes
    /// about then.
    pub(crate) fn poll_frames(
        &mut self,
        video: bool,
        audio: bool,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // A broken alarm would be a broken runtime; frames are seen at the next timer then.
        let rung = self.alarm.poll(&self.channel.waker, cx).is_ready();
        self.nap_us = self.expected_us(video, audio, now);
        match self.nap_us {
            Some(until_us) => self.channel.bell.nap(until_us),
            None => self.channel.bell.sleep(wake(video, audio)),
        }
        if rung || self.has_frames(video, audio) {
            self.nap_us = None;
            self.channel.bell.awake();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// When frames are to be looked for, though no bell rings.
    pub(crate) fn nap_ends(&self) -> Option<Instant> {
        let until_us = self.nap_us?;
        Some(self.epoch + Duration::from_micros(until_us))
    }

    /// Whether there are frames of a kind that can be taken now. If not, the bell rings when there
    /// are, or when something urgent happens to the ring.
    pub(crate) fn listen(&mut self, video: bool, audio: bool) -> bool {
        self.channel.bell.sleep(wake(video, audio));
        let there = self.has_frames(video, audio);
        if there {
            self.channel.bell.awake();
        }
        there
    }

    fn wanted(&self, video: bool, audio: bool) -> impl Iterator<Item = &StreamFeed> {
        self.streams.iter().filter(move |stream| {
            let kind = if stream.shared.video { video } else { audio };
            kind && (stream.selected || stream.comes)
        })
    }

    fn has_frames(&self, video: bool, audio: bool) -> bool {
        self.wanted(video, audio).any(StreamFeed::has_frames)
    }

    /// When the next frame of a kind that can be taken is expected, and with it those that come soon after it.
    fn expected_us(&self, video: bool, audio: bool, now: Instant) -> Option<u64> {
        let now_us = self.micros(now);
        let expected = || {
            self.wanted(video, audio)
                .filter_map(|stream| stream.cadence.next_us())
                .filter(|next_us| *next_us > now_us)
        };
        let first = expected().min()?;
        expected().filter(|at| *at <= first + TOGETHER_US).max()
    }

    /// Becomes readable when the bell rings.
    #[cfg(unix)]
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.channel.waker.bell()
    }

    /// Takes what was rung, if anything was.
    #[cfg(unix)]
    pub(crate) fn hush(&self) {
        self.channel.waker.hush();
    }

    fn set_resting_mode(&self, wanted: bool) {
        self.channel.set_mode(if !self.pre_roll.is_zero() {
            Mode::Open
        } else if wanted {
            Mode::Offline
        } else {
            Mode::Idle
        });
    }

    /// Keeps what a push would begin with, and gives back what is older.
    fn keep_past(&mut self, now: Instant, cause: DropCause) {
        let since_us = self.micros(now).saturating_sub(as_micros(self.pre_roll));
        let since_us = (!self.pre_roll.is_zero()).then_some(since_us);
        let mut first_us = None;
        for stream in self.streams.iter_mut().filter(|s| s.shared.video) {
            let kept_us = stream.keep(since_us, cause);
            first_us = kept_us.into_iter().chain(first_us).min();
        }
        for stream in self.streams.iter_mut().filter(|s| !s.shared.video) {
            // Sound from where the picture begins.
            stream.keep(first_us.or(since_us), cause);
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        as_micros(now.saturating_duration_since(self.epoch))
    }
}

impl Drop for FrameFeed {
    fn drop(&mut self) {
        self.channel.set_mode(Mode::Closed);
    }
}

/// How whoever takes frames of these kinds wants to be woken.
fn wake(video: bool, audio: bool) -> Wake {
    if video || audio {
        Wake::Always
    } else {
        Wake::Urgent
    }
}

fn as_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
