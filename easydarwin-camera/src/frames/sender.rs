use std::io;
use std::sync::Arc;
use std::time::Instant;

use easydarwin_core::media::{AccessUnit, Codec, MediaKind, Track, h264, h265};

use super::bell::Bell;
use super::count::{Counters, DropCause, StreamCounts};
use super::ring::{Filler, Meta, Producer};
use super::sync::{AtomicU32, Ordering};
use super::wake::Waker;

/// Decoding can begin here.
pub(super) const KEY: u32 = 1;
/// The bytes are NAL units or frames behind their lengths (32 bits, little endian), not Annex B.
pub(super) const LENGTHS: u32 = 2;
/// Media time does not go on from the frame before.
pub(super) const JUMP: u32 = 4;
/// A ring that is fuller than this is looked at even by a feed that nobody waits for.
const URGENT_PERCENT: u64 = 60;
/// Bytes at the beginning of a frame in which its first slice is looked for.
const LOOK: usize = 1024;
/// So much more or less than the time that really passed is no jitter of the encoder, in microseconds.
const JUMP_US: i64 = 10_000_000;
/// How far reordered pictures go back at most, in microseconds: 16 of them (H.264, A.3.1) at 8 a second.
const REORDER_US: i64 = 2_000_000;

/// One encoded picture or audio frame.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its bytes, in as many pieces as the encoder gave. H.264 and H.265: NAL units with start codes
    /// (Annex B), all of one picture. AAC: one frame, with or without ADTS header. JPEG: a whole file. Other audio: samples or
    /// one packet of the codec.
    pub parts: &'a [&'a [u8]],
    /// When it was captured, in microseconds of a monotonic clock that all streams of the
    /// channel share.
    pub pts_us: i64,
    /// Decoding can begin here. May be left false for H.264 and H.265 whose first slice tells.
    pub key: bool,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It waits to be sent.
    Queued,
    /// It was dropped; all of it.
    Dropped {
        /// Why.
        cause: DropCause,
        /// Further frames are dropped until there is a key frame: ask the encoder for one.
        wait_key: bool,
    },
}

/// Reads what became of a stream's frames, beside the thread that pushes them.
#[derive(Debug, Clone)]
pub struct FrameCounter(Arc<Stream>);

impl FrameCounter {
    /// What became of the frames so far.
    pub fn read(&self) -> StreamCounts {
        self.0.counters.read()
    }
}

/// What the feed wants of the senders of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// No frames: nobody wants them.
    Idle,
    /// No frames: wanted, but not connected.
    Offline,
    /// Frames.
    Open,
    /// Never again.
    Closed,
}

/// What all streams of a channel share.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) bell: Bell,
    pub(super) waker: Waker,
    mode: AtomicU32,
}

/// What sender and feed of a stream share beside the ring.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) video: bool,
    nal: Option<Nal>,
    pub(super) counters: Counters,
    /// Not 0: the other one of main and sub stream is sent.
    pub(super) muted: AtomicU32,
    /// Times that the feed has thrown away what a later frame needs.
    pub(super) broken: AtomicU32,
}

#[derive(Debug, Clone, Copy)]
enum Nal {
    H264,
    H265,
}

/// Where an encoder puts the frames of one elementary stream; for one thread at a time.
#[derive(Debug)]
pub struct FrameSender {
    producer: Producer,
    stream: Arc<Stream>,
    channel: Arc<Channel>,
    epoch: Instant,
    largest: usize,
    wait_key: bool,
    /// The last value of [`Stream::broken`] that was acted on.
    broken: u32,
    last: Option<Last>,
}

/// The times of what was queued last, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Last {
    pts_us: i64,
    pushed_us: u64,
    /// The latest presentation time so far.
    newest_us: i64,
}

impl Channel {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            bell: Bell::new(),
            waker: Waker::new()?,
            mode: AtomicU32::new(0),
        })
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        let value = match mode {
            Mode::Idle => 0,
            Mode::Offline => 1,
            Mode::Open => 2,
            Mode::Closed => 3,
        };
        self.mode.store(value, Ordering::Release);
    }

    fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            0 => Mode::Idle,
            1 => Mode::Offline,
            2 => Mode::Open,
            _ => Mode::Closed,
        }
    }
}

impl Stream {
    pub(super) fn new(track: &Track) -> Self {
        Self {
            video: track.kind != MediaKind::Audio,
            nal: match track.codec {
                Codec::H264(_) => Some(Nal::H264),
                Codec::H265(_) => Some(Nal::H265),
                _ => None,
            },
            counters: Counters::new(),
            muted: AtomicU32::new(0),
            broken: AtomicU32::new(0),
        }
    }
}

impl FrameSender {
    pub(super) fn new(
        producer: Producer,
        stream: Arc<Stream>,
        channel: Arc<Channel>,
        epoch: Instant,
        largest: usize,
    ) -> Self {
        Self {
            producer,
            wait_key: stream.video,
            stream,
            channel,
            epoch,
            largest,
            broken: 0,
            last: None,
        }
    }

    /// Copies a frame into the queue, or says why not. Never waits: no lock, no allocation, at
    /// most one system call, which wakes the sending thread and does not block; none when the frame comes when it
    /// was expected.
    pub fn push(&mut self, frame: &Frame<'_>) -> Verdict {
        self.push_at(frame, Instant::now())
    }

