//! The connection beside the one to the CMS, over which a snapshot travels.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use easydarwin_core::client::ClientOptions;

use super::channel::{USUAL_BITRATE, with_causes};
use super::connection::{Connection, Dialing, Talker, dial, end_of};
use crate::control::{CmsAddress, ControlEngine, Upload, UploadError};
use crate::socket::UplinkSocket;

/// What a snapshot needs of the world.
pub(super) struct UploadShell {
    options: ClientOptions,
    running: Option<Running>,
}

struct Running {
    way: Way,
    upload: Box<Upload>,
    ended: Option<Result<(), UploadError>>,
}

enum Way {
    Dialing(Dialing),
    Up(Connection),
}

/// The request says and hears.
struct Request<'a> {
    upload: &'a mut Upload,
    ended: &'a mut Option<Result<(), UploadError>>,
}

impl Talker for Request<'_> {
    fn take_output(&mut self) -> Option<Bytes> {
        self.upload.take_output()
    }

    fn received(&mut self, bytes: &[u8], _: Instant) {
        *self.ended = self.upload.received(bytes);
    }
}

impl UploadShell {
    pub(super) fn new(options: ClientOptions) -> Self {
        let running = None;
        Self { options, running }
    }

    /// What certificates are judged by from now on.
    #[cfg(feature = "tls")]
    pub(super) fn set_tls_clock(&mut self, clock: easydarwin_core::tls::TlsClock) {
        self.options.tls_clock = clock;
    }

    /// Begins. `cms`: the other end of the control connection; behind the same name may be others,
    /// who know nothing of the ticket.
    pub(super) fn begin(&mut self, upload: Box<Upload>, cms: Option<SocketAddr>) {
        let address = match cms {
            Some(cms) if !upload.address.is_tls() => CmsAddress::plain(cms.to_string()),
            // Its certificate is looked for under the name.
            _ => upload.address.clone(),
        };
        self.running = Some(Running {
            way: Way::Dialing(dial(address, self.options.clone())),
            upload,
            ended: None,
        });
    }

    pub(super) fn cancel(&mut self) {
        self.running = None;
    }

    /// Writes as far as the socket takes it. How it ended is told by [`poll`](Self::poll), after which the
    /// shell looks at what the engine says.
    pub(super) fn write(&mut self, now: Instant) {
        let Some(running) = &mut self.running else {
            return;
        };
        if let Way::Up(connection) = &mut running.way {
            let mut request = Request {
                upload: &mut running.upload,
                ended: &mut running.ended,
            };
            if let Err(error) = connection.write(&mut request) {
                // It may have been answered before it was whole, and the answer is still there.
                let _ = connection.read(&mut request, now);
                running.broken(&error);
            }
        }
    }

    /// Takes what the world has; ready if there was something.
    pub(super) fn poll(
        &mut self,
        engine: &mut ControlEngine,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(running) = &mut self.running else {
            return Poll::Pending;
        };
        match &mut running.way {
            _ if running.ended.is_some() => {}
            Way::Dialing(dialing) => match std::task::ready!(dialing.as_mut().poll(cx)) {
                Ok(wire) => {
                    // Else the kernel would hold the whole picture, too.
                    UplinkSocket::prepare(&wire, USUAL_BITRATE);
                    running.way = Way::Up(Connection::new(wire));
                }
                Err(error) => {
                    let error = UploadError::Connection(with_causes(&error));
                    running.ended = Some(Err(error));
                }
            },
            Way::Up(connection) => {
                let mut request = Request {
                    upload: &mut running.upload,
                    ended: &mut running.ended,
                };
                if let Err(error) = std::task::ready!(connection.poll(&mut request, now, cx)) {
                    running.broken(&error);
                }
            }
        }
        if let Some(result) = running.ended.take() {
            self.running = None;
            engine.uploaded(result, now);
        }
        Poll::Ready(())
    }
}

impl Running {
    /// Unless it was answered before.
    fn broken(&mut self, error: &io::Error) {
        let broken = || Err(UploadError::Connection(end_of(error)));
        self.ended.get_or_insert_with(broken);
    }
}
