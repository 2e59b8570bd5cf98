//! A ring of frames between one producer and one consumer, without a lock and without waiting.
//!
//! The bytes lie in a ring of words, each frame from a word boundary on; a second ring holds what
//! is known of each frame. The producer publishes a frame by `head`, the consumer gives frames
//! back by `tail`; between the two they are the consumer's, who may read them in any order and as
//! often as he likes. Words are atomics, so that no order of events is a data race; on the
//! machines that cameras have they are plain loads and stores.
//!
//! Everything is addressed by index: the two rings can be put anywhere, also into shared memory.
//!
//! `tests/frame_ring_model.rs` compiles this file with loom's primitives and goes through the
//! interleavings.

use super::sync::{Arc, AtomicU64, Ordering};

/// Bytes of a word.
const WORD: usize = 8;

/// What is known of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Meta {
    /// Bytes.
    pub(super) len: u32,
    /// The owner's bits.
    pub(super) flags: u32,
    /// Presentation time in microseconds.
    pub(super) pts_us: i64,
    /// When it was pushed, in microseconds since the ring was made.
    pub(super) pushed_us: u64,
}

/// Apart from each other, so that the two threads don't fight for one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Apart(AtomicU64);

#[derive(Debug)]
struct Shared {
    words: Box<[AtomicU64]>,
    entries: Box<[Entry]>,
    /// Frames published.
    head: Apart,
    /// Frames given back.
    tail: Apart,
}

#[derive(Debug)]
struct Entry {
    /// Word at which the frame begins, counted on without end.
    start: AtomicU64,
    len_flags: AtomicU64,
    pts_us: AtomicU64,
    pushed_us: AtomicU64,
}

/// The end that frames are put into.
#[derive(Debug)]
pub(super) struct Producer {
    shared: Arc<Shared>,
    head: u64,
    /// Word at which the next frame begins.
    next: u64,
}

/// The end that frames are taken from.
#[derive(Debug)]
pub(super) struct Consumer {
    shared: Arc<Shared>,
    tail: u64,
}

/// A ring for so many bytes and frames. `None` if there is no memory for it. All of it is
/// touched, so that no page is missing later on.
pub(super) fn ring(bytes: usize, frames: usize) -> Option<(Producer, Consumer)> {
    let words = boxed(bytes.div_ceil(WORD).max(1), || AtomicU64::new(0))?;
    let entries = boxed(frames.max(1), || Entry {
        start: AtomicU64::new(0),
        len_flags: AtomicU64::new(0),
        pts_us: AtomicU64::new(0),
        pushed_us: AtomicU64::new(0),
    })?;
    let shared = Arc::new(Shared {
        words,
        entries,
        head: Apart(AtomicU64::new(0)),
        tail: Apart(AtomicU64::new(0)),
    });
    let producer = Producer {
        shared: Arc::clone(&shared),
        head: 0,
        next: 0,
    };
    Some((producer, Consumer { shared, tail: 0 }))
}

fn boxed<T>(count: usize, make: impl FnMut() -> T) -> Option<Box<[T]>> {
    let mut items = Vec::new();
    items.try_reserve_exact(count).ok()?;
    items.resize_with(count, make);
    Some(items.into_boxed_slice())
}

impl Producer {
    /// Whether a frame of so many bytes fits in now.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let tail = self.shared.tail.0.load(Ordering::Acquire);
        let waiting = self.head.wrapping_sub(tail);
        if waiting >= as_u64(self.shared.entries.len()) {
            return false;
        }
        let needed = as_u64(bytes.div_ceil(WORD));
        needed <= as_u64(self.shared.words.len()).saturating_sub(self.used(tail))
    }

    /// Part of the bytes that is in use, in percent.
    pub(super) fn fill_percent(&self) -> u64 {
        let tail = self.shared.tail.0.load(Ordering::Acquire);
        let bytes = self.used(tail) * 100 / as_u64(self.shared.words.len());
        let frames = self.head.wrapping_sub(tail) * 100 / as_u64(self.shared.entries.len());
        bytes.max(frames)
    }

    /// Publishes a frame of the bytes that `fill` puts in; `meta.len` is set from them. Call only
    /// after [`has_room`](Self::has_room) said so of as many.
    pub(super) fn push(&mut self, mut meta: Meta, fill: impl FnOnce(&mut Filler<'_>)) {
        let shared = &*self.shared;
        let mut filler = Filler {
            words: &shared.words,
            at: index(self.next, shared.words.len()),
            len: 0,
            pending: 0,
            bits: 0,
        };
        fill(&mut filler);
        filler.finish();
        let len = filler.len;
        meta.len = u32::try_from(len).unwrap_or(u32::MAX);
        if let Some(entry) = shared.entry(self.head) {
            entry.store(self.next, &meta);
        }
        self.next += as_u64(len.div_ceil(WORD));
        self.head = self.head.wrapping_add(1);
        shared.head.0.store(self.head, Ordering::Release);
    }

    /// Words in use, given what the consumer has given back.
    fn used(&self, tail: u64) -> u64 {
        if tail == self.head {
            return 0;
        }
        let oldest = self.shared.entry(tail);
        let start = oldest.map_or(0, |entry| entry.start.load(Ordering::Relaxed));
        self.next.saturating_sub(start)
    }
}

impl Consumer {
    /// The index after the newest frame.
    pub(super) fn head(&self) -> u64 {
        self.shared.head.0.load(Ordering::Acquire)
    }

