use std::time::Instant;

use bytes::Bytes;

use crate::media::{AccessUnit, SessionDescription};

use super::{ClientError, ClientOptions};

/// Pulls a stream: DESCRIBE, SETUP, PLAY, then media with receiver reports, TEARDOWN at the end.
#[derive(Debug)]
pub struct Player {
    description: SessionDescription,
}

/// One RTP packet, in order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlayedPacket {
    /// Index of the track.
    pub track: usize,
    /// The packet from its RTP header on.
    pub data: Bytes,
    /// When it came.
    pub arrival: Instant,
    /// Packets that are missing before it.
    pub lost_before: u32,
}

impl Player {
    /// Connects and plays all tracks of the stream.
    ///
    /// # Errors
    /// [`ClientError`] names the step that failed; [`ClientError::status`] the server's status.
    pub async fn connect(url: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let _ = (url, options);
        todo!()
    }

    /// What the server described.
    pub fn description(&self) -> &SessionDescription {
        &self.description
    }

    /// The next access unit of any understood track; `None` at the end of the stream.
    ///
    /// `pts` counts from the point that the server's `RTP-Info` names, else from the track's first
    /// packet.
    ///
    /// # Errors
    /// How the session ended, if not by the server's own end of the stream.
    pub async fn next_unit(&mut self) -> Result<Option<AccessUnit>, ClientError> {
        todo!()
    }

    /// The next RTP packet of any track; `None` at the end of the stream. Use either this or
    /// [`next_unit`](Self::next_unit).
    ///
    /// # Errors
    /// As [`next_unit`](Self::next_unit).
    pub async fn next_packet(&mut self) -> Result<Option<PlayedPacket>, ClientError> {
        todo!()
    }

    /// Sends TEARDOWN and closes.
    ///
    /// # Errors
    /// When TEARDOWN could not be sent.
    pub async fn close(self) -> Result<(), ClientError> {
        todo!()
    }
}
