use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use easydarwin_core::registry::Cidr;
use serde::Deserialize;

use crate::config::{CmsConfig, LegacyClient, LegacyLevel, Policy};

/// The port that documents and devices use.
const DEFAULT_PORT: u16 = 10000;

/// What the CMS can be told: one struct for flags, environment and file. Each value is
/// optional, so that a flag that was not given never hides what the file says.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct Settings {
    /// Address and port for devices, clients, the page and media nodes [default: 0.0.0.0:10000]
    #[arg(long, value_name = "ADDR", env = "EASYDARWIN_CMS_LISTEN")]
    pub listen: Option<SocketAddr>,

    /// Host name or address under which clients reach this CMS
    #[arg(long, value_name = "HOST", env = "EASYDARWIN_CMS_ADVERTISE")]
    pub advertise: Option<String>,

    /// Which devices may register [default: provisioned]
    #[arg(long, value_enum, env = "EASYDARWIN_CMS_POLICY")]
    pub policy: Option<PolicyText>,

    /// Allow policy open on an address that others can reach
    #[arg(long, value_name = "BOOL", env = "EASYDARWIN_CMS_I_KNOW", num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub i_know: Option<bool>,

    /// A device and its key (easydarwin-cms new-key); other users see command lines, prefer
    /// --devices
    #[arg(long, value_name = "SERIAL=KEY")]
    pub device: Option<Vec<DeviceSecret>>,

    /// An old device and the plain token that it sends
    #[arg(long, value_name = "SERIAL=TOKEN")]
    pub device_token: Option<Vec<DeviceSecret>>,

    /// File with a device a line: SERIAL key KEY, or SERIAL token TOKEN
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_CMS_DEVICES")]
    pub devices: Option<PathBuf>,

    /// Key that media nodes have to prove; prefer --join-key-file
    #[arg(
        long,
        value_name = "KEY",
        env = "EASYDARWIN_CMS_JOIN_KEY",
        hide_env_values = true
    )]
    pub join_key: Option<String>,

    /// File that holds the key of media nodes [default: DATA/join-key]
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_CMS_JOIN_KEY_FILE")]
    pub join_key_file: Option<PathBuf>,

    /// File that holds the key of clients [default: DATA/api-key]
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_CMS_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,

    /// Networks whose clients need no key; with =read they may only look
    #[arg(
        long,
        value_name = "CIDR[=read|control]",
        env = "EASYDARWIN_CMS_LEGACY_CLIENTS",
        value_delimiter = ','
    )]
    pub legacy_clients: Option<Vec<LegacyText>>,

    /// Web pages of other hosts that may use the API, as http://HOST or http://HOST:PORT
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "EASYDARWIN_CMS_ALLOWED_ORIGINS",
        value_delimiter = ','
    )]
    pub allowed_origins: Option<Vec<String>>,

    /// Host names under which browsers without a key may come from those networks
    #[arg(
        long,
        value_name = "NAME",
        env = "EASYDARWIN_CMS_HOSTS",
        value_delimiter = ','
    )]
    pub hosts: Option<Vec<String>>,

    /// Directory for the store and the secrets, made when it does not exist; without it everything
    /// is forgotten at the end
    #[arg(long, value_name = "DIR", env = "EASYDARWIN_CMS_DATA")]
    pub data: Option<PathBuf>,

    /// Whether cameras that bring no token may publish, bound to their address [default: true]
    #[arg(long, value_name = "BOOL", env = "EASYDARWIN_CMS_LEGACY_PUBLISH", num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub legacy_publish: Option<bool>,

    /// Seconds for a device to answer a push request [default: 8]
    #[arg(long, value_name = "SECONDS", env = "EASYDARWIN_CMS_PUSH_ACK")]
    pub push_ack: Option<u64>,

    /// Seconds from there to the first key frame [default: 10]
    #[arg(long, value_name = "SECONDS", env = "EASYDARWIN_CMS_FIRST_PICTURE")]
    pub first_picture: Option<u64>,

    /// Seconds of silence after which a connection is closed [default: 90]
    #[arg(long, value_name = "SECONDS", env = "EASYDARWIN_CMS_IDLE")]
    pub idle: Option<u64>,

    /// Seconds between two keep-alives of a device [default: 30]
    #[arg(long, value_name = "SECONDS", env = "EASYDARWIN_CMS_KEEP_ALIVE")]
    pub keep_alive: Option<u64>,

    /// Certificate chain in PEM: TLS is taken on the same port, too; needs --tls-key. Read anew when it
    /// changes, and at SIGHUP
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_CMS_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_CMS_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// Most connections of all kinds [default: 30000]
    #[arg(long, value_name = "N", env = "EASYDARWIN_CMS_MAX_CONNECTIONS")]
    pub max_connections: Option<usize>,

    /// Most connections of one address that have not proven who they are [default: 256]
    #[arg(long, value_name = "N", env = "EASYDARWIN_CMS_MAX_STRANGERS")]
    pub max_strangers: Option<u32>,

    /// Threads that answer [default: half of the processors, at least one]; more of them wake each
    /// other for nothing while there is little to do
    #[arg(long, value_name = "N", env = "EASYDARWIN_CMS_WORKERS")]
    pub workers: Option<usize>,

    /// What is logged, as in RUST_LOG [default: info]
    #[arg(long, value_name = "FILTER", env = "EASYDARWIN_CMS_LOG")]
    pub log: Option<String>,
}

