use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::rtsp::{ClientEvent, ClientSession, ClientStep, ClientUrl, Login, Method};

#[cfg(feature = "tunnel")]
use super::ClientTransport;
use super::interface::bind_to;
use super::random::random;
#[cfg(feature = "tunnel")]
use super::tunnel::Tunnel;
use super::wire::{Wire, secure};
use super::{ClientError, ClientOptions};

/// Packets kept that came before the answer to PLAY; further ones are dropped.
const MAX_EARLY: usize = 1024;

/// The TCP connection with its session. Nothing is lost when one of its futures is dropped: what
/// was read stays in `input`, what is to be written in `output`.
#[derive(Debug)]
pub(super) struct Connection {
    wire: Wire,
    pub(super) session: ClientSession,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    input: BytesMut,
    output: BytesMut,
    early: VecDeque<Input>,
    /// Since when the peer has taken nothing of what is to be written.
    stalled: Option<Instant>,
    request_timeout: Duration,
    stall_timeout: Duration,
    /// What sockets beside this connection have to go through, too.
    pub(super) interface: Option<String>,
}

/// Something that came over the connection.
#[derive(Debug)]
pub(super) enum Input {
    Event(ClientEvent),
    Packet { channel: u8, data: Bytes },
}

/// What a look at the socket brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    Some,
    Nothing,
    End,
}

impl Connection {
    pub(super) async fn open(
        url: &ClientUrl,
        login: Login,
        options: &ClientOptions,
    ) -> Result<Self, ClientError> {
        let host = format!("{}:{}", url.host(), url.port());
        let mut input = BytesMut::new();
        let (wire, peer, local) = timeout(
            options.connect_timeout,
            connect(url, &host, options, &mut input),
        )
        .await
        .map_err(|_| ClientError::ConnectTimeout {
            host: host.clone(),
            after: options.connect_timeout,
        })??;
        let mut session = ClientSession::new(
            url,
            login,
            format!("{:016x}", random()),
            options.user_agent.as_str(),
            options.limits.clone(),
        );
        session.allow_basic(options.plain_basic || wire.is_secure());
        Ok(Self {
            peer,
            local,
            wire,
            session,
            input,
            output: BytesMut::new(),
            early: VecDeque::new(),
            stalled: None,
            request_timeout: options.request_timeout,
            stall_timeout: options.stall_timeout,
            interface: options.interface.clone(),
        })
    }

    /// Waits for the answer to the request that was just made.
    pub(super) async fn answer(&mut self, method: Method) -> Result<ClientEvent, ClientError> {
        self.answer_within(method, self.request_timeout).await
    }

    pub(super) async fn answer_within(
        &mut self,
        method: Method,
        after: Duration,
    ) -> Result<ClientEvent, ClientError> {
        let deadline = Instant::now() + after;
        loop {
            self.write_some()?;
            while let Some(input) = self.next_input(Instant::now())? {
                match input {
                    Input::Event(ClientEvent::Ended) => return Err(ClientError::Closed),
                    Input::Event(ClientEvent::Refused {
                        method,
                        status,
                        reason,
                    }) => {
                        return Err(ClientError::Refused {
                            method,
                            status,
                            reason,
                        });
                    }
                    Input::Event(ClientEvent::LoginFailed { method, error }) => {
                        return Err(ClientError::Login { method, error });
                    }
                    Input::Event(event) => return Ok(event),
                    packet @ Input::Packet { .. } if self.early.len() < MAX_EARLY => {
                        self.early.push_back(packet);
                    }
                    Input::Packet { .. } => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(ClientError::NoAnswer { method, after });
            }
            match self.fill()? {
                Fill::Some => {}
                Fill::End => return Err(ClientError::Closed),
                Fill::Nothing => self.wait(&[], deadline).await,
            }
        }
    }

    /// What came while an answer was awaited.
    pub(super) fn take_early(&mut self) -> VecDeque<Input> {
        std::mem::take(&mut self.early)
    }

    /// The next complete thing among what was read.
    pub(super) fn next_input(&mut self, now: Instant) -> Result<Option<Input>, ClientError> {
        loop {
            let step = self.session.next(&self.input, now);
            let input = match step {
                ClientStep::NeedMore => return Ok(None),
                ClientStep::Handled { consumed } => {
                    self.input.advance(consumed);
                    None
                }
                ClientStep::Event { consumed, event } => {
                    self.input.advance(consumed);
                    Some(Input::Event(event))
                }
                ClientStep::Interleaved {
                    consumed,
                    channel,
                    data,
                } => {
                    let header = consumed.saturating_sub(data.len());
                    let mut frame = self.input.split_to(consumed);
                    frame.advance(header);
                    let data = frame.freeze();
                    return Ok(Some(Input::Packet { channel, data }));
                }
                ClientStep::Failed(error) => return Err(error.into()),
            };
            self.take_output();
            if input.is_some() {
                return Ok(input);
            }
        }
    }

    /// Reads what is there, at most one buffer.
    pub(super) fn fill(&mut self) -> Result<Fill, ClientError> {
        match self.wire.try_read(&mut self.input) {
            Ok(Some(0)) => Ok(Fill::End),
            Ok(Some(_)) => Ok(Fill::Some),
            Ok(None) => Ok(Fill::Nothing),
            Err(error) => Err(broken(error)),
        }
    }

    /// Appends to what is to be written.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Writes without copying where the socket takes it at once.
    pub(super) fn write_now(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.write_some()?;
        let mut rest = bytes;
        while self.output.is_empty() && !rest.is_empty() {
            match self.wire.try_write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(broken(error)),
            }
        }
        self.output.extend_from_slice(rest);
        Ok(())
    }

