//! H.265 NAL units and parameter sets (ITU-T H.265, 7.3 and 7.4).

use super::BitstreamError;
use super::bits::BitReader;
use super::h264::skip_picture_description;
use super::nal::unescape;

/// Bytes of an SPS that are looked at; real ones have less than two hundred.
const MAX_SPS: usize = 4096;
/// Largest side of a picture in pixels that is taken for real.
const MAX_SIDE: u32 = 16_888;
/// Largest depth of reordering in the standard (the decoded picture buffer).
const MAX_REORDER: u32 = 16;

/// `nal_unit_type` of a video parameter set.
pub const NAL_VPS: u8 = 32;
/// `nal_unit_type` of a sequence parameter set.
pub const NAL_SPS: u8 = 33;
/// `nal_unit_type` of a picture parameter set.
pub const NAL_PPS: u8 = 34;
/// `nal_unit_type` of an access unit delimiter.
pub const NAL_AUD: u8 = 35;
/// `nal_unit_type` of supplemental enhancement information before the picture.
pub const NAL_PREFIX_SEI: u8 = 39;

/// `nal_unit_type` of a NAL unit; `None` if it has less than its two header bytes.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    match nal {
        [first, _, ..] => Some((first >> 1) & 0x3f),
        _ => None,
    }
}

/// Whether the type is of a coded slice segment (0 to 31).
pub fn is_vcl(nal_type: u8) -> bool {
    nal_type < 32
}

/// Whether the type is of an intra random access point (16 to 23: BLA, IDR, CRA).
pub fn is_irap(nal_type: u8) -> bool {
    (16..=23).contains(&nal_type)
}

/// Whether the type is of a random access skipped leading picture (8, 9).
pub fn is_rasl(nal_type: u8) -> bool {
    matches!(nal_type, 8 | 9)
}

/// What muxers and counters need of a sequence parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sps {
    /// `general_profile_space`
    pub profile_space: u8,
    /// `general_tier_flag`: high tier.
    pub high_tier: bool,
    /// `general_profile_idc`
    pub profile_idc: u8,
    /// `general_profile_compatibility_flags`, first flag in the highest bit.
    pub profile_compatibility: u32,
    /// The 48 bits of constraint flags that follow the compatibility flags.
    pub constraint_flags: [u8; 6],
    /// `general_level_idc`
    pub level_idc: u8,
    /// Sub-layers (`sps_max_sub_layers_minus1` + 1).
    pub temporal_layers: u8,
    /// `sps_temporal_id_nesting_flag`
    pub temporal_id_nested: bool,
    /// `chroma_format_idc`
    pub chroma_format_idc: u8,
    /// Luma bit depth.
    pub bit_depth_luma: u8,
    /// Chroma bit depth.
    pub bit_depth_chroma: u8,
    /// Width of the picture inside the conformance window, in pixels.
    pub width: u32,
    /// Height of the picture inside the conformance window, in pixels.
    pub height: u32,
    /// `sps_max_num_reorder_pics` of the highest sub-layer.
    pub max_num_reorder_pics: u8,
    /// `vui_num_units_in_tick` and `vui_time_scale`; a frame takes one tick.
    pub timing: Option<(u32, u32)>,
}

