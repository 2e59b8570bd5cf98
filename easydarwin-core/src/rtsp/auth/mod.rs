//! Who is there: challenges (`WWW-Authenticate`) and what answers them (`Authorization`), after RFC
//! 7616 (Digest), RFC 2617 (its older form), RFC 7617 (Basic) and RFC 6750 (Bearer).
//!
//! [`AuthParams`] reads both headers and is always there; the rest needs the feature `auth`. A
//! client answers with [`answer_digest`] and [`answer_basic`]. A server makes challenges with a
//! [`Realm`] and turns what comes into a [`PasswordProof`], which checks itself against a
//! [`UserSecret`]. What is secret is compared in constant time, everywhere.

#[cfg(feature = "auth")]
mod algorithm;
mod challenge;
#[cfg(feature = "auth")]
mod digest;
#[cfg(feature = "auth")]
mod nonce;
#[cfg(feature = "auth")]
mod proof;
#[cfg(feature = "auth")]
mod realm;
#[cfg(feature = "auth")]
mod secret;
#[cfg(feature = "auth")]
#[cfg(test)]
mod tests;

#[cfg(feature = "auth")]
pub use algorithm::Algorithm;
pub use challenge::{AuthParams, Scheme};
#[cfg(feature = "auth")]
pub use digest::{answer_basic, answer_digest, can_answer};
#[cfg(feature = "auth")]
pub use proof::{PasswordProof, Verdict};
#[cfg(feature = "auth")]
pub use realm::{AuthConfig, ProofError, Realm, Via};
#[cfg(feature = "auth")]
pub use secret::{SecretError, UserSecret};