    /// Sends keep-alives, and writes as much as the socket takes. Returns whether all is written.
    pub(super) fn write_some(&mut self) -> Result<bool, ClientError> {
        self.session.handle_timeout(Instant::now());
        self.take_output();
        while !self.output.is_empty() {
            match self.wire.try_write(&self.output) {
                Ok(written) => {
                    self.output.advance(written);
                    self.stalled = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.blocked();
                }
                Err(error) => return Err(broken(error)),
            }
        }
        if !self.wire.flush().map_err(broken)? {
            return self.blocked();
        }
        self.stalled = None;
        Ok(true)
    }

    /// The peer takes nothing now: false, until that was so for too long.
    fn blocked(&mut self) -> Result<bool, ClientError> {
        let since = *self.stalled.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.stall_timeout {
            return Err(ClientError::Stalled {
                after: self.stall_timeout,
            });
        }
        Ok(false)
    }

    fn take_output(&mut self) {
        if let Some(bytes) = self.session.take_output() {
            self.output.extend_from_slice(&bytes);
        }
    }

    /// What it is carried by, for somebody who writes there instead of this connection from now
    /// on; `None` for a tunnel.
    #[cfg(feature = "server")]
    pub(super) fn channel(&self) -> Option<crate::wire::Channel> {
        self.wire.channel()
    }

    /// Sends on what was taken already, as far as that is possible at once.
    #[cfg(feature = "server")]
    pub(super) fn flush_taken(&mut self) -> Result<(), ClientError> {
        self.wire.flush().map(|_| ()).map_err(broken)
    }

    /// What is to be written, for whoever writes instead of this connection.
    #[cfg(feature = "server")]
    pub(super) fn take_unsent(&mut self, now: Instant) -> Bytes {
        self.session.handle_timeout(now);
        self.take_output();
        self.output.split().freeze()
    }

    /// Waits until something can be read from the connection or one of the sockets, something
    /// can be written that has to be, a timer of the connection is due, or until `deadline`.
    pub(super) async fn wait(&self, sockets: &[&UdpSocket], deadline: Instant) {
        let mut until = deadline;
        if let Some(due) = self.session.poll_timeout() {
            until = until.min(due);
        }
        if let Some(since) = self.stalled {
            until = until.min(since + self.stall_timeout);
        }
        let mut sleep = pin!(tokio::time::sleep_until(until.into()));
        poll_fn(|cx| {
            let writes = !self.output.is_empty() || self.wire.has_left();
            let ready = self.wire.poll_read_ready(cx).is_ready()
                || (writes && self.wire.poll_write_ready(cx).is_ready())
                || sockets.iter().any(|s| s.poll_recv_ready(cx).is_ready())
                || sleep.as_mut().poll(cx).is_ready();
            if ready {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// TEARDOWN, and a short wait for its answer.
    pub(super) async fn close(mut self) -> Result<(), ClientError> {
        /// Nobody waits longer for a goodbye.
        const GOODBYE: Duration = Duration::from_secs(1);
        self.session.teardown();
        let after = self.request_timeout.min(GOODBYE);
        loop {
            match self.answer_within(Method::Teardown, after).await {
                // Answers to earlier requests may stand before it.
                Ok(ClientEvent::TornDown) => return Ok(()),
                Ok(_) | Err(ClientError::Refused { .. } | ClientError::Login { .. }) => {}
                // Many servers just close; the session is over all the same.
                Err(ClientError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Connects, with TLS and as a tunnel if that is asked for. Returns the addresses of both sides,
/// too.
pub(super) async fn connect(
    url: &ClientUrl,
    host: &str,
    options: &ClientOptions,
    input: &mut BytesMut,
) -> Result<(Wire, SocketAddr, SocketAddr), ClientError> {
    let interface = options.interface.as_deref();
    let socket = connect_tcp(url, host, interface).await?;
    socket.set_nodelay(true)?;
    let (peer, local) = (socket.peer_addr()?, socket.local_addr()?);
    let channel = secure(socket, url, options).await?;
    #[cfg(feature = "tunnel")]
    if options.transport == ClientTransport::Tunnel {
        // The other half has to reach the same server, whatever else the name stands for.
        let socket = connect_address(peer, interface).await?;
        socket.set_nodelay(true)?;
        let post = secure(socket, url, options).await?;
        let tunnel = Tunnel::open(channel, post, url, options, input).await?;
        return Ok((Wire::Tunnel(Box::new(tunnel)), peer, local));
    }
    #[cfg(not(feature = "tunnel"))]
    let _ = input;
    Ok((Wire::Direct(channel), peer, local))
}

async fn connect_address(
    address: SocketAddr,
    interface: Option<&str>,
) -> Result<TcpStream, ClientError> {
    let no_connection = |source| ClientError::Connect { address, source };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(no_connection)?;
    if let Some(name) = interface {
        bind_to(&SockRef::from(&socket), name)?;
    }
    socket.connect(address).await.map_err(no_connection)
}

async fn connect_tcp(
    url: &ClientUrl,
    host: &str,
    interface: Option<&str>,
) -> Result<TcpStream, ClientError> {
    let resolve = |source| ClientError::Resolve {
        host: host.to_owned(),
        source,
    };
    let addresses = lookup_host((url.host(), url.port()))
        .await
        .map_err(resolve)?;
    let mut failed = None;
    for address in addresses {
        match connect_address(address, interface).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| resolve(io::ErrorKind::NotFound.into())))
}

/// A server that closes while something of ours is unread resets the connection: also an end.
fn broken(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => ClientError::Closed,
        _ => error.into(),
    }
}
