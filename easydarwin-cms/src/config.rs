use std::net::SocketAddr;
use std::time::Duration;

use easydarwin_core::protocol::login;
use easydarwin_core::registry::{Cidr, TokenError, random_bytes};

/// Which devices may register.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Those that were provisioned, with the right secret.
    #[default]
    Provisioned,
    /// Also unknown old devices: the token that such a device brings first is the one it has to
    /// bring from then on.
    Adopt,
    /// Every device with every secret, unless it was provisioned. For demonstrations and tests
    /// on loopback.
    Open,
}

/// What a client may do without an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegacyLevel {
    /// See which devices there are, and their snapshots.
    Read,
    /// Also start and stop streams, move cameras, talk.
    Control,
}

/// A network of old clients, which know no API key. Decided on the true peer address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegacyClient {
    /// The network.
    pub network: Cidr,
    /// What its clients may do.
    pub level: LegacyLevel,
}

/// Secrets of a CMS. Kept over restarts by whoever runs it; new ones make old tokens worthless
/// and lock out adopted devices.
#[derive(Clone)]
pub struct Secrets {
    /// What clients bring as `Authorization: Bearer` or `X-API-Key`.
    pub api_key: String,
    /// What media nodes prove when they join.
    pub join_key: String,
    /// Seed of the key that signs tokens.
    pub token_seed: [u8; 32],
    /// Goes into the digests of old devices' tokens; belongs into no backup of the devices.
    pub pepper: [u8; 32],
}

impl Secrets {
    /// New ones.
    ///
    /// # Errors
    /// [`TokenError::Key`] when the system has no random bytes.
    pub fn generate() -> Result<Self, TokenError> {
        Ok(Self {
            api_key: login::key_text(random_bytes()?),
            join_key: login::key_text(random_bytes()?),
            token_seed: random_bytes()?,
            pepper: random_bytes()?,
        })
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// Everything that can be set. The defaults are those of the original where it has one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CmsConfig {
    /// Address of the one port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host that URLs of snapshots and `Service` name; default: the address at which the
    /// client reached us.
    pub advertise: Option<String>,
    /// Who may register.
    pub policy: Policy,
    /// How long after the start policy `adopt` holds; then it is as `provisioned`.
    pub adopt_for: Duration,
    /// Allow policy `open` on an address that can be reached from outside.
    pub i_know: bool,
    /// A provisioned key may be replaced by a plain token.
    pub plain_ok: bool,
    /// Old clients.
    pub legacy_clients: Vec<LegacyClient>,
    /// Web pages of other hosts that may use the API, as `Origin` has them.
    pub allowed_origins: Vec<String>,
    /// Host names under which browsers may reach the CMS without API key (IP literals and
    /// `localhost` always may), against DNS rebinding.
    pub hosts: Vec<String>,
    /// Old cameras, which bring no token, may publish: a grant is bound to their address.
    pub legacy_publish: bool,

    /// Between two registers of a device.
    pub keep_alive: Duration,
    /// A connection that says nothing for this long is closed.
    pub idle: Duration,
    /// How long a new connection may take until its first message is whole, and a client of HTTP
    /// until each head is.
    pub first_message: Duration,
    /// How long any later message may take from its first byte to its last.
    pub whole_message: Duration,
    /// How long a client of HTTP may take nothing of what there is for it; then its connection is
    /// closed.
    pub stalled: Duration,
    /// A device whose connection ended has this long to come back.
    pub grace: Duration,
    /// How long a wrong secret waits for its answer, so that guessing is slow; up to five times as
    /// long for those that follow from the same address, or for the same device.
    pub refusal_delay: Duration,
    /// How long a device may take to answer a push request.
    pub push_ack: Duration,
    /// How long a device may take to answer a preset command.
    pub control_ack: Duration,
    /// How long from the device's answer to the first key frame at the media node.
    pub first_picture: Duration,
    /// How long a media node may take to answer.
    pub node_ack: Duration,
    /// Between two reports of a media node.
    pub node_beat: Duration,
    /// A media node that says nothing for this long is dead.
    pub node_lease: Duration,
    /// How long after its making a token can be used to begin playing or publishing.
    pub token_ttl: Duration,
    /// The same for HLS, where every request shows the token again, and for snapshot URLs.
    pub long_token_ttl: Duration,

    /// How long the receiver of a webhook may take to answer.
    pub webhook_timeout: Duration,
    /// Pause before a receiver that failed is tried again; doubled with each failure, up to five
    /// minutes.
    pub webhook_retry: Duration,
    /// How long a receiver may refuse events before they are put aside.
    pub webhook_give_up: Duration,

    /// Most connections of all kinds.
    pub max_connections: usize,
    /// New connections that are read from within a second; of a herd the others wait their turn.
    pub admit_per_second: u32,
    /// The longest that one of them waits. Devices that can be told to come again later are told
    /// so when it would be longer.
    pub admit_wait: Duration,
    /// TLS handshakes that are begun within a second.
    pub handshakes_per_second: u32,
    /// Most connections of one address (of IPv6, one /64) that have not proven who they are.
    pub max_strangers: u32,
    /// Largest message of a device that has not registered, in bytes.
    pub max_body_stranger: usize,
    /// Largest message of a registered device, in bytes: a snapshot in base64.
    pub max_body_device: usize,
    /// Largest message of a media node, in bytes: its inventory.
    pub max_body_node: usize,
    /// Most memory for long messages while they come in and are taken apart, in bytes: eight of the
    /// largest snapshots at once, or many more of the usual size.
    pub max_long_messages: usize,
    /// Most memory for snapshots, in bytes; the oldest go.
    pub max_snapshots: usize,
    /// Most unknown serials remembered for the operator.
    pub max_pending: usize,
}

impl CmsConfig {
    /// The defaults on this address.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            advertise: None,
            policy: Policy::default(),
            adopt_for: Duration::from_secs(24 * 3600),
            i_know: false,
            plain_ok: false,
            legacy_clients: Vec::new(),
            allowed_origins: Vec::new(),
            hosts: Vec::new(),
            legacy_publish: true,
            keep_alive: Duration::from_secs(30),
            idle: Duration::from_secs(90),
            first_message: Duration::from_secs(20),
            whole_message: Duration::from_secs(30),
            stalled: Duration::from_secs(30),
            grace: Duration::from_secs(15),
            refusal_delay: Duration::from_secs(1),
            push_ack: Duration::from_secs(8),
            control_ack: Duration::from_secs(5),
            first_picture: Duration::from_secs(10),
            node_ack: Duration::from_secs(3),
            node_beat: Duration::from_secs(2),
            node_lease: Duration::from_secs(6),
            token_ttl: Duration::from_secs(60),
            long_token_ttl: Duration::from_secs(3600),
            webhook_timeout: Duration::from_secs(10),
            webhook_retry: Duration::from_secs(1),
            webhook_give_up: Duration::from_secs(3600),
            max_connections: 30_000,
            admit_per_second: 1000,
            admit_wait: Duration::from_secs(10),
            handshakes_per_second: 500,
            max_strangers: 256,
            max_body_stranger: 64 * 1024,
            max_body_device: 1_500_000,
            max_body_node: 8 * 1024 * 1024,
            max_long_messages: 32 * 1024 * 1024,
            max_snapshots: 512 * 1024 * 1024,
            max_pending: 1000,
        }
    }
}
