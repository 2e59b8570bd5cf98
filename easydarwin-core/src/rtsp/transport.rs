/// One entry of a `Transport` header (RFC 2326, 12.39).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Transport {
    /// `RTP/AVP/TCP` rather than `RTP/AVP` or `RTP/AVP/UDP`.
    pub tcp: bool,
    /// `multicast` rather than `unicast`.
    pub multicast: bool,
    /// `interleaved=`: channels of RTP and RTCP.
    pub interleaved: Option<(u8, u8)>,
    /// `client_port=`: ports of RTP and RTCP.
    pub client_port: Option<(u16, u16)>,
    /// `server_port=`: ports of RTP and RTCP.
    pub server_port: Option<(u16, u16)>,
    /// `ssrc=`
    pub ssrc: Option<u32>,
    /// `source=`: the address media comes from.
    pub source: Option<String>,
    /// `mode=RECORD` (or `receive`, as some write).
    pub record: bool,
}

/// A transport which a client asked for and which could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportOffer {
    /// Interleaved into the RTSP connection on these channels: the asked ones, or free ones when
    /// none or taken ones were asked.
    Tcp {
        /// Channel of RTP.
        rtp: u8,
        /// Channel of RTCP.
        rtcp: u8,
    },
    /// Datagrams to or from these ports of the client.
    Udp {
        /// Port of RTP.
        rtp: u16,
        /// Port of RTCP.
        rtcp: u16,
    },
}

/// The transport that the server chose among the offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportAnswer {
    /// Interleaved, on the channels of the offer.
    Tcp {
        /// Channel of RTP.
        rtp: u8,
        /// Channel of RTCP.
        rtcp: u8,
    },
    /// Datagrams.
    Udp {
        /// The client's ports of RTP and RTCP, from the offer.
        client: (u16, u16),
        /// The server's ports of RTP and RTCP.
        server: (u16, u16),
    },
}
