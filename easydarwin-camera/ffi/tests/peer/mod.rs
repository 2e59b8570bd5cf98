//! A media server that resets the connection in the middle of a frame, and a way to any server that
//! does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Of a frame of 200 kB this much is read before the reset.
const TAKEN: usize = 20_000;

#[derive(Debug)]
pub(crate) struct Resetting {
    pub(crate) address: SocketAddr,
}

impl Resetting {
    /// Serves one connection after the other; its thread ends with the test.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                record_and_reset(stream);
            }
        });
        Self { address }
    }
}

/// A way to a server that is cut.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) port: u16,
}

impl Cut {
    /// Passes so many bytes on to `server`, and everything back, then resets the connection. Its
    /// threads end with the test.
    pub(crate) fn start(server: SocketAddr, after: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || cut(&stream, server, after));
            }
        });
        Self { port }
    }
}

/// What comes after the bytes that pass is left unread, which makes close() a reset.
fn cut(stream: &TcpStream, server: SocketAddr, after: u64) -> Option<()> {
    let behind = TcpStream::connect(server).ok()?;
    thread::scope(|scope| {
        scope.spawn(|| std::io::copy(&mut &behind, &mut &*stream));
        let passed = std::io::copy(&mut stream.take(after), &mut &behind);
        // There is more on its way before the reset is.
        let more = stream.peek(&mut [0]);
        let ended = behind.shutdown(std::net::Shutdown::Both);
        passed.and(more).and(ended).ok().map(drop)
    })
}

/// Says yes to everything up to RECORD. What follows is left unread, which makes close() a reset.
fn record_and_reset(mut stream: TcpStream) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let request = next_request(&mut stream, &mut read)?;
        let field = |name: &str| {
            request.lines().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field
                    .eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        let transport = field("Transport")
            .map(|transport| format!("Transport: {transport}\r\n"))
            .unwrap_or_default();
        let cseq = field("CSeq")?;
        let answer = format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nSession: 1\r\n{transport}\r\n");
        stream.write_all(answer.as_bytes()).ok()?;
        if request.starts_with("RECORD") {
            let mut media = vec![0; TAKEN];
            return stream.read_exact(&mut media).ok();
        }
    }
}

fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let body: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length:"))
                .map_or(0, |length| length.trim().parse().unwrap());
            if read.len() >= end + 4 + body {
                read.drain(..end + 4 + body);
                return Some(head);
            }
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&buffer[..count]);
    }
}
