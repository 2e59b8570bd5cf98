/// Packets in one contiguous buffer, each behind the four bytes of RTSP interleaving (RFC 7826, 14), made to be reused.
///
/// [`interleaved`](Self::interleaved) goes to a TCP connection with one write,
/// [`packets`](Self::packets) are the bare packets for datagrams.
#[derive(Debug, Clone, Default)]
pub struct PacketRun {
    buffer: Vec<u8>,
}

impl PacketRun {
    /// An empty run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Drops the packets, keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    /// All packets with their `$` headers.
    pub fn interleaved(&self) -> &[u8] {
        &self.buffer
    }

    /// The packets without `$` headers, in order.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(|| todo!())
    }

    /// Packets in it.
    pub fn packet_count(&self) -> usize {
        todo!()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Appends a ready RTP or RTCP packet for this channel.
    ///
    /// Packets longer than 65 535 bytes cannot be framed and are refused with `false`.
    pub fn push_packet(&mut self, _channel: u8, _packet: &[u8]) -> bool {
        todo!()
    }
}
