//! H.265 NAL units and parameter sets (ITU-T H.265, 7.3 and 7.4).

use super::BitstreamError;

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
    /// When it is no SPS, ends early, or holds a value out of range.
    pub fn parse(_nal: &[u8]) -> Result<Self, BitstreamError> {
        todo!()
    }

    /// The codec string of ISO/IEC 14496-15 annex E, for example `hvc1.1.6.L93.B0`.
    pub fn codec_string(&self) -> String {
        todo!()
    }

    /// Time of a frame in ticks of `clock_rate`, if the VUI tells.
    pub fn frame_ticks(&self, _clock_rate: u32) -> Option<i64> {
        todo!()
    }
}
