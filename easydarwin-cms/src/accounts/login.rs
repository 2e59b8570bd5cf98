//! People who are logged in.

use std::collections::HashMap;
use std::time::Duration;

use easydarwin_core::protocol::login::key_text;
use easydarwin_core::registry::{TokenError, UnixMillis, random_bytes};
use parking_lot::Mutex;
use thiserror::Error;

use super::directory::digest;
use super::{Directory, Identity, PasswordError, Passwords};

/// How long somebody stays logged in who does nothing.
const IDLE: Duration = Duration::from_secs(12 * 3600);

/// How long at most.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Most logins of one person; the one unused for longest ends.
const PER_PERSON: usize = 32;

/// Why somebody was not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum LoginError {
    #[error("name or password is wrong")]
    Wrong,
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Random(#[from] TokenError),
}

#[derive(Debug)]
struct Login {
    name: String,
    since: UnixMillis,
    used: UnixMillis,
}

/// Who is logged in. Forgotten with the process: people log in again.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    passwords: Passwords,
    /// By the digest of the token, so that none lies about.
    table: Mutex<HashMap<[u8; 32], Login>>,
}

impl Logins {
    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Checks a password; the token that its owner shows from now on.
    pub(crate) async fn login(
        &self,
        directory: &Directory,
        name: &str,
        password: &str,
        now: UnixMillis,
    ) -> Result<String, LoginError> {
        let account = directory.account(name).filter(|account| account.enabled);
        let hash = account.as_ref().and_then(|a| a.password.as_deref());
        if !self.passwords.check(hash, password).await? {
            return Err(LoginError::Wrong);
        }
        let token = key_text(random_bytes()?);
        let login = Login {
            name: name.to_owned(),
            since: now,
            used: now,
        };
        let mut table = self.table.lock();
        table.retain(|_, login| login.counts(now));
        let own = table.iter().filter(|(_, login)| login.name == name);
        let oldest = own.clone().min_by_key(|(_, login)| login.used);
        if own.count() >= PER_PERSON
            && let Some(oldest) = oldest.map(|(digest, _)| *digest)
        {
            table.remove(&oldest);
        }
        table.insert(digest(&token), login);
        Ok(token)
    }

    /// Whose token this is.
    pub(crate) fn who(
        &self,
        directory: &Directory,
        token: &str,
        now: UnixMillis,
    ) -> Option<Identity> {
        let mut table = self.table.lock();
        let login = table.get_mut(&digest(token)).filter(|l| l.counts(now))?;
        login.used = now;
        directory.person(&login.name)
    }

    pub(crate) fn logout(&self, token: &str) {
        self.table.lock().remove(&digest(token));
    }

    /// All logins of this person end but the one with this token.
    pub(crate) fn end(&self, name: &str, but: Option<&str>) {
        let but = but.map(digest);
        self.table
            .lock()
            .retain(|digest, login| login.name != name || Some(*digest) == but);
    }
}

impl Login {
    fn counts(&self, now: UnixMillis) -> bool {
        now.since(self.used) < IDLE && now.since(self.since) < LONGEST
    }
}

#[cfg(test)]
mod tests {
    use easydarwin_core::registry::{
        Account, AccountChange, AccountStore as _, Author, MemoryStore, Rights, Role,
    };

    use super::*;

    #[tokio::test]
    async fn a_login_ends_by_itself_or_with_the_account() {
        let (store, directory, logins) =
            (MemoryStore::new(), Directory::default(), Logins::default());
        let now = UnixMillis(1);
        let mut anna = Account::new("anna", Rights::everywhere(Role::Viewer), now);
        anna.password = Some(super::super::hash_password("correct horse").unwrap());
        let put = vec![AccountChange::PutAccount(anna.clone())];
        store
            .change_accounts(put, &Author::system(now))
            .await
            .unwrap();
        directory.reload(&store, now).await.unwrap();
        let wrong = logins.login(&directory, "anna", "correct", now).await;
        assert_eq!(wrong, Err(LoginError::Wrong));
        let nobody = logins.login(&directory, "otto", "correct horse", now).await;
        assert_eq!(nobody, Err(LoginError::Wrong));
        let token = logins
            .login(&directory, "anna", "correct horse", now)
            .await
            .unwrap();
        let later = now.plus(IDLE / 2);
        let found = logins.who(&directory, &token, later).unwrap();
        assert_eq!(&*found.who, "user:anna");
        // Used in between, it lasts longer, but not for ever.
        assert!(
            logins
                .who(&directory, &token, later.plus(IDLE * 2 / 3))
                .is_some()
        );
        assert!(logins.who(&directory, &token, now.plus(LONGEST)).is_none());
        assert!(logins.who(&directory, "other", later).is_none());

        anna.enabled = false;
        let put = vec![AccountChange::PutAccount(anna)];
        store
            .change_accounts(put, &Author::system(now))
            .await
            .unwrap();
        directory.reload(&store, now).await.unwrap();
        assert!(logins.who(&directory, &token, later).is_none());
    }
}
