//! H.264 NAL units and parameter sets (ITU-T H.264, 7.3 and 7.4).

use super::BitstreamError;

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
    /// When it is no SPS, ends early, or holds a value out of range.
    pub fn parse(_nal: &[u8]) -> Result<Self, BitstreamError> {
        todo!()
    }

    /// The codec string of RFC 6381, for example `avc1.4d401f`.
    pub fn codec_string(&self) -> String {
        todo!()
    }

    /// Time of a frame in ticks of `clock_rate`, if the VUI tells.
    pub fn frame_ticks(&self, _clock_rate: u32) -> Option<i64> {
        todo!()
    }
}
