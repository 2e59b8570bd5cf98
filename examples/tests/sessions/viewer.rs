//! Viewers of every kind, with the URL that the CMS gives for their key.

use std::net::SocketAddr;

use easydarwin_core::client::{ClientOptions, Player};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::platform::{Platform, within};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rtsp,
    WebSocket,
    Hls,
    Fmp4,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Rtsp, Self::WebSocket, Self::Hls, Self::Fmp4];

    fn protocol(self) -> &'static str {
        match self {
            Self::Rtsp => "RTSP",
            Self::WebSocket => "WS",
            Self::Hls => "HLS",
            Self::Fmp4 => "FMP4",
        }
    }
}

pub(crate) struct Viewer {
    pub(crate) kind: Kind,
    url: String,
    session: Session,
}

enum Session {
    Rtsp(Box<Player>),
    WebSocket(Box<WebSocketStream<TcpStream>>),
    /// Nothing stays open.
    Hls,
    Fmp4(TcpStream),
}

impl Viewer {
    pub(crate) async fn of(platform: &Platform, serial: &str, kind: Kind, key: &str) -> Self {
        let target = format!(
            "/api/v1/getdevicestream?device={serial}&protocol={}",
            kind.protocol()
        );
        // A key that was just made is known within a second.
        let (status, body) = within(async {
            loop {
                let answer = get(platform.address, &target, Some(key)).await;
                if answer.0 != 401 {
                    return answer;
                }
            }
        })
        .await;
        assert_eq!(status, 200);
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let answer = &answer["EasyDarwin"];
        assert_eq!(answer["Header"]["ErrorNum"], "200", "{answer}");
        let url = answer["Body"]["URL"].as_str().unwrap().to_owned();
        let session = open(kind, &url).await.expect("a session");
        Self { kind, url, session }
    }

    /// Whether something new comes.
    pub(crate) async fn sees(&mut self) -> bool {
        match &mut self.session {
            Session::Rtsp(player) => matches!(within(player.next_packet()).await, Ok(Some(_))),
            Session::WebSocket(socket) => {
                let next = within(socket.next()).await;
                matches!(next, Some(Ok(Message::Text(_) | Message::Binary(_))))
            }
            Session::Hls => self.playlist().await == 200,
            Session::Fmp4(socket) => {
                let mut piece = [0; 4096];
                matches!(within(socket.read(&mut piece)).await, Ok(count) if count > 0)
            }
        }
    }

    /// Waits for the end.
    pub(crate) async fn ends(&mut self) {
        if let Session::WebSocket(socket) = &mut self.session {
            loop {
                match within(socket.next()).await {
                    Some(Ok(Message::Close(frame))) => {
                        let frame = frame.expect("a reason");
                        assert_eq!(u16::from(frame.code), 1008, "{frame:?}");
                        return;
                    }
                    Some(Ok(_)) => {}
                    other => panic!("no goodbye: {other:?}"),
                }
            }
        }
        while self.sees().await {}
    }

    /// Whether the same URL opens another session.
    pub(crate) async fn may_come_again(&self) -> bool {
        open(self.kind, &self.url).await.is_some()
    }

    async fn playlist(&self) -> u16 {
        let (address, target) = split(&self.url);
        get(address, &target, None).await.0
    }
}

async fn open(kind: Kind, url: &str) -> Option<Session> {
    match kind {
        Kind::Rtsp => {
            let player = within(Player::connect(url, ClientOptions::default())).await;
            player.ok().map(|player| Session::Rtsp(Box::new(player)))
        }
        Kind::WebSocket => {
            let socket = connect(split(url).0).await;
            let opened = within(tokio_tungstenite::client_async(url, socket)).await;
            opened
                .ok()
                .map(|(socket, _)| Session::WebSocket(Box::new(socket)))
        }
        Kind::Hls => {
            let (address, target) = split(url);
            (get(address, &target, None).await.0 == 200).then_some(Session::Hls)
        }
        Kind::Fmp4 => {
            let (address, target) = split(url);
            let mut socket = connect(address).await;
            ask(&mut socket, address, &target, None).await;
            let mut begin = [0; 12];
            within(socket.read_exact(&mut begin)).await.unwrap();
            begin.ends_with(b"200").then_some(Session::Fmp4(socket))
        }
    }
}

async fn connect(to: SocketAddr) -> TcpStream {
    within(TcpStream::connect(to)).await.unwrap()
}

async fn ask(socket: &mut TcpStream, address: SocketAddr, target: &str, key: Option<&str>) {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if let Some(key) = key {
        request += &format!("Authorization: Bearer {key}\r\n");
    }
    request += "\r\n";
    within(socket.write_all(request.as_bytes())).await.unwrap();
}

/// Status and body.
pub(crate) async fn get(to: SocketAddr, target: &str, key: Option<&str>) -> (u16, Vec<u8>) {
    let mut socket = connect(to).await;
    ask(&mut socket, to, target, key).await;
    let mut answer = Vec::new();
    within(socket.read_to_end(&mut answer)).await.unwrap();
    let head = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer.split_off(head + 4))
}

/// Address and target of a URL that names an address.
fn split(url: &str) -> (SocketAddr, String) {
    let (_, rest) = url.split_once("://").unwrap();
    let (address, target) = rest.split_once('/').unwrap();
    (address.parse().unwrap(), format!("/{target}"))
}
