use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::media::base64::tests::hex;
use crate::media::{
    Codec, G711Law, G726Packing, G726Params, G726Rate, H264Params, MediaKind, Repair, Repairs,
    SessionDescription, Track,
};

mod faults;

/// What ffmpeg announces for the clip (H.264 and AAC).
const FFMPEG: &str = "v=0\r\n\
    o=- 0 0 IN IP4 127.0.0.1\r\n\
    s=Big Buck Bunny\r\n\
    c=IN IP4 127.0.0.1\r\n\
    t=0 0\r\n\
    a=tool:libavformat 59.27.100\r\n\
    m=video 0 RTP/AVP 96\r\n\
    b=AS:1205\r\n\
    a=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z01AH9oBQBbsBEAAAAMAQAAADIPGDKg=,aO88gA==; profile-level-id=4D401F\r\n\
    a=control:streamid=0\r\n\
    m=audio 0 RTP/AVP 97\r\n\
    b=AS:384\r\n\
    a=rtpmap:97 MPEG4-GENERIC/48000/2\r\n\
    a=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1190\r\n\
    a=control:streamid=1\r\n";

fn params() -> H264Params {
    H264Params {
        sps: Some(hex("674d401fda014016ec0440000003004000000c83c60ca8").into()),
        pps: vec![hex("68ef3c80").into()],
    }
}

fn one_track(lines: &str) -> Track {
    let text = format!("v=0\r\n{lines}");
    parse(text.as_bytes()).unwrap().tracks.remove(0)
}

#[test]
fn what_ffmpeg_announces() {
    let description = parse(FFMPEG.as_bytes()).unwrap();
    assert_eq!(description.name, "Big Buck Bunny");
    let [video, audio] = description.tracks.as_slice() else {
        panic!("two tracks");
    };
    assert_eq!(video.kind, MediaKind::Video);
    assert_eq!((video.payload_type, video.clock_rate), (96, 90_000));
    assert_eq!(video.control.as_deref(), Some("streamid=0"));
    assert_eq!(video.codec, Codec::H264(params()));
    assert_eq!(video.dimensions(), Some((1280, 720)));
    assert_eq!(video.codec_string().as_deref(), Some("avc1.4d401f"));
    assert_eq!(video.reorder_depth(), 0);
    assert_eq!((audio.clock_rate, audio.channels), (48_000, 2));
    assert_eq!(audio.codec_string().as_deref(), Some("mp4a.40.2"));
    let Codec::Aac(aac) = &audio.codec else {
        panic!("AAC");
    };
    assert_eq!(
        (aac.size_length, aac.index_length, aac.index_delta_length),
        (13, 3, 3)
    );
}

#[test]
fn what_is_written_is_read_back() {
    let mut description = parse(FFMPEG.as_bytes()).unwrap();
    description.tracks.push(Track::g711(G711Law::A));
    description.tracks.push(Track::opus(111));
    let options = WriteOptions {
        address: "2001:db8::1".parse().unwrap(),
        session_id: 7,
        session_version: 2,
        session_control: Some("rtsp://host/a".to_owned()),
        attributes: vec!["tool:one\r\nm=two".into()],
        ..WriteOptions::default()
    };
    let control = |index| format!("rtsp://host/a/trackID={index}?token=x");
    let text = write(&description, &options, control);
    assert!(text.contains("o=- 7 2 IN IP6 2001:db8::1\r\n"), "{text}");
    assert!(text.contains("c=IN IP6 ::\r\n"), "{text}");
    assert!(text.contains("a=range:npt=now-\r\n"), "{text}");
    assert!(text.contains("a=tool:one  m=two\r\nm=video"), "{text}");
    assert!(text.contains("a=rtpmap:8 PCMA/8000\r\n"), "{text}");
    assert!(text.contains("a=rtpmap:111 opus/48000/2\r\n"), "{text}");
    let again = parse(text.as_bytes()).unwrap();
    assert_eq!(again.control.as_deref(), Some("rtsp://host/a"));
    for (index, (new, old)) in again.tracks.iter().zip(&description.tracks).enumerate() {
        assert_eq!(new.control, Some(control(index)));
        assert_eq!(new.codec, old.codec);
        assert_eq!(new.encoding, old.encoding);
        assert_eq!(
            (new.clock_rate, new.channels),
            (old.clock_rate, old.channels)
        );
    }
}

