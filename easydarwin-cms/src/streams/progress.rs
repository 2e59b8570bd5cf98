//! How far an operation is, and what became of it.

use easydarwin_core::protocol::ErrorNum;
use easydarwin_core::registry::UnixMillis;
use thiserror::Error;

/// A stream that can be played now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) node: String,
    /// CSeq of the push request, if one was sent for this.
    pub(crate) cseq: Option<u32>,
}

/// Why a stream did not come, naming the stage.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum StartError {
    #[error("no device of this serial is registered")]
    UnknownDevice,
    #[error("the device has no such channel")]
    UnknownChannel,
    #[error("the channel is offline at its recorder")]
    ChannelOffline,
    #[error("no media node has joined that could take the stream")]
    NoNode,
    #[error("the media node did not take the stream: {0}")]
    Node(String),
    #[error("the device did not answer the push request in time")]
    DeviceSilent,
    #[error("the device's connection ended before it answered")]
    DeviceGone,
    #[error("the device refused to push: {0}")]
    DeviceRefused(ErrorNum),
    #[error("the device agreed to push, but did not reach the media node in time")]
    NotPublished,
    #[error("the device pushes, but no key frame came in time")]
    NoKeyFrame,
    #[error("the push ended before its first key frame: {0}")]
    Ended(String),
    #[error("all who wanted the stream have taken it back")]
    Cancelled,
    #[error("too many streams are being started")]
    TooMany,
    #[error("the CMS failed: {0}")]
    Internal(String),
}

impl StartError {
    pub(crate) fn error_num(&self) -> ErrorNum {
        match self {
            Self::UnknownDevice => ErrorNum::DEVICE_NOT_FOUND,
            Self::UnknownChannel | Self::ChannelOffline => ErrorNum::NOT_FOUND,
            Self::NoNode
            | Self::Node(_)
            | Self::DeviceGone
            | Self::Ended(_)
            | Self::Cancelled
            | Self::TooMany => ErrorNum::UNAVAILABLE,
            Self::DeviceSilent | Self::NotPublished | Self::NoKeyFrame => ErrorNum::TIMEOUT,
            Self::DeviceRefused(error) => *error,
            Self::Internal(_) => ErrorNum::INTERNAL,
        }
    }

    /// Name of the stage at which it failed.
    pub(crate) fn stage(&self) -> &'static str {
        match self {
            Self::UnknownDevice | Self::UnknownChannel | Self::ChannelOffline => "device",
            Self::NoNode | Self::Node(_) => "node",
            Self::DeviceSilent | Self::DeviceGone | Self::DeviceRefused(_) => "push",
            Self::NotPublished => "publish",
            Self::NoKeyFrame | Self::Ended(_) => "picture",
            Self::Cancelled => "cancelled",
            Self::TooMany | Self::Internal(_) => "cms",
        }
    }
}

/// What has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Somebody wants it.
    Requested,
    /// The device has agreed to push.
    Accepted,
    /// Its push has reached the media node.
    Publishing,
    /// The first key frame is there.
    Ready,
    /// It will not come.
    Failed,
}

impl Stage {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Accepted => "accepted",
            Self::Publishing => "publishing",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// The way of an operation so far.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// What was reached when; at least one.
    pub(crate) steps: Vec<(Stage, UnixMillis)>,
    /// When the current stage fails if nothing comes.
    pub(crate) deadline: Option<UnixMillis>,
    pub(crate) outcome: Option<Result<Ready, StartError>>,
}

impl Progress {
    pub(super) fn new(now: UnixMillis) -> Self {
        Self {
            steps: vec![(Stage::Requested, now)],
            deadline: None,
            outcome: None,
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.steps
            .last()
            .map_or(Stage::Requested, |(stage, _)| *stage)
    }

    /// Stages are passed in order and once.
    pub(super) fn reach(&mut self, stage: Stage, now: UnixMillis) {
        if !self.steps.iter().any(|(passed, _)| *passed == stage) {
            self.steps.push((stage, now));
        }
    }
}
