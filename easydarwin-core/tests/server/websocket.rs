//! RTSP over WebSocket (ONVIF), with a client that is not ours.

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Server, Source, Witness, within};

async fn open(
    server: &Server,
    headers: &[(&'static str, &str)],
) -> Result<WebSocketStream<TcpStream>, Error> {
    let socket = TcpStream::connect(server.addr).await.unwrap();
    let mut request = format!("ws://{}/rtsp", server.addr)
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(*name, value);
    }
    within(client_async(request, socket))
        .await
        .map(|(socket, response)| {
            let chosen = response.headers().get("sec-websocket-protocol").unwrap();
            assert_eq!(chosen, "rtsp.onvif.org");
            socket
        })
}

const ONVIF: (&str, &str) = ("sec-websocket-protocol", "rtsp.onvif.org");

/// What comes, put together: messages of RTSP may come in any number of frames.
struct Incoming {
    socket: WebSocketStream<TcpStream>,
    bytes: Vec<u8>,
}

impl Incoming {
    async fn more(&mut self) {
        match within(self.socket.next()).await.unwrap().unwrap() {
            Message::Binary(bytes) => self.bytes.extend_from_slice(&bytes),
            Message::Pong(payload) => assert_eq!(&payload[..], b"there?"),
            other => panic!("{other:?}"),
        }
    }

    /// An interleaved frame's channel and packet.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let [b'$', channel, high, low, rest @ ..] = self.bytes.as_slice() {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if rest.len() >= length {
                    let frame = (*channel, rest[..length].to_vec());
                    self.bytes.drain(..4 + length);
                    return frame;
                }
            }
            self.more().await;
        }
    }

    async fn ask(&mut self, method: &str, url: &str, more: &str) -> String {
        let text = format!("{method} {url} RTSP/1.0\r\nCSeq: 1\r\n{more}\r\n");
        // In two messages: their bounds mean nothing.
        let (front, rest) = text.as_bytes().split_at(10);
        for piece in [front, rest] {
            let message = Message::Binary(piece.to_vec().into());
            within(self.socket.send(message)).await.unwrap();
        }
        loop {
            if self.bytes.first() == Some(&b'$') {
                self.frame().await;
                continue;
            }
            if let Some(end) = self.bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8(self.bytes.drain(..end + 4).collect()).unwrap();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "))
                    .map_or(0, |length| length.parse().unwrap());
                while self.bytes.len() < length {
                    self.more().await;
                }
                self.bytes.drain(..length);
                assert!(head.starts_with("RTSP/1.0 200"), "{head}");
                return head;
            }
            self.more().await;
        }
    }
}

#[tokio::test]
async fn played_in_binary_frames_with_pings_between() {
    let server = Server::open().await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = server.url("cam/1");
    let mut client = Incoming {
        socket: open(&server, &[ONVIF]).await.unwrap(),
        bytes: Vec::new(),
    };
    client.ask("DESCRIBE", &url, "").await;
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
    let set_up = client
        .ask("SETUP", &format!("{url}/trackID=0"), transport)
        .await;
    let session = set_up
        .lines()
        .find(|line| line.starts_with("Session: "))
        .and_then(|line| line.split(';').next())
        .map(|line| format!("{line}\r\n"))
        .unwrap();
    client.ask("PLAY", &url, &session).await;
    let mut last: Option<u16> = None;
    for _ in 0..20 {
        let ping = Message::Ping(b"there?".to_vec().into());
        within(client.socket.send(ping)).await.unwrap();
        let (channel, packet) = client.frame().await;
        if channel == 0 {
            let sequence = u16::from_be_bytes([packet[2], packet[3]]);
            assert!(last.is_none_or(|last| last.wrapping_add(1) == sequence));
            last = Some(sequence);
        }
    }
    client.ask("TEARDOWN", &url, &session).await;
    // A goodbye is answered with one.
    within(client.socket.close(None)).await.unwrap();
    while let Some(Ok(message)) = within(client.socket.next()).await {
        assert!(!matches!(message, Message::Binary(_)), "{message:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_no_client_of_ours_would_do_is_refused() {
    let server = Server::open().await;
    let _source = Source::start(server.hub(), "good");
    let witness = Witness::watch(&server, "good").await;
    for (headers, status) in [
        (vec![], 400),
        (vec![("sec-websocket-protocol", "mqtt")], 400),
        (vec![ONVIF, ("origin", "http://evil.example")], 403),
        (vec![ONVIF, ("sec-websocket-version", "8")], 426),
    ] {
        match open(&server, &headers).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), status, "{headers:?}"),
            other => panic!("{headers:?}: {other:?}"),
        }
    }
    open(&server, &[ONVIF, ("origin", "http://127.0.0.1:10080")])
        .await
        .unwrap();
    // Text has no place here: the connection ends.
    let mut socket = open(&server, &[ONVIF]).await.unwrap();
    socket.send(Message::Text("OPTIONS".into())).await.unwrap();
    while let Some(Ok(message)) = within(socket.next()).await {
        assert!(!matches!(message, Message::Text(_)), "{message:?}");
    }
    witness.fine().await;
    server.stop().await;
}
