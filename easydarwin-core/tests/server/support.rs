//! A server in this process, a small RTSP client that can also misbehave, a good stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use easydarwin_core::media::{G711Law, SessionDescription, Track};
use easydarwin_core::registry::{AllowAll, Principal, StreamPath};
use easydarwin_core::relay::Hub;
use easydarwin_core::server::{MediaServer, MediaServerBuilder, ServerHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Nothing in these tests takes so long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: ServerHandle,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// A server that lets everybody do everything.
    pub(crate) async fn open() -> Self {
        Self::of(MediaServer::builder().authorizer(AllowAll)).await
    }

    pub(crate) async fn of(builder: MediaServerBuilder) -> Self {
        let server = builder.build().await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let addr = server.rtsp_addr();
        let handle = server.handle();
        let task = tokio::spawn(async move {
            server
                .run(async {
                    let _ = stopped.await;
                })
                .await
                .unwrap();
        });
        Self {
            addr,
            handle,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        self.handle.hub()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.addr)
    }

    pub(crate) async fn connect(&self) -> Rtsp {
        Rtsp::connect(self.addr).await
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        within(self.task).await.unwrap();
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("took too long")
}

#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn session(&self) -> String {
        let value = self.header("Session").expect("a session");
        value.split(';').next().unwrap().to_owned()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

#[derive(Debug)]
pub(crate) enum Message {
    Response(Response),
    Frame(u8, Vec<u8>),
}

/// An RTSP client that does as it is told.
pub(crate) struct Rtsp {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
    cseq: u32,
    pub(crate) session: Option<String>,
}

impl Rtsp {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::over(within(TcpStream::connect(addr)).await.unwrap())
    }

    pub(crate) fn over(socket: TcpStream) -> Self {
        Self {
            socket,
            buffer: Vec::new(),
            cseq: 0,
            session: None,
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within(self.socket.write_all(bytes)).await.unwrap();
    }

    /// `None`: the peer closed the connection (or cut it).
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.parse() {
                return Some(message);
            }
            let mut chunk = [0; 16 * 1024];
            match within(self.socket.read(&mut chunk)).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }

    fn parse(&mut self) -> Option<Message> {
        if self.buffer.first() == Some(&b'$') {
            if self.buffer.len() < 4 {
                return None;
            }
            let length = usize::from(u16::from_be_bytes([self.buffer[2], self.buffer[3]]));
            if self.buffer.len() < 4 + length {
                return None;
            }
            let channel = self.buffer[1];
            let frame: Vec<u8> = self.buffer.drain(..4 + length).skip(4).collect();
            return Some(Message::Frame(channel, frame));
        }
        let end = self.buffer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status_line = lines.next().unwrap();
        assert!(status_line.starts_with("RTSP/1.0 "), "{status_line:?}");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case("Content-Length"))
            .map_or(0, |(_, value)| value.parse::<usize>().unwrap());
        if self.buffer.len() < end + length {
            return None;
        }
        let body = self.buffer[end..end + length].to_vec();
        self.buffer.drain(..end + length);
        let mut words = status_line.splitn(3, ' ').skip(1);
        Some(Message::Response(Response {
            status: words.next().unwrap().parse().unwrap(),
            reason: words.next().unwrap_or_default().to_owned(),
            headers,
            body,
        }))
    }

    pub(crate) async fn write_request(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        self.cseq += 1;
        let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.cseq);
        if let Some(session) = &self.session {
            text += &format!("Session: {session}\r\n");
        }
        for (key, value) in headers {
            text += &format!("{key}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += body;
        self.send(text.as_bytes()).await;
    }

    /// The next response; frames before it are thrown away.
    pub(crate) async fn response(&mut self) -> Response {
        loop {
            match self.next().await.expect("a response") {
                Message::Response(response) => return response,
                Message::Frame(..) => {}
            }
        }
    }

    pub(crate) async fn request(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        self.write_request(method, url, headers, body).await;
        let response = self.response().await;
        assert_eq!(response.header("CSeq"), Some(&*self.cseq.to_string()));
        if response.status == 200 && response.header("Session").is_some() {
            self.session = Some(response.session());
        }
        response
    }

    pub(crate) async fn describe(&mut self, url: &str) -> Response {
        self.request("DESCRIBE", url, &[("Accept", "application/sdp")], "")
            .await
    }

    pub(crate) async fn set_up(&mut self, url: &str, transport: &str) -> Response {
        self.request("SETUP", url, &[("Transport", transport)], "")
            .await
    }

    /// DESCRIBE, SETUP of the first track over TCP, PLAY: all must succeed.
    pub(crate) async fn play(&mut self, url: &str) {
        assert_eq!(self.describe(url).await.status, 200);
        let track = format!("{url}/trackID=0");
        let response = self
            .set_up(&track, "RTP/AVP/TCP;unicast;interleaved=0-1")
            .await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(self.request("PLAY", url, &[], "").await.status, 200);
    }

    /// The next RTP packet on channel 0.
    pub(crate) async fn packet(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.next().await? {
                Message::Frame(0, packet) => return Some(packet),
                Message::Frame(..) | Message::Response(_) => {}
            }
        }
    }

    /// Whether the server closes this connection; what it still sends is thrown away.
    pub(crate) async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }
}

