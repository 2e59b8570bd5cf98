//! An encoder whose pictures tell their numbers, and a reader who checks them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use easydarwin_core::rtp::RtpPacket;

use crate::frames::{Frame, FrameSender};

pub(super) const VIDEO_INTERVAL: Duration = Duration::from_millis(40);
pub(super) const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// Pictures from a key frame to the next.
const GROUP: u32 = 50;
const KEY_BYTES: usize = 20_000;
const DELTA_BYTES: usize = 2_500;

#[derive(Debug, Default)]
pub(super) struct Encoder {
    video: u32,
    audio: u32,
    since_key: u32,
}

impl Encoder {
    /// The next picture is a key frame.
    pub(super) fn make_key(&mut self) {
        self.since_key = 0;
    }

    pub(super) fn video(&mut self, sender: &mut FrameSender, now: Instant) {
        let key = self.since_key == 0;
        self.since_key = (self.since_key + 1) % GROUP;
        let (kind, len) = if key {
            (0x65, KEY_BYTES)
        } else {
            (0x41, DELTA_BYTES)
        };
        let mut unit = vec![0, 0, 0, 1];
        if key {
            unit.extend_from_slice(&[
                0x67, 0x42, 0, 0x1f, 0xe9, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 1,
            ]);
        }
        unit.push(kind);
        unit.extend(digits(self.video));
        unit.resize(unit.len() + len, 0xaa);
        let pts_us = i64::from(self.video) * 40_000;
        self.video += 1;
        sender.push_at(
            &Frame {
                parts: &[&unit],
                pts_us,
                key: false,
            },
            now,
        );
    }

    pub(super) fn audio(&mut self, sender: &mut FrameSender, now: Instant) {
        let mut samples = digits(self.audio).to_vec();
        samples.resize(160, 0xd5);
        let pts_us = i64::from(self.audio) * 20_000;
        self.audio += 1;
        sender.push_at(
            &Frame {
                parts: &[&samples],
                pts_us,
                key: true,
            },
            now,
        );
    }
}

/// A number without a byte that could be part of a start code.
fn digits(number: u32) -> [u8; 8] {
    let text = format!("{number:08}");
    text.as_bytes().try_into().unwrap()
}

fn number(digits: &[u8]) -> u32 {
    std::str::from_utf8(&digits[..8]).unwrap().parse().unwrap()
}

/// Reads what one session of a publisher sent.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Sequence number of each track.
    sequence: BTreeMap<usize, u16>,
    /// The picture that is not complete.
    open: Option<(u32, usize)>,
    last: Option<u32>,
    pub(super) pictures: u64,
    pub(super) sounds: u64,
    pub(super) newest: Option<u32>,
}

impl Reader {
    /// Takes a packet; panics when a picture came in part or without its reference.
    pub(super) fn packet(&mut self, track: usize, data: &[u8]) {
        let packet = RtpPacket::parse(data).unwrap();
        let sequence = packet.sequence();
        if let Some(last) = self.sequence.insert(track, sequence) {
            assert_eq!(sequence, last.wrapping_add(1), "packets are missing");
        }
        assert!(packet.payload().len() <= 1400);
        if track == 1 {
            self.sounds += 1;
            return;
        }
        self.video(packet.payload(), packet.marker());
    }

    fn video(&mut self, payload: &[u8], marker: bool) {
        let (kind, body) = match payload[0] & 0x1f {
            28 => {
                let start = payload[1] & 0x80 != 0;
                if !start {
                    let (_, len) = self
                        .open
                        .as_mut()
                        .expect("a fragment without its beginning");
                    *len += payload.len() - 2;
                    return self.close(marker);
                }
                (payload[1] & 0x1f, &payload[2..])
            }
            kind => (kind, &payload[1..]),
        };
        if kind == 7 || kind == 8 {
            return;
        }
        assert!(self.open.is_none(), "the picture before is not complete");
        let number = number(body);
        if kind != 5 {
            assert_eq!(
                self.last,
                number.checked_sub(1),
                "a picture without its reference"
            );
        }
        self.last = Some(number);
        self.open = Some((number, body.len() - 8));
        self.close(marker);
    }

    fn close(&mut self, marker: bool) {
        if marker {
            let (number, len) = self.open.take().unwrap();
            assert!(
                len == KEY_BYTES || len == DELTA_BYTES,
                "picture {number} of {len} bytes"
            );
            self.pictures += 1;
            self.newest = Some(number);
        }
    }
}
