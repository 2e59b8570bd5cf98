//! H.264 NAL units and parameter sets (ITU-T H.264, 7.3 and 7.4).

use super::BitstreamError;
use super::bits::BitReader;
use super::nal::unescape;

/// Bytes of an SPS that are looked at; real ones have less than a hundred.
const MAX_SPS: usize = 4096;
/// Largest side of a picture in macroblocks that is taken for real: 16 384 pixels.
const MAX_MACROBLOCKS: u32 = 1024;
/// Largest depth of reordering in the standard (the decoded picture buffer).
const MAX_REORDER: u32 = 16;

/// `nal_unit_type` of a non-IDR slice.
pub const NAL_SLICE: u8 = 1;
/// `nal_unit_type` of an IDR slice.
pub const NAL_IDR: u8 = 5;
/// `nal_unit_type` of supplemental enhancement information.
pub const NAL_SEI: u8 = 6;
/// `nal_unit_type` of a sequence parameter set.
pub const NAL_SPS: u8 = 7;
/// `nal_unit_type` of a picture parameter set.
pub const NAL_PPS: u8 = 8;
/// `nal_unit_type` of an access unit delimiter.
pub const NAL_AUD: u8 = 9;

/// `nal_unit_type` of a NAL unit; `None` if it is empty.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    nal.first().map(|b| b & 0x1f)
}

/// Whether the type is of a coded slice (1 to 5).
pub fn is_vcl(nal_type: u8) -> bool {
    (1..=5).contains(&nal_type)
}

/// What muxers and counters need of a sequence parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`
    pub profile_idc: u8,
    /// The byte of the constraint flags.
    pub constraint_flags: u8,
    /// `level_idc`
    pub level_idc: u8,
    /// `chroma_format_idc`; 1 (4:2:0) where the profile does not tell.
    pub chroma_format_idc: u8,
    /// Luma bit depth.
    pub bit_depth_luma: u8,
    /// Chroma bit depth.
    pub bit_depth_chroma: u8,
    /// Width of the picture after cropping, in pixels.
    pub width: u32,
    /// Height of the picture after cropping, in pixels.
    pub height: u32,
    /// `max_num_reorder_frames` if told, 0 for profiles and settings without reordering.
    pub max_num_reorder_frames: Option<u8>,
    /// `num_units_in_tick` and `time_scale`; a frame takes two ticks.
    pub timing: Option<(u32, u32)>,
}

