/// Decode time of one picture, see [`DtsEstimator::push`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeTime {
    /// Decode time in the ticks of the presentation times; never above the picture's own
    /// presentation time and strictly growing, unless `discontinuity` is set.
    pub dts: i64,
    /// The reorder depth was too small and has grown: decode times start anew here.
    pub discontinuity: bool,
}

/// Decode times for muxers from presentation times in decoding order (RTP carries only the latter).
///
/// With a reorder depth D the decode time of picture n is the (n-D)-th smallest presentation time
/// so far; the first D pictures are put before the key frame at one frame time each.
#[derive(Debug, Clone)]
pub struct DtsEstimator {
    depth: usize,
    frame_ticks: i64,
}

impl DtsEstimator {
    /// `depth`: `max_num_reorder_frames` of the stream, see
    /// [`Track::reorder_depth`](super::Track::reorder_depth). `frame_ticks`: a guess of the time
    /// of a frame, used only for the first pictures.
    pub fn new(depth: usize, frame_ticks: i64) -> Self {
        Self { depth, frame_ticks }
    }

    /// The decode time of the next picture in decoding order.
    pub fn push(&mut self, _pts: i64) -> DecodeTime {
        todo!("{} {}", self.depth, self.frame_ticks)
    }

    /// Forgets all pictures; the next one is a key frame after a discontinuity.
    pub fn reset(&mut self) {
        todo!()
    }

    /// The reorder depth, grown ones included.
    pub fn depth(&self) -> usize {
        self.depth
    }
}
