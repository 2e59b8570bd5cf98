use std::time::SystemTime;

use bytes::Bytes;

use super::boxes::BoxError;

/// Bytes of the length before each NAL unit; what the sample entries announce.
const LENGTH_SIZE: usize = 4;

/// One picture or audio frame with its place in decoding time.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Decode time in ticks of the track's clock since the start of the muxer.
    pub(crate) dts: u64,
    /// Presentation time minus decode time.
    pub(crate) cts: i32,
    /// Time to the next sample's decode time.
    pub(crate) duration: u32,
    /// A decoder can start here.
    pub(crate) key: bool,
    /// Wall clock of the presentation: the publisher's if known.
    pub(crate) ntp: Option<SystemTime>,
    /// NAL units, or one audio frame.
    pub(crate) data: Vec<Bytes>,
    /// Whether the parts of `data` are NAL units and get their length in front.
    pub(crate) nal_units: bool,
}

impl Sample {
    /// Bytes in the media data box.
    pub(crate) fn size(&self) -> usize {
        let prefix = if self.nal_units { LENGTH_SIZE } else { 0 };
        self.data.iter().map(|part| part.len() + prefix).sum()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), BoxError> {
        for part in &self.data {
            if self.nal_units {
                let len = u32::try_from(part.len()).map_err(|_| BoxError::TooLarge("NAL unit"))?;
                out.extend_from_slice(&len.to_be_bytes());
            }
            out.extend_from_slice(part);
        }
        Ok(())
    }
}