impl Sps {
    /// Reads a NAL unit of type 7, without start code.
    ///
    /// # Errors
    /// When it is no SPS, ends early, or holds a value out of range. A broken VUI is no error;
    /// its values are missing then.
    pub fn parse(nal: &[u8]) -> Result<Self, BitstreamError> {
        if nal_type(nal) != Some(NAL_SPS) {
            return Err(BitstreamError::WrongKind("H.264 SPS"));
        }
        let rbsp = unescape(nal.get(1..nal.len().min(MAX_SPS)).unwrap_or_default());
        let mut bits = BitReader::new(&rbsp);
        let profile_idc = bits.small(8, "profile_idc")?;
        let constraint_flags = bits.small(8, "constraint flags")?;
        let level_idc = bits.small(8, "level_idc")?;
        bits.ue_max(31, "seq_parameter_set_id")?;
        let format = ChromaFormat::parse(profile_idc, &mut bits)?;
        bits.ue_max(12, "log2_max_frame_num_minus4")?;
        let order_count_type = parse_order_count(&mut bits)?;
        let ref_frames = bits.ue_max(MAX_REORDER, "max_num_ref_frames")?;
        bits.flag("gaps_in_frame_num_value_allowed_flag")?;
        let mb_width = bits.ue_max(MAX_MACROBLOCKS - 1, "pic_width_in_mbs_minus1")? + 1;
        let map_height = bits.ue_max(MAX_MACROBLOCKS - 1, "pic_height_in_map_units_minus1")? + 1;
        let frame_mbs_only = bits.flag("frame_mbs_only_flag")?;
        if !frame_mbs_only {
            bits.flag("mb_adaptive_frame_field_flag")?;
        }
        let fields = if frame_mbs_only { 1 } else { 2 };
        bits.flag("direct_8x8_inference_flag")?;
        let (mut crop_x, mut crop_y) = (0, 0);
        if bits.flag("frame_cropping_flag")? {
            let mut side = || bits.ue_max(MAX_MACROBLOCKS * 16, "frame cropping offset");
            let (left, right, top, bottom) = (side()?, side()?, side()?, side()?);
            crop_x = (left + right) * format.sub_width();
            crop_y = (top + bottom) * format.sub_height() * fields;
        }
        let size = |mbs: u32, crop| (mbs * 16).checked_sub(crop).filter(|&side| side > 0);
        let cropping = BitstreamError::OutOfRange("frame cropping");
        let vui = match bits.flag("vui_parameters_present_flag") {
            Ok(true) => Vui::parse(&mut bits),
            Ok(false) | Err(_) => Vui::default(),
        };
        // Baseline has no B slices; order count type 2 says that output follows decoding order;
        // without reference frames, or in an intra-only profile, there is nothing to reorder.
        let intra_only =
            constraint_flags & 0x10 != 0 && matches!(profile_idc, 44 | 86 | 100 | 110 | 122 | 244);
        let ordered = profile_idc == 66 || order_count_type == 2 || ref_frames == 0 || intra_only;
        Ok(Self {
            profile_idc,
            constraint_flags,
            level_idc,
            chroma_format_idc: format.chroma_format_idc,
            bit_depth_luma: format.bit_depth_luma,
            bit_depth_chroma: format.bit_depth_chroma,
            width: size(mb_width, crop_x).ok_or(cropping)?,
            height: size(map_height * fields, crop_y).ok_or(cropping)?,
            max_num_reorder_frames: vui.max_num_reorder_frames.or(ordered.then_some(0)),
            timing: vui.timing,
        })
    }

    /// The codec string of RFC 6381, for example `avc1.4d401f`.
    pub fn codec_string(&self) -> String {
        format!(
            "avc1.{:02x}{:02x}{:02x}",
            self.profile_idc, self.constraint_flags, self.level_idc
        )
    }

    /// Time of a frame in ticks of `clock_rate`, if the VUI tells.
    pub fn frame_ticks(&self, clock_rate: u32) -> Option<i64> {
        let (units, scale) = self.timing?;
        let ticks = u128::from(units) * 2 * u128::from(clock_rate) / u128::from(scale).max(1);
        i64::try_from(ticks).ok().filter(|&ticks| ticks > 0)
    }
}

/// `pic_parameter_set_id` of a picture parameter set.
pub(crate) fn pps_id(nal: &[u8]) -> Option<u32> {
    // At most five bytes hold the code; what follows does not matter.
    BitReader::new(nal.get(1..nal.len().min(8))?)
        .ue("pic_parameter_set_id")
        .ok()
}

#[derive(Debug, Clone, Copy)]
struct ChromaFormat {
    chroma_format_idc: u8,
    bit_depth_luma: u8,
    bit_depth_chroma: u8,
    /// Three pictures of one colour each: cropping units are those of monochrome.
    separate_planes: bool,
}

impl ChromaFormat {
    fn parse(profile_idc: u8, bits: &mut BitReader<'_>) -> Result<Self, BitstreamError> {
        let mut format = Self {
            chroma_format_idc: 1,
            bit_depth_luma: 8,
            bit_depth_chroma: 8,
            separate_planes: false,
        };
        let told = matches!(
            profile_idc,
            44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244
        );
        if !told {
            return Ok(format);
        }
        let depth = |value: u32| u8::try_from(value).map_or(8, |value| value + 8);
        let chroma = bits.ue_max(3, "chroma_format_idc")?;
        format.chroma_format_idc = u8::try_from(chroma).unwrap_or(1);
        if chroma == 3 {
            format.separate_planes = bits.flag("separate_colour_plane_flag")?;
        }
        format.bit_depth_luma = depth(bits.ue_max(6, "bit_depth_luma_minus8")?);
        format.bit_depth_chroma = depth(bits.ue_max(6, "bit_depth_chroma_minus8")?);
        bits.flag("qpprime_y_zero_transform_bypass_flag")?;
        if bits.flag("seq_scaling_matrix_present_flag")? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag("seq_scaling_list_present_flag")? {
                    skip_scaling_list(if list < 6 { 16 } else { 64 }, bits)?;
                }
            }
        }
        Ok(format)
    }

    fn sub_width(self) -> u32 {
        match self.chroma_format_idc {
            1 | 2 => 2,
            _ => 1,
        }
    }

    fn sub_height(self) -> u32 {
        match self.chroma_format_idc {
            1 if !self.separate_planes => 2,
            _ => 1,
        }
    }
}