impl Sps {
    /// Reads a NAL unit of type 33, without start code.
    ///
    /// # Errors
    /// When it is no SPS, ends early, or holds a value out of range. A broken VUI is no error;
    /// its values are missing then.
    pub fn parse(nal: &[u8]) -> Result<Self, BitstreamError> {
        if nal_type(nal) != Some(NAL_SPS) {
            return Err(BitstreamError::WrongKind("H.265 SPS"));
        }
        let rbsp = unescape(nal.get(2..nal.len().min(MAX_SPS)).unwrap_or_default());
        let bits = &mut BitReader::new(&rbsp);
        bits.skip(4, "sps_video_parameter_set_id")?;
        let max_sub_layer = bits.small(3, "sps_max_sub_layers_minus1")?;
        let temporal_id_nested = bits.flag("sps_temporal_id_nesting_flag")?;
        let profile_space = bits.small(2, "general_profile_space")?;
        let high_tier = bits.flag("general_tier_flag")?;
        let profile_idc = bits.small(5, "general_profile_idc")?;
        let profile_compatibility = bits.bits(32, "general_profile_compatibility_flags")?;
        let mut constraint_flags = [0; 6];
        for byte in &mut constraint_flags {
            *byte = bits.small(8, "general constraint flags")?;
        }
        let level_idc = bits.small(8, "general_level_idc")?;
        skip_sub_layers(max_sub_layer, bits)?;
        bits.ue_max(15, "sps_seq_parameter_set_id")?;
        let chroma_format_idc = bits.ue_max(3, "chroma_format_idc")?;
        let separate_planes = chroma_format_idc == 3 && bits.flag("separate_colour_plane_flag")?;
        let coded_width = bits.ue_max(MAX_SIDE, "pic_width_in_luma_samples")?;
        let coded_height = bits.ue_max(MAX_SIDE, "pic_height_in_luma_samples")?;
        let (mut crop_x, mut crop_y) = (0, 0);
        if bits.flag("conformance_window_flag")? {
            let mut side = || bits.ue_max(MAX_SIDE, "conformance window offset");
            let (left, right, top, bottom) = (side()?, side()?, side()?, side()?);
            let (sub_width, sub_height) = match chroma_format_idc {
                1 => (2, 2),
                2 => (2, 1),
                _ => (1, 1),
            };
            crop_x = (left + right) * sub_width;
            crop_y = (top + bottom) * sub_height;
        }
        let size = |coded: u32, crop| coded.checked_sub(crop).filter(|&side| side > 0);
        let window = BitstreamError::OutOfRange("conformance window");
        let depth = |value: u32| u8::try_from(value).map_or(8, |value| value + 8);
        let bit_depth_luma = depth(bits.ue_max(8, "bit_depth_luma_minus8")?);
        let bit_depth_chroma = depth(bits.ue_max(8, "bit_depth_chroma_minus8")?);
        let order_count_bits = bits.ue_max(12, "log2_max_pic_order_cnt_lsb_minus4")? + 4;
        let max_num_reorder_pics = parse_ordering(max_sub_layer, bits)?;
        Ok(Self {
            profile_space,
            high_tier,
            profile_idc,
            profile_compatibility,
            constraint_flags,
            level_idc,
            temporal_layers: max_sub_layer + 1,
            temporal_id_nested,
            // With separate planes each is coded like monochrome.
            chroma_format_idc: if separate_planes {
                3
            } else {
                u8::try_from(chroma_format_idc).unwrap_or(1)
            },
            bit_depth_luma,
            bit_depth_chroma,
            width: size(coded_width, crop_x).ok_or(window)?,
            height: size(coded_height, crop_y).ok_or(window)?,
            max_num_reorder_pics,
            timing: parse_timing(order_count_bits, bits).ok().flatten(),
        })
    }

    /// The codec string of ISO/IEC 14496-15 annex E, for example `hvc1.1.6.L93.B0`.
    pub fn codec_string(&self) -> String {
        let space = match self.profile_space {
            1 => "A",
            2 => "B",
            3 => "C",
            _ => "",
        };
        let tier = if self.high_tier { 'H' } else { 'L' };
        let mut out = format!(
            "hvc1.{space}{}.{:x}.{tier}{}",
            self.profile_idc,
            self.profile_compatibility.reverse_bits(),
            self.level_idc
        );
        let used = self.constraint_flags.iter().rposition(|&b| b != 0);
        let used = used.map_or(0, |last| last + 1);
        for byte in self.constraint_flags.iter().take(used) {
            out.push_str(&format!(".{byte:X}"));
        }
        out
    }

    /// Time of a frame in ticks of `clock_rate`, if the VUI tells.
    pub fn frame_ticks(&self, clock_rate: u32) -> Option<i64> {
        let (units, scale) = self.timing?;
        let ticks = u64::from(units) * u64::from(clock_rate) / u64::from(scale).max(1);
        i64::try_from(ticks).ok().filter(|&ticks| ticks > 0)
    }
}

