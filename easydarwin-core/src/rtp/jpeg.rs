//! What stands before the fragments of a JPEG picture (RFC 2435, 3.1).

use super::DepacketizeError;
use crate::media::jpeg::{Jpeg, Shape};

/// Largest scan: 24 bits of offset.
pub(super) const MAX_SCAN: usize = (1 << 24) - 1;

/// Smallest payload limit that is followed: the headers of the first fragment take 144 bytes.
pub(super) const LEAST_MAX_PAYLOAD: usize = 256;

/// Types: colour at half width, and at half height too.
const TYPE_422: u8 = 0;
const TYPE_420: u8 = 1;
/// Added to a type when there are restart markers.
const RESTART: u8 = 64;
/// The quality of tables that are in the packet and may change with each picture.
const DYNAMIC: u8 = 255;
/// Qualities from here on have tables in packets.
const FIRST_WITH_TABLES: u8 = 128;
/// `F`, `L` and a count that says: the picture has to be put together before it is decoded.
const WHOLE_PICTURE: [u8; 2] = [0xff, 0xff];

const MAIN: usize = 8;
const RESTART_HEADER: usize = 4;
const TABLES_HEADER: usize = 4;
const TABLES: usize = 2 * 64;
const MOST: usize = MAIN + RESTART_HEADER + TABLES_HEADER + TABLES;

/// All headers of a payload.
#[derive(Debug)]
pub(super) struct Header {
    bytes: [u8; MOST],
    len: usize,
}

impl Header {
    /// For the fragment of this picture that begins at `offset`.
    pub(super) fn of(picture: &Jpeg<'_>, offset: usize) -> Self {
        let shape = &picture.shape;
        let [_, o0, o1, o2] = u32::try_from(offset).unwrap_or(0).to_be_bytes();
        let restart = shape.restart_interval != 0;
        let kind = if shape.half_height {
            TYPE_420
        } else {
            TYPE_422
        };
        let kind = kind + if restart { RESTART } else { 0 };
        let mut header = Self {
            bytes: [0; MOST],
            len: 0,
        };
        let eights = |side: u16| u8::try_from(side.div_ceil(8)).unwrap_or(0);
        let (width, height) = (eights(shape.width), eights(shape.height));
        header.push(&[0, o0, o1, o2, kind, DYNAMIC, width, height]);
        if restart {
            header.push(&shape.restart_interval.to_be_bytes());
            header.push(&WHOLE_PICTURE);
        }
        if offset == 0 {
            let [luma, chroma] = picture.quantisers;
            // Reserved, 8 bits a value, length.
            header.push(&[0, 0, 0, 128]);
            header.push(luma);
            header.push(chroma);
        }
        header
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(part);
            self.len = end;
        }
    }
}

/// A payload taken apart.
#[derive(Debug)]
pub(super) struct Fragment<'a> {
    pub(super) offset: usize,
    pub(super) shape: Shape,
    pub(super) quality: u8,
    /// The tables if the payload has them; empty means 'as before'.
    pub(super) tables: Option<Tables<'a>>,
    pub(super) data: &'a [u8],
}

/// Quantisation in a payload.
#[derive(Debug)]
pub(super) enum Tables<'a> {
    AsBefore,
    Given([&'a [u8; 64]; 2]),
}

impl<'a> Fragment<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Result<Self, DepacketizeError> {
        let short = DepacketizeError::Truncated("JPEG header");
        let (&[_, o0, o1, o2, kind, quality, width, height], mut rest) =
            payload.split_first_chunk::<MAIN>().ok_or(short)?;
        let offset = u32::from_be_bytes([0, o0, o1, o2]);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let half_height = match kind & !RESTART {
            TYPE_422 => false,
            TYPE_420 => true,
            _ => return Err(DepacketizeError::Unsupported(kind)),
        };
        // Larger pictures have zeros here and their size in the description.
        if width == 0 || height == 0 || matches!(quality, 0 | 100..FIRST_WITH_TABLES) {
            return Err(DepacketizeError::Unsupported(kind));
        }
        let mut restart_interval = 0;
        if kind >= RESTART {
            let (&[i0, i1, _, _], after) = rest.split_first_chunk().ok_or(short)?;
            restart_interval = u16::from_be_bytes([i0, i1]);
            rest = after;
        }
        let mut tables = None;
        if offset == 0 && quality >= FIRST_WITH_TABLES {
            let (&[_, precision, l0, l1], after) = rest.split_first_chunk().ok_or(short)?;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let (both, after) = after.split_at_checked(length).ok_or(short)?;
            rest = after;
            tables = Some(tables_of(both, precision, quality)?);
        }
        Ok(Self {
            offset,
            shape: Shape {
                width: u16::from(width) * 8,
                height: u16::from(height) * 8,
                half_height,
                restart_interval,
            },
            quality,
            tables,
            data: rest,
        })
    }
}

fn tables_of(both: &[u8], precision: u8, quality: u8) -> Result<Tables<'_>, DepacketizeError> {
    if both.is_empty() && quality != DYNAMIC {
        return Ok(Tables::AsBefore);
    }
    if precision != 0 {
        return Err(DepacketizeError::Unsupported(precision));
    }
    let short = DepacketizeError::Truncated("JPEG quantisation");
    let (luma, rest) = both.split_first_chunk::<64>().ok_or(short)?;
    // Some cameras send one table for both.
    let chroma = rest.first_chunk::<64>().unwrap_or(luma);
    Ok(Tables::Given([luma, chroma]))
}
