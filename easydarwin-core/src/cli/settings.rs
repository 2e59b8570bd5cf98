use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use thiserror::Error;

use super::{DigestChoice, DurationText, SizeText, UserEntry};
use crate::forward::ForwardSpec;
use crate::pull::{SourceMode, SourceSpec};
use crate::registry::{Cidr, CidrError};
use crate::relay::{RelayConfig, Start};
use crate::tls::{SpkiPin, SpkiPinError};

/// The port for RTSP that the documents and examples use.
pub const DEFAULT_RTSP_PORT: u16 = 10554;
/// The port for HTTP that the documents and examples use.
pub const DEFAULT_HTTP_PORT: u16 = 10080;

/// What the media server can be told: one struct for flags, environment and file.
///
/// Each value is optional, so that a flag or variable that was not given never hides what the
/// file says. Keys of the file are the long names of the flags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct Settings {
    /// Address and port for RTSP [default: port 10554 of all addresses, IPv4 and IPv6]
    #[arg(long, value_name = "ADDR", env = "EASYDARWIN_RTSP")]
    pub rtsp: Option<SocketAddr>,

    /// Address and port for RTSP over TLS alone; needs --tls-cert and --tls-key
    #[arg(long, value_name = "ADDR", env = "EASYDARWIN_RTSPS")]
    pub rtsps: Option<SocketAddr>,

    /// Certificate chain for TLS, a PEM file; with it the port for RTSP takes TLS, too
    ///
    /// Read anew when it changes, and at SIGHUP; sessions go on.
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// Certificates, a PEM file, by which sources and forwards over rtsps:// are believed
    ///
    /// Of authorities, or the cameras' own; replaces the public authorities. They have to name the
    /// host and be valid: for cameras whose certificates do not, there is --tls-pin.
    #[arg(
        long,
        value_name = "FILE",
        env = "EASYDARWIN_TLS_CA",
        conflicts_with = "tls_pin"
    )]
    pub tls_ca: Option<PathBuf>,

    /// Keys by which sources and forwards over rtsps:// are believed, whatever their certificates say
    ///
    /// Each is the SHA-256 of a certificate's public key, as 64 hex digits:
    /// openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform der | sha256sum
    #[arg(
        long,
        value_name = "SHA256",
        env = "EASYDARWIN_TLS_PIN",
        value_delimiter = ','
    )]
    pub tls_pin: Option<Vec<PinText>>,

    /// Address and port for HLS, WebSocket and the API [default: port 10080 of all addresses, IPv4 and IPv6]
    #[arg(long, value_name = "ADDR", env = "EASYDARWIN_HTTP")]
    pub http: Option<SocketAddr>,

    /// Host name or address under which others reach this server
    ///
    /// Given to the CMS, which puts it into the URLs for cameras and players. Without it, the
    /// address from which this server speaks to the CMS is used.
    #[arg(long, value_name = "HOST", env = "EASYDARWIN_ADVERTISE")]
    pub advertise: Option<String>,

    /// Let anybody publish and play
    ///
    /// Without it both need a right: a token signed with --key or by the CMS, or a user's password.
    #[arg(long, value_name = "BOOL", env = "EASYDARWIN_ANONYMOUS", num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub anonymous: Option<bool>,

    /// Key file whose tokens give rights here; made when it does not exist
    ///
    /// `easydarwin token` signs tokens with it.
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_KEY")]
    pub key: Option<PathBuf>,

    /// File with users who log in with a password over RTSP
    ///
    /// TOML, for each user: `[[user]]`, name, ha1 (or password), play and publish, which are lists
    /// of streams as hall/1, hall/* or **. `easydarwin user` prints such an entry. The file of
    /// --config may have `[[user]]` entries, too.
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_USERS")]
    pub users: Option<PathBuf>,

    /// Users of the settings file.
    #[arg(skip)]
    pub user: Option<Vec<UserEntry>>,

    /// Realm for passwords; stored HA1s hold for one realm only [default: EasyDarwin]
    #[arg(long, value_name = "NAME", env = "EASYDARWIN_REALM")]
    pub realm: Option<String>,

    /// Hashes offered for Digest logins [default: md5]
    ///
    /// ffmpeg, VLC and GStreamer know MD5 only.
    #[arg(long, value_name = "md5|both|sha-256", env = "EASYDARWIN_DIGEST")]
    pub digest: Option<DigestChoice>,

    /// Address ranges whose players need no token, for example 127.0.0.0/8
    #[arg(
        long,
        value_name = "CIDR",
        env = "EASYDARWIN_PLAY_FROM",
        value_delimiter = ','
    )]
    pub play_from: Option<Vec<CidrText>>,

    /// The CMS to join, host and port
    #[arg(long, value_name = "ADDR", env = "EASYDARWIN_CMS")]
    pub cms: Option<String>,

    /// The CMS's join key; prefer --join-key-file, other users see command lines
    #[arg(
        long,
        value_name = "KEY",
        env = "EASYDARWIN_JOIN_KEY",
        hide_env_values = true
    )]
    pub join_key: Option<Secret>,

    /// File that holds the CMS's join key
    #[arg(
        long,
        value_name = "FILE",
        env = "EASYDARWIN_JOIN_KEY_FILE",
        conflicts_with = "join_key"
    )]
    pub join_key_file: Option<PathBuf>,

    /// Name of this node in the CMS [default: a random one, kept while it runs]
    #[arg(long, value_name = "NAME", env = "EASYDARWIN_NODE_ID")]
    pub node_id: Option<String>,

    /// UDP ports for media, for example 20000-20999 [default: the system chooses]
    ///
    /// Each publisher over UDP takes two; all players over UDP share two.
    #[arg(long, value_name = "FROM-TO", env = "EASYDARWIN_UDP_PORTS")]
    pub udp_ports: Option<PortRange>,

    /// Seconds without a viewer after which the CMS is told that a stream is idle [default: 15]
    #[arg(long, value_name = "SECS", env = "EASYDARWIN_IDLE")]
    pub idle: Option<u64>,

    /// Keys that open the node's API; without one it is closed
    ///
    /// Sent as `Authorization: Bearer KEY`. Prefer the variable or the file, other users see
    /// command lines.
    #[arg(
        long,
        value_name = "KEY",
        env = "EASYDARWIN_API_KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub api_key: Option<Vec<Secret>>,

    /// RTSP connections, at most so many [default: 20000]
    #[arg(long, value_name = "N", env = "EASYDARWIN_MAX_CONNECTIONS")]
    pub max_connections: Option<usize>,

    /// The same from one address [default: 5000]
    #[arg(long, value_name = "N", env = "EASYDARWIN_MAX_CONNECTIONS_PER_ADDRESS")]
    pub max_connections_per_address: Option<usize>,

    /// Refuse what breaks the standards, instead of repairing it
    ///
    /// Requests and descriptions get 400 with the fault as reason; publishers whose media is wrong
    /// are ended; sources whose descriptions are wrong are not fetched. To test devices with.
    #[arg(long, value_name = "BOOL", env = "EASYDARWIN_STRICT", num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub strict: Option<bool>,

    /// Where viewers start that do not say it with `?start=` [default: key]
    ///
    /// `key`: at the last key frame, a picture at once, up to a picture group behind;
    /// `live`: at the next key frame, no delay, no picture until then.
    #[arg(long, value_name = "key|live", env = "EASYDARWIN_START")]
    pub start: Option<Start>,

    /// How late a viewer may be before it is moved to the newest key frame [default: 4s]
    ///
    /// Viewers may ask for less with `?max-lag=500ms`, and with `?audio=keep` for the sound of the
    /// time that is skipped.
    #[arg(long, value_name = "TIME", env = "EASYDARWIN_MAX_LAG")]
    pub max_lag: Option<DurationText>,

    /// A viewer that takes nothing for so long is disconnected [default: 15s]
    #[arg(long, value_name = "TIME", env = "EASYDARWIN_STALL_TIMEOUT")]
    pub stall_timeout: Option<DurationText>,

    /// Most memory for what is kept of one stream [default: 8MiB]
    ///
    /// A picture group that is larger gives no picture at once to those who come.
    #[arg(long, value_name = "SIZE", env = "EASYDARWIN_STREAM_MEMORY")]
    pub stream_memory: Option<SizeText>,

    /// Most memory for what is kept of all streams together [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "EASYDARWIN_TOTAL_MEMORY")]
    pub total_memory: Option<SizeText>,

    /// How long the parts of a picture may be collected before they are sent on [default: 10ms]
    #[arg(long, value_name = "TIME", env = "EASYDARWIN_MERGE")]
    pub merge: Option<DurationText>,

    /// How long viewers wait for a publisher that went away [default: 0s, they are ended]
    #[arg(long, value_name = "TIME", env = "EASYDARWIN_OFFLINE_GRACE")]
    pub offline_grace: Option<DurationText>,

    /// Fetch a stream from a camera or another server, always: PATH=URL, may be repeated
    ///
    /// The URL may hold user and password; in the file, a table `[[pull]]` with path, url, mode
    /// (`permanent` or `on-demand`), transports (`["tcp", "udp"]`), user and password keeps them
    /// from the command line.
    #[arg(long, value_name = "PATH=URL")]
    pub pull: Option<Vec<SourceSpec>>,

    /// The same, only while somebody views it
    #[arg(long, value_name = "PATH=URL")]
    #[serde(skip)]
    pub pull_on_demand: Option<Vec<SourceSpec>>,

    /// Push a stream on to another server while it is live: PATH=URL, may be repeated
    ///
    /// In the file, a table `[[forward]]` with path, url, mode (`live` or `permanent`), user and
    /// password.
    #[arg(long, value_name = "PATH=URL")]
    pub forward: Option<Vec<ForwardSpec>>,

    /// JSON file that keeps the sources and forwards which are added through the API
    ///
    /// Made when it does not exist. It holds passwords and is readable by its owner alone.
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_SOURCES")]
    pub sources: Option<PathBuf>,

    /// What is logged to stderr: error, warn, info, debug, trace, or by module as in
    /// `info,easydarwin_core::server=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "EASYDARWIN_LOG")]
    pub log: Option<String>,
}

