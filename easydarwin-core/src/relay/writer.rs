use std::io::{self, IoSlice};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use super::counters::ReaderShared;
use super::cursor::{Cursor, Keys, Policy};
use super::unit::{FRAME_HEADER, Packets, Unit, Window};
use super::{ReaderEnd, Sink};

/// Most bytes that one reader gets in one turn, its start included.
const TURN_BYTES: usize = 256 * 1024;
/// Most units in one write.
const MAX_UNITS: usize = 64;
/// Most packets in one write when channel numbers are rewritten: two slices each.
const MAX_PATCHED: usize = 256;

/// Asked channel numbers by canonical ones.
pub(super) type ChannelMap = Box<[u8; 64]>;

/// How a turn ended.
#[derive(Debug)]
pub(super) enum Turn {
    /// It has all that there is.
    Idle,
    /// There is more than one turn gives.
    More,
    /// The peer takes no more now.
    Blocked,
    /// More may be sent then.
    Paced(Instant),
    Ended(ReaderEnd),
}

/// What a turn works with, besides the writer's own state.
#[derive(Debug)]
pub(super) struct TurnContext<'a> {
    pub(super) cursor: &'a mut Cursor,
    pub(super) policy: &'a Policy,
    pub(super) shared: &'a ReaderShared,
    pub(super) window: &'a Window,
    pub(super) now: Instant,
    pub(super) plan: &'a mut Vec<Item>,
    /// Set when bytes were taken.
    pub(super) progress: &'a mut bool,
}

impl TurnContext<'_> {
    /// Moves the cursor if the reader is late or its unit is gone.
    pub(super) fn catch_up(&mut self) {
        let Some(skip) = self.cursor.catch_up(self.policy, self.window, self.now) else {
            return;
        };
        self.shared.on_skip(skip, self.now);
    }

    /// Nothing of a living stream is left to send. Answers that came meanwhile wake the reader.
    pub(super) fn has_all(&self) -> bool {
        self.window.ended.is_none() && self.window.unit(self.cursor.next).is_none()
    }
}

/// A unit (or the part of it from `from` to `to`) in a write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    number: u64,
    from: usize,
    to: usize,
    whole: bool,
    packets: u32,
    keys: Keys,
}

/// Writes interleaved frames to a sink; holds at most the rest of one packet.
#[derive(Debug)]
pub(super) struct TcpWriter {
    sink: Box<dyn Sink>,
    /// Bytes of the unit at the cursor that are written already: a packet boundary.
    offset: usize,
    /// Goes first: the rest of a packet, then answers.
    tail: BytesMut,
    map: Option<ChannelMap>,
}

impl TcpWriter {
    /// `first` goes out before any unit.
    pub(super) fn new(sink: Box<dyn Sink>, map: Option<ChannelMap>, first: BytesMut) -> Self {
        Self {
            sink,
            offset: 0,
            tail: first,
            map,
        }
    }

    pub(super) fn sink(&self) -> &dyn Sink {
        &*self.sink
    }

    /// Whether the unit at the cursor is sent in part.
    pub(super) fn is_within(&self) -> bool {
        self.offset > 0
    }

    /// Gives the sink back, with what has to be written to it first.
    pub(super) fn into_parts(self) -> (Box<dyn Sink>, BytesMut) {
        (self.sink, self.tail)
    }

    /// Writes until the peer takes no more, all is written, or the turn is over.
    pub(super) fn turn(&mut self, context: &mut TurnContext<'_>) -> Turn {
        let mut budget = TURN_BYTES;
        loop {
            match self.write_tail(context) {
                Ok(true) => {}
                Ok(false) => return self.blocked(context),
                Err(error) => return Turn::Ended(ReaderEnd::Io(error.kind())),
            }
            if budget == 0 {
                return Turn::More;
            }
            self.position(context);
            match self.write_units(context, budget) {
                Ok(Wrote::Nothing) => {
                    context.shared.late(None);
                    return match context.window.ended {
                        Some(reason) => Turn::Ended(ReaderEnd::Stream(reason)),
                        None => Turn::Idle,
                    };
                }
                Ok(Wrote::All(bytes)) => {
                    if context.has_all() {
                        context.shared.late(None);
                        return Turn::Idle;
                    }
                    budget = budget.saturating_sub(bytes);
                }
                Ok(Wrote::Part) => {
                    // The kernel is full: asking again would only cost a system call.
                    return self.blocked(context);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.blocked(context);
                }
                Err(error) => return Turn::Ended(ReaderEnd::Io(error.kind())),
            }
        }
    }

    fn blocked(&self, context: &TurnContext<'_>) -> Turn {
        context.shared.counters.blocked.add(1);
        let arrival = context
            .window
            .unit(context.cursor.next)
            .map(|unit| unit.arrival);
        context.shared.late(arrival.or(Some(context.now)));
        Turn::Blocked
    }

