//! `WWW-Authenticate` and `Authorization`: challenges are read always, answered and verified with
//! the feature `auth` (RFC 2617, RFC 7616).

mod challenge;
#[cfg(feature = "auth")]
mod digest;

pub use challenge::{AuthParams, Scheme};
#[cfg(feature = "auth")]
pub use digest::{Algorithm, DigestVerifier, answer_basic, answer_digest, verify_basic};