impl Settings {
    /// What the relay is to do: defaults where nothing was set.
    pub fn relay(&self) -> RelayConfig {
        let mut config = RelayConfig::default();
        let set = |value: &mut Duration, given: Option<DurationText>| {
            if let Some(DurationText(given)) = given {
                *value = given;
            }
        };
        set(&mut config.max_lag, self.max_lag);
        set(&mut config.stall_timeout, self.stall_timeout);
        set(&mut config.merge, self.merge);
        set(&mut config.offline_grace, self.offline_grace);
        if let Some(start) = self.start {
            config.start = start;
        }
        if let Some(SizeText(bytes)) = self.stream_memory {
            config.stream_bytes = bytes;
        }
        if let Some(SizeText(bytes)) = self.total_memory {
            config.total_bytes = bytes;
        }
        config
    }

    /// The streams to fetch.
    pub fn pulls(&self) -> Vec<SourceSpec> {
        let on_demand = self.pull_on_demand.iter().flatten().cloned();
        let on_demand = on_demand.map(|mut spec| {
            spec.mode = SourceMode::OnDemand;
            spec
        });
        let permanent = self.pull.iter().flatten().cloned();
        permanent.chain(on_demand).collect()
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`SettingsError`] names file, line and key.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|source| SettingsError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Takes from `file` what is not set here.
    #[must_use]
    pub fn or(self, file: Self) -> Self {
        // The key and its file are one setting in two forms: a given one hides the other.
        let (join_key, join_key_file) = if self.join_key.is_some() || self.join_key_file.is_some() {
            (self.join_key, self.join_key_file)
        } else {
            (file.join_key, file.join_key_file)
        };
        // So are the two ways to say whom TLS believes.
        let (tls_ca, tls_pin) = if self.tls_ca.is_some() || self.tls_pin.is_some() {
            (self.tls_ca, self.tls_pin)
        } else {
            (file.tls_ca, file.tls_pin)
        };
        Self {
            rtsp: self.rtsp.or(file.rtsp),
            rtsps: self.rtsps.or(file.rtsps),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            tls_ca,
            tls_pin,
            http: self.http.or(file.http),
            advertise: self.advertise.or(file.advertise),
            anonymous: self.anonymous.or(file.anonymous),
            key: self.key.or(file.key),
            users: self.users.or(file.users),
            user: self.user.or(file.user),
            realm: self.realm.or(file.realm),
            digest: self.digest.or(file.digest),
            play_from: self.play_from.or(file.play_from),
            cms: self.cms.or(file.cms),
            join_key,
            join_key_file,
            node_id: self.node_id.or(file.node_id),
            udp_ports: self.udp_ports.or(file.udp_ports),
            idle: self.idle.or(file.idle),
            api_key: self.api_key.or(file.api_key),
            max_connections: self.max_connections.or(file.max_connections),
            max_connections_per_address: self
                .max_connections_per_address
                .or(file.max_connections_per_address),
            strict: self.strict.or(file.strict),
            start: self.start.or(file.start),
            max_lag: self.max_lag.or(file.max_lag),
            stall_timeout: self.stall_timeout.or(file.stall_timeout),
            stream_memory: self.stream_memory.or(file.stream_memory),
            total_memory: self.total_memory.or(file.total_memory),
            merge: self.merge.or(file.merge),
            offline_grace: self.offline_grace.or(file.offline_grace),
            pull: self.pull.or(file.pull),
            pull_on_demand: self.pull_on_demand.or(file.pull_on_demand),
            forward: self.forward.or(file.forward),
            sources: self.sources.or(file.sources),
            log: self.log.or(file.log),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be; the text names line and key.
    #[error("the settings file {} is wrong:\n{source}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Line, key and what was expected.
        source: Box<toml::de::Error>,
    },
}

/// A range of UDP ports, written `20000-20999`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PortRange(pub RangeInclusive<u16>);

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("`{text}` is no port range; write for example 20000-20999, at least two");
        let (from, to) = text.split_once('-').ok_or_else(error)?;
        let from: u16 = from.trim().parse().map_err(|_| error())?;
        let to: u16 = to.trim().parse().map_err(|_| error())?;
        // An even port and the next one must fit.
        if from == 0 || from.saturating_add(from % 2) >= to {
            return Err(error());
        }
        Ok(Self(from..=to))
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A [`Cidr`] as it stands in a settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CidrText(pub Cidr);

impl FromStr for CidrText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|error: CidrError| format!("`{text}`: {error}"))
    }
}

