//! A connection to a CMS: of the conversation, and of the pictures beside it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes};
use easydarwin_core::client::{ClientError, ClientOptions};
use easydarwin_core::rtsp::ClientUrl;

use crate::control::{CmsAddress, ControlEngine};

/// Bytes read at once: the CMS's messages are below 1 KiB, but with TLS a record has to fit.
const READ: usize = if cfg!(feature = "tls") {
    18 * 1024
} else {
    4 * 1024
};

/// The same wire as to a media server: TCP or TLS.
pub(super) type Wire = easydarwin_core::client::Link;

pub(super) type Dialing = Pin<Box<dyn Future<Output = Result<Wire, ClientError>> + Send>>;

pub(super) fn dial(address: CmsAddress, options: ClientOptions) -> Dialing {
    Box::pin(async move {
        let scheme = if address.is_tls() { "rtsps" } else { "rtsp" };
        let url = ClientUrl::parse(&format!("{scheme}://{}/", address.authority()))?;
        Wire::dial(&url, &options).await
    })
}

/// Who says and hears something over a connection.
pub(super) trait Talker {
    fn take_output(&mut self) -> Option<Bytes>;
    fn received(&mut self, bytes: &[u8], now: Instant);
}

impl Talker for ControlEngine {
    fn take_output(&mut self) -> Option<Bytes> {
        self.take_output()
    }

    fn received(&mut self, bytes: &[u8], now: Instant) {
        self.received(bytes, now);
    }
}

pub(super) struct Connection {
    pub(super) wire: Wire,
    /// What the socket has not taken yet.
    rest: Bytes,
    blocked: bool,
}

impl Connection {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            rest: Bytes::new(),
            blocked: false,
        }
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.wire.peer
    }

    /// Writes what there is, as far as the socket takes it.
    pub(super) fn write(&mut self, talker: &mut dyn Talker) -> io::Result<()> {
        self.wire.flush()?;
        self.blocked = false;
        loop {
            if self.rest.is_empty() {
                match talker.take_output() {
                    Some(bytes) => self.rest = bytes,
                    None => return Ok(()),
                }
            }
            match self.wire.try_write(&self.rest)? {
                Some(count) => self.rest.advance(count),
                None => {
                    self.blocked = true;
                    return Ok(());
                }
            }
        }
    }

    /// Ready when there was something, or there is room to write again.
    pub(super) fn poll(
        &mut self,
        talker: &mut dyn Talker,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.wire.poll_ready(self.blocked, cx));
        Poll::Ready(self.read(talker, now))
    }

    /// Reads what there is, without waiting.
    pub(super) fn read(&mut self, talker: &mut dyn Talker, now: Instant) -> io::Result<()> {
        let mut room = [0; READ];
        match self.wire.read(&mut room)? {
            Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(count) => talker.received(room.get(..count).unwrap_or_default(), now),
            // Only room to write, or nothing after all: the runtime will tell.
            None => {}
        }
        Ok(())
    }
}

/// How a connection ended, for people.
pub(super) fn end_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the CMS closed the connection".to_owned(),
        _ => error.to_string(),
    }
}