fn skip_scaling_list(size: usize, bits: &mut BitReader<'_>) -> Result<(), BitstreamError> {
    let (mut last, mut next) = (8_i32, 8_i32);
    for _ in 0..size {
        if next != 0 {
            let delta = bits.se("delta_scale")?;
            next = last.wrapping_add(delta).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

/// Returns `pic_order_cnt_type`.
fn parse_order_count(bits: &mut BitReader<'_>) -> Result<u32, BitstreamError> {
    let order_count_type = bits.ue_max(2, "pic_order_cnt_type")?;
    match order_count_type {
        0 => {
            bits.ue_max(12, "log2_max_pic_order_cnt_lsb_minus4")?;
        }
        1 => {
            bits.flag("delta_pic_order_always_zero_flag")?;
            bits.se("offset_for_non_ref_pic")?;
            bits.se("offset_for_top_to_bottom_field")?;
            for _ in 0..bits.ue_max(255, "num_ref_frames_in_pic_order_cnt_cycle")? {
                bits.se("offset_for_ref_frame")?;
            }
        }
        _ => {}
    }
    Ok(order_count_type)
}

#[derive(Debug, Default)]
struct Vui {
    timing: Option<(u32, u32)>,
    max_num_reorder_frames: Option<u8>,
}

impl Vui {
    fn parse(bits: &mut BitReader<'_>) -> Self {
        let mut vui = Self::default();
        // What was read before the end of a broken VUI stays.
        let _ = vui.read(bits);
        vui
    }

    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<(), BitstreamError> {
        skip_picture_description(bits)?;
        if bits.flag("timing_info_present_flag")? {
            let units = bits.bits(32, "num_units_in_tick")?;
            let scale = bits.bits(32, "time_scale")?;
            bits.flag("fixed_frame_rate_flag")?;
            self.timing = (units > 0 && scale > 0).then_some((units, scale));
        }
        let nal_hrd = bits.flag("nal_hrd_parameters_present_flag")?;
        if nal_hrd {
            skip_hrd(bits)?;
        }
        let vcl_hrd = bits.flag("vcl_hrd_parameters_present_flag")?;
        if vcl_hrd {
            skip_hrd(bits)?;
        }
        if nal_hrd || vcl_hrd {
            bits.flag("low_delay_hrd_flag")?;
        }
        bits.flag("pic_struct_present_flag")?;
        if bits.flag("bitstream_restriction_flag")? {
            bits.flag("motion_vectors_over_pic_boundaries_flag")?;
            for what in [
                "max_bytes_per_pic_denom",
                "max_bits_per_mb_denom",
                "log2_max_mv_length_horizontal",
                "log2_max_mv_length_vertical",
            ] {
                bits.ue(what)?;
            }
            let reorder = bits.ue_max(MAX_REORDER, "max_num_reorder_frames")?;
            self.max_num_reorder_frames = u8::try_from(reorder).ok();
        }
        Ok(())
    }
}

/// The first fields of a VUI, the same in H.264 and H.265: aspect ratio, overscan, video signal,
/// position of chroma samples.
pub(super) fn skip_picture_description(bits: &mut BitReader<'_>) -> Result<(), BitstreamError> {
    const EXTENDED_SAR: u8 = 255;
    if bits.flag("aspect_ratio_info_present_flag")?
        && bits.small(8, "aspect_ratio_idc")? == EXTENDED_SAR
    {
        bits.skip(32, "sar_width and sar_height")?;
    }
    if bits.flag("overscan_info_present_flag")? {
        bits.flag("overscan_appropriate_flag")?;
    }
    if bits.flag("video_signal_type_present_flag")? {
        bits.skip(4, "video_format")?;
        if bits.flag("colour_description_present_flag")? {
            bits.skip(24, "colour description")?;
        }
    }
    if bits.flag("chroma_loc_info_present_flag")? {
        bits.ue("chroma_sample_loc_type_top_field")?;
        bits.ue("chroma_sample_loc_type_bottom_field")?;
    }
    Ok(())
}

fn skip_hrd(bits: &mut BitReader<'_>) -> Result<(), BitstreamError> {
    let count = bits.ue_max(31, "cpb_cnt_minus1")? + 1;
    bits.skip(8, "bit_rate_scale and cpb_size_scale")?;
    for _ in 0..count {
        bits.ue("bit_rate_value_minus1")?;
        bits.ue("cpb_size_value_minus1")?;
        bits.flag("cbr_flag")?;
    }
    bits.skip(20, "hrd delay lengths")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::base64::tests::hex;

    /// Parameter sets that x264 wrote, with what ffprobe says of the streams.
    #[test]
    fn parameter_sets_of_x264() {
        for (sps, codec, size, reorder, ticks) in [
            // The clip: Main, 25 fps, no B-frames.
            (
                "674d401fda014016ec0440000003004000000c83c60ca8",
                "avc1.4d401f",
                (1280, 720),
                0,
                3600,
            ),
            (
                "6742c00dd90150878888c044000003000400000300c83c50a920",
                "avc1.42c00d",
                (322, 242),
                0,
                3600,
            ),
            (
                "674d400deca0a843c4446022000003000200000300641e28532c",
                "avc1.4d400d",
                (322, 242),
                2,
                3600,
            ),
            (
                "6764000dacd94150878888c044000003000400000300c83c50a658",
                "avc1.64000d",
                (322, 242),
                2,
                3600,
            ),
            // Interlaced, 29.97 frames.
            (
                "67640028acd940780227e5c04400000fa40003a9803c60c658",
                "avc1.640028",
                (1920, 1080),
                2,
                3003,
            ),
            // 4:4:4.
            (
                "67f4000d919b28283f6022000003000200000300641e28532c",
                "avc1.f4000d",
                (320, 240),
                2,
                3600,
            ),
        ] {
            let parsed = Sps::parse(&hex(sps)).unwrap();
            assert_eq!(parsed.codec_string(), codec);
            assert_eq!((parsed.width, parsed.height), size, "{codec}");
            assert_eq!(parsed.max_num_reorder_frames, Some(reorder), "{codec}");
            assert_eq!(parsed.frame_ticks(90_000), Some(ticks), "{codec}");
        }
        assert_eq!(pps_id(&hex("68ef3c80")), Some(0));
    }

    #[test]
    fn every_cut_of_a_parameter_set_is_an_error_or_lacks_the_vui() {
        let sps = hex("6764000dacd94150878888c044000003000400000300c83c50a658");
        for len in 0..sps.len() - 2 {
            if let Ok(parsed) = Sps::parse(&sps[..len]) {
                assert_eq!((parsed.width, parsed.height), (322, 242));
                assert_eq!(parsed.max_num_reorder_frames, None);
            }
        }
    }

    #[test]
    fn another_nal_unit_is_no_sps() {
        let wrong = BitstreamError::WrongKind("H.264 SPS");
        assert_eq!(Sps::parse(&hex("68ef3c80")), Err(wrong));
        assert_eq!(Sps::parse(&[]), Err(wrong));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut nal = vec![0x67];
            nal.extend_from_slice(&bytes);
            if let Ok(sps) = Sps::parse(&nal) {
                prop_assert!(sps.width > 0 && sps.height > 0);
                let _ = sps.frame_ticks(u32::MAX);
            }
            let _ = pps_id(&bytes);
        }

        #[test]
        fn damaged_parameter_sets_never_panic(at in 1..26_usize, byte in any::<u8>()) {
            let mut sps = hex("6764000dacd94150878888c044000003000400000300c83c50a658");
            sps[at] = byte;
            let _ = Sps::parse(&sps);
        }
    }
}
