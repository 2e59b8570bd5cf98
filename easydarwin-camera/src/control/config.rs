use std::fmt;
use std::time::Duration;

use easydarwin_core::protocol::TerminalType;
use easydarwin_core::protocol::login::DeviceKey;

use super::{CmsAddress, CommandKinds};

/// Who the device is and how it talks to the CMS. Durations have the protocol's defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ControlConfig {
    /// 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub serial: String,
    /// Shown in device lists.
    pub name: String,
    /// Shown in device lists; free text for grouping.
    pub tag: String,
    /// What it proves its identity with.
    pub credential: Credential,
    /// CMS, tried in turn; the one that last took the device is tried first after an outage.
    /// Without any the engine does nothing.
    pub addresses: Vec<CmsAddress>,
    /// What it runs on. Default `Linux`.
    pub terminal: TerminalType,
    /// Channels that can be asked for, from 1. More than one make it a recorder to the CMS.
    pub channels: Vec<u32>,
    /// Time between two registers when the CMS does not say. Default 30 s.
    pub keep_alive: Duration,
    /// After this time without a byte from the CMS the connection is given up. Default 90 s.
    pub silence: Duration,
    /// How long a connection may take to come about, name resolution and TLS included. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a login may take. Default 20 s.
    pub login_timeout: Duration,
    /// Time between two snapshots of a channel; the first is taken at once. Default 180 s.
    pub snapshot_interval: Duration,
    /// Whether the shell does [`ControlEvent::Upload`](super::ControlEvent::Upload); otherwise
    /// snapshots go through the control connection. Default: no.
    pub uploads: bool,
    /// How long the embedder may take for a command before 408 is answered. Default 10 s.
    pub command_timeout: Duration,
    /// What the embedder does for clients; everything else is answered with 501 at once. Default:
    /// nothing.
    pub supports: CommandKinds,
    /// Whether a device with a key also takes a CMS over plain TCP that lets it in without a proof that it
    /// knows that key. Default no, for anybody who takes the CMS's place can say 200 and see the pictures.
    pub unproven_cms: bool,
    /// Makes this camera wait other times than its neighbours; any number.
    pub seed: u64,
}

impl ControlConfig {
    /// A camera with channel 1, without CMS.
    pub fn new(serial: impl Into<String>, credential: Credential) -> Self {
        let serial = serial.into();
        Self {
            name: serial.clone(),
            tag: String::new(),
            serial,
            credential,
            addresses: Vec::new(),
            terminal: TerminalType::Linux,
            channels: vec![1],
            keep_alive: Duration::from_secs(30),
            silence: Duration::from_secs(90),
            connect_timeout: Duration::from_secs(10),
            login_timeout: Duration::from_secs(20),
            snapshot_interval: Duration::from_secs(180),
            uploads: false,
            command_timeout: Duration::from_secs(10),
            supports: CommandKinds::default(),
            unproven_cms: false,
            seed: 0,
        }
    }
}

/// What a device proves its identity with. `Debug` shows no secret.
#[derive(Clone)]
pub enum Credential {
    /// The key that the CMS generated: proven, never sent.
    Key(DeviceKey),
    /// A token in the old manner: sent in plain with every register.
    Token(String),
}

impl Credential {
    /// The key as the CMS gave it, for this serial.
    pub fn key(key: &str, serial: &str) -> Self {
        Self::Key(DeviceKey::new(key, serial))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(hidden)",
            Self::Token(_) => "Token(hidden)",
        })
    }
}
