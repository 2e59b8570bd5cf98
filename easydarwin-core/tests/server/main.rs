//! The media server on real sockets: publishing and playing, rights, on demand, bad input.
#![cfg(feature = "server")]

mod bad_input;
mod demand;
mod lifecycle;
mod node;
mod play;
mod publish;
mod support;
