//! G.726 in both packings against ffmpeg and GStreamer: not a byte may move.

use bytes::Bytes;
use easydarwin_core::media::{Codec, G726Packing, G726Params, G726Rate, Track};

use super::peers::{gstreamer, packet_stream, push_to_ffmpeg, split_stream, units};
use super::{flat, output, receive, testdata, units_of};

const RATES: [(G726Rate, &str); 4] = [
    (G726Rate::Kbit16, "16k"),
    (G726Rate::Kbit24, "24k"),
    (G726Rate::Kbit32, "32k"),
    (G726Rate::Kbit40, "40k"),
];
/// What ffmpeg calls them, as encoder and as format.
const PACKINGS: [(G726Packing, &str); 2] = [
    (G726Packing::Rfc3551, "g726le"),
    (G726Packing::Aal2, "g726"),
];

/// A second of sound.
fn encoder<'a>(clip: &'a str, name: &'a str, rate: &'a str) -> Vec<&'a str> {
    let input = ["-i", clip, "-t", "1", "-vn", "-ac", "1", "-ar", "8000"];
    [&input[..], &["-c:a", name, "-b:a", rate]].concat()
}

/// Pieces of 20 ms.
fn frames(stream: &[u8], rate: G726Rate) -> Vec<Bytes> {
    stream
        .chunks(20 * usize::from(rate.bits()))
        .map(Bytes::copy_from_slice)
        .collect()
}

#[test]
fn of_ffmpeg() {
    let clip = testdata("bigbuckbunny.mp4");
    for (rate, kbit) in RATES {
        for (packing, name) in PACKINGS {
            let encode = encoder(&clip, name, kbit);
            let (description, units) = receive(&encode);
            let params = G726Params { rate, packing };
            assert_eq!(description.tracks[0].codec, Codec::G726(params));
            let sent = output(&[&encode[..], &["-f", name, "-"]].concat());
            assert_eq!(flat(&units).concat(), sent);
        }
    }
}

#[tokio::test]
async fn to_ffmpeg() {
    let clip = testdata("bigbuckbunny.mp4");
    for (packing, name) in PACKINGS {
        let rate = G726Rate::Kbit32;
        let encode = encoder(&clip, name, "32k");
        let sent = output(&[&encode[..], &["-f", name, "-"]].concat());
        let track = Track::g726(97, G726Params { rate, packing });
        let units = units(&frames(&sent, rate), 160);
        let received = push_to_ffmpeg(track, &units, name).await;
        // ffmpeg stops reading at TEARDOWN; what the kernel still held is its loss.
        assert!(received.len() * 10 >= sent.len() * 9, "{}", received.len());
        assert!(sent.starts_with(&received));
    }
}

#[test]
fn to_gstreamer_and_back() {
    let clip = testdata("bigbuckbunny.mp4");
    for (rate, kbit) in RATES {
        let sent = output(&[&encoder(&clip, "g726", kbit)[..], &["-f", "g726", "-"]].concat());
        let params = G726Params {
            rate,
            packing: G726Packing::Aal2,
        };
        let track = Track::g726(97, params);
        let stream = packet_stream(&track, &units(&frames(&sent, rate), 160));
        let caps = format!(
            "application/x-rtp-stream,media=audio,clock-rate=8000,encoding-name={},payload=97",
            params.encoding()
        );
        let depay = format!("fdsrc fd=0 ! {caps} ! rtpstreamdepay ! rtpg726depay !");
        assert!(gstreamer(&format!("{depay} fdsink fd=1"), &stream) == sent);
        let pay = "rtpg726pay force-aal2=true mtu=172 pt=97 ! rtpstreampay ! fdsink fd=1";
        let packets = split_stream(&gstreamer(&format!("{depay} {pay}"), &stream));
        assert!(flat(&units_of(&track, &packets)).concat() == sent);
    }
}