    /// [`push`](Self::push) at a moment of the caller's clock.
    pub fn push_at(&mut self, frame: &Frame<'_>, now: Instant) -> Verdict {
        let len = frame.parts.iter().map(|part| part.len()).sum();
        let key = frame.key || self.stream.begins_decoding(frame.parts);
        let flags = if key { KEY } else { 0 };
        self.put(len, frame.pts_us, flags, now, |filler| {
            for part in frame.parts {
                filler.put(part);
            }
        })
    }

    /// Copies an access unit of this stream into the queue. `pts_us` is its `pts` in microseconds.
    pub(crate) fn push_unit(&mut self, unit: &AccessUnit, pts_us: i64, now: Instant) -> Verdict {
        let len = unit.data.iter().map(|part| 4 + part.len()).sum();
        let mut flags = LENGTHS;
        flags |= if unit.key { KEY } else { 0 };
        flags |= if unit.discontinuity { JUMP } else { 0 };
        self.put(len, pts_us, flags, now, |filler| {
            for part in &unit.data {
                let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
                filler.put(&len.to_le_bytes());
                filler.put(part);
            }
        })
    }

    /// What became of the frames so far.
    pub fn counts(&self) -> StreamCounts {
        self.stream.counters.read()
    }

    /// Reads the same counters from any thread, also when this sender is gone.
    pub fn counter(&self) -> FrameCounter {
        FrameCounter(Arc::clone(&self.stream))
    }

    fn put(
        &mut self,
        len: usize,
        pts_us: i64,
        flags: u32,
        now: Instant,
        fill: impl FnOnce(&mut Filler<'_>),
    ) -> Verdict {
        self.stream.counters.pushed();
        let key = flags & KEY != 0;
        if let Some(cause) = self.refuses(len, key) {
            self.stream.counters.dropped(cause, 1);
            return Verdict::Dropped {
                cause,
                wait_key: self.wait_key,
            };
        }
        let pushed_us = now.saturating_duration_since(self.epoch).as_micros();
        let pushed_us = u64::try_from(pushed_us).unwrap_or(u64::MAX);
        let meta = Meta {
            len: 0,
            flags: flags | self.jump(pts_us, pushed_us, key),
            pts_us,
            pushed_us,
        };
        self.producer.push(meta, fill);
        self.wait_key = false;
        let urgent = (self.stream.video && key) || self.producer.fill_percent() > URGENT_PERCENT;
        if self.channel.bell.ring(urgent, pushed_us) {
            self.channel.waker.wake();
        }
        Verdict::Queued
    }

    /// Why a frame cannot be taken.
    fn refuses(&mut self, len: usize, key: bool) -> Option<DropCause> {
        let video = self.stream.video;
        let broken = self.stream.broken.load(Ordering::Relaxed);
        if broken != self.broken {
            self.broken = broken;
            self.wait_key = video;
        }
        let cause = match self.channel.mode() {
            Mode::Idle => DropCause::NotWanted,
            Mode::Offline => DropCause::NotConnected,
            Mode::Closed => DropCause::Closed,
            Mode::Open if self.stream.muted.load(Ordering::Relaxed) != 0 => DropCause::NotSelected,
            Mode::Open if self.wait_key && !key => return Some(DropCause::WaitKey),
            Mode::Open if len == 0 || len > self.largest => DropCause::Size,
            Mode::Open if !self.producer.has_room(len) => DropCause::QueueFull,
            Mode::Open => return None,
        };
        // What follows needs this frame.
        self.wait_key = video;
        Some(cause)
    }

    /// Whether the encoder's clock went back, or went otherwise than time did. A pause is no jump.
    fn jump(&mut self, pts_us: i64, pushed_us: u64, key: bool) -> u32 {
        let jumped = self.last.is_some_and(|last| {
            let passed = pushed_us.saturating_sub(last.pushed_us);
            let passed = i64::try_from(passed).unwrap_or(i64::MAX);
            let ahead = pts_us.saturating_sub(last.pts_us).saturating_sub(passed);
            // Only between key frames, which come after all that was shown before, are pictures reordered.
            let reordered = self.stream.video && !key;
            let allowed = if reordered { REORDER_US } else { 0 };
            let back = last.newest_us.saturating_sub(pts_us);
            back > allowed || ahead.saturating_abs() > JUMP_US
        });
        let newest = self.last.map(|last| last.newest_us.max(pts_us));
        self.last = Some(Last {
            pts_us,
            pushed_us,
            newest_us: newest.filter(|_| !jumped).unwrap_or(pts_us),
        });
        if jumped { JUMP } else { 0 }
    }
}

impl Stream {
    /// Whether the first slice in Annex B is one that decoding can begin at.
    fn begins_decoding(&self, parts: &[&[u8]]) -> bool {
        let Some(nal) = self.nal else {
            // Every audio frame, every JPEG.
            return true;
        };
        let mut left = LOOK;
        // The last three bytes, to find start codes across parts.
        let mut code = u32::MAX;
        for part in parts {
            for &byte in part.iter().take(left) {
                if code & 0x00ff_ffff == 1
                    && let Some(key) = nal.decides(byte)
                {
                    return key;
                }
                code = code << 8 | u32::from(byte);
            }
            left = left.saturating_sub(part.len());
        }
        false
    }
}

impl Nal {
    /// Whether a NAL unit with this first byte is a slice, and then whether decoding can begin
    /// at its picture.
    fn decides(self, first: u8) -> Option<bool> {
        match self {
            Self::H264 => {
                let kind = first & 0x1f;
                h264::is_vcl(kind).then_some(kind == h264::NAL_IDR)
            }
            Self::H265 => {
                let kind = first >> 1 & 0x3f;
                h265::is_vcl(kind).then_some(h265::is_irap(kind))
            }
        }
    }
}