impl TryFrom<String> for CidrText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A pin of the flag or the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PinText(pub SpkiPin);

impl FromStr for PinText {
    type Err = SpkiPinError;

    fn from_str(text: &str) -> Result<Self, SpkiPinError> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for PinText {
    type Error = SpkiPinError;

    fn try_from(text: String) -> Result<Self, SpkiPinError> {
        text.parse()
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: Settings,
    }

    fn flags(line: &str) -> Settings {
        Flags::parse_from(std::iter::once("easydarwin").chain(line.split_whitespace())).settings
    }

    #[test]
    fn whom_tls_believes_is_said_in_one_way() {
        let pin = "ab".repeat(32);
        let file = Settings::parse(&format!("tls-pin = [\"{pin}\"]")).unwrap();
        assert_eq!(file.tls_pin, Some(vec![PinText(pin.parse().unwrap())]));
        let merged = flags("--tls-ca ca.pem").or(file.clone());
        assert_eq!(
            (merged.tls_ca, merged.tls_pin),
            (Some("ca.pem".into()), None),
            "the flag replaces the file's other way"
        );
        let merged = flags(&format!("--tls-pin {pin},{pin}")).or(file);
        assert_eq!(merged.tls_pin.map(|pins| pins.len()), Some(2));

        let both = format!("easydarwin --tls-ca ca.pem --tls-pin {pin}");
        let error = Flags::try_parse_from(both.split(' ')).err().unwrap();
        assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
        for (text, expected) in [("abcd", "64 hex digits"), (&"x".repeat(64), "64 hex")] {
            let file = Settings::parse(&format!("tls-pin = [\"{text}\"]"));
            let error = file.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn flags_that_were_not_given_do_not_hide_the_file() {
        let file = Settings::parse(
            "rtsp = \"127.0.0.1:1554\"\nanonymous = true\nidle = 30\nudp-ports = \"20000-20009\"\n\
             play-from = [\"127.0.0.0/8\"]",
        )
        .unwrap();
        let merged = flags("--http 127.0.0.1:1080 --idle 5").or(file.clone());
        assert_eq!(merged.rtsp, file.rtsp);
        assert_eq!(merged.anonymous, Some(true));
        assert_eq!(merged.idle, Some(5));
        assert_eq!(merged.udp_ports, Some(PortRange(20000..=20009)));
        assert_eq!(merged.play_from.unwrap().len(), 1);
        assert_eq!(merged.http, "127.0.0.1:1080".parse().ok());
        let off = flags("--anonymous=false").or(file);
        assert_eq!(off.anonymous, Some(false));
        assert_eq!(flags("--anonymous").anonymous, Some(true));
        assert_eq!(
            flags("")
                .or(Settings::parse("strict = true").unwrap())
                .strict,
            Some(true)
        );
        assert_eq!(flags("--strict").strict, Some(true));
    }

    #[test]
    fn what_the_relay_is_told() {
        let file =
            Settings::parse("start = \"live\"\nmax-lag = \"500ms\"\ntotal-memory = \"2GiB\"");
        let config = flags("--stream-memory 512KiB --offline-grace 1m --max-lag 2s")
            .or(file.unwrap())
            .relay();
        assert_eq!(config.start, Start::Live);
        assert_eq!(config.max_lag, Duration::from_secs(2));
        assert_eq!(config.offline_grace, Duration::from_secs(60));
        assert_eq!(
            (config.stream_bytes, config.total_bytes),
            (512 << 10, 2 << 30)
        );
        let default = RelayConfig::default();
        assert_eq!(config.stall_timeout, default.stall_timeout);
        assert_eq!(config.merge, default.merge);
    }

    #[test]
    fn a_given_key_file_hides_the_key_of_the_file() {
        let file = Settings::parse("join-key = \"old\"").unwrap();
        let merged = flags("--join-key-file new").or(file);
        assert_eq!(merged.join_key, None);
        assert!(merged.join_key_file.is_some());
    }

    #[test]
    fn errors_name_key_and_line() {
        for (text, needles) in [
            ("idle = 1\nrtps = \"x\"", ["line 2", "rtps"]),
            ("rtsp = \"localhost\"", ["line 1", "rtsp"]),
            ("\n\nidle = \"x\"", ["line 3", "idle"]),
            ("start = \"now\"", ["line 1", "live"]),
            ("max-lag = \"4\"", ["line 1", "500ms"]),
            ("stream-memory = \"4\"", ["line 1", "8MiB"]),
            ("udp-ports = \"9-1\"", ["line 1", "20000-20999"]),
            ("play-from = [\"x\"]", ["line 1", "192.168.0.0/16"]),
        ] {
            let error = Settings::parse(text).unwrap_err().to_string();
            for needle in needles {
                assert!(error.contains(needle), "`{needle}` in: {error}");
            }
        }
    }

    #[test]
    fn port_ranges_hold_a_pair() {
        assert!("20000-20001".parse::<PortRange>().is_ok());
        assert!("20001-20003".parse::<PortRange>().is_ok());
        for text in [
            "20001-20002",
            "20000-20000",
            "0-9",
            "9",
            "a-b",
            "5-1",
            "65535-65535",
        ] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn sources_and_forwards() {
        let file = Settings::parse(
            "[[pull]]\npath = \"cam/1\"\nurl = \"rtsp://h/a\"\nmode = \"on-demand\"\n\
             transports = [\"udp\"]\nuser = \"u\"\npassword = \"hush\"\n\
             [[forward]]\npath = \"cam/1\"\nurl = \"rtsp://o/a\"\nmode = \"permanent\"",
        )
        .unwrap();
        let [pull] = &*file.pulls() else { panic!() };
        assert_eq!(pull.mode, SourceMode::OnDemand);
        assert_eq!(file.forward.as_ref().unwrap().len(), 1);
        assert!(!format!("{file:?}").contains("hush"));
        let given = flags(
            "--pull cam/1=rtsp://u:hush@h/a?x=1 --pull cam/2=rtsp://h/b --pull-on-demand c=rtsp://h/c --forward a=rtsp://o/a",
        )
        .or(file);
        assert_eq!(given.pulls().len(), 3);
        assert_eq!(given.pulls()[2].mode, SourceMode::OnDemand);
        assert_eq!(given.forward.unwrap()[0].path.as_str(), "a/1");
        for wrong in ["cam/1", "cam/1=http://u:hush@h/", "..=rtsp://h/"] {
            let error = wrong.parse::<SourceSpec>().unwrap_err();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let settings = flags("--join-key hush");
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
