//! Media nodes: how they join, what they report, what they are told.

mod endpoint;
mod link;
mod messages;
mod revoke;

pub(crate) use endpoint::{Asker, Reach, reach};
pub(crate) use link::{NodeError, NodeLink, NodeLinks};
pub(crate) use messages::{NodeConn, handle, left, sweep};
pub(crate) use revoke::{remember, revoke};
