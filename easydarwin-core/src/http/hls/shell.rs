use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;

use super::segmenter::Segmenter;
use super::sessions::{SessionKey, Sessions};
use super::window::Window;
use crate::http::HttpConfig;
use crate::http::fmp4::Muxer;
use crate::registry::{Permit, StreamPath};
use crate::relay::{Stream, Tap, TapEvent, TapOptions};

/// A session ends when it asked for nothing during this many target durations.
const SESSION_TARGET_DURATIONS: u32 = 3;
/// How often silent sessions are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Why there is no playlist.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum HlsError {
    /// Too many streams at one time.
    #[error("this node already cuts {0} streams into HLS segments; try again later")]
    TooManyStreams(usize),
    /// Too many sessions on one stream.
    #[error("this stream has too many HLS sessions")]
    TooManySessions,
    /// No first segment in time.
    #[error("no HLS segment was ready in time; the stream may have no key frames")]
    Timeout,
    /// Nothing that MP4 can carry.
    #[error("the stream has no track that HLS can carry ({0})")]
    NoTracks(String),
}

/// The streams that are cut into segments now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hls {
    streams: Arc<Mutex<HashMap<StreamPath, Arc<HlsStream>>>>,
}

/// One stream that is cut into segments while somebody watches it so.
#[derive(Debug)]
pub(crate) struct HlsStream {
    shared: Mutex<Shared>,
    /// Counts segments, so that the first can be awaited.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    window: Window,
    sessions: Sessions,
    error: Option<HlsError>,
}

impl Hls {
    /// The stream's segments if `key` is a session that is alive; marks it so.
    pub(crate) fn resume(&self, path: &StreamPath, key: &SessionKey) -> Option<Arc<HlsStream>> {
        let stream = self.streams.lock().get(path)?.clone();
        let alive = stream.shared.lock().sessions.touch(key, Instant::now());
        alive.then_some(stream)
    }

    /// Begins a session; starts the segmenter if it is the stream's first.
    pub(crate) fn join(
        &self,
        stream: &Stream,
        key: SessionKey,
        permit: Permit,
        config: &HttpConfig,
    ) -> Result<Arc<HlsStream>, HlsError> {
        let mut streams = self.streams.lock();
        let full = streams.len() >= config.hls_max_streams;
        let entry = streams.entry(stream.path().clone());
        let hls = match entry {
            // An ended one is only kept for those who still read its last segments.
            Entry::Occupied(entry) if !entry.get().is_over() => entry.get().clone(),
            Entry::Vacant(_) if full => {
                return Err(HlsError::TooManyStreams(config.hls_max_streams));
            }
            entry => {
                let new = Arc::new(HlsStream::new(config));
                let task = Task {
                    hls: new.clone(),
                    streams: self.clone(),
                    muxer: Muxer::new(&stream.description()),
                    segmenter: Segmenter::new(config.hls_segment, config.hls_max_bytes),
                };
                let mut options = TapOptions::new("hls");
                options.viewer = false;
                tokio::spawn(task.run(stream.tap(options)));
                entry.insert_entry(new.clone());
                new
            }
        };
        let viewer = stream.viewer();
        let added = hls
            .shared
            .lock()
            .sessions
            .add(key, permit, viewer, Instant::now());
        if !added {
            return Err(HlsError::TooManySessions);
        }
        Ok(hls)
    }

    fn remove(&self, path: &StreamPath, hls: &Arc<HlsStream>) {
        let mut streams = self.streams.lock();
        if streams.get(path).is_some_and(|own| Arc::ptr_eq(own, hls)) {
            streams.remove(path);
        }
    }
}

impl HlsStream {
    fn new(config: &HttpConfig) -> Self {
        Self {
            shared: Mutex::new(Shared {
                window: Window::new(config.hls_window, config.hls_max_bytes, config.hls_segment),
                sessions: Sessions::default(),
                error: None,
            }),
            changed: watch::Sender::new(()),
        }
    }

