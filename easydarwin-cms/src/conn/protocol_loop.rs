//! The loop of a device's (node's, old client's) connection. While nothing comes it holds no
//! buffer: bytes are read into a scratch buffer of the thread, and only an incomplete message
//! is kept.

use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::{
    Envelope, EnvelopeError, ErrorNum, Frame, FrameDecoder, FrameError, MessageType, StartLine,
};
use futures_util::future::OptionFuture;
use tokio::io::Interest;
use tokio::sync::OwnedSemaphorePermit;

use super::dispatch::{self, ConnState};
use super::link::{Link, LinkClosed, SERVER, limits};
use super::long::LongMessages;
use super::repeat::Print;
use crate::access::ClientHeaders;
use crate::state::State;

/// A message, out of its buffer.
pub(super) enum Incoming {
    /// Dispatched by its JSON.
    Json {
        message: Result<Envelope, EnvelopeError>,
        headers: Box<ClientHeaders>,
        print: Option<Print>,
    },
    /// The keep-alive that came last, with this number.
    Repeated { cseq: u32 },
    /// An old client's REST call on the same connection.
    Rest {
        target: String,
        headers: Box<ClientHeaders>,
    },
}

enum Next {
    Message(Incoming),
    Nothing,
    End,
    Bad(FrameError),
}

struct Input {
    decoder: FrameDecoder,
    pending: Vec<u8>,
    /// For the long message that is coming in, until it is handled.
    room: Option<OwnedSemaphorePermit>,
}

/// `beyond`: how much longer the connection should have waited for its turn.
pub(super) async fn run(state: &Arc<State>, link: Arc<Link>, first: Vec<u8>, beyond: Duration) {
    let mut conn = ConnState::new(link.clone(), beyond);
    let mut input = Input {
        decoder: FrameDecoder::new(limits(state.config.max_body_stranger)),
        pending: first,
        room: None,
    };
    let why = serve(state, &link, &mut conn, &mut input).await;
    link.transport.goodbye();
    let _ = link.flush();
    link.close();
    // On the heap, like everything that an idle connection has no need of.
    Box::pin(conn.ended(state, why)).await;
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    ByPeer,
    ByUs,
}

async fn serve(
    state: &Arc<State>,
    link: &Arc<Link>,
    conn: &mut ConnState,
    input: &mut Input,
) -> Ended {
    loop {
        // What came along with the last message, before anything new is read.
        loop {
            input.decoder.set_limits(limits(conn.max_body(state)));
            match input.take(state, conn) {
                Next::Message(message) => {
                    link.heard_at(state.now(), input.has_more());
                    if dispatch::handle(state, conn, message).await.is_err() {
                        return Ended::ByUs;
                    }
                    input.room = None;
                }
                Next::Bad(error) => return Box::pin(refuse(link, error)).await,
                Next::Nothing | Next::End => break,
            }
            if link.is_closing() {
                return Ended::ByUs;
            }
        }
        let waiting = input.needs_room();
        let room = waiting.map(|len| Box::pin(state.long_messages.room_for(len)));
        let next = tokio::select! {
            permit = OptionFuture::from(room), if waiting.is_some() => {
                input.room = permit.flatten();
                link.begins_anew(state.now());
                Next::Nothing
            }
            ready = link.transport.socket().ready(interest(link)), if waiting.is_none() => match ready {
                Ok(ready) if ready.is_readable() => input.read(link, state, conn),
                Ok(_) => Next::Nothing,
                Err(_) => Next::End,
            },
            () = link.wake.notified() => Next::Nothing,
        };
        if link.is_closing() || link.flush().is_err() {
            return Ended::ByUs;
        }
        match next {
            Next::Nothing => {
                if input.has_more() {
                    link.heard_part(state.now());
                }
            }
            Next::End => return Ended::ByPeer,
            Next::Bad(error) => return Box::pin(refuse(link, error)).await,
            Next::Message(message) => {
                link.heard_at(state.now(), input.has_more());
                if dispatch::handle(state, conn, message).await.is_err() {
                    return Ended::ByUs;
                }
                input.room = None;
            }
        }
    }
}

