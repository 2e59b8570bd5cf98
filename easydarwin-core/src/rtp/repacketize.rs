use thiserror::Error;

use super::au::{self, AuHeader, AuHeaders, MAX_SECTION};
use super::packetize::{FU_END, FU_START, fragments, frame_ticks};
use super::pieces::{NalFormat, Piece, pieces};
use super::{DEFAULT_MAX_PAYLOAD, DepacketizeError, Packetizer};
use crate::media::{AacParams, Codec, Track};

/// Cuts RTP payloads that are too long for a network into several (H.264, H.265 and AAC).
///
/// Each payload is cut for itself, at once: nothing is kept between packets, nothing is copied
/// or allocated. The access units that come out of the parts are those of the whole, byte for
/// byte; whoever sends them numbers them anew.
#[derive(Debug, Clone)]
pub struct Repacketizer {
    format: Format,
}

#[derive(Debug, Clone)]
enum Format {
    Video(NalFormat),
    Aac {
        params: AacParams,
        /// Ticks of a frame.
        frame_ticks: i64,
    },
}

/// A payload out of a longer one: [`prefix`](Self::prefix), then [`body`](Self::body); together
/// at most [`DEFAULT_MAX_PAYLOAD`] bytes.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    prefix: [u8; MAX_SECTION],
    prefix_len: usize,
    /// What follows the prefix, out of the longer payload.
    pub body: &'a [u8],
    /// The marker bit.
    pub marker: bool,
    /// Ticks after the timestamp of the longer packet (further frames of AAC).
    pub ticks: i64,
}

/// Why a payload was not cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RepacketizeError {
    /// A structure that names the decoding order (H.264 interleaved mode) or is not known; it
    /// may be fine for its receiver. No part was made.
    #[error("payload structure {0} cannot be cut")]
    Unsupported(u8),
    /// It contradicts itself; parts were made up to there.
    #[error(transparent)]
    Broken(#[from] DepacketizeError),
}

impl Part<'_> {
    /// What stands before the body: the header of a NAL unit, of a fragment or of a frame.
    pub fn prefix(&self) -> &[u8] {
        self.prefix.get(..self.prefix_len).unwrap_or_default()
    }
}

impl Repacketizer {
    /// For payloads of this track; `None` for codecs whose payloads cannot be cut.
    pub fn new(track: &Track) -> Option<Self> {
        let format = match &track.codec {
            Codec::H264(_) => Format::Video(NalFormat::H264),
            Codec::H265(_) => Format::Video(NalFormat::H265),
            Codec::Aac(params) => Format::Aac {
                params: params.clone(),
                frame_ticks: i64::from(frame_ticks(params, track.clock_rate)),
            },
            Codec::G711(_) | Codec::G726(_) | Codec::Opus | Codec::Jpeg | Codec::Other => {
                return None;
            }
        };
        Some(Self { format })
    }

    /// Cuts one payload and hands its parts to `emit`, in order. `marker` is that of the whole
    /// packet; the last part gets it.
    ///
    /// # Errors
    /// When the payload cannot be cut or is broken, see [`RepacketizeError`].
    pub fn split<'a>(
        &self,
        payload: &'a [u8],
        marker: bool,
        mut emit: impl FnMut(&Part<'a>),
    ) -> Result<(), RepacketizeError> {
        match &self.format {
            Format::Video(format) => {
                if let Some(kind) = unsupported(*format, payload) {
                    return Err(RepacketizeError::Unsupported(kind));
                }
                // One part is held back until it is known whether it is the last.
                let mut held: Option<Part<'a>> = None;
                let mut result = Ok(());
                for piece in pieces(*format, payload) {
                    match piece {
                        Ok(piece) => split_piece(*format, &piece, |part| {
                            if let Some(before) = held.replace(part) {
                                emit(&before);
                            }
                        }),
                        Err(error) => result = Err(error.into()),
                    }
                }
                if let Some(last) = held {
                    let marker = marker && result.is_ok();
                    emit(&Part { marker, ..last });
                }
                result
            }
            Format::Aac {
                params,
                frame_ticks,
            } => split_aac(params, *frame_ticks, payload, marker, emit),
        }
    }
}

/// The structure of a payload whose parts would not say in which order they are decoded, or that
/// nobody knows.
fn unsupported(format: NalFormat, payload: &[u8]) -> Option<u8> {
    let first = payload.first().copied().unwrap_or(0);
    match format {
        // STAP-A and FU-A are cut; STAP-B, MTAP and FU-B carry decoding order numbers.
        NalFormat::H264 => Some(first & 0x1f).filter(|kind| !matches!(kind, 0..=24 | 28)),
        NalFormat::H265 => Some(first >> 1 & 0x3f).filter(|kind| *kind > 49),
    }
}

/// A whole NAL unit as it is, if it is short enough; else fragments.
fn split_piece<'a>(format: NalFormat, piece: &Piece<'a>, mut push: impl FnMut(Part<'a>)) {
    let whole = piece.start && piece.end;
    if whole && piece.header().len() + piece.body.len() <= DEFAULT_MAX_PAYLOAD {
        push(part(piece.header(), piece.body));
        return;
    }
    // The indicator or header of the fragment, and the FU header.
    let prefix = piece.header().len() + 1;
    for (body, flags) in fragments(piece.body, DEFAULT_MAX_PAYLOAD - prefix) {
        let start = flags & FU_START != 0 && piece.start;
        let end = flags & FU_END != 0 && piece.end;
        let flags = if start { FU_START } else { 0 } | if end { FU_END } else { 0 };
        match (format, piece.header()) {
            (NalFormat::H264, [header, ..]) => {
                push(part(&Packetizer::fu_a(*header, flags), body));
            }
            (NalFormat::H265, [first, second, ..]) => {
                push(part(&Packetizer::fu([*first, *second], flags), body));
            }
            _ => {}
        }
    }
}

/// Each frame in a packet of its own, or in fragments (RFC 3640, 3.2.3).
fn split_aac<'a>(
    params: &AacParams,
    frame_ticks: i64,
    payload: &'a [u8],
    marker: bool,
    mut emit: impl FnMut(&Part<'a>),
) -> Result<(), RepacketizeError> {
    let (mut headers, mut data) = AuHeaders::parse(payload, params)?;
    while let Some(AuHeader { size, index }) = headers.next() {
        let (section, used) = au::section(size, params);
        let section = section.get(..used).unwrap_or_default();
        // A fragment of a frame is alone in its packet.
        let whole = size <= data.len();
        if !whole && (index > 0 || !headers.is_empty()) {
            return Err(DepacketizeError::Truncated("AAC frame").into());
        }
        let (frame, rest) = data.split_at(size.min(data.len()));
        data = rest;
        if frame.is_empty() {
            continue;
        }
        for (body, flags) in fragments(frame, DEFAULT_MAX_PAYLOAD - used) {
            let end = flags & FU_END != 0;
            emit(&Part {
                // The marker says that a frame ends here.
                marker: end && (whole || marker),
                ticks: index.saturating_mul(frame_ticks),
                ..part(section, body)
            });
        }
    }
    Ok(())
}

fn part<'a>(front: &[u8], body: &'a [u8]) -> Part<'a> {
    let mut prefix = [0; MAX_SECTION];
    for (to, from) in prefix.iter_mut().zip(front) {
        *to = *from;
    }
    Part {
        prefix,
        prefix_len: front.len().min(MAX_SECTION),
        body,
        marker: false,
        ticks: 0,
    }
}

#[cfg(test)]
mod tests;
