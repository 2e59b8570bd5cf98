mod aac;
mod jpeg;
mod units;
mod video;

use std::time::{Instant, SystemTime};

use thiserror::Error;

use self::aac::AacAssembler;
use self::jpeg::JpegAssembler;
use self::units::Units;
use self::video::VideoAssembler;
use super::pieces::NalFormat;
use crate::media::{AccessUnit, Codec, MediaKind, Track};

/// Largest access unit that is put together, in bytes; what is beyond is dropped and the access
/// unit marked lossy.
pub const MAX_ACCESS_UNIT: usize = 8 * 1024 * 1024;

/// One RTP packet of a track, in order, with what is known of its time.
#[derive(Debug, Clone, Copy)]
pub struct MediaPacket<'a> {
    /// RTP payload.
    pub payload: &'a [u8],
    /// The marker bit.
    pub marker: bool,
    /// Unwrapped timestamp.
    pub timestamp: i64,
    /// When it arrived.
    pub arrival: Instant,
    /// The publisher's wall clock of the timestamp, if known.
    pub ntp: Option<SystemTime>,
    /// Packets were lost directly before this one.
    pub lost_before: bool,
}

/// Why a payload was dropped. The access unit that it belongs to is marked lossy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DepacketizeError {
    /// A length runs past the end of the payload.
    #[error("{0} ends early")]
    Truncated(&'static str),
    /// A fragment without its first part.
    #[error("fragment without its start")]
    MissingStart,
    /// A payload structure that is reserved or not supported.
    #[error("payload structure {0} is not supported")]
    Unsupported(u8),
    /// More than [`MAX_ACCESS_UNIT`].
    #[error("access unit is larger than {MAX_ACCESS_UNIT} bytes")]
    TooLarge,
}

/// Puts access units together from the packets of one track.
///
/// The payload is copied once; nothing of the packets is kept. A picture ends with the packet that
/// has the marker, once the publisher's markers have proven honest (the first picture therefore
/// waits for the packet after it), else with the change of the timestamp or the start of the next
/// picture.
#[derive(Debug)]
pub struct Depacketizer {
    units: Units,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Video(VideoAssembler),
    Aac(AacAssembler),
    Jpeg(JpegAssembler),
    /// One access unit per packet.
    Frames,
    /// Payloads of one timestamp, up to the marker.
    Payloads(Option<AccessUnit>),
}

impl Depacketizer {
    /// `index` goes into [`AccessUnit::track`].
    pub fn new(index: usize, track: &Track) -> Self {
        let format = match &track.codec {
            Codec::H264(_) => Format::Video(VideoAssembler::new(NalFormat::H264)),
            Codec::H265(_) => Format::Video(VideoAssembler::new(NalFormat::H265)),
            Codec::Aac(params) => Format::Aac(AacAssembler::new(params, track.clock_rate)),
            Codec::Other if track.kind == MediaKind::Video => Format::Payloads(None),
            Codec::Jpeg => Format::Jpeg(JpegAssembler::default()),
            Codec::Opus | Codec::G711(_) | Codec::G726(_) | Codec::Other => Format::Frames,
        };
        Self {
            units: Units::new(index),
            format,
        }
    }

    /// Takes a packet; call [`pop`](Self::pop) until it returns `None` afterwards, also after an
    /// error.
    ///
    /// # Errors
    /// When the payload is broken. The depacketizer goes on with the next packet.
    pub fn push(&mut self, packet: MediaPacket<'_>) -> Result<(), DepacketizeError> {
        // Video knows which of its pictures a loss touches.
        if packet.lost_before && !matches!(self.format, Format::Video(_)) {
            self.units.mark_lossy();
        }
        let result = match &mut self.format {
            Format::Video(video) => return video.push(&packet, &mut self.units),
            Format::Aac(aac) => aac.push(&packet, &mut self.units),
            Format::Jpeg(jpeg) => jpeg.push(&packet, &mut self.units),
            Format::Frames if packet.payload.is_empty() => {
                Err(DepacketizeError::Truncated("payload"))
            }
            Format::Frames => {
                self.units
                    .push_frame(&packet, packet.timestamp, packet.payload);
                Ok(())
            }
            Format::Payloads(open) => push_payload(open, &packet, &mut self.units),
        };
        if result.is_err() {
            self.units.mark_lossy();
        }
        result
    }

    /// The next complete access unit in decoding order.
    pub fn pop(&mut self) -> Option<AccessUnit> {
        self.units.pop()
    }

    /// Completes the open access unit (end of stream, pause).
    pub fn flush(&mut self) {
        match &mut self.format {
            Format::Video(video) => video.complete(&mut self.units),
            Format::Aac(aac) => aac.reset(),
            Format::Jpeg(jpeg) => jpeg.reset(),
            Format::Frames => {}
            Format::Payloads(open) => {
                if let Some(unit) = open.take() {
                    self.units.push(unit);
                }
            }
        }
    }

    /// The next access unit gets the mark [`AccessUnit::discontinuity`]; what is open is dropped.
    pub fn discontinuity(&mut self) {
        match &mut self.format {
            Format::Video(video) => video.reset(),
            Format::Aac(aac) => aac.reset(),
            Format::Jpeg(jpeg) => jpeg.reset(),
            Format::Frames => {}
            Format::Payloads(open) => *open = None,
        }
        self.units.mark_discontinuity();
    }
}

/// Most payloads of one timestamp of a codec that is not understood.
const MAX_PAYLOADS: usize = 16 * 1024;

fn push_payload(
    open: &mut Option<AccessUnit>,
    packet: &MediaPacket<'_>,
    units: &mut Units,
) -> Result<(), DepacketizeError> {
    if open.as_ref().is_some_and(|o| o.pts != packet.timestamp)
        && let Some(complete) = open.take()
    {
        units.push(complete);
    }
    let unit = open.get_or_insert_with(|| units.open(packet, true));
    unit.arrival = packet.arrival;
    unit.lossy |= units.take_lossy();
    let fits = unit.data.len() < MAX_PAYLOADS
        && unit.len().saturating_add(packet.payload.len()) <= MAX_ACCESS_UNIT;
    if fits {
        unit.data
            .push(bytes::Bytes::copy_from_slice(packet.payload));
    } else {
        unit.lossy = true;
    }
    if packet.marker
        && let Some(complete) = open.take()
    {
        units.push(complete);
    }
    if fits {
        Ok(())
    } else {
        Err(DepacketizeError::TooLarge)
    }
}

#[cfg(test)]
mod tests;
