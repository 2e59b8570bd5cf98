use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, ValueEnum};
use easydarwin_camera::source::{FileSource, MediaSource, from_text};
use easydarwin_camera::{BuildError, Camera, CameraEvent, PushTransport};
use easydarwin_core::tls::{SpkiPin, SpkiPinError, TlsError, TlsTrust};
use serde::{Deserialize, Deserializer};
use tokio::sync::mpsc;

/// Serial shown and used when there is no CMS that must know it.
const DEFAULT_SERIAL: &str = "camera";
/// Largest configuration or secret file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A camera: registers at a CMS, waits, and pushes RTSP when somebody wants to watch
///
/// Each flag can also stand in a file (--config, TOML, keys as the long names) or in the
/// environment. Flags win over the environment, the environment over the file.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// TOML file with the values of the flags below
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_CAMERA_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What the camera can be told. Each value is optional, so that a flag that was not given never
/// hides what the file says.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    /// The CMS, host and port, tls:// in front for TLS; several (comma or repeated) are tried in turn
    #[arg(
        long,
        value_name = "ADDR",
        env = "EASYDARWIN_CAMERA_CMS",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    cms: Option<Vec<String>>,

    /// Serial under which the CMS knows this camera: 1 to 64 of A-Z a-z 0-9 _ -
    #[arg(long, value_name = "SERIAL", env = "EASYDARWIN_CAMERA_SERIAL")]
    serial: Option<String>,

    /// The key that the CMS gave for this serial; it is proven, never sent
    ///
    /// Others on this machine can read command lines: prefer the environment or --secret-file.
    #[arg(
        long,
        value_name = "KEY",
        env = "EASYDARWIN_CAMERA_SECRET",
        hide_env_values = true
    )]
    secret: Option<Secret>,

    /// File that holds the key
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_CAMERA_SECRET_FILE")]
    secret_file: Option<PathBuf>,

    /// Log in in the old manner, with a token that is sent in plain
    #[arg(long, value_name = "TOKEN", env = "EASYDARWIN_CAMERA_LEGACY_TOKEN",
          hide_env_values = true, conflicts_with_all = ["secret", "secret_file"])]
    legacy_token: Option<Secret>,

    /// Take a CMS without TLS that does not prove that it knows the key: old ones, --policy open
    #[arg(long, value_name = "BOOL", env = "EASYDARWIN_CAMERA_UNPROVEN_CMS", num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    unproven_cms: Option<bool>,

    /// `pattern` (test picture and beep), a file (MP4, .h264, .h265), or the rtsp:// URL of an IP
    /// camera; repeated for channels 2, 3 and so on [default: pattern]
    #[arg(
        long,
        value_name = "SOURCE",
        env = "EASYDARWIN_CAMERA_SOURCE",
        hide_env_values = true
    )]
    #[serde(deserialize_with = "one_or_many_secrets")]
    source: Option<Vec<Secret>>,

    /// Frames a second of .h264 and .h265 files [default: what the stream says, else 25]
    #[arg(long, value_name = "FPS", env = "EASYDARWIN_CAMERA_FPS")]
    fps: Option<f64>,

    /// Name shown in device lists [default: the serial]
    #[arg(long, value_name = "TEXT", env = "EASYDARWIN_CAMERA_NAME")]
    name: Option<String>,

    /// Tag shown in device lists
    #[arg(long, value_name = "TEXT", env = "EASYDARWIN_CAMERA_TAG")]
    tag: Option<String>,

    /// How media travels to the media server [default: tcp]
    #[arg(long, value_name = "PROTOCOL", env = "EASYDARWIN_CAMERA_TRANSPORT")]
    transport: Option<Transport>,

    /// Push channel 1 to this rtsp:// URL all the time; needs no CMS
    #[arg(
        long,
        value_name = "URL",
        env = "EASYDARWIN_CAMERA_PUSH",
        hide_env_values = true
    )]
    push: Option<Secret>,

    /// File of the authorities (PEM) that tls:// and rtsps:// believe [default: the public ones]
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_CAMERA_TLS_CA")]
    tls_ca: Option<PathBuf>,

    /// Public keys that tls:// and rtsps:// believe instead of authorities: SHA-256, 64 hex digits
    #[arg(
        long,
        value_name = "SHA256",
        value_delimiter = ',',
        conflicts_with = "tls_ca",
        env = "EASYDARWIN_CAMERA_TLS_PIN"
    )]
    tls_pin: Option<Vec<String>>,

    /// What is logged to stderr, for example `warn` or `info,easydarwin_camera=debug`
    /// [default: info]
    #[arg(long, value_name = "FILTER", env = "EASYDARWIN_CAMERA_LOG")]
    pub(crate) log: Option<String>,
}

