//! As much RTSP as a load needs: blocking handshakes with any server.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::synthetic;

const PATIENCE: Duration = Duration::from_secs(20);

/// Where the streams are: `rtsp://host:port/prefix`, or a null relay.
#[derive(Debug, Clone)]
pub enum Target {
    /// An RTSP server and the path to which the stream's number is appended.
    Rtsp { addr: SocketAddr, prefix: String },
    /// An RTSP server and one path, whatever the stream's number.
    Path { addr: SocketAddr, path: String },
    /// A null relay.
    Null { addr: SocketAddr },
}

impl Target {
    fn url(&self, stream: usize) -> String {
        match self {
            Target::Rtsp { addr, prefix } => format!("rtsp://{addr}/{prefix}{stream}"),
            Target::Path { addr, path } => format!("rtsp://{addr}/{path}"),
            Target::Null { addr } => format!("null://{addr}/{stream}"),
        }
    }
}

/// Bytes that came behind the last answer: the first media.
#[derive(Debug)]
pub struct Joined {
    /// The connection, still blocking.
    pub tcp: TcpStream,
    /// Media that was read with the answer.
    pub early: Vec<u8>,
    /// RTP and RTCP sockets of a UDP reader.
    pub udp: Option<(UdpSocket, UdpSocket)>,
}

struct Dialog {
    tcp: TcpStream,
    cseq: u32,
    session: Option<String>,
    buffer: Vec<u8>,
}

impl Dialog {
    fn connect(addr: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&addr, PATIENCE)?)
    }

    fn over(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            tcp,
            cseq: 0,
            session: None,
            buffer: Vec::new(),
        })
    }

    fn request(
        &mut self,
        method: &str,
        url: &str,
        headers: &str,
        body: &str,
    ) -> io::Result<(String, Vec<u8>)> {
        self.cseq += 1;
        let mut text = format!(
            "{method} {url} RTSP/1.0\r\nCSeq: {}\r\nUser-Agent: relayload\r\n{headers}",
            self.cseq
        );
        if let Some(session) = &self.session {
            text.push_str(&format!("Session: {session}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!(
                "Content-Type: application/sdp\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.tcp.write_all(text.as_bytes())?;
        let (head, body) = self.response()?;
        if !head.starts_with("RTSP/1.0 200") {
            let line = head.lines().next().unwrap_or_default().to_owned();
            return Err(io::Error::other(format!("{method} {url}: {line}")));
        }
        if let Some(value) = header(&head, "session") {
            self.session = Some(
                value
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_owned(),
            );
        }
        Ok((head, body))
    }

    fn response(&mut self) -> io::Result<(String, Vec<u8>)> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                let length = header(&head, "content-length")
                    .and_then(|v| v.parse().ok())
                    .unwrap_or(0);
                if self.buffer.len() >= end + 4 + length {
                    let body = self.buffer[end + 4..end + 4 + length].to_vec();
                    self.buffer.drain(..end + 4 + length);
                    return Ok((head, body));
                }
            }
            match self.tcp.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.buffer.extend_from_slice(&chunk[..n]),
            }
        }
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// Becomes the publisher of `stream`.
pub fn publish(target: &Target, stream: usize) -> io::Result<TcpStream> {
    let url = target.url(stream);
    let addr = match target {
        Target::Null { addr } => {
            let mut tcp = TcpStream::connect_timeout(addr, PATIENCE)?;
            tcp.set_nodelay(true)?;
            tcp.write_all(format!("P {stream}\n").as_bytes())?;
            return Ok(tcp);
        }
        Target::Rtsp { addr, .. } | Target::Path { addr, .. } => *addr,
    };
    announce(Dialog::connect(addr)?, &url, "")
}

/// Becomes the publisher of `path` as a device does: from its own address, with the token that it
/// was given, if it was given one.
pub fn publish_as_device(
    addr: SocketAddr,
    path: &str,
    from: IpAddr,
    token: Option<&str>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&addr.into(), PATIENCE)?;
    let login = token.map_or(String::new(), |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let url = format!("rtsp://{addr}/{path}");
    announce(Dialog::over(socket.into())?, &url, &login)
}

fn announce(mut dialog: Dialog, url: &str, login: &str) -> io::Result<TcpStream> {
    dialog.request("ANNOUNCE", url, login, &synthetic::sdp())?;
    dialog.request(
        "SETUP",
        &format!("{url}/streamid=0"),
        "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n",
        "",
    )?;
    dialog.request("RECORD", url, "Range: npt=0.000-\r\n", "")?;
    Ok(dialog.tcp)
}

/// Becomes a reader of `stream`.
pub fn play(target: &Target, stream: usize, udp: bool) -> io::Result<Joined> {
    let sockets = if udp { Some(socket_pair()?) } else { None };
    let url = target.url(stream);
    let addr = match target {
        Target::Null { addr } => {
            let mut tcp = TcpStream::connect_timeout(addr, PATIENCE)?;
            tcp.set_nodelay(true)?;
            let line = match &sockets {
                Some((rtp, _)) => format!("U {stream} {}\n", rtp.local_addr()?.port()),
                None => format!("R {stream}\n"),
            };
            tcp.write_all(line.as_bytes())?;
            return Ok(Joined {
                tcp,
                early: Vec::new(),
                udp: sockets,
            });
        }
        Target::Rtsp { addr, .. } | Target::Path { addr, .. } => *addr,
    };
    let mut dialog = Dialog::connect(addr)?;
    let (head, sdp) = dialog.request("DESCRIBE", &url, "Accept: application/sdp\r\n", "")?;
    let base = header(&head, "content-base").unwrap_or_else(|| url.clone());
    let transport = match &sockets {
        Some((rtp, rtcp)) => format!(
            "Transport: RTP/AVP;unicast;client_port={}-{}\r\n",
            rtp.local_addr()?.port(),
            rtcp.local_addr()?.port()
        ),
        None => "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n".to_owned(),
    };
    dialog.request("SETUP", &control(&base, &sdp), &transport, "")?;
    dialog.request("PLAY", &url, "Range: npt=0.000-\r\n", "")?;
    Ok(Joined {
        tcp: dialog.tcp,
        early: dialog.buffer,
        udp: sockets,
    })
}

/// The control URL of the first media section.
fn control(base: &str, sdp: &[u8]) -> String {
    let sdp = String::from_utf8_lossy(sdp);
    let value = sdp
        .lines()
        .skip_while(|line| !line.starts_with("m="))
        .find_map(|line| line.trim().strip_prefix("a=control:"))
        .unwrap_or("");
    if value.starts_with("rtsp://") {
        value.to_owned()
    } else {
        format!("{}/{value}", base.trim_end_matches('/'))
    }
}

/// Two neighbouring ports, the even one for RTP.
fn socket_pair() -> io::Result<(UdpSocket, UdpSocket)> {
    for _ in 0..1000 {
        let rtp = UdpSocket::bind("127.0.0.1:0")?;
        let port = rtp.local_addr()?.port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1))
        {
            return Ok((rtp, rtcp));
        }
    }
    Err(io::Error::other(
        "no pair of neighbouring UDP ports is free",
    ))
}