/// `pps_pic_parameter_set_id` of a picture parameter set.
pub(crate) fn pps_id(nal: &[u8]) -> Option<u32> {
    BitReader::new(nal.get(2..nal.len().min(9))?)
        .ue("pps_pic_parameter_set_id")
        .ok()
}

/// Profile and level of the sub-layers below the highest one.
fn skip_sub_layers(max_sub_layer: u8, bits: &mut BitReader<'_>) -> Result<(), BitstreamError> {
    let mut len = 0;
    for _ in 0..max_sub_layer {
        if bits.flag("sub_layer_profile_present_flag")? {
            len += 88;
        }
        if bits.flag("sub_layer_level_present_flag")? {
            len += 8;
        }
    }
    if max_sub_layer > 0 {
        // The flags are padded to eight entries of two bits.
        len += usize::from(8 - max_sub_layer) * 2;
    }
    bits.skip(len, "profiles and levels of sub-layers")
}

/// Returns `sps_max_num_reorder_pics` of the highest sub-layer.
fn parse_ordering(max_sub_layer: u8, bits: &mut BitReader<'_>) -> Result<u8, BitstreamError> {
    let all = bits.flag("sps_sub_layer_ordering_info_present_flag")?;
    let mut reorder = 0;
    for _ in if all { 0 } else { max_sub_layer }..=max_sub_layer {
        bits.ue_max(MAX_REORDER, "sps_max_dec_pic_buffering_minus1")?;
        reorder = bits.ue_max(MAX_REORDER, "sps_max_num_reorder_pics")?;
        bits.ue("sps_max_latency_increase_plus1")?;
    }
    u8::try_from(reorder).map_err(|_| BitstreamError::OutOfRange("sps_max_num_reorder_pics"))
}

/// The long way through coding tools and reference sets to the two numbers of the VUI.
fn parse_timing(
    order_count_bits: u32,
    bits: &mut BitReader<'_>,
) -> Result<Option<(u32, u32)>, BitstreamError> {
    for what in [
        "log2_min_luma_coding_block_size_minus3",
        "log2_diff_max_min_luma_coding_block_size",
        "log2_min_luma_transform_block_size_minus2",
        "log2_diff_max_min_luma_transform_block_size",
        "max_transform_hierarchy_depth_inter",
        "max_transform_hierarchy_depth_intra",
    ] {
        bits.ue(what)?;
    }
    if bits.flag("scaling_list_enabled_flag")? && bits.flag("sps_scaling_list_data_present_flag")? {
        skip_scaling_lists(bits)?;
    }
    bits.flag("amp_enabled_flag")?;
    bits.flag("sample_adaptive_offset_enabled_flag")?;
    if bits.flag("pcm_enabled_flag")? {
        bits.skip(8, "pcm_sample_bit_depth")?;
        bits.ue("log2_min_pcm_luma_coding_block_size_minus3")?;
        bits.ue("log2_diff_max_min_pcm_luma_coding_block_size")?;
        bits.flag("pcm_loop_filter_disabled_flag")?;
    }
    skip_reference_sets(bits)?;
    if bits.flag("long_term_ref_pics_present_flag")? {
        let count = bits.ue_max(32, "num_long_term_ref_pics_sps")?;
        let count = usize::try_from(count * (order_count_bits + 1)).unwrap_or(0);
        bits.skip(count, "lt_ref_pic_poc_lsb_sps")?;
    }
    bits.flag("sps_temporal_mvp_enabled_flag")?;
    bits.flag("strong_intra_smoothing_enabled_flag")?;
    if !bits.flag("vui_parameters_present_flag")? {
        return Ok(None);
    }
    skip_picture_description(bits)?;
    bits.skip(3, "neutral_chroma_indication_flag and field flags")?;
    if bits.flag("default_display_window_flag")? {
        for _ in 0..4 {
            bits.ue("default display window offset")?;
        }
    }
    if !bits.flag("vui_timing_info_present_flag")? {
        return Ok(None);
    }
    let units = bits.bits(32, "vui_num_units_in_tick")?;
    let scale = bits.bits(32, "vui_time_scale")?;
    Ok((units > 0 && scale > 0).then_some((units, scale)))
}

