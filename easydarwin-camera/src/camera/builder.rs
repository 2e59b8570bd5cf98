use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use easydarwin_core::client::ForeignTls;
use easydarwin_core::protocol::check_serial;

use super::teller::{ClockReading, Teller};
use super::{Camera, CameraCommand, CameraEvent};
use crate::backoff::random_seed;
use crate::control::{
    ClockQuality, CmsAddress, CommandKind, CommandKinds, ControlConfig, Credential,
};
use crate::feedback::RateConfig;
use crate::frames::{FrameFeed, QueueConfig};
use crate::push::PushTransport;
use crate::source::MediaSource;

/// The protocol's channel numbers.
pub(super) const CHANNELS: std::ops::RangeInclusive<u32> = 1..=64;

/// Why a camera cannot be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The serial is empty, too long or has characters that no URL path should hold.
    #[error("serial must be 1 to 64 of A-Z a-z 0-9 _ -")]
    Serial,
    /// Neither a CMS nor a URL to push to was given.
    #[error("name a CMS with cms() or a URL with push_to()")]
    NoTarget,
    /// No channel has a source.
    #[error("give at least one channel a source")]
    NoSource,
    /// A channel's number is out of range.
    #[error("channels are numbered from 1 to 64")]
    Channel,
    /// A CMS behind TLS was named, but TLS was left out of this program, and it brings none.
    #[error(
        "tls:// needs TLS, which was left out of this build: build it in, or bring a TLS stack"
    )]
    NoTls,
    /// No interface can have this name.
    #[error("an interface has 1 to 15 characters, without / and space")]
    Interface,
    /// A CMS was named, but no secret to log in with.
    #[error("give the key() or the token() that the CMS knows for this serial")]
    NoSecret,
}

/// `host:port`, with `tls://` in front for TLS.
fn address(text: &str) -> CmsAddress {
    match text.strip_prefix("tls://") {
        Some(authority) => CmsAddress::tls(authority),
        None => CmsAddress::plain(text),
    }
}

/// What Linux takes for the name of an interface (`dev_valid_name`).
fn is_interface(name: &str) -> bool {
    let free = |byte: u8| byte != b'/' && byte != b':' && byte.is_ascii_graphic();
    (1..=15).contains(&name.len()) && !matches!(name, "." | "..") && name.bytes().all(free)
}

/// What a camera runs with.
#[derive(Debug)]
pub(super) struct Settings {
    /// `None` without a CMS.
    pub(super) engine: Option<ControlConfig>,
    pub(super) push_to: Option<String>,
    pub(super) transport: PushTransport,
    pub(super) feeds: Vec<(u32, Feed)>,
    pub(super) queue: QueueConfig,
    pub(super) rate: Option<RateConfig>,
    pub(super) interface: Option<String>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<easydarwin_core::tls::TlsTrust>,
    pub(super) tls_stack: Option<ForeignTls>,
    pub(super) events: Option<mpsc::Sender<CameraEvent>>,
    pub(super) commands: Option<mpsc::Sender<CameraCommand>>,
    pub(super) teller: Teller,
}

/// Where a channel's frames come from.
#[derive(Debug)]
pub(super) enum Feed {
    /// Asked when they are wanted.
    Source(Box<dyn MediaSource>),
    /// Pushed by an encoder.
    Frames(Box<FrameFeed>),
}

/// The secret as it was given; the serial that belongs to it may still be missing.
enum Secret {
    Key(String),
    Token(String),
}

/// Describes a [`Camera`].
#[derive(Default)]
pub struct CameraBuilder {
    serial: String,
    name: String,
    tag: String,
    secret: Option<Secret>,
    cms: Vec<String>,
    keep_alive: Option<Duration>,
    unproven_cms: bool,
    push_to: Option<String>,
    transport: PushTransport,
    feeds: Vec<(u32, Feed)>,
    queue: QueueConfig,
    rate: Option<RateConfig>,
    #[cfg(feature = "tls")]
    tls: Option<easydarwin_core::tls::TlsTrust>,
    tls_stack: Option<ForeignTls>,
    events: Option<mpsc::Sender<CameraEvent>>,
    commands: Option<mpsc::Sender<CameraCommand>>,
    supports: Option<CommandKinds>,
    clock: Option<ClockReading>,
    interface: Option<String>,
}

