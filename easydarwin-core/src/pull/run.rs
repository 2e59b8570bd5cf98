//! The task of one source: moves bytes between sockets, supervisor and relay.

mod act;

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::future::BoxFuture;

use super::SourceStep;
use super::pulls::{Pulls, Source};
use crate::client::{ClientError, Link, MAX_DATAGRAM, UdpPair};
use crate::relay::{EndReason, Publisher};

/// Reads in one wake-up, so that one busy source starves nobody.
const MAX_READS: usize = 4;
/// Datagrams taken from one socket before the others get their turn.
const MAX_DATAGRAMS: usize = 64;
/// Without anything else to wait for.
const IDLE: Duration = Duration::from_secs(3600);

pub(super) struct Task {
    pulls: Pulls,
    source: Arc<Source>,
    dialing: Option<(u64, BoxFuture<'static, Result<Link, ClientError>>)>,
    connection: Option<Connection>,
    sockets: Vec<(usize, UdpPair)>,
    /// Where the connection leads: sockets are made for it.
    ends: Option<(IpAddr, IpAddr)>,
    publisher: Option<(Publisher, BoxFuture<'static, EndReason>)>,
    scratch: Vec<u8>,
    /// Quirks that were told of since the connection was made.
    told: Vec<super::Quirk>,
}

struct Connection {
    attempt: u64,
    link: Link,
    input: BytesMut,
    output: BytesMut,
}

/// Why the task woke up.
enum Wake {
    Dialed(u64, Result<Link, ClientError>),
    Ready,
    Stop,
}

impl Task {
    pub(super) fn new(pulls: Pulls, source: Arc<Source>) -> Self {
        Self {
            pulls,
            source,
            dialing: None,
            connection: None,
            sockets: Vec::new(),
            ends: None,
            publisher: None,
            scratch: Vec::new(),
            told: Vec::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut stopping = false;
        {
            let mut engine = self.source.engine.lock();
            engine.start(Instant::now());
        }
        loop {
            let now = Instant::now();
            let wanted = self.source.is_wanted(self.pulls.hub());
            {
                let mut engine = self.source.engine.lock();
                if !stopping {
                    engine.set_wanted(wanted, now);
                }
                if engine.poll_timeout().is_some_and(|due| due <= now) {
                    engine.handle_timeout(now);
                }
            }
            self.work(now);
            if stopping && self.source.engine.lock().is_stopped() {
                return;
            }
            match self.wait(stopping).await {
                Wake::Ready => self.receive(Instant::now()),
                Wake::Dialed(attempt, dialed) => self.dialed(attempt, dialed),
                Wake::Stop => {
                    stopping = true;
                    self.source.engine.lock().stop(Instant::now());
                }
            }
        }
    }

    /// Until something is to be done.
    async fn wait(&mut self, stopping: bool) -> Wake {
        let due = {
            let engine = self.source.engine.lock();
            let flush = self
                .publisher
                .as_ref()
                .and_then(|(p, _)| p.flush_deadline());
            [engine.poll_timeout(), flush].into_iter().flatten().min()
        };
        let due = due.unwrap_or_else(|| Instant::now() + IDLE);
        let source = Arc::clone(&self.source);
        let mut sleep = pin!(tokio::time::sleep_until(due.into()));
        let mut woken = pin!(source.wake.notified());
        let mut stopped = pin!(source.stop.cancelled());
        poll_fn(|cx| {
            if let Some((attempt, dialing)) = &mut self.dialing
                && let Poll::Ready(dialed) = dialing.as_mut().poll(cx)
            {
                return Poll::Ready(Wake::Dialed(*attempt, dialed));
            }
            if !stopping && stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Stop);
            }
            let ready = self.poll_sockets(cx).is_ready()
                || sleep.as_mut().poll(cx).is_ready()
                || woken.as_mut().poll(cx).is_ready();
            match ready {
                true => Poll::Ready(Wake::Ready),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Ready when a socket has something, or the stream was ended by others.
    fn poll_sockets(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut any = Poll::Pending;
        if let Some(connection) = &self.connection
            && connection
                .link
                .poll_ready(!connection.output.is_empty(), cx)
                .is_ready()
        {
            any = Poll::Ready(());
        }
        for (_, pair) in &self.sockets {
            for socket in [&pair.rtp, &pair.rtcp] {
                if socket.poll_recv_ready(cx).is_ready() {
                    any = Poll::Ready(());
                }
            }
        }
        if let Some((_, closed)) = &mut self.publisher
            && let Poll::Ready(reason) = closed.as_mut().poll(cx)
        {
            self.publisher = None;
            let mut engine = self.source.engine.lock();
            engine.publish_refused(&reason.to_string(), Instant::now());
            any = Poll::Ready(());
        }
        any
    }

    fn dialed(&mut self, attempt: u64, dialed: Result<Link, ClientError>) {
        self.dialing = None;
        let now = Instant::now();
        match dialed {
            Ok(mut link) => {
                let secure = link.is_secure();
                self.ends = Some((link.local.ip(), link.peer.ip()));
                self.connection = Some(Connection {
                    attempt,
                    input: std::mem::take(&mut link.early),
                    link,
                    output: BytesMut::new(),
                });
                self.source.engine.lock().connected(attempt, secure, now);
                self.take_input(now);
            }
            Err(error) => {
                let reason = in_words(&error);
                let mut engine = self.source.engine.lock();
                engine.connect_failed(attempt, &reason, now);
            }
        }
    }

    /// Takes what the sockets have.
    fn receive(&mut self, now: Instant) {
        self.receive_stream(now);
        self.receive_datagrams(now);
        if let Some((publisher, _)) = &mut self.publisher {
            // `closed` tells the same.
            let _still_live = publisher.flush(now);
        }
    }

    fn receive_stream(&mut self, now: Instant) {
        for _ in 0..MAX_READS {
            let Some(connection) = &mut self.connection else {
                return;
            };
            let attempt = connection.attempt;
            match connection.link.try_read(&mut connection.input) {
                Ok(Some(0)) | Err(_) => {
                    self.take_input(now);
                    self.source.engine.lock().closed(attempt, now);
                    return self.work(now);
                }
                Ok(Some(_)) => self.take_input(now),
                Ok(None) => return,
            }
        }
        // There may be more, and others want their turn.
        self.source.wake.notify_one();
    }

    /// Hands what was read to the supervisor and media to the relay.
    fn take_input(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let attempt = connection.attempt;
        let mut input = std::mem::take(&mut connection.input);
        let source = Arc::clone(&self.source);
        loop {
            let step = source.engine.lock().next(&input, now);
            let consumed = match step {
                SourceStep::NeedMore => break,
                SourceStep::Handled { consumed } => {
                    self.work(now);
                    consumed
                }
                SourceStep::Media {
                    consumed,
                    track,
                    rtcp,
                    data,
                } => {
                    self.work(now);
                    self.publish(track, rtcp, data, now);
                    consumed
                }
            };
            input.advance(consumed);
        }
        if let Some(connection) = &mut self.connection
            && connection.attempt == attempt
            && !input.is_empty()
        {
            connection.input = input;
        }
    }

    fn receive_datagrams(&mut self, now: Instant) {
        if self.sockets.is_empty() {
            return;
        }
        self.scratch.resize(MAX_DATAGRAM, 0);
        let mut datagrams: Vec<(usize, bool, Bytes)> = Vec::new();
        for (socket, pair) in &self.sockets {
            for rtcp in [false, true] {
                let mut taken = 0;
                while taken < MAX_DATAGRAMS
                    && let Some(data) = pair.receive(rtcp, &mut self.scratch)
                {
                    datagrams.push((*socket, rtcp, data));
                    taken += 1;
                }
            }
        }
        let source = Arc::clone(&self.source);
        for (socket, rtcp, data) in datagrams {
            let report = source.engine.lock().datagram(socket, rtcp, data, now);
            self.work(now);
            if let Some((track, data)) = report {
                self.publish(track, true, &data, now);
            }
        }
        self.release(now);
    }

    /// Publishes the datagrams whose turn it is.
    fn release(&mut self, now: Instant) {
        let source = Arc::clone(&self.source);
        loop {
            let Some((track, released)) = source.engine.lock().pop_packet(now) else {
                return;
            };
            self.publish(track, false, &released.packet, now);
        }
    }

    fn publish(&mut self, track: usize, rtcp: bool, data: &[u8], now: Instant) {
        match &mut self.publisher {
            Some((publisher, _)) if rtcp => publisher.push_rtcp(track, data, now),
            Some((publisher, _)) => publisher.push_rtp(track, data, now),
            None => {}
        }
    }

    /// Does what the supervisor asks for, and writes what it has to say.
    fn work(&mut self, now: Instant) {
        let source = Arc::clone(&self.source);
        loop {
            let (bytes, output) = {
                let mut engine = source.engine.lock();
                (engine.take_output(), engine.poll_output())
            };
            if let (Some(bytes), Some(connection)) = (bytes, &mut self.connection) {
                connection.output.extend_from_slice(&bytes);
            }
            self.write(now);
            match output {
                Some(output) => self.act(output, now),
                None => break,
            }
        }
        if !self.sockets.is_empty() {
            self.release(now);
        }
    }

    fn write(&mut self, now: Instant) {
        while let Some(connection) = &mut self.connection
            && !connection.output.is_empty()
        {
            match connection.link.try_write(&connection.output) {
                Ok(Some(written)) => connection.output.advance(written),
                Ok(None) => return,
                Err(_) => {
                    // What the other side still sent tells more than that it closed.
                    connection.output.clear();
                    let attempt = connection.attempt;
                    if !matches!(
                        connection.link.try_read(&mut connection.input),
                        Ok(Some(1..))
                    ) {
                        self.source.engine.lock().closed(attempt, now);
                    }
                    return;
                }
            }
        }
        if let Some(connection) = &mut self.connection
            && connection.link.flush().is_err()
        {
            let attempt = connection.attempt;
            self.source.engine.lock().closed(attempt, now);
        }
    }
}

/// An error with its cause, which the error itself does not name.
pub(crate) fn in_words(error: &ClientError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("source", &self.source)
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}
