//! A small lossless H.264 encoder for drawn pictures: Constrained Baseline, CAVLC, one slice.
//!
//! Each macroblock is one of three kinds: skipped (unchanged), Intra 16x16 whose prediction is off
//! by a constant (flat areas and continued stripes: a few bits), or I_PCM (everything else: 384
//! bytes). The quantizers are chosen so that a DC level of n moves a block by exactly n; with
//! deblocking off the decoded picture is the drawn one, bit for bit.

use bytes::{Bytes, BytesMut};

use super::bits::BitWriter;
use super::picture::{Picture, Plane};

/// Luma QP at which a DC level of 1 is one step of luma: LevelScale 256, shift 2 (8.5.10, 8.5.12).
const LUMA_QP: i32 = 28;
/// Brings chroma to QP 22, where the same holds with the 2x2 transform (8.5.11).
const CHROMA_QP_OFFSET: i32 = -6;
/// Level 3: 1 620 macroblocks, 40 500 a second, 10 Mbit/s (table A-1).
const LEVEL_IDC: u32 = 30;
const FRAME_NUM_BITS: u32 = 8;

const NAL_SLICE: u8 = 0x61;
const NAL_IDR: u8 = 0x65;
const NAL_SPS: u8 = 0x67;
const NAL_PPS: u8 = 0x68;

#[derive(Debug)]
pub(super) struct Encoder {
    sps: Bytes,
    pps: Bytes,
    /// What the decoder shows.
    reference: Picture,
    /// Macroblocks of the current picture that are I_PCM: they count as 16 coefficients per block
    /// when their neighbours choose a code table (9.2.1).
    pcm: Vec<bool>,
    rbsp: BitWriter,
    buffer: BytesMut,
    frame_num: u32,
    idr_pic_id: u32,
}

impl Encoder {
    pub(super) fn new(width: usize, height: usize, fps: u32) -> Self {
        let reference = Picture::new(width, height, [16, 128, 128]);
        let mut rbsp = BitWriter::default();
        let mut buffer = BytesMut::new();
        write_sps(&mut rbsp, width, height, fps);
        rbsp.write_nal(NAL_SPS, &mut buffer);
        let sps = buffer.split().freeze();
        write_pps(&mut rbsp);
        rbsp.write_nal(NAL_PPS, &mut buffer);
        let pps = buffer.split().freeze();
        Self {
            sps,
            pps,
            pcm: vec![false; reference.mbs.0 * reference.mbs.1],
            reference,
            rbsp,
            buffer,
            frame_num: 0,
            idr_pic_id: 0,
        }
    }

    pub(super) fn sps(&self) -> &Bytes {
        &self.sps
    }

    pub(super) fn pps(&self) -> &Bytes {
        &self.pps
    }

    /// Encodes the picture as NAL units appended to `out`; a key frame brings its parameter sets.
    pub(super) fn encode(&mut self, picture: &mut Picture, key: bool, out: &mut Vec<Bytes>) {
        self.rbsp.clear();
        if key {
            self.frame_num = 0;
            self.idr_pic_id ^= 1;
            out.extend([self.sps.clone(), self.pps.clone()]);
        } else {
            self.frame_num = (self.frame_num + 1) % (1 << FRAME_NUM_BITS);
        }
        self.slice_header(key);
        self.pcm.fill(false);
        let (columns, rows) = self.reference.mbs;
        let mut skipped = 0;
        for mb_y in 0..rows {
            for mb_x in 0..columns {
                let touched = picture.take_touched(mb_y * columns + mb_x);
                let changed = touched && self.reference.copy_macroblock(picture, mb_x, mb_y);
                if key {
                    self.macroblock(mb_x, mb_y, 0);
                } else if changed {
                    self.rbsp.ue(skipped);
                    skipped = 0;
                    // Intra types follow the five inter types in P slices (table 7-13).
                    self.macroblock(mb_x, mb_y, 5);
                } else {
                    skipped += 1;
                }
            }
        }
        if skipped > 0 {
            self.rbsp.ue(skipped);
        }
        self.rbsp.trailing();
        let header = if key { NAL_IDR } else { NAL_SLICE };
        self.rbsp.write_nal(header, &mut self.buffer);
        out.push(self.buffer.split().freeze());
    }

