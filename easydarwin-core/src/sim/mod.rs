#![doc = include_str!("guide.md")]

mod arrival;
mod client;
mod event;
mod link;
mod network;
mod node;
mod random;
mod script;
mod server;
mod stream;
mod trace;

pub use client::{ClientOutcome, RtspClient};
pub use event::{ConnectError, End, Event};
pub use link::Link;
pub use network::Network;
pub use node::{Node, run, step};
pub use random::Random;
pub use script::{Act, Script};
pub use server::{RtspServer, ServerOutcome};
pub use trace::{Entry, Happened, Trace};
