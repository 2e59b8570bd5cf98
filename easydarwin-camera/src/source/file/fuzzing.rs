//! The way of a file from bytes to frames, for the fuzzer: no disk, no waiting.

use std::io::Cursor;
use std::time::Instant;

use super::play::Frames;
use super::{DEFAULT_FPS, annexb, load_raw, movie};
use crate::source::blank_unit;

/// Enough to begin a loop anew.
const FRAMES: usize = 64;

/// Reads `bytes` as MP4 or, when the first byte says so, as raw H.264 or H.265, and takes frames.
/// Returns how many there were.
pub fn fuzz_file(bytes: &[u8]) -> usize {
    let Some((kind, bytes)) = bytes.split_first() else {
        return 0;
    };
    let mut file = Cursor::new(bytes);
    let clip = match kind % 3 {
        0 => movie::read(&mut file),
        1 => load_raw(&mut file, annexb::Codec::H264, None),
        _ => load_raw(&mut file, annexb::Codec::H265, Some(DEFAULT_FPS)),
    };
    let Ok(clip) = clip else {
        return 0;
    };
    let start = Instant::now();
    let mut source = Frames::new(clip, file);
    let mut unit = blank_unit(start);
    let mut frames = 0;
    while frames < FRAMES {
        let Some((sample, elapsed)) = source.upcoming() else {
            break;
        };
        // A clip that says it lasts for centuries must not stop the clock.
        let due = start.checked_add(elapsed).unwrap_or(start);
        if source.take(sample, due, &mut unit).is_err() {
            break;
        }
        frames += 1;
    }
    frames
}