    /// 7.3.3
    fn slice_header(&mut self, key: bool) {
        let w = &mut self.rbsp;
        w.ue(0); // first_mb_in_slice
        w.ue(if key { 7 } else { 5 }); // slice_type: all I, all P
        w.ue(0); // pic_parameter_set_id
        w.bits(self.frame_num, FRAME_NUM_BITS);
        if key {
            w.ue(self.idr_pic_id);
            w.flag(false); // no_output_of_prior_pics_flag
            w.flag(false); // long_term_reference_flag
        } else {
            w.flag(false); // num_ref_idx_active_override_flag
            w.flag(false); // ref_pic_list_modification_flag_l0
            w.flag(false); // adaptive_ref_pic_marking_mode_flag
        }
        w.se(0); // slice_qp_delta
        w.ue(1); // disable_deblocking_filter_idc
    }

    /// 7.3.5; `base` is what precedes the intra types in this slice's numbering.
    fn macroblock(&mut self, mb_x: usize, mb_y: usize, base: u32) {
        let Some(flat) = predict(&self.reference, mb_x, mb_y) else {
            self.pcm_macroblock(mb_x, mb_y, base);
            return;
        };
        let dc_table = self.dc_table(mb_x, mb_y);
        let w = &mut self.rbsp;
        let chroma_coded = flat.cb != 0 || flat.cr != 0;
        // Table 7-11: Intra 16x16 without AC, chroma DC or none.
        w.ue(base + 1 + flat.luma_mode + 4 * u32::from(chroma_coded));
        w.ue(flat.chroma_mode);
        w.se(0); // mb_qp_delta
        dc_level(w, dc_table, flat.luma);
        if chroma_coded {
            dc_level(w, &CHROMA_DC, flat.cb);
            dc_level(w, &CHROMA_DC, flat.cr);
        }
    }

    fn pcm_macroblock(&mut self, mb_x: usize, mb_y: usize, base: u32) {
        let (columns, _) = self.reference.mbs;
        if let Some(pcm) = self.pcm.get_mut(mb_y * columns + mb_x) {
            *pcm = true;
        }
        self.rbsp.ue(base + 25);
        self.rbsp.align();
        for row in 0..16 {
            self.rbsp
                .bytes(self.reference.luma.run(mb_x * 16, mb_y * 16 + row, 16));
        }
        for plane in [&self.reference.cb, &self.reference.cr] {
            for row in 0..8 {
                self.rbsp.bytes(plane.run(mb_x * 8, mb_y * 8 + row, 8));
            }
        }
    }

    /// The coeff_token table that the neighbours' coefficient counts choose (9.2.1): our blocks
    /// have none, those of I_PCM 16, so the mean is 0, 8 or 16.
    fn dc_table(&self, mb_x: usize, mb_y: usize) -> &'static DcCodes {
        let (columns, _) = self.reference.mbs;
        let at = |x: usize, y: usize| self.pcm.get(y * columns + x).copied().unwrap_or(false);
        let left = mb_x.checked_sub(1).is_some_and(|x| at(x, mb_y));
        let above = mb_y.checked_sub(1).is_some_and(|y| at(mb_x, y));
        if left || above { &MANY_DC } else { &FEW_DC }
    }
}

/// A macroblock that is its prediction plus a constant in each plane.
struct Flat {
    luma_mode: u32,
    luma: i32,
    chroma_mode: u32,
    cb: i32,
    cr: i32,
}

/// Finds a prediction that is off by a constant, the cheapest first.
fn predict(picture: &Picture, mb_x: usize, mb_y: usize) -> Option<Flat> {
    let (x, y) = (mb_x * 16, mb_y * 16);
    let luma = &picture.luma;
    // Table 8-4: 0 vertical, 1 horizontal, 2 DC.
    let candidates = [
        (0, vertical_offset(luma, x, y, 16)),
        (1, horizontal_offset(luma, x, y, 16)),
        (2, flat_offset(luma, x, y, 16, luma_dc(luma, x, y))),
    ];
    let (luma_mode, luma) = candidates
        .into_iter()
        .filter_map(|(mode, offset)| Some((mode, offset?)))
        .min_by_key(|(_, offset)| offset.unsigned_abs())?;
    let (x, y) = (mb_x * 8, mb_y * 8);
    // Table 8-5: 0 DC, 1 horizontal, 2 vertical. DC only where there is no neighbour.
    let corner = mb_x == 0 && mb_y == 0;
    let candidates = [
        (2, offsets(picture, |p| vertical_offset(p, x, y, 8))),
        (1, offsets(picture, |p| horizontal_offset(p, x, y, 8))),
        (
            0,
            offsets(picture, |p| {
                corner.then(|| flat_offset(p, x, y, 8, 128)).flatten()
            }),
        ),
    ];
    let (chroma_mode, (cb, cr)) = candidates
        .into_iter()
        .filter_map(|(mode, offsets)| Some((mode, offsets?)))
        .min_by_key(|(_, (cb, cr))| cb.unsigned_abs() + cr.unsigned_abs())?;
    Some(Flat {
        luma_mode,
        luma,
        chroma_mode,
        cb,
        cr,
    })
}

