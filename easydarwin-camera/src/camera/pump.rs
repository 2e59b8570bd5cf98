//! What turns a source into frames of a queue.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use easydarwin_core::media::AccessUnit;

use crate::frames::{FrameSender, QueueConfig, queue};
use crate::push::Channel;
use crate::source::{MediaSource, SourceError, blank_unit};

/// Frames taken at once from a source that has them ready.
const BATCH: usize = 16;

/// A source and where its frames go.
#[derive(Debug)]
pub(super) struct Pump {
    source: Box<dyn MediaSource>,
    queue: QueueConfig,
    state: State,
    unit: AccessUnit,
}

#[derive(Debug)]
enum State {
    Closed,
    Opening,
    /// The queue's end and the clock of each track.
    Open(Vec<(FrameSender, u32)>),
}

impl Pump {
    pub(super) fn new(source: Box<dyn MediaSource>, queue: QueueConfig) -> Self {
        Self {
            source,
            queue,
            state: State::Closed,
            unit: blank_unit(Instant::now()),
        }
    }

    pub(super) fn open(&mut self) {
        self.state = State::Opening;
    }

    pub(super) fn close(&mut self) {
        self.source.close();
        self.state = State::Closed;
    }

    pub(super) fn request_key_frame(&mut self) {
        self.source.request_key_frame();
    }

    pub(super) fn snapshot(&mut self) -> Option<Bytes> {
        self.source.snapshot()
    }

    /// Ready if something came of it.
    pub(super) fn poll(
        &mut self,
        channel: &mut Channel,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        match self.step(channel, now, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(reason)) => {
                self.close();
                channel.source_failed(reason, now);
                Poll::Ready(())
            }
        }
    }

    fn step(
        &mut self,
        channel: &mut Channel,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), String>> {
        let failed = |error: SourceError| error.to_string();
        match &mut self.state {
            State::Closed => Poll::Pending,
            State::Opening => {
                let description = std::task::ready!(self.source.poll_open(cx)).map_err(failed)?;
                let clocks = description.tracks.iter().map(|track| track.clock_rate);
                let clocks: Vec<_> = clocks.collect();
                let (senders, feed) =
                    queue(description.tracks, &self.queue).map_err(|error| error.to_string())?;
                self.state = State::Open(senders.into_iter().zip(clocks).collect());
                channel.described(feed, now);
                Poll::Ready(Ok(()))
            }
            State::Open(senders) => {
                for taken in 0..BATCH {
                    match self.source.poll_frame(cx, &mut self.unit) {
                        Poll::Ready(frame) => frame.map_err(failed)?,
                        Poll::Pending if taken == 0 => return Poll::Pending,
                        Poll::Pending => break,
                    }
                    if let Some((sender, clock)) = senders.get_mut(self.unit.track) {
                        let pts_us = micros(self.unit.pts, *clock);
                        sender.push_unit(&self.unit, pts_us, Instant::now());
                    }
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// Ticks of a clock in microseconds, rounded.
fn micros(ticks: i64, clock_rate: u32) -> i64 {
    let clock_rate = i128::from(clock_rate.max(1));
    let us = (i128::from(ticks) * 1_000_000 + clock_rate / 2).div_euclid(clock_rate);
    i64::try_from(us).unwrap_or(i64::MAX)
}