#[test]
fn parameter_sets_that_came_in_band_are_written_and_other_parameters_kept() {
    let mut track = one_track(
        "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
         a=fmtp:96 packetization-mode=0;x-vendor=1;sprop-parameter-sets=AAAA;profile-level-id=42E01F\r\n",
    );
    assert_eq!(track.codec, Codec::H264(H264Params::default()));
    let text = |track: &Track| {
        let description = SessionDescription {
            tracks: vec![track.clone()],
            ..SessionDescription::default()
        };
        write(&description, &WriteOptions::default(), |_| "t".to_owned())
    };
    let raw = "a=fmtp:96 packetization-mode=0;x-vendor=1;sprop-parameter-sets=AAAA;profile-level-id=42E01F\r\n";
    assert!(text(&track).contains(raw));
    track.codec = Codec::H264(params());
    let built = "a=fmtp:96 packetization-mode=0; x-vendor=1; profile-level-id=4D401F; \
                 sprop-parameter-sets=Z01AH9oBQBbsBEAAAAMAQAAADIPGDKg=,aO88gA==\r\n";
    assert!(text(&track).contains(built), "{}", text(&track));
}

#[test]
fn h265_parameter_sets_by_name() {
    let track = one_track(
        "m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\n\
         a=fmtp:96 sprop-vps=QAEMAf//AWAAAAMAkAAAAwAAAwBdlZgJ; sprop-sps=QgEBAWAAAAMAkAAAAwAAAwBdoAfSAI58mWVmkkyvAWgIAAADAAgAAAMAyEA=; sprop-pps=RAHBcrRiQA==\n",
    );
    assert_eq!(track.dimensions(), Some((1000, 562)));
    assert_eq!(track.reorder_depth(), 2);
    assert_eq!(track.codec_string().as_deref(), Some("hvc1.1.6.L93.90"));
    let Codec::H265(params) = &track.codec else {
        panic!("H.265");
    };
    assert!(params.is_complete());
}

#[test]
fn oddities_of_cameras_are_repaired() {
    for (what, lines) in [
        (
            "o= with spaces",
            "o=My Camera 1 2 IN IP4 1.2.3.4\r\ns=x\r\n",
        ),
        ("o= with negative version", "o=- 1 -2 IN IP4 1.2.3.4\r\n"),
        ("short o=", "o=-\r\n"),
        ("fraction in b=", "s=x\r\nb=AS:50.5\r\n"),
        ("GB/T 28181 lines", "y=0100000001\r\nf=v/2/4///a///\r\n"),
        ("two c= and s=", "s=a\r\ns=b\r\nc=IN IP4 0\r\nc=IN\r\n"),
        ("no line of the session", ""),
        ("bytes that are no UTF-8", "i=\u{fffd}\r\n"),
    ] {
        let text = format!("v=0\r\n{lines}m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n");
        let description = parse(text.as_bytes()).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(description.tracks[0].encoding, "H264", "{what}");
    }
    let lf_and_nul = FFMPEG.replace("\r\n", "\n") + "\0\0";
    assert_eq!(parse(lf_and_nul.as_bytes()), parse(FFMPEG.as_bytes()));
    let no_version = FFMPEG.replacen("v=0\r\n", "", 1);
    assert_eq!(parse(no_version.as_bytes()), parse(FFMPEG.as_bytes()));
}

#[test]
fn media_lines_with_missing_fields() {
    let track = one_track("m=video\r\na=rtpmap:98 H265/90000\r\n");
    assert_eq!((track.payload_type, track.encoding.as_str()), (98, "H265"));
    let track = one_track("m=video  -1   RTP/AVP   96 97\r\na=rtpmap: 96 h264/90000\r\n");
    assert!(matches!(track.codec, Codec::H264(_)));
    // The camera's rtpmap has another number than its m= line.
    let track = one_track("m=video 0 RTP/AVP 96\r\na=rtpmap:97 H264/90000\r\n");
    assert_eq!((track.payload_type, track.encoding.as_str()), (96, "H264"));
    let track =
        one_track("m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n");
    assert_eq!(track.kind, MediaKind::Application);
    assert_eq!(track.codec, Codec::Other);
    let track = one_track("m=audio 0 RTP/AVP 97\r\n");
    assert_eq!((track.clock_rate, track.channels), (8_000, 1));
}