fn offsets(picture: &Picture, offset: impl Fn(&Plane) -> Option<i32>) -> Option<(i32, i32)> {
    Some((offset(&picture.cb)?, offset(&picture.cr)?))
}

/// The common difference of all pairs, if there is one.
fn constant(pairs: impl Iterator<Item = (u8, u8)>) -> Option<i32> {
    let mut differences =
        pairs.map(|(sample, prediction)| i32::from(sample) - i32::from(prediction));
    let first = differences.next()?;
    differences.all(|next| next == first).then_some(first)
}

fn vertical_offset(plane: &Plane, x: usize, y: usize, size: usize) -> Option<i32> {
    let above = plane.run(x, y.checked_sub(1)?, size);
    constant((y..y + size).flat_map(|row| {
        plane
            .run(x, row, size)
            .iter()
            .copied()
            .zip(above.iter().copied())
    }))
}

fn horizontal_offset(plane: &Plane, x: usize, y: usize, size: usize) -> Option<i32> {
    let left = x.checked_sub(1)?;
    constant((y..y + size).flat_map(|row| {
        let left = plane.sample(left, row);
        plane.run(x, row, size).iter().map(move |&s| (s, left))
    }))
}

fn flat_offset(plane: &Plane, x: usize, y: usize, size: usize, prediction: u8) -> Option<i32> {
    constant(
        (y..y + size)
            .flat_map(|row| plane.run(x, row, size).iter())
            .map(|&s| (s, prediction)),
    )
}

/// Intra 16x16 DC prediction (8.3.3.3).
fn luma_dc(plane: &Plane, x: usize, y: usize) -> u8 {
    let above = y.checked_sub(1).map(|y| {
        plane
            .run(x, y, 16)
            .iter()
            .map(|&s| u32::from(s))
            .sum::<u32>()
    });
    let left = x.checked_sub(1).map(|x| {
        (y..y + 16)
            .map(|y| u32::from(plane.sample(x, y)))
            .sum::<u32>()
    });
    let mean = match (above, left) {
        (Some(above), Some(left)) => (above + left + 16) >> 5,
        (Some(sum), None) | (None, Some(sum)) => (sum + 8) >> 4,
        (None, None) => 128,
    };
    u8::try_from(mean).unwrap_or(u8::MAX)
}

/// The codes of table 9-5 that a block of at most one coefficient can need: (bits, length) of
/// coeff_token for no coefficient, one of magnitude 1 (a trailing one), one that is greater.
struct DcCodes {
    none: (u32, u32),
    one: (u32, u32),
    greater: (u32, u32),
}

/// 0 <= nC < 2
const FEW_DC: DcCodes = DcCodes {
    none: (0b1, 1),
    one: (0b01, 2),
    greater: (0b00_0101, 6),
};
/// 8 <= nC
const MANY_DC: DcCodes = DcCodes {
    none: (0b00_0011, 6),
    one: (0b00_0001, 6),
    greater: (0b00_0000, 6),
};
/// nC == -1
const CHROMA_DC: DcCodes = DcCodes {
    none: (0b01, 2),
    one: (0b1, 1),
    greater: (0b00_0111, 6),
};

