use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;
use futures::future::BoxFuture;

use super::pacer::{BURST, Demand, Pacer, SLICE};
use super::sockets::{Half, Pair, UdpPeer};
use super::{UdpForm, UdpTarget};
use crate::relay::counters::ReaderShared;
use crate::relay::live::StreamInner;
use crate::relay::unit::Unit;
use crate::relay::writer::{Turn, TurnContext};
use crate::relay::{ReaderEnd, Stream};
use crate::rtp::rtcp;

/// Sends units as datagrams.
#[derive(Debug)]
pub(in crate::relay) struct UdpWriter {
    sockets: Arc<Pair>,
    source: Option<IpAddr>,
    /// By index of the track.
    peers: Vec<Option<Arc<UdpPeer>>>,
    /// The unit at the cursor: its run, bytes of that run that are out; and whether it is begun.
    run: usize,
    sent: usize,
    admitted: bool,
    pacer: Pacer,
    stream: Arc<StreamInner>,
}

impl UdpWriter {
    pub(in crate::relay) fn new(
        target: &UdpTarget,
        stream: &Arc<StreamInner>,
        shared: &Arc<ReaderShared>,
    ) -> Self {
        let count = target
            .tracks
            .iter()
            .map(|track| track.track + 1)
            .max()
            .unwrap_or(0);
        let mut peers = vec![None; count];
        for track in target.tracks.iter() {
            if let Some(slot) = peers.get_mut(track.track) {
                let peer = target
                    .sockets
                    .inner
                    .add(track.rtp, track.rtcp, Arc::clone(shared));
                *slot = Some(peer);
            }
        }
        Self {
            sockets: Arc::clone(&target.sockets.inner),
            source: target.source,
            peers,
            run: 0,
            sent: 0,
            admitted: false,
            pacer: Pacer::new(),
            stream: Arc::clone(stream),
        }
    }

    /// One RTCP packet for a track, if it can be sent now.
    pub(in crate::relay) fn send_rtcp(&self, track: usize, packet: &[u8]) {
        if let Some(Some(peer)) = self.peers.get(track) {
            let to = peer.address(Half::Rtcp);
            // As any datagram it may be lost.
            let _ = self
                .sockets
                .send(Half::Rtcp, to, self.source, packet, packet.len());
        }
    }

    /// Tells the peer that the stream is over.
    pub(in crate::relay) fn say_goodbye(&self, stream: &Stream) {
        for (track, identity) in stream.tracks().iter().enumerate() {
            let mut packet = BytesMut::new();
            rtcp::write_goodbye(identity.ssrc, stream.path().as_str(), &mut packet);
            self.send_rtcp(track, &packet);
        }
    }

    /// The peers, for whoever is paused, and whether a unit is sent in part.
    pub(in crate::relay) fn into_parts(self) -> (Vec<Option<Arc<UdpPeer>>>, bool) {
        (self.peers, self.run > 0 || self.sent > 0)
    }

