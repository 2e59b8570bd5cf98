//! One connection of the lean loop: a socket that everybody may write to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use easydarwin_core::protocol::{Envelope, FrameLimits};
use easydarwin_core::registry::UnixMillis;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;

use super::transport::Transport;
use crate::config::CmsConfig;
use crate::guard::Visit;

/// What we are called in `Server:`.
pub(crate) const SERVER: &str = concat!("EasyDarwin-CMS/", env!("CARGO_PKG_VERSION"));

/// Most bytes that may wait for a peer that does not read; beyond, the connection is closed.
const OUT_LIMIT: usize = 64 * 1024;

/// The connection is gone, or the peer does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the connection is closed")]
pub(crate) struct LinkClosed;

/// A connection. Messages are written at once by whoever sends them; only what the kernel does
/// not take waits here, and is written by the connection's own task.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) wake: Notify,
    pub(crate) visit: Visit,
    out: Mutex<Out>,
    closing: AtomicBool,
    /// Whether its first message has come.
    greeted: AtomicBool,
    /// When the last whole message came.
    heard: AtomicU64,
    /// When the message began whose end is still awaited; 0: none. A new connection's first one
    /// begins with the connection.
    begun: AtomicU64,
}

#[derive(Debug, Default)]
struct Out {
    waiting: Vec<u8>,
    /// A long answer is being written piece by piece; everything else has to wait for its end.
    in_answer: bool,
}

impl Link {
    pub(crate) fn new(
        id: u64,
        transport: Transport,
        peer: SocketAddr,
        local: SocketAddr,
        visit: Visit,
        now: UnixMillis,
    ) -> Self {
        Self {
            id,
            peer,
            local,
            transport,
            wake: Notify::new(),
            visit,
            out: Mutex::default(),
            closing: AtomicBool::new(false),
            greeted: AtomicBool::new(false),
            heard: AtomicU64::new(now.0),
            begun: AtomicU64::new(now.0),
        }
    }

    /// What a connection is made of, when another loop goes on with it.
    pub(super) fn into_parts(self) -> (Transport, Visit) {
        (self.transport, self.visit)
    }

    /// A whole message came; `more`: there are bytes of the next one.
    pub(super) fn heard_at(&self, now: UnixMillis, more: bool) {
        self.greeted.store(true, Ordering::Relaxed);
        self.heard.store(now.0, Ordering::Relaxed);
        self.begun
            .store(if more { now.0 } else { 0 }, Ordering::Relaxed);
    }

    /// The message that has begun was kept waiting by us; its time begins now.
    pub(super) fn begins_anew(&self, now: UnixMillis) {
        self.begun.store(now.0, Ordering::Relaxed);
    }

    /// Bytes came that make no whole message yet.
    pub(super) fn heard_part(&self, now: UnixMillis) {
        let _ = self
            .begun
            .compare_exchange(0, now.0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// When the peer will have said nothing whole for longer than it may, unless something comes.
    /// A message that begins later has at least until `whole_message` from now.
    pub(crate) fn overdue_at(&self, now: UnixMillis, config: &CmsConfig) -> UnixMillis {
        let longest = if self.greeted.load(Ordering::Relaxed) {
            config.whole_message
        } else {
            config.first_message
        };
        let silent = self.heard.load(Ordering::Relaxed);
        let begun = match self.begun.load(Ordering::Relaxed) {
            0 => now.plus(config.whole_message),
            at => UnixMillis(at).plus(longest),
        };
        UnixMillis(silent).plus(config.idle).min(begun)
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Whether the connection's task should wait for the socket to take more.
    pub(crate) fn wants_write(&self) -> bool {
        !self.out.lock().waiting.is_empty() || self.transport.has_left()
    }

    /// Sends a short message: to a device, to a node.
    pub(crate) fn send(&self, message: &Envelope) -> Result<(), LinkClosed> {
        self.send_bytes(&message.to_response(SERVER))
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8]) -> Result<(), LinkClosed> {
        if self.is_closing() {
            return Err(LinkClosed);
        }
        let mut out = self.out.lock();
        let mut rest = bytes;
        if out.waiting.is_empty() && !out.in_answer {
            let taken = self.try_write(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        if rest.is_empty() {
            return Ok(());
        }
        if out.waiting.len().saturating_add(rest.len()) > OUT_LIMIT {
            drop(out);
            self.close();
            return Err(LinkClosed);
        }
        out.waiting.extend_from_slice(rest);
        self.wake.notify_one();
        Ok(())
    }

    /// Writes what waits, as far as the kernel takes it.
    pub(crate) fn flush(&self) -> Result<(), LinkClosed> {
        if self.transport.flush().is_err() {
            return Err(self.broken());
        }
        let mut out = self.out.lock();
        if out.in_answer || out.waiting.is_empty() {
            return Ok(());
        }
        let taken = self.try_write(&out.waiting)?;
        out.waiting.drain(..taken);
        if out.waiting.is_empty() {
            out.waiting = Vec::new();
        }
        Ok(())
    }

    /// Writes an answer of any length, waiting for the peer. Only for the connection's own task.
    pub(crate) async fn answer(&self, bytes: &[u8]) -> Result<(), LinkClosed> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.is_closing() {
                return Err(LinkClosed);
            }
            self.flush()?;
            {
                let mut out = self.out.lock();
                if out.waiting.is_empty() || out.in_answer {
                    let taken = self.try_write(rest)?;
                    rest = rest.get(taken..).unwrap_or_default();
                    out.in_answer = !rest.is_empty();
                }
            }
            if !rest.is_empty() {
                tokio::select! {
                    ready = self.transport.socket().writable() => ready.map_err(|_| LinkClosed)?,
                    () = self.wake.notified() => {}
                }
            }
        }
        self.flush()
    }

    fn try_write(&self, bytes: &[u8]) -> Result<usize, LinkClosed> {
        let written = self.transport.write(bytes).map_err(|_| self.broken())?;
        // The session took what the socket did not; the connection's own task sends it.
        if self.transport.has_left() {
            self.wake.notify_one();
        }
        Ok(written)
    }

    fn broken(&self) -> LinkClosed {
        self.close();
        LinkClosed
    }
}

/// Limits on messages by what is known of the peer.
pub(crate) fn limits(body: usize) -> FrameLimits {
    FrameLimits {
        body,
        ..FrameLimits::default()
    }
}
