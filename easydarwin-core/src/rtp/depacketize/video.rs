use bytes::BytesMut;

use super::units::Units;
use super::{DepacketizeError, MAX_ACCESS_UNIT, MediaPacket};
use crate::media::AccessUnit;
use crate::rtp::pieces::{NalFormat, Piece, pieces};

/// Most NAL units of an access unit; what is beyond is dropped.
const MAX_NAL_UNITS: usize = 4096;

/// What the marker bits of this publisher are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Markers {
    /// None has been proven yet.
    Unproven,
    /// They end pictures.
    Honest,
    /// One came in the middle of a picture: every slice has one.
    Sloppy,
}

/// Access units of H.264 and H.265.
#[derive(Debug)]
pub(super) struct VideoAssembler {
    format: NalFormat,
    markers: Markers,
    open: Option<OpenUnit>,
    /// Payload of the open unit; a fragment in progress is at its end.
    buffer: BytesMut,
    /// Ends of the NAL units in `buffer`.
    ends: Vec<usize>,
    /// NAL unit type of the fragment in progress, or that its rest is dropped.
    fragment: Option<FragmentState>,
    /// Timestamp of the unit that a marker completed last.
    completed: Option<i64>,
}

#[derive(Debug)]
struct OpenUnit {
    unit: AccessUnit,
    has_vcl: bool,
    /// A marker came with a slice.
    marked: bool,
    recovery_point: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FragmentState {
    nal_type: u8,
    start: usize,
}

impl VideoAssembler {
    pub(super) fn new(format: NalFormat) -> Self {
        Self {
            format,
            markers: Markers::Unproven,
            open: None,
            buffer: BytesMut::new(),
            ends: Vec::new(),
            fragment: None,
            completed: None,
        }
    }

    pub(super) fn push(
        &mut self,
        packet: &MediaPacket<'_>,
        units: &mut Units,
    ) -> Result<(), DepacketizeError> {
        if packet.lost_before {
            self.drop_fragment();
            let same_picture = self.mark_open_lossy(packet.timestamp);
            if !same_picture {
                units.mark_lossy();
            }
        }
        if let Some(open) = &self.open
            && open.unit.pts != packet.timestamp
        {
            if self.markers == Markers::Unproven && open.marked && !packet.lost_before {
                self.markers = Markers::Honest;
            }
            self.complete(units);
        }
        let result = self.push_pieces(packet, units);
        if result.is_err() && !self.mark_open_lossy(packet.timestamp) {
            units.mark_lossy();
        }
        if let Some(open) = &mut self.open {
            open.unit.arrival = packet.arrival;
            // A marker inside of a fragmented NAL unit ends nothing.
            if packet.marker && open.has_vcl && self.fragment.is_none() {
                open.marked = true;
                if self.markers == Markers::Honest {
                    self.completed = Some(packet.timestamp);
                    self.complete(units);
                }
            }
        }
        result
    }

    /// Hands over what is there of the open unit.
    pub(super) fn complete(&mut self, units: &mut Units) {
        let cut = self.fragment.is_some();
        self.drop_fragment();
        let Some(mut open) = self.open.take() else {
            return;
        };
        let mut data = self.buffer.split().freeze();
        let mut start = 0;
        for end in self.ends.drain(..) {
            let len = end.saturating_sub(start).min(data.len());
            open.unit.data.push(data.split_to(len));
            start = end;
        }
        open.unit.lossy |= cut;
        open.unit.key |= open.recovery_point && open.has_vcl;
        if !open.unit.data.is_empty() {
            units.push(open.unit);
        } else if open.unit.lossy {
            units.mark_lossy();
        }
    }

    pub(super) fn reset(&mut self) {
        self.open = None;
        self.buffer.clear();
        self.ends.clear();
        self.fragment = None;
        self.completed = None;
    }

