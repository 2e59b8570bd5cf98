//! Plays from a few threads: big reads, kernel receive stamps, no copy of what was received.

use std::io::{self, IoSliceMut};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;

use crate::handshake::Joined;
use crate::synthetic::{self, probe};

use super::stats::Histogram;

const SCRATCH: usize = 512 * 1024;

/// What the readers of one thread counted.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// Packets that came while measuring.
    pub packets: u64,
    /// Bytes that came while measuring.
    pub bytes: u64,
    /// Packets missing between two that came, from the reader's first packet on.
    pub lost: u64,
    /// Relay delay of each packet while measuring.
    pub delay: Histogram,
    /// For each reader: its stream, the last counter plus one (0: nothing came), whether it ended.
    pub readers: Vec<(usize, u64, bool)>,
    /// Gaps of more than a second without a packet.
    pub stalls: u64,
}

/// Readers on their way to a thread, with the number of their stream.
type Inbox = Mutex<Vec<(usize, Joined)>>;

/// Reading threads and the flags that steer them.
#[derive(Debug)]
pub struct Readers {
    stop: Arc<AtomicBool>,
    measure: Arc<AtomicBool>,
    threads: Vec<(Arc<Inbox>, JoinHandle<io::Result<Counts>>)>,
    next: usize,
}

struct Reader {
    stream: usize,
    tcp: TcpStream,
    udp: Option<(UdpSocket, UdpSocket)>,
    partial: Vec<u8>,
    next: Option<u64>,
    last_ns: u64,
    ended: bool,
}

impl Readers {
    /// Starts `threads` threads without readers.
    pub fn start(threads: usize) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let measure = Arc::new(AtomicBool::new(false));
        let mut running = Vec::new();
        for index in 0..threads {
            let inbox = Arc::new(Mutex::new(Vec::new()));
            let (queue, stop, measure) = (inbox.clone(), stop.clone(), measure.clone());
            let thread = thread::Builder::new()
                .name(format!("play-{index}"))
                .spawn(move || run(&queue, &stop, &measure))?;
            running.push((inbox, thread));
        }
        Ok(Self {
            stop,
            measure,
            threads: running,
            next: 0,
        })
    }

    /// Hands a reader that is playing to one of the threads.
    pub fn add(&mut self, stream: usize, joined: Joined) -> io::Result<()> {
        joined.tcp.set_nonblocking(true)?;
        setsockopt(&joined.tcp, sockopt::ReceiveTimestampns, &true)?;
        if let Some((rtp, _)) = &joined.udp {
            rtp.set_nonblocking(true)?;
            setsockopt(rtp, sockopt::ReceiveTimestampns, &true)?;
            // Bursts are the server's business, but a reader with the default buffer would lose
            // packets whenever this tool is not scheduled for some milliseconds.
            setsockopt(rtp, sockopt::RcvBuf, &(2 << 20))?;
        }
        let (inbox, _) = &self.threads[self.next % self.threads.len()];
        self.next += 1;
        inbox
            .lock()
            .map_err(|_| io::Error::other("a reading thread failed"))?
            .push((stream, joined));
        Ok(())
    }

    /// Counts from now on, or no more.
    pub fn measure(&self, on: bool) {
        self.measure.store(on, Ordering::Relaxed);
    }

    /// Stops all threads and adds up what they counted.
    pub fn finish(self) -> io::Result<Counts> {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Counts::default();
        for (_, thread) in self.threads {
            let counts = thread
                .join()
                .map_err(|_| io::Error::other("a reading thread failed"))??;
            total.packets += counts.packets;
            total.bytes += counts.bytes;
            total.lost += counts.lost;
            total.stalls += counts.stalls;
            total.delay.merge(&counts.delay);
            total.readers.extend(counts.readers);
        }
        Ok(total)
    }
}

