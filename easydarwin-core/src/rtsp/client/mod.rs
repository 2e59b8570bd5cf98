//! The client's side of a connection: requests out, answers in; logins, keep-alives, redirections.

mod control;
mod event;
mod keep_alive;
mod login;
#[cfg(feature = "server")]
mod meanings;
mod redirect;
mod session;
#[cfg(test)]
mod tests;
mod url;

pub use event::{ClientEvent, ClientStep, TrackStart};
pub use keep_alive::KeepAlive;
pub use login::{Login, LoginError};
#[cfg(feature = "server")]
pub(crate) use meanings::{aggregate_urls, track_urls};
pub use redirect::{RedirectError, RedirectPolicy, Redirects};
pub use session::ClientSession;
pub use url::{ClientUrl, ClientUrlError};
