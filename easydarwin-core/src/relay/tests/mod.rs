//! Tests of the relay as a whole, without sockets and without waiting for real time.

mod faults;
mod filter;
mod jpeg;
mod large;
mod oracle;
mod pacing;
mod rig;
mod ring;
mod spread;
mod start_stop;
mod swap;
mod tap;
mod tcp;
mod udp;
