//! Sources: streams of this server that it fetches itself, from cameras and other servers.
//!
//! [`SourceEngine`] supervises one source and knows only bytes and time; it runs in simulations
//! as it runs on sockets.

mod backoff;
mod config;
mod conversation;
mod engine;
mod failure;
mod info;
mod pulls;
mod quirk;
mod run;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod track;

pub use backoff::BackoffConfig;
pub use config::PullConfig;
pub use engine::{SourceEngine, SourceOutput, SourceStep};
pub use failure::{Failure, FailureKind};
pub use info::{LinkState, SourceCounters, SourceInfo};
pub use pulls::{PullError, Pulls};
pub use quirk::Quirk;
pub use source::{
    PullTransport, SourceMemory, SourceMode, SourcePassword, SourceSpec, SourceUrl, SourceUrlError,
};
pub use store::{NoSourceStore, SourceFile, SourceStore, StoreError, StoredSource};
