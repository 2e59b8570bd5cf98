use std::fmt;
use std::time::Duration;

use easydarwin_core::protocol::{ErrorNum, PresetRequest, PtzRequest, Setting};

use super::talkback::{TalkbackCodec, TalkbackFrame, TalkbackStats};

use super::{CmsAddress, Upload, UploadError};

/// What the engine wants the shell to do, or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlEvent {
    /// Connect to the CMS, then call [`connected`](super::ControlEngine::connected) or
    /// [`disconnected`](super::ControlEngine::disconnected).
    Connect {
        /// Where to.
        address: CmsAddress,
        /// Tries since the last success.
        attempt: u32,
    },
    /// Close the connection to the CMS, or stop connecting; it will be asked for again.
    Disconnect(DisconnectReason),
    /// A CMS refused this device in a way that trying again does not change: somebody has to
    /// correct the secret here, or to let the serial in there. It is tried again, but slowly.
    LoginRefused {
        /// The CMS.
        address: CmsAddress,
        /// How it refused.
        reason: DisconnectReason,
        /// When the next address, or the same one, is tried.
        retry_in: Duration,
    },
    /// The CMS took the registration.
    Registered {
        /// The CMS proved that it knows this device's key.
        proven: bool,
        /// Generation of the lease, if it told.
        generation: Option<u64>,
    },
    /// Push this channel, also instead of a push to elsewhere that is going on. With the URL of
    /// the push that is going on it brings a new token.
    StartPush(PushTarget),
    /// Push this channel no longer.
    StopPush {
        /// Channel, from 1.
        channel: u32,
    },
    /// Take a picture and give it to [`snapshot`](super::ControlEngine::snapshot).
    TakeSnapshot {
        /// Channel, from 1.
        channel: u32,
    },
    /// The CMS's answer to a snapshot.
    SnapshotAnswered {
        /// Channel, from 1.
        channel: u32,
        /// 200 when it was taken.
        error: ErrorNum,
    },
    /// A snapshot did not arrive; the next one may.
    SnapshotFailed {
        /// Channel, from 1.
        channel: u32,
        /// Why.
        error: UploadError,
    },
    /// Put this snapshot over a connection of its own; one at a time is asked for. Then call
    /// [`uploaded`](super::ControlEngine::uploaded).
    Upload(Box<Upload>),
    /// Close the connection of the [`Upload`](Self::Upload) that was asked for last; nothing need
    /// be said of it any more.
    CancelUpload,
    /// Do something and answer with [`reply`](super::ControlEngine::reply).
    Command {
        /// For the answer.
        id: CommandId,
        /// What to do.
        command: Command,
    },
    /// Speech to be played now.
    Talkback(TalkbackFrame),
    /// Nobody talks any more: he said so, his connection or ours ended, or another one talks.
    TalkbackEnded {
        /// Channel, from 1.
        channel: u32,
        /// What became of what he said.
        stats: TalkbackStats,
    },
}

/// Where to push a channel. `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushTarget {
    /// Channel, from 1.
    pub channel: u32,
    /// `rtsp://…` without token.
    pub url: String,
    /// For `Authorization: Bearer`.
    pub token: Option<String>,
    /// Generation of the push, if the CMS told.
    pub generation: Option<u64>,
}

impl fmt::Debug for PushTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushTarget")
            .field("channel", &self.channel)
            .field("url", &self.url)
            .field("token", &self.token.is_some())
            .field("generation", &self.generation)
            .finish()
    }
}

/// Names a command until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub(super) u64);

/// What a client wants the device to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Move, zoom, focus.
    Ptz(PtzRequest),
    /// Preset positions.
    Preset(PresetRequest),
    /// Somebody wants to talk through the loudspeaker. Accepted, frames follow as
    /// [`TalkbackFrame`]s, until they [end](ControlEvent::TalkbackEnded); refused, they do not.
    TalkbackStart {
        /// Channel, from 1.
        channel: u32,
        /// How the speech is coded.
        codec: TalkbackCodec,
    },
    /// Start anew, a moment after the answer.
    Reboot,
    /// Set these values, all of them or none.
    Config(Vec<Setting>),
}

/// Why a connection to the CMS is given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The CMS refused the login; check serial and secret.
    #[error("the CMS refused the login: {0}")]
    Refused(ErrorNum),
    /// No connection came about in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The CMS sent us to another one.
    #[error("sent to the CMS at {0}")]
    Redirected(CmsAddress),
    /// After an hour elsewhere the configured CMS is asked again.
    #[error("back to the configured CMS, which sent us here")]
    GoingHome,
    /// The CMS could not prove that it knows this device's key: it may be somebody else.
    #[error("the CMS did not prove that it knows this device's key")]
    ServerProof,
    /// The CMS asked for no proof of the key and gave none: it does not know this device, or is somebody
    /// else.
    #[error(
        "the CMS let this device in without proof that it knows its key, as anybody in its place could; \
         register the key there, or use TLS, a token, or the setting for CMS without proof"
    )]
    Unproven,
    /// The login took too long.
    #[error("the CMS did not answer the login in time")]
    LoginTimeout,
    /// Nothing came from the CMS.
    #[error("nothing came from the CMS for too long")]
    Silence,
    /// A keep-alive was answered with an error.
    #[error("the CMS ended the registration: {0}")]
    LeaseLost(ErrorNum),
    /// Its bytes are no messages.
    #[error("the CMS sent what is no message: {0}")]
    Framing(String),
    /// It asks faster than it takes the answers.
    #[error("the CMS does not take our answers")]
    OutputFull,
}
