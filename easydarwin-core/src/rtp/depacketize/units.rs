use std::collections::VecDeque;

use bytes::Bytes;

use super::MediaPacket;
use crate::media::AccessUnit;

/// Complete access units on their way out, and the marks for the next one.
#[derive(Debug)]
pub(super) struct Units {
    track: usize,
    ready: VecDeque<AccessUnit>,
    lossy: bool,
    discontinuity: bool,
}

impl Units {
    pub(super) fn new(track: usize) -> Self {
        Self {
            track,
            ready: VecDeque::new(),
            lossy: false,
            discontinuity: false,
        }
    }

    pub(super) fn pop(&mut self) -> Option<AccessUnit> {
        self.ready.pop_front()
    }

    /// Something was lost before the access unit that is opened next, or inside the open one.
    pub(super) fn mark_lossy(&mut self) {
        self.lossy = true;
    }

    pub(super) fn take_lossy(&mut self) -> bool {
        std::mem::take(&mut self.lossy)
    }

    pub(super) fn mark_discontinuity(&mut self) {
        self.discontinuity = true;
        // What is missing is missing on the other side of the cut.
        self.lossy = false;
    }

    /// An access unit without data yet, with time of this packet and the pending marks.
    pub(super) fn open(&mut self, packet: &MediaPacket<'_>, key: bool) -> AccessUnit {
        AccessUnit {
            track: self.track,
            pts: packet.timestamp,
            arrival: packet.arrival,
            ntp: packet.ntp,
            key,
            discontinuity: std::mem::take(&mut self.discontinuity),
            lossy: self.take_lossy(),
            data: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, unit: AccessUnit) {
        self.ready.push_back(unit);
    }

    /// A frame of audio that is complete.
    pub(super) fn push_frame(&mut self, packet: &MediaPacket<'_>, pts: i64, frame: &[u8]) {
        let mut unit = self.open(packet, true);
        if pts != packet.timestamp {
            // The wall clock belongs to the first frame of the packet.
            unit.ntp = None;
        }
        unit.pts = pts;
        unit.data.push(Bytes::copy_from_slice(frame));
        self.push(unit);
    }
}
