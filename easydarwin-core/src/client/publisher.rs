use crate::media::{AccessUnit, SessionDescription};
use crate::rtp::PacketRun;

use super::{ClientError, ClientOptions};

/// Pushes a stream: ANNOUNCE, SETUP, RECORD, then media with sender reports, TEARDOWN at the end.
#[derive(Debug)]
pub struct Publisher {
    description: SessionDescription,
}

impl Publisher {
    /// Connects and records; returns when the server takes media.
    ///
    /// # Errors
    /// [`ClientError`] names the step that failed; [`ClientError::status`] the server's status.
    pub async fn connect(
        url: &str,
        description: SessionDescription,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let _ = (url, description, options);
        todo!()
    }

    /// What is published.
    pub fn description(&self) -> &SessionDescription {
        &self.description
    }

    /// Packetizes and sends one access unit. Waits while the server takes no data; a sender that
    /// must not wait keeps a bounded queue in front and drops there.
    ///
    /// # Errors
    /// Any: the session is over, except [`ClientError::Packetize`] and
    /// [`ClientError::NoSuchTrack`], after which the next unit can be sent.
    pub async fn send(&mut self, unit: &AccessUnit) -> Result<(), ClientError> {
        let _ = unit;
        todo!()
    }

    /// Sends packets made elsewhere: of one track, on the channel that
    /// [`channel`](Self::channel) tells. Do not mix with [`send`](Self::send) on that track.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_run(&mut self, track: usize, run: &PacketRun) -> Result<(), ClientError> {
        let _ = (track, run);
        todo!()
    }

    /// The interleaved channel of a track's RTP (also a number of its own over UDP).
    pub fn channel(&self, track: usize) -> Option<u8> {
        let _ = track;
        todo!()
    }

    /// Answers, keep-alives and sender reports while there is nothing to send. Never returns `Ok`.
    ///
    /// # Errors
    /// How the session ended.
    pub async fn drive(&mut self) -> Result<(), ClientError> {
        todo!()
    }

    /// Sends TEARDOWN and waits for its answer (at most one second, and less than the request
    /// timeout), then closes.
    ///
    /// # Errors
    /// When TEARDOWN could not be sent.
    pub async fn close(self) -> Result<(), ClientError> {
        todo!()
    }
}
