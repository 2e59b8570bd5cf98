use bytes::Bytes;
use easydarwin_core::media::{Codec, Track, h264, h265};

/// Whether nothing has to be learnt of the stream before it can be described.
pub(super) fn is_described(track: &Track) -> bool {
    match &track.codec {
        Codec::H264(params) => params.is_complete(),
        Codec::H265(params) => params.is_complete(),
        _ => true,
    }
}

/// Takes parameter sets out of a frame's NAL units. True if the description is another one now.
pub(super) fn learn<'a>(track: &mut Track, units: impl Iterator<Item = &'a [u8]>) -> bool {
    let before = track.codec.clone();
    let mut fresh = true;
    for unit in units {
        match &mut track.codec {
            Codec::H264(params) => match unit.first().map(|first| first & 0x1f) {
                Some(h264::NAL_SPS) => params.sps = Some(Bytes::copy_from_slice(unit)),
                Some(h264::NAL_PPS) => add(&mut params.pps, unit, &mut fresh),
                _ => {}
            },
            Codec::H265(params) => match unit.first().map(|first| first >> 1 & 0x3f) {
                Some(h265::NAL_VPS) => params.vps = Some(Bytes::copy_from_slice(unit)),
                Some(h265::NAL_SPS) => params.sps = Some(Bytes::copy_from_slice(unit)),
                Some(h265::NAL_PPS) => add(&mut params.pps, unit, &mut fresh),
                _ => {}
            },
            _ => return false,
        }
    }
    before != track.codec
}

/// The picture parameter sets of a frame replace those of the one before.
fn add(sets: &mut Vec<Bytes>, unit: &[u8], fresh: &mut bool) {
    if std::mem::take(fresh) {
        sets.clear();
    }
    sets.push(Bytes::copy_from_slice(unit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_learnt_from_a_key_frame_and_replaced_by_the_next() {
        let mut track = Track::h264(96, Default::default());
        assert!(!is_described(&track));
        let first: [&[u8]; 4] = [&[0x67, 1], &[0x68, 1], &[0x68, 2], &[0x65, 0x88]];
        assert!(learn(&mut track, first.into_iter()));
        assert!(is_described(&track));
        assert!(!learn(&mut track, first.into_iter()));
        assert!(learn(&mut track, [&[0x68, 3][..]].into_iter()));
        let Codec::H264(params) = &track.codec else {
            panic!("still H.264")
        };
        assert_eq!(params.pps, [&[0x68, 3][..]]);
        assert!(!learn(&mut Track::opus(97), first.into_iter()));
    }
}
