use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::ClientError;
use super::connection::{Connection, Fill, Input};
use crate::relay::Sink;
use crate::rtsp::ClientEvent;
use crate::wire::Channel;

/// Looks at the connection at least so often, also when nothing is to be expected.
const IDLE: Duration = Duration::from_secs(60);

/// A connection that records, whose media somebody else writes.
#[derive(Debug)]
pub(crate) struct Handover {
    connection: Connection,
    channels: Vec<(u8, u8)>,
    wire: Channel,
}

impl Handover {
    /// `None` when the connection is no plain channel.
    pub(super) fn new(connection: Connection, channels: Vec<(u8, u8)>) -> Option<Self> {
        Some(Self {
            wire: connection.channel()?,
            connection,
            channels,
        })
    }

    /// The channels for RTP and RTCP of each track.
    pub(crate) fn channels(&self) -> &[(u8, u8)] {
        &self.channels
    }

    /// Where the media is written.
    pub(crate) fn sink(&self) -> impl Sink {
        ChannelSink(self.wire.clone())
    }

    /// Waits until something has to be written between the media: keep-alives, answers.
    ///
    /// # Errors
    /// How the session ended.
    pub(crate) async fn next(&mut self) -> Result<Bytes, ClientError> {
        loop {
            let now = Instant::now();
            self.connection.flush_taken()?;
            let more = match self.connection.fill()? {
                Fill::End => return Err(ClientError::Closed),
                Fill::Some => true,
                Fill::Nothing => false,
            };
            while let Some(input) = self.connection.next_input(now)? {
                if let Input::Event(ClientEvent::Ended) = input {
                    return Err(ClientError::Closed);
                }
            }
            let unsent = self.connection.take_unsent(now);
            if !unsent.is_empty() {
                return Ok(unsent);
            }
            if !more {
                self.connection.wait(&[], now + IDLE).await;
            }
        }
    }

    /// Writes the rest of what was begun, then TEARDOWN, and closes.
    ///
    /// # Errors
    /// When TEARDOWN could not be sent.
    pub(crate) async fn close(mut self, rest: &[u8]) -> Result<(), ClientError> {
        self.connection.queue(rest);
        self.connection.close().await
    }
}

/// The write half of a channel, for the relay's shard.
#[derive(Debug)]
struct ChannelSink(Channel);

impl Sink for ChannelSink {
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(slices)
    }

    fn park(&self) -> BoxFuture<'static, ()> {
        let channel = self.0.clone();
        Box::pin(async move {
            // An error shows again at the write that follows, with its kind.
            let _ = channel.writable().await;
        })
    }

    fn limit_unsent(&mut self, bytes: u32) {
        crate::relay::limit_unsent(self.0.socket(), bytes);
    }
}
