use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::unit::Charge;

/// Chunk of a video track.
pub(super) const VIDEO_CHUNK: usize = 64 * 1024;
/// Chunk of any other track.
pub(super) const OTHER_CHUNK: usize = 16 * 1024;
/// Most chunks that wait for their units to be let go of, to be used again: a ring's worth.
const MAX_RETIRED: usize = 256;

/// The memory into which a track's packets are written, once. Units are slices of chunks; a
/// chunk is used again when its last unit is gone.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    size: usize,
    number: u64,
    /// Free space behind the units already split off, the open unit in it.
    open: BytesMut,
    open_size: usize,
    retired: VecDeque<BytesMut>,
}

impl ChunkWriter {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            number: 0,
            open: BytesMut::new(),
            open_size: 0,
            retired: VecDeque::new(),
        }
    }

    /// Bytes of the open unit.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Appends to the open unit; if the chunk is full the unit moves to a new one.
    pub(super) fn append(&mut self, head: &[u8], body: &[u8]) {
        let need = head.len() + body.len();
        if self.open.capacity() - self.open.len() < need {
            self.next_chunk(self.open.len() + need);
        }
        self.open.extend_from_slice(head);
        self.open.extend_from_slice(body);
    }

    /// Closes the open unit.
    pub(super) fn split(&mut self) -> (Bytes, Charge) {
        let data = self.open.split().freeze();
        let charge = Charge {
            chunk: self.number,
            bytes: self.open_size,
        };
        (data, charge)
    }

    fn next_chunk(&mut self, least: usize) {
        let size = if least <= self.size {
            self.size
        } else {
            // A unit that outgrew a chunk will grow on: leave it room.
            least.saturating_mul(2).next_power_of_two()
        };
        let mut next = self.recycled(size);
        next.extend_from_slice(&self.open);
        let mut full = std::mem::replace(&mut self.open, next);
        full.clear();
        if self.open_size == self.size && self.retired.len() < MAX_RETIRED {
            self.retired.push_back(full);
        }
        self.open_size = size;
        self.number += 1;
    }

    fn recycled(&mut self, size: usize) -> BytesMut {
        if size != self.size {
            return BytesMut::with_capacity(size);
        }
        let free = |chunk: &mut BytesMut| chunk.try_reclaim(size);
        let Some(mut chunk) = self.retired.pop_front() else {
            return BytesMut::with_capacity(size);
        };
        if !free(&mut chunk) {
            self.retired.push_front(chunk);
            return BytesMut::with_capacity(size);
        }
        // The ring became shorter: memory that nobody needs goes back.
        while self.retired.front_mut().is_some_and(free) {
            self.retired.pop_front();
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_share_chunks_and_chunks_are_used_again() {
        let mut writer = ChunkWriter::new(1024);
        writer.append(&[1; 4], &[2; 396]);
        let (first, charge) = writer.split();
        writer.append(&[3; 4], &[4; 396]);
        let (second, same) = writer.split();
        assert_eq!(charge, same);
        assert_eq!((first.len(), second.len()), (400, 400));
        let at = first.as_ptr();
        drop((first, second));
        writer.append(&[5; 4], &[6; 596]);
        let (third, other) = writer.split();
        assert_ne!(other.chunk, charge.chunk);
        drop(third);
        writer.append(&[7; 4], &[8; 896]);
        let (fourth, _) = writer.split();
        assert_eq!(fourth.as_ptr(), at, "the first chunk came back");
    }

    #[test]
    fn a_unit_that_outgrows_its_chunk_stays_contiguous() {
        let mut writer = ChunkWriter::new(1024);
        for byte in 0..10 {
            writer.append(&[byte], &[byte; 299]);
        }
        let (unit, charge) = writer.split();
        assert_eq!(unit.len(), 3000);
        assert!(charge.bytes >= 3000);
        for (byte, part) in (0_u8..).zip(unit.chunks(300)) {
            assert!(part.iter().all(|b| *b == byte));
        }
    }
}