impl CameraBuilder {
    /// The device's serial: 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub fn serial(mut self, serial: impl Into<String>) -> Self {
        self.serial = serial.into();
        self
    }

    /// Name shown in device lists; the serial when none is given.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Tag shown in device lists.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = tag.into();
        self
    }

    /// The key that the CMS generated for this serial: proven, never sent.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.secret = Some(Secret::Key(key.into()));
        self
    }

    /// A token in the old manner: sent in plain with every registration.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.secret = Some(Secret::Token(token.into()));
        self
    }

    /// A CMS as `host:port`, or `tls://host:port` with the feature `tls` or a TLS stack of your own; several
    /// are tried in turn, after an outage first the one that last took the camera.
    pub fn cms(mut self, address: impl Into<String>) -> Self {
        self.cms.push(address.into());
        self
    }

    /// Time between two signs of life when the CMS does not say how often it wants one; less than
    /// what a NAT on the way remembers. Default 30 s.
    pub fn keep_alive(mut self, time: Duration) -> Self {
        self.keep_alive = Some(time);
        self
    }

    /// Whether a camera with a key also takes a CMS without TLS that does not prove that it knows the key: those
    /// of old, and ours where everybody is let in. Default no.
    pub fn unproven_cms(mut self, taken: bool) -> Self {
        self.unproven_cms = taken;
        self
    }

    /// The source of channel 1.
    pub fn source(self, source: impl MediaSource + 'static) -> Self {
        self.channel(1, source)
    }

    /// The source of a channel, from 1.
    pub fn channel(self, channel: u32, source: impl MediaSource + 'static) -> Self {
        self.feed(channel, Feed::Source(Box::new(source)))
    }

    /// The end of a [`queue`](crate::frames::queue) that an encoder pushes the frames of a
    /// channel into, from 1.
    pub fn frames(self, channel: u32, feed: FrameFeed) -> Self {
        self.feed(channel, Feed::Frames(Box::new(feed)))
    }

    /// Bounds of the frames that wait between a source and the network. An encoder's queue brings its
    /// own.
    pub fn queue(mut self, queue: QueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Tells the encoders what their uplinks carry, by [`CameraEvent::Advice`]. Without this
    /// nothing is measured.
    pub fn rate(mut self, rate: RateConfig) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Whom `tls://` and `rtsps://` believe. Default: the authorities that browsers trust.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, trust: easydarwin_core::tls::TlsTrust) -> Self {
        self.tls = Some(trust);
        self
    }

    /// TLS of the embedder for `tls://` and `rtsps://`, in place of ours. Whom it believes is its own
    /// business, and what it believes is believed here: a CMS behind it may send the camera elsewhere.
    pub fn tls_stack(mut self, stack: impl Into<Option<ForeignTls>>) -> Self {
        self.tls_stack = stack.into();
        self
    }

    /// It is `wall` at the moment of this call; while the camera runs see
    /// [`CameraHandle::set_clock`](crate::CameraHandle::set_clock).
    pub fn clock(mut self, wall: SystemTime, quality: ClockQuality) -> Self {
        self.clock = Some(ClockReading::now(wall, quality));
        self
    }

    /// All connections and datagrams of the camera go through this interface, for example `wwan0`, whatever the
    /// routes say (`SO_BINDTODEVICE`, Linux only). Names of hosts are still looked up as the system does it.
    /// An interface that is not there, or that may not be bound to, is told with
    /// [`CameraEvent::Disconnected`] and [`CameraEvent::PushFailed`], and tried again.
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.interface = Some(name.into());
        self
    }

    /// TCP (the default) or UDP to the media server.
    pub fn transport(mut self, transport: PushTransport) -> Self {
        self.transport = transport;
        self
    }

    /// Pushes the first channel to this `rtsp://` URL all the time, without being asked by a CMS.
    pub fn push_to(mut self, url: impl Into<String>) -> Self {
        self.push_to = Some(url.into());
        self
    }

    /// Where to report what happens; events are dropped while the channel is full.
    pub fn events(mut self, events: mpsc::Sender<CameraEvent>) -> Self {
        self.events = Some(events);
        self
    }

    /// Who does what clients want of the camera, as far as it [supports](Self::supports) it;
    /// without it all commands are answered with 501. While the channel is full they are answered
    /// with 503.
    pub fn commands(mut self, commands: mpsc::Sender<CameraCommand>) -> Self {
        self.commands = Some(commands);
        self
    }

    /// What the receiver of the commands does; others are answered with 501 at once, and the CMS
    /// is not told of them. Default: PTZ, presets and talkback.
    pub fn supports(mut self, kinds: impl IntoIterator<Item = CommandKind>) -> Self {
        self.supports = Some(kinds.into_iter().collect());
        self
    }

    /// In the order of their numbers; a channel's later feed replaces an earlier one.
    fn feed(mut self, channel: u32, feed: Feed) -> Self {
        self.feeds.retain(|(number, _)| *number != channel);
        let later = |(number, _): &(u32, Feed)| *number > channel;
        let place = self.feeds.iter().position(later);
        let place = place.unwrap_or(self.feeds.len());
        self.feeds.insert(place, (channel, feed));
        self
    }

    /// Checks the description.
    ///
    /// # Errors
    /// [`BuildError`] says what is missing.
    pub fn build(self) -> Result<Camera, BuildError> {
        if check_serial(&self.serial).is_err() {
            return Err(BuildError::Serial);
        }
        if self.cms.is_empty() && self.push_to.is_none() {
            return Err(BuildError::NoTarget);
        }
        if self.feeds.is_empty() {
            return Err(BuildError::NoSource);
        }
        if !self
            .feeds
            .iter()
            .all(|(number, _)| CHANNELS.contains(number))
        {
            return Err(BuildError::Channel);
        }
        if let Some(name) = &self.interface
            && !is_interface(name)
        {
            return Err(BuildError::Interface);
        }
        let addresses: Vec<_> = self.cms.iter().map(|text| address(text)).collect();
        let tls = cfg!(feature = "tls") || self.tls_stack.is_some();
        if !tls && addresses.iter().any(CmsAddress::is_tls) {
            return Err(BuildError::NoTls);
        }
        let engine = if self.cms.is_empty() {
            None
        } else {
            let credential = match self.secret {
                Some(Secret::Key(key)) => Credential::key(&key, &self.serial),
                Some(Secret::Token(token)) => Credential::Token(token),
                None => return Err(BuildError::NoSecret),
            };
            let mut config = ControlConfig::new(self.serial, credential);
            if !self.name.is_empty() {
                config.name = self.name;
            }
            config.tag = self.tag;
            config.addresses = addresses;
            config.unproven_cms = self.unproven_cms;
            config.keep_alive = self.keep_alive.unwrap_or(config.keep_alive);
            config.channels = self.feeds.iter().map(|(number, _)| *number).collect();
            config.supports = match (&self.commands, self.supports) {
                (None, Some(kinds)) if kinds.has(CommandKind::Snapshot) => {
                    // Needs nobody but the source.
                    CommandKinds::from_iter([CommandKind::Snapshot])
                }
                (None, _) => CommandKinds::default(),
                (Some(_), Some(kinds)) => kinds,
                (Some(_), None) => CommandKinds::from_iter([
                    CommandKind::Ptz,
                    CommandKind::Preset,
                    CommandKind::Talkback,
                ]),
            };
            config.uploads = true;
            config.seed = random_seed();
            Some(config)
        };
        let teller = Teller::default();
        if let Some(reading) = self.clock {
            teller.read_clock(reading);
        }
        Ok(Camera {
            settings: Settings {
                engine,
                push_to: self.push_to,
                transport: self.transport,
                feeds: self.feeds,
                queue: self.queue,
                rate: self.rate,
                interface: self.interface,
                #[cfg(feature = "tls")]
                tls: self.tls,
                tls_stack: self.tls_stack,
                events: self.events,
                commands: self.commands,
                teller,
            },
        })
    }
}

impl fmt::Debug for CameraBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CameraBuilder")
            .field("serial", &self.serial)
            .field("cms", &self.cms)
            .field("transport", &self.transport)
            .field("channels", &self.feeds.len())
            .finish_non_exhaustive()
    }
}
