//! Our client against our server over a simulated network, each test with many seeds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::field_reassign_with_default,
    reason = "a test may stop at the first surprise; options are set as an embedder sets them"
)]

mod faults;
mod network;
mod support;
mod tcp;
mod udp;
