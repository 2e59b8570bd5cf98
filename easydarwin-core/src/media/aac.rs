//! AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) and ADTS headers (1.A.2.2).

use bytes::Bytes;

use super::BitstreamError;

/// The fields of an AudioSpecificConfig that matter outside of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// Audio object type: 2 is AAC-LC.
    pub object_type: u8,
    /// Sampling rate of the core coder in Hz.
    pub sample_rate: u32,
    /// Channels; 0 when a program config element tells them.
    pub channels: u8,
    /// Samples of a frame: 1024, or 960.
    pub frame_length: u32,
}

impl AudioSpecificConfig {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When it ends early or names a reserved rate.
    pub fn parse(_config: &[u8]) -> Result<Self, BitstreamError> {
        todo!()
    }

    /// The shortest configuration that says the same.
    pub fn to_bytes(&self) -> Bytes {
        todo!()
    }

    /// The codec string of RFC 6381, for example `mp4a.40.2`.
    pub fn codec_string(&self) -> String {
        format!("mp4a.40.{}", self.object_type)
    }
}

/// A header of an ADTS frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdtsHeader {
    /// What the frame holds.
    pub config: AudioSpecificConfig,
    /// Bytes of the header: 7, or 9 with a checksum.
    pub header_len: usize,
    /// Bytes of header and payload together.
    pub frame_len: usize,
}

impl AdtsHeader {
    /// Reads the header at the start of `data`.
    ///
    /// # Errors
    /// When there is no sync word, it ends early or its fields contradict each other.
    pub fn parse(_data: &[u8]) -> Result<Self, BitstreamError> {
        todo!()
    }
}