    /// The index of the oldest frame that was not given back.
    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    /// What is known of a frame between [`tail`](Self::tail) and [`head`](Self::head).
    pub(super) fn meta(&self, at: u64) -> Meta {
        let entry = self.shared.entry(at);
        entry.map_or_else(Meta::default, Entry::meta)
    }

    /// Part of the ring that is in use, in percent.
    pub(super) fn used_percent(&self) -> u64 {
        let head = self.head();
        let frames = head.wrapping_sub(self.tail);
        let (Some(oldest), Some(newest)) = (
            self.shared.entry(self.tail),
            self.shared.entry(head.wrapping_sub(1)),
        ) else {
            return 0;
        };
        if frames == 0 {
            return 0;
        }
        let end = newest.start.load(Ordering::Relaxed) + u64::from(newest.meta().len) / 8;
        let words = end.saturating_sub(oldest.start.load(Ordering::Relaxed));
        let words = words * 100 / as_u64(self.shared.words.len());
        words.max(frames * 100 / as_u64(self.shared.entries.len()))
    }

    /// Copies a frame between `tail` and `head` out; `into` grows to the largest one so far.
    pub(super) fn read<'a>(&self, at: u64, into: &'a mut Vec<u8>) -> &'a [u8] {
        let shared = &*self.shared;
        let Some(entry) = shared.entry(at) else {
            return &[];
        };
        let len = usize::try_from(entry.meta().len).unwrap_or(0);
        let words = len.div_ceil(WORD);
        if into.len() < words * WORD {
            into.resize(words * WORD, 0);
        }
        let start = index(entry.start.load(Ordering::Relaxed), shared.words.len());
        let (again, first) = shared.words.split_at(start);
        let (chunks, _) = into.as_chunks_mut::<WORD>();
        let (before, after) = chunks.split_at_mut(first.len().min(chunks.len()));
        load(first.get(..words).unwrap_or(first), before);
        load(
            again
                .get(..words.saturating_sub(first.len()))
                .unwrap_or(again),
            after,
        );
        into.get(..len).unwrap_or_default()
    }

    /// Gives all frames before `at` back; `at` is at most [`head`](Self::head).
    pub(super) fn release_to(&mut self, at: u64) {
        if at != self.tail {
            self.tail = at;
            self.shared.tail.0.store(at, Ordering::Release);
        }
    }
}

impl Shared {
    fn entry(&self, at: u64) -> Option<&Entry> {
        self.entries.get(index(at, self.entries.len()))
    }
}

impl Entry {
    fn store(&self, start: u64, meta: &Meta) {
        let len_flags = u64::from(meta.flags) << 32 | u64::from(meta.len);
        self.start.store(start, Ordering::Relaxed);
        self.len_flags.store(len_flags, Ordering::Relaxed);
        self.pts_us
            .store(meta.pts_us.cast_unsigned(), Ordering::Relaxed);
        self.pushed_us.store(meta.pushed_us, Ordering::Relaxed);
    }

    fn meta(&self) -> Meta {
        let len_flags = self.len_flags.load(Ordering::Relaxed);
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        Meta {
            len: half(len_flags),
            flags: half(len_flags >> 32),
            pts_us: self.pts_us.load(Ordering::Relaxed).cast_signed(),
            pushed_us: self.pushed_us.load(Ordering::Relaxed),
        }
    }
}

/// Puts bytes into words.
#[derive(Debug)]
pub(super) struct Filler<'a> {
    words: &'a [AtomicU64],
    at: usize,
    /// Bytes so far.
    len: usize,
    /// Bytes of a word that is not complete.
    pending: u64,
    bits: u32,
}

impl Filler<'_> {
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        let mut bytes = bytes;
        while self.bits > 0 {
            let Some((&first, rest)) = bytes.split_first() else {
                return;
            };
            self.put_byte(first);
            bytes = rest;
        }
        let (chunks, rest) = bytes.as_chunks::<WORD>();
        let (again, first) = self.words.split_at(self.at);
        let (before, after) = chunks.split_at(first.len().min(chunks.len()));
        store(first, before);
        store(again, after);
        self.at = (self.at + chunks.len()) % self.words.len();
        for &byte in rest {
            self.put_byte(byte);
        }
    }

    fn put_byte(&mut self, byte: u8) {
        self.pending |= u64::from(byte) << self.bits;
        self.bits += 8;
        if self.bits == u64::BITS {
            self.finish();
        }
    }

    /// Writes the word that is not complete.
    fn finish(&mut self) {
        if self.bits > 0 {
            if let Some(word) = self.words.get(self.at) {
                word.store(self.pending, Ordering::Relaxed);
            }
            self.at = (self.at + 1) % self.words.len();
            (self.pending, self.bits) = (0, 0);
        }
    }
}

// One run without an end of the ring in it: the compiler makes plain loops of these.

fn store(words: &[AtomicU64], chunks: &[[u8; WORD]]) {
    for (word, chunk) in words.iter().zip(chunks) {
        word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
    }
}

fn load(words: &[AtomicU64], chunks: &mut [[u8; WORD]]) {
    for (word, chunk) in words.iter().zip(chunks) {
        *chunk = word.load(Ordering::Relaxed).to_le_bytes();
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Where something counted on without end lies in a ring of this size, which is not 0.
fn index(at: u64, len: usize) -> usize {
    usize::try_from(at % as_u64(len)).unwrap_or(0)
}
