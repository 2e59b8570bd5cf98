//! Where pictures and sound come from.
//!
//! A source is opened when its stream is wanted and closed when it is not, so that a camera at
//! rest encodes nothing. It hands over access units at the pace of capture.

#[cfg(feature = "sources")]
mod file;
#[cfg(feature = "sources")]
mod pace;
#[cfg(feature = "sources")]
mod pattern;
#[cfg(feature = "sources")]
mod pull;

#[cfg(all(test, feature = "sources"))]
mod testing;

#[cfg(feature = "sources")]
pub use file::FileSource;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use file::fuzzing::fuzz_file;
#[cfg(feature = "sources")]
pub use pattern::PatternSource;
#[cfg(feature = "sources")]
pub use pull::PullSource;

use std::fmt;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use easydarwin_core::media::{AccessUnit, SessionDescription};

/// Something that films: the seam between this crate and an encoder.
///
/// The camera calls [`poll_open`](Self::poll_open) until it is ready, then
/// [`poll_frame`](Self::poll_frame) as long as the stream is wanted, then [`close`](Self::close);
/// then perhaps `poll_open` again. `poll_frame` fills a unit that the caller owns, so that a
/// source which recycles its buffers allocates nothing per frame.
pub trait MediaSource: Send {
    /// Begins to capture; ready with the tracks once they are known.
    ///
    /// Called again after an error or [`close`](Self::close).
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<SessionDescription, SourceError>>;

    /// Waits for the next access unit and writes it over `unit`.
    ///
    /// Units come in decode order per track, when they are due; `pts` runs on without a jump as
    /// long as the source stays open. After an error the caller closes the source.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        unit: &mut AccessUnit,
    ) -> Poll<Result<(), SourceError>>;

    /// Asks for a key frame soon; sources that cannot make one ignore it.
    fn request_key_frame(&mut self) {}

    /// Ends the capture and frees what it needed.
    fn close(&mut self);

    /// A JPEG of what the camera sees now; `None` when the source makes none.
    fn snapshot(&mut self) -> Option<Bytes> {
        None
    }
}

impl<S: MediaSource + ?Sized> MediaSource for Box<S> {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<SessionDescription, SourceError>> {
        (**self).poll_open(cx)
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        unit: &mut AccessUnit,
    ) -> Poll<Result<(), SourceError>> {
        (**self).poll_frame(cx, unit)
    }

    fn request_key_frame(&mut self) {
        (**self).request_key_frame();
    }

    fn close(&mut self) {
        (**self).close();
    }

    fn snapshot(&mut self) -> Option<Bytes> {
        (**self).snapshot()
    }
}

/// Why a source gives no pictures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file cannot be read; check path and permissions.
    #[error("cannot read {path}: {source}")]
    File {
        /// As it was given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is damaged or of a kind that is not supported; the text says what was met.
    #[error("{path}: {reason}")]
    Format {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The IP camera does not answer or refuses; it is asked again after a while.
    #[error("{url}: {reason}")]
    Remote {
        /// Without user and password.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// Frames were asked from a source that is not open.
    #[error("the source is not open")]
    Closed,
    /// The source has no more frames.
    #[error("the source has ended")]
    Ended,
}

/// The source that a text names: `pattern`, an `rtsp://` URL, or the path of a file. `label` is
/// what the test picture shows.
#[cfg(feature = "sources")]
pub fn from_text(text: &str, label: &str) -> Box<dyn MediaSource> {
    if text == "pattern" {
        Box::new(PatternSource::new(label))
    } else if text
        .get(..7)
        .is_some_and(|s| s.eq_ignore_ascii_case("rtsp://"))
    {
        Box::new(PullSource::new(text))
    } else {
        Box::new(FileSource::new(text))
    }
}

/// An access unit to be filled by [`MediaSource::poll_frame`].
pub fn blank_unit(now: Instant) -> AccessUnit {
    AccessUnit {
        track: 0,
        pts: 0,
        arrival: now,
        ntp: None,
        key: false,
        discontinuity: false,
        lossy: false,
        data: Vec::new(),
    }
}

impl fmt::Debug for dyn MediaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MediaSource")
    }
}
