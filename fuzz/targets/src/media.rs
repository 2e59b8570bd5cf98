//! Descriptions, parameter sets, files.

use bytes::{Bytes, BytesMut};
use easydarwin_core::media::sdp::WriteOptions;
use easydarwin_core::media::{
    Codec, DtsEstimator, H264Params, H265Params, SessionDescription, Track, aac, h264, h265, nal,
    sdp as text,
};
use easydarwin_core::rtp::Inspector;

use crate::Meter;
use crate::input::Input;

/// A session description: what is read is written and read again as the same tracks.
pub fn sdp(data: &[u8]) {
    let Ok(description) = text::parse(data) else {
        return;
    };
    assert!(description.tracks.len() <= text::MAX_TRACKS);
    for track in &description.tracks {
        of_track(track);
    }
    // What has been written once is what is written for ever.
    let once = rewritten(&description);
    assert_eq!(once.tracks.len(), description.tracks.len());
    let twice = rewritten(&once);
    for (index, (once, track)) in once.tracks.iter().zip(&description.tracks).enumerate() {
        assert_eq!(once.control, Some(control(index)));
        assert_eq!(once.kind, track.kind);
        assert_eq!(once.payload_type, track.payload_type);
    }
    for (twice, once) in twice.tracks.iter().zip(&once.tracks) {
        assert_eq!(twice.codec, once.codec);
    }
}

fn control(index: usize) -> String {
    format!("rtsp://h/a/trackID={index}")
}

fn rewritten(description: &SessionDescription) -> SessionDescription {
    let written = text::write(description, &WriteOptions::default(), control);
    text::parse(written.as_bytes()).expect("our own description can be read")
}

/// SPS, VPS, PPS, AudioSpecificConfig, ADTS, and NAL units in both forms of a byte stream.
pub fn parameter_sets(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let data = Bytes::copy_from_slice(input.rest());
    match kind % 5 {
        0 => {
            learn(&Track::h264(96, H264Params::default()), &data);
            if let Ok(sps) = h264::Sps::parse(&data) {
                assert!(!sps.codec_string().is_empty());
                assert!(sps.frame_ticks(90_000).is_none_or(|ticks| ticks > 0));
            }
        }
        1 => {
            learn(&Track::h265(96, H265Params::default()), &data);
            if let Ok(sps) = h265::Sps::parse(&data) {
                assert!(!sps.codec_string().is_empty());
                assert!(sps.frame_ticks(90_000).is_none_or(|ticks| ticks > 0));
            }
        }
        2 => {
            if let Ok(config) = aac::AudioSpecificConfig::parse(&data) {
                assert!(!config.codec_string().is_empty());
                // Of the extensions the core is written.
                let mut again = aac::AudioSpecificConfig::parse(&config.to_bytes())
                    .expect("our own configuration can be read");
                again.object_type = config.object_type;
                assert_eq!(again, config);
            }
            let _ = aac::AdtsHeader::parse(&data);
        }
        3 => {
            let units = nal::split_annex_b(&data);
            let mut out = BytesMut::new();
            nal::write_length_prefixed(&units, &mut out);
            assert_eq!(
                nal::split_length_prefixed(&out.freeze(), 4).as_ref(),
                Ok(&units)
            );
            for unit in &units {
                assert!(nal::unescape(unit).len() <= unit.len());
            }
        }
        _ => {
            let depth = usize::from(kind >> 4);
            let mut estimator = DtsEstimator::new(depth, 3000);
            let mut last = None;
            let (times, _) = data.as_chunks::<2>();
            for time in times {
                let pts = i64::from(i16::from_be_bytes(*time)) * 100;
                let time = estimator.push(pts);
                if !time.discontinuity {
                    assert!(
                        last.is_none_or(|last| time.dts > last),
                        "dts runs backwards"
                    );
                }
                last = Some(time.dts);
            }
        }
    }
}

/// Reads the input as a file of the camera: MP4, raw H.264, raw H.265.
pub fn camera_files(data: &[u8]) {
    let meter = Meter::new();
    easydarwin_camera::fuzz_file(data);
    assert!(meter.held() < 1024, "{} bytes are still held", meter.held());
}

/// As sets that come in band are learnt: twice is once.
fn learn(track: &Track, set: &[u8]) {
    let mut inspector = Inspector::new(track);
    let _ = inspector.inspect(set);
    let again = inspector.inspect(set).params_changed;
    // Several in one packet may replace each other.
    let single = set.first().is_some_and(|first| match track.codec {
        Codec::H264(_) => first & 0x1f < 24,
        _ => first >> 1 & 0x3f < 48,
    });
    assert!(!(single && again));
}

fn of_track(track: &Track) {
    let _ = track.codec_string();
    let _ = track.dimensions();
    assert!(track.reorder_depth() <= 16);
    assert!(track.frame_ticks().is_none_or(|ticks| ticks > 0));
    if let Codec::Aac(params) = &track.codec {
        assert!(params.size_length <= 32 && params.index_length <= 32);
    }
}
