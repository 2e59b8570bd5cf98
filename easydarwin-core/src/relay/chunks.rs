use std::collections::VecDeque;
use std::mem;

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
///
/// A ring breathes: it grows until a key frame lets it drop the picture group before. What it
/// does not need at its smallest must not go back to the allocator each time, or every page
/// would be asked of the kernel again. Only chunks go back that lay idle for as long as it takes
/// to write the whole ring anew.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    size: usize,
    number: u64,
    /// Free space behind the units already split off, the open unit in it.
    open: BytesMut,
    open_size: usize,
    /// Written full; units of the ring lie in them, at least in all but the oldest.
    retired: VecDeque<BytesMut>,
    /// Without units, to be written next.
    idle: Vec<BytesMut>,
    /// Fewest idle chunks since the count began: that many were not needed.
    least_idle: usize,
    /// Chunks to be taken until the count ends.
    count_down: usize,
}

impl ChunkWriter {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            number: 0,
            open: BytesMut::new(),
            open_size: 0,
            retired: VecDeque::new(),
            idle: Vec::new(),
            least_idle: 0,
            count_down: 0,
        }
    }

    /// Bytes of the open unit.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether so many bytes can be appended without the open unit moving to another chunk.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.open.capacity() - self.open.len() >= bytes
    }

    /// Appends to the open unit; if the chunk is full the unit moves to a new one.
    pub(super) fn append(&mut self, head: &[u8], body: &[u8]) {
        let need = head.len() + body.len();
        if !self.fits(need) {
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
        // Larger only for a packet that is larger than a chunk.
        let size = self.size.max(least.next_power_of_two());
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
        while let Some(oldest) = self.retired.front_mut()
            && oldest.try_reclaim(size)
        {
            self.idle.extend(self.retired.pop_front());
        }
        let chunk = self.idle.pop();
        self.release_surplus();
        chunk.unwrap_or_else(|| BytesMut::with_capacity(size))
    }

    fn release_surplus(&mut self) {
        self.least_idle = self.least_idle.min(self.idle.len());
        if let Some(left) = self.count_down.checked_sub(1) {
            self.count_down = left;
            return;
        }
        let surplus = mem::replace(&mut self.least_idle, usize::MAX);
        self.idle.truncate(self.idle.len().saturating_sub(surplus));
        self.count_down = self.retired.len() + self.idle.len();
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

    /// Writes one chunk's worth, as one unit.
    fn chunk(writer: &mut ChunkWriter) -> Bytes {
        writer.append(&[1; 4], &[2; 1020]);
        writer.split().0
    }

    #[test]
    fn a_ring_that_breathes_asks_the_allocator_for_nothing() {
        let mut writer = ChunkWriter::new(1024);
        let mut ring = VecDeque::new();
        let mut places = std::collections::HashSet::new();
        let breath = |writer: &mut ChunkWriter, ring: &mut VecDeque<Bytes>| -> Vec<*const u8> {
            let written = (0..40).map(|_| {
                let unit = chunk(writer);
                let at = unit.as_ptr();
                ring.push_back(unit);
                at
            });
            let written = written.collect();
            ring.drain(..ring.len() - 20);
            written
        };
        places.extend(breath(&mut writer, &mut ring));
        places.extend(breath(&mut writer, &mut ring));
        for _ in 0..10 {
            let again = breath(&mut writer, &mut ring);
            assert!(again.iter().all(|at| places.contains(at)), "a fresh chunk");
        }
        assert!(writer.idle.len() + writer.retired.len() <= 61);
    }

    #[test]
    fn what_a_shorter_ring_does_not_need_goes_back() {
        let mut writer = ChunkWriter::new(1024);
        let ring: Vec<_> = (0..100).map(|_| chunk(&mut writer)).collect();
        drop(ring);
        for _ in 0..220 {
            drop(chunk(&mut writer));
        }
        assert!(writer.idle.len() <= 1, "{} idle", writer.idle.len());
    }
}
