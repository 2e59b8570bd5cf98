use super::units::Units;
use super::{DepacketizeError, MediaPacket};
use crate::media::AacParams;
use crate::rtp::au::{AuHeader, AuHeaders};
use crate::rtp::packetize::frame_ticks;

/// Largest frame that is put together of fragments, in bytes: eight channels of 6144 bits need
/// 6144 bytes.
const MAX_FRAME: usize = 64 * 1024;

/// AAC frames of RFC 3640: several in a packet, or one in several.
#[derive(Debug)]
pub(super) struct AacAssembler {
    params: AacParams,
    frame_ticks: i64,
    fragment: Option<Fragment>,
}

#[derive(Debug)]
struct Fragment {
    timestamp: i64,
    size: usize,
    data: Vec<u8>,
}

impl AacAssembler {
    pub(super) fn new(params: &AacParams, clock_rate: u32) -> Self {
        Self {
            frame_ticks: i64::from(frame_ticks(params, clock_rate)),
            params: params.clone(),
            fragment: None,
        }
    }

    pub(super) fn reset(&mut self) {
        self.fragment = None;
    }

    pub(super) fn push(
        &mut self,
        packet: &MediaPacket<'_>,
        units: &mut Units,
    ) -> Result<(), DepacketizeError> {
        let (mut headers, mut data) = AuHeaders::parse(packet.payload, &self.params)?;
        let continued = self.fragment.take().filter(|_| !packet.lost_before);
        let mut first = true;
        while let Some(AuHeader { size, index }) = headers.next() {
            if let Some(continued) = continued.as_ref().filter(|_| first)
                && continued.timestamp == packet.timestamp
                && continued.size == size
            {
                return self.go_on(continued, packet, data, units);
            }
            let pts = packet
                .timestamp
                .saturating_add(index.saturating_mul(self.frame_ticks));
            match data.split_at_checked(size) {
                Some((frame, after)) => {
                    data = after;
                    if !frame.is_empty() {
                        units.push_frame(packet, pts, frame);
                    }
                }
                // A fragment is alone in its packet.
                None if first && !packet.marker && headers.is_empty() => {
                    return self.begin(packet, size, data);
                }
                None => return Err(DepacketizeError::Truncated("AAC frame")),
            }
            first = false;
        }
        if first {
            return Err(DepacketizeError::Truncated("AU headers"));
        }
        if continued.is_some() {
            // The rest of that frame never came.
            units.mark_lossy();
        }
        Ok(())
    }

    fn begin(
        &mut self,
        packet: &MediaPacket<'_>,
        size: usize,
        data: &[u8],
    ) -> Result<(), DepacketizeError> {
        if size > MAX_FRAME {
            return Err(DepacketizeError::TooLarge);
        }
        self.fragment = Some(Fragment {
            timestamp: packet.timestamp,
            size,
            data: data.to_vec(),
        });
        Ok(())
    }

    fn go_on(
        &mut self,
        before: &Fragment,
        packet: &MediaPacket<'_>,
        data: &[u8],
        units: &mut Units,
    ) -> Result<(), DepacketizeError> {
        let mut joined = Vec::with_capacity(before.data.len() + data.len());
        joined.extend_from_slice(&before.data);
        joined.extend_from_slice(data);
        match joined.get(..before.size) {
            Some(frame) => {
                units.push_frame(packet, packet.timestamp, frame);
                Ok(())
            }
            None if packet.marker => Err(DepacketizeError::Truncated("AAC frame")),
            None => {
                self.fragment = Some(Fragment {
                    data: joined,
                    ..*before
                });
                Ok(())
            }
        }
    }
}
