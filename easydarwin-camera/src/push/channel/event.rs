use easydarwin_core::rtsp::ClientUrl;

use super::PushError;
use crate::feedback::Advice;

/// What the shell is to do, or the embedder to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChannelEvent {
    /// Open the source, as its frames are wanted soon. Answered by [`described`](super::Channel::described)
    /// or [`source_failed`](super::Channel::source_failed). Only of a channel that was made without a
    /// [`FrameFeed`](crate::frames::FrameFeed).
    OpenSource,
    /// Close the source.
    CloseSource,
    /// Connect to the host of a URL, with TLS if it [is secure](ClientUrl::is_secure). Answered by
    /// [`connected`](super::Channel::connected) or [`failed`](super::Channel::failed).
    Connect {
        /// Where to.
        url: Box<ClientUrl>,
    },
    /// Open a pair of UDP ports (RFC 3550, 11) for each track. Answered by
    /// [`bound`](super::Channel::bound) or [`failed`](super::Channel::failed).
    Bind {
        /// So many pairs.
        tracks: usize,
    },
    /// Close the connection and the ports, or stop connecting.
    Disconnect,
    /// A push is wanted.
    Requested {
        /// Where to, without user and password.
        url: String,
    },
    /// Media flows.
    Started,
    /// It does not, and why. It is tried again.
    Failed(PushError),
    /// It is no longer wanted.
    Stopped,
    /// The encoder should make a key frame.
    KeyFrame {
        /// Of this stream, in the order of the senders of the [`queue`](crate::frames::queue).
        stream: usize,
    },
    /// What the encoder should do from now on.
    Advice(Advice),
}
