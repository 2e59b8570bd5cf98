//! One device: registers, keeps alive, publishes when asked, comes back when cut off.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use easydarwin_benches::handshake;
use easydarwin_core::protocol::login::{DeviceKey, ED1, NONCE_LEN, nonce};
use easydarwin_core::protocol::{
    Envelope, ErrorNum, FrameLimits, MessageReader, MessageType, PushAck, PushRequest, Register,
    RegisterAck, Snapshot, StopAck, StopRequest, UploadAck, UploadRequest, UploadTicket,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use easydarwin_benches::load::stats::Histogram;

use super::backoff::{Backoff, Random};
use super::identity::Identity;
use super::pacer::Pacer;
use super::tls::{self, Stream};

const AGENT: &str = "fleet";

/// Between two registers.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Between two snapshots of a device.
pub const SNAPSHOT: Duration = Duration::from_secs(180);

/// How long an answer is waited for: the original's Android device gives up then.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bits a second of the streams that viewers watch.
pub const BITRATE: u64 = 2_000_000;

/// Bits a second of all others: enough for a first picture.
const LITTLE: u64 = 60_000;

/// What all devices of a process share.
pub struct Fleet {
    /// Port of the server.
    pub port: u16,
    /// The server is the null server: there is no login.
    pub null: bool,
    /// Devices speak TLS.
    pub tls: Option<TlsConnector>,
    /// Share of devices with keys.
    pub ed1_share: f64,
    /// As many devices publish full streams when asked.
    pub streams: usize,
    /// Snapshots are sent from now on.
    pub snapshots: AtomicBool,
    /// How they travel.
    pub way: Way,
    /// A snapshot, and the same in base64.
    pub picture: (Vec<u8>, String),
    /// Who publishes.
    pub pacer: Arc<Pacer>,
    /// What happened.
    pub counts: Counts,
}

/// How snapshots travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// In messages of the device's connection.
    Message,
    /// By HTTP PUT over a connection for each.
    Put,
}

/// What happened to the devices.
#[derive(Debug, Default)]
pub struct Counts {
    /// Devices that are registered now.
    pub registered: AtomicUsize,
    /// Registers that were refused.
    pub refused: AtomicU64,
    /// Connections that ended, or could not be made.
    pub ended: AtomicU64,
    /// Keep-alives that were answered.
    pub answers: AtomicU64,
    /// Bytes of those answers.
    pub answer_bytes: AtomicU64,
    /// Snapshots that were taken.
    pub snapshots: AtomicU64,
    /// Streams that could not be published.
    pub unpublished: AtomicU64,
    /// From keep-alive to answer.
    pub delays: Mutex<Histogram>,
}

