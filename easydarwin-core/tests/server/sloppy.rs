//! A camera that does nearly everything wrong: it is understood, its faults are counted, and a
//! strict server tells it what is wrong. ffmpeg, which does it right, is let in by both.

use std::process::Stdio;
use std::time::Duration;

use easydarwin_core::client::{ClientError, ClientOptions, Player};
use easydarwin_core::media::sdp::SdpError;
use easydarwin_core::registry::AllowAll;
use easydarwin_core::rtsp::Repair;
use easydarwin_core::server::{MediaServer, MediaServerBuilder};
use tokio::net::UdpSocket;

use crate::support::{Response, Rtsp, Server, audio_packet, interleaved, path, sequence, within};

/// LF alone, a blank in the origin, a fraction, a line of another standard, a start code inside of
/// the parameter sets, tracks that both want to be `track`.
const SLOPPY_SDP: &str = "v=0\no=My Camera 1 -1 IN IP4 10.0.0.9\ns=x\nb=AS:50.5\nt=0 0\ny=0100000001\n\
    m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n\
    a=fmtp:96 packetization-mode=1;sprop-parameter-sets=AAAAAWdNQB/aAUAW7ARAAAADAEAAAAyDxgyo,aO88gA==\n\
    a=control:track\nm=audio 0 RTP/AVP 8\na=control:track\n";

fn lenient() -> MediaServerBuilder {
    MediaServer::builder().authorizer(AllowAll)
}

fn strict() -> MediaServerBuilder {
    let mut config = easydarwin_core::rtsp::ServerConfig::default();
    config.strict = true;
    lenient().rtsp_config(config)
}

/// A request in the camera's own way: LF alone, no CSeq, no session.
async fn ask(camera: &mut Rtsp, line: &str, headers: &str, body: &str) -> Response {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\n"),
    };
    let request = format!("{line} RTSP/1.0\n{headers}{length}\n{body}");
    camera.send(request.as_bytes()).await;
    camera.response().await
}

/// A slice of a picture.
fn slice(seq: u16, ts: u32, ssrc: u32, key: bool) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(seq.to_be_bytes());
    packet.extend(ts.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.push(if key { 0x65 } else { 0x41 });
    packet.push(0x88);
    packet.extend([0x5a; 200]);
    packet
}

