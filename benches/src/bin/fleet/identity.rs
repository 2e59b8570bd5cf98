//! Who is who: serials, secrets and addresses follow from a device's number, so that all processes
//! know them without telling each other.

use std::net::{IpAddr, Ipv4Addr};

use easydarwin_core::protocol::login::DeviceKey;
use easydarwin_core::protocol::{AppType, Ext, Extension, Register, TerminalType};

/// How many addresses devices come from: one has ports for some thousand of them.
const SOURCES: usize = 64;
/// How many addresses of the server they go to.
const DESTINATIONS: usize = 8;

/// A device of the fleet.
#[derive(Debug)]
pub struct Identity {
    /// Its number, from 0.
    pub index: usize,
    /// Its serial.
    pub serial: String,
    /// How it proves who it is.
    pub secret: Secret,
}

/// What it was provisioned with.
#[derive(Debug)]
pub enum Secret {
    /// Proves a key with ED1.
    Key(String),
    /// Sends a plain token, as the original's devices do.
    Token(String),
}

impl Identity {
    /// Device `index` of a fleet in which `ed1_share` of all have keys.
    pub fn new(index: usize, ed1_share: f64) -> Self {
        // Evenly mixed: the share of every long run of devices is that of the fleet.
        let keys_before = |n: usize| (n as f64 * ed1_share).round() as usize;
        let has_key = keys_before(index + 1) > keys_before(index);
        Self {
            index,
            serial: format!("{:012}", 1_001_000_000 + index),
            secret: if has_key {
                Secret::Key(format!("key-of-a-measured-device-{index:018}"))
            } else {
                Secret::Token(format!("{:06}", 100_000 + index))
            },
        }
    }

    /// Its line in the file of devices with which a CMS without store starts.
    pub fn line(&self) -> String {
        match &self.secret {
            Secret::Key(key) => format!("{} key {key}\n", self.serial),
            Secret::Token(token) => format!("{} token {token}\n", self.serial),
        }
    }

    /// Its row in a file that is imported: serial, key, token.
    pub fn row(&self) -> String {
        match &self.secret {
            Secret::Key(key) => format!("{},{key},\n", self.serial),
            Secret::Token(token) => format!("{},,{token}\n", self.serial),
        }
    }

    /// The key, ready for the exchange, if it has one.
    pub fn key(&self) -> Option<DeviceKey> {
        match &self.secret {
            Secret::Key(key) => Some(DeviceKey::new(key, &self.serial)),
            Secret::Token(_) => None,
        }
    }

    /// The register that it sends each half minute.
    pub fn register(&self) -> Register {
        let terminal = match &self.secret {
            Secret::Key(_) => TerminalType::Linux,
            Secret::Token(_) => TerminalType::ArmLinux,
        };
        let mut register = Register::new(self.serial.as_str(), AppType::EasyCamera, terminal);
        register.name = format!("Camera {}", self.index);
        register.tag = "fleet".to_owned();
        match &self.secret {
            Secret::Key(_) => register.ext = Ext::of(&[Extension::Auth, Extension::Token]),
            Secret::Token(token) => register.token = Some(token.clone()),
        }
        register
    }

    /// The address that it comes from.
    pub fn source(&self) -> Ipv4Addr {
        loopback(1, self.index % SOURCES)
    }

    /// The address of the server that it goes to.
    pub fn destination(&self) -> IpAddr {
        loopback(2, self.index / SOURCES % DESTINATIONS).into()
    }
}

fn loopback(third: u8, index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, third, u8::try_from(index + 1).unwrap_or(u8::MAX))
}