#[test]
fn static_payload_types_need_no_rtpmap() {
    for (payload_type, encoding, codec) in [
        (0, "PCMU", Codec::G711(G711Law::Mu)),
        (8, "PCMA", Codec::G711(G711Law::A)),
        (9, "G722", Codec::Other),
    ] {
        let track = one_track(&format!("m=audio 0 RTP/AVP {payload_type}\r\n"));
        assert_eq!(track.encoding, encoding);
        assert_eq!(track.codec, codec);
        assert_eq!((track.clock_rate, track.channels), (8_000, 1));
    }
    let track = one_track("m=video 0 RTP/AVP 26\r\n");
    assert_eq!(
        (track.encoding.as_str(), track.clock_rate),
        ("JPEG", 90_000)
    );
}

#[test]
fn g726_and_jpeg_are_read_as_they_are_written() {
    use G726Packing::{Aal2, Rfc3551};
    use G726Rate::{Kbit16, Kbit24, Kbit32, Kbit40};
    for rate in [Kbit16, Kbit24, Kbit32, Kbit40] {
        for packing in [Rfc3551, Aal2] {
            let params = G726Params { rate, packing };
            let track = Track::g726(97, params);
            let bits = 8 * u32::from(rate.bits());
            assert!(track.encoding.ends_with(&format!("G726-{bits}")));
            assert_eq!(track.encoding.starts_with("AAL2-"), packing == Aal2);
            let mut description = SessionDescription::default();
            description.tracks.extend([Track::jpeg(), track.clone()]);
            let text = write(&description, &WriteOptions::default(), |n| n.to_string());
            let read = parse(text.as_bytes()).unwrap();
            let codecs: Vec<_> = read
                .tracks
                .iter()
                .map(|track| track.codec.clone())
                .collect();
            assert_eq!(codecs, [Codec::Jpeg, Codec::G726(params)]);
            assert!(text.contains("m=video 0 RTP/AVP 26\r\na=rtpmap:26 JPEG/90000\r\n"));
        }
    }
    let lower = one_track("m=audio 0 RTP/AVP 98\r\na=rtpmap:98 aal2-g726-16/8000\r\n");
    let params = G726Params {
        rate: Kbit16,
        packing: Aal2,
    };
    assert_eq!(lower.codec, Codec::G726(params));
    let static_type = one_track("m=video 0 RTP/AVP 26\r\n");
    assert_eq!(static_type.codec, Codec::Jpeg);
    assert_eq!(static_type.codec_string(), None);
}

#[test]
fn aac_without_configuration_gets_one_of_clock_and_channels() {
    let track = one_track("m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/16000\r\n");
    let Codec::Aac(params) = &track.codec else {
        panic!("AAC");
    };
    assert_eq!(params.config, Bytes::from_static(&[0x14, 0x08]));
    let track = one_track(
        "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/8000\r\na=fmtp:97 mode=CELP-vbr\r\n",
    );
    assert_eq!(track.codec, Codec::Other);
}

#[test]
fn what_is_no_description_is_refused() {
    assert_eq!(parse(b""), Err(SdpError::NoTracks));
    assert_eq!(parse(b"v=0\r\ns=x\r\n"), Err(SdpError::NoTracks));
    assert_eq!(
        parse(&[0; MAX_SDP_LEN + 1]),
        Err(SdpError::TooLong(MAX_SDP_LEN + 1))
    );
    let many = format!("v=0\r\n{}", "m=video 0 RTP/AVP 96\r\n".repeat(17));
    assert_eq!(parse(many.as_bytes()), Err(SdpError::TooManyTracks(17)));
}

#[test]
fn line_ends_in_values_cannot_add_lines() {
    let description = SessionDescription {
        name: "a\r\nm=video".to_owned(),
        ..SessionDescription::default()
    };
    let text = write(&description, &WriteOptions::default(), |_| String::new());
    assert!(!text.contains("\nm="), "{text}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn damaged_descriptions_never_panic_and_are_written_again(
        at in 0..FFMPEG.len(),
        bytes in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut text = FFMPEG.as_bytes().to_vec();
        text.splice(at..at + 1, bytes);
        if let Ok(description) = parse(&text) {
            let written = write(&description, &WriteOptions::default(), |i| i.to_string());
            let again = parse(written.as_bytes()).unwrap();
            prop_assert_eq!(again.tracks.len(), description.tracks.len());
        }
    }
}
