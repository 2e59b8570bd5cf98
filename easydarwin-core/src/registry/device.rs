use async_trait::async_trait;
use thiserror::Error;

use super::{Author, GroupPath, Page, PagePlace, UnixMillis};

/// A channel of a device, as it was last known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceChannel {
    /// Its number, from 1.
    pub channel: u32,
    /// Its name.
    pub name: String,
    /// Whether the camera behind it was there.
    pub online: bool,
}

/// What a device says of itself when it registers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceSaid {
    /// Its name.
    pub name: String,
    /// Its one tag.
    pub tag: String,
    /// `EasyCamera` or `EasyNVR`.
    pub app_type: String,
    /// As the device wrote it.
    pub terminal_type: String,
    /// A recorder's channels; empty for a camera.
    pub channels: Vec<DeviceChannel>,
}

/// What is kept of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// `[A-Za-z0-9_-]{1,64}`.
    pub serial: String,
    /// The name that people gave it; empty: its own is shown.
    pub label: String,
    /// Tags that people gave it.
    pub tags: Vec<String>,
    /// Where it is in the tree of groups.
    pub group: GroupPath,
    /// Whether it may register.
    pub enabled: bool,
    /// When it became known.
    pub created: UnixMillis,
    /// What it says of itself.
    pub said: DeviceSaid,
    /// When it was last there, as far as that was written down.
    pub last_seen: Option<UnixMillis>,
    /// Why it left, or came, at that time; empty if it never was there.
    pub last_cause: String,
}

impl Device {
    /// A device of which only the serial is known.
    pub fn new(serial: impl Into<String>, created: UnixMillis) -> Self {
        Self {
            serial: serial.into(),
            label: String::new(),
            tags: Vec::new(),
            group: GroupPath::root(),
            enabled: true,
            created,
            said: DeviceSaid::default(),
            last_seen: None,
            last_cause: String::new(),
        }
    }

    /// The name to show: what people called it, else what it calls itself.
    pub fn name(&self) -> &str {
        if self.label.is_empty() {
            &self.said.name
        } else {
            &self.label
        }
    }
}

/// What people set of a device; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DevicePatch {
    /// See [`Device::label`].
    pub label: Option<String>,
    /// See [`Device::tags`].
    pub tags: Option<Vec<String>>,
    /// See [`Device::group`]; made if it does not exist.
    pub group: Option<GroupPath>,
    /// See [`Device::enabled`].
    pub enabled: Option<bool>,
}

impl DevicePatch {
    /// Writes it into a device; whether that changed anything.
    pub fn apply(&self, device: &mut Device) -> bool {
        let before = device.clone();
        if let Some(label) = &self.label {
            device.label.clone_from(label);
        }
        if let Some(tags) = &self.tags {
            device.tags.clone_from(tags);
        }
        if let Some(group) = &self.group {
            device.group = group.clone();
        }
        device.enabled = self.enabled.unwrap_or(device.enabled);
        before != *device
    }
}

/// One change of [`DeviceStore::change`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DeviceChange {
    /// What people set; adds the device if there is none.
    Patch(String, DevicePatch),
    /// What a device said of itself; adds it if there is none. Not part of the audit.
    Said(String, DeviceSaid),
    /// Removes a device with its credentials.
    Remove(String),
    /// Adds or replaces (by id) a credential of a known device.
    PutCredential(String, Credential),
    /// From now on this credential (serial, id) does not count.
    RevokeCredential(String, String),
}

impl DeviceChange {
    /// The device that is changed.
    pub fn serial(&self) -> &str {
        match self {
            Self::Patch(serial, _)
            | Self::Said(serial, _)
            | Self::Remove(serial)
            | Self::PutCredential(serial, _)
            | Self::RevokeCredential(serial, _) => serial,
        }
    }
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changed {
    /// Something is there that was not there before.
    Added,
    /// Something is different.
    Changed,
    /// Everything was so already.
    Same,
}

/// When a device was last there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The device.
    pub serial: String,
    /// When.
    pub at: UnixMillis,
    /// Why its state changed then.
    pub cause: String,
}

