//! Passwords of people: argon2id, few at once, so that a flood of logins costs others nothing.

use std::sync::Arc;
use std::sync::OnceLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use thiserror::Error;
use tokio::sync::Semaphore;

/// Checked at the same time: each takes 19 MiB and some 30 ms of a core.
const AT_ONCE: usize = 2;

/// Logins that may wait for their turn.
const WAITING: usize = 32;

/// Shortest password, in characters.
const SHORTEST: usize = 10;

/// Longest password, in bytes.
const LONGEST: usize = 512;

/// Why a password was not taken or not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Too short.
    #[error("a password has at least {SHORTEST} characters")]
    Short,
    /// Too long.
    #[error("a password has at most {LONGEST} bytes")]
    Long,
    /// Too many wait for theirs to be checked.
    #[error("too many logins at once; try again in some seconds")]
    Busy,
    /// The hash function failed.
    #[error("the password could not be hashed")]
    Hash,
}

/// Hashes a new password as a PHC string. Takes some 30 ms and 19 MiB.
///
/// # Errors
/// [`PasswordError`] when it is too short or too long.
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    if password.chars().count() < SHORTEST {
        return Err(PasswordError::Short);
    }
    if password.len() > LONGEST {
        return Err(PasswordError::Long);
    }
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|_| PasswordError::Hash)
}

fn verify(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// A hash of nobody's password, so that an unknown name takes as long as a known one.
fn nobodys() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hash_password("nobody has this one").unwrap_or_default())
}

/// Checks passwords on the blocking pool.
#[derive(Debug)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Arc::new(Semaphore::new(WAITING)),
        }
    }
}

impl Passwords {
    /// Whether it is the password of this hash. `None`: there is no such person.
    pub(crate) async fn check(
        &self,
        hash: Option<&str>,
        password: &str,
    ) -> Result<bool, PasswordError> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let (hash, password) = (hash.map(str::to_owned), password.to_owned());
        self.run(move || match hash {
            Some(hash) => verify(&hash, &password),
            None => {
                verify(nobodys(), &password);
                false
            }
        })
        .await
    }

    /// See [`hash_password`].
    pub(crate) async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let password = password.to_owned();
        self.run(move || hash_password(&password)).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let busy = |_| PasswordError::Busy;
        let _place = self.queue.clone().try_acquire_owned().map_err(busy)?;
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|_| PasswordError::Busy)?;
        // The turn goes along: who gives up waiting does not let a third one in.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|_| PasswordError::Hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_one_and_no_other() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        assert_eq!(
            passwords.check(Some(&hash), "correct horse").await,
            Ok(true)
        );
        assert_eq!(
            passwords.check(Some(&hash), "correct hors").await,
            Ok(false)
        );
        assert_eq!(
            passwords.check(None, "nobody has this one").await,
            Ok(false)
        );
        assert_eq!(passwords.check(Some("broken"), "x").await, Ok(false));
        assert_eq!(hash_password("short"), Err(PasswordError::Short));
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(hash_password(&long), Err(PasswordError::Long));
    }

    #[tokio::test]
    async fn a_flood_is_told_to_come_again() {
        let passwords = Passwords::default();
        let all = (0..WAITING + 8).map(|_| passwords.check(None, "x"));
        let answers = futures_util::future::join_all(all).await;
        let busy = answers.iter().filter(|a| **a == Err(PasswordError::Busy));
        assert_eq!(busy.count(), 8);
    }
}
