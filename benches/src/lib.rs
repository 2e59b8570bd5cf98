//! What the measuring programs share: a synthetic stream, blocking RTSP handshakes, the torture
//! suite.

pub mod handshake;
pub mod synthetic;
pub mod torture;
