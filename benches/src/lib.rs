//! What the measuring programs share: a synthetic stream and blocking RTSP handshakes.

pub mod handshake;
pub mod synthetic;
