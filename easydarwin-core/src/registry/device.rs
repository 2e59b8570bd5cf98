use async_trait::async_trait;
use thiserror::Error;

use super::UnixMillis;

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

/// What is kept of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// `[A-Za-z0-9_-]{1,64}`.
    pub serial: String,
    /// Shown to people.
    pub name: String,
    /// For grouping.
    pub tag: String,
    /// `EasyCamera` or `EasyNVR`.
    pub app_type: String,
    /// As the device wrote it.
    pub terminal_type: String,
    /// A recorder's channels; empty for a camera.
    pub channels: Vec<DeviceChannel>,
    /// Whether it may register.
    pub enabled: bool,
    /// When it became known.
    pub created: UnixMillis,
}

impl Device {
    /// A device of which only the serial is known.
    pub fn new(serial: impl Into<String>, created: UnixMillis) -> Self {
        Self {
            serial: serial.into(),
            name: String::new(),
            tag: String::new(),
            app_type: String::new(),
            terminal_type: String::new(),
            channels: Vec::new(),
            enabled: true,
            created,
        }
    }
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

/// Order of a list of devices. The serial breaks ties.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceSort {
    /// By serial.
    #[default]
    Serial,
    /// By name.
    Name,
    /// By the time at which they became known.
    Created,
}

/// Which devices, in which order, how many.
#[derive(Debug, Clone, Default)]
pub struct DeviceQuery {
    /// Text that stands in serial, name or tag, in any case.
    pub text: Option<String>,
    /// Any of these kinds, in any case; empty: all.
    pub app_types: Vec<String>,
    /// Any of these terminals, in any case; empty: all.
    pub terminal_types: Vec<String>,
    /// Exactly this tag.
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

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Cursor of the next page, if there is more.
    pub next: Option<String>,
}

/// Why a store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No such device or credential.
    #[error("there is no device or credential of this name")]
    NotFound,
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
#[async_trait]
pub trait DeviceStore: Send + Sync + 'static {
    /// Counts the starts of the CMS: one more than at the last call, on whatever machine.
    /// Generations are made from it, so that one from before a restart never looks newer.
    async fn begin_epoch(&self) -> Result<u32, StoreError>;

    /// Adds or replaces a device.
    async fn put(&self, device: Device) -> Result<(), StoreError>;

    /// One device.
    async fn get(&self, serial: &str) -> Result<Option<Device>, StoreError>;

    /// Removes a device with its credentials.
    async fn remove(&self, serial: &str) -> Result<(), StoreError>;

    /// A page of devices.
    async fn list(&self, query: &DeviceQuery) -> Result<Page<Device>, StoreError>;

    /// How many there are.
    async fn count(&self) -> Result<usize, StoreError>;

    /// The credentials of a device, revoked ones too. Empty for an unknown device.
    async fn credentials(&self, serial: &str) -> Result<Vec<Credential>, StoreError>;

    /// Adds or replaces (by id) a credential of a known device.
    async fn put_credential(&self, serial: &str, credential: Credential) -> Result<(), StoreError>;

    /// From now on this credential does not count.
    async fn revoke_credential(
        &self,
        serial: &str,
        id: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError>;
}
