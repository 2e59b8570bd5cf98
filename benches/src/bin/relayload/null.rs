//! The yardstick: one epoll thread that copies each chunk to every reader with one write.
//!
//! It speaks no RTSP: a first line says who comes (`P 0` publisher, `R 0` TCP reader, `U 0 port`
//! UDP reader of stream 0). For UDP readers it must find the packets in the chunk, and sends each
//! run of equal packets with one segmented call.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};

use easydarwin_benches::synthetic::probe;

const CHUNK: usize = 64 * 1024;
/// What a blocked reader may have waiting; beyond it is cut off.
const BACKLOG: usize = 64 << 20;
const LISTENER: u64 = u64::MAX;

#[derive(Default)]
struct Stream {
    tcp: Vec<u64>,
    udp: Vec<SocketAddr>,
    partial: Vec<u8>,
    /// `partial` begins with a packet. Chunks are not looked at before the first UDP reader
    /// comes, and that may be in the middle of one.
    aligned: bool,
}

enum Role {
    New(Vec<u8>),
    Publisher(usize),
    Reader(VecDeque<u8>),
}

struct Null {
    epoll: Epoll,
    peers: HashMap<u64, (TcpStream, Role)>,
    streams: HashMap<usize, Stream>,
    out: UdpSocket,
    state: UdpSocketState,
}

/// Serves until the process is killed.
pub fn serve(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let out = UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new(UdpSockRef::from(&out))?;
    let mut null = Null {
        epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        peers: HashMap::new(),
        streams: HashMap::new(),
        out,
        state,
    };
    null.epoll
        .add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut events = vec![EpollEvent::empty(); 256];
    let mut chunk = vec![0; CHUNK];
    let mut number = 0;
    loop {
        let ready = null.epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in events.iter().take(ready) {
            if event.data() == LISTENER {
                while let Ok((peer, _)) = listener.accept() {
                    peer.set_nonblocking(true)?;
                    peer.set_nodelay(true)?;
                    null.epoll
                        .add(&peer, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
                    null.peers.insert(number, (peer, Role::New(Vec::new())));
                    number += 1;
                }
            } else {
                null.turn(event.data(), event.events(), &mut chunk);
            }
        }
    }
}

impl Null {
    fn turn(&mut self, id: u64, flags: EpollFlags, chunk: &mut [u8]) {
        let Some((peer, role)) = self.peers.get_mut(&id) else {
            return;
        };
        if flags.contains(EpollFlags::EPOLLOUT)
            && let Role::Reader(waiting) = role
        {
            let (head, _) = waiting.as_slices();
            if let Ok(sent) = peer.write(head) {
                waiting.drain(..sent);
            }
            if waiting.is_empty() {
                let mut event = EpollEvent::new(EpollFlags::EPOLLIN, id);
                let _ = self.epoll.modify(&*peer, &mut event);
            }
        }
        if !flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return;
        }
        let read = match peer.read(chunk) {
            Ok(0) => return self.drop_peer(id),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => return self.drop_peer(id),
        };
        match role {
            Role::Reader(_) => {}
            Role::Publisher(stream) => {
                let stream = *stream;
                self.relay(stream, &chunk[..read]);
            }
            Role::New(line) => {
                line.extend_from_slice(&chunk[..read]);
                let Some(end) = line.iter().position(|&b| b == b'\n') else {
                    return;
                };
                let text = String::from_utf8_lossy(&line[..end]).into_owned();
                let rest = line.split_off(end + 1);
                self.admit(id, &text, &rest);
            }
        }
    }

    fn admit(&mut self, id: u64, text: &str, rest: &[u8]) {
        let mut words = text.split(' ');
        let kind = words.next().unwrap_or_default();
        let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let stream = self.streams.entry(number).or_default();
        let role = match kind {
            "P" => Role::Publisher(number),
            "U" => {
                let port: u16 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
                stream.udp.push(([127, 0, 0, 1], port).into());
                Role::Reader(VecDeque::new())
            }
            _ => {
                stream.tcp.push(id);
                Role::Reader(VecDeque::new())
            }
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.1 = role;
        }
        if kind == "P" && !rest.is_empty() {
            self.relay(number, rest);
        }
    }

    fn relay(&mut self, number: usize, chunk: &[u8]) {
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        let mut dead = Vec::new();
        for &id in &stream.tcp {
            let Some((peer, Role::Reader(waiting))) = self.peers.get_mut(&id) else {
                continue;
            };
            let sent = if waiting.is_empty() {
                match peer.write(chunk) {
                    Ok(sent) => sent,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    Err(_) => {
                        dead.push(id);
                        continue;
                    }
                }
            } else {
                0
            };
            if sent < chunk.len() {
                waiting.extend(&chunk[sent..]);
                let mut event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT, id);
                let _ = self.epoll.modify(&*peer, &mut event);
                if waiting.len() > BACKLOG {
                    dead.push(id);
                }
            }
        }
        if !stream.udp.is_empty() {
            stream.partial.extend_from_slice(chunk);
            if !stream.aligned {
                stream.aligned = align(&mut stream.partial);
            }
            if stream.aligned {
                send_runs(&self.out, &self.state, &stream.udp, &mut stream.partial);
            }
        }
        for id in dead {
            self.drop_peer(id);
        }
    }

    fn drop_peer(&mut self, id: u64) {
        self.peers.remove(&id);
        for stream in self.streams.values_mut() {
            stream.tcp.retain(|&reader| reader != id);
        }
    }
}