    /// The playlist; waits for the first segment, at most `patience`.
    pub(crate) async fn playlist(&self, patience: Duration) -> Result<String, HlsError> {
        let mut changed = self.changed.subscribe();
        let ready = async {
            loop {
                {
                    let shared = self.shared.lock();
                    if !shared.window.is_empty() {
                        return Ok(shared.window.playlist());
                    }
                    if let Some(error) = &shared.error {
                        return Err(error.clone());
                    }
                    if shared.window.is_ended() {
                        return Err(HlsError::Timeout);
                    }
                }
                if changed.changed().await.is_err() {
                    return Err(HlsError::Timeout);
                }
            }
        };
        tokio::time::timeout(patience, ready)
            .await
            .unwrap_or(Err(HlsError::Timeout))
    }

    pub(crate) fn segment(&self, number: u64) -> Option<Bytes> {
        self.shared.lock().window.segment(number)
    }

    pub(crate) fn init(&self, number: u64) -> Option<Bytes> {
        self.shared.lock().window.init(number)
    }

    fn is_over(&self) -> bool {
        self.shared.lock().window.is_ended()
    }

    /// Whether nobody watches any more.
    fn sweep(&self) -> bool {
        let mut shared = self.shared.lock();
        let patience = shared.window.target_duration() * SESSION_TARGET_DURATIONS;
        shared.sessions.expire(patience, Instant::now());
        shared.sessions.is_empty()
    }
}

/// Feeds one [`HlsStream`] until nobody watches it.
struct Task {
    hls: Arc<HlsStream>,
    streams: Hls,
    muxer: Muxer,
    segmenter: Segmenter,
}

impl Task {
    async fn run(mut self, mut tap: Tap) {
        let path = tap.stream().path().clone();
        tracing::debug!(%path, left_out = ?self.muxer.left_out(), "HLS segmenter starts");
        if self.muxer.is_empty() {
            let error = HlsError::NoTracks(self.muxer.left_out().join(", "));
            self.hls.shared.lock().error = Some(error);
            self.end();
        }
        // Not at once: the session for which this task was started is only now being added.
        let mut sweep = tokio::time::interval_at(tokio::time::Instant::now() + SWEEP, SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let live = !self.hls.is_over();
            tokio::select! {
                event = tap.recv(), if live => match event {
                    Some(event) => self.take(event, &path),
                    None => self.end(),
                },
                _ = sweep.tick() => if self.hls.sweep() {
                    break;
                }
            }
        }
        self.streams.remove(&path, &self.hls);
        tracing::debug!(%path, "HLS segmenter stops: no session left");
    }

    fn take(&mut self, event: TapEvent, path: &StreamPath) {
        let result = match event {
            TapEvent::Unit(unit) => self.muxer.push(unit),
            TapEvent::Gap => {
                self.muxer.gap();
                Ok(())
            }
            TapEvent::ParamsChanged(description) => {
                self.muxer.update(&description);
                Ok(())
            }
            TapEvent::Discontinuity => {
                self.muxer.finish();
                self.muxer.gap();
                let result = self.drain();
                let cut = self.segmenter.discontinuity();
                result.and(cut.map(|cuts| self.store(cuts)))
            }
            TapEvent::End(_) => {
                self.muxer.finish();
                let result = self.drain();
                let last = self.segmenter.finish().map(|cuts| self.store(cuts));
                self.end();
                result.and(last)
            }
        };
        if let Err(error) = result.and_then(|()| self.drain()) {
            tracing::warn!(%path, %error, "HLS segment cannot be written; the playlist ends");
            self.end();
        }
    }

    fn drain(&mut self) -> Result<(), crate::http::fmp4::boxes::BoxError> {
        while let Some(muxed) = self.muxer.pop() {
            let cuts = self.segmenter.push(muxed)?;
            self.store(cuts);
        }
        Ok(())
    }

    fn store(&self, cuts: Vec<super::segmenter::Cut>) {
        if cuts.is_empty() {
            return;
        }
        {
            let mut shared = self.hls.shared.lock();
            for cut in cuts {
                shared.window.push(cut);
            }
        }
        self.hls.changed.send_replace(());
    }

    fn end(&self) {
        self.hls.shared.lock().window.end();
        self.hls.changed.send_replace(());
    }
}