fn skip_scaling_lists(bits: &mut BitReader<'_>) -> Result<(), BitstreamError> {
    for size in 0..4_u8 {
        // Only two lists of 32x32.
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag("scaling_list_pred_mode_flag")? {
                bits.ue("scaling_list_pred_matrix_id_delta")?;
                continue;
            }
            if size > 1 {
                bits.se("scaling_list_dc_coef_minus8")?;
            }
            for _ in 0..64_u32.min(1 << (4 + 2 * size)) {
                bits.se("scaling_list_delta_coef")?;
            }
        }
    }
    Ok(())
}

fn skip_reference_sets(bits: &mut BitReader<'_>) -> Result<(), BitstreamError> {
    let count = bits.ue_max(64, "num_short_term_ref_pic_sets")?;
    let mut pictures_before = 0;
    for index in 0..count {
        let predicted = index > 0 && bits.flag("inter_ref_pic_set_prediction_flag")?;
        let mut pictures = 0;
        if predicted {
            bits.flag("delta_rps_sign")?;
            bits.ue("abs_delta_rps_minus1")?;
            for _ in 0..=pictures_before {
                let used = bits.flag("used_by_curr_pic_flag")?;
                if used || bits.flag("use_delta_flag")? {
                    pictures += 1;
                }
            }
        } else {
            let negative = bits.ue_max(MAX_REORDER, "num_negative_pics")?;
            let positive = bits.ue_max(MAX_REORDER, "num_positive_pics")?;
            pictures = negative + positive;
            for _ in 0..pictures {
                bits.ue("delta_poc_minus1")?;
                bits.flag("used_by_curr_pic_flag")?;
            }
        }
        pictures_before = pictures;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::base64::tests::hex;

    const MAIN: &str = "42010101600000030090000003000003005da007d2008e7c996566924caf01680800000300\
                        0800000300c840";
    const MAIN_10: &str = "42010102200000030090000003000003005aa0050201e1365959a49395e02d0100000300\
                           01000003001908";

    /// Parameter sets that x265 wrote, with what ffprobe says of the streams.
    #[test]
    fn parameter_sets_of_x265() {
        for (sps, codec, size, depth) in [
            (MAIN, "hvc1.1.6.L93.90", (1000, 562), 8),
            (MAIN_10, "hvc1.2.4.L90.90", (640, 480), 10),
        ] {
            let parsed = Sps::parse(&hex(sps)).unwrap();
            assert_eq!(parsed.codec_string(), codec);
            assert_eq!((parsed.width, parsed.height), size);
            assert_eq!(
                (parsed.bit_depth_luma, parsed.bit_depth_chroma),
                (depth, depth)
            );
            assert_eq!(parsed.chroma_format_idc, 1);
            assert_eq!(parsed.max_num_reorder_pics, 2);
            assert_eq!(parsed.frame_ticks(90_000), Some(3600));
            assert_eq!(
                (parsed.temporal_layers, parsed.temporal_id_nested),
                (1, true)
            );
        }
        assert_eq!(pps_id(&hex("4401c172b46240")), Some(0));
    }

    #[test]
    fn every_cut_of_a_parameter_set_is_an_error_or_lacks_the_vui() {
        let sps = hex(MAIN);
        for len in 0..sps.len() - 8 {
            if let Ok(parsed) = Sps::parse(&sps[..len]) {
                assert_eq!((parsed.width, parsed.height), (1000, 562));
                assert_eq!(parsed.timing, None);
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut nal = vec![0x42, 1];
            nal.extend_from_slice(&bytes);
            if let Ok(sps) = Sps::parse(&nal) {
                prop_assert!(sps.width > 0 && sps.height > 0);
                let _ = (sps.frame_ticks(u32::MAX), sps.codec_string());
            }
            let _ = pps_id(&bytes);
        }

        #[test]
        fn damaged_parameter_sets_never_panic(at in 2..43_usize, byte in any::<u8>()) {
            let mut sps = hex(MAIN);
            sps[at] = byte;
            let _ = Sps::parse(&sps);
        }
    }
}
