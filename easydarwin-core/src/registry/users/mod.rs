//! People and programs with a password: who they are, what they may do, who decides by it.
//!
//! An application implements [`Users`] over its own data, or fills [`MemoryUsers`];
//! [`UserAuthorizer`] makes decisions of it.

mod authorizer;
mod pattern;
mod store;
#[cfg(test)]
mod tests;

pub use authorizer::UserAuthorizer;
pub use pattern::{PathPattern, PatternError};
pub use store::{MemoryUsers, User, Users, UsersError};
