use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;

use crate::relay::{
    Asked, PausedReader, PreparedReader, ReaderEnd, ReaderHandle, ReaderOptions, Start, Stream,
    TcpSink, TrackChannels, UdpSockets, UdpTarget, UdpTrack, Viewer,
};
use crate::rtsp::{RtpInfo, TransportAnswer, TransportOffer};
use crate::server::wire::{Wire, WireSink};

/// Greatest RTP packet that fits a datagram on an Ethernet: 1 500 less IPv4 and UDP headers.
const MAX_DATAGRAM: usize = 1472;

/// The playing side of a session.
#[derive(Debug)]
pub(super) struct Player {
    stream: Stream,
    asked: Asked,
    transport: Option<Transport>,
    phase: Phase,
    /// Media was sent before.
    begun: bool,
}

#[derive(Debug)]
enum Transport {
    Tcp(Vec<TrackChannels>),
    Udp(UdpSockets, Vec<UdpTrack>),
}

enum Phase {
    /// Set up.
    Waiting,
    /// Nothing is sent, and nothing of the stream is held; it ends with the stream all the same,
    /// and whoever fetches the stream from elsewhere for this player goes on.
    Paused {
        /// `None`: the reader has not stopped yet, or ended by itself.
        rest: Option<PausedReader>,
        ended: BoxFuture<'static, ReaderEnd>,
        last_life: Instant,
        _viewer: Viewer,
    },
    /// PLAY was answered; media begins once the answer is written.
    Starting(PreparedReader),
    Playing {
        handle: ReaderHandle,
        ended: BoxFuture<'static, ReaderEnd>,
        last_life: Instant,
    },
}

impl std::fmt::Debug for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Waiting => "Waiting",
            Self::Paused { .. } => "Paused",
            Self::Starting(_) => "Starting",
            Self::Playing { .. } => "Playing",
        })
    }
}

impl Player {
    pub(super) fn new(stream: Stream, asked: Asked) -> Self {
        Self {
            stream,
            asked,
            transport: None,
            phase: Phase::Waiting,
            begun: false,
        }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn is_playing(&self) -> bool {
        matches!(self.phase, Phase::Playing { .. })
    }

    /// Takes the first offer that can be met. All tracks of a session go the same way, the one
    /// of the first.
    pub(super) fn set_up(
        &mut self,
        track: usize,
        offers: &[TransportOffer],
        peer: SocketAddr,
        sockets: &UdpSockets,
    ) -> Option<TransportAnswer> {
        offers.iter().find_map(|offer| match *offer {
            TransportOffer::Tcp { rtp, rtcp } => {
                let channels = TrackChannels { track, rtp, rtcp };
                match &mut self.transport {
                    Some(Transport::Tcp(tracks)) => {
                        tracks.retain(|known| known.track != track);
                        tracks.push(channels);
                    }
                    Some(Transport::Udp(..)) => return None,
                    none => *none = Some(Transport::Tcp(vec![channels])),
                }
                Some(TransportAnswer::Tcp { rtp, rtcp })
            }
            TransportOffer::Udp { rtp, rtcp } => {
                if self.stream.max_packet(track) > MAX_DATAGRAM {
                    return None;
                }
                let target = UdpTrack {
                    track,
                    rtp: SocketAddr::new(peer.ip(), rtp),
                    rtcp: SocketAddr::new(peer.ip(), rtcp),
                };
                match &mut self.transport {
                    Some(Transport::Udp(_, tracks)) => {
                        tracks.retain(|known| known.track != track);
                        tracks.push(target);
                    }
                    Some(Transport::Tcp(_)) => return None,
                    none => *none = Some(Transport::Udp(sockets.clone(), vec![target])),
                }
                Some(TransportAnswer::Udp {
                    client: (rtp, rtcp),
                    server: sockets.ports(),
                })
            }
        })
    }

    /// Fixes where media starts, for the answer to PLAY. `asked`: what this PLAY asks for beyond
    /// what the session does. A PLAY while playing changes nothing.
    pub(super) fn prepare(&mut self, label: Arc<str>, asked: Asked) -> Vec<RtpInfo> {
        let tracks = self.channels();
        if !matches!(self.phase, Phase::Waiting | Phase::Paused { .. }) {
            return tracks
                .iter()
                .map(|channels| RtpInfo {
                    track: channels.track,
                    start: None,
                })
                .collect();
        }
        let mut options = ReaderOptions::new(label);
        let asked = asked.or(self.asked);
        asked.reader(&mut options, self.stream.config());
        // All tracks on canonical channels are the case for which nothing is patched.
        let all = self.stream.tracks().len();
        if tracks.len() != all || !tracks.iter().all(is_canonical) {
            options.tracks = Some(tracks);
        }
        let prepared = match &self.phase {
            Phase::Paused {
                rest: Some(rest), ..
            } => self.stream.resume(options, rest),
            phase => {
                if matches!(phase, Phase::Paused { .. }) {
                    // What it has got is not known: the next key frame is new to it for sure.
                    options.start = Start::Live;
                }
                self.stream.prepare(options)
            }
        };
        let info = prepared.rtp_info();
        self.phase = Phase::Starting(prepared);
        info.iter()
            .map(|info| RtpInfo {
                track: info.track,
                start: info.seq.zip(info.rtptime),
            })
            .collect()
    }

    fn channels(&self) -> Vec<TrackChannels> {
        match &self.transport {
            None => Vec::new(),
            Some(Transport::Tcp(tracks)) => {
                let mut tracks = tracks.clone();
                tracks.sort_by_key(|channels| channels.track);
                tracks
            }
            Some(Transport::Udp(_, tracks)) => {
                let mut tracks: Vec<_> = tracks.iter().map(|udp| canonical(udp.track)).collect();
                tracks.sort_by_key(|channels| channels.track);
                tracks
            }
        }
    }

    /// Starts media when PLAY was answered; the answer has been written.
    pub(super) fn start(&mut self, wire: &Wire, local: SocketAddr) {
        match std::mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::Starting(prepared) => {
                let handle = match &self.transport {
                    Some(Transport::Udp(sockets, tracks)) => prepared.start_udp(UdpTarget {
                        sockets: sockets.clone(),
                        source: Some(local.ip()),
                        tracks: tracks.clone().into(),
                    }),
                    _ => match wire {
                        Wire::Plain(socket) => prepared.start(TcpSink::new(socket.clone())),
                        other => prepared.start(WireSink(other.clone())),
                    },
                };
                self.begun = true;
                self.phase = Phase::Playing {
                    ended: Box::pin(handle.ended()),
                    last_life: handle.last_life(),
                    handle,
                };
            }
            other => self.phase = other,
        }
    }