/// What a device's secret is checked against. None of them can be turned back into the secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Secret {
    /// A generated key, proven with ED1.
    Key(crate::protocol::login::Verifier),
    /// Digest of an old device's plain token.
    Token([u8; 32]),
    /// Name of a client certificate.
    Cert(String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(…)",
            Self::Token(_) => "Token(…)",
            Self::Cert(_) => "Cert(…)",
        })
    }
}

/// One secret of a device. A device may have several, so that they can be changed without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credential {
    /// Unique per device.
    pub id: String,
    /// What is checked.
    pub secret: Secret,
    /// When it was made.
    pub created: UnixMillis,
    /// When it was last used, as far as that was written down.
    pub last_used: Option<UnixMillis>,
    /// Since when it does not count any more.
    pub revoked: Option<UnixMillis>,
}

impl Credential {
    /// A credential that counts from now on.
    pub fn new(id: impl Into<String>, secret: Secret, created: UnixMillis) -> Self {
        Self {
            id: id.into(),
            secret,
            created,
            last_used: None,
            revoked: None,
        }
    }
}

/// When a credential was last used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The device.
    pub serial: String,
    /// The credential's id.
    pub id: String,
    /// When.
    pub at: UnixMillis,
}

/// Order of a list of devices. The serial breaks ties.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceSort {
    /// By serial.
    #[default]
    Serial,
    /// By the name that is shown, in any case.
    Name,
    /// By the time at which they became known.
    Created,
}

/// Which devices, in which order, how many.
#[derive(Debug, Clone, Default)]
pub struct DeviceQuery {
    /// Text that stands in serial, label, name or a tag, in any case.
    pub text: Option<String>,
    /// Only devices in one of these groups or below them; `None`: all.
    pub groups: Option<Vec<GroupPath>>,
    /// Any of these kinds, in any case; empty: all.
    pub app_types: Vec<String>,
    /// Any of these terminals, in any case; empty: all.
    pub terminal_types: Vec<String>,
    /// Exactly this tag, its own or one that people gave it.
    pub tag: Option<String>,
    /// Order.
    pub sort: DeviceSort,
    /// Backwards.
    pub descending: bool,
    /// Where the last page ended: its [`Page::next`].
    pub cursor: Option<String>,
    /// Most devices on a page; 0: as many as the store gives at most.
    pub limit: usize,
}

impl From<super::GroupPathError> for StoreError {
    fn from(error: super::GroupPathError) -> Self {
        Self::InUse(error.to_string())
    }
}

/// Why a store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No such thing.
    #[error("there is nothing of this name: {0}")]
    NotFound(String),
    /// Something else still needs it.
    #[error("{0}")]
    InUse(String),
    /// A newer version of this program wrote the store.
    #[error(
        "the store has schema {found}, this version knows up to {known}: use the version that \
         wrote it, or restore a backup from before the update"
    )]
    Newer {
        /// The store's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A limit of the store is reached.
    #[error("the store is full ({limit} entries); remove some or raise the limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The cursor is not one of ours.
    #[error("the cursor is not valid; begin with the first page")]
    Cursor,
    /// The backend failed.
    #[error("the device store failed: {0}")]
    Backend(String),
}

