//! The beep: eight seconds of AAC-LC, 16 kHz mono, made in advance, played in a loop.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use easydarwin_core::media::Track;

pub(super) const SAMPLE_RATE: u32 = 16_000;
pub(super) const FRAME_SAMPLES: u32 = 1_024;
/// AudioSpecificConfig: AAC-LC, 16 kHz, mono (ISO/IEC 14496-3, 1.6.2.1).
const CONFIG: [u8; 2] = [0x14, 0x08];
/// ADTS frames out of the middle of a periodic signal, so that the end fits the beginning; the
/// first decodes to the beginning of a full second.
const LOOP: &[u8] = include_bytes!("beep.aac");
const ADTS_HEADER: usize = 7;

pub(super) fn track(payload_type: u8) -> Track {
    Track::aac(payload_type, SAMPLE_RATE, 1, Bytes::from_static(&CONFIG))
}

/// The frames of the loop and where in it we are.
#[derive(Debug)]
pub(super) struct Beep {
    frames: Vec<Bytes>,
    /// Frames since the begin of the loop in which the source started.
    next: u64,
    /// Samples from the begin of that loop to media time 0.
    offset: i64,
}

impl Beep {
    /// A loop in which the beeps fall on the full seconds of the wall clock.
    pub(super) fn starting(wall: SystemTime) -> Self {
        let frames = split_adts(LOOP);
        let count = u64::try_from(frames.len()).unwrap_or(1).max(1);
        let loop_samples = count * u64::from(FRAME_SAMPLES);
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let rate = u64::from(SAMPLE_RATE);
        let fraction = u64::from(since.subsec_nanos()) * rate / 1_000_000_000;
        let position = (since.as_secs() * rate + fraction) % loop_samples;
        Self {
            frames,
            next: position.div_ceil(u64::from(FRAME_SAMPLES)),
            offset: i64::try_from(position).unwrap_or(0),
        }
    }

    /// Media time of the next frame in samples.
    pub(super) fn pts(&self) -> i64 {
        i64::try_from(self.next * u64::from(FRAME_SAMPLES)).unwrap_or(i64::MAX) - self.offset
    }

    /// The next frame, without ADTS header.
    pub(super) fn take(&mut self) -> Bytes {
        let count = u64::try_from(self.frames.len()).unwrap_or(1).max(1);
        let index = usize::try_from(self.next % count).unwrap_or(0);
        self.next += 1;
        self.frames.get(index).cloned().unwrap_or_default()
    }

    /// Leaves frames out, after the program was held up.
    pub(super) fn skip_to(&mut self, pts: i64) {
        let behind = u64::try_from(pts - self.pts()).unwrap_or(0);
        self.next += behind / u64::from(FRAME_SAMPLES);
    }
}

/// Cuts ADTS into raw frames (ISO/IEC 14496-3, 1.A.2); stops at what is no frame.
fn split_adts(data: &'static [u8]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut rest = data;
    while let [0xff, _, _, a, b, c, ..] = rest {
        let length = usize::from(a & 3) << 11 | usize::from(*b) << 3 | usize::from(*c) >> 5;
        let Some((frame, tail)) = rest.split_at_checked(length) else {
            break;
        };
        let Some(payload) = frame.get(ADTS_HEADER..) else {
            break;
        };
        frames.push(Bytes::from_static(payload));
        rest = tail;
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_is_eight_seconds() {
        assert_eq!(split_adts(LOOP).len(), 125);
    }

    #[test]
    fn beeps_fall_on_full_seconds() {
        let start = UNIX_EPOCH + Duration::from_millis(1_000_000_000_300);
        let mut beep = Beep::starting(start);
        let first = beep.pts();
        assert!((0..1024).contains(&first));
        // The frame that begins the loop belongs to a second that 8 divides.
        while !beep.next.is_multiple_of(125) {
            beep.take();
        }
        // The start is 300 ms after a second that 8 divides.
        assert_eq!((300 * 16 + beep.pts()) % (8 * 16_000), 0);
        beep.skip_to(beep.pts() + 10 * 1024 + 5);
        assert_eq!(beep.next % 125, 10);
    }
}
