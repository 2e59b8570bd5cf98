//! One RTSP connection: a task that reads, decides and answers. While a player is served over
//! TCP, the relay's shard writes to the socket instead.

mod player;
mod rarely;
mod recorder;
mod repairs;
mod replies;
mod requests;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use self::player::Player;
use self::rarely::Rarely;
use self::recorder::Recorder;
use self::requests::{Admission, Decision, Job};
use super::limits::Admitted;
use super::shared::{Shared, canonical};
use super::wire::{self, Door, Opened, Readable, Wire};
use crate::media::Repairs;
use crate::relay::{EndReason, ReaderEnd, ReaderHandle};
use crate::rtsp::auth::Via;
use crate::rtsp::{CloseReason, RequestId, ServerConnection, Step};

/// What one read may bring; shared by all connections of a thread, so that a connection that
/// waits holds nothing.
const SCRATCH: usize = 256 * 1024;
/// Reads in one wake-up, so that one busy publisher starves nobody.
const MAX_READS: usize = 4;
/// After our last answer the peer may take so long to close its side. Closing before it has read
/// the answer could destroy it.
const LINGER: Duration = Duration::from_secs(1);
/// What is read and thrown away meanwhile.
const LINGER_BYTES: usize = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Serves one accepted connection until it ends.
pub(super) async fn serve(
    shared: Arc<Shared>,
    socket: TcpStream,
    peer: SocketAddr,
    door: Door,
    admitted: Admitted,
) {
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let local = canonical(local);
    let Ok(session_id) = session_id() else {
        tracing::error!("the system gives no random numbers; connection refused");
        return;
    };
    let opened = tokio::select! {
        // Boxed, so that the room which this takes is given back when it is over.
        opened = Box::pin(wire::open(&shared, socket, peer, door, admitted)) => opened,
        () = shared.cancel.cancelled() => return,
    };
    let Opened {
        wire,
        early,
        admitted,
    } = match opened {
        Ok(Some(opened)) => opened,
        Ok(None) => return,
        Err(reason) => {
            tracing::debug!(%peer, %reason, "connection ends before it began");
            return;
        }
    };
    let now = Instant::now();
    let mut connection = Connection {
        rtsp: ServerConnection::new(shared.rtsp.clone(), session_id, local, now),
        cancelled: Box::pin(shared.cancel.clone().cancelled_owned()),
        revoked: Box::pin(std::future::pending()),
        shared,
        via: Via {
            peer: peer.ip(),
            secure: wire.is_secure(),
        },
        label: format!("{} {peer}", wire.scheme()).into(),
        wire,
        readable: Readable::default(),
        peer,
        local,
        unread: Vec::new(),
        media: Media::None,
        admitted: None,
        job: None,
        stopping: None,
        rarely: Rarely::new(),
        repairs: Repairs::default(),
    };
    let end = match connection.take_input(&early, now) {
        Ok(()) => connection.run().await,
        Err(end) => end,
    };
    connection.finish(end).await;
    drop(admitted);
}

struct Connection {
    shared: Arc<Shared>,
    wire: Wire,
    readable: Readable,
    peer: SocketAddr,
    via: Via,
    local: SocketAddr,
    label: Arc<str>,
    rtsp: ServerConnection,
    /// An incomplete message.
    unread: Vec<u8>,
    media: Media,
    /// The stream that DESCRIBE (or the first SETUP) was allowed.
    admitted: Option<Admission>,
    job: Option<Job>,
    /// A reader that has to give the socket back before anything else is written.
    stopping: Option<Stopping>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Ready when the right on which the session rests was taken back.
    revoked: BoxFuture<'static, ()>,
    rarely: Rarely,
    /// What was repaired since it began, or since the last session on it ended.
    repairs: Repairs,
}

/// A reader that stops, and what for.
enum Stopping {
    Paused(ReaderHandle),
    Over(ReaderHandle),
}

enum Media {
    None,
    Play(Player),
    Record(Recorder),
}

/// Why a connection ends.
#[derive(Debug, Error)]
enum End {
    #[error("the peer closed it")]
    Peer,
    #[error("the socket failed: {0}")]
    Io(io::Error),
    #[error(transparent)]
    Rtsp(CloseReason),
    #[error("the peer does not take answers")]
    Stuck,
    #[error("nothing more to play: {0}")]
    Reader(ReaderEnd),
    #[error("nothing more to publish: {0}")]
    Publisher(EndReason),
    #[error("wrong credentials came from its address too often")]
    Throttled,
    #[error("its right was taken back")]
    Revoked,
    #[error("the server shuts down")]
    Shutdown,
}

enum Wake {
    Readable(io::Result<()>),
    Decided(RequestId, Decision),
    Datagrams,
    Timeout,
    End(End),
}

