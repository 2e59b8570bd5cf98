//! Each fault: what is made of it, that it is told, and that the strict reading refuses it.

use super::*;

/// The description, its fault, and the line that the strict reading names.
fn faulty(text: &str, repair: Repair, line: usize) -> SessionDescription {
    let (description, repairs) = parse_repaired(text.as_bytes()).unwrap();
    assert_eq!(kinds(&repairs), [repair], "{text}");
    assert_eq!(
        parse_strict(text.as_bytes()),
        Err(SdpError::Faulty { repair, line }),
        "{text}"
    );
    assert_eq!(parse(text.as_bytes()), Ok(description.clone()));
    description
}

fn kinds(repairs: &Repairs) -> Vec<Repair> {
    repairs.iter().map(|(repair, _)| repair).collect()
}

fn good() -> SessionDescription {
    parse_strict(FFMPEG.as_bytes()).unwrap()
}

#[test]
fn what_the_standards_allow_is_no_fault() {
    let head = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns= \r\n";
    for text in [
        FFMPEG.to_owned(),
        // Everything that may stand there.
        format!(
            "{head}i=x\r\nu=http://h/\r\ne=a@b\r\ne=c@d\r\np=+1\r\nc=IN IP4 0.0.0.0\r\nb=AS:1\r\n\
             b=TIAS:1000\r\nt=0 0\r\nr=7d 1h 0\r\nt=1 2\r\nz=0 0\r\na=range:npt=now-\r\n\
             a=control:*\r\nm=video 0/2 RTP/AVP 96 97\r\ni=x\r\nc=IN IP4 0.0.0.0\r\nc=IN IP4 1.1.1.1\r\n\
             b=AS:1\r\na=rtpmap:96 H264/90000\r\na=rtpmap:97 H264/90000\r\na=fmtp:96 x=1 \r\n"
        ),
        // Parameter sets come in band; one track needs no control.
        format!("{head}t=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"),
        // Controls of all forms, static types, another protocol.
        format!(
            "{head}t=0 0\r\na=control:rtsp://h/a/\r\nm=audio 0 RTP/AVP 8\r\na=control:trackID=1\r\n\
             m=audio 49170 RTP/AVP 0\r\na=control:rtsp://h/a/b?c=d\r\n\
             m=application 9 TCP/XML *\r\na=control:/meta\r\n"
        ),
    ] {
        let (_, repairs) = parse_repaired(text.as_bytes()).unwrap();
        assert_eq!(kinds(&repairs), [], "{text}");
        parse_strict(text.as_bytes()).unwrap();
    }
    // What we write ourselves.
    let options = WriteOptions::default();
    parse_strict(write(&good(), &options, |i| format!("t/{i}")).as_bytes()).unwrap();
}

#[test]
fn line_ends() {
    assert_eq!(
        faulty(&FFMPEG.replace("\r\n", "\n"), Repair::SdpLineEnds, 1),
        good()
    );
    let one = FFMPEG.replacen("s=Big Buck Bunny\r\n", "s=Big Buck Bunny\r", 1);
    assert_eq!(faulty(&one, Repair::SdpLineEnds, 3), good());
    let unended = FFMPEG.trim_end();
    assert_eq!(faulty(unended, Repair::SdpLineEnds, 16), good());
    let (_, repairs) = parse_repaired(FFMPEG.replace("\r\n", "\n").as_bytes()).unwrap();
    assert_eq!(repairs.count(Repair::SdpLineEnds), 16);
}

#[test]
fn lines_that_are_wrong() {
    for (from, to, line) in [
        ("v=0\r\n", "", 1),
        ("t=0 0\r\n", "", 1),
        ("v=0", "v=1", 1),
        ("o=- 0 0 IN", "o=My Camera 1 2 IN", 2),
        ("o=- 0 0 IN", "o=- 1 -2 IN", 2),
        ("s=Big Buck Bunny", " s=Big Buck Bunny", 3),
        ("t=0 0", "t=now", 5),
        ("t=0 0", "t=0 0\r\ny=0100000001", 6),
        ("t=0 0", "t=0 0\r\n", 6),
        ("t=0 0", "t=0 0\r\nc=IN IP4 0.0.0.0", 6),
        (
            "c=IN IP4 127.0.0.1",
            "c=IN IP4 127.0.0.1\r\nc=IN IP4 0.0.0.0",
            5,
        ),
        ("b=AS:1205", "b=AS:50.5", 8),
        ("a=rtpmap:96", "a=RtpMap:96", 9),
        ("a=rtpmap:96", "a=rtpmap: 96", 9),
        ("a=rtpmap:96", "a = rtpmap:96", 9),
    ] {
        let text = FFMPEG.replacen(from, to, 1);
        assert_eq!(faulty(&text, Repair::SdpLines, line), good(), "{to}");
    }
    let text = FFMPEG.replacen("Bunny", "B\u{0}nny", 1).into_bytes();
    let text: Vec<u8> = text
        .iter()
        .map(|b| if *b == 0 { 0xff } else { *b })
        .collect();
    let (description, repairs) = parse_repaired(&text).unwrap();
    assert_eq!(description.name, "Big Buck B\u{fffd}nny");
    assert_eq!(kinds(&repairs), [Repair::NotUtf8]);
    let repair = Repair::NotUtf8;
    let error = Err(SdpError::Faulty { repair, line: 1 });
    assert_eq!(parse_strict(&text), error);
}

