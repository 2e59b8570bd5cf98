//! People and the keys of programs.

use async_trait::async_trait;

use super::{AuditEntry, Author, GroupPath, Rights, StoreError, UnixMillis};

/// A person who logs in.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// `[A-Za-z0-9._@-]{1,64}`.
    pub name: String,
    /// Hash of the password as a PHC string; `None`: cannot log in.
    pub password: Option<String>,
    /// What the person may do.
    pub rights: Rights,
    /// Whether the person may log in.
    pub enabled: bool,
    /// When it was made.
    pub created: UnixMillis,
}

impl Account {
    /// An account that cannot log in yet.
    pub fn new(name: impl Into<String>, rights: Rights, created: UnixMillis) -> Self {
        Self {
            name: name.into(),
            password: None,
            rights,
            enabled: true,
            created,
        }
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("rights", &self.rights)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

/// The key of a program. Only its digest is kept.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiKey {
    /// Shown, and part of no secret.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// SHA-256 of the key.
    pub digest: [u8; 32],
    /// What it may do; never more than its owner.
    pub rights: Rights,
    /// The person to whom it belongs.
    pub owner: Option<String>,
    /// When it was made.
    pub created: UnixMillis,
    /// From when on it does not count.
    pub expires: Option<UnixMillis>,
    /// Since when it does not count any more.
    pub revoked: Option<UnixMillis>,
}

impl ApiKey {
    /// A key that counts from now on.
    pub fn new(
        id: impl Into<String>,
        digest: [u8; 32],
        rights: Rights,
        created: UnixMillis,
    ) -> Self {
        Self {
            id: id.into(),
            name: String::new(),
            digest,
            rights,
            owner: None,
            created,
            expires: None,
            revoked: None,
        }
    }

    /// Whether it counts.
    pub fn is_valid(&self, now: UnixMillis) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|end| now < end)
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("rights", &self.rights)
            .finish_non_exhaustive()
    }
}

/// One change of [`AccountStore::change_accounts`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AccountChange {
    /// Adds or replaces a person.
    PutAccount(Account),
    /// Removes a person and the keys that belong to it.
    RemoveAccount(String),
    /// Adds or replaces (by id) a key.
    PutKey(ApiKey),
    /// From `at` on the key does not count.
    RevokeKey {
        /// Its id.
        id: String,
        /// When.
        at: UnixMillis,
    },
    /// Adds a group, and those that hold it.
    AddGroup(GroupPath),
    /// Gives a group another path; all below it and all devices and rights in it go along.
    MoveGroup {
        /// As it is called.
        from: GroupPath,
        /// As it is to be called.
        to: GroupPath,
    },
    /// Removes a group that holds nothing: no group, no device, no right.
    RemoveGroup(GroupPath),
    /// A setting of the CMS; part of the audit.
    SetPolicy {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// People, keys, groups and the record of who changed what. Durable; a change is committed with
/// its audit entry before it is answered.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// Makes changes, all or none.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for one that names nothing, [`StoreError::InUse`].
    async fn change_accounts(
        &self,
        changes: Vec<AccountChange>,
        by: &Author,
    ) -> Result<(), StoreError>;

    /// All people, by name.
    async fn accounts(&self) -> Result<Vec<Account>, StoreError>;

    /// All keys, revoked ones too, by id.
    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError>;

    /// All groups, by path.
    async fn groups(&self) -> Result<Vec<GroupPath>, StoreError>;

    /// The policy settings.
    async fn policy(&self) -> Result<Vec<(String, String)>, StoreError>;

    /// Entries of the audit after this id, oldest first.
    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;

    /// Id of the newest entry of the audit, 0 if there is none: whether anything was changed,
    /// also by another process.
    async fn audit_end(&self) -> Result<u64, StoreError>;
}
