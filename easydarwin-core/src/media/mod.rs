//! What flows: tracks, codec parameters, access units; tracks to and from SDP.
//!
//! Nothing here knows of sockets, clocks or packets. A [`Track`] says what a stream carries, an
//! [`AccessUnit`] is one picture or audio frame of it. The modules [`h264`], [`h265`] and [`aac`]
//! read what muxers need from parameter sets; [`nal`] splits and joins NAL units.

pub mod aac;
pub mod base64;
mod bits;
mod dts;
pub mod h264;
pub mod h265;
pub(crate) mod jpeg;
pub mod nal;
mod repair;
pub mod sdp;
mod track;
mod unit;

pub(crate) use bits::BitReader;
pub use bits::BitstreamError;
pub use dts::{DecodeTime, DtsEstimator};
pub use jpeg::JpegError;
pub use repair::{Repair, Repairs};
pub use track::{
    AacParams, Codec, G711Law, G726Packing, G726Params, G726Rate, H264Params, H265Params,
    MediaKind, SessionDescription, Track,
};
pub use unit::AccessUnit;
