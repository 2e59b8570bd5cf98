use std::net::SocketAddr;
use std::time::Duration;

use easydarwin_core::protocol::ErrorNum;
use tokio::sync::mpsc;

use super::CameraHandle;
use crate::control::{Command, CommandId, TalkbackFrame, TalkbackStats};
use crate::feedback::Advice;

/// What happens to a camera, for logs and embedders.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CameraEvent {
    /// The CMS took the registration; the camera waits for requests.
    Registered {
        /// The CMS that did.
        cms: SocketAddr,
    },
    /// The connection to the CMS ended or could not be made; it will be tried again.
    Disconnected {
        /// Why it ended.
        reason: String,
    },
    /// A CMS refused this camera: somebody has to correct the secret here, or to let the serial in
    /// there. It is tried again, but slowly.
    LoginRefused {
        /// The CMS, as `host:port`.
        cms: String,
        /// How it refused.
        reason: String,
        /// When it is tried again, or another one is.
        retry_in: Duration,
    },
    /// The CMS (or the embedder) wants this channel's stream.
    PushRequested {
        /// Channel, from 1.
        channel: u32,
        /// Where to, without token and password.
        url: String,
    },
    /// The media server accepted RECORD and media flows.
    PushStarted {
        /// Channel, from 1.
        channel: u32,
    },
    /// The push was cut or refused. It is tried again while it is wanted, except when the media
    /// server refuses the right to publish: then the CMS has to ask again.
    PushFailed {
        /// Channel, from 1.
        channel: u32,
        /// What went wrong.
        reason: String,
    },
    /// The stream is no longer wanted and the push ended.
    PushStopped {
        /// Channel, from 1.
        channel: u32,
    },
    /// The encoder of a stream should make a key frame: the push begins, or one was dropped.
    KeyFrameWanted {
        /// Channel, from 1.
        channel: u32,
        /// Index of the stream: of the senders of its [`queue`](crate::frames::queue).
        stream: usize,
    },
    /// What the uplink carries has changed: what the encoder should do from now on.
    Advice {
        /// Channel, from 1.
        channel: u32,
        /// What.
        advice: Advice,
    },
    /// The CMS wants a picture of a channel whose source takes none itself: a JPEG for
    /// [`CameraHandle::send_snapshot`](crate::CameraHandle::send_snapshot). After each login, then every 3 minutes,
    /// and when a client asks.
    SnapshotWanted {
        /// Channel, from 1.
        channel: u32,
    },
    /// The CMS took a snapshot.
    SnapshotSent {
        /// Channel, from 1.
        channel: u32,
    },
    /// A snapshot did not arrive, or the CMS refused it; the next one may.
    SnapshotFailed {
        /// Channel, from 1.
        channel: u32,
        /// What went wrong.
        reason: String,
    },
    /// Speech to be played now: it comes in pace.
    Talkback(TalkbackFrame),
    /// Nobody talks any more.
    TalkbackEnded {
        /// Channel, from 1.
        channel: u32,
        /// What became of what was said.
        stats: TalkbackStats,
    },
}

/// Something that a client wants the camera to do. Dropped without an answer it is answered with
/// 408 after the engine's time.
#[derive(Debug)]
pub struct CameraCommand {
    /// What to do.
    pub command: Command,
    pub(super) id: CommandId,
    pub(super) camera: CameraHandle,
}

impl CameraCommand {
    /// Answers the client. An answer that comes too late is dropped.
    pub fn reply(self, result: ErrorNum) {
        self.camera.reply(self.id, result);
    }
}

/// Tells logs and the embedder; an embedder that does not listen loses events.
#[derive(Debug, Clone)]
pub(super) struct Reporter(Option<mpsc::Sender<CameraEvent>>);

impl Reporter {
    pub(super) fn new(events: Option<mpsc::Sender<CameraEvent>>) -> Self {
        Self(events)
    }

    pub(super) fn report(&self, event: CameraEvent) {
        match &event {
            CameraEvent::Registered { cms } => tracing::info!(%cms, "registered"),
            CameraEvent::Disconnected { reason } => tracing::warn!(reason, "not at the CMS"),
            CameraEvent::LoginRefused {
                cms,
                reason,
                retry_in,
            } => tracing::error!(
                cms,
                reason,
                retry_in_s = retry_in.as_secs(),
                "this camera is not let in"
            ),
            CameraEvent::PushRequested { channel, url } => {
                tracing::info!(channel, url, "push wanted");
            }
            CameraEvent::PushStarted { channel } => tracing::info!(channel, "push started"),
            CameraEvent::PushFailed { channel, reason } => {
                tracing::warn!(channel, reason, "push failed");
            }
            CameraEvent::PushStopped { channel } => tracing::info!(channel, "push stopped"),
            CameraEvent::KeyFrameWanted { channel, stream } => {
                tracing::debug!(channel, stream, "key frame wanted");
            }
            CameraEvent::Advice { channel, advice } => {
                tracing::debug!(channel, ?advice, "advice to the encoder");
            }
            CameraEvent::SnapshotWanted { channel } => tracing::debug!(channel, "snapshot wanted"),
            CameraEvent::SnapshotSent { channel } => tracing::debug!(channel, "snapshot sent"),
            CameraEvent::SnapshotFailed { channel, reason } => {
                tracing::warn!(channel, reason, "snapshot not taken");
            }
            CameraEvent::Talkback(frame) => tracing::trace!(?frame, "speech"),
            CameraEvent::TalkbackEnded { channel, stats } => {
                let (pieces, played, late) = (stats.pieces, stats.played, stats.late);
                tracing::info!(channel, pieces, played, late, "talkback ended");
            }
        }
        if let Some(events) = &self.0 {
            let _ = events.try_send(event);
        }
    }
}