macro_rules! merged {
    ($over:ident, $under:ident, $($field:ident),* $(,)?) => {
        Settings { $($field: $over.$field.or($under.$field)),* }
    };
}

impl Settings {
    /// These settings, and those of `file` where these say nothing.
    #[must_use]
    pub fn over(self, file: Self) -> Self {
        merged!(
            self,
            file,
            listen,
            advertise,
            policy,
            i_know,
            device,
            device_token,
            devices,
            join_key,
            join_key_file,
            api_key_file,
            legacy_clients,
            allowed_origins,
            hosts,
            data,
            legacy_publish,
            push_ack,
            first_picture,
            idle,
            keep_alive,
            workers,
            tls_cert,
            tls_key,
            max_connections,
            max_strangers,
            log,
        )
    }

    /// The library's configuration.
    pub fn to_config(&self) -> CmsConfig {
        let default = SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT));
        let mut config = CmsConfig::new(self.listen.unwrap_or(default));
        config.advertise.clone_from(&self.advertise);
        config.policy = match self.policy {
            None | Some(PolicyText::Provisioned) => Policy::Provisioned,
            Some(PolicyText::Adopt) => Policy::Adopt,
            Some(PolicyText::Open) => Policy::Open,
        };
        config.i_know = self.i_know.unwrap_or(false);
        config.legacy_publish = self.legacy_publish.unwrap_or(config.legacy_publish);
        config.legacy_clients = self
            .legacy_clients
            .iter()
            .flatten()
            .map(|text| text.0)
            .collect();
        config.allowed_origins = self.allowed_origins.clone().unwrap_or_default();
        config.hosts = self.hosts.clone().unwrap_or_default();
        config.max_connections = self.max_connections.unwrap_or(config.max_connections);
        config.max_strangers = self.max_strangers.unwrap_or(config.max_strangers).max(1);
        for (seconds, value) in [
            (self.push_ack, &mut config.push_ack),
            (self.first_picture, &mut config.first_picture),
            (self.idle, &mut config.idle),
            (self.keep_alive, &mut config.keep_alive),
        ] {
            if let Some(seconds) = seconds {
                *value = Duration::from_secs(seconds.max(1));
            }
        }
        config
    }
}

/// See [`Policy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyText {
    /// Those that were added (`device add`, `device import`, --device, --devices).
    Provisioned,
    /// Also unknown old devices, for 24 hours after the start; their first token is theirs.
    Adopt,
    /// Everybody; for loopback.
    Open,
}

/// `SERIAL=SECRET`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DeviceSecret {
    /// The device.
    pub serial: String,
    /// Its secret.
    pub secret: String,
}

impl std::fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceSecret({})", self.serial)
    }
}

impl FromStr for DeviceSecret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text is not repeated: it holds a secret.
        let error = || "write it as SERIAL=SECRET".to_owned();
        let (serial, secret) = text.split_once('=').ok_or_else(error)?;
        if serial.is_empty() || secret.is_empty() {
            return Err(error());
        }
        Ok(Self {
            serial: serial.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

impl TryFrom<String> for DeviceSecret {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// `CIDR[=read|control]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LegacyText(pub LegacyClient);

impl FromStr for LegacyText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (network, level) = text.split_once('=').unwrap_or((text, "control"));
        let network: Cidr = network.parse().map_err(|e| format!("{e}"))?;
        let level = match level {
            "read" => LegacyLevel::Read,
            "control" => LegacyLevel::Control,
            other => return Err(format!("`{other}` is neither read nor control")),
        };
        Ok(Self(LegacyClient { network, level }))
    }
}

impl TryFrom<String> for LegacyText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_file_and_a_missing_one_does_not() {
        let file: Settings = toml::from_str(
            "listen = \"127.0.0.1:1\"\npolicy = \"open\"\ndevice = [\"a=b=c\"]\n\
             legacy-clients = [\"10.0.0.0/8=read\"]",
        )
        .unwrap();
        let flags = Settings {
            listen: Some("127.0.0.1:2".parse().unwrap()),
            ..Settings::default()
        };
        let merged = flags.over(file);
        assert_eq!(merged.listen.unwrap().port(), 2);
        let config = merged.to_config();
        assert_eq!(config.policy, Policy::Open);
        assert_eq!(config.legacy_clients[0].level, LegacyLevel::Read);
        assert_eq!(merged.device.unwrap()[0].secret, "b=c");
        assert!(toml::from_str::<Settings>("listenn = 1").is_err());
    }
}