#[tokio::test]
async fn a_sloppy_camera_is_seen() {
    let server = Server::of(lenient()).await;
    let url = server.url("cam/1");
    let mut camera = server.connect().await;
    let announced = ask(&mut camera, &format!("announce {url}"), "", SLOPPY_SDP).await;
    assert_eq!(announced.status, 200, "{announced:?}");
    let transport = "Transport: RTP/AVP;unicast;interleaved=0-1\n";
    for track in 0..2 {
        let line = format!("SETUP {url}/trackID={track}");
        let answer = ask(&mut camera, &line, transport, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(
        ask(&mut camera, &format!("RECORD {url}"), "", "")
            .await
            .status,
        200
    );

    let mut player = server.connect().await;
    let described = player.describe(&url).await;
    assert!(
        described.text().contains("sprop-parameter-sets=Z01AH9o"),
        "{}",
        described.text()
    );
    player.play(&url).await;
    // The answer said 2-3 for the sound; the camera sends all on 0. No picture has a marker, the
    // SSRC changes in mid-stream, a frame is for nobody, and there is junk between.
    let mut seq = 60_000_u16;
    for picture in 0..20_u16 {
        let ssrc = if picture < 10 { 1 } else { 2 };
        let ts = u32::from(picture) * 3600;
        camera
            .send(&interleaved(0, &slice(seq, ts, ssrc, picture % 5 == 0)))
            .await;
        seq = seq.wrapping_add(1);
        camera.send(&interleaved(0, &audio_packet(picture))).await;
    }
    camera.send(&interleaved(9, b"nobody's")).await;
    camera.send(b"\0\0\0\0").await;
    let answer = ask(&mut camera, &format!("OPTIONS {url}"), "", "").await;
    assert_eq!(answer.status, 200);

    let mut last: Option<u16> = None;
    for _ in 0..19 {
        let packet = within(player.packet()).await.unwrap();
        let number = sequence(&packet);
        if let Some(last) = last {
            assert_eq!(number, last.wrapping_add(1));
        }
        last = Some(number);
    }
    let info = server.hub().get(&path("cam/1")).unwrap().info();
    let all = [
        (Repair::MethodCase, 1),
        (Repair::Junk, 1),
        (Repair::MissingContentType, 1),
        (Repair::ChannelsReassigned, 1),
        (Repair::UnknownChannel, 1),
        (Repair::TransportMode, 2),
        (Repair::TransportWithoutTcp, 2),
        (Repair::MissingSession, 2),
        (Repair::LineEnds, 5),
        (Repair::MissingCseq, 5),
        (Repair::SdpLineEnds, 12),
        (Repair::SdpLines, 3),
        (Repair::SdpParameterSets, 1),
        (Repair::SdpControl, 1),
        (Repair::SsrcJump, 1),
        (Repair::OtherTrackPort, 20),
    ];
    for (repair, count) in all {
        assert_eq!(info.repairs.count(repair), count, "{repair:?}");
        assert_eq!(
            server.hub().info().repairs.count(repair),
            count,
            "{repair:?}"
        );
    }
    assert!(info.repairs.count(Repair::MissingMarkers) > 0);
    assert_eq!(info.repairs.iter().count(), all.len() + 1);
    assert_eq!(info.tracks[1].packets, 20);
    server.stop().await;
}

/// The log of this test's thread, on which everything runs.
#[cfg(feature = "cli")]
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(feature = "cli")]
impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn each_repair_is_said_once_and_the_api_shows_the_counts() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut http = easydarwin_core::http::HttpConfig::default();
    http.api_tokens = vec!["admin".into()];
    let builder = lenient().http(([127, 0, 0, 1], 0).into()).http_config(http);
    let server = Server::of(builder).await;
    let url = server.url("cam/1");
    let mut camera = server.connect().await;
    let peer = camera.socket.local_addr().unwrap();
    for _ in 0..3 {
        let answer = ask(&mut camera, &format!("OPTIONS {url}"), "", "").await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(crate::support::publish(&mut camera, &url).await.status, 200);
    for number in 0..4 {
        let mut packet = audio_packet(number);
        packet[11] = u8::try_from(number).unwrap();
        camera.send(&interleaved(0, &packet)).await;
    }
    let answer = ask(&mut camera, &format!("OPTIONS {url}"), "", "").await;
    assert_eq!(answer.status, 200);

    let address = server.handle.http_addr().unwrap();
    let mut api = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET /api/v1/streams/cam/1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                   Authorization: Bearer admin\r\n\r\n";
    within(api.write_all(request.as_bytes())).await.unwrap();
    let mut shown = String::new();
    within(api.read_to_string(&mut shown)).await.unwrap();
    let expected = r#""repairs":{"line_ends":4,"missing_cseq":4,"ssrc_jump":3}"#;
    assert!(shown.contains(expected), "{shown}");
    server.stop().await;

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for text in [Repair::LineEnds, Repair::MissingCseq, Repair::SsrcJump].map(Repair::text) {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(text)).collect();
        assert_eq!(lines.len(), 1, "{text}: {log}");
        for part in [" WARN ", &peer.to_string(), "cam/1"] {
            assert!(lines[0].contains(part), "{part}: {}", lines[0]);
        }
    }
}

