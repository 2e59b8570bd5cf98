//! What was received, cut into units and compared with what was published.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// A video codec that the tests take apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoCodec {
    /// H.264.
    H264,
    /// H.265.
    H265,
}

impl VideoCodec {
    /// ffmpeg's name of the elementary stream.
    pub fn format(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "hevc",
        }
    }
}

/// One VCL NAL unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoUnit {
    /// SHA-256 of the NAL unit without start code or length.
    pub hash: [u8; 32],
    /// Part of a picture with which decoding can start.
    pub key: bool,
    /// First slice of its picture.
    pub first: bool,
    /// H.265 RASL: cannot be decoded by who starts at the key frame before it, and is not sent
    /// to him.
    pub skipped_leading: bool,
}

/// NAL units of an Annex B byte stream.
pub fn split_annexb(data: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= data.len() {
        if data[at..at + 3] == [0, 0, 1] {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    let mut units = Vec::with_capacity(starts.len());
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(data.len(), |next| next - 3);
        let mut unit = &data[start..end];
        // A fourth zero of the next start code, and trailing_zero_8bits.
        while let [rest @ .., 0] = unit {
            unit = rest;
        }
        units.push(unit);
    }
    units
}

/// NAL units behind 4-byte lengths.
pub fn split_length_prefixed(mut data: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        assert!(
            length <= rest.len(),
            "a NAL unit is longer than its access unit"
        );
        units.push(&rest[..length]);
        data = &rest[length..];
    }
    units
}

/// Keeps and hashes the VCL NAL units.
pub fn video_units<'a>(
    codec: VideoCodec,
    units: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<VideoUnit> {
    let described = units.into_iter().filter_map(|unit| {
        let &header = unit.first()?;
        let (vcl, key, first, skipped_leading) = match codec {
            VideoCodec::H264 => {
                let kind = header & 0x1f;
                (
                    matches!(kind, 1..=5),
                    kind == 5,
                    unit.get(1)? & 0x80 != 0,
                    false,
                )
            }
            VideoCodec::H265 => {
                let kind = (header >> 1) & 0x3f;
                (
                    kind < 32,
                    matches!(kind, 16..=21),
                    unit.get(2)? & 0x80 != 0,
                    matches!(kind, 8 | 9),
                )
            }
        };
        vcl.then(|| VideoUnit {
            hash: hash(unit),
            key,
            first,
            skipped_leading,
        })
    });
    described.collect()
}

/// SHA-256.
pub fn hash(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// A packet as ffmpeg's framehash lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedPacket {
    /// Index of the stream.
    pub stream: usize,
    /// Decode time in the stream's time base.
    pub dts: i64,
    /// Hexadecimal hash.
    pub hash: String,
}

/// Reads ffmpeg's framehash output.
pub fn parse_framehash(text: &str) -> Vec<HashedPacket> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let fields: Vec<_> = line.split(',').map(str::trim).collect();
            let [stream, dts, _pts, _duration, _size, hash, ..] = fields[..] else {
                panic!("not a line of framehash: {line}");
            };
            HashedPacket {
                stream: stream.parse().expect("a stream's index"),
                dts: dts.parse().expect("a decode time"),
                hash: hash.to_owned(),
            }
        })
        .collect()
}

/// 64 hexadecimal digits.
pub fn parse_hash(text: &str) -> [u8; 32] {
    assert_eq!(text.len(), 64, "not a SHA-256: {text}");
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal"))
}

/// Checks that `received` is a contiguous run of `published` with at least `least` items.
///
/// # Errors
/// Says where it departs, at the start which fits best.
pub fn contiguous_run<T: PartialEq>(
    published: &[T],
    received: &[T],
    least: usize,
) -> Result<usize, String> {
    let Some(first) = received.first() else {
        return Err("nothing was received".to_owned());
    };
    let mut best: Option<(usize, usize)> = None;
    for start in (0..published.len()).filter(|&i| published[i] == *first) {
        let same = published[start..]
            .iter()
            .zip(received)
            .take_while(|(a, b)| a == b)
            .count();
        if best.is_none_or(|(_, length)| same > length) {
            best = Some((start, same));
        }
    }
    let Some((start, same)) = best else {
        return Err("the first received unit was never published".to_owned());
    };
    if same < received.len() {
        let mut text = format!(
            "{} units received; from unit {start} of the published ones on, {same} are the same",
            received.len()
        );
        let resumes = (start + same..published.len())
            .find(|&i| published[i] == received[same])
            .map(|i| i - start - same);
        match resumes {
            Some(lost) => write!(text, ", then {lost} are missing"),
            None => write!(text, ", then comes one that was not published"),
        }
        .expect("a String takes everything");
        return Err(text);
    }
    if received.len() < least {
        return Err(format!(
            "only {} units were received, not {least}",
            received.len()
        ));
    }
    Ok(start)
}

