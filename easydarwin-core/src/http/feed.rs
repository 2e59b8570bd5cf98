use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::error::HttpError;
use super::fmp4::boxes::{self, BoxError, TrackRun};
use super::fmp4::{Init, Muxed, Muxer};
use super::state::Shared;
use crate::relay::{Asked, EndReason, ReaderEnd, Stream, Tap, TapEvent, TapOptions};

/// One viewer's stream as fMP4: an init segment, then one fragment per access unit.
///
/// Nothing is queued here: a viewer that does not take fragments makes its tap late, and the tap
/// resumes at a key frame.
#[derive(Debug)]
pub(crate) struct Feed {
    tap: Tap,
    muxer: Muxer,
    fragment: u32,
    ended: Option<EndReason>,
    cancel: CancellationToken,
    /// Held for its count.
    _slot: OwnedSemaphorePermit,
}

/// What a [`Feed`] gives.
#[derive(Debug)]
pub(crate) enum FeedEvent {
    /// What follows needs this init segment.
    Init(Arc<Init>),
    /// `moof` and `mdat`.
    Fragment(Bytes),
    /// The stream ended.
    End(EndReason),
}

impl Feed {
    /// Starts where it is told to and counts as a viewer.
    pub(crate) fn new(
        shared: &Shared,
        stream: &Stream,
        label: &str,
        asked: Asked,
    ) -> Result<Self, HttpError> {
        let muxer = Muxer::new(&stream.description());
        if muxer.is_empty() {
            return Err(HttpError::NoTracks(muxer.left_out().join(", ")));
        }
        let mut options = TapOptions::new(label);
        asked.tap(&mut options, stream.config());
        Ok(Self {
            _slot: shared.viewer_slot()?,
            cancel: shared.cancel.clone(),
            muxer,
            tap: stream.tap(options),
            fragment: 0,
            ended: None,
        })
    }

    /// Encodings of the tracks that MP4 cannot carry.
    pub(crate) fn left_out(&self) -> &[String] {
        self.muxer.left_out()
    }

    /// The next event. Cancel safe.
    ///
    /// # Errors
    /// When the stream does not fit into MP4's fields.
    pub(crate) async fn next(&mut self) -> Result<FeedEvent, BoxError> {
        loop {
            match self.muxer.pop() {
                Some(Muxed::Init(init)) => return Ok(FeedEvent::Init(init)),
                Some(Muxed::Sample(muxed)) => {
                    self.fragment = self.fragment.wrapping_add(1);
                    let mut out = Vec::with_capacity(muxed.sample.size() + 256);
                    let run = TrackRun {
                        id: muxed.id,
                        samples: std::slice::from_ref(&muxed.sample),
                    };
                    boxes::fragment(self.fragment, &[run], &mut out)?;
                    return Ok(FeedEvent::Fragment(out.into()));
                }
                None => {}
            }
            if let Some(reason) = self.ended {
                return Ok(FeedEvent::End(reason));
            }
            let event = tokio::select! {
                event = self.tap.recv() => event,
                () = self.cancel.cancelled() => Some(TapEvent::End(EndReason::Shutdown)),
            };
            match event {
                Some(TapEvent::Unit(unit)) => self.muxer.push(unit)?,
                // The last picture stays until the next key frame.
                Some(TapEvent::Gap | TapEvent::Discontinuity) => self.muxer.gap(),
                Some(TapEvent::ParamsChanged(description)) => self.muxer.update(&description),
                Some(TapEvent::End(reason)) => self.end(reason),
                None => self.end(EndReason::PublisherLeft),
            }
        }
    }

    /// Ends it because its client took nothing for `timeout`.
    pub(crate) fn stalled(self, timeout: Duration) {
        self.tap.end(ReaderEnd::Stalled(timeout.as_secs()));
    }

    /// The unit that was held back for its duration goes out before the end.
    fn end(&mut self, reason: EndReason) {
        self.muxer.finish();
        self.ended = Some(reason);
    }
}
