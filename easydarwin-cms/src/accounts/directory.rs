//! People and keys, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use easydarwin_core::protocol::login::secrets_equal;
use easydarwin_core::registry::{
    Account, AccountStore, ApiKey, Rights, Role, StoreError, UnixMillis,
};
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};

use super::Identity;

/// Name of the setting until when unknown old devices are adopted, in milliseconds since 1970.
pub(crate) const ADOPT_UNTIL: &str = "adopt-until";

/// What is known at the moment.
#[derive(Debug, Default)]
struct Known {
    accounts: BTreeMap<String, Account>,
    keys: HashMap<[u8; 32], ApiKey>,
    adopt_until: Option<UnixMillis>,
}

/// A copy of what the store has about people and keys.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    known: RwLock<Arc<Known>>,
}

/// What is different since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Different {
    /// Whose rights are not what they were, as in [`Identity::who`].
    pub(crate) rights: Vec<String>,
    /// Names of people whose password is another one, or who may not log in any more.
    pub(crate) logins: Vec<String>,
}

impl Directory {
    /// Reads everything anew.
    pub(crate) async fn reload(
        &self,
        store: &dyn AccountStore,
        now: UnixMillis,
    ) -> Result<Different, StoreError> {
        let accounts = store.accounts().await?;
        let keys = store.keys().await?;
        let policy = store.policy().await?;
        let adopt_until = policy
            .iter()
            .find(|(name, _)| name == ADOPT_UNTIL)
            .and_then(|(_, value)| value.parse().ok())
            .map(UnixMillis);
        let new = Arc::new(Known {
            accounts: accounts.into_iter().map(|a| (a.name.clone(), a)).collect(),
            keys: keys.into_iter().map(|k| (k.digest, k)).collect(),
            adopt_until,
        });
        let old = std::mem::replace(&mut *self.known.write(), new.clone());
        Ok(different(&old, &new, now))
    }

    fn now(&self) -> Arc<Known> {
        self.known.read().clone()
    }

    pub(crate) fn account(&self, name: &str) -> Option<Account> {
        self.now().accounts.get(name).cloned()
    }

    pub(crate) fn adopts(&self, now: UnixMillis) -> bool {
        self.now().adopt_until.is_some_and(|until| now < until)
    }

    /// A person, while he may log in.
    pub(crate) fn person(&self, name: &str) -> Option<Identity> {
        let known = self.now();
        let account = known.accounts.get(name).filter(|a| a.enabled)?;
        Some(Identity::new(
            who_is(name),
            Arc::new(account.rights.clone()),
        ))
    }

    /// Whose key this is. `built_in`: the key that the CMS has in a file of its own.
    pub(crate) fn key(&self, key: &str, built_in: &str, now: UnixMillis) -> Option<Identity> {
        if secrets_equal(key.as_bytes(), built_in.as_bytes()) {
            let rights = Rights::everywhere(Role::Admin);
            return Some(Identity::new("key:built-in", Arc::new(rights)));
        }
        let known = self.now();
        // By its digest: what a search in a table tells about it is of no use.
        let found = known.keys.get(&digest(key)).filter(|k| k.is_valid(now))?;
        let rights = rights_of(&known, found)?;
        Some(Identity::new(format!("key:{}", found.id), Arc::new(rights)))
    }
}

/// As in [`Identity::who`].
pub(crate) fn who_is(name: &str) -> String {
    format!("user:{name}")
}

pub(crate) fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// A key does no more than its owner, and nothing without him.
fn rights_of(known: &Known, key: &ApiKey) -> Option<Rights> {
    match &key.owner {
        None => Some(key.rights.clone()),
        Some(owner) => {
            let owner = known.accounts.get(owner).filter(|a| a.enabled)?;
            Some(key.rights.both(&owner.rights))
        }
    }
}