fn run(inbox: &Inbox, stop: &AtomicBool, measure: &AtomicBool) -> io::Result<Counts> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut readers: Vec<Reader> = Vec::new();
    let mut counts = Counts::default();
    let mut scratch = vec![0; SCRATCH];
    let mut events = vec![EpollEvent::empty(); 256];
    while !stop.load(Ordering::Relaxed) {
        let joined = std::mem::take(
            &mut *inbox
                .lock()
                .map_err(|_| io::Error::other("the main thread failed"))?,
        );
        for (stream, joined) in joined {
            let data = readers.len() as u64;
            epoll.add(&joined.tcp, EpollEvent::new(EpollFlags::EPOLLIN, data * 2))?;
            if let Some((rtp, _)) = &joined.udp {
                epoll.add(rtp, EpollEvent::new(EpollFlags::EPOLLIN, data * 2 + 1))?;
            }
            readers.push(Reader {
                stream,
                tcp: joined.tcp,
                udp: joined.udp,
                partial: joined.early,
                next: None,
                last_ns: 0,
                ended: false,
            });
        }
        let ready = epoll.wait(&mut events, EpollTimeout::from(50u8))?;
        let on = measure.load(Ordering::Relaxed);
        for event in events.iter().take(ready) {
            let reader = &mut readers[(event.data() / 2) as usize];
            if event.data() % 2 == 1 {
                reader.drain_udp(&mut scratch, on, &mut counts)?;
            } else if !reader.read_tcp(&mut scratch, on, &mut counts) {
                epoll.delete(&reader.tcp)?;
                reader.ended = true;
            }
        }
    }
    counts.readers = readers
        .iter()
        .map(|reader| (reader.stream, reader.next.unwrap_or(0), reader.ended))
        .collect();
    Ok(counts)
}

impl Reader {
    /// Takes one big read; `false` when the connection is over.
    fn read_tcp(&mut self, scratch: &mut [u8], on: bool, counts: &mut Counts) -> bool {
        let kept = self.partial.len();
        scratch[..kept].copy_from_slice(&self.partial);
        let (read, stamp) = match receive(&self.tcp, &mut scratch[kept..]) {
            Ok((0, _)) => return false,
            Ok(got) => got,
            Err(nix::Error::EAGAIN) => return true,
            Err(_) => return false,
        };
        let data = &scratch[..kept + read];
        let mut at = 0;
        while let Some(head) = data.get(at..at + 4) {
            if head[0] != b'$' {
                // An answer to a request: skip to the next frame.
                match data[at + 1..].iter().position(|&b| b == b'$') {
                    Some(skip) => at += 1 + skip,
                    None => at = data.len(),
                }
                continue;
            }
            let end = at + 4 + usize::from(u16::from_be_bytes([head[2], head[3]]));
            let Some(packet) = data.get(at + 4..end) else {
                break;
            };
            if head[1] == 0 {
                self.take(packet, stamp, on, counts);
            }
            at = end;
        }
        self.partial.clear();
        self.partial.extend_from_slice(&data[at.min(data.len())..]);
        true
    }

    fn drain_udp(&mut self, scratch: &mut [u8], on: bool, counts: &mut Counts) -> io::Result<()> {
        for _ in 0..64 {
            let Some((rtp, _)) = &self.udp else {
                return Ok(());
            };
            match receive(rtp, scratch) {
                Ok((read, stamp)) => {
                    let (packet, _) = scratch.split_at(read);
                    self.take(packet, stamp, on, counts);
                }
                Err(nix::Error::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn take(&mut self, packet: &[u8], stamp: u64, on: bool, counts: &mut Counts) {
        let Some(probe) = probe(packet) else { return };
        if let Some(expected) = self.next {
            counts.lost += probe.counter.saturating_sub(expected);
            if stamp.saturating_sub(self.last_ns) > 1_000_000_000 {
                counts.stalls += 1;
            }
        }
        self.next = Some(probe.counter + 1);
        self.last_ns = stamp;
        if on {
            counts.packets += 1;
            counts.bytes += packet.len() as u64;
            counts
                .delay
                .add(Duration::from_nanos(stamp.saturating_sub(probe.sent_ns)));
        }
    }
}

/// One `recvmsg` with the kernel's stamp of the last segment that it took.
fn receive<F: AsFd + AsRawFd>(socket: &F, buffer: &mut [u8]) -> nix::Result<(usize, u64)> {
    let mut control = cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let stamp = message.cmsgs()?.find_map(|item| match item {
        ControlMessageOwned::ScmTimestampns(time) => {
            Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
        }
        _ => None,
    });
    Ok((message.bytes, stamp.unwrap_or_else(synthetic::wall_ns)))
}
