//! What flows: tracks, codec parameters, access units; tracks to and from SDP.
//!
//! Nothing here knows of sockets, clocks or packets. A [`Track`] says what a stream carries, an
//! [`AccessUnit`] is one picture or audio frame of it.

mod track;
mod unit;

pub use track::{
    AacParams, Codec, G711Law, H264Params, H265Params, MediaKind, SessionDescription, Track,
};
pub use unit::AccessUnit;