impl Connection {
    async fn run(&mut self) -> End {
        let timer = tokio::time::sleep_until(self.deadline().into());
        tokio::pin!(timer);
        loop {
            if let Err(end) = self.write_answers().await {
                return end;
            }
            let deadline = self.deadline().into();
            // Deadlines move away with every packet; the timer is set anew only when it fired or
            // would come too late.
            if timer.is_elapsed() || deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
                self.rarely.renew();
            }
            let wake = std::future::poll_fn(|cx| self.poll_wake(cx, timer.as_mut())).await;
            if !matches!(wake, Wake::Readable(_)) {
                self.rarely.renew();
            }
            let now = Instant::now();
            let result = match wake {
                Wake::Readable(Ok(())) => self.read(now),
                Wake::Readable(Err(error)) => Err(End::Io(error)),
                Wake::Decided(id, decision) => self.on_decision(id, decision, now).and_then(|()| {
                    let unread = std::mem::take(&mut self.unread);
                    self.take_input(&unread, now)
                }),
                Wake::Datagrams => {
                    self.take_datagrams(now);
                    Ok(())
                }
                Wake::Timeout => self.on_time(now),
                Wake::End(end) => Err(end),
            };
            if let Err(end) = result {
                return end;
            }
            tokio::task::coop::consume_budget().await;
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Wake> {
        let Self {
            wire,
            readable,
            media,
            job,
            cancelled,
            revoked,
            rarely,
            ..
        } = self;
        let rare = rarely.poll(cx, |cx| {
            if cancelled.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::End(End::Shutdown));
            }
            if revoked.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::End(End::Revoked));
            }
            if let Poll::Ready(wake) = media.poll_event(cx) {
                return Poll::Ready(wake);
            }
            if let Some(job) = job
                && let Poll::Ready((id, decision)) = job.poll(cx)
            {
                return Poll::Ready(Wake::Decided(id, decision));
            }
            timer.poll(cx).map(|()| Wake::Timeout)
        });
        if rare.is_ready() {
            return rare;
        }
        readable.poll(wire, cx).map(Wake::Readable)
    }

    fn deadline(&self) -> Instant {
        let rtsp = self.rtsp.poll_timeout();
        match &self.media {
            Media::Record(recorder) => recorder.deadline().map_or(rtsp, |time| time.min(rtsp)),
            _ => rtsp,
        }
    }

    fn read(&mut self, now: Instant) -> Result<(), End> {
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..MAX_READS {
                let held = self.unread.len();
                let Some((front, room)) = buffer.split_at_mut_checked(held) else {
                    return Err(End::Rtsp(CloseReason::TooManyWaiting));
                };
                if room.is_empty() {
                    return Err(End::Rtsp(CloseReason::TooManyWaiting));
                }
                let Some(count) = self.wire.try_read(room).map_err(End::Io)? else {
                    return Ok(());
                };
                if count == 0 {
                    return Err(End::Peer);
                }
                let full = count == room.len();
                front.copy_from_slice(&self.unread);
                self.unread = Vec::new();
                let input = buffer.get(..held.saturating_add(count)).unwrap_or_default();
                self.take_input(input, now)?;
                if !full {
                    return Ok(());
                }
            }
            Ok(())
        })
    }

    /// Takes all complete messages of `input` and keeps the rest.
    fn take_input(&mut self, input: &[u8], now: Instant) -> Result<(), End> {
        let mut rest = input;
        let mut closing = None;
        loop {
            let taken = match self.rtsp.next(rest, now) {
                Step::NeedMore => break,
                Step::Handled { consumed } => {
                    self.take_repairs();
                    consumed
                }
                Step::Interleaved {
                    consumed,
                    track,
                    rtcp,
                    data,
                    ..
                } => {
                    if let Media::Record(recorder) = &mut self.media {
                        recorder.push(track, rtcp, data, now);
                    }
                    consumed
                }
                Step::Event { consumed, event } => {
                    self.rarely.renew();
                    self.take_repairs();
                    self.on_event(event, now);
                    consumed
                }
                Step::Close { reason } => {
                    closing = Some(reason);
                    break;
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        if let Media::Record(recorder) = &mut self.media {
            recorder.flush(now);
        }
        if !rest.is_empty() {
            self.unread = rest.to_vec();
        }
        closing.map_or(Ok(()), |reason| Err(End::Rtsp(reason)))
    }

    fn take_datagrams(&mut self, now: Instant) {
        if let Media::Record(recorder) = &mut self.media {
            if recorder.receive(now) {
                self.rtsp.note_media(now);
            }
            recorder.flush(now);
        }
    }

    fn on_time(&mut self, now: Instant) -> Result<(), End> {
        match &mut self.media {
            Media::Play(player) => {
                if let Some(life) = player.new_life() {
                    self.rtsp.note_alive(life);
                }
            }
            Media::Record(recorder) => recorder.handle_timeout(now),
            Media::None => {}
        }
        match self.rtsp.handle_timeout(now) {
            None => Ok(()),
            Some(reason) => Err(End::Rtsp(reason)),
        }
    }

    /// Writes what there is to answer, then starts a player that was answered.
    async fn write_answers(&mut self) -> Result<(), End> {
        let stopped = match self.stopping.take() {
            None => None,
            Some(Stopping::Over(handle)) => Some(handle.stop().await),
            Some(Stopping::Paused(handle)) => Some(handle.pause().await),
        };
        if let Some(stopped) = stopped {
            if let Media::Play(player) = &mut self.media {
                player.stopped(stopped.paused);
            }
            self.write(&stopped.pending).await?;
        }
        while let Some(bytes) = self.rtsp.take_output() {
            let writer = match &self.media {
                Media::Play(player) => player.writer(),
                _ => None,
            };
            match writer {
                // An error means that the reader ends; that is seen where it is awaited.
                Some(writer) => {
                    let _ = writer.control(bytes);
                }
                None => self.write(&bytes).await?,
            }
        }
        if let Media::Play(player) = &mut self.media {
            player.start(&self.wire, self.local);
        }
        Ok(())
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        let all = async {
            while !bytes.is_empty() {
                match self.wire.try_write(bytes) {
                    Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.wire.writable().await.map_err(End::Io)?;
                    }
                    Err(error) => return Err(End::Io(error)),
                }
            }
            Ok(())
        };
        tokio::select! {
            result = tokio::time::timeout(self.shared.limits.write, all) => {
                result.unwrap_or(Err(End::Stuck))
            }
            () = self.shared.cancel.cancelled() => Err(End::Shutdown),
        }
    }

    /// Ends what the session did; the connection may go on.
    fn end_session(&mut self, reason: EndReason) {
        match std::mem::replace(&mut self.media, Media::None) {
            Media::None => {}
            Media::Play(mut player) => {
                // One that stops already is waited for first.
                if let Some(handle) = player.pause() {
                    self.stopping = Some(Stopping::Over(handle));
                }
            }
            Media::Record(recorder) => {
                self.repairs = Repairs::default();
                let publisher = recorder.publisher();
                tracing::info!(path = %publisher.stream().path(), peer = %self.peer,
                    generation = publisher.generation(), %reason, "publisher ended");
                recorder.end(reason);
            }
        }
    }

    /// Releases everything and closes the connection so that the peer gets our last words.
    async fn finish(mut self, end: End) {
        tracing::debug!(peer = %self.peer, %end, "connection ends");
        self.job = None;
        self.take_repairs();
        if let (End::Shutdown, Media::Play(player)) = (&end, &mut self.media) {
            // Its stream ends too: the reader sends what is left and its goodbyes.
            let ended = std::future::poll_fn(|cx| player.poll_ended(cx));
            let _ = tokio::time::timeout(LINGER, ended).await;
        }
        let reason = match &end {
            End::Rtsp(CloseReason::PublisherSilent) => EndReason::Silent,
            End::Publisher(reason) => *reason,
            End::Shutdown => EndReason::Shutdown,
            End::Revoked => EndReason::Closed,
            _ => EndReason::PublisherLeft,
        };
        let over_tcp = matches!(&self.media, Media::Play(player) if player.is_playing());
        self.end_session(reason);
        match end {
            End::Peer | End::Io(_) | End::Stuck => {}
            End::Rtsp(_)
            | End::Reader(_)
            | End::Publisher(_)
            | End::Throttled
            | End::Revoked
            | End::Shutdown => {
                let last_words = async {
                    if over_tcp || self.write_answers().await.is_ok() {
                        self.linger().await;
                    }
                };
                // The peer has been served; what it does not take in time is lost.
                let _ = tokio::time::timeout(LINGER, last_words).await;
            }
        }
    }

    /// Waits until the peer closes: with unread input in it, closing a socket resets it, and the
    /// peer may lose what we wrote last.
    async fn linger(&mut self) {
        if self.wire.close().await.is_err() {
            return;
        }
        let mut left = LINGER_BYTES;
        while left > 0 && self.wire.readable().await.is_ok() {
            let count = BUFFER.with_borrow_mut(|buffer| self.wire.try_read(buffer));
            match count {
                Ok(None) => {}
                Ok(Some(0)) | Err(_) => return,
                Ok(Some(count)) => left = left.saturating_sub(count),
            }
        }
    }
}

impl Media {
    /// What happens to the session's media beside the connection.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        match self {
            Self::None => Poll::Pending,
            Self::Play(player) => player.poll_ended(cx).map(|end| Wake::End(End::Reader(end))),
            Self::Record(recorder) => {
                if let Poll::Ready(reason) = recorder.poll_closed(cx) {
                    return Poll::Ready(Wake::End(End::Publisher(reason)));
                }
                recorder.poll_datagrams(cx).map(|()| Wake::Datagrams)
            }
        }
    }
}

/// 96 random bits in the alphabet of session identifiers (RFC 2326, 3.4).
fn session_id() -> Result<String, getrandom::Error> {
    use std::fmt::Write as _;
    let mut random = [0_u8; 12];
    getrandom::fill(&mut random)?;
    Ok(random.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