    pub(in crate::relay) fn park(&self) -> BoxFuture<'static, ()> {
        self.sockets.writable()
    }

    /// Sends until all is sent, the burst is used up, or the socket is full.
    pub(in crate::relay) fn turn(&mut self, context: &mut TurnContext<'_>) -> Turn {
        self.pacer.advance(context.now);
        loop {
            self.position(context);
            let number = context.cursor.next;
            let Some(unit) = context.window.unit(number) else {
                context.shared.late(None);
                return match context.window.ended {
                    Some(reason) => Turn::Ended(ReaderEnd::Stream(reason)),
                    None => Turn::Idle,
                };
            };
            if !self.admitted {
                let held = context.cursor.keys.held;
                let keyless = context.window.keyless;
                let admit = context
                    .cursor
                    .keys
                    .admit(context.policy, keyless, number, unit);
                context
                    .shared
                    .counters
                    .held_units
                    .add(context.cursor.keys.held - held);
                if !admit || self.peers.get(unit.track).is_none_or(Option::is_none) {
                    context.cursor.next += 1;
                    continue;
                }
                self.admitted = true;
            }
            let half = if unit.flags.rtcp {
                Half::Rtcp
            } else {
                Half::Rtp
            };
            let form = unit.udp.get_or_init(|| UdpForm::of(&unit.data));
            match self.send_unit(form, unit.track, half, context) {
                Sent::All => {
                    context.shared.counters.units.add(1);
                    context.shared.counters.packets.add(u64::from(unit.packets));
                    self.next_unit(context);
                    if context.has_all() {
                        context.shared.late(None);
                        return Turn::Idle;
                    }
                }
                Sent::Burst(bytes) => {
                    context.shared.late(Some(unit.arrival));
                    let demand = self.demand(unit, context);
                    return Turn::Paced(self.pacer.due(bytes, &demand, context.now));
                }
                Sent::Full => {
                    context.shared.counters.blocked.add(1);
                    context.shared.late(Some(unit.arrival));
                    return Turn::Blocked;
                }
            }
        }
    }

    fn send_unit(
        &mut self,
        form: &UdpForm,
        track: usize,
        half: Half,
        context: &mut TurnContext<'_>,
    ) -> Sent {
        let Some(Some(peer)) = self.peers.get(track) else {
            return Sent::All;
        };
        let to = peer.address(half);
        let most = self.sockets.max_segments().min(SLICE);
        while let Some(run) = form.run(self.run) {
            let slice = form.slice(run, self.sent, most);
            if slice.is_empty() {
                self.run += 1;
                self.sent = 0;
                continue;
            }
            if !self.pacer.admits(slice.len()) {
                return Sent::Burst(slice.len());
            }
            match self.sockets.send(half, to, self.source, slice, run.segment) {
                Ok(()) => {
                    *context.progress = true;
                    let bytes = u64::try_from(slice.len()).unwrap_or(0);
                    context.shared.counters.bytes.add(bytes);
                }
                Err(error) if half == Half::Rtp && error.kind() == io::ErrorKind::WouldBlock => {
                    return Sent::Full;
                }
                // ICMP's answer to an earlier datagram, a packet too long for the network, no
                // route: this datagram is lost, as datagrams are.
                Err(_) => context.shared.counters.send_errors.add(1),
            }
            self.pacer.sent(slice.len(), context.now);
            self.sent += slice.len();
        }
        Sent::All
    }

    /// What the pacer has to know of the picture at the cursor; asked only when it is spread.
    fn demand(&self, unit: &Unit, context: &TurnContext<'_>) -> Demand {
        let (mut bytes, mut ahead) = (0_usize, 0_usize);
        let mut same = true;
        let mut number = context.cursor.next;
        while let Some(next) = context.window.unit(number) {
            number += 1;
            ahead = ahead.saturating_add(next.data.len());
            if next.track == unit.track && !next.flags.rtcp {
                same &= next.ts == unit.ts;
                if same {
                    bytes = bytes.saturating_add(next.data.len());
                }
            }
            if !same && ahead >= BURST {
                break;
            }
        }
        let form = unit.udp.get();
        let out = form.map_or(0, |form| form.position(self.run, self.sent));
        let frame = self
            .stream
            .tracks
            .get(unit.track)
            .zip(self.stream.identities.get(unit.track))
            .and_then(|(track, identity)| track.frame_time(identity.clock_rate));
        Demand {
            picture: (unit.track, unit.ts),
            bytes: bytes.saturating_sub(out),
            ahead: ahead.saturating_sub(out),
            age: context.now.saturating_duration_since(unit.arrival),
            frame,
            bitrate: self.stream.counters.bitrate.value(),
        }
    }

    fn next_unit(&mut self, context: &mut TurnContext<'_>) {
        context.cursor.next += 1;
        self.run = 0;
        self.sent = 0;
        self.admitted = false;
    }

    fn position(&mut self, context: &mut TurnContext<'_>) {
        if self.admitted {
            if context.cursor.next >= context.window.base {
                return;
            }
            if self.run > 0 || self.sent > 0 {
                context.shared.counters.truncated.add(1);
            }
            self.run = 0;
            self.sent = 0;
            self.admitted = false;
        }
        context.catch_up();
    }
}

enum Sent {
    All,
    /// A slice of so many bytes has to wait.
    Burst(usize),
    Full,
}
