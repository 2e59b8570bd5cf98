//! Traits by which others plug in, with in-memory defaults: who may publish and play, which
//! devices there are, which of them are present, which media nodes carry their streams.

mod access;
mod path;

pub use access::{
    AccessRequest, Action, AllowAll, Authorizer, Credentials, Denied, DenyAll, Principal,
};
pub use path::{PathError, StreamPath};
