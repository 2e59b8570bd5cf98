//! Traits by which others plug in, with in-memory defaults: which devices there are
//! ([`DeviceStore`]), who may do what with them ([`AccountStore`]), which of them are present
//! ([`Presence`]), which media nodes carry their streams ([`NodeDirectory`]), who may publish and
//! play ([`Authorizer`]), what happened ([`EventLog`]).
//!
//! `DeviceStore` is durable and can be searched; `Presence` is hot and forgets. They are two
//! traits so that no keep-alive ever meets a database and no search meets a lease.
//!
//! Time is passed in as [`UnixMillis`] everywhere but in [`CmsClock`], so that tests and
//! simulations need no waiting.

mod access;
mod account;
mod ask_once;
mod audit;
mod authorizer;
mod cached;
mod cidr;
mod clock;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod device;
mod event;
#[cfg(any(test, feature = "conformance"))]
pub mod event_conformance;
mod event_memory;
mod grants;
mod group;
mod node;
mod page;
mod path;
mod presence;
mod presence_memory;
mod revocation;
mod rights;
mod store_memory;
mod token;
mod users;

pub use access::{
    Accepts, AccessRequest, Action, AllowAll, Authorizer, Credentials, Decision, Denied, DenyAll,
    Principal,
};
pub use account::{Account, AccountChange, AccountStore, ApiKey};
pub use audit::{AuditEntry, Author};
pub use authorizer::TokenAuthorizer;
pub use cached::{CacheConfig, CachedAuthorizer};
pub use cidr::{Cidr, CidrError};
pub use clock::{CmsClock, UnixMillis};
pub use device::{
    Changed, Credential, Device, DeviceChange, DeviceChannel, DevicePatch, DeviceQuery, DeviceSaid,
    DeviceSort, DeviceStore, Secret, Seen, StoreError, Used,
};
pub use event::{
    Event, EventBounds, EventCursor, EventCursorError, EventFilter, EventKind, EventLog,
    EventLogError, EventPage, LoggedEvent, Retention,
};
pub use event_memory::MemoryEventLog;
pub use grants::GrantTable;
pub use group::{GroupPath, GroupPathError};
pub use node::{
    MemoryNodeDirectory, NodeBeat, NodeDirectory, NodeInfo, NodeLoad, NodeStatus, StreamLocation,
};
pub use page::{Page, PagePlace};
pub use path::{PathError, StreamPath};
pub use presence::{
    Acquired, Cause, LastKnown, Lease, Presence, PresenceEntry, PresenceError, PresenceState,
    Transition,
};
pub use presence_memory::{MemoryPresence, PresenceTiming};
pub use revocation::{Permit, Revocations};
pub use rights::{Rights, Role, RoleError, RoleGrant, RoleGrantError};
pub use store_memory::MemoryStore;
pub use token::{
    Claims, PublicKey, TokenAction, TokenError, TokenSigner, TokenVerifier, random_bytes,
};
pub use users::{MemoryUsers, PathPattern, PatternError, User, UserAuthorizer, Users, UsersError};
