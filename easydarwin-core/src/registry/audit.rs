//! Who changed what.

use super::UnixMillis;

/// Who makes a change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Author {
    /// `user:NAME`, `key:ID`, `cli:NAME`, `policy:adopt`, `system`.
    pub name: String,
    /// From where: an address, or empty.
    pub origin: String,
    /// When.
    pub at: UnixMillis,
}

impl Author {
    /// Somebody, now.
    pub fn new(name: impl Into<String>, at: UnixMillis) -> Self {
        Self {
            name: name.into(),
            origin: String::new(),
            at,
        }
    }

    /// The same from this address.
    #[must_use]
    pub fn from_address(mut self, origin: impl Into<String>) -> Self {
        self.origin = origin.into();
        self
    }

    /// The CMS itself.
    pub fn system(at: UnixMillis) -> Self {
        Self::new("system", at)
    }
}

/// One change as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Grows with each entry.
    pub id: u64,
    /// Who and when.
    pub author: Author,
    /// What was done: `device.put`, `device.remove`, `credential.put`, `credential.revoke`,
    /// `account.put`, `account.remove`, `key.put`, `key.revoke`, `group.add`, `group.move`,
    /// `group.remove`, `policy.set`.
    pub action: String,
    /// To what: a serial, a name, an id, a path.
    pub subject: String,
    /// What else is worth knowing; no secrets.
    pub detail: String,
}

impl AuditEntry {
    /// For implementors of [`AccountStore`](super::AccountStore).
    pub fn new(
        id: u64,
        author: Author,
        action: impl Into<String>,
        subject: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            id,
            author,
            action: action.into(),
            subject: subject.into(),
            detail: detail.into(),
        }
    }
}
