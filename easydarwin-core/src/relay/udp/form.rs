use bytes::{Bytes, BytesMut};

use crate::relay::unit::Packets;

/// Most datagrams of one send with segmentation offload (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;
/// Most bytes of one send: below what an IP packet's length can say.
const MAX_RUN: usize = 65_000;

/// A unit's packets bare and packed for segmentation offload; made once per unit.
#[derive(Debug)]
pub(in crate::relay) struct UdpForm {
    data: Bytes,
    runs: Vec<Run>,
}

/// Datagrams that one system call sends: all of the same size, the last one may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    start: usize,
    end: usize,
    /// Bytes of one datagram.
    pub(super) segment: usize,
}

impl UdpForm {
    /// From packets in interleaved framing.
    pub(in crate::relay) fn of(framed: &[u8]) -> Self {
        let mut data = BytesMut::with_capacity(framed.len());
        let mut runs: Vec<Run> = Vec::new();
        for packet in Packets::of(framed) {
            let start = data.len();
            data.extend_from_slice(packet);
            let end = data.len();
            match runs.last_mut().filter(|run| run.takes(packet.len())) {
                Some(run) => run.end = end,
                None => runs.push(Run {
                    start,
                    end,
                    segment: packet.len().max(1),
                }),
            }
        }
        Self {
            data: data.freeze(),
            runs,
        }
    }

    pub(super) fn run(&self, index: usize) -> Option<Run> {
        self.runs.get(index).copied()
    }

    /// Bytes before the `sent`-th of a run.
    pub(super) fn position(&self, run: usize, sent: usize) -> usize {
        self.run(run).map_or(0, |run| run.start + sent)
    }

    /// Up to `most` datagrams of a run from the `sent`-th byte on.
    pub(super) fn slice(&self, run: Run, sent: usize, most: usize) -> &[u8] {
        let start = run.start.saturating_add(sent).min(run.end);
        let end = start
            .saturating_add(run.segment.saturating_mul(most))
            .min(run.end);
        self.data.get(start..end).unwrap_or_default()
    }
}

impl Run {
    fn takes(&self, len: usize) -> bool {
        let used = self.end - self.start;
        // A shorter datagram ended the run; a longer one cannot be in it.
        used.is_multiple_of(self.segment)
            && len <= self.segment
            && len > 0
            && used + len <= MAX_RUN
            && used / self.segment < MAX_SEGMENTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(lens: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, len) in (0_u8..).zip(lens) {
            out.extend_from_slice(&[b'$', 0]);
            out.extend_from_slice(&u16::try_from(*len).unwrap().to_be_bytes());
            out.resize(out.len() + len, index);
        }
        out
    }

    #[test]
    fn equal_packets_share_a_run_and_a_shorter_one_ends_it() {
        let form = UdpForm::of(&framed(&[100, 100, 60, 60, 100]));
        let lens: Vec<_> = form
            .runs
            .iter()
            .map(|run| (run.segment, run.end - run.start))
            .collect();
        assert_eq!(lens, [(100, 260), (60, 60), (100, 100)]);
    }

    #[test]
    fn runs_are_bounded_in_segments_and_bytes() {
        let form = UdpForm::of(&framed(&[10; 100]));
        assert_eq!(
            form.runs
                .iter()
                .map(|run| run.end - run.start)
                .collect::<Vec<_>>(),
            [640, 360]
        );
        let form = UdpForm::of(&framed(&[1400; 100]));
        assert!(form.runs.iter().all(|run| run.end - run.start <= MAX_RUN));
        assert_eq!(form.runs.len(), 3);
    }

    #[test]
    fn slices_follow_each_other() {
        let form = UdpForm::of(&framed(&[10; 10]));
        let run = form.run(0).unwrap();
        assert_eq!(form.slice(run, 0, 4).len(), 40);
        assert_eq!(form.slice(run, 40, 64)[0], 4);
        assert_eq!(form.slice(run, 100, 64).len(), 0);
    }
}
