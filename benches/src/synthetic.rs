//! The synthetic stream: H.264 by shape, with counter and send time in every packet.
//!
//! Servers see ordinary FU-A packets with a key frame every two seconds. Readers find, behind the
//! FU header, what they need to measure loss and delay without keeping state about the stream.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Frames a second of every synthetic stream.
pub const FRAME_RATE: u32 = 25;
/// Frames from key frame to key frame.
pub const GOP: u64 = 50;
/// RTP payload bytes of a full packet: 1 200 is what cameras commonly send.
const PAYLOAD: usize = 1200;
/// A key frame is this many times larger than another one.
const KEY_WEIGHT: usize = 8;

const RTP_HEADER: usize = 12;
const MARK: u32 = 0x6564_6c64;
/// Offset of the mark in the RTP packet: header, two FU bytes, one byte of slice header.
const MARK_AT: usize = RTP_HEADER + 3;
const MIN_PACKET: usize = MARK_AT + 4 + 1 + 8 + 8;

/// The SDP of the stream; parameter sets are those of a 640x360 baseline encoder.
pub fn sdp() -> String {
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=load\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
     m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
     a=fmtp:96 packetization-mode=1;profile-level-id=42C01E;\
     sprop-parameter-sets=Z0LAHtoCgL/lwEQAAAMABAAAAwDIPFi6gA==,aM4PyA==\r\n\
     a=control:streamid=0\r\n"
        .to_owned()
}

/// Nanoseconds of the wall clock, the clock of the kernel's receive stamps.
pub fn wall_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_nanos() as u64
}

/// What one packet says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Number of the packet in its stream.
    pub counter: u64,
    /// When its frame was sent, [`wall_ns`].
    pub sent_ns: u64,
    /// Part of a key frame.
    pub key: bool,
    /// First packet of its frame.
    pub first: bool,
    /// Last packet of its frame.
    pub last: bool,
}

/// Reads the probe of an RTP packet; `None` for RTCP and parameter sets.
pub fn probe(rtp: &[u8]) -> Option<Probe> {
    let rest = rtp.get(MARK_AT..MIN_PACKET)?;
    if u32::from_be_bytes(rest[0..4].try_into().ok()?) != MARK {
        return None;
    }
    let flags = rest[4];
    Some(Probe {
        counter: u64::from_be_bytes(rest[5..13].try_into().ok()?),
        sent_ns: u64::from_be_bytes(rest[13..21].try_into().ok()?),
        key: flags & 1 != 0,
        first: flags & 2 != 0,
        last: flags & 4 != 0,
    })
}

/// Makes the frames of one stream in interleaved framing.
#[derive(Debug)]
pub struct FrameMaker {
    frame: u64,
    counter: u64,
    sequence: u16,
    ssrc: u32,
    delta_bytes: usize,
    key_bytes: usize,
}

impl FrameMaker {
    /// A stream of `bitrate` bits a second.
    pub fn new(bitrate: u64, ssrc: u32) -> Self {
        let gop_bytes = bitrate as usize / 8 * GOP as usize / FRAME_RATE as usize;
        let delta_bytes = gop_bytes / (GOP as usize - 1 + KEY_WEIGHT);
        Self {
            frame: 0,
            counter: 0,
            sequence: 1000,
            ssrc,
            delta_bytes,
            key_bytes: delta_bytes * KEY_WEIGHT,
        }
    }

    /// Packets made so far.
    pub fn packets(&self) -> u64 {
        self.counter
    }

    /// Writes the next frame, stamped `now_ns`, to `out` (cleared first).
    pub fn next_frame(&mut self, now_ns: u64, out: &mut Vec<u8>) {
        out.clear();
        let key = self.frame.is_multiple_of(GOP);
        let timestamp = (self.frame * u64::from(90_000 / FRAME_RATE)) as u32;
        let bytes = if key {
            self.key_bytes
        } else {
            self.delta_bytes
        };
        let packets = bytes.div_ceil(PAYLOAD).max(2);
        let size = (bytes / packets).max(MIN_PACKET - RTP_HEADER);
        for index in 0..packets {
            let (first, last) = (index == 0, index + 1 == packets);
            let length = RTP_HEADER + size;
            out.extend_from_slice(&[b'$', 0]);
            out.extend_from_slice(&(length as u16).to_be_bytes());
            let start = out.len();
            out.extend_from_slice(&[0x80, 96 | if last { 0x80 } else { 0 }]);
            out.extend_from_slice(&self.sequence.to_be_bytes());
            out.extend_from_slice(&timestamp.to_be_bytes());
            out.extend_from_slice(&self.ssrc.to_be_bytes());
            // FU-A of an IDR slice (5) or of a slice that others refer to (1).
            let (nri, kind) = if key { (0x60, 5) } else { (0x40, 1) };
            let edge = if first { 0x80 } else { 0 } | if last { 0x40 } else { 0 };
            // 0x88: first_mb_in_slice 0, an I slice; 0x9a: a P slice.
            out.extend_from_slice(&[nri | 28, edge | kind, if key { 0x88 } else { 0x9a }]);
            out.extend_from_slice(&MARK.to_be_bytes());
            out.push(u8::from(key) | u8::from(first) << 1 | u8::from(last) << 2);
            out.extend_from_slice(&self.counter.to_be_bytes());
            out.extend_from_slice(&now_ns.to_be_bytes());
            out.resize(start + length, 0xa5);
            self.sequence = self.sequence.wrapping_add(1);
            self.counter += 1;
        }
        self.frame += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_carries_its_probe() {
        let mut maker = FrameMaker::new(2_000_000, 1);
        let mut out = Vec::new();
        maker.next_frame(42, &mut out);
        let (mut at, mut seen) = (0, 0);
        while at < out.len() {
            let length = usize::from(u16::from_be_bytes([out[at + 2], out[at + 3]]));
            let probe = probe(&out[at + 4..at + 4 + length]).unwrap();
            assert_eq!((probe.counter, probe.sent_ns, probe.key), (seen, 42, true));
            assert_eq!(probe.first, seen == 0);
            at += 4 + length;
            seen += 1;
            assert_eq!(probe.last, at == out.len());
        }
        assert_eq!(seen, maker.packets());
    }
}
