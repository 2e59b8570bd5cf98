//! The picture that the scene is drawn on.

/// One colour plane, padded to whole macroblocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plane {
    stride: usize,
    samples: Vec<u8>,
}

impl Plane {
    fn new(width: usize, height: usize, value: u8) -> Self {
        Self {
            stride: width,
            samples: vec![value; width * height],
        }
    }

    /// Row `y`; empty beyond the edge.
    pub(super) fn row(&self, y: usize) -> &[u8] {
        let start = y * self.stride;
        self.samples
            .get(start..start + self.stride)
            .unwrap_or_default()
    }

    /// `size` samples of row `y` from `x`; empty beyond the edge.
    pub(super) fn run(&self, x: usize, y: usize, size: usize) -> &[u8] {
        self.row(y).get(x..x + size).unwrap_or_default()
    }

    pub(super) fn sample(&self, x: usize, y: usize) -> u8 {
        self.row(y).get(x).copied().unwrap_or_default()
    }

    fn run_mut(&mut self, x: usize, y: usize, size: usize) -> &mut [u8] {
        let start = y * self.stride + x;
        let end = start + size.min(self.stride.saturating_sub(x));
        self.samples.get_mut(start..end).unwrap_or_default()
    }

    fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, value: u8) {
        for row in y..y + height {
            self.run_mut(x, row, width).fill(value);
        }
    }

    /// Copies a square from `other`; true if that changed anything.
    fn copy_square(&mut self, other: &Self, x: usize, y: usize, size: usize) -> bool {
        let mut changed = false;
        for row in y..y + size {
            let from = other.run(x, row, size);
            let to = self.run_mut(x, row, size);
            if to != from && to.len() == from.len() {
                to.copy_from_slice(from);
                changed = true;
            }
        }
        changed
    }
}

/// A colour: Y, Cb, Cr in the limited range of ITU-R BT.601.
pub(super) type Colour = [u8; 3];

/// A 4:2:0 picture whose planes are whole macroblocks, and which macroblocks were drawn on.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub(super) luma: Plane,
    pub(super) cb: Plane,
    pub(super) cr: Plane,
    /// Width and height in macroblocks.
    pub(super) mbs: (usize, usize),
    touched: Vec<bool>,
}

impl Picture {
    pub(super) fn new(width: usize, height: usize, [y, cb, cr]: Colour) -> Self {
        let mbs = (width.div_ceil(16), height.div_ceil(16));
        let (w, h) = (mbs.0 * 16, mbs.1 * 16);
        Self {
            luma: Plane::new(w, h, y),
            cb: Plane::new(w / 2, h / 2, cb),
            cr: Plane::new(w / 2, h / 2, cr),
            mbs,
            touched: vec![true; mbs.0 * mbs.1],
        }
    }

    /// Fills a rectangle; `x`, `y` and sizes even, so that chroma samples have one owner.
    pub(super) fn fill(
        &mut self,
        (x, y): (usize, usize),
        (width, height): (usize, usize),
        [luma, cb, cr]: Colour,
    ) {
        self.luma.fill(x, y, width, height, luma);
        let (cx, cy) = (x / 2, y / 2);
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        self.cb.fill(cx, cy, cw, ch, cb);
        self.cr.fill(cx, cy, cw, ch, cr);
        if width == 0 || height == 0 {
            return;
        }
        for mb_y in y / 16..=(y + height - 1) / 16 {
            for mb_x in x / 16..=((x + width - 1) / 16).min(self.mbs.0 - 1) {
                if let Some(touched) = self.touched.get_mut(mb_y * self.mbs.0 + mb_x) {
                    *touched = true;
                }
            }
        }
    }

    /// Whether this macroblock was drawn on since last asked.
    pub(super) fn take_touched(&mut self, mb: usize) -> bool {
        self.touched
            .get_mut(mb)
            .is_some_and(|touched| std::mem::replace(touched, false))
    }

    /// Copies one macroblock of `other`; true if that changed anything.
    pub(super) fn copy_macroblock(&mut self, other: &Self, mb_x: usize, mb_y: usize) -> bool {
        let luma = self.luma.copy_square(&other.luma, mb_x * 16, mb_y * 16, 16);
        let cb = self.cb.copy_square(&other.cb, mb_x * 8, mb_y * 8, 8);
        let cr = self.cr.copy_square(&other.cr, mb_x * 8, mb_y * 8, 8);
        luma || cb || cr
    }
}