impl Counts {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A device that lives until its process ends.
pub async fn run(fleet: Arc<Fleet>, index: usize) {
    let identity = Identity::new(index, fleet.ed1_share);
    let key = identity.key().filter(|_| !fleet.null);
    let mut random = Random(0x5eed ^ (index as u64) << 20);
    let mut backoff = Backoff::new(random.draw());
    loop {
        let mut device = Device {
            fleet: &fleet,
            identity: &identity,
            key: key.as_ref(),
            reader: MessageReader::new(FrameLimits::default()),
            cseq: 0,
            got: 0,
        };
        let _: Result<(), Ended> = device.connection(&mut random, &mut backoff).await;
        Counts::add(&fleet.counts.ended);
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    Io,
    Refused,
    Silent,
    Framing,
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

/// Counts a device as registered while it is.
struct Registered<'a>(&'a AtomicUsize);

impl<'a> Registered<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Device<'a> {
    fleet: &'a Arc<Fleet>,
    identity: &'a Identity,
    key: Option<&'a DeviceKey>,
    reader: MessageReader,
    cseq: u32,
    /// Bytes that came since the last message.
    got: usize,
}

impl Device<'_> {
    async fn connection(
        &mut self,
        random: &mut Random,
        backoff: &mut Backoff,
    ) -> Result<(), Ended> {
        let identity = self.identity;
        let stream = connect(self.fleet, identity.source().into(), identity.destination()).await?;
        let Some(connector) = &self.fleet.tls else {
            return self.talk(stream, random, backoff).await;
        };
        let session = secured(connector, stream).await?;
        self.talk(session, random, backoff).await
    }

    async fn talk(
        &mut self,
        mut stream: impl Stream,
        random: &mut Random,
        backoff: &mut Backoff,
    ) -> Result<(), Ended> {
        if let Err(ended) = self.login(&mut stream, random).await {
            if matches!(ended, Ended::Refused) {
                Counts::add(&self.fleet.counts.refused);
            }
            return Err(ended);
        }
        backoff.reset();
        let _registered = Registered::new(&self.fleet.counts.registered);
        self.stay(&mut stream, random).await
    }

    async fn login(&mut self, stream: &mut impl Stream, random: &mut Random) -> Result<(), Ended> {
        let mut register = self.identity.register();
        let Some(key) = self.key else {
            let ack = self.ask(stream, &register).await?;
            return accepted(&ack);
        };
        let mut bytes = [0; NONCE_LEN];
        for byte in &mut bytes {
            *byte = random.draw() as u8;
        }
        let client_nonce = nonce(bytes);
        register.auth = Some(ED1.to_owned());
        register.client_nonce = Some(client_nonce.clone());
        let challenge = self.ask(stream, &register).await?;
        let nonce = challenge.nonce.ok_or(Ended::Refused)?;
        register.proof = Some(key.proof(&client_nonce, &nonce));
        register.nonce = Some(nonce.clone());
        let ack = self.ask(stream, &register).await?;
        accepted(&ack)?;
        let proven = ack
            .server_proof
            .is_some_and(|proof| key.check_server(&client_nonce, &nonce, &proof));
        proven.then_some(()).ok_or(Ended::Refused)
    }

    /// Sends a register and waits for its answer.
    async fn ask(
        &mut self,
        stream: &mut impl Stream,
        register: &Register,
    ) -> Result<RegisterAck, Ended> {
        self.cseq += 1;
        let request = register.to_envelope(self.cseq).to_request(AGENT);
        stream.write_all(&request).await?;
        loop {
            let message = tokio::time::timeout(PATIENCE, self.message(stream))
                .await
                .map_err(|_| Ended::Silent)??;
            if let Ok(ack) = RegisterAck::from_envelope(&message) {
                return Ok(ack);
            }
        }
    }

    /// Waits for the next message. May be dropped and called again.
    async fn message(&mut self, stream: &mut impl Stream) -> Result<Envelope, Ended> {
        loop {
            let message = self.reader.next_message().map_err(|_| Ended::Framing)?;
            if let Some(message) = message {
                return message.envelope().map_err(|_| Ended::Framing);
            }
            let mut piece = [0; 2048];
            let length = stream.read(&mut piece).await?;
            if length == 0 {
                return Err(Ended::Io);
            }
            self.got += length;
            self.reader.push(piece.get(..length).unwrap_or_default());
        }
    }

    async fn stay(&mut self, stream: &mut impl Stream, random: &mut Random) -> Result<(), Ended> {
        let now = Instant::now();
        // Whatever brought all devices here in the same moment, they keep alive at all times.
        let mut next_register = now + random.up_to(KEEP_ALIVE);
        let mut next_snapshot: Option<Instant> = None;
        let mut asked: Option<Instant> = None;
        loop {
            let due = asked.map_or(next_register, |at| at + PATIENCE);
            let message = tokio::select! {
                message = self.message(stream) => message?,
                () = tokio::time::sleep_until(due.into()) => {
                    if asked.is_some() {
                        return Err(Ended::Silent);
                    }
                    self.cseq += 1;
                    let now = Instant::now();
                    next_register = now + KEEP_ALIVE;
                    if next_snapshot.is_none() && self.fleet.snapshots.load(Ordering::Relaxed) {
                        next_snapshot = Some(now + random.up_to(SNAPSHOT));
                    }
                    let message = if next_snapshot.is_some_and(|at| now >= at) {
                        next_snapshot = Some(now + SNAPSHOT);
                        let serial = self.identity.serial.clone();
                        match self.fleet.way {
                            Way::Message => {
                                let picture = self.fleet.picture.1.as_str();
                                Snapshot::jpeg(serial, 1, picture).to_envelope(self.cseq)
                            }
                            Way::Put => {
                                UploadRequest { serial, channel: 1 }.to_envelope(self.cseq)
                            }
                        }
                    } else {
                        self.identity.register().to_envelope(self.cseq)
                    };
                    self.got = 0;
                    asked = Some(now);
                    stream.write_all(&message.to_request(AGENT)).await?;
                    continue;
                }
            };
            let counts = &self.fleet.counts;
            match message.kind() {
                Some(MessageType::RegisterAck) => {
                    let ack = RegisterAck::from_envelope(&message).map_err(|_| Ended::Framing)?;
                    accepted(&ack)?;
                    if let Some(asked) = asked.take() {
                        counts.delays.lock().add(asked.elapsed());
                    }
                    Counts::add(&counts.answers);
                    let got = std::mem::take(&mut self.got) as u64;
                    counts.answer_bytes.fetch_add(got, Ordering::Relaxed);
                }
                Some(MessageType::PostSnapAck) => {
                    asked = None;
                    if message.error().is_some_and(ErrorNum::is_success) {
                        Counts::add(&counts.snapshots);
                    }
                }
                Some(MessageType::UploadAck) => {
                    asked = None;
                    let ack = UploadAck::from_envelope(&message).map_err(|_| Ended::Framing)?;
                    if let Some(ticket) = ack.upload {
                        let fleet = self.fleet.clone();
                        let (from, to) =
                            (self.identity.source().into(), self.identity.destination());
                        tokio::spawn(async move {
                            if let Ok(true) = put(&fleet, from, to, &ticket).await {
                                Counts::add(&fleet.counts.snapshots);
                            }
                        });
                    }
                }
                Some(MessageType::PushStreamReq) => self.push(stream, &message).await?,
                Some(MessageType::StopStreamReq) => {
                    let request = StopRequest::from_envelope(&message);
                    let request = request.map_err(|_| Ended::Framing)?;
                    self.fleet.pacer.remove(self.identity.index);
                    let ack = StopAck::answer(&request, ErrorNum::OK);
                    let ack = ack.to_envelope(&message.cseq()).to_request(AGENT);
                    stream.write_all(&ack).await?;
                }
                _ => {}
            }
        }
    }

    /// Agrees, and publishes from a thread of its own.
    async fn push(&self, stream: &mut impl Stream, message: &Envelope) -> Result<(), Ended> {
        let request = PushRequest::from_envelope(message).map_err(|_| Ended::Framing)?;
        let ack = PushAck::answer(&request, ErrorNum::OK);
        let ack = ack.to_envelope(&message.cseq()).to_request(AGENT);
        stream.write_all(&ack).await?;
        let (fleet, index) = (self.fleet.clone(), self.identity.index);
        let source = self.identity.source();
        tokio::task::spawn_blocking(move || {
            let path = format!("{}/{}", request.serial, request.channel);
            let token = request.stream_id.as_deref();
            let published = request
                .server_ip
                .parse()
                .map_err(io::Error::other)
                .map(|ip| SocketAddr::new(ip, request.server_port))
                .and_then(|server| {
                    handshake::publish_as_device(server, &path, source.into(), token)
                });
            match published {
                Ok(tcp) => {
                    let bitrate = if index < fleet.streams {
                        BITRATE
                    } else {
                        LITTLE
                    };
                    fleet.pacer.add(index, tcp, bitrate);
                }
                Err(error) => {
                    eprintln!("device {index} cannot publish: {error}");
                    Counts::add(&fleet.counts.unpublished);
                }
            }
        });
        Ok(())
    }
}

async fn connect(fleet: &Fleet, from: IpAddr, to: IpAddr) -> Result<TcpStream, Ended> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let connecting = socket.connect(SocketAddr::new(to, fleet.port));
    let stream = tokio::time::timeout(PATIENCE, connecting)
        .await
        .map_err(|_| Ended::Silent)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn secured(
    connector: &TlsConnector,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Ended> {
    let session = connector.connect(tls::server()?, stream);
    let session = tokio::time::timeout(PATIENCE, session)
        .await
        .map_err(|_| Ended::Silent)??;
    Ok(session)
}

/// Puts a picture. Whether it was taken.
async fn put(
    fleet: &Fleet,
    from: IpAddr,
    to: IpAddr,
    ticket: &UploadTicket,
) -> Result<bool, Ended> {
    let picture = &fleet.picture.0;
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: {to}:{}\r\nAuthorization: Bearer {}\r\nContent-Type: image/jpeg\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        ticket.path,
        fleet.port,
        ticket.ticket,
        picture.len()
    );
    let stream = connect(fleet, from, to).await?;
    let answer = match &fleet.tls {
        None => exchange(stream, &head, picture).await,
        Some(connector) => exchange(secured(connector, stream).await?, &head, picture).await,
    };
    Ok(answer?.starts_with(b"HTTP/1.1 20"))
}

async fn exchange(mut stream: impl Stream, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn accepted(ack: &RegisterAck) -> Result<(), Ended> {
    if ack.error.is_success() {
        Ok(())
    } else {
        Err(Ended::Refused)
    }
}
