//! What the measuring programs share: a synthetic stream, blocking RTSP handshakes, load and what
//! it costs, the torture suite.

pub mod handshake;
pub mod load;
pub mod synthetic;
pub mod torture;
