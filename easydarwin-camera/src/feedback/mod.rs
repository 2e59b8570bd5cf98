//! What the encoder is told: the bitrate that the uplink carries, which stream to send, and when
//! a key frame is wanted. State machines without sockets and clocks: what the sender sees of its
//! uplink and the time come in, advice comes out.
//!
//! - [`RateController`]: [`Uplink`] in, [`Advice`] out.
//! - [`KeyRequests`]: many wishes for a key frame, few requests to the encoder.

mod config;
mod departure;
mod key_requests;
mod meter;
mod rate;
mod streams;
#[cfg(test)]
mod tests;
mod uplink;

pub use config::{BitrateRange, RateConfig};
pub(crate) use departure::Departure;
pub use key_requests::KeyRequests;
pub use rate::RateController;
pub use uplink::{Advice, StreamChoice, Uplink};
