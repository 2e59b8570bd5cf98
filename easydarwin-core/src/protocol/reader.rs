//! A decoder that keeps its own bytes, for peers with few connections.

use bytes::{Buf, Bytes, BytesMut};

use super::{Envelope, EnvelopeError, FrameDecoder, FrameError, FrameLimits};

/// A message taken out of a [`MessageReader`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OwnedFrame {
    /// Status code when the start line was a status line.
    pub status: Option<u16>,
    /// The body.
    pub body: Bytes,
}

impl OwnedFrame {
    /// The body's JSON.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is no EasyDarwin message.
    pub fn envelope(&self) -> Result<Envelope, EnvelopeError> {
        Envelope::parse(&self.body)
    }
}

/// Collects bytes as they come and gives out whole messages. Holds at most one message, and
/// the buffer is given back when it is empty.
#[derive(Debug, Default)]
pub struct MessageReader {
    decoder: FrameDecoder,
    buf: BytesMut,
}

impl MessageReader {
    /// A reader with limits of its own.
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            decoder: FrameDecoder::new(limits),
            buf: BytesMut::new(),
        }
    }

    /// Appends what came from the peer. Call [`next_message`](Self::next_message) until it has
    /// no more before pushing again: that is what bounds the buffer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Takes the next whole message.
    ///
    /// # Errors
    /// [`FrameError`]: the connection cannot be used any further.
    pub fn next_message(&mut self) -> Result<Option<OwnedFrame>, FrameError> {
        let Some(frame) = self.decoder.decode(&self.buf)? else {
            if self.buf.is_empty() {
                self.buf = BytesMut::new();
            }
            return Ok(None);
        };
        let consumed = frame.consumed;
        let owned = OwnedFrame {
            status: match frame.start {
                super::StartLine::Status { code } => Some(code),
                super::StartLine::Request { .. } => None,
            },
            body: Bytes::copy_from_slice(frame.body),
        };
        self.buf.advance(consumed);
        Ok(Some(owned))
    }
}