/// [`contiguous_run`] for video: it also begins with the first slice of a key frame.
///
/// # Errors
/// Says what is wrong.
pub fn video_run(
    published: &[VideoUnit],
    received: &[VideoUnit],
    least: usize,
) -> Result<usize, String> {
    let first = received.first().ok_or("nothing was received")?;
    if !first.key {
        return Err("it does not begin with a key frame".to_owned());
    }
    if !first.first {
        return Err("it begins within a picture".to_owned());
    }
    let start = published
        .iter()
        .position(|unit| unit == first)
        .ok_or("the first received unit was never published")?;
    // Leading pictures that refer to what came before the start are left out until the next one.
    let mut keys = 0;
    let expected: Vec<VideoUnit> = published[start..]
        .iter()
        .filter(|unit| {
            keys += usize::from(unit.key && unit.first);
            keys > 1 || !unit.skipped_leading
        })
        .copied()
        .collect();
    contiguous_run(&expected, received, least)
}

/// Checks that `received` stands in `published` in one piece.
///
/// # Errors
/// Says what is wrong.
pub fn sample_run(published: &[u8], received: &[u8], least: usize) -> Result<usize, String> {
    /// Samples that are taken to find the place; silence occurs often.
    const PROBE: usize = 4000;
    if received.len() < least {
        return Err(format!(
            "only {} samples were received, not {least}",
            received.len()
        ));
    }
    let probe = &received[..received.len().min(PROBE)];
    let starts: Vec<_> = published
        .windows(probe.len())
        .enumerate()
        .filter_map(|(i, window)| (window == probe).then_some(i))
        .collect();
    if starts.is_empty() {
        return Err(format!(
            "the first {} samples were never published in one piece",
            probe.len()
        ));
    }
    starts
        .iter()
        .copied()
        .find(|&i| published[i..].starts_with(received))
        .ok_or_else(|| {
            let same = starts
                .iter()
                .map(|&i| {
                    published[i..]
                        .iter()
                        .zip(received)
                        .take_while(|(a, b)| a == b)
                        .count()
                })
                .max()
                .unwrap_or(0);
            format!(
                "of {} samples only the first {same} are as published",
                received.len()
            )
        })
}

/// Checks that decode times rise.
///
/// # Errors
/// Names the first that does not.
pub fn rising(times: impl IntoIterator<Item = i64>) -> Result<(), String> {
    let mut last = i64::MIN;
    for (index, time) in times.into_iter().enumerate() {
        if time <= last {
            return Err(format!("decode time {time} of unit {index} follows {last}"));
        }
        last = time;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annexb_is_cut_at_both_kinds_of_start_code() {
        let data = [
            0, 0, 0, 1, 0x65, 0x88, 0, 0, 1, 0x41, 0x9a, 3, 0, 0, 0, 1, 9,
        ];
        assert_eq!(
            split_annexb(&data),
            [&[0x65, 0x88][..], &[0x41, 0x9a, 3], &[9]]
        );
    }

    #[test]
    fn a_gap_is_found_and_named() {
        let published: Vec<u32> = (0..100).collect();
        assert_eq!(contiguous_run(&published, &published[10..60], 50), Ok(10));
        let mut gap = published[10..60].to_vec();
        gap.drain(5..8);
        let error = contiguous_run(&published, &gap, 1).unwrap_err();
        assert!(
            error.contains("5 are the same, then 3 are missing"),
            "{error}"
        );
        assert!(contiguous_run(&published, &[200], 1).is_err());
        assert!(contiguous_run(&published, &published[..5], 6).is_err());
    }

    #[test]
    fn repeated_material_is_matched_wherever_it_fits() {
        let published = [1, 2, 3, 1, 2, 4];
        assert_eq!(contiguous_run(&published, &[1, 2, 4], 3), Ok(3));
        let samples: Vec<u8> = (0..20_000_u32).map(|i| (i * i % 251) as u8).collect();
        assert!(sample_run(&samples, &samples[300..9000], 8000).is_ok());
        let mut broken = samples[300..9000].to_vec();
        broken.remove(6000);
        assert!(sample_run(&samples, &broken, 8000).is_err());
    }
}