fn different(old: &Known, new: &Known, now: UnixMillis) -> Different {
    let mut different = Different::default();
    for (name, before) in old.accounts.iter().filter(|(_, a)| a.enabled) {
        let after = new.accounts.get(name).filter(|a| a.enabled);
        if after.is_none_or(|after| after.rights != before.rights) {
            different.rights.push(who_is(name));
        }
        if after.is_none_or(|after| after.password != before.password) {
            different.logins.push(name.clone());
        }
    }
    let rights = |known: &Known, digest: &[u8; 32]| {
        let key = known.keys.get(digest).filter(|k| k.is_valid(now))?;
        rights_of(known, key)
    };
    for (digest, key) in &old.keys {
        let before = rights(old, digest);
        if before.is_some() && rights(new, digest) != before {
            different.rights.push(format!("key:{}", key.id));
        }
    }
    different
}

#[cfg(test)]
mod tests {
    use easydarwin_core::registry::{AccountChange, Author, MemoryStore};

    use super::*;
    use crate::accounts::Access;

    const NOW: UnixMillis = UnixMillis(100);

    fn rights(grants: &[&str]) -> Rights {
        Rights::new(grants.iter().map(|text| text.parse().unwrap()).collect())
    }

    async fn change(store: &MemoryStore, change: AccountChange) {
        let by = Author::system(NOW);
        store.change_accounts(vec![change], &by).await.unwrap();
    }

    #[tokio::test]
    async fn a_key_is_worth_what_its_owner_is() {
        let (store, directory) = (MemoryStore::new(), Directory::default());
        let anna = Account::new("anna", rights(&["operator:north"]), NOW);
        change(&store, AccountChange::PutAccount(anna.clone())).await;
        let mut key = ApiKey::new("k", digest("secret"), rights(&["admin"]), NOW);
        key.owner = Some("anna".into());
        change(&store, AccountChange::PutKey(key)).await;
        assert_eq!(
            directory.reload(&store, NOW).await,
            Ok(Different::default())
        );

        let found = directory.key("secret", "other", NOW).unwrap();
        assert_eq!(&*found.who, "key:k");
        assert_eq!(found.highest(), Access::Control);
        assert_eq!(found.everywhere(), Access::None);
        assert!(directory.key("secre", "other", NOW).is_none());
        let built_in = directory.key("other", "other", NOW).unwrap();
        assert_eq!(built_in.everywhere(), Access::Admin);

        // With less rights for the owner both are told of.
        let mut less = anna.clone();
        less.rights = rights(&["viewer:north"]);
        change(&store, AccountChange::PutAccount(less)).await;
        let told = directory.reload(&store, NOW).await.unwrap();
        assert_eq!(told.rights, ["user:anna", "key:k"]);
        assert!(told.logins.is_empty());
        // A new password is no new right.
        let mut same = directory.account("anna").unwrap();
        same.password = Some("x".into());
        change(&store, AccountChange::PutAccount(same)).await;
        let told = directory.reload(&store, NOW).await.unwrap();
        assert!(told.rights.is_empty());
        assert_eq!(told.logins, ["anna"]);

        let mut off = anna;
        off.enabled = false;
        change(&store, AccountChange::PutAccount(off)).await;
        let told = directory.reload(&store, NOW).await.unwrap();
        assert_eq!((told.rights.len(), told.logins.len()), (2, 1));
        assert!(directory.key("secret", "other", NOW).is_none());
        assert!(directory.person("anna").is_none());
    }

    #[tokio::test]
    async fn a_key_ends() {
        let (store, directory) = (MemoryStore::new(), Directory::default());
        let mut key = ApiKey::new("k", digest("secret"), rights(&["viewer"]), NOW);
        key.expires = Some(NOW.plus(std::time::Duration::from_millis(5)));
        change(&store, AccountChange::PutKey(key)).await;
        directory.reload(&store, NOW).await.unwrap();
        assert!(directory.key("secret", "", NOW).is_some());
        assert!(directory.key("secret", "", UnixMillis(105)).is_none());
    }
}
