use std::sync::Arc;
use std::time::Instant;

use super::cadence::Cadence;
use super::count::DropCause;
use super::ring::{Consumer, Meta};
use super::sender::{JUMP, KEY, Stream};
use super::sync::Ordering;

/// The next frame to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// Index of its track.
    pub(crate) track: usize,
    /// Index of its stream: of the senders.
    pub(crate) stream: usize,
    /// Presentation time in microseconds.
    pub(crate) pts_us: i64,
    /// When it was pushed.
    pub(crate) pushed: Instant,
    /// Bytes in the ring.
    pub(crate) len: usize,
    /// Decoding can begin here.
    pub(crate) key: bool,
    /// Media time does not go on from the frame before.
    pub(crate) jump: bool,
}

/// One stream's part of the feed.
#[derive(Debug)]
pub(super) struct StreamFeed {
    pub(super) consumer: Consumer,
    pub(super) shared: Arc<Stream>,
    /// Index of the track that it is sent as.
    pub(super) track: usize,
    /// It is sent.
    pub(super) selected: bool,
    /// It is sent from its next key frame on, in place of the other stream of its track.
    pub(super) comes: bool,
    /// The next frame to send; behind it the past.
    pub(super) read: u64,
    /// What became of the frames before was counted.
    pub(super) counted: u64,
    /// Frames before the next key frame cannot be decoded.
    pub(super) wait_key: bool,
    /// The encoder should be asked for a key frame.
    pub(super) key_wanted: bool,
    /// Media time jumped at a frame that was left out.
    pub(super) jumped: bool,
    pub(super) cadence: Cadence,
}

impl StreamFeed {
    pub(super) fn new(
        consumer: Consumer,
        shared: Arc<Stream>,
        track: usize,
        selected: bool,
    ) -> Self {
        shared.muted.store((!selected).into(), Ordering::Relaxed);
        Self {
            track,
            selected,
            comes: false,
            consumer,
            wait_key: shared.video,
            shared,
            read: 0,
            counted: 0,
            key_wanted: false,
            jumped: false,
            cadence: Cadence::default(),
        }
    }

    /// Frames up to `until` are left out.
    pub(super) fn skip_to(&mut self, until: u64, cause: DropCause) {
        let mut left_out = self.read..until;
        self.jumped |= left_out.any(|at| self.consumer.meta(at).flags & JUMP != 0);
        let frames = until.saturating_sub(self.read.max(self.counted));
        self.shared.counters.dropped(cause, frames);
        self.read = until;
        self.counted = self.counted.max(until);
    }

    pub(super) fn has_frames(&self) -> bool {
        self.read < self.consumer.head()
    }

    /// Is sent from now on, or not any more.
    pub(super) fn select(&mut self, selected: bool) {
        self.selected = selected;
        self.comes = false;
        self.wait_key = self.shared.video;
        self.shared
            .muted
            .store((!selected).into(), Ordering::Relaxed);
        if !selected {
            let head = self.consumer.head();
            self.skip_to(head, DropCause::NotSelected);
            self.consumer.release_to(head);
        }
    }

    /// Leaves out what cannot be decoded for want of a key frame.
    pub(super) fn skip_undecodable(&mut self, head: u64) {
        while self.wait_key && self.read < head {
            if self.consumer.meta(self.read).flags & KEY == 0 {
                self.skip_to(self.read + 1, DropCause::WaitKey);
            } else {
                self.wait_key = false;
            }
        }
    }

    /// Leaves out what is too late, or would be when it has left: everything before the newest key frame
    /// that is not, or all, and then what follows up to a key frame. Sound is little, and waits.
    pub(super) fn skip_late(
        &mut self,
        head: u64,
        oldest_us: u64,
        leaves_late: impl Fn(&Meta) -> bool,
    ) {
        let video = self.shared.video;
        let late = |meta: &Meta| meta.pushed_us < oldest_us || (video && leaves_late(meta));
        if self.read >= head || !late(&self.consumer.meta(self.read)) {
            return;
        }
        let in_time = |at: &u64| {
            let meta = self.consumer.meta(*at);
            meta.flags & KEY != 0 && !late(&meta)
        };
        // Any audio frame will do, of video the newest key frame: the least delay for what is lost anyway.
        let found = if self.shared.video {
            (self.read..head).rev().find(in_time)
        } else {
            (self.read..head).find(in_time)
        };
        self.skip_to(found.unwrap_or(head), DropCause::Late);
        if found.is_none() && self.shared.video {
            self.wait_key = true;
            self.key_wanted = true;
            self.shared.broken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives back what nobody needs: everything without `since_us`. Returns when the first frame
    /// that is kept was pushed.
    pub(super) fn keep(&mut self, since_us: Option<u64>, cause: DropCause) -> Option<u64> {
        let head = self.consumer.head();
        let from = since_us.map_or(head, |since_us| self.past(head, since_us));
        self.skip_to(from, cause);
        self.consumer.release_to(from);
        (from < head).then(|| self.consumer.meta(from).pushed_us)
    }

    /// Where the past begins that is worth keeping of the frames before `until`: the newest key
    /// frame pushed before `since_us`, or the oldest one after it.
    pub(super) fn past(&self, until: u64, since_us: u64) -> u64 {
        let mut kept = None;
        for at in self.consumer.tail()..until {
            let meta = self.consumer.meta(at);
            let old = meta.pushed_us <= since_us;
            if meta.flags & KEY != 0 && (old || kept.is_none()) {
                kept = Some(at);
            }
            if !old && kept.is_some() {
                break;
            }
        }
        kept.unwrap_or(until)
    }
}
