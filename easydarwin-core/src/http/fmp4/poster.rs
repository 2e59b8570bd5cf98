use bytes::Bytes;

use super::boxes::{self, BoxError, TrackEntry, TrackRun};
use super::format::FormatReader;
use super::sample::Sample;
use crate::media::{AccessUnit, Track};

/// How long the one picture is shown; players refuse a file of no length.
const DURATION_TICKS: u32 = 90_000;

/// A one-picture MP4 from a key frame; `None` while the parameter sets are unknown or for a
/// codec that MP4 cannot carry.
pub(crate) fn poster(track: &Track, unit: &AccessUnit) -> Result<Option<Bytes>, BoxError> {
    let Some(mut reader) = FormatReader::new(track) else {
        return Ok(None);
    };
    reader.update(unit);
    let Some(format) = reader.format() else {
        return Ok(None);
    };
    let mut data = unit.data.clone();
    data.retain(|part| !part.is_empty() && !format.is_redundant(part));
    let sample = Sample {
        dts: 0,
        cts: 0,
        duration: DURATION_TICKS,
        key: true,
        ntp: unit.ntp,
        data,
        nal_units: true,
    };
    let entry = TrackEntry {
        id: 1,
        timescale: track.clock_rate,
        format: format.clone(),
    };
    let mut out = boxes::init_segment(&[entry])?.to_vec();
    let run = TrackRun {
        id: 1,
        samples: std::slice::from_ref(&sample),
    };
    boxes::fragment(1, &[run], &mut out)?;
    Ok(Some(out.into()))
}
