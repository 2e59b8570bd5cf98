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

#[cfg(test)]
mod tests {
    use ::rtp::codecs::h264::{H264Packet, H264Payloader};
    use ::rtp::packetizer::{Depacketizer as _, Payloader as _};
    use proptest::prelude::*;
    use webrtc_util::marshal::{Marshal as _, Unmarshal as _};

    use super::*;
    use crate::media::nal;
    use crate::rtp::testing::{bbb, media_packet, packets_of, slices_h264, unit_of};
    use crate::rtp::{Depacketizer, MediaPacket, Packetizer, PacketizerConfig};

    /// What that crate makes of our packets is what we packetized.
    #[test]
    fn the_crate_reads_our_h264() {
        for clip in [bbb(), slices_h264()] {
            let mut packetizer = Packetizer::new(&clip.track, PacketizerConfig::default());
            let mut theirs = H264Packet::default();
            for unit in &clip.units {
                let mut joined = Vec::new();
                for bytes in packets_of(&mut packetizer, unit) {
                    let packet = to_rtp_crate(&RtpPacket::parse(&bytes).unwrap());
                    assert_eq!(from_rtp_crate(&packet).unwrap(), bytes);
                    joined.extend_from_slice(&theirs.depacketize(&packet.payload).unwrap());
                }
                let mut expected = BytesMut::new();
                nal::write_annex_b(&unit.data, &mut expected);
                assert_eq!(joined, expected);
            }
        }
    }

    /// What we make of that crate's packets is what it packetized. (It aggregates parameter sets
    /// and leaves delimiters out.)
    #[test]
    fn we_read_the_h264_of_the_crate() {
        for clip in [bbb(), slices_h264()] {
            let mut theirs = H264Payloader::default();
            let mut depacketizer = Depacketizer::new(0, &clip.track);
            for unit in &clip.units {
                let mut stream = BytesMut::new();
                nal::write_annex_b(&unit.data, &mut stream);
                let payloads = theirs.payload(1200, &stream.freeze()).unwrap();
                for (index, payload) in payloads.iter().enumerate() {
                    let packet = MediaPacket {
                        payload,
                        marker: index == payloads.len() - 1,
                        timestamp: unit.pts,
                        arrival: unit.arrival,
                        ntp: None,
                        lost_before: false,
                    };
                    depacketizer.push(packet).unwrap();
                }
            }
            depacketizer.flush();
            let received = std::iter::from_fn(|| depacketizer.pop());
            for (received, sent) in received.zip(&clip.units) {
                let mut sent = sent.clone();
                sent.data.retain(|nal| nal[0] & 0x1f != 9);
                assert_eq!(received.data, sent.data);
                assert_eq!((received.pts, received.key), (sent.pts, sent.key));
            }
        }
    }

    /// A header of that crate with everything that it can write.
    fn any_packet() -> impl Strategy<Value = Packet> {
        let extension =
            prop_oneof![
                Just((false, 0, vec![])),
                (1..15_u8, proptest::collection::vec(any::<u8>(), 1..16))
                    .prop_map(|(id, payload)| (true, ONE_BYTE_PROFILE, vec![(id, payload)])),
                (1..255_u8, proptest::collection::vec(any::<u8>(), 0..40))
                    .prop_map(|(id, payload)| (true, TWO_BYTE_PROFILE, vec![(id, payload)])),
                proptest::collection::vec(any::<[u8; 4]>(), 0..4).prop_map(|words| (
                    true,
                    0xabac,
                    vec![(0, words.concat())]
                )),
            ];
        (
            any::<(bool, u16, u32, u32)>(),
            0..128_u8,
            proptest::collection::vec(any::<u32>(), 0..16),
            extension,
            proptest::collection::vec(any::<u8>(), 0..40),
        )
            .prop_map(|(fields, payload_type, csrc, extension, payload)| Packet {
                header: Header {
                    version: 2,
                    marker: fields.0,
                    sequence_number: fields.1,
                    timestamp: fields.2,
                    ssrc: fields.3,
                    payload_type,
                    csrc,
                    extension: extension.0,
                    extension_profile: extension.1,
                    extensions: extension
                        .2
                        .into_iter()
                        .map(|(id, payload)| Extension {
                            id,
                            payload: payload.into(),
                        })
                        .collect(),
                    ..Header::default()
                },
                payload: payload.into(),
            })
    }

    proptest! {
        #[test]
        fn both_parsers_agree_on_valid_packets(packet in any_packet()) {
            let bytes = packet.marshal().unwrap();
            prop_assert_eq!(&from_rtp_crate(&packet).unwrap(), &bytes);
            let theirs = Packet::unmarshal(&mut bytes.clone()).unwrap();
            let ours = to_rtp_crate(&RtpPacket::parse(&bytes).unwrap());
            prop_assert_eq!(&ours.header.csrc, &theirs.header.csrc);
            prop_assert_eq!(&ours.header.extensions, &theirs.header.extensions);
            prop_assert_eq!(ours.payload, theirs.payload);
            prop_assert_eq!(ours.header.timestamp, theirs.header.timestamp);
        }

        #[test]
        fn packets_survive_the_way_there_and_back(packet in any_packet()) {
            let bytes = from_rtp_crate(&packet).unwrap();
            let view = RtpPacket::parse(&bytes).unwrap();
            prop_assert_eq!(view.payload(), packet.payload.as_ref());
            prop_assert_eq!(to_rtp_crate(&view), packet);
        }

        #[test]
        fn arbitrary_packets_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(view) = RtpPacket::parse(&bytes) {
                let _ = from_rtp_crate(&to_rtp_crate(&view));
            }
        }

        #[test]
        fn both_depacketizers_agree_on_any_slice(
            // That crate refuses slices of two bytes.
            body in proptest::collection::vec(any::<u8>(), 2..3000),
            max_payload in 64..1500_usize,
        ) {
            let mut nal = vec![0x65];
            nal.extend_from_slice(&body);
            let unit = unit_of(vec![nal.into()], 0, true);
            let config = PacketizerConfig { max_payload, ..PacketizerConfig::default() };
            let track = crate::media::Track::h264(96, Default::default());
            let mut packetizer = Packetizer::new(&track, config);
            let mut theirs = H264Packet::default();
            theirs.is_avc = true;
            let mut ours = Depacketizer::new(0, &track);
            let mut joined = Vec::new();
            for bytes in packets_of(&mut packetizer, &unit) {
                let view = RtpPacket::parse(&bytes).unwrap();
                joined.extend_from_slice(&theirs.depacketize(&Bytes::copy_from_slice(view.payload())).unwrap());
                ours.push(media_packet(&view)).unwrap();
            }
            ours.flush();
            let mut expected = BytesMut::new();
            nal::write_length_prefixed(&ours.pop().unwrap().data, &mut expected);
            prop_assert_eq!(joined, expected);
        }
    }
}