/// Throws away what precedes the first packet; false if none is there yet.
fn align(buffer: &mut Vec<u8>) -> bool {
    let found = (0..buffer.len()).find(|&at| {
        let head = &buffer[at..];
        head.starts_with(b"$\0") && head.get(4..).and_then(probe).is_some()
    });
    if let Some(at) = found {
        buffer.drain(..at);
    }
    found.is_some()
}

/// Sends the whole packets of `buffer`, in runs of equal size, and leaves the rest.
fn send_runs(
    out: &UdpSocket,
    state: &UdpSocketState,
    readers: &[SocketAddr],
    buffer: &mut Vec<u8>,
) {
    let (mut at, mut run, mut size, mut count) = (0, Vec::with_capacity(CHUNK), 0, 0);
    let flush = |run: &mut Vec<u8>, size: usize| {
        for &destination in readers {
            let transmit = Transmit {
                destination,
                ecn: None,
                contents: run,
                segment_size: (run.len() > size).then_some(size),
                src_ip: None,
            };
            let _ = state.try_send(UdpSockRef::from(out), &transmit);
        }
        run.clear();
    };
    while let Some(head) = buffer.get(at..at + 4) {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let Some(packet) = buffer.get(at + 4..at + 4 + length) else {
            break;
        };
        if head[1] == 0 {
            let fits = run.is_empty()
                || (length == size
                    && count < state.max_gso_segments()
                    && run.len() + length <= 65_000);
            if !fits {
                flush(&mut run, size);
            }
            if run.is_empty() {
                (size, count) = (length, 0);
            }
            run.extend_from_slice(packet);
            count += 1;
        }
        at += 4 + length;
    }
    if !run.is_empty() {
        flush(&mut run, size);
    }
    buffer.drain(..at);
}

#[cfg(test)]
mod tests {
    use easydarwin_benches::synthetic::FrameMaker;

    use super::*;

    #[test]
    fn a_chunk_that_begins_within_a_packet_is_aligned() {
        let (mut maker, mut frame) = (FrameMaker::new(2_000_000, 1), Vec::new());
        maker.next_frame(1, &mut frame);
        let packet = 4 + usize::from(u16::from_be_bytes([frame[2], frame[3]]));
        for cut in [1, 3, 4, 30, packet - 1] {
            let mut chunk = frame[cut..].to_vec();
            assert!(align(&mut chunk));
            assert_eq!(chunk, frame[packet..]);
        }
        let mut rest = frame[5..packet].to_vec();
        assert!(!align(&mut rest));
        rest.extend_from_slice(&frame[packet..]);
        assert!(align(&mut rest));
        assert_eq!(rest, frame[packet..]);
        assert!(align(&mut frame));
    }
}
