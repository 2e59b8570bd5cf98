use std::io::{self, IoSlice};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::wire::Channel;
use crate::wire::websocket::{Decoder, Encoder, FrameError, Said};

/// Most slices that go behind a frame's header in one write.
const MAX_SLICES: usize = 512;

/// RTSP in the binary frames of a WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    channel: Channel,
    reading: Mutex<Decoder>,
    writing: Mutex<Encoder>,
    /// Told when an answer to a ping is left over.
    left: Notify,
}

impl WebSocket {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            channel,
            reading: Mutex::default(),
            writing: Mutex::default(),
            left: Notify::new(),
        }
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Decodes bytes that were read already. Returns how many bytes of RTSP their front is.
    pub(super) fn decode(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut closed = false;
        let result = self.reading.lock().decode(bytes, |said| match said {
            Said::Ping(payload) => self.writing.lock().pong(&payload),
            Said::Close => {
                closed = true;
                self.writing.lock().close();
            }
        });
        if !self.flush()? {
            self.left.notify_one();
        }
        match result {
            Ok(0) if closed => Err(io::ErrorKind::UnexpectedEof.into()),
            result => result.map_err(invalid),
        }
    }

    /// Reads what there is; `None`: nothing now, 0: the peer closed.
    pub(crate) fn try_read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(count) = self.channel.try_read(room)? else {
            return Ok(None);
        };
        if count == 0 {
            return Ok(Some(0));
        }
        match self.decode(room.get_mut(..count).unwrap_or_default()) {
            // Headers, pings or pongs alone.
            Ok(0) => Ok(None),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut writing = self.writing.lock();
        if writing.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let (front, mut may) = writing.prepare(total);
        let mut out = [IoSlice::new(&[]); MAX_SLICES + 1];
        let mut filled = 0;
        let pieces = slices.iter().map(|slice| &**slice).take(MAX_SLICES);
        for (slot, piece) in out.iter_mut().zip(std::iter::once(front).chain(pieces)) {
            let piece = if filled == 0 {
                piece
            } else {
                // The frame that was announced may end within.
                let piece = piece.get(..may).unwrap_or(piece);
                may = may.saturating_sub(piece.len());
                piece
            };
            *slot = IoSlice::new(piece);
            filled += 1;
        }
        let count = self
            .channel
            .try_write(out.get(..filled).unwrap_or_default())?;
        match writing.wrote(count) {
            // Only of the header: no byte of theirs.
            0 if total > 0 => Err(io::ErrorKind::WouldBlock.into()),
            payload => Ok(payload),
        }
    }

    /// Sends answers to pings and what the channel holds. Returns whether nothing is left.
    fn flush(&self) -> io::Result<bool> {
        let mut writing = self.writing.lock();
        while writing.has_left() {
            let (front, _) = writing.prepare(0);
            match self.channel.try_write(&[IoSlice::new(front)]) {
                Ok(count) => {
                    writing.wrote(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        drop(writing);
        self.channel.flush()
    }

    /// Until a read may bring something; sends what is left over meanwhile.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        tokio::select! {
            result = self.channel.readable() => result,
            error = self.send_left() => Err(error),
        }
    }

    async fn send_left(&self) -> io::Error {
        loop {
            let told = self.left.notified();
            match self.flush() {
                Ok(true) => told.await,
                Ok(false) => {
                    if let Err(error) = self.channel.writable().await {
                        return error;
                    }
                }
                Err(error) => return error,
            }
        }
    }

    pub(super) async fn close(&self) -> io::Result<()> {
        self.writing.lock().close();
        while !self.flush()? {
            self.channel.writable().await?;
        }
        self.channel.close().await
    }
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
