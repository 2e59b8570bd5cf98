//! Streams on request: operations with stages and deadlines, their end, and the URLs of play.

mod operation;
mod release;
mod start;
mod urls;

pub(crate) use operation::{Operations, Ready, StartError};
pub(crate) use release::release;
pub(crate) use urls::{PlayProtocol, play_url};
