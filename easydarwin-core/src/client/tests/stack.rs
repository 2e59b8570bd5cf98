//! An embedder's TLS in place of ours: here rustls once more, driven from outside and as awkward as
//! the interface allows, against a server with our own.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use super::*;
use crate::rtsp::ClientUrl;
use crate::tls::{TlsClock, TlsConfig, TlsStream, TlsTrust};

/// More than the kernel takes while nobody reads.
const UP: usize = 8 << 20;
const DOWN: usize = 300_000;

fn pattern(length: usize) -> Vec<u8> {
    (0u32..).flat_map(u32::to_le_bytes).take(length).collect()
}

/// The socket as a library in C sees it: a descriptor.
struct Descriptor<'a>(&'a TcpStream);

impl io::Read for Descriptor<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        (&*SockRef::from(self.0)).read(room)
    }
}

impl io::Write for Descriptor<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(self.0).send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Rustls {
    trust: TlsTrust,
    paused: Arc<Notify>,
}

#[derive(Debug)]
struct Session {
    tls: rustls::ClientConnection,
    socket: Arc<TcpStream>,
    /// Address and length of what a write was paused with, and what it had taken of it.
    unfinished: Option<(usize, usize, usize)>,
    paused: Arc<Notify>,
    reads: usize,
}

impl TlsStack for Rustls {
    fn open(&self, socket: &Arc<TcpStream>, host: &str) -> io::Result<Box<dyn TlsSession>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let trust = self.trust.rustls(TlsClock::System).expect("a clock");
        let tls = rustls::ClientConnection::new(trust, name);
        Ok(Box::new(Session {
            tls: tls.map_err(io::Error::other)?,
            socket: socket.clone(),
            unfinished: None,
            paused: self.paused.clone(),
            reads: 0,
        }))
    }
}

impl Session {
    fn send(&mut self) -> Result<(), TlsPause> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Descriptor(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(TlsPause::WantWrite);
                }
                sent => sent.map(drop).map_err(TlsPause::Failed)?,
            }
        }
        Ok(())
    }

    /// Whether the peer is still there.
    fn receive(&mut self) -> Result<bool, TlsPause> {
        match self.tls.read_tls(&mut Descriptor(&self.socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(TlsPause::WantRead);
            }
            Err(error) => return Err(TlsPause::Failed(error)),
            Ok(0) => return Ok(false),
            Ok(_) => {}
        }
        let processed = self.tls.process_new_packets();
        let failed = |error| TlsPause::Failed(io::Error::other(error));
        processed.map(|_| true).map_err(failed)
    }
}

impl TlsSession for Session {
    fn handshake(&mut self) -> Result<(), TlsPause> {
        loop {
            self.send()?;
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            if !self.receive()? {
                return Err(TlsPause::Failed(io::ErrorKind::ConnectionReset.into()));
            }
        }
    }

