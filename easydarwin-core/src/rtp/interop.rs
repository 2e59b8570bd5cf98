//! To and from the packet type of the [`rtp`](https://docs.rs/rtp) crate; follows that crate's
//! version.

use ::rtp::header::{Extension, Header};
use ::rtp::packet::Packet;
use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::RtpPacket;

/// Profiles of RFC 8285: extensions of one and of two bytes of header.
const ONE_BYTE_PROFILE: u16 = 0xbede;
const TWO_BYTE_PROFILE: u16 = 0x1000;
/// The id that ends one-byte extensions (RFC 8285, 4.2).
const ONE_BYTE_END: u8 = 15;

/// Why a packet of the `rtp` crate cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InteropError {
    /// More contributing sources than fit the header.
    #[error("{0} contributing sources, at most 15 fit an RTP header")]
    TooManySources(usize),
    /// An extension that its profile cannot express.
    #[error("header extension {0} does not fit its profile")]
    Extension(u8),
}

/// Copies a checked packet into the crate's type; padding is left out.
///
/// The checks of [`RtpPacket::parse`] matter: the crate's own parser panics on some packets.
pub fn to_rtp_crate(packet: &RtpPacket<'_>) -> Packet {
    let extension = packet.extension();
    let profile = extension.map_or(0, |(profile, _)| profile);
    Packet {
        header: Header {
            version: 2,
            padding: false,
            extension: extension.is_some(),
            marker: packet.marker(),
            payload_type: packet.payload_type(),
            sequence_number: packet.sequence(),
            timestamp: packet.timestamp(),
            ssrc: packet.ssrc(),
            csrc: packet.csrcs().collect(),
            extension_profile: profile,
            extensions: extension
                .map_or_else(Vec::new, |(profile, body)| extensions(profile, body)),
            extensions_padding: 0,
        },
        payload: Bytes::copy_from_slice(packet.payload()),
    }
}

/// The bytes of a packet of that crate, without padding.
///
/// # Errors
/// When its header holds what RTP cannot express.
pub fn from_rtp_crate(packet: &Packet) -> Result<Bytes, InteropError> {
    let header = &packet.header;
    let sources = u8::try_from(header.csrc.len())
        .ok()
        .filter(|&count| count <= 15)
        .ok_or(InteropError::TooManySources(header.csrc.len()))?;
    let mut out = BytesMut::with_capacity(64 + packet.payload.len());
    out.put_u8(0x80 | (u8::from(header.extension) << 4) | sources);
    out.put_u8((u8::from(header.marker) << 7) | (header.payload_type & 0x7f));
    out.put_u16(header.sequence_number);
    out.put_u32(header.timestamp);
    out.put_u32(header.ssrc);
    for &source in &header.csrc {
        out.put_u32(source);
    }
    if header.extension {
        let mut body = BytesMut::new();
        for extension in &header.extensions {
            write_extension(header.extension_profile, extension, &mut body)?;
        }
        body.put_bytes(0, body.len().next_multiple_of(4) - body.len());
        let words = u16::try_from(body.len() / 4).map_err(|_| InteropError::Extension(0))?;
        out.put_u16(header.extension_profile);
        out.put_u16(words);
        out.put_slice(&body);
    }
    out.put_slice(&packet.payload);
    Ok(out.freeze())
}

fn extensions(profile: u16, body: &[u8]) -> Vec<Extension> {
    if !matches!(profile, ONE_BYTE_PROFILE | TWO_BYTE_PROFILE) {
        return vec![Extension {
            id: 0,
            payload: Bytes::copy_from_slice(body),
        }];
    }
    let mut out = Vec::new();
    let mut rest = body;
    while let Some((id, payload, after)) = next_extension(profile, rest) {
        rest = after;
        if id != 0 {
            out.push(Extension {
                id,
                payload: Bytes::copy_from_slice(payload),
            });
        }
    }
    out
}

fn next_extension(profile: u16, rest: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&first, rest) = rest.split_first()?;
    if first == 0 {
        return Some((0, &[], rest));
    }
    let (id, len, rest) = if profile == ONE_BYTE_PROFILE {
        (first >> 4, usize::from(first & 0x0f) + 1, rest)
    } else {
        let (&len, rest) = rest.split_first()?;
        (first, usize::from(len), rest)
    };
    if profile == ONE_BYTE_PROFILE && id == ONE_BYTE_END {
        return None;
    }
    let (payload, rest) = rest.split_at_checked(len)?;
    Some((id, payload, rest))
}

fn write_extension(
    profile: u16,
    extension: &Extension,
    out: &mut BytesMut,
) -> Result<(), InteropError> {
    let error = InteropError::Extension(extension.id);
    let len = extension.payload.len();
    match profile {
        ONE_BYTE_PROFILE => {
            let stored = u8::try_from(len.checked_sub(1).ok_or(error)?).map_err(|_| error)?;
            if stored > 15 || extension.id == 0 || extension.id >= ONE_BYTE_END {
                return Err(error);
            }
            out.put_u8((extension.id << 4) | stored);
        }
        TWO_BYTE_PROFILE => {
            out.put_u8(extension.id);
            out.put_u8(u8::try_from(len).map_err(|_| error)?);
        }
        _ => {}
    }
    out.put_slice(&extension.payload);
    Ok(())
}
