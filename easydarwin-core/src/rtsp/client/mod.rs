//! The client's side of a connection: requests out, answers in; logins, keep-alives.

mod event;
mod login;
mod session;
#[cfg(test)]
mod tests;
mod url;

pub use event::{ClientEvent, ClientStep, TrackStart};
pub use login::{Login, LoginError};
pub use session::ClientSession;
pub use url::{ClientUrl, ClientUrlError};