/// The devices that are known and their secrets. Durable; never asked on a keep-alive.
///
/// What [`change`](Self::change) has answered survives a crash of the machine.
#[async_trait]
pub trait DeviceStore: Send + Sync + 'static {
    /// Counts the starts of the CMS: more than at the last call, on whatever machine, also if a
    /// backup was restored in between. Generations are made from it, so that one from before a
    /// restart never looks newer.
    async fn begin_epoch(&self) -> Result<u32, StoreError>;

    /// Makes changes, all or none, and writes down who made them. What came of each, in order.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a removal or a credential of something unknown,
    /// [`StoreError::Full`].
    async fn change(
        &self,
        changes: Vec<DeviceChange>,
        by: &Author,
    ) -> Result<Vec<Changed>, StoreError>;

    /// One device.
    async fn get(&self, serial: &str) -> Result<Option<Device>, StoreError>;

    /// A page of devices.
    async fn list(&self, query: &DeviceQuery) -> Result<Page<Device>, StoreError>;

    /// How many there are.
    async fn count(&self) -> Result<usize, StoreError>;

    /// The credentials of a device, revoked ones too. Empty for an unknown device.
    async fn credentials(&self, serial: &str) -> Result<Vec<Credential>, StoreError>;

    /// When devices were last there; unknown ones are left out. May be lost in a crash.
    async fn seen(&self, seen: Vec<Seen>) -> Result<(), StoreError>;

    /// When credentials were last used; unknown ones are left out. May be lost in a crash.
    async fn used(&self, used: Vec<Used>) -> Result<(), StoreError>;

    /// One [`DeviceChange::Patch`].
    async fn patch(
        &self,
        serial: &str,
        patch: DevicePatch,
        by: &Author,
    ) -> Result<Changed, StoreError> {
        let change = DeviceChange::Patch(serial.to_owned(), patch);
        one(self.change(vec![change], by).await)
    }

    /// One [`DeviceChange::Remove`].
    async fn remove(&self, serial: &str, by: &Author) -> Result<(), StoreError> {
        let change = DeviceChange::Remove(serial.to_owned());
        self.change(vec![change], by).await.map(|_| ())
    }

    /// One [`DeviceChange::PutCredential`].
    async fn put_credential(
        &self,
        serial: &str,
        credential: Credential,
        by: &Author,
    ) -> Result<Changed, StoreError> {
        let change = DeviceChange::PutCredential(serial.to_owned(), credential);
        one(self.change(vec![change], by).await)
    }

    /// One [`DeviceChange::RevokeCredential`].
    async fn revoke_credential(
        &self,
        serial: &str,
        id: &str,
        by: &Author,
    ) -> Result<Changed, StoreError> {
        let change = DeviceChange::RevokeCredential(serial.to_owned(), id.to_owned());
        one(self.change(vec![change], by).await)
    }
}

fn one(result: Result<Vec<Changed>, StoreError>) -> Result<Changed, StoreError> {
    Ok(result?.first().copied().unwrap_or(Changed::Same))
}

impl DeviceQuery {
    /// Where the last page ended; `None`: this is the first one.
    ///
    /// # Errors
    /// [`StoreError::Cursor`] when the cursor is none of ours.
    pub fn after(&self) -> Result<Option<PagePlace>, StoreError> {
        self.cursor.as_deref().map(str::parse).transpose()
    }

    /// Whether a device belongs into the list; order, cursor and limit apart.
    pub fn matches(&self, device: &Device) -> bool {
        let said = &device.said;
        let any = |wanted: &[String], value: &str| {
            wanted.is_empty() || wanted.iter().any(|w| w.eq_ignore_ascii_case(value))
        };
        let has_tag = |tag: &str| tag == said.tag || device.tags.iter().any(|t| t == tag);
        let text_fits = || {
            self.text.as_deref().is_none_or(|text| {
                let text = text.to_lowercase();
                [&device.serial, &device.label, &said.name, &said.tag]
                    .into_iter()
                    .chain(&device.tags)
                    .any(|field| field.to_lowercase().contains(&text))
            })
        };
        any(&self.app_types, &said.app_type)
            && any(&self.terminal_types, &said.terminal_type)
            && self.tag.as_deref().is_none_or(has_tag)
            && self
                .groups
                .as_ref()
                .is_none_or(|groups| groups.iter().any(|g| g.holds(&device.group)))
            && text_fits()
    }
}
