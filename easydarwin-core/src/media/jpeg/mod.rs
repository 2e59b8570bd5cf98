//! Baseline JPEG as far as RTP carries it (ITU-T T.81, RFC 2435): its parts, and a picture out of
//! them.

mod tables;

use thiserror::Error;

/// Markers of T.81, table B.1.
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOF0: u8 = 0xc0;
const DHT: u8 = 0xc4;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;

/// Largest width and height: eight bits of eight pixels.
const MAX_SIDE: u16 = 2040;

/// Quantisation of brightness and of colour, in zigzag order.
pub(crate) type Quantisers = [[u8; 64]; 2];

/// Why a picture cannot be sent as RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JpegError {
    /// It does not begin with SOI.
    #[error("no JPEG picture")]
    NoJpeg,
    /// A segment runs past the end, or contradicts itself.
    #[error("JPEG segment {0:#04x} is broken")]
    Broken(u8),
    /// Something that a decoder needs is missing.
    #[error("JPEG picture without {0}")]
    Missing(&'static str),
    /// Progressive, lossless or arithmetic coding (the marker is given).
    #[error("JPEG coding {0:#04x} is not baseline")]
    NotBaseline(u8),
    /// Wider or higher than 2040 pixels, or empty.
    #[error("JPEG picture of {0} x {1} pixels, of which RTP carries at most 2040 x 2040")]
    Size(u16, u16),
    /// Not YCbCr with colour at half the width, at full or half height.
    #[error("JPEG sampling of components is neither 4:2:2 nor 4:2:0")]
    Sampling,
    /// Huffman tables that are not those of T.81, annex K.
    #[error("JPEG picture with Huffman tables of its own")]
    Huffman,
    /// Quantisation of 16 bits, or different ones for the two colours.
    #[error("JPEG quantisation that RTP cannot carry")]
    Quantisation,
    /// More than one scan.
    #[error("JPEG picture of several scans")]
    Scans,
}

/// What RFC 2435 transmits of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jpeg<'a> {
    pub(crate) shape: Shape,
    pub(crate) quantisers: [&'a [u8; 64]; 2],
    /// Entropy-coded data without EOI.
    pub(crate) scan: &'a [u8],
}

/// Size and structure of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// Colour at half the height too (4:2:0), else 4:2:2.
    pub(crate) half_height: bool,
    /// Blocks between restart markers; 0 without.
    pub(crate) restart_interval: u16,
}

impl<'a> Jpeg<'a> {
    /// Takes a picture apart. No allocation.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, JpegError> {
        let [0xff, SOI, rest @ ..] = bytes else {
            return Err(JpegError::NoJpeg);
        };
        let mut head = Head::default();
        let mut rest = rest;
        loop {
            let (marker, body, after) = segment(rest)?;
            rest = after;
            match marker {
                DQT => head.take_quantisers(body)?,
                DHT => check_huffman(body)?,
                SOF0 => head.frame = Some(Frame::parse(body)?),
                // Every other SOF, and the arithmetic conditioning.
                0xc1..=0xcf => return Err(JpegError::NotBaseline(marker)),
                DRI => {
                    let interval = body.first_chunk::<2>().ok_or(JpegError::Broken(DRI))?;
                    head.restart_interval = u16::from_be_bytes(*interval);
                }
                SOS => return head.finish(body, scan(after)?),
                EOI => return Err(JpegError::Missing("scan")),
                _ => {}
            }
        }
    }
}

/// A segment's marker and body, and what follows it. Fill bytes may stand before the marker.
fn segment(mut bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), JpegError> {
    while let [0xff, after @ ..] = bytes
        && after.first() == Some(&0xff)
    {
        bytes = after;
    }
    let [0xff, marker, rest @ ..] = bytes else {
        return Err(JpegError::Missing("scan"));
    };
    if *marker == EOI {
        return Ok((EOI, &[], rest));
    }
    let broken = JpegError::Broken(*marker);
    let (length, _) = rest.split_first_chunk::<2>().ok_or(broken)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (whole, after) = rest.split_at_checked(length).ok_or(broken)?;
    Ok((*marker, whole.get(2..).ok_or(broken)?, after))
}

/// The entropy-coded data up to EOI; what encoders put behind it for alignment is left out.
fn scan(bytes: &[u8]) -> Result<&[u8], JpegError> {
    let end = bytes
        .windows(2)
        .position(|two| matches!(two, [0xff, code] if !matches!(code, 0 | 0xd0..=0xd7 | 0xff)));
    let Some(end) = end else {
        // Some encoders leave EOI away.
        return Ok(bytes);
    };
    match bytes.split_at(end) {
        (scan, [0xff, EOI, ..]) => Ok(scan),
        _ => Err(JpegError::Scans),
    }
}

#[derive(Debug, Default)]
struct Head<'a> {
    quantisers: [Option<&'a [u8; 64]>; 4],
    frame: Option<Frame>,
    restart_interval: u16,
}

