//! The connection beside the one to the CMS, over which a snapshot travels.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use easydarwin_core::client::ClientOptions;

use super::channel::{USUAL_BITRATE, with_causes};
use super::control::{Dialing, READ, Wire, dial};
use crate::control::{CmsAddress, ControlEngine, Upload, UploadError};
use crate::socket::UplinkSocket;

/// What a snapshot needs of the world.
pub(super) struct UploadShell {
    options: ClientOptions,
    way: Way,
}

enum Way {
    Idle,
    Dialing(Dialing, Upload),
    Up(Connection),
}

struct Connection {
    wire: Wire,
    upload: Upload,
    blocked: bool,
    /// Why nothing more can be written. What the CMS said before may still be there to be read.
    broken: Option<io::Error>,
}

impl UploadShell {
    pub(super) fn new(options: ClientOptions) -> Self {
        Self {
            options,
            way: Way::Idle,
        }
    }

    /// Begins. `cms`: the other end of the control connection; behind the same name may be others,
    /// who know nothing of the ticket.
    pub(super) fn begin(&mut self, upload: Upload, cms: Option<SocketAddr>) {
        let address = match cms {
            Some(cms) if !upload.address.is_tls() => CmsAddress::plain(cms.to_string()),
            // Its certificate is looked for under the name.
            _ => upload.address.clone(),
        };
        self.way = Way::Dialing(dial(address, self.options.clone()), upload);
    }

    pub(super) fn cancel(&mut self) {
        self.way = Way::Idle;
    }

    /// Writes as far as the socket takes it.
    pub(super) fn write(&mut self) {
        if let Way::Up(connection) = &mut self.way
            && connection.broken.is_none()
        {
            connection.broken = connection.write().err();
        }
    }

    /// Takes what the world has; ready if there was something.
    pub(super) fn poll(
        &mut self,
        engine: &mut ControlEngine,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let ended = match &mut self.way {
            Way::Idle => return Poll::Pending,
            Way::Dialing(dialing, _) => match std::task::ready!(dialing.as_mut().poll(cx)) {
                Ok(wire) => {
                    self.dialed(wire);
                    None
                }
                Err(error) => Some(Err(UploadError::Connection(with_causes(&error)))),
            },
            Way::Up(connection) => std::task::ready!(connection.poll(cx)),
        };
        if let Some(result) = ended {
            self.way = Way::Idle;
            engine.uploaded(result, now);
        }
        Poll::Ready(())
    }

    fn dialed(&mut self, wire: Wire) {
        if let Way::Dialing(_, upload) = std::mem::replace(&mut self.way, Way::Idle) {
            // Else the kernel would hold the whole picture, too.
            UplinkSocket::prepare(&wire, USUAL_BITRATE);
            self.way = Way::Up(Connection {
                wire,
                upload,
                blocked: false,
                broken: None,
            });
        }
    }
}

impl Connection {
    fn write(&mut self) -> io::Result<()> {
        self.wire.flush()?;
        self.blocked = false;
        while !self.upload.output().is_empty() {
            match self.wire.try_write(self.upload.output())? {
                Some(count) => self.upload.written(count),
                None => {
                    self.blocked = true;
                    break;
                }
            }
        }
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), UploadError>>> {
        let writes = self.blocked && self.broken.is_none();
        std::task::ready!(self.wire.poll_ready(writes, cx));
        let mut room = [0; READ];
        let error = match self.wire.read(&mut room) {
            Ok(None) => return Poll::Ready(None),
            Ok(Some(0)) => io::ErrorKind::UnexpectedEof.into(),
            Ok(Some(count)) => {
                let bytes = room.get(..count).unwrap_or_default();
                return Poll::Ready(self.upload.received(bytes));
            }
            Err(error) => error,
        };
        let error = self.broken.take().unwrap_or(error);
        Poll::Ready(Some(Err(UploadError::Connection(error.to_string()))))
    }
}