    fn read(&mut self, room: &mut [u8]) -> Result<usize, TlsPause> {
        // As if it had to write before it can read on, now and then.
        self.reads += 1;
        if self.reads.is_multiple_of(3) {
            return Err(TlsPause::WantWrite);
        }
        loop {
            match self.tls.reader().read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map_err(TlsPause::Failed),
            }
            if !self.receive()? {
                return Ok(0);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, TlsPause> {
        let place = (bytes.as_ptr().addr(), bytes.len());
        let count = match self.unfinished.take() {
            Some((address, length, count)) => {
                assert_eq!(place, (address, length), "the same bytes once more");
                count
            }
            None => self.tls.writer().write(bytes).map_err(TlsPause::Failed)?,
        };
        let sent = self.send();
        if let Err(TlsPause::WantWrite) = sent {
            self.unfinished = Some((place.0, place.1, count));
            self.paused.notify_one();
        }
        sent.map(|()| count)
    }
}

/// A certificate for this name, signed by itself, in a directory of its own.
struct Certificate(PathBuf);

impl Certificate {
    fn new(test: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let dir = std::env::temp_dir().join(format!("stack-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self(dir)
    }

    fn options(&self, paused: &Arc<Notify>) -> ClientOptions {
        let stack = Rustls {
            trust: TlsTrust::ca_file(self.0.join("cert.pem")).unwrap(),
            paused: paused.clone(),
        };
        ClientOptions {
            tls_stack: Some(ForeignTls::new(stack)),
            ..ClientOptions::default()
        }
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A listener whose connections take little that is not read.
fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(1).unwrap()
}

fn url(listener: &TcpListener) -> ClientUrl {
    let url = format!("rtsps://{}/", listener.local_addr().unwrap());
    ClientUrl::parse(&url).unwrap()
}

async fn accept(listener: &TcpListener, certificate: &Certificate) -> io::Result<TlsStream> {
    let dir = &certificate.0;
    let shown = TlsConfig::from_pem_files(dir.join("cert.pem"), dir.join("key.pem")).unwrap();
    let (socket, _) = listener.accept().await?;
    let stream = shown.accept(socket).unwrap();
    stream.handshake(&[]).await?;
    Ok(stream)
}

/// Takes all that comes once `reading` is told, then sends something and closes.
async fn serve(stream: TlsStream, reading: Arc<Notify>) -> Vec<u8> {
    reading.notified().await;
    let (mut read, mut room) = (Vec::new(), vec![0; 32 * 1024]);
    while read.len() < UP {
        match stream.try_read(&mut room).unwrap() {
            Some(count) => read.extend_from_slice(&room[..count]),
            None => stream.socket().readable().await.unwrap(),
        }
    }
    let down = pattern(DOWN);
    let mut rest = &down[..];
    while !rest.is_empty() {
        match stream.try_write(&[IoSlice::new(rest)]) {
            Ok(count) => rest = &rest[count..],
            Err(_) => stream.socket().writable().await.unwrap(),
        }
    }
    stream.goodbye();
    while !stream.flush().unwrap() {
        stream.socket().writable().await.unwrap();
    }
    read
}

#[tokio::test]
async fn all_bytes_arrive_through_a_stack_that_pauses() {
    let (certificate, listener) = (Certificate::new("pauses"), listener());
    let paused = Arc::new(Notify::new());
    let options = certificate.options(&paused);
    let serving = async {
        let stream = accept(&listener, &certificate).await.unwrap();
        serve(stream, paused.clone()).await
    };
    let talking = async {
        let mut link = Link::dial(&url(&listener), &options).await.unwrap();
        assert!(link.is_secure());
        let up = pattern(UP);
        let (mut rest, mut down, mut room) = (&up[..], Vec::new(), [0; 4096]);
        loop {
            link.flush().unwrap();
            while !rest.is_empty()
                && let Some(count) = link.try_write(rest).unwrap()
            {
                rest = &rest[count..];
            }
            match link.read(&mut room).unwrap() {
                Some(0) => return down,
                Some(count) => down.extend_from_slice(&room[..count]),
                None => poll_fn(|cx| link.poll_ready(!rest.is_empty(), cx)).await,
            }
        }
    };
    let (up, down) = soon(async { tokio::join!(serving, talking) }).await;
    assert!(up == pattern(UP) && down == pattern(DOWN));
}

#[tokio::test]
async fn what_the_stack_says_reaches_the_caller() {
    let (certificate, other) = (Certificate::new("shown"), Certificate::new("trusted"));
    let listener = listener();
    let options = other.options(&Arc::default());
    let url = url(&listener);
    let (_, dialed) =
        soon(async { tokio::join!(accept(&listener, &certificate), Link::dial(&url, &options)) })
            .await;
    let error = dialed.unwrap_err();
    assert!(matches!(error, ClientError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");

    // A peer that goes in the middle of the handshake.
    let (_, dialed) = soon(async {
        let close = async { drop(listener.accept().await) };
        tokio::join!(close, Link::dial(&url, &options))
    })
    .await;
    assert!(matches!(dialed, Err(ClientError::Tls { .. })));
}

#[tokio::test]
async fn sound_is_published_and_played_through_a_stack() {
    let certificate = Certificate::new("whole");
    let dir = &certificate.0;
    let shown = TlsConfig::from_pem_files(dir.join("cert.pem"), dir.join("key.pem")).unwrap();
    let server = crate::server::MediaServer::builder()
        .rtsps("127.0.0.1:0".parse().unwrap(), shown)
        .authorizer(crate::registry::AllowAll)
        .build()
        .await
        .unwrap();
    let url = format!("rtsps://{}/cam/1", server.handle().rtsps_addr().unwrap());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async { drop(ended.await) }));
    for transport in [ClientTransport::Tcp, ClientTransport::Tunnel] {
        let mut options = certificate.options(&Arc::default());
        options.transport = transport;
        let connecting = Publisher::connect(&url, description(), options.clone());
        let mut publisher = soon(connecting).await.unwrap();
        let mut player = soon(Player::connect(&url, options)).await.unwrap();
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        let received = soon(async {
            for n in 0.. {
                tokio::select! {
                    received = player.next_unit() => return received.unwrap(),
                    _ = pace.tick() => publisher.send(&unit(1, n)).await.unwrap(),
                }
            }
            None
        })
        .await;
        let received = received.expect("a sound");
        let sent = unit(1, received.data[0][0]);
        assert_eq!((received.track, received.data), (1, sent.data));
        publisher.close().await.unwrap();
    }
    end.send(()).unwrap();
    serving.await.unwrap().unwrap();
}
