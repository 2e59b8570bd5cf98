use thiserror::Error;

/// Bytes of an RTP header without contributing sources and extension.
pub const MIN_HEADER_LEN: usize = 12;

/// Why bytes are no RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Less than a header, or less than its CSRC list and extension need.
    #[error("RTP packet of {len} bytes is shorter than its header of {need}")]
    Truncated {
        /// Bytes there are.
        len: usize,
        /// Bytes the header needs.
        need: usize,
    },
    /// The version is not 2.
    #[error("RTP version {0} instead of 2")]
    Version(u8),
    /// The padding is longer than what follows the header, or zero.
    #[error("RTP padding of {padding} bytes in a payload of {payload}")]
    Padding {
        /// What the last byte says.
        padding: usize,
        /// Bytes after the header.
        payload: usize,
    },
}

/// A checked view of an RTP packet (RFC 3550, 5.1); copies nothing.
#[derive(Debug, Clone, Copy)]
pub struct RtpPacket<'a> {
    data: &'a [u8],
    marker: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    header_len: usize,
    payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Checks version, lengths of CSRC list, extension and padding.
    ///
    /// # Errors
    /// When the bytes contradict themselves, see [`PacketError`].
    pub fn parse(data: &'a [u8]) -> Result<Self, PacketError> {
        let truncated = |need| PacketError::Truncated {
            len: data.len(),
            need,
        };
        let Some((header, rest)) = data.split_first_chunk::<MIN_HEADER_LEN>() else {
            return Err(truncated(MIN_HEADER_LEN));
        };
        let [b0, b1, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
        let version = b0 >> 6;
        if version != 2 {
            return Err(PacketError::Version(version));
        }
        let csrc_len = usize::from(b0 & 0x0f) * 4;
        let mut after = rest
            .get(csrc_len..)
            .ok_or_else(|| truncated(MIN_HEADER_LEN + csrc_len))?;
        let mut header_len = MIN_HEADER_LEN + csrc_len;
        if b0 & 0x10 != 0 {
            let Some((&[_, _, l0, l1], body)) = after.split_first_chunk::<4>() else {
                return Err(truncated(header_len + 4));
            };
            let extension_len = usize::from(u16::from_be_bytes([l0, l1])) * 4;
            header_len += 4 + extension_len;
            after = body
                .get(extension_len..)
                .ok_or_else(|| truncated(header_len))?;
        }
        let mut payload = after;
        if b0 & 0x20 != 0 {
            let padding = after.last().map_or(0, |&p| usize::from(p));
            if padding == 0 || padding > after.len() {
                return Err(PacketError::Padding {
                    padding,
                    payload: after.len(),
                });
            }
            payload = after.get(..after.len() - padding).unwrap_or_default();
        }
        Ok(Self {
            data,
            marker: b1 & 0x80 != 0,
            payload_type: b1 & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            header_len,
            payload,
        })
    }

    /// The whole packet.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The marker bit: mostly the last packet of a picture.
    pub fn marker(&self) -> bool {
        self.marker
    }

    /// Payload type, 0 to 127.
    pub fn payload_type(&self) -> u8 {
        self.payload_type
    }

    /// Sequence number.
    pub fn sequence(&self) -> u16 {
        self.sequence
    }

    /// Timestamp in ticks of the track's clock.
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Synchronisation source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Bytes before the payload, CSRC list and extension included.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// What follows the header, without padding.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Contributing sources, in order.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        let count = self.data.first().map_or(0, |b| usize::from(b & 0x0f));
        let list = self
            .data
            .get(MIN_HEADER_LEN..MIN_HEADER_LEN + count * 4)
            .unwrap_or_default();
        list.as_chunks::<4>()
            .0
            .iter()
            .map(|&c| u32::from_be_bytes(c))
    }

    /// Profile and body of the header extension (RFC 3550, 5.3.1), if there is one.
    pub fn extension(&self) -> Option<(u16, &'a [u8])> {
        let (&b0, _) = self.data.split_first()?;
        if b0 & 0x10 == 0 {
            return None;
        }
        let start = MIN_HEADER_LEN + usize::from(b0 & 0x0f) * 4;
        let (&[p0, p1, _, _], body) = self
            .data
            .get(start..self.header_len)?
            .split_first_chunk::<4>()?;
        Some((u16::from_be_bytes([p0, p1]), body))
    }
}