pub(crate) fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

/// An SDP with one G.711 track: the simplest thing that can be published.
pub(crate) const AUDIO_SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\n\
    t=0 0\r\nm=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:streamid=0\r\n";

/// An RTP packet of 20 ms of G.711.
pub(crate) fn audio_packet(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(0x1234_5678_u32.to_be_bytes());
    packet.extend([0xd5; 160]);
    packet
}

/// The packet as it goes over TCP.
pub(crate) fn interleaved(channel: u8, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'$', channel];
    frame.extend(u16::try_from(packet.len()).unwrap().to_be_bytes());
    frame.extend(packet);
    frame
}

pub(crate) fn path(text: &str) -> StreamPath {
    StreamPath::parse(text).unwrap()
}

/// A stream published from code, 50 packets a second.
pub(crate) struct Source {
    task: JoinHandle<()>,
}

impl Source {
    pub(crate) fn start(hub: &Hub, name: &str) -> Self {
        let description = SessionDescription {
            name: name.to_owned(),
            tracks: vec![Track::g711(G711Law::A)],
            ..SessionDescription::default()
        };
        let mut publisher = hub
            .publish(&path(name), description, Principal::Named("test".into()))
            .unwrap();
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            let mut sequence = 0_u16;
            loop {
                tick.tick().await;
                let now = Instant::now();
                publisher.push_rtp(0, &audio_packet(sequence), now);
                if !publisher.flush(now) {
                    return;
                }
                sequence = sequence.wrapping_add(1);
            }
        });
        Self { task }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A player of a good stream: whatever others do, it must get every packet, and in time.
pub(crate) struct Witness {
    received: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Witness {
    pub(crate) async fn watch(server: &Server, name: &str) -> Self {
        let mut client = server.connect().await;
        client.play(&server.url(name)).await;
        let received = Arc::new(AtomicU64::new(0));
        let count = received.clone();
        let task = tokio::spawn(async move {
            let mut last: Option<u16> = None;
            loop {
                let packet = client.packet().await.expect("the good stream goes on");
                let sequence = sequence(&packet);
                if let Some(last) = last {
                    assert_eq!(sequence, last.wrapping_add(1), "a packet was lost");
                }
                last = Some(sequence);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let witness = Self { received, task };
        witness.fine().await;
        witness
    }

    /// Waits for some more packets; fails if any was lost.
    pub(crate) async fn fine(&self) {
        let before = self.received.load(Ordering::Relaxed);
        within(async {
            while self.received.load(Ordering::Relaxed) < before + 5 {
                assert!(!self.task.is_finished(), "the good stream was disturbed");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Publishes the audio track over TCP and keeps the connection.
pub(crate) async fn publish(client: &mut Rtsp, url: &str) -> Response {
    let announced = client
        .request(
            "ANNOUNCE",
            url,
            &[("Content-Type", "application/sdp")],
            AUDIO_SDP,
        )
        .await;
    if announced.status != 200 {
        return announced;
    }
    let track = format!("{url}/streamid=0");
    let response = client
        .set_up(&track, "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")
        .await;
    if response.status != 200 {
        return response;
    }
    client.request("RECORD", url, &[], "").await
}
