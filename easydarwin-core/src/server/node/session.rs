use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc};

use super::idle::IdleWatch;
use super::{Inner, ServerHandle};
use crate::protocol::login::{DeviceKey, NONCE_LEN, nonce};
use crate::protocol::node::{
    Close, Demand, DemandAck, Endpoint, Grant, Join, JoinAck, NodeEvent, NodeStream, Report,
    ReportAck, Revoke, StreamChange, node_ack, node_serial,
};
use crate::protocol::{
    Envelope, EnvelopeError, ErrorNum, FrameError, FreeStream, MessageReader, MessageType,
    StreamRef,
};
use crate::registry::{Principal, StreamPath, UnixMillis, random_bytes};
use crate::relay::{CloseError, HubEvent, Stream, StreamEvent};

const USER_AGENT: &str = concat!("EasyDarwin/", env!("CARGO_PKG_VERSION"));
/// How long connecting, joining and writing may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What holds when the CMS does not say.
const BEAT: Duration = Duration::from_secs(2);
const LEASE: Duration = Duration::from_secs(6);
/// How often streams are looked at for viewers.
const LOOK: Duration = Duration::from_millis(500);

/// Why a link ended.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("connecting took longer than {} s", PATIENCE.as_secs())]
    ConnectTimeout,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the CMS closed the connection")]
    Closed,
    #[error("the CMS was silent for too long")]
    Silent,
    #[error("the CMS refuses: {0}; compare join keys and node ids")]
    Refused(String),
    #[error("the CMS does not know the join key itself; is it the right one?")]
    WrongCms,
    #[error("the CMS forgot this node")]
    Forgotten,
    #[error("what the CMS sends cannot be read: {0}")]
    Frame(#[from] FrameError),
    #[error("what the CMS sends makes no sense: {0}")]
    Message(#[from] EnvelopeError),
    #[error("the system gives no random numbers")]
    Random,
}

/// One connection to the CMS.
pub(super) struct Session<'a> {
    inner: &'a Inner,
    server: &'a ServerHandle,
    socket: TcpStream,
    reader: MessageReader,
    cseq: u32,
    epoch: u32,
    beat: Duration,
    lease: Duration,
    want_inventory: bool,
    idle: IdleWatch,
}

enum Wake {
    Read(usize),
    Event(Result<HubEvent, broadcast::error::RecvError>),
    Demand(Option<StreamPath>),
    Beat,
    Look,
}

