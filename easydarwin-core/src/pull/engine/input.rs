//! What comes from the connection and the sockets, and what goes there.

use std::time::Instant;

use bytes::Bytes;

use super::{Phase, SourceEngine, SourceStep};
use crate::pull::conversation::Step;
use crate::rtp::Released;

impl SourceEngine {
    /// Takes one step with the bytes that were read and not yet consumed.
    pub fn next<'a>(&mut self, buf: &'a [u8], now: Instant) -> SourceStep<'a> {
        let Phase::Busy(busy) = &mut self.phase else {
            return match buf.len() {
                0 => SourceStep::NeedMore,
                consumed => SourceStep::Handled { consumed },
            };
        };
        let step = match busy.conversation.next(buf, now) {
            Step::NeedMore => return SourceStep::NeedMore,
            Step::Handled { consumed } => SourceStep::Handled { consumed },
            Step::Media {
                consumed,
                track,
                rtcp,
                data,
            } => {
                self.count(rtcp, data.len());
                SourceStep::Media {
                    consumed,
                    track,
                    rtcp,
                    data,
                }
            }
        };
        self.drain(now);
        step
    }

    /// Takes a datagram of the socket pair `socket`. RTP comes out of
    /// [`pop_packet`](Self::pop_packet) in its turn; what is returned is RTCP of that track.
    pub fn datagram(
        &mut self,
        socket: usize,
        rtcp: bool,
        data: Bytes,
        now: Instant,
    ) -> Option<(usize, Bytes)> {
        let Phase::Busy(busy) = &mut self.phase else {
            return None;
        };
        let track = busy.conversation.datagram(socket, rtcp, data.clone(), now);
        self.drain(now);
        track.map(|track| (track, data))
    }

    /// The next RTP packet that came by datagram and is in its turn.
    pub fn pop_packet(&mut self, now: Instant) -> Option<(usize, Released)> {
        let Phase::Busy(busy) = &mut self.phase else {
            return None;
        };
        let (track, released) = busy.conversation.pop_packet(now)?;
        self.count(false, released.packet.len());
        Some((track, released))
    }

    /// The sockets asked for by [`SourceOutput::Bind`](super::SourceOutput::Bind): an even port and the one above it.
    pub fn bound(&mut self, socket: usize, ports: Option<(u16, u16)>, now: Instant) {
        if let Phase::Busy(busy) = &mut self.phase {
            busy.conversation.bound(socket, ports, now);
            self.drain(now);
        }
    }

    /// What has to be written to the connection now, before outputs are acted on.
    pub fn take_output(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.last_bytes.take() {
            return Some(bytes);
        }
        match &mut self.phase {
            Phase::Busy(busy) => busy.conversation.take_output(),
            Phase::Waiting { .. } | Phase::Stopped => None,
        }
    }
}
