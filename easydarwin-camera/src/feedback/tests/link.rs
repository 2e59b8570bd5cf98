use std::collections::VecDeque;
use std::time::Duration;

use crate::feedback::Uplink;

/// A frame, or what is left of it, on its way.
#[derive(Debug, Clone, Copy)]
struct Piece {
    captured: u64,
    bytes: u64,
}

/// Bytes of a frame that came through the bottleneck.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) captured: u64,
    pub(super) bytes: u64,
}

/// Ring, socket and bottleneck as queues without loss, in milliseconds and bytes.
#[derive(Debug)]
pub(super) struct Path {
    /// Round trip without any queue.
    rtt: u64,
    /// What the router before the bottleneck holds: TCP fills it.
    router: u64,
    ring: VecDeque<Piece>,
    wait_key: bool,
    socket: VecDeque<Piece>,
    bottleneck: VecDeque<Piece>,
    /// Bits of the current capacity that were not used for a whole byte yet.
    spare_bits: u64,
    /// When which bytes are acknowledged.
    acks: VecDeque<(u64, u64)>,
    sent_total: u64,
    unsent: u64,
    in_flight: u64,
    drops: u64,
}

impl Path {
    pub(super) fn new(rtt: u64, router: u64) -> Self {
        Self {
            rtt,
            router,
            ring: VecDeque::new(),
            wait_key: false,
            socket: VecDeque::new(),
            bottleneck: VecDeque::new(),
            spare_bits: 0,
            acks: VecDeque::new(),
            sent_total: 0,
            unsent: 0,
            in_flight: 0,
            drops: 0,
        }
    }

    pub(super) fn push(&mut self, now: u64, key: bool, bytes: u64, limit: Duration) {
        let too_old = |piece: &Piece| u128::from(now - piece.captured) > limit.as_millis();
        if self.ring.front().is_some_and(too_old) {
            // The tail goes; what is being written stays whole.
            self.drops += u64::try_from(self.ring.len() - 1).unwrap();
            self.ring.truncate(1);
            self.wait_key = true;
        }
        if self.wait_key && !key {
            self.drops += 1;
            return;
        }
        self.wait_key = false;
        self.ring.push_back(Piece {
            captured: now,
            bytes,
        });
    }

    /// One millisecond at so many bits a second, with so much room for unsent bytes in the socket.
    pub(super) fn pass(&mut self, now: u64, capacity: u64, low_water: u64) -> Vec<Arrival> {
        while let Some((_, bytes)) = self.acks.pop_front_if(|(at, _)| *at <= now) {
            self.in_flight -= bytes;
        }
        while self.unsent < low_water
            && let Some(piece) = self.ring.front_mut()
        {
            let bytes = piece.bytes.min(low_water - self.unsent);
            piece.bytes -= bytes;
            self.unsent += bytes;
            self.sent_total += bytes;
            self.socket.push_back(Piece { bytes, ..*piece });
            if piece.bytes == 0 {
                self.ring.pop_front();
            }
        }
        let window = capacity * self.rtt / 8000 + self.router;
        while self.in_flight < window
            && let Some(piece) = self.socket.front_mut()
        {
            let bytes = piece.bytes.min(1400);
            piece.bytes -= bytes;
            self.bottleneck.push_back(Piece { bytes, ..*piece });
            if piece.bytes == 0 {
                self.socket.pop_front();
            }
            self.unsent -= bytes;
            self.in_flight += bytes;
        }
        self.drain(now, capacity)
    }

    fn drain(&mut self, now: u64, capacity: u64) -> Vec<Arrival> {
        self.spare_bits += capacity / 1000;
        let mut arrived = Vec::new();
        while let Some(piece) = self.bottleneck.front_mut() {
            let bytes = piece.bytes.min(self.spare_bits / 8);
            if bytes == 0 {
                return arrived;
            }
            self.spare_bits -= bytes * 8;
            piece.bytes -= bytes;
            self.acks.push_back((now + self.rtt, bytes));
            arrived.push(Arrival {
                captured: piece.captured,
                bytes,
            });
            if piece.bytes == 0 {
                self.bottleneck.pop_front();
            }
        }
        // An idle link saves nothing up.
        self.spare_bits = 0;
        arrived
    }

    pub(super) fn uplink(&self, now: u64) -> Uplink {
        let size = |bytes: u64| usize::try_from(bytes).unwrap();
        let waiting: u64 = self.bottleneck.iter().map(|piece| piece.bytes).sum();
        Uplink {
            queued: Duration::from_millis(self.ring.front().map_or(0, |p| now - p.captured)),
            queued_bytes: size(self.ring.iter().map(|piece| piece.bytes).sum()),
            unsent: size(self.unsent),
            in_flight: size(self.in_flight),
            sent_total: self.sent_total,
            // As smooth as the kernel's, for it sees the queue too.
            rtt: Some(Duration::from_millis(self.rtt + waiting / 1000)),
            drops: self.drops,
        }
    }

    pub(super) fn drops(&self) -> u64 {
        self.drops
    }
}
