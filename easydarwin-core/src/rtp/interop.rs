//! To and from the packet type of the [`rtp`](https://docs.rs/rtp) crate; follows that crate's
//! version.

use bytes::Bytes;

use super::RtpPacket;

/// Copies a checked packet into the crate's type. The checks matter: the crate's own parser
/// panics on some packets.
pub fn to_rtp_crate(_packet: &RtpPacket<'_>) -> ::rtp::packet::Packet {
    todo!()
}

/// The bytes of a packet of that crate.
///
/// # Errors
/// Whatever that crate says of a packet that it cannot write.
pub fn from_rtp_crate(_packet: &::rtp::packet::Packet) -> Result<Bytes, ::rtp::Error> {
    todo!()
}
