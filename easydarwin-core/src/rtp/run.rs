use super::packet::MIN_HEADER_LEN;

/// First byte of an interleaved frame (RFC 7826, 14).
const INTERLEAVED_MAGIC: u8 = b'$';

/// Packets in one contiguous buffer, each behind the four bytes of RTSP interleaving (RFC 7826,
/// 14), made to be reused.
///
/// [`interleaved`](Self::interleaved) goes to a TCP connection with one write,
/// [`packets`](Self::packets) are the bare packets for datagrams.
#[derive(Debug, Clone, Default)]
pub struct PacketRun {
    buffer: Vec<u8>,
    count: usize,
}

impl PacketRun {
    /// An empty run.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty run with memory for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(bytes),
            count: 0,
        }
    }

    /// Drops the packets, keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.count = 0;
    }

    /// All packets with their `$` headers.
    pub fn interleaved(&self) -> &[u8] {
        &self.buffer
    }

    /// The packets without `$` headers, in order.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.buffer.as_slice();
        std::iter::from_fn(move || {
            let (&[_, _, l0, l1], body) = rest.split_first_chunk::<4>()?;
            let (packet, after) =
                body.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
            rest = after;
            Some(packet)
        })
    }

    /// Packets in it.
    pub fn packet_count(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Appends a ready RTP or RTCP packet for this channel.
    ///
    /// Packets longer than 65 535 bytes cannot be framed and are refused with `false`.
    pub fn push_packet(&mut self, channel: u8, packet: &[u8]) -> bool {
        let Ok(len) = u16::try_from(packet.len()) else {
            return false;
        };
        let [l0, l1] = len.to_be_bytes();
        self.buffer
            .extend_from_slice(&[INTERLEAVED_MAGIC, channel, l0, l1]);
        self.buffer.extend_from_slice(packet);
        self.count += 1;
        true
    }

    /// Appends an RTP packet whose payload comes in parts; `false` if it cannot be framed.
    pub(super) fn push_parts(
        &mut self,
        channel: u8,
        header: &[u8; MIN_HEADER_LEN],
        parts: [&[u8]; 2],
    ) -> bool {
        let [first, second] = parts;
        let Ok(len) = u16::try_from(header.len() + first.len() + second.len()) else {
            return false;
        };
        let [l0, l1] = len.to_be_bytes();
        self.buffer
            .extend_from_slice(&[INTERLEAVED_MAGIC, channel, l0, l1]);
        self.buffer.extend_from_slice(header);
        self.buffer.extend_from_slice(first);
        self.buffer.extend_from_slice(second);
        self.count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_framed_and_found_again() {
        let mut run = PacketRun::new();
        assert!(run.is_empty());
        assert!(run.push_packet(2, &[1, 2, 3]));
        assert!(run.push_packet(3, &[]));
        assert!(run.push_parts(0, &[0; 12], [&[1], &[2]]));
        let expected = [
            &b"$\x02\0\x03\x01\x02\x03$\x03\0\0$\0\0\x0e"[..],
            &[0; 12],
            &[1, 2],
        ];
        assert_eq!(run.interleaved(), expected.concat());
        let lengths: Vec<_> = run.packets().map(<[u8]>::len).collect();
        assert_eq!(lengths, [3, 0, 14]);
        assert_eq!(run.packet_count(), 3);
        run.clear();
        assert_eq!((run.packets().count(), run.packet_count()), (0, 0));
    }

    #[test]
    fn what_cannot_be_framed_is_refused_and_leaves_nothing() {
        let mut run = PacketRun::new();
        assert!(!run.push_packet(0, &[0; 65_536]));
        assert!(!run.push_parts(0, &[0; 12], [&[0; 65_000], &[0; 600]]));
        assert!(run.is_empty());
    }
}
