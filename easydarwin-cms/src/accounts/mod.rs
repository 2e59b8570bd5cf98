//! People and programs: who somebody is, what he may do, and what happens when that changes.
//!
//! The store is the truth; what decides about each request is a copy in memory. It follows the
//! audit: whoever changes something, this process or the command line beside it, leaves an entry
//! there, and the entry is what takes effect here.

mod directory;
mod first_run;
mod follow;
mod identity;
mod login;
mod name;
mod password;

#[cfg(feature = "cli")]
pub(crate) use directory::ADOPT_UNTIL;
pub(crate) use directory::Directory;
pub use first_run::FirstRun;
pub(crate) use follow::{follow, people_changed, remember_revocations};
pub(crate) use identity::{Access, Identity};
pub(crate) use login::{LoginError, Logins};
pub use name::check_name;
pub(crate) use password::Passwords;
pub use password::{PasswordError, hash_password};