    /// Sends what goes first; at its end is a packet boundary, the place for answers.
    fn write_tail(&mut self, context: &mut TurnContext<'_>) -> io::Result<bool> {
        loop {
            if self.tail.is_empty() && !context.shared.take_control(&mut self.tail) {
                return Ok(true);
            }
            match self.sink.try_write(&[IoSlice::new(&self.tail)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    *context.progress = true;
                    context.shared.counters.bytes.add(count(written));
                    self.tail.advance(written);
                    if !self.tail.is_empty() {
                        return Ok(false);
                    }
                    // Give the memory back: most readers never need it again.
                    self.tail = BytesMut::new();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves the cursor if the reader is late or its unit is gone.
    fn position(&mut self, context: &mut TurnContext<'_>) {
        if self.offset > 0 {
            if context.cursor.next >= context.window.base {
                return;
            }
            self.offset = 0;
            context.shared.counters.truncated.add(1);
        }
        context.catch_up();
    }

    fn write_units(&mut self, context: &mut TurnContext<'_>, budget: usize) -> io::Result<Wrote> {
        context.plan.clear();
        let (end, keys, total, result) = match &self.map {
            None => self.write_contiguous(context, budget),
            Some(_) => self.write_patched(context, budget),
        };
        if total == 0 {
            self.arrive(context, end, keys);
            return Ok(Wrote::Nothing);
        }
        let written = result?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        *context.progress = true;
        context.shared.counters.bytes.add(count(written));
        if written < total {
            self.arrive_within(context, written);
            return Ok(Wrote::Part);
        }
        for item in context.plan.iter().filter(|item| item.whole) {
            context.shared.counters.units.add(1);
            context.shared.counters.packets.add(u64::from(item.packets));
        }
        match context.plan.last() {
            Some(item) if !item.whole => {
                let (number, keys, to) = (item.number, item.keys, item.to);
                self.arrive(context, number, keys);
                self.offset = to;
            }
            _ => self.arrive(context, end, keys),
        }
        Ok(Wrote::All(written))
    }

    fn arrive(&mut self, context: &mut TurnContext<'_>, next: u64, keys: Keys) {
        let held = keys.held.wrapping_sub(context.cursor.keys.held);
        if held > 0 {
            context.shared.counters.held_units.add(held);
        }
        context.cursor.next = next;
        context.cursor.keys = keys;
        self.offset = 0;
    }

    /// Canonical channels: a unit is one slice.
    fn write_contiguous(
        &mut self,
        context: &mut TurnContext<'_>,
        budget: usize,
    ) -> (u64, Keys, usize, io::Result<usize>) {
        let window = context.window;
        let mut walk = Walk::new(context.cursor, self.offset);
        let Some((unit, from)) = walk.next(window, context.policy) else {
            return (walk.next, walk.keys, 0, Ok(0));
        };
        let first = unit.data.get(from..).unwrap_or_default();
        context.plan.push(walk.item(unit, from, unit.data.len()));
        if window.unit(walk.next).is_none() {
            // Nearly always: a reader that keeps up lacks the newest unit.
            let result = self.sink.try_write(&[IoSlice::new(first)]);
            return (walk.next, walk.keys, first.len(), result);
        }
        let mut slices = [IoSlice::new(first); MAX_UNITS];
        let mut filled = 1;
        let mut total = first.len();
        while total < budget
            && let Some(slot) = slices.get_mut(filled)
            && let Some((unit, from)) = walk.next(window, context.policy)
        {
            let bytes = unit.data.get(from..).unwrap_or_default();
            *slot = IoSlice::new(bytes);
            filled += 1;
            total += bytes.len();
            context.plan.push(walk.item(unit, from, unit.data.len()));
        }
        let result = match slices.get(..filled) {
            Some(slices) if total > 0 => self.sink.try_write(slices),
            _ => Ok(0),
        };
        (walk.next, walk.keys, total, result)
    }

    /// Other channels: each packet gets its own header.
    fn write_patched(
        &mut self,
        context: &mut TurnContext<'_>,
        budget: usize,
    ) -> (u64, Keys, usize, io::Result<usize>) {
        let window = context.window;
        let mut headers = [[0; FRAME_HEADER]; MAX_PATCHED];
        let mut bodies: [&[u8]; MAX_PATCHED] = [&[]; MAX_PATCHED];
        let mut filled = 0;
        let mut total = 0;
        let mut walk = Walk::new(context.cursor, self.offset);
        while total < budget
            && filled < MAX_PATCHED
            && let Some((unit, from)) = walk.next(window, context.policy)
        {
            let mut packets = Packets::of(unit.data.get(from..).unwrap_or_default());
            let mut to = from;
            while let (Some(header), Some(body)) = (headers.get_mut(filled), bodies.get_mut(filled))
                && let Some((channel, packet)) = packets.next_framed()
            {
                *header = frame_header(self.map.as_ref(), channel, packet.len());
                *body = packet;
                filled += 1;
                to += FRAME_HEADER + packet.len();
            }
            total += to - from;
            context.plan.push(walk.item(unit, from, to));
        }
        let mut slices = [IoSlice::new(&[]); MAX_PATCHED * 2];
        let parts = headers.iter().zip(&bodies).take(filled);
        for (pair, (header, body)) in slices.chunks_exact_mut(2).zip(parts) {
            if let [first, second] = pair {
                *first = IoSlice::new(header);
                *second = IoSlice::new(body);
            }
        }
        let result = match slices.get(..filled * 2) {
            Some(slices) if total > 0 => self.sink.try_write(slices),
            _ => Ok(0),
        };
        (walk.next, walk.keys, total, result)
    }

    /// Only `written` bytes of the plan were taken: stays at the unit that was cut, and keeps
    /// the rest of the packet that was cut.
    fn arrive_within(&mut self, context: &mut TurnContext<'_>, written: usize) {
        let mut left = written;
        let mut keys = context.cursor.keys;
        let mut next = context.cursor.next;
        let mut cut = None;
        for item in context.plan.iter() {
            let len = item.to - item.from;
            if left < len {
                cut = Some((*item, item.from + left));
                break;
            }
            left -= len;
            keys = item.keys;
            if item.whole {
                next = item.number + 1;
                context.shared.counters.units.add(1);
                context.shared.counters.packets.add(u64::from(item.packets));
            }
        }
        let Some((item, offset)) = cut.filter(|(item, offset)| *offset > 0 || item.from > 0) else {
            self.arrive(context, next, keys);
            return;
        };
        self.arrive(context, item.number, item.keys);
        let Some(unit) = context.window.unit(item.number) else {
            return;
        };
        let boundary = self.keep_rest_of_packet(unit, offset);
        if boundary >= unit.data.len() {
            context.shared.counters.units.add(1);
            context.shared.counters.packets.add(u64::from(unit.packets));
            self.arrive(context, item.number + 1, item.keys);
        } else {
            self.offset = boundary;
        }
    }

    /// Copies the rest of the packet that is cut at `offset`; returns where the next one begins.
    fn keep_rest_of_packet(&mut self, unit: &Unit, offset: usize) -> usize {
        let mut start = 0;
        let mut packets = unit.packets();
        while let Some((channel, packet)) = packets.next_framed() {
            let end = start + FRAME_HEADER + packet.len();
            if offset == start {
                return start;
            }
            if offset < end {
                let header = frame_header(self.map.as_ref(), channel, packet.len());
                let sent = offset - start;
                self.tail
                    .extend_from_slice(header.get(sent..).unwrap_or_default());
                let sent = sent.saturating_sub(FRAME_HEADER);
                self.tail
                    .extend_from_slice(packet.get(sent..).unwrap_or_default());
                return end;
            }
            start = end;
        }
        start
    }
}

enum Wrote {
    Nothing,
    All(usize),
    Part,
}

/// Goes over the units from the cursor on, those that the reader gets.
struct Walk {
    next: u64,
    offset: usize,
    number: u64,
    keys: Keys,
}

impl Walk {
    fn new(cursor: &Cursor, offset: usize) -> Self {
        Self {
            next: cursor.next,
            offset,
            number: cursor.next,
            keys: cursor.keys,
        }
    }

    fn next<'w>(&mut self, window: &'w Window, policy: &Policy) -> Option<(&'w Unit, usize)> {
        loop {
            let unit = window.unit(self.next)?;
            let from = std::mem::take(&mut self.offset);
            self.number = self.next;
            self.next += 1;
            // A unit of which a part is out was admitted before.
            if from > 0 || self.keys.admit(policy, window.keyless, self.number, unit) {
                return Some((unit, from));
            }
        }
    }

    fn item(&self, unit: &Unit, from: usize, to: usize) -> Item {
        Item {
            number: self.number,
            from,
            to,
            whole: to >= unit.data.len(),
            packets: unit.packets,
            keys: self.keys,
        }
    }
}

fn frame_header(map: Option<&ChannelMap>, channel: u8, len: usize) -> [u8; FRAME_HEADER] {
    let channel = map
        .and_then(|map| map.get(usize::from(channel)).copied())
        .unwrap_or(channel);
    let [l0, l1] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    [b'$', channel, l0, l1]
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The rest of a packet and the answers that wait, as [`StoppedReader`](super::StoppedReader) has
/// them.
pub(super) fn pending(mut tail: BytesMut, shared: &ReaderShared) -> Bytes {
    while shared.take_control(&mut tail) {}
    tail.freeze()
}