#[test]
fn media_lines() {
    for to in [
        "m=video -1 RTP/AVP 96",
        "m=video  0   RTP/AVP   96",
        "m=video 0 RTP/AVP 96 x",
    ] {
        let text = FFMPEG.replacen("m=video 0 RTP/AVP 96", to, 1);
        assert_eq!(faulty(&text, Repair::SdpMediaLine, 7), good(), "{to}");
    }
    let text = FFMPEG.replacen("m=video 0 RTP/AVP 96", "m=video", 1);
    assert_eq!(faulty(&text, Repair::SdpMediaLine, 7).tracks, good().tracks);
}

#[test]
fn payload_types_that_are_not_explained() {
    let text = FFMPEG.replacen("rtpmap:96", "rtpmap:98", 1);
    assert_eq!(faulty(&text, Repair::SdpFormat, 7), good());
    let text = FFMPEG.replacen("a=rtpmap:96 H264/90000", "a=rtpmap:96 H264", 1);
    assert_eq!(faulty(&text, Repair::SdpFormat, 7), good());
    let text = FFMPEG.replacen("a=rtpmap:96 H264/90000", "a=rtpmap:H264", 1);
    let track = faulty(&text, Repair::SdpFormat, 7).tracks.remove(0);
    assert_eq!((track.encoding.as_str(), track.codec), ("", Codec::Other));
    let text = FFMPEG.replacen("a=fmtp:96 ", "a=fmtp:", 1);
    assert_eq!(
        faulty(&text, Repair::SdpFormat, 7).tracks[0].codec,
        good().tracks[0].codec
    );
}

#[test]
fn parameter_sets_and_audio_configurations() {
    let sets = "Z01AH9oBQBbsBEAAAAMAQAAADIPGDKg=,aO88gA==";
    let codec = |text: &str| {
        faulty(text, Repair::SdpParameterSets, 7)
            .tracks
            .remove(0)
            .codec
    };
    for mended in [
        "AAAAAWdNQB/aAUAW7ARAAAADAEAAAAyDxgyo,aO88gA==",
        "\"Z01AH9oBQBbsBEAAAAMAQAAADIPGDKg=,aO88gA==\"",
        "Z01AH9oBQBbsBEAAAAMAQAAADIPGDKg=,aO88gA==,",
    ] {
        let text = FFMPEG.replacen(sets, mended, 1);
        assert_eq!(codec(&text), Codec::H264(params()), "{mended}");
    }
    let text = FFMPEG.replacen(sets, "(none)", 1);
    assert_eq!(codec(&text), Codec::H264(H264Params::default()));

    for (from, to) in [
        (" config=1190", ""),
        ("config=1190", "config=zz"),
        ("mode=AAC-hbr;", ""),
    ] {
        let text = FFMPEG.replacen(from, to, 1);
        let track = faulty(&text, Repair::SdpAudioConfig, 12).tracks.remove(1);
        assert_eq!(track.codec, good().tracks[1].codec, "{to}");
    }
}

#[test]
fn tracks_that_cannot_be_told_apart_by_their_control() {
    let text = FFMPEG.replacen("a=control:streamid=1\r\n", "", 1);
    assert_eq!(
        faulty(&text, Repair::SdpControl, 12).tracks[1].control,
        None
    );
    faulty(
        &FFMPEG.replacen("streamid=1", "streamid=0", 1),
        Repair::SdpControl,
        12,
    );
}

#[test]
fn the_error_names_the_fault_and_its_line() {
    let text = FFMPEG.replacen("b=AS:1205", "b=AS:50.5", 1);
    assert_eq!(
        parse_strict(text.as_bytes()).unwrap_err().to_string(),
        "session description, line 8: line missing, misplaced or malformed"
    );
}
