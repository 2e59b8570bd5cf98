//! What the tests share: a synthetic camera, a peer that takes what it likes, and its judge.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::media::{G711Law, H264Params, SessionDescription, Track};
use crate::registry::{Principal, StreamPath};
use crate::relay::{Hub, Publisher, RelayConfig, Sink};

pub(super) const PICTURES_PER_GROUP: u32 = 25;

pub(super) fn path() -> StreamPath {
    StreamPath::parse("cam/1").unwrap()
}

pub(super) fn description(audio: bool) -> SessionDescription {
    let mut tracks = vec![Track::h264(96, H264Params::default())];
    if audio {
        tracks.push(Track::g711(G711Law::A));
    }
    SessionDescription {
        name: "test".to_owned(),
        control: None,
        tracks,
    }
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(super) fn hub() -> Hub {
    hub_with(RelayConfig::default())
}

pub(super) fn hub_with(mut config: RelayConfig) -> Hub {
    config.shards = 2;
    Hub::new(config)
}

/// Lets all tasks run until none has anything to do, in paused time.
pub(super) async fn settle() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

/// A camera: 25 pictures a second, each with its number in every packet.
pub(super) struct Camera {
    pub(super) publisher: Publisher,
    pub(super) ssrc: u32,
    pub(super) seq: u16,
    pub(super) ts: u32,
    pub(super) picture: u32,
    audio_seq: u16,
    audio: bool,
    /// Bytes of one packet, and packets of a picture (key, other).
    pub(super) packet_len: usize,
    pub(super) key_packets: u32,
    pub(super) packets: u32,
    pub(super) payload_type: u8,
}

impl Camera {
    pub(super) fn new(hub: &Hub, audio: bool) -> Self {
        let publisher = hub
            .publish(&path(), description(audio), Principal::Anonymous)
            .unwrap();
        Self::with(publisher, audio)
    }

    pub(super) fn with(publisher: Publisher, audio: bool) -> Self {
        Self {
            publisher,
            ssrc: 0x1234_5678,
            seq: 65_500,
            ts: 0xffff_f000,
            picture: 0,
            audio_seq: 10,
            audio,
            packet_len: 1000,
            key_packets: 20,
            packets: 4,
            payload_type: 96,
        }
    }

    /// Sends the next picture (and a piece of sound), 40 ms after the one before.
    pub(super) async fn film(&mut self) {
        tokio::time::advance(Duration::from_millis(40)).await;
        self.push_picture();
        assert!(self.publisher.flush(now()));
    }

    pub(super) async fn film_many(&mut self, pictures: u32) {
        for _ in 0..pictures {
            self.film().await;
            settle().await;
        }
    }

    pub(super) fn push_picture(&mut self) {
        let key = self.picture.is_multiple_of(PICTURES_PER_GROUP);
        let count = if key { self.key_packets } else { self.packets };
        for index in 0..count {
            let last = index + 1 == count;
            let packet = self.packet(key, index == 0, index, last);
            self.publisher.push_rtp(0, &packet, now());
            self.seq = self.seq.wrapping_add(1);
        }
        self.picture += 1;
        self.ts = self.ts.wrapping_add(3600);
        if self.audio {
            let mut sound = header(8, self.audio_seq, self.picture.wrapping_mul(320), 99, false);
            sound.extend_from_slice(&[0xd5; 320]);
            self.publisher.push_rtp(1, &sound, now());
            self.audio_seq = self.audio_seq.wrapping_add(1);
        }
    }

    /// One slice per packet: type, `first_mb_in_slice` 0 or not, picture number, index.
    fn packet(&self, key: bool, first: bool, index: u32, last: bool) -> Vec<u8> {
        let mut packet = header(self.payload_type, self.seq, self.ts, self.ssrc, last);
        packet.push(if key { 0x65 } else { 0x41 });
        packet.push(if first { 0x88 } else { 0x48 });
        packet.extend_from_slice(&self.picture.to_be_bytes());
        packet.extend_from_slice(&index.to_be_bytes());
        packet.resize(self.packet_len, 0x5a);
        packet
    }
}

pub(super) fn header(pt: u8, seq: u16, ts: u32, ssrc: u32, marker: bool) -> Vec<u8> {
    let mut header = vec![0x80, pt | if marker { 0x80 } else { 0 }];
    header.extend_from_slice(&seq.to_be_bytes());
    header.extend_from_slice(&ts.to_be_bytes());
    header.extend_from_slice(&ssrc.to_be_bytes());
    header
}

/// A peer's side of a sink: takes as many bytes as it was allowed.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer {
    state: Arc<Mutex<PeerState>>,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct PeerState {
    got: Vec<u8>,
    allowance: usize,
    writes: usize,
    broken: bool,
}

impl Peer {
    /// Takes everything.
    pub(super) fn eager() -> Self {
        let peer = Self::default();
        peer.allow(usize::MAX);
        peer
    }

    /// Takes so many bytes more.
    pub(super) fn allow(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.allowance = state.allowance.saturating_add(bytes);
        self.wake.notify_waiters();
        self.wake.notify_one();
    }

    pub(super) fn break_it(&self) {
        self.state.lock().broken = true;
        self.wake.notify_one();
    }

    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.lock().got)
    }

    pub(super) fn writes(&self) -> usize {
        self.state.lock().writes
    }

    pub(super) fn sink(&self) -> PeerSink {
        PeerSink(self.clone())
    }
}

