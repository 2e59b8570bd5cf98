use bytes::Bytes;

use super::units::Units;
use super::{DepacketizeError, MAX_ACCESS_UNIT, MediaPacket};
use crate::media::AccessUnit;
use crate::media::jpeg::{self, Quantisers, Shape};
use crate::rtp::jpeg::{Fragment, Tables};

/// JPEG pictures of RFC 2435: fragments of a scan, to which the headers are added again. A
/// picture that lost a fragment is dropped: there is no telling where its blocks would go.
#[derive(Debug, Default)]
pub(super) struct JpegAssembler {
    open: Option<Open>,
    /// Tables that hold until others come, with the quality that stands for them.
    known: Option<(u8, Quantisers)>,
}

#[derive(Debug)]
struct Open {
    unit: AccessUnit,
    shape: Shape,
    quantisers: Quantisers,
    scan: Vec<u8>,
}

impl JpegAssembler {
    pub(super) fn reset(&mut self) {
        self.open = None;
    }

    pub(super) fn push(
        &mut self,
        packet: &MediaPacket<'_>,
        units: &mut Units,
    ) -> Result<(), DepacketizeError> {
        let before = self.open.take();
        let fragment = match Fragment::parse(packet.payload) {
            Ok(fragment) => fragment,
            Err(error) => {
                give_up(before, units);
                return Err(error);
            }
        };
        let mut open = match before {
            Some(open) if open.is_continued_by(&fragment, packet) => open,
            _ if fragment.offset != 0 => {
                give_up(before, units);
                return Err(DepacketizeError::MissingStart);
            }
            // The next picture without a loss: that one was whole, only its marker is missing.
            Some(open) if open.unit.pts != packet.timestamp && !packet.lost_before => {
                units.push(open.picture());
                self.begin(&fragment, packet, units)?
            }
            _ => {
                give_up(before, units);
                self.begin(&fragment, packet, units)?
            }
        };
        if open.scan.len().saturating_add(fragment.data.len()) > MAX_ACCESS_UNIT {
            give_up(Some(open), units);
            return Err(DepacketizeError::TooLarge);
        }
        open.scan.extend_from_slice(fragment.data);
        open.unit.arrival = packet.arrival;
        if packet.marker {
            units.push(open.picture());
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        fragment: &Fragment<'_>,
        packet: &MediaPacket<'_>,
        units: &mut Units,
    ) -> Result<Open, DepacketizeError> {
        let quality = fragment.quality;
        let quantisers = match fragment.tables {
            None => jpeg::quantisers(quality),
            Some(Tables::Given(tables)) => {
                let tables = tables.map(|table| *table);
                self.known = Some((quality, tables));
                tables
            }
            Some(Tables::AsBefore) => self
                .known
                .filter(|(known, _)| *known == quality)
                .map(|(_, tables)| tables)
                .ok_or(DepacketizeError::MissingStart)?,
        };
        Ok(Open {
            unit: units.open(packet, true),
            shape: fragment.shape,
            quantisers,
            scan: Vec::new(),
        })
    }
}

impl Open {
    fn is_continued_by(&self, fragment: &Fragment<'_>, packet: &MediaPacket<'_>) -> bool {
        self.unit.pts == packet.timestamp
            && !packet.lost_before
            && fragment.offset == self.scan.len()
    }

    fn picture(mut self) -> AccessUnit {
        let picture = jpeg::write(&self.shape, &self.quantisers, &self.scan);
        self.unit.data.push(Bytes::from(picture));
        self.unit
    }
}

/// The marks of a picture that is dropped go to the next one.
fn give_up(open: Option<Open>, units: &mut Units) {
    let Some(open) = open else { return };
    if open.unit.discontinuity {
        units.mark_discontinuity();
    }
    units.mark_lossy();
}
