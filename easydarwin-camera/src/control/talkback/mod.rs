//! Speech for the loudspeaker: what comes in pieces, early, late and in heaps, goes out as frames at
//! their time.

mod buffer;
mod window;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use bytes::Bytes;

use self::buffer::JitterBuffer;

/// Longest piece, in bytes: a second of G.711. Clients send 20 to 200 ms.
const MAX_PIECE: usize = 8000;
/// Who says nothing for so long has no claim to the loudspeaker: the CMS's own limit. It does
/// not tell a device that a talker's connection ended.
const SILENCE: Duration = Duration::from_secs(30);

/// How speech is coded; 8000 samples a second, one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TalkbackCodec {
    /// G.711 A-law, 64 kbit/s.
    G711A,
    /// G.711 µ-law, 64 kbit/s.
    G711U,
    /// G.726, 16 kbit/s.
    G726,
}

impl TalkbackCodec {
    /// Reads `AudioType`; what says nothing is A-law.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "" | "G711A" => Some(Self::G711A),
            "G711U" => Some(Self::G711U),
            "G726" => Some(Self::G726),
            _ => None,
        }
    }

    /// Bytes of one millisecond.
    pub fn bytes_per_ms(self) -> usize {
        match self {
            Self::G711A | Self::G711U => 8,
            Self::G726 => 2,
        }
    }
}

/// What is to be played now: 20 ms, or the rest of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TalkbackFrame {
    /// Channel, from 1.
    pub channel: u32,
    /// How it is coded.
    pub codec: TalkbackCodec,
    /// Its place in what is said, in ms.
    pub pts_ms: u64,
    /// How long it lasts, in ms.
    pub duration_ms: u64,
    /// `None`: it is missing. Silence, or what the decoder makes of a loss.
    pub audio: Option<Bytes>,
}

/// What became of what was said. Frames are of 20 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TalkbackStats {
    /// Pieces that came.
    pub pieces: u64,
    /// Frames given out with sound.
    pub played: u64,
    /// Frames given out without.
    pub concealed: u64,
    /// Frames that came, or were asked for, when their time was over.
    pub late: u64,
    /// Frames left out to catch up.
    pub skipped: u64,
    /// Frames that were there already.
    pub duplicate: u64,
}

/// Somebody talks.
#[derive(Debug)]
pub(super) struct Talk {
    channel: u32,
    codec: TalkbackCodec,
    buffer: JitterBuffer,
    heard: Instant,
    /// Nothing more will come; what is there is still played.
    stopped: bool,
}

impl Talk {
    pub(super) fn new(channel: u32, codec: TalkbackCodec, now: Instant) -> Self {
        Self {
            channel,
            codec,
            buffer: JitterBuffer::new(codec.bytes_per_ms(), now),
            heard: now,
            stopped: false,
        }
    }

    pub(super) fn channel(&self) -> u32 {
        self.channel
    }

    /// Whether more may come for this channel.
    pub(super) fn listens(&self, channel: u32) -> bool {
        self.channel == channel && !self.stopped
    }

    /// The talker has said that it was all.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn stats(&self) -> TalkbackStats {
        self.buffer.stats()
    }

    /// A piece in base64; false if it is none.
    pub(super) fn push(&mut self, audio: &str, pts: &str, now: Instant) -> bool {
        if audio.len() > MAX_PIECE * 4 / 3 + 4 {
            return false;
        }
        let Some(audio) = easydarwin_core::media::base64::decode(audio) else {
            return false;
        };
        if audio.is_empty() || audio.len() > MAX_PIECE {
            return false;
        }
        self.heard = now;
        self.buffer
            .push(pts.trim().parse().ok(), Bytes::from(audio), now);
        true
    }

    /// The next frame whose time has come.
    pub(super) fn poll(&mut self, now: Instant) -> Option<TalkbackFrame> {
        if self.is_played() {
            return None;
        }
        let frame = self.buffer.poll(now)?;
        Some(TalkbackFrame {
            channel: self.channel,
            codec: self.codec,
            pts_ms: frame.at,
            duration_ms: frame.ms,
            audio: frame.audio,
        })
    }

    /// Whether all was played that was said, or nobody was heard for too long.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.is_played() || now >= self.heard + SILENCE
    }

    fn is_played(&self) -> bool {
        self.stopped && self.buffer.is_empty()
    }

    /// When to look again.
    pub(super) fn due(&self) -> Instant {
        let silence = self.heard + SILENCE;
        self.buffer.due().map_or(silence, |due| due.min(silence))
    }
}