impl<'a> Session<'a> {
    /// Joins and serves the link until it breaks. `attempt` is set to 0 once the node is accepted.
    pub(super) async fn run(
        inner: &'a Arc<Inner>,
        server: &'a ServerHandle,
        attempt: &mut u32,
    ) -> SessionError {
        match Self::try_run(inner, server, attempt).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn try_run(
        inner: &'a Inner,
        server: &'a ServerHandle,
        attempt: &mut u32,
    ) -> Result<std::convert::Infallible, SessionError> {
        let connecting = TcpStream::connect(inner.config.cms.as_str());
        let socket = tokio::time::timeout(PATIENCE, connecting)
            .await
            .map_err(|_| SessionError::ConnectTimeout)?
            .map_err(SessionError::Connect)?;
        socket.set_nodelay(true)?;
        let mut session = Session {
            inner,
            server,
            socket,
            reader: MessageReader::default(),
            cseq: 0,
            epoch: 0,
            beat: BEAT,
            lease: LEASE,
            want_inventory: true,
            idle: IdleWatch::new(inner.config.idle),
        };
        // Subscribed before the inventory is made, so that nothing falls between the two.
        let events = server.hub().events();
        tokio::time::timeout(PATIENCE, session.join())
            .await
            .map_err(|_| SessionError::Silent)??;
        *attempt = 0;
        tracing::info!(cms = %inner.config.cms, node = %inner.config.node_id, "joined the CMS");
        session.report().await?;
        let demands = inner.session_begins();
        session.serve(events, demands).await
    }

    async fn join(&mut self) -> Result<(), SessionError> {
        let config = &self.inner.config;
        let key = DeviceKey::new(&config.join_key, &node_serial(&config.node_id));
        let random = random_bytes::<NONCE_LEN>().map_err(|_| SessionError::Random)?;
        let client_nonce = nonce(random);
        let endpoints = self.endpoints()?;
        let mut join = Join::new(config.node_id.as_str(), client_nonce.as_str(), endpoints);
        join.version = env!("CARGO_PKG_VERSION").to_owned();
        let challenge = self.ask_to_join(&join).await?;
        let Some(nonce) = challenge.nonce else {
            return Err(SessionError::Refused(challenge.error.to_string()));
        };
        join.proof = Some(key.proof(&client_nonce, &nonce));
        join.nonce = Some(nonce.clone());
        let ack = self.ask_to_join(&join).await?;
        if !ack.error.is_success() {
            return Err(SessionError::Refused(ack.error.to_string()));
        }
        let proof = ack.server_proof.unwrap_or_default();
        if !key.check_server(&client_nonce, &nonce, &proof) {
            return Err(SessionError::WrongCms);
        }
        let keys: Vec<_> = ack.keys.into_iter().map(|key| key.key).collect();
        self.inner.set_keys(&keys);
        self.inner.clock.set(UnixMillis(ack.time_ms));
        self.epoch = ack.epoch;
        if ack.beat_ms > 0 {
            self.beat = Duration::from_millis(ack.beat_ms);
        }
        if ack.lease_ms > 0 {
            self.lease = Duration::from_millis(ack.lease_ms);
        }
        Ok(())
    }

    async fn ask_to_join(&mut self, join: &Join) -> Result<JoinAck, SessionError> {
        let cseq = self.next_cseq();
        self.send(&join.to_envelope(cseq)).await?;
        loop {
            while let Some(frame) = self.reader.next_message()? {
                let message = frame.envelope()?;
                if message.kind() == Some(MessageType::NodeJoinAck) {
                    return Ok(JoinAck::from_envelope(&message)?);
                }
            }
            let mut buffer = [0; 4096];
            let count = self.socket.read(&mut buffer).await?;
            if count == 0 {
                return Err(SessionError::Closed);
            }
            self.reader.push(buffer.get(..count).unwrap_or_default());
        }
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, SessionError> {
        let config = &self.inner.config;
        if !config.endpoints.is_empty() {
            return Ok(config.endpoints.clone());
        }
        let host = match &config.advertise {
            Some(host) => host.clone(),
            None => self.socket.local_addr()?.ip().to_canonical().to_string(),
        };
        let http = self.server.http_addr().map(|address| address.port());
        let rtsp = self.server.rtsp_addr().port();
        #[cfg_attr(not(feature = "tls"), expect(unused_mut))]
        let mut endpoint = Endpoint::wan(host, rtsp, http);
        #[cfg(feature = "tls")]
        {
            endpoint.rtsps = self.server.rtsps_addr().map(|address| address.port());
        }
        Ok(vec![endpoint])
    }

    async fn serve(
        &mut self,
        mut events: broadcast::Receiver<HubEvent>,
        mut demands: mpsc::Receiver<StreamPath>,
    ) -> Result<std::convert::Infallible, SessionError> {
        let mut beat = tokio::time::interval(self.beat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        beat.reset();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut buffer = vec![0; 16 * 1024];
        let mut heard = Instant::now();
        loop {
            let wake = tokio::select! {
                count = self.socket.read(&mut buffer) => Wake::Read(count?),
                event = events.recv() => Wake::Event(event),
                path = demands.recv() => Wake::Demand(path),
                _ = beat.tick() => Wake::Beat,
                _ = look.tick() => Wake::Look,
            };
            match wake {
                Wake::Read(0) => return Err(SessionError::Closed),
                Wake::Read(count) => {
                    heard = Instant::now();
                    self.reader.push(buffer.get(..count).unwrap_or_default());
                    while let Some(frame) = self.reader.next_message()? {
                        self.on_message(&frame.envelope()?).await?;
                    }
                }
                Wake::Event(Ok(event)) => self.on_event(event).await?,
                Wake::Event(Err(broadcast::error::RecvError::Lagged(_))) => {
                    self.want_inventory = true;
                    self.report().await?;
                }
                // The server ends; so will this, by its token.
                Wake::Event(Err(broadcast::error::RecvError::Closed)) | Wake::Demand(None) => {
                    return Err(SessionError::Closed);
                }
                Wake::Demand(Some(path)) => {
                    let demand = Demand {
                        path: path.as_str().to_owned(),
                    };
                    let cseq = self.next_cseq();
                    self.send(&demand.to_envelope(cseq)).await?;
                }
                Wake::Beat => {
                    if heard.elapsed() > self.lease {
                        return Err(SessionError::Silent);
                    }
                    self.report().await?;
                }
                Wake::Look => self.look().await?,
            }
        }
    }

    async fn on_message(&mut self, message: &Envelope) -> Result<(), SessionError> {
        match message.kind() {
            Some(MessageType::NodeReportAck) => {
                let ack = ReportAck::from_envelope(message)?;
                if !ack.error.is_success() {
                    return Err(SessionError::Forgotten);
                }
                self.inner.clock.set(UnixMillis(ack.time_ms));
                if ack.want_inventory || ack.epoch != self.epoch {
                    self.epoch = ack.epoch;
                    self.want_inventory = true;
                    self.report().await?;
                }
            }
            Some(MessageType::NodeDemandAck) => {
                self.inner.answered(&DemandAck::from_envelope(message)?);
            }
            Some(MessageType::NodeGrantReq) => {
                let result = self.on_grant(&Grant::from_envelope(message)?);
                self.acknowledge(message, result).await?;
            }
            Some(MessageType::NodeCloseReq) => {
                let result = self.on_close(&Close::from_envelope(message)?);
                self.acknowledge(message, result).await?;
            }
            Some(MessageType::NodeRevokeReq) => {
                let result = match Revoke::from_envelope(message) {
                    Ok(revoke) => self.on_revoke(revoke),
                    Err(error) => {
                        tracing::error!(%error, "a revocation cannot be read; is the CMS newer?");
                        ErrorNum::BAD_REQUEST
                    }
                };
                self.send(&Revoke::ack(message, result)).await?;
            }
            // Answers that need no action, and what a newer CMS may say.
            _ => {}
        }
        Ok(())
    }

    fn on_grant(&self, grant: &Grant) -> ErrorNum {
        let Ok(path) = StreamPath::parse(&grant.path) else {
            return ErrorNum::BAD_REQUEST;
        };
        let ttl = Duration::from_secs(grant.ttl_s);
        let now = self.inner.clock.now();
        self.inner
            .grants
            .grant(path, grant.generation, grant.source, ttl, now);
        ErrorNum::OK
    }

    fn on_close(&self, close: &Close) -> ErrorNum {
        let Ok(path) = StreamPath::parse(&close.path) else {
            return ErrorNum::BAD_REQUEST;
        };
        let hub = self.server.hub();
        match hub.close(&path, Some(close.generation), close.if_idle) {
            Ok(()) => ErrorNum::OK,
            Err(CloseError::NotFound) => ErrorNum::NOT_FOUND,
            Err(CloseError::Superseded(_) | CloseError::InUse(_)) => ErrorNum::CONFLICT,
        }
    }

    /// Sessions that run watch the list themselves.
    fn on_revoke(&self, revoke: Revoke) -> ErrorNum {
        let now = self.inner.clock.now();
        for revocation in &revoke.revocations {
            tracing::info!(what = ?revocation.what, "rights are taken back");
            self.inner.grants.withdraw(&revocation.what);
        }
        let list = self.inner.verifier.revocations();
        list.raise_floor(revoke.floor);
        list.revoke(revoke.revocations, now);
        ErrorNum::OK
    }

    async fn acknowledge(
        &mut self,
        request: &Envelope,
        result: ErrorNum,
    ) -> Result<(), SessionError> {
        match node_ack(request, result) {
            Some(answer) => self.send(&answer).await,
            None => Ok(()),
        }
    }

    async fn on_event(&mut self, event: HubEvent) -> Result<(), SessionError> {
        let (change, reason) = match event.event {
            StreamEvent::Published { .. } => (StreamChange::Published, None),
            StreamEvent::Ready => (StreamChange::Ready, None),
            StreamEvent::Ended { reason } => (StreamChange::Ended, Some(reason)),
            StreamEvent::ReaderJoined { .. } => {
                self.idle.viewed(&event.path);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let mut stream = match self.server.hub().get(&event.path) {
            Some(stream) => describe(&stream),
            None => NodeStream::new(event.path.as_str(), event.generation),
        };
        // The hub may be further than the event.
        stream.generation = event.generation;
        stream.ready = change == StreamChange::Ready;
        let mut message = NodeEvent::new(change, stream);
        message.reason = reason.map(|reason| reason.to_string()).unwrap_or_default();
        let cseq = self.next_cseq();
        self.send(&message.to_envelope(cseq)).await
    }

    /// Tells the CMS of streams that nobody views; it decides what becomes of them.
    async fn look(&mut self) -> Result<(), SessionError> {
        let streams = self.server.hub().streams();
        let streams = streams
            .iter()
            .map(|stream| (stream.path().clone(), stream.generation(), stream.viewers()));
        for (path, generation) in self.idle.look(streams, Instant::now()) {
            // Streams of others than devices are nobody's to stop.
            let Some((serial, channel)) = path.as_device() else {
                continue;
            };
            tracing::debug!(%path, generation, "nobody views the stream");
            let free = FreeStream::new(StreamRef::new(serial, channel), Some(generation));
            let cseq = self.next_cseq();
            self.send(&free.to_envelope(cseq)).await?;
        }
        Ok(())
    }

    async fn report(&mut self) -> Result<(), SessionError> {
        let hub = self.server.hub();
        let info = hub.info();
        let full = std::mem::take(&mut self.want_inventory);
        let report = Report {
            load_permille: self.server.load_permille(),
            streams: count(info.streams),
            viewers: count(info.viewers),
            clock_ms: Some(UnixMillis::system().0),
            inventory: full.then(|| hub.streams().iter().map(describe).collect()),
        };
        let cseq = self.next_cseq();
        self.send(&report.to_envelope(cseq)).await
    }

    async fn send(&mut self, message: &Envelope) -> Result<(), SessionError> {
        let is_answer = message.error().is_some();
        let bytes = if is_answer {
            message.to_response(USER_AGENT)
        } else {
            message.to_request(USER_AGENT)
        };
        tokio::time::timeout(PATIENCE, self.socket.write_all(&bytes))
            .await
            .map_err(|_| SessionError::Silent)??;
        Ok(())
    }

    fn next_cseq(&mut self) -> u32 {
        self.cseq = self.cseq.wrapping_add(1);
        self.cseq
    }
}

fn describe(stream: &Stream) -> NodeStream {
    let mut described = NodeStream::new(stream.path().as_str(), stream.generation());
    described.viewers = count(stream.viewers());
    described.ready = stream.is_ready();
    described.publisher = match stream.principal() {
        Principal::Anonymous => "anonymous".into(),
        Principal::Device { serial, .. } => format!("device {serial}"),
        Principal::Named(name) => name.to_string(),
    };
    described
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
