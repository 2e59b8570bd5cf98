use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::feedback::{Departure, Uplink};

/// A frame in the ring.
#[derive(Debug, Clone, Copy)]
struct Frame {
    captured: u64,
    bytes: u64,
    key: bool,
}

/// A frame, or a part of it, on its way.
#[derive(Debug, Clone, Copy)]
struct Piece {
    captured: u64,
    bytes: u64,
    /// Of the whole frame.
    size: u64,
    /// Its end is in it.
    last: bool,
}

/// A frame whose last byte has left the sender's socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) captured: u64,
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// Bytes of a frame that came through the bottleneck.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) captured: u64,
    pub(super) bytes: u64,
}

/// Largest segment that the kernel fills up.
const SEGMENT: u64 = 64 * 1024;

impl Piece {
    /// Cuts so many bytes off, or all.
    fn take(&mut self, most: u64) -> Self {
        let bytes = self.bytes.min(most);
        self.bytes -= bytes;
        Self {
            bytes,
            last: self.last && self.bytes == 0,
            ..*self
        }
    }
}

/// Ring, socket and bottleneck as queues without loss, in milliseconds and bytes.
#[derive(Debug)]
pub(super) struct Path {
    /// Round trip without any queue.
    rtt: u64,
    /// What the router before the bottleneck holds: TCP fills it.
    router: u64,
    ring: VecDeque<Frame>,
    wait_key: bool,
    /// What is left of the frame that is being written.
    begun: Option<Piece>,
    left: Vec<Left>,
    socket: VecDeque<Piece>,
    bottleneck: VecDeque<Piece>,
    /// Bits of the current capacity that were not used for a whole byte yet.
    spare_bits: u64,
    /// When which bytes are acknowledged.
    acks: VecDeque<(u64, u64)>,
    sent_total: u64,
    unsent: u64,
    in_flight: u64,
    late: u64,
    drops: u64,
}

/// What the shell is told to do.
#[derive(Debug)]
pub(super) struct Bounds {
    /// How long frames may wait in the ring.
    pub(super) ring: Duration,
    /// How late they may have left the socket.
    pub(super) leave: Duration,
    /// When what is written would leave the socket.
    pub(super) departure: Departure,
    /// Until then nothing is written, and the kernel is asked again.
    pub(super) held: Option<Instant>,
    /// Room for unsent bytes in the socket.
    pub(super) low_water: u64,
    /// Now.
    pub(super) at: Instant,
}

impl Path {
    pub(super) fn new(rtt: u64, router: u64) -> Self {
        Self {
            rtt,
            router,
            ring: VecDeque::new(),
            wait_key: false,
            begun: None,
            left: Vec::new(),
            socket: VecDeque::new(),
            bottleneck: VecDeque::new(),
            spare_bits: 0,
            acks: VecDeque::new(),
            sent_total: 0,
            unsent: 0,
            in_flight: 0,
            late: 0,
            drops: 0,
        }
    }

    pub(super) fn push(&mut self, now: u64, key: bool, bytes: u64) {
        if self.wait_key && !key {
            self.drops += 1;
            return;
        }
        self.wait_key = false;
        self.ring.push_back(Frame {
            captured: now,
            bytes,
            key,
        });
    }

    /// Takes the next frame, without what is too late or would be.
    fn begin(&mut self, now: u64, bounds: &mut Bounds) -> Option<Piece> {
        let late = |frame: &Frame| {
            let age = Duration::from_millis(now - frame.captured);
            let bytes = usize::try_from(frame.bytes).unwrap();
            age > bounds.ring || age + bounds.departure.after(bytes, bounds.at) > bounds.leave
        };
        if self.ring.front().is_some_and(late) {
            let in_time = |frame: &Frame| frame.key && !late(frame);
            let kept = self.ring.iter().rposition(in_time);
            let dropped = kept.unwrap_or(self.ring.len());
            self.ring.drain(..dropped);
            self.wait_key = kept.is_none();
            self.late += u64::try_from(dropped).unwrap();
            self.drops += u64::try_from(dropped).unwrap();
        }
        let frame = self.ring.pop_front()?;
        let bytes = usize::try_from(frame.bytes).unwrap();
        bounds.departure.add(bytes, bounds.at);
        bounds.held = bounds.departure.held(bounds.at);
        Some(Piece {
            captured: frame.captured,
            bytes: frame.bytes,
            size: frame.bytes,
            last: true,
        })
    }

    /// One millisecond at so many bits a second.
    pub(super) fn pass(&mut self, now: u64, capacity: u64, bounds: &mut Bounds) -> Vec<Arrival> {
        while let Some((_, bytes)) = self.acks.pop_front_if(|(at, _)| *at <= now) {
            self.in_flight -= bytes;
        }
        while self.unsent < bounds.low_water {
            if self.begun.is_none() && bounds.held.is_none() {
                self.begun = self.begin(now, bounds);
            }
            let Some(piece) = &mut self.begun else {
                break;
            };
            // The kernel fills up its last segment, however little room is left.
            let part = piece.take(SEGMENT);
            self.unsent += part.bytes;
            self.sent_total += part.bytes;
            self.socket.push_back(part);
            if part.last {
                self.begun = None;
            }
        }
        let window = capacity * self.rtt / 8000 + self.router;
        while self.in_flight < window
            && let Some(piece) = self.socket.front_mut()
        {
            let part = piece.take(1400);
            self.bottleneck.push_back(part);
            if piece.bytes == 0 {
                self.socket.pop_front();
            }
            self.unsent -= part.bytes;
            self.in_flight += part.bytes;
            if part.last {
                self.left.push(Left {
                    captured: part.captured,
                    at: now,
                    bytes: part.size,
                });
            }
        }
        self.drain(now, capacity)
    }

    fn drain(&mut self, now: u64, capacity: u64) -> Vec<Arrival> {
        self.spare_bits += capacity / 1000;
        let mut arrived = Vec::new();
        while let Some(piece) = self.bottleneck.front_mut() {
            let part = piece.take(self.spare_bits / 8);
            if part.bytes == 0 {
                return arrived;
            }
            self.spare_bits -= part.bytes * 8;
            self.acks.push_back((now + self.rtt, part.bytes));
            arrived.push(Arrival {
                captured: part.captured,
                bytes: part.bytes,
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
        // Packets that are made and not written are unsent, too.
        let begun = self.begun.map_or(0, |piece| piece.bytes);
        Uplink {
            queued: Duration::from_millis(self.ring.front().map_or(0, |p| now - p.captured)),
            queued_bytes: size(self.ring.iter().map(|piece| piece.bytes).sum()),
            unsent: size(self.unsent + begun),
            in_flight: size(self.in_flight),
            sent_total: self.sent_total + begun,
            // As smooth as the kernel's, for it sees the queue too.
            rtt: Some(Duration::from_millis(self.rtt + waiting / 1000)),
            drops: self.late,
        }
    }

    /// The frames that have left the socket.
    pub(super) fn left(self) -> Vec<Left> {
        self.left
    }

    pub(super) fn drops(&self) -> u64 {
        self.drops
    }
}
