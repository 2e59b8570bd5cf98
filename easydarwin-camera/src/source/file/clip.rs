use easydarwin_core::media::SessionDescription;

/// A file's media in sending order: where it lies and when it is due.
#[derive(Debug, Default)]
pub(super) struct Clip {
    pub(super) description: SessionDescription,
    /// Per track: bytes of a NAL unit's length field; 0 for samples that are one frame.
    pub(super) nal_lengths: Vec<usize>,
    /// Samples are byte streams with start codes instead.
    pub(super) annex_b: bool,
    pub(super) samples: Vec<Sample>,
    /// Nanoseconds from one loop to the next.
    pub(super) length: i64,
    /// When the first sample is due, in nanoseconds of the file's time.
    pub(super) begin: i64,
}

/// One picture or audio frame of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) track: usize,
    pub(super) offset: u64,
    pub(super) size: u32,
    /// Decode time in nanoseconds.
    pub(super) due: i64,
    /// Presentation time in ticks of the track's RTP clock.
    pub(super) pts: i64,
    pub(super) key: bool,
}

/// A track's first decode time and the end of its last sample, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) begin: i64,
    pub(super) end: i64,
}

impl Clip {
    /// Puts the samples of all tracks into sending order and sets begin and length.
    pub(super) fn finish(&mut self, spans: &[Span]) {
        self.samples.sort_by_key(|sample| sample.due);
        self.begin = spans.iter().map(|s| s.begin).min().unwrap_or(0);
        let end = spans.iter().map(|s| s.end).max().unwrap_or(0);
        // A file of one frame must not be sent without pause.
        self.length = end.saturating_sub(self.begin).max(MIN_LENGTH);
    }
}

/// Shortest loop: 40 ms.
const MIN_LENGTH: i64 = 40_000_000;

/// Time in units of `timescale` to nanoseconds.
pub(super) fn to_nanos(time: i64, timescale: u32) -> i64 {
    let nanos = i128::from(time) * 1_000_000_000 / i128::from(timescale.max(1));
    i64::try_from(nanos).unwrap_or(if time < 0 { i64::MIN } else { i64::MAX })
}
