//! What waits for the network: bytes of the connection, or datagrams and when they may go.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use easydarwin_core::rtp::PacketRun;

/// Packets of a unit that need no pacing.
const SMALL_UNIT: usize = 16;
/// Datagrams in one burst: what the queues of cheap access points take.
const BURST: usize = 8;
/// Shortest pause between bursts: finer timers cost more than they smooth.
const LEAST_PAUSE: Duration = Duration::from_millis(2);
/// `$`, channel and length before each packet of a run.
const FRAME_HEADER: usize = 4;

/// The bytes of the connection: requests and answers between whole frames. `Debug` shows none of
/// them: requests hold tokens.
#[derive(Default)]
pub(super) struct Output {
    control: BytesMut,
    run: PacketRun,
    /// Bytes of `run` that were written.
    written: usize,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("pending", &self.pending().len())
            .finish_non_exhaustive()
    }
}

impl Output {
    /// For more requests.
    pub(super) fn control(&mut self) -> &mut BytesMut {
        &mut self.control
    }

    /// An empty run for packets; `None` while the one before is not written.
    pub(super) fn free_run(&mut self) -> Option<&mut PacketRun> {
        if self.written < self.run.interleaved().len() {
            return None;
        }
        self.run.clear();
        self.written = 0;
        Some(&mut self.run)
    }

    /// What is to be written next.
    pub(super) fn pending(&self) -> &[u8] {
        let run = self.run.interleaved();
        if !self.control.is_empty() && (self.written == 0 || self.written >= run.len()) {
            return &self.control;
        }
        run.get(self.written..).unwrap_or_default()
    }

    /// So much of it was.
    pub(super) fn advance(&mut self, count: usize) {
        let run = self.run.interleaved().len();
        if !self.control.is_empty() && (self.written == 0 || self.written >= run) {
            self.control.advance(count.min(self.control.len()));
        } else {
            self.written = self.written.saturating_add(count).min(run);
        }
    }
}

/// Datagrams of one kind of media, a unit at a time, in bursts.
#[derive(Debug)]
pub(super) struct Lane {
    run: PacketRun,
    sent: usize,
    in_burst: usize,
    next_burst: Option<Instant>,
    pause: Duration,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            run: PacketRun::new(),
            sent: 0,
            in_burst: 0,
            next_burst: None,
            pause: Duration::ZERO,
        }
    }

    /// An empty run for the next unit; `None` while one is on its way.
    pub(super) fn free_run(&mut self) -> Option<&mut PacketRun> {
        if self.sent < self.run.interleaved().len() {
            return None;
        }
        self.run.clear();
        (self.sent, self.in_burst) = (0, 0);
        (self.next_burst, self.pause) = (None, Duration::ZERO);
        Some(&mut self.run)
    }

    /// Whether the next unit can come.
    pub(super) fn is_free(&self) -> bool {
        self.sent >= self.run.interleaved().len()
    }

    /// Large units are sent over the greater part of the time to the next one.
    pub(super) fn pace(&mut self, interval: Duration) {
        let packets = self.run.packet_count();
        if packets > SMALL_UNIT {
            let pauses = u32::try_from(packets.div_ceil(BURST) - 1).unwrap_or(u32::MAX);
            self.pause = (interval * 7 / 10 / pauses.max(1)).max(LEAST_PAUSE);
        }
    }

    /// The next datagram that may go now, with its interleaved channel.
    pub(super) fn due(&self, now: Instant) -> Option<(u8, &[u8])> {
        if self.next_burst.is_some_and(|at| now < at) {
            return None;
        }
        let rest = self.run.interleaved().get(self.sent..)?;
        let (&[_, channel, l0, l1], rest) = rest.split_first_chunk::<FRAME_HEADER>()?;
        let data = rest.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
        Some((channel, data))
    }

    /// It was sent.
    pub(super) fn advance(&mut self, now: Instant) {
        let Some((_, data)) = self.due(now) else {
            return;
        };
        self.sent += FRAME_HEADER + data.len();
        self.in_burst += 1;
        if self.in_burst >= BURST && !self.pause.is_zero() {
            self.in_burst = 0;
            self.next_burst = Some(now + self.pause);
        }
    }

    /// When the next burst begins, if one waits.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.sent < self.run.interleaved().len();
        self.next_burst.filter(|_| waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_between_frames_and_never_into_one() {
        let mut output = Output::default();
        output.free_run().unwrap().push_packet(0, &[1; 8]);
        output.control().extend_from_slice(b"OPTIONS");
        assert_eq!(output.pending(), b"OPTIONS");
        output.advance(3);
        assert_eq!(output.pending(), b"IONS");
        output.advance(4);
        assert_eq!(output.pending().len(), 12);
        output.advance(5);
        output.control().extend_from_slice(b"PLAY");
        assert_eq!(output.pending().len(), 7);
        assert!(output.free_run().is_none());
        output.advance(7);
        assert_eq!(output.pending(), b"PLAY");
        assert!(output.free_run().is_some());
        output.advance(4);
        assert_eq!(output.pending(), b"");
    }

    #[test]
    fn a_key_frame_is_spread_over_most_of_the_frame_interval() {
        let start = Instant::now();
        let mut lane = Lane::new();
        for number in 0..100 {
            lane.free_run();
            assert!(lane.run.push_packet(2, &[number; 100]));
            lane.sent = 0;
            // `free_run` gives none while packets wait: the run grows.
        }
        lane.pace(Duration::from_millis(40));
        let mut now = start;
        let mut sent = Vec::new();
        loop {
            while let Some((channel, data)) = lane.due(now) {
                assert_eq!((channel, data.len()), (2, 100));
                sent.push(now);
                lane.advance(now);
            }
            match lane.poll_timeout() {
                Some(at) => now = at,
                None => break,
            }
        }
        assert_eq!(sent.len(), 100);
        let longest = sent.chunk_by(|a, b| a == b).map(<[_]>::len).max();
        assert_eq!(longest, Some(BURST));
        let took = now - start;
        let limits = Duration::from_millis(23)..Duration::from_millis(29);
        assert!(limits.contains(&took), "{took:?}");
        // A usual picture goes at once.
        let run = lane.free_run().unwrap();
        for _ in 0..SMALL_UNIT {
            run.push_packet(2, &[0; 100]);
        }
        lane.pace(Duration::from_millis(40));
        for _ in 0..SMALL_UNIT {
            assert!(lane.due(now).is_some());
            lane.advance(now);
        }
        assert!(lane.due(now).is_none() && lane.poll_timeout().is_none());
    }
}
