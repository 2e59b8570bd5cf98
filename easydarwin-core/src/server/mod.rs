//! The media server: RTSP connections, UDP, rights, streams on demand, the link to a CMS.
//!
//! [`MediaServer`] is the shell around [`rtsp::ServerConnection`](crate::rtsp::ServerConnection)
//! and the [`relay`](crate::relay). An application plugs in an
//! [`Authorizer`](crate::registry::Authorizer) and, if streams should start when somebody asks for
//! them, an [`OnDemand`]; it watches through [`ServerHandle::events`] and works with the streams
//! through [`ServerHandle::hub`].

mod backoff;
mod builder;
mod connection;
mod demand;
mod error;
mod events;
mod limits;
mod lookup;
mod media_server;
mod node;
mod rights;
mod shared;
mod udp;
mod wire;

#[cfg(feature = "http")]
pub(crate) use backoff::Backoff;
pub use backoff::{BackoffConfig, BackoffStats};
pub use builder::MediaServerBuilder;
pub use demand::{DemandError, OnDemand, RedirectUrl};
pub use error::ServerError;
pub use events::ServerEvent;
pub use limits::Limits;
pub use lookup::{Lookup, LookupError};
pub use media_server::{MediaServer, ServerHandle};
pub use node::{NodeAgent, NodeConfig};
#[cfg(feature = "tls")]
pub use wire::TlsStats;