/// residual_block_cavlc() with nothing but the first coefficient (7.3.5.3.2, 9.2.2).
fn dc_level(w: &mut BitWriter, codes: &DcCodes, level: i32) {
    let magnitude = level.unsigned_abs();
    let negative = level < 0;
    match magnitude {
        0 => w.bits(codes.none.0, codes.none.1),
        1 => {
            w.bits(codes.one.0, codes.one.1);
            w.flag(negative);
        }
        _ => {
            w.bits(codes.greater.0, codes.greater.1);
            // Two codes per magnitude; magnitude 1 would have been a trailing one.
            let code = 2 * (magnitude - 2) + u32::from(negative);
            match code {
                0..14 => w.bits(1, code + 1),
                14..30 => {
                    w.bits(1, 15);
                    w.bits(code - 14, 4);
                }
                _ => {
                    w.bits(1, 16);
                    w.bits(code - 30, 12);
                }
            }
        }
    }
    if magnitude > 0 {
        // total_zeros 0: the one code for it is a single 1 in the tables for one coefficient.
        w.flag(true);
    }
}

/// 7.3.2.1.1 and E.1.1
fn write_sps(w: &mut BitWriter, width: usize, height: usize, fps: u32) {
    let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let (columns, rows) = (count(width.div_ceil(16)), count(height.div_ceil(16)));
    let (crop_x, crop_y) = (columns * 16 - count(width), rows * 16 - count(height));
    w.clear();
    w.bits(66, 8); // profile_idc: Baseline
    w.bits(0b1100_0000, 8); // and Constrained: constraint_set0 and 1
    w.bits(LEVEL_IDC, 8);
    w.ue(0); // seq_parameter_set_id
    w.ue(FRAME_NUM_BITS - 4);
    w.ue(2); // pic_order_cnt_type: output order is decoding order
    w.ue(1); // max_num_ref_frames
    w.flag(false); // gaps_in_frame_num_value_allowed_flag
    w.ue(columns - 1);
    w.ue(rows - 1);
    w.flag(true); // frame_mbs_only_flag
    w.flag(true); // direct_8x8_inference_flag
    w.flag(crop_x + crop_y > 0);
    if crop_x + crop_y > 0 {
        for crop in [0, crop_x / 2, 0, crop_y / 2] {
            w.ue(crop);
        }
    }
    w.flag(true); // vui_parameters_present_flag
    w.flag(true); // aspect_ratio_info_present_flag
    w.bits(1, 8); // square samples
    w.flag(false); // overscan_info_present_flag
    w.flag(true); // video_signal_type_present_flag
    w.bits(5, 3); // video_format: unspecified
    w.flag(false); // video_full_range_flag
    w.flag(true); // colour_description_present_flag
    for _ in 0..3 {
        w.bits(6, 8); // primaries, transfer, matrix: BT.601 with 525 lines
    }
    w.flag(false); // chroma_loc_info_present_flag
    w.flag(true); // timing_info_present_flag
    for value in [1, 2 * fps] {
        w.bits(value >> 16, 16);
        w.bits(value & 0xffff, 16);
    }
    w.flag(true); // fixed_frame_rate_flag
    w.flag(false); // nal_hrd_parameters_present_flag
    w.flag(false); // vcl_hrd_parameters_present_flag
    w.flag(false); // pic_struct_present_flag
    w.flag(true); // bitstream_restriction_flag
    w.flag(true); // motion_vectors_over_pic_boundaries_flag
    for value in [0, 0, 10, 10] {
        w.ue(value); // no size limits stated; motion vectors up to 256 samples
    }
    w.ue(0); // max_num_reorder_frames
    w.ue(1); // max_dec_frame_buffering
    w.trailing();
}

/// 7.3.2.2
fn write_pps(w: &mut BitWriter) {
    w.clear();
    w.ue(0); // pic_parameter_set_id
    w.ue(0); // seq_parameter_set_id
    w.flag(false); // entropy_coding_mode_flag: CAVLC
    w.flag(false); // bottom_field_pic_order_in_frame_present_flag
    w.ue(0); // num_slice_groups_minus1
    w.ue(0); // num_ref_idx_l0_default_active_minus1
    w.ue(0); // num_ref_idx_l1_default_active_minus1
    w.flag(false); // weighted_pred_flag
    w.bits(0, 2); // weighted_bipred_idc
    w.se(LUMA_QP - 26);
    w.se(0); // pic_init_qs_minus26
    w.se(CHROMA_QP_OFFSET);
    w.flag(true); // deblocking_filter_control_present_flag
    w.flag(false); // constrained_intra_pred_flag
    w.flag(false); // redundant_pic_cnt_present_flag
    w.trailing();
}