    /// Stops media. What is returned was writing to the connection's socket: nobody else may
    /// write to it until [`ReaderHandle::stop`] is done.
    pub(super) fn pause(&mut self) -> Option<ReaderHandle> {
        match std::mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::Playing {
                handle, last_life, ..
            } => {
                self.phase = self.paused(last_life);
                Some(handle)
            }
            // The answer to PLAY is not even written.
            Phase::Starting(_) if self.begun => {
                self.phase = self.paused(Instant::now());
                None
            }
            Phase::Waiting | Phase::Starting(_) => None,
            paused @ Phase::Paused { .. } => {
                self.phase = paused;
                None
            }
        }
    }

    fn paused(&self, last_life: Instant) -> Phase {
        let stream = self.stream.clone();
        Phase::Paused {
            rest: None,
            ended: Box::pin(async move { ReaderEnd::Stream(stream.ended().await) }),
            last_life,
            _viewer: self.stream.viewer(),
        }
    }

    /// The reader has stopped for a pause, and this is left of it.
    pub(super) fn stopped(&mut self, left: Option<PausedReader>) {
        let Phase::Paused { rest, .. } = &mut self.phase else {
            return;
        };
        if let (Some(left), Some(Transport::Udp(_, tracks))) = (&left, &mut self.transport) {
            for track in tracks {
                if let Some((rtp, rtcp)) = left.addresses(track.track) {
                    (track.rtp, track.rtcp) = (rtp, rtcp);
                }
            }
        }
        *rest = left;
    }

    /// Who writes to the connection's socket, if it is not the connection.
    pub(super) fn writer(&self) -> Option<&ReaderHandle> {
        match (&self.phase, &self.transport) {
            (Phase::Playing { handle, .. }, Some(Transport::Tcp(_))) => Some(handle),
            _ => None,
        }
    }

    /// The last sign of life, if there was a new one since this was last asked.
    pub(super) fn new_life(&mut self) -> Option<Instant> {
        let (life, last_life) = match &mut self.phase {
            Phase::Playing {
                handle, last_life, ..
            } => (handle.last_life(), last_life),
            Phase::Paused {
                rest: Some(rest),
                last_life,
                ..
            } => (rest.last_life()?, last_life),
            _ => return None,
        };
        (life > *last_life).then(|| {
            *last_life = life;
            life
        })
    }

    /// Ready when the reader ended by itself.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<ReaderEnd> {
        match &mut self.phase {
            Phase::Playing { ended, .. } | Phase::Paused { ended, .. } => ended.as_mut().poll(cx),
            Phase::Waiting | Phase::Starting(_) => Poll::Pending,
        }
    }
}

fn is_canonical(channels: &TrackChannels) -> bool {
    *channels == canonical(channels.track)
}

fn canonical(track: usize) -> TrackChannels {
    // Streams have far fewer than 128 tracks; for those channel numbers would not suffice anyway.
    let rtp = u8::try_from(track.saturating_mul(2)).unwrap_or(u8::MAX - 1);
    TrackChannels {
        track,
        rtp,
        rtcp: rtp.saturating_add(1),
    }
}
