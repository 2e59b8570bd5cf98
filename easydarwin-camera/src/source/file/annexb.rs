//! Raw H.264 and H.265 byte streams (Annex B of both): where the pictures begin.

use std::io::{self, Read};
use std::ops::Range;

use easydarwin_core::media::{H264Params, H265Params, SessionDescription, Track};

use super::clip::{Clip, Sample, Span};

const PAYLOAD_TYPE: u8 = 96;
/// RTP clock of both payload formats, in Hz.
const CLOCK: f64 = 90_000.0;
const READ_BUFFER: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    H264,
    H265,
}

/// What a NAL unit means for the boundaries of pictures (H.264, 7.4.1.2.3; H.265, 7.4.2.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The first slice of a picture.
    Picture { key: bool },
    /// A further slice.
    Slice,
    /// Something that stands before the slices of its picture.
    Prefix,
    /// Something that stands behind them.
    Suffix,
}

impl Codec {
    fn role(self, [first, second, third]: [u8; 3]) -> Role {
        match self {
            Self::H264 => match first & 0x1f {
                // first_mb_in_slice is 0 when its code is a single 1.
                kind @ (1 | 2 | 5) if second & 0x80 != 0 => Role::Picture { key: kind == 5 },
                1..=5 => Role::Slice,
                6..=9 | 14..=18 => Role::Prefix,
                _ => Role::Suffix,
            },
            Self::H265 => match first >> 1 & 0x3f {
                // first_slice_segment_in_pic_flag
                kind @ 0..=31 if third & 0x80 != 0 => Role::Picture {
                    key: (16..=21).contains(&kind),
                },
                0..=31 => Role::Slice,
                32..=35 | 39 | 41..=44 | 48..=55 => Role::Prefix,
                _ => Role::Suffix,
            },
        }
    }
}

/// Finds the pictures; their times are not set yet.
pub(super) fn index(file: &mut impl Read, codec: Codec) -> io::Result<Vec<Sample>> {
    let mut indexer = Indexer {
        codec,
        samples: Vec::new(),
        begin: None,
        has_picture: false,
        key: false,
    };
    let mut buffer = vec![0; READ_BUFFER];
    let mut at = 0u64;
    let mut zeros = 0u32;
    // The bytes behind the last start code, as far as they were seen.
    let mut head = [0; 3];
    let mut seen = 3;
    let mut start = 0;
    loop {
        let count = file.read(&mut buffer)?;
        for &byte in buffer.iter().take(count) {
            if let Some(slot) = head.get_mut(seen) {
                *slot = byte;
                seen += 1;
                if seen == 3 {
                    indexer.unit(head, start);
                }
            }
            if byte == 1 && zeros >= 2 {
                start = at - 2;
                seen = 0;
            }
            zeros = if byte == 0 {
                zeros.saturating_add(1)
            } else {
                0
            };
            at += 1;
        }
        if count == 0 {
            break;
        }
    }
    indexer.close(at);
    Ok(indexer.samples)
}

struct Indexer {
    codec: Codec,
    samples: Vec<Sample>,
    begin: Option<u64>,
    has_picture: bool,
    key: bool,
}

impl Indexer {
    fn unit(&mut self, head: [u8; 3], start: u64) {
        let role = self.codec.role(head);
        if self.has_picture && matches!(role, Role::Picture { .. } | Role::Prefix) {
            self.close(start);
        }
        self.begin.get_or_insert(start);
        if let Role::Picture { key } = role {
            self.has_picture = true;
            self.key = key;
        }
    }

    fn close(&mut self, end: u64) {
        let Some(begin) = self.begin.take() else {
            return;
        };
        if std::mem::take(&mut self.has_picture) {
            self.samples.push(Sample {
                track: 0,
                offset: begin,
                // Over-long units are refused when they are read.
                size: u32::try_from(end - begin).unwrap_or(u32::MAX),
                due: 0,
                pts: 0,
                key: self.key,
            });
        }
    }
}

/// Makes a clip of pictures in display order at a constant rate.
pub(super) fn clip(track: Track, mut samples: Vec<Sample>, fps: f64) -> Clip {
    let nanos = |index: i64| scaled(index, 1e9 / fps);
    for (index, sample) in (0i64..).zip(samples.iter_mut()) {
        sample.due = nanos(index);
        sample.pts = scaled(index, CLOCK / fps);
    }
    let count = i64::try_from(samples.len()).unwrap_or(i64::MAX);
    let mut clip = Clip {
        description: SessionDescription {
            tracks: vec![track],
            ..SessionDescription::default()
        },
        nal_lengths: vec![0],
        annex_b: true,
        samples,
        ..Clip::default()
    };
    clip.finish(&[Span {
        begin: 0,
        end: nanos(count),
    }]);
    clip
}

/// The track with the parameter sets of its first key frame.
pub(super) fn track(codec: Codec, first: &[u8]) -> Track {
    let units = || units(first).filter_map(|range| first.get(range));
    let find = |of: &dyn Fn(u8) -> u8, kind: u8| {
        units()
            .filter(|unit| unit.first().is_some_and(|&byte| of(byte) == kind))
            .map(bytes::Bytes::copy_from_slice)
            .collect::<Vec<_>>()
    };
    match codec {
        Codec::H264 => {
            let of = |byte: u8| byte & 0x1f;
            let params = H264Params {
                sps: find(&of, 7).into_iter().next(),
                pps: find(&of, 8),
            };
            Track::h264(PAYLOAD_TYPE, params)
        }
        Codec::H265 => {
            let of = |byte: u8| byte >> 1 & 0x3f;
            let params = H265Params {
                vps: find(&of, 32).into_iter().next(),
                sps: find(&of, 33).into_iter().next(),
                pps: find(&of, 34),
            };
            Track::h265(PAYLOAD_TYPE, params)
        }
    }
}

/// The NAL units of a byte stream, without start codes and trailing zeros.
pub(super) fn units(stream: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut next = start_code(stream, 0);
    std::iter::from_fn(move || {
        loop {
            let begin = next? + 3;
            next = start_code(stream, begin);
            let body = stream.get(begin..next.unwrap_or(stream.len()))?;
            let zeros = body.iter().rev().take_while(|&&byte| byte == 0).count();
            let end = begin + body.len() - zeros;
            if end > begin {
                return Some(begin..end);
            }
        }
    })
}

fn start_code(stream: &[u8], from: usize) -> Option<usize> {
    let found = stream
        .get(from..)?
        .windows(3)
        .position(|w| w == [0, 0, 1])?;
    Some(from + found)
}

/// `index` steps of a fractional size. Exact enough: 2^53 ns are 104 days.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn scaled(index: i64, step: f64) -> i64 {
    (index as f64 * step).round() as i64
}
