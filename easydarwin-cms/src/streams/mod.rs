//! Streams on request: operations with stages and deadlines, their end, and the URLs of play.

mod operation;
mod operations;
mod progress;
mod release;
mod start;
mod urls;

pub(crate) use operation::Operation;
pub(crate) use operations::{BeginError, Operations, Wish};
pub(crate) use progress::{Progress, Ready, Stage, StartError};
pub(crate) use release::{force, release};
pub(crate) use start::already_live;
pub(crate) use urls::{PlayProtocol, play_url};