/// Whether a datagram of a port that carries both is RTCP (RFC 5761, 4).
pub fn is_rtcp(data: &[u8]) -> bool {
    matches!(data, [b0, b1, ..] if b0 >> 6 == 2 && (192..=223).contains(b1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: [u8; 12] = [0x80, 0xe0, 0x12, 0x34, 0, 0, 0, 9, 1, 2, 3, 4];

    fn with(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = HEADER.to_vec();
        packet[0] = first;
        packet.extend_from_slice(rest);
        packet
    }

    #[test]
    fn fields_of_a_packet() {
        let bytes = with(0x80, &[7, 8]);
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert!(packet.marker());
        assert_eq!(packet.payload_type(), 96);
        assert_eq!(packet.sequence(), 0x1234);
        assert_eq!(packet.timestamp(), 9);
        assert_eq!(packet.ssrc(), 0x0102_0304);
        assert_eq!((packet.header_len(), packet.payload()), (12, &[7, 8][..]));
        assert_eq!(packet.extension(), None);
    }

    #[test]
    fn sources_extension_and_padding_are_no_payload() {
        let rest = [
            0, 0, 0, 1, 0, 0, 0, 2, // CSRC
            0xab, 0xac, 0, 1, 1, 2, 3, 4, // extension
            9, 0, 0, 3, // payload and padding
        ];
        let bytes = with(0xb2, &rest);
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(packet.extension(), Some((0xabac, &[1, 2, 3, 4][..])));
        assert_eq!((packet.header_len(), packet.payload()), (28, &[9][..]));
    }

    #[test]
    fn hostile_packets_are_errors() {
        let truncated = |len, need| PacketError::Truncated { len, need };
        for (what, bytes, error) in [
            ("empty", vec![], truncated(0, 12)),
            ("half a header", HEADER[..11].to_vec(), truncated(11, 12)),
            ("version 0", with(0x00, &[]), PacketError::Version(0)),
            ("version 1", with(0x40, &[]), PacketError::Version(1)),
            ("version 3", with(0xc0, &[]), PacketError::Version(3)),
            ("15 sources", with(0x8f, &[0; 8]), truncated(20, 72)),
            ("no extension", with(0x90, &[0xbe]), truncated(13, 16)),
            (
                "extension past the end",
                with(0x90, &[0xbe, 0xde, 0xff, 0xff, 0x10, 0xff, 0, 0]),
                truncated(20, 16 + 0xffff * 4),
            ),
            (
                "padding of nothing",
                with(0xa0, &[]),
                PacketError::Padding {
                    padding: 0,
                    payload: 0,
                },
            ),
            (
                "no padding",
                with(0xa0, &[1, 0]),
                PacketError::Padding {
                    padding: 0,
                    payload: 2,
                },
            ),
            (
                "too much padding",
                with(0xa0, &[1, 3]),
                PacketError::Padding {
                    padding: 3,
                    payload: 2,
                },
            ),
        ] {
            assert_eq!(RtpPacket::parse(&bytes).err(), Some(error), "{what}");
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp() {
        assert!(is_rtcp(&[0x80, 200, 0, 6]));
        assert!(!is_rtcp(&[0x80, 0xe0, 0, 6]));
        assert!(!is_rtcp(&[0x80]));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(packet) = RtpPacket::parse(&bytes) {
                prop_assert!(packet.header_len() + packet.payload().len() <= bytes.len());
                let _ = (packet.csrcs().count(), packet.extension());
            }
        }
    }
}
