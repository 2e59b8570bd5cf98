//! Sources: streams of this server that it fetches itself, from cameras and other servers.
//!
//! [`SourceEngine`] supervises one source and knows only bytes and time; it runs in simulations
//! as it runs on sockets.

mod backoff;
mod config;
mod conversation;
mod demand;
mod engine;
mod failure;
mod info;
mod pulls;
mod quirk;
mod run;
mod source;
mod source_file;
mod store;
#[cfg(test)]
mod tests;
mod track;

pub(crate) use backoff::Backoff;
pub use backoff::RetryConfig;
pub use config::PullConfig;
pub use engine::{SourceEngine, SourceOutput, SourceStep};
pub use failure::{Failure, FailureKind};
pub use info::{LinkState, SourceCounters, SourceInfo};
pub use pulls::{PullError, Pulls};
pub use quirk::Quirk;
pub(crate) use run::in_words;
pub(crate) use source::path_and_url;
pub use source::{
    PullTransport, SourceMemory, SourceMode, SourcePassword, SourceSpec, SourceUrl, SourceUrlError,
};
pub use source_file::SourceFile;
pub use store::{NoSourceStore, SourceStore, StoreError, StoredSource};
