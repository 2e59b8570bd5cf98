//! Frames on their way from an encoder to the network.
//!
//! [`queue`] makes one [`FrameSender`] for each elementary stream of a channel, and the
//! [`FrameFeed`] that a [`Camera`](crate::Camera) sends from. An encoder's thread calls
//! [`FrameSender::push`], which copies the frame once, never waits, takes no lock and allocates
//! nothing, and returns what became of the frame. Each stream has a ring of its own with a bound in bytes:
//! when the uplink is too slow, video is dropped up to the next key frame, never half a picture,
//! and audio, which needs little, goes on.
//!
//! The feed drops what has become older than [`QueueConfig::max_latency`], or would be by the time that it has left
//! the socket, and keeps the last
//! [`QueueConfig::pre_roll`] while nobody watches, in the same ring.

mod bell;
mod cadence;
mod count;
mod data;
mod feed;
mod ring;
mod sender;
mod stream;
mod sync;
mod wake;

#[cfg(test)]
mod tests;

pub use count::{DropCause, StreamCounts};
pub(crate) use data::Data;
pub use feed::FrameFeed;
pub use sender::{Frame, FrameCounter, FrameSender, Verdict};
pub(crate) use stream::Next;

use std::sync::Arc;
use std::time::{Duration, Instant};

use easydarwin_core::media::{MediaKind, Track};

use self::sender::Stream;
use self::stream::StreamFeed;

/// Bounds of the frames that wait. The memory is taken when the queue is made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QueueConfig {
    /// Bytes for each video stream, at least 64 KiB; half of it is the largest frame. Default 1 MiB: two seconds at
    /// 4 Mbit/s. [`pre_roll`](Self::pre_roll) needs its share of it.
    pub video_bytes: usize,
    /// Bytes for each audio stream, at least 4 KiB. Default 64 KiB.
    pub audio_bytes: usize,
    /// What has waited longer is not sent any more, and no picture is begun that would leave the socket later. With
    /// 200 ms more for what cannot be foreseen, that is how late a picture can be on the wire; except one that
    /// alone takes longer, if it was begun when the uplink shrank, and such a one every 5 s at most, to see whether the uplink has
    /// recovered. Default 1 s.
    pub max_latency: Duration,
    /// A further sender, the last one, takes the small pictures of the first video track: the sub stream, of the
    /// same codec, which is sent in place of the main one when the uplink is too slow for that
    /// ([`CameraBuilder::rate`](crate::CameraBuilder::rate)). Default no.
    pub sub_stream: bool,
    /// How much of the past a push begins with. Default none.
    pub pre_roll: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            video_bytes: 1 << 20,
            audio_bytes: 64 << 10,
            max_latency: Duration::from_secs(1),
            sub_stream: false,
            pre_roll: Duration::ZERO,
        }
    }
}

/// Why there is no queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// No stream was named.
    #[error("name at least one stream")]
    NoStream,
    /// There is not so much memory.
    #[error("no memory for queues of {0} bytes")]
    Memory(usize),
    /// The system gave no pipe to wake the network's thread with.
    #[error("cannot make a pipe: {0}")]
    Wake(std::io::Error),
}

/// Frames that a ring holds for a frame's usual size; audio frames are small.
const FRAMES_MIN: usize = 256;
const FRAMES_MAX: usize = 4096;
/// Bytes of the smallest frames, on average, that the number of frames is made for: pictures of 200 kbit/s, audio of
/// 100 kbit/s. An entry takes 32 bytes.
const SMALL_PICTURE: usize = 1024;
const SMALL_FRAME: usize = 256;
const LEAST_VIDEO: usize = 64 << 10;
const LEAST_AUDIO: usize = 4 << 10;

/// A queue for the streams of one channel: a sender for each of `tracks` in their order, and one for the
/// sub stream if there is one.
///
/// # Errors
/// [`QueueError`] says what the system did not give.
pub fn queue(
    tracks: Vec<Track>,
    config: &QueueConfig,
) -> Result<(Vec<FrameSender>, FrameFeed), QueueError> {
    if tracks.is_empty() {
        return Err(QueueError::NoStream);
    }
    let epoch = Instant::now();
    let channel = Arc::new(sender::Channel::new().map_err(QueueError::Wake)?);
    let mut senders = Vec::with_capacity(tracks.len());
    let mut feeds = Vec::with_capacity(tracks.len());
    let main = tracks
        .iter()
        .position(|track| track.kind == MediaKind::Video);
    let sub = main.filter(|_| config.sub_stream);
    let streams = tracks.iter().enumerate();
    let sub = sub.and_then(|at| Some((at, tracks.get(at)?)));
    for (number, (at, track)) in streams.chain(sub).enumerate() {
        let (bytes, small) = if track.kind == MediaKind::Audio {
            (config.audio_bytes.max(LEAST_AUDIO), SMALL_FRAME)
        } else {
            (config.video_bytes.max(LEAST_VIDEO), SMALL_PICTURE)
        };
        let frames = (bytes / small).clamp(FRAMES_MIN, FRAMES_MAX);
        let (producer, consumer) = ring::ring(bytes, frames).ok_or(QueueError::Memory(bytes))?;
        let stream = Arc::new(Stream::new(track));
        let selected = number < tracks.len();
        feeds.push(StreamFeed::new(consumer, Arc::clone(&stream), at, selected));
        senders.push(FrameSender::new(
            producer,
            stream,
            Arc::clone(&channel),
            epoch,
            bytes / 2,
        ));
    }
    Ok((
        senders,
        FrameFeed::new(tracks, feeds, channel, epoch, config),
    ))
}
