//! RTP and RTCP without sockets: checked views of packets, counters of a reception, a reorder
//! window, what a packet holds ([`Inspector`]), access units out of packets ([`Depacketizer`]) and
//! packets out of access units ([`Packetizer`]), long packets cut into shorter ones
//! ([`Repacketizer`]).
//!
//! Bytes and time come in as arguments. Nothing here panics on what came from the network, and
//! every buffer is bounded by a documented constant.

mod au;
mod depacketize;
mod inspect;
#[cfg(feature = "rtp")]
pub mod interop;
mod jpeg;
mod packet;
mod packetize;
mod pieces;
mod reception;
mod reorder;
mod repacketize;
pub mod rtcp;
mod run;
mod sequence;
#[cfg(test)]
mod testing;

pub use depacketize::{DepacketizeError, Depacketizer, MAX_ACCESS_UNIT, MediaPacket};
pub use inspect::{Inspector, PacketInfo};
pub use packet::{MIN_HEADER_LEN, PacketError, RtpPacket, is_rtcp};
pub use packetize::{DEFAULT_MAX_PAYLOAD, PacketizeError, Packetizer, PacketizerConfig};
pub use reception::Reception;
pub use reorder::{Released, ReorderBuffer, ReorderConfig};
pub use repacketize::{Part, RepacketizeError, Repacketizer};
pub use run::PacketRun;
pub use sequence::{SequenceUnwrapper, TimestampUnwrapper};
