//! The server's side of a connection: which request is allowed when, what is answered at once and
//! what waits for the caller.

mod connection;
mod event;
mod parameters;
mod range;
mod requests;
mod respond;
mod session;
#[cfg(test)]
mod tests;

pub use connection::ServerConnection;
pub use event::{
    CloseReason, Reply, RequestId, RtpInfo, ServerEvent, SessionRole, SetupRequest, Step,
};
