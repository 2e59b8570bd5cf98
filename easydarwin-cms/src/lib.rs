//! Device access and management for cameras: devices register here and keep alive, clients ask
//! here which devices there are and for their streams, media nodes join here.
//!
//! It is a library. A whole CMS inside another program:
//!
//! ```no_run
//! use easydarwin_cms::{Cms, CmsConfig, LegacyLevel};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = CmsConfig::new("127.0.0.1:10000".parse()?);
//! let cms = Cms::builder(config)
//!     .legacy_client("127.0.0.0/8".parse()?, LegacyLevel::Control)
//!     .build()
//!     .await?;
//! cms.provision_key("001001000099", "the camera's key").await?;
//! println!("devices and clients: {}", cms.local_addr());
//! cms.run(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! **One port.** The first bytes of a connection decide who owns it: devices and media nodes
//! speak the EasyDarwin protocol and get a lean loop that holds no buffer while they are idle;
//! everything else is HTTP: the REST interface, the snapshots and the page.
//!
//! **Who may do what.** Devices prove a key (ED1) or, old ones, a token; see [`Policy`]. Clients
//! bring the API key, or come from a network that is trusted as a [`LegacyClient`]. Media nodes
//! prove the join key. Rights to publish and to play are tokens that only the CMS can sign.
//!
//! **A stream on request is an operation**: coalesced over all callers, with a deadline for each
//! stage; an answer that is not 200 names the stage at which it failed.

mod access;
mod accounts;
mod api;
mod builder;
#[cfg(feature = "cli")]
pub mod cli;
mod cms;
mod config;
mod conn;
mod devices;
mod error;
mod events;
mod guard;
mod handle;
mod http;
mod metrics;
mod nodes;
mod state;
#[cfg(feature = "sqlite")]
mod store;
mod streams;
mod webhooks;

pub use accounts::{FirstRun, PasswordError, check_name, hash_password};
pub use builder::CmsBuilder;
pub use cms::Cms;
pub use config::{CmsConfig, LegacyClient, LegacyLevel, Policy, Secrets};
pub use error::CmsError;
pub use handle::CmsHandle;
#[cfg(feature = "sqlite")]
pub use store::{SqliteStore, StoreCheck};
pub use webhooks::{DeadLetter, MemoryWebhooks, Webhook, WebhookStore};