fn interest(link: &Link) -> Interest {
    if link.wants_write() {
        Interest::READABLE | Interest::WRITABLE
    } else {
        Interest::READABLE
    }
}

impl Input {
    /// Whether there are bytes of a message that is not whole.
    fn has_more(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Length of a long message that has begun and has no room yet.
    fn needs_room(&self) -> Option<usize> {
        let len = self.decoder.expected_len()?;
        (self.room.is_none() && LongMessages::is_long(len)).then_some(len)
    }

    /// Reads once and takes the first message, if it is whole.
    fn read(&mut self, link: &Link, state: &State, conn: &ConnState) -> Next {
        link.transport.read(|read| {
            let bytes = match read {
                Ok(Some(bytes)) if !bytes.is_empty() => bytes,
                Ok(None) => return Next::Nothing,
                Ok(_) | Err(_) => return Next::End,
            };
            if !self.pending.is_empty() {
                self.pending.extend_from_slice(bytes);
                return self.take(state, conn);
            }
            match self.decoder.decode(bytes) {
                Err(error) => Next::Bad(error),
                Ok(Some(frame)) => {
                    let rest = bytes.get(frame.consumed..).unwrap_or_default();
                    self.pending.extend_from_slice(rest);
                    Next::Message(incoming(&frame, state, conn))
                }
                Ok(None) => {
                    self.pending.extend_from_slice(bytes);
                    Next::Nothing
                }
            }
        })
    }

    /// Takes the next message out of what was kept.
    fn take(&mut self, state: &State, conn: &ConnState) -> Next {
        if self.pending.is_empty() {
            return Next::Nothing;
        }
        match self.decoder.decode(&self.pending) {
            Err(error) => Next::Bad(error),
            Ok(None) => Next::Nothing,
            Ok(Some(frame)) => {
                let message = incoming(&frame, state, conn);
                let consumed = frame.consumed;
                self.pending.drain(..consumed);
                if self.pending.is_empty() {
                    self.pending = Vec::new();
                }
                Next::Message(message)
            }
        }
    }
}

fn incoming(frame: &Frame<'_>, state: &State, conn: &ConnState) -> Incoming {
    let print = match frame.start.is_root() && conn.is_device() {
        true => state.fingerprints.print(frame.body),
        false => None,
    };
    if let Some(print) = print
        && conn.is_repeated(print)
    {
        return Incoming::Repeated { cseq: print.cseq };
    }
    let headers = Box::new(ClientHeaders::read(|name| frame.header(name)));
    match frame.start {
        StartLine::Request { .. } if !frame.start.is_root() => Incoming::Rest {
            target: frame.start.path_and_query().to_owned(),
            headers,
        },
        _ => Incoming::Json {
            message: Envelope::parse(frame.body),
            headers,
            print,
        },
    }
}

/// Says what is wrong with the framing; the connection cannot go on.
async fn refuse(link: &Link, error: FrameError) -> Ended {
    tracing::debug!(peer = %link.peer, %error, "connection closed");
    let mut answer = Envelope::answer(MessageType::Exception, "1", ErrorNum::BAD_REQUEST);
    answer.body.set("Reason", error.to_string());
    let status = match error.status() {
        413 => "413 Content Too Large",
        431 => "431 Request Header Fields Too Large",
        501 => "501 Not Implemented",
        _ => "400 Bad Request",
    };
    let _ = link.answer(&with_status(&answer, status)).await;
    Ended::ByUs
}

/// A JSON answer under another HTTP status than 200.
pub(super) fn with_status(answer: &Envelope, status: &str) -> Vec<u8> {
    let json = answer.to_json();
    format!(
        "HTTP/1.1 {status}\r\nServer: {SERVER}\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    )
    .into_bytes()
}

/// A message that ends the connection after its answer.
pub(super) type Handled = Result<(), LinkClosed>;