#[tokio::test]
async fn a_strict_server_says_what_is_wrong() {
    let server = Server::of(strict()).await;
    let url = server.url("cam/1");
    let mut camera = server.connect().await;
    let announced = ask(&mut camera, &format!("announce {url}"), "", SLOPPY_SDP).await;
    assert_eq!(
        (announced.status, &*announced.reason),
        (400, "Line ends other than CRLF")
    );
    // With good requests the description's turn comes.
    let kind = [("Content-Type", "application/sdp")];
    let announced = camera.request("ANNOUNCE", &url, &kind, SLOPPY_SDP).await;
    assert_eq!(
        (announced.status, &*announced.reason),
        (400, "session description, line 1: line end other than CRLF")
    );
    let text = SLOPPY_SDP.replace('\n', "\r\n");
    let announced = camera.request("ANNOUNCE", &url, &kind, &text).await;
    assert_eq!(
        (announced.status, &*announced.reason),
        (
            400,
            "session description, line 2: line missing, misplaced or malformed"
        )
    );
    assert!(server.hub().get(&path("cam/1")).is_none());
    let repairs = server.hub().info().repairs;
    assert_eq!(repairs.count(Repair::SdpLines), 1);
    assert_eq!(repairs.count(Repair::LineEnds), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_strict_server_ends_a_publisher_whose_media_is_wrong() {
    let server = Server::of(strict()).await;
    let url = server.url("cam/1");
    let mut camera = server.connect().await;
    assert_eq!(crate::support::publish(&mut camera, &url).await.status, 200);
    camera.send(&interleaved(0, &audio_packet(1))).await;
    let mut player = server.connect().await;
    player.play(&url).await;
    let mut packet = audio_packet(2);
    packet[11] ^= 1;
    camera.send(&interleaved(0, &packet)).await;
    camera.closed().await;
    player.closed().await;
    assert_eq!(server.hub().info().repairs.count(Repair::SsrcJump), 1);
    server.stop().await;
}

/// RTP to the port for RTCP, from a port that was not named (which is no fault).
#[tokio::test]
async fn media_to_the_wrong_port() {
    let server = Server::of(lenient()).await;
    let url = server.url("cam/1");
    let mut camera = server.connect().await;
    let kind = [("Content-Type", "application/sdp")];
    let announced = camera
        .request("ANNOUNCE", &url, &kind, crate::support::AUDIO_SDP)
        .await;
    assert_eq!(announced.status, 200);
    let transport = "RTP/AVP;unicast;client_port=50000-50001;mode=record";
    let track = format!("{url}/streamid=0");
    let setup = camera.set_up(&track, transport).await;
    let ports = setup
        .header("Transport")
        .unwrap()
        .split("server_port=")
        .nth(1)
        .unwrap();
    let rtcp: u16 = ports[ports.find('-').unwrap() + 1..]
        .split(';')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(camera.request("RECORD", &url, &[], "").await.status, 200);
    let mut player = server.connect().await;
    player.play(&url).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for number in 1..4 {
        socket
            .send_to(&audio_packet(number), ("127.0.0.1", rtcp))
            .await
            .unwrap();
    }
    let first = sequence(&within(player.packet()).await.unwrap());
    for number in 1..3 {
        let packet = within(player.packet()).await.unwrap();
        assert_eq!(sequence(&packet), first.wrapping_add(number));
    }
    let info = server.hub().get(&path("cam/1")).unwrap().info();
    assert_eq!(
        info.repairs.iter().collect::<Vec<_>>(),
        [(Repair::RtpPort, 3)]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_strict_player_takes_no_faulty_description() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    let camera = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await.unwrap();
        let answer = format!(
            "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: {}\r\n\r\n{SLOPPY_SDP}",
            SLOPPY_SDP.len()
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
        // Until the client goes.
        let _ = socket.read(&mut request).await;
    });
    let mut options = ClientOptions::default();
    options.strict = true;
    let error = within(Player::connect(&url, options)).await.unwrap_err();
    let repair = Repair::SdpLineEnds;
    assert!(
        matches!(&error, ClientError::Description(e) if *e == SdpError::Faulty { repair, line: 1 }),
        "{error:?}"
    );
    within(camera).await.unwrap();
}

fn ffmpeg(args: &[&str]) -> tokio::process::Child {
    tokio::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error"])
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("this test needs ffmpeg: apt-get install ffmpeg")
}

#[tokio::test]
async fn a_strict_server_takes_ffmpeg() {
    let server = Server::of(strict()).await;
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/bigbuckbunny.mp4");
    for transport in ["tcp", "udp"] {
        let url = server.url(&format!("hall/{transport}"));
        let source = ["-re", "-stream_loop", "-1", "-i", clip, "-c", "copy"];
        let sink = ["-f", "rtsp", "-rtsp_transport", transport, &url];
        let mut camera = ffmpeg(&[&source[..], &sink].concat());
        let name = path(&format!("hall/{transport}"));
        let patience = Duration::from_secs(20);
        let stream = server
            .hub()
            .wait(&name, true, patience)
            .await
            .expect("it is published");
        let to = ["-t", "1", "-c", "copy", "-f", "null", "-"];
        let from = ["-rtsp_transport", transport, "-i", &url];
        let mut player = ffmpeg(&[&from[..], &to].concat());
        let status = tokio::time::timeout(patience, player.wait())
            .await
            .expect("it ends");
        assert!(status.unwrap().success());
        assert_eq!(stream.info().repairs.iter().collect::<Vec<_>>(), []);
        camera.kill().await.unwrap();
    }
    assert_eq!(server.hub().info().repairs.iter().collect::<Vec<_>>(), []);
    server.stop().await;
}