    fn push_pieces(
        &mut self,
        packet: &MediaPacket<'_>,
        units: &mut Units,
    ) -> Result<(), DepacketizeError> {
        let mut result = Ok(());
        for piece in pieces(self.format, packet.payload) {
            let pushed = piece.and_then(|piece| self.push_piece(&piece, packet, units));
            // The first error is told, the other pieces are used nevertheless.
            result = result.and(pushed);
        }
        result
    }

    fn push_piece(
        &mut self,
        piece: &Piece<'_>,
        packet: &MediaPacket<'_>,
        units: &mut Units,
    ) -> Result<(), DepacketizeError> {
        if !piece.start {
            return self.continue_fragment(piece);
        }
        if self.fragment.is_some() {
            // Its end was lost without a gap in the sequence.
            self.drop_fragment();
            if let Some(open) = &mut self.open {
                open.unit.lossy = true;
            }
        }
        self.judge_markers(piece, packet, units);
        let ends_unit = piece.starts_picture() || piece.precedes_picture();
        if ends_unit && self.open.as_ref().is_some_and(|open| open.has_vcl) {
            self.complete(units);
        }
        let open = self.open.get_or_insert_with(|| OpenUnit {
            unit: units.open(packet, false),
            has_vcl: false,
            marked: false,
            recovery_point: false,
        });
        open.unit.lossy |= units.take_lossy();
        let size = piece.header().len() + piece.body.len();
        if self.buffer.len() + size > MAX_ACCESS_UNIT || self.ends.len() >= MAX_NAL_UNITS {
            open.unit.lossy = true;
            return Err(DepacketizeError::TooLarge);
        }
        open.has_vcl |= piece.is_vcl();
        open.unit.key |= piece.is_key();
        open.recovery_point |= piece.is_instant_recovery_point();
        let start = self.buffer.len();
        self.buffer.extend_from_slice(piece.header());
        self.buffer.extend_from_slice(piece.body);
        if piece.end {
            self.ends.push(self.buffer.len());
        } else {
            self.fragment = Some(FragmentState {
                nal_type: piece.nal_type(),
                start,
            });
        }
        Ok(())
    }

    fn continue_fragment(&mut self, piece: &Piece<'_>) -> Result<(), DepacketizeError> {
        let expected = self
            .fragment
            .is_some_and(|f| f.nal_type == piece.nal_type());
        if !expected {
            self.drop_fragment();
            return Err(DepacketizeError::MissingStart);
        }
        if self.buffer.len() + piece.body.len() > MAX_ACCESS_UNIT {
            self.drop_fragment();
            return Err(DepacketizeError::TooLarge);
        }
        self.buffer.extend_from_slice(piece.body);
        if piece.end {
            self.fragment = None;
            self.ends.push(self.buffer.len());
        }
        Ok(())
    }

    /// Marks the open unit; whether there is one and it has this timestamp.
    fn mark_open_lossy(&mut self, timestamp: i64) -> bool {
        self.open.as_mut().is_some_and(|open| {
            open.unit.lossy = true;
            open.unit.pts == timestamp
        })
    }

    fn drop_fragment(&mut self) {
        if let Some(fragment) = self.fragment.take() {
            self.buffer.truncate(fragment.start);
        }
    }

    /// A slice that goes on with a picture whose marker has come: markers mean nothing here.
    fn judge_markers(&mut self, piece: &Piece<'_>, packet: &MediaPacket<'_>, units: &mut Units) {
        if !piece.is_vcl() || packet.lost_before {
            return;
        }
        let continues = !piece.starts_picture();
        match &self.open {
            Some(open) if open.marked && continues => self.markers = Markers::Sloppy,
            Some(open) if open.marked && self.markers == Markers::Unproven => {
                self.markers = Markers::Honest;
            }
            None if continues && self.completed == Some(packet.timestamp) => {
                self.markers = Markers::Sloppy;
                // This picture was cut in two.
                units.mark_lossy();
            }
            _ => {}
        }
    }
}