/// A text that no `Debug` shows: a key, or a URL with a password.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// Interleaved in the RTSP connection
    Tcp,
    /// Datagrams, or TCP where the media server refuses them
    Udp,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SettingsError {
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {source}", path.display())]
    Parse {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Pin(#[from] SpkiPinError),
    #[error("name the CMS with --cms, or a media server with --push rtsp://…")]
    NoTarget,
    #[error("--cms needs --serial, and the key of that serial")]
    NoSerial,
}

impl Settings {
    /// Reads a TOML file.
    pub(crate) fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = read_file(path)?;
        toml::from_str(&text).map_err(|source| SettingsError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// These settings, and those of `file` where there are none. One way to log in hides the
    /// others of the file.
    pub(crate) fn or(self, file: Self) -> Self {
        let login =
            self.secret.is_some() || self.secret_file.is_some() || self.legacy_token.is_some();
        let unless_login = |secret: Option<Secret>| secret.filter(|_| !login);
        Self {
            cms: self.cms.or(file.cms),
            serial: self.serial.or(file.serial),
            secret: self.secret.or(unless_login(file.secret)),
            secret_file: self.secret_file.or(file.secret_file.filter(|_| !login)),
            legacy_token: self.legacy_token.or(unless_login(file.legacy_token)),
            unproven_cms: self.unproven_cms.or(file.unproven_cms),
            source: self.source.or(file.source),
            fps: self.fps.or(file.fps),
            name: self.name.or(file.name),
            tag: self.tag.or(file.tag),
            transport: self.transport.or(file.transport),
            push: self.push.or(file.push),
            tls_ca: self.tls_ca.or(file.tls_ca),
            tls_pin: self.tls_pin.or(file.tls_pin),
            log: self.log.or(file.log),
        }
    }

    /// The serial, or what stands for it without a CMS.
    pub(crate) fn serial(&self) -> String {
        self.serial
            .clone()
            .unwrap_or_else(|| DEFAULT_SERIAL.to_owned())
    }

    /// The camera that these settings describe.
    pub(crate) fn camera(self, events: mpsc::Sender<CameraEvent>) -> Result<Camera, SettingsError> {
        let serial = self.serial();
        let cms = self.cms.unwrap_or_default();
        if cms.is_empty() && self.push.is_none() {
            return Err(SettingsError::NoTarget);
        }
        if !cms.is_empty() && self.serial.is_none() {
            return Err(SettingsError::NoSerial);
        }
        let mut builder = Camera::builder()
            .serial(serial.as_str())
            .name(self.name.unwrap_or_default())
            .tag(self.tag.unwrap_or_default())
            .transport(match self.transport {
                None | Some(Transport::Tcp) => PushTransport::Tcp,
                Some(Transport::Udp) => PushTransport::Udp,
            })
            .unproven_cms(self.unproven_cms.unwrap_or(false))
            .events(events);
        builder = cms
            .into_iter()
            .fold(builder, |builder, cms| builder.cms(cms));
        if let Some(Secret(token)) = self.legacy_token {
            builder = builder.token(token);
        } else if let Some(Secret(key)) = self.secret {
            builder = builder.key(key);
        } else if let Some(path) = &self.secret_file {
            builder = builder.key(read_file(path)?.trim());
        }
        if let Some(path) = &self.tls_ca {
            builder = builder.tls(TlsTrust::ca_file(path)?);
        } else if let Some(pins) = &self.tls_pin {
            let pins = pins.iter().map(|pin| pin.parse::<SpkiPin>());
            builder = builder.tls(TlsTrust::pinned(pins.collect::<Result<Vec<_>, _>>()?)?);
        }
        if let Some(Secret(url)) = self.push {
            builder = builder.push_to(url);
        }
        let default = || vec![Secret("pattern".to_owned())];
        let sources = self.source.unwrap_or_else(default);
        for (channel, Secret(text)) in (1..).zip(sources) {
            builder = builder.channel(channel, source(&text, &serial, self.fps));
        }
        Ok(builder.build()?)
    }
}

fn source(text: &str, serial: &str, fps: Option<f64>) -> Box<dyn MediaSource> {
    let is_url = easydarwin_core::rtsp::split_scheme(text).is_some();
    match fps {
        Some(fps) if text != "pattern" && !is_url => Box::new(FileSource::new(text).fps(fps)),
        _ => from_text(text, serial),
    }
}

fn read_file(path: &Path) -> Result<String, SettingsError> {
    use std::io::Read as _;
    let read = || {
        let mut text = String::new();
        std::fs::File::open(path)?
            .take(MAX_FILE)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn one_or_many<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Some(match OneOrMany::deserialize(input)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    }))
}

fn one_or_many_secrets<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<Vec<Secret>>, D::Error> {
    let texts = one_or_many(input)?;
    Ok(texts.map(|texts| texts.into_iter().map(Secret).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Settings {
        Cli::try_parse_from([&["easydarwin-camera"], args].concat())
            .unwrap()
            .settings
    }

    fn build(settings: Settings) -> Result<Camera, SettingsError> {
        settings.camera(mpsc::channel(1).0)
    }

    #[test]
    fn flags_win_over_the_file() {
        let file: Settings = toml::from_str(
            "cms = \"a:1\"\nserial = \"file\"\nlegacy-token = \"t\"\nsource = [\"pattern\", \"b.mp4\"]\n",
        )
        .unwrap();
        let flags = parsed(&["--serial", "flag", "--secret", "k"]);
        let settings = flags.or(file);
        assert_eq!(settings.serial(), "flag");
        assert!(settings.legacy_token.is_none());
        assert_eq!(settings.source.as_ref().unwrap().len(), 2);
        assert!(!format!("{settings:?}").contains("\"k\""));
        build(settings).unwrap();
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(matches!(build(parsed(&[])), Err(SettingsError::NoTarget)));
        let settings = parsed(&["--cms", "a:1", "--secret", "k"]);
        assert!(matches!(build(settings), Err(SettingsError::NoSerial)));
        let settings = parsed(&["--cms", "a:1", "--serial", "s"]);
        let error = build(settings).unwrap_err();
        assert!(matches!(error, SettingsError::Build(BuildError::NoSecret)));
        build(parsed(&["--push", "rtsp://h/a", "--source", "x.mp4"])).unwrap();
        assert!(toml::from_str::<Settings>("unknown = 1").is_err());
    }

    #[test]
    fn the_command_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