impl<'a> Head<'a> {
    fn take_quantisers(&mut self, mut body: &'a [u8]) -> Result<(), JpegError> {
        while let Some((&kind, rest)) = body.split_first() {
            if kind >> 4 != 0 {
                return Err(JpegError::Quantisation);
            }
            let (table, after) = rest
                .split_first_chunk::<64>()
                .ok_or(JpegError::Broken(DQT))?;
            let slot = self.quantisers.get_mut(usize::from(kind));
            *slot.ok_or(JpegError::Broken(DQT))? = Some(table);
            body = after;
        }
        Ok(())
    }

    fn finish(&self, sos: &[u8], scan: &'a [u8]) -> Result<Jpeg<'a>, JpegError> {
        let frame = self.frame.ok_or(JpegError::Missing("frame header"))?;
        // Brightness with the first pair of Huffman tables, colour with the second.
        match sos {
            [3, y, 0x00, cb, 0x11, cr, 0x11, ..] if [*y, *cb, *cr] == frame.components => {}
            [3, ..] => return Err(JpegError::Huffman),
            [] => return Err(JpegError::Broken(SOS)),
            _ => return Err(JpegError::Scans),
        }
        if scan.is_empty() {
            return Err(JpegError::Missing("scan"));
        }
        let [luma, blue, red] = frame.quantisers;
        let table = |index: u8| self.quantisers.get(usize::from(index)).copied().flatten();
        let missing = JpegError::Missing("quantisation");
        let (luma, blue, red) = (
            table(luma).ok_or(missing)?,
            table(blue).ok_or(missing)?,
            table(red).ok_or(missing)?,
        );
        if blue != red {
            return Err(JpegError::Quantisation);
        }
        Ok(Jpeg {
            shape: Shape {
                restart_interval: self.restart_interval,
                ..frame.shape
            },
            quantisers: [luma, blue],
            scan,
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    shape: Shape,
    components: [u8; 3],
    quantisers: [u8; 3],
}

impl Frame {
    fn parse(body: &[u8]) -> Result<Self, JpegError> {
        let Some((&[8, h0, h1, w0, w1], rest)) = body.split_first_chunk::<5>() else {
            return Err(JpegError::Broken(SOF0));
        };
        let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(JpegError::Size(width, height));
        }
        let &[3, y, ys, yq, cb, 0x11, cbq, cr, 0x11, crq] = rest else {
            return Err(JpegError::Sampling);
        };
        let half_height = match ys {
            0x21 => false,
            0x22 => true,
            _ => return Err(JpegError::Sampling),
        };
        Ok(Self {
            shape: Shape {
                width,
                height,
                half_height,
                restart_interval: 0,
            },
            components: [y, cb, cr],
            quantisers: [yq, cbq, crq],
        })
    }
}

/// A DHT segment must not bring anything but the standard tables.
fn check_huffman(mut body: &[u8]) -> Result<(), JpegError> {
    while !body.is_empty() {
        let known = tables::HUFFMAN
            .iter()
            .find_map(|table| body.strip_prefix(*table));
        body = known.ok_or(JpegError::Huffman)?;
    }
    Ok(())
}

/// The tables that a quality from 1 to 99 stands for (RFC 2435, 4.2).
pub(crate) fn quantisers(quality: u8) -> Quantisers {
    tables::quantisers(quality)
}

/// A picture out of what was transmitted. Decoders get all tables, each in a segment of its own.
pub(crate) fn write(shape: &Shape, quantisers: &Quantisers, scan: &[u8]) -> Vec<u8> {
    /// What all headers together take, with some to spare.
    const HEADERS: usize = 700;
    let mut out = Vec::with_capacity(scan.len() + HEADERS);
    out.extend_from_slice(&[0xff, SOI]);
    for (index, table) in (0..).zip(quantisers) {
        push_segment(&mut out, DQT, &[&[index], table]);
    }
    let [h0, h1] = shape.height.to_be_bytes();
    let [w0, w1] = shape.width.to_be_bytes();
    let sampling = if shape.half_height { 0x22 } else { 0x21 };
    let frame = [8, h0, h1, w0, w1, 3, 1, sampling, 0, 2, 0x11, 1, 3, 0x11, 1];
    push_segment(&mut out, SOF0, &[&frame]);
    for table in tables::HUFFMAN {
        push_segment(&mut out, DHT, &[table]);
    }
    if shape.restart_interval != 0 {
        push_segment(&mut out, DRI, &[&shape.restart_interval.to_be_bytes()]);
    }
    push_segment(&mut out, SOS, &[&[3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]]);
    out.extend_from_slice(scan);
    if !scan.ends_with(&[0xff, EOI]) {
        out.extend_from_slice(&[0xff, EOI]);
    }
    out
}

fn push_segment(out: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let length = 2 + parts.iter().map(|part| part.len()).sum::<usize>();
    let [l0, l1] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(&[0xff, marker, l0, l1]);
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests;