#[derive(Debug)]
pub(super) struct PeerSink(Peer);

impl Sink for PeerSink {
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        if state.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.allowance == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.writes += 1;
        let mut written = 0;
        for slice in slices {
            let take = slice.len().min(state.allowance);
            state.allowance -= take;
            state.got.extend_from_slice(&slice[..take]);
            written += take;
            if take < slice.len() {
                break;
            }
        }
        Ok(written)
    }

    fn park(&self) -> BoxFuture<'static, ()> {
        let peer = self.0.clone();
        Box::pin(async move {
            loop {
                let wake = peer.wake.notified();
                {
                    let state = peer.state.lock();
                    if state.allowance > 0 || state.broken {
                        return;
                    }
                }
                wake.await;
            }
        })
    }
}

/// One packet as a reader saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) channel: u8,
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    pub(super) seq: u16,
    pub(super) ts: u32,
    pub(super) ssrc: u32,
    pub(super) payload: Vec<u8>,
}

impl Seen {
    pub(super) fn is_key(&self) -> bool {
        self.payload[0] & 0x1f == 5
    }

    pub(super) fn picture(&self) -> u32 {
        u32::from_be_bytes(self.payload[2..6].try_into().unwrap())
    }

    pub(super) fn index(&self) -> u32 {
        u32::from_be_bytes(self.payload[6..10].try_into().unwrap())
    }
}

/// Splits interleaved frames; panics when the framing is torn. RTCP (odd channels) is kept with
/// its bytes as payload.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        let (seen_one, rest) = frame(bytes).expect("a whole frame");
        seen.push(seen_one);
        bytes = rest;
    }
    seen
}

/// The first frame, if it is whole.
pub(super) fn frame(bytes: &[u8]) -> Option<(Seen, &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    assert_eq!(bytes[0], b'$', "framing is torn");
    let len = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    let packet = bytes.get(4..4 + len)?;
    let seen = Seen {
        channel: bytes[1],
        payload_type: packet[1] & 0x7f,
        marker: packet[1] & 0x80 != 0,
        seq: u16::from_be_bytes([packet[2], packet[3]]),
        ts: u32::from_be_bytes(packet[4..8].try_into().unwrap()),
        ssrc: u32::from_be_bytes(packet[8..12].try_into().unwrap()),
        payload: packet[12..].to_vec(),
    };
    Some((seen, &bytes[4 + len..]))
}

pub(super) fn video(frames: &[Seen]) -> Vec<Seen> {
    frames
        .iter()
        .filter(|seen| seen.channel == 0)
        .cloned()
        .collect()
}
