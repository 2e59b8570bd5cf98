//! The relay: publishers write packets once into a stream's ring, readers take them from there.
//!
//! A [`Hub`] knows the streams. A [`Publisher`] patches each RTP packet into the stream's one
//! identity and appends it to the ring; nothing is copied or renumbered per reader. Readers
//! ([`Stream::prepare`]) keep a cursor and are written to by a few shard tasks that never wait
//! for a socket. Taps ([`Stream::tap`]) read the same ring by access unit. A reader that falls
//! behind resumes at a key frame and holds up nobody.
//!
//! Readers must be started inside a tokio runtime: the shards are tasks of it.

mod chunks;
mod clock;
mod config;
mod counters;
mod cursor;
mod ends;
mod errors;
mod events;
mod faults;
mod filter;
mod group;
mod hub;
mod ingest;
mod live;
mod pause;
mod publisher;
mod query;
mod reader;
mod ring;
mod shard;
mod sink;
mod spread;
mod start;
mod stats;
mod stream;
mod swap;
mod sync;
mod tap;
mod udp;
mod unit;
mod wake;
mod writer;

pub use config::RelayConfig;
pub use errors::{CloseError, ControlError, EndReason, PublishError, ReaderEnd};
pub use events::{HubEvent, StreamEvent};
pub use filter::{FilterSource, FilterTracks, FilterUnit, MediaFilter, OwnData, Verdict};
pub use hub::Hub;
pub use pause::PausedReader;
pub use publisher::Publisher;
pub(crate) use query::Asked;
#[cfg(feature = "http")]
pub(crate) use query::QueryError;
pub use reader::{
    PreparedReader, ReaderHandle, ReaderOptions, RtpInfo, StoppedReader, TrackChannels,
};
pub(crate) use sink::limit_unsent;
pub use sink::{Sink, TcpSink};
pub use start::{Start, StartError};
pub use stats::{HubInfo, LeftReader, ReaderEnds, ReaderInfo, StreamInfo, TrackInfo};
pub use stream::{Stream, TrackIdentity, Viewer};
pub use tap::{Tap, TapEvent, TapOptions};
pub use udp::{MAX_DATAGRAM, SocketId, UdpSockets, UdpTarget, UdpTrack};

#[cfg(test)]
mod tests;
