//! The live flow with separate processes: `easydarwin`, `easydarwin-cms` and `easydarwin-camera`
//! talk over real sockets through proxies that record each message; ffprobe and ffmpeg play.

// A test may panic; that is how it fails.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::process::Command;
use std::time::{Duration, Instant};

use easydarwin_test_support::api::eventually;
use easydarwin_test_support::parts::{Parts, SERIAL};
use easydarwin_test_support::process::{Process, Workdir};
use easydarwin_test_support::proxy::{Message, Way};
use easydarwin_test_support::require;
use serde_json::Value;

/// For a message that is due at once, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// For a part that has to find another one again: back-off and lease are inside.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// Idle time in tests that wait for it.
const IDLE_SECONDS: u64 = 2;

/// Idle time in tests that do not.
const NEVER_IDLE: u64 = 600;

#[test]
fn ten_arrows_from_registration_to_picture() {
    let mut parts = Parts::new(Workdir::new("flow-ten-arrows"), NEVER_IDLE);
    let _cms = parts.start_cms();
    let _server = parts.start_server();

    // The media server joins: challenge, proof, and what it can be reached under.
    let (joined, _) = parts
        .node_proxy
        .wait_for("the join's acceptance", 0, SOON, |message| {
            is(message, "MSG_SN_JOIN_ACK") && error_num(message) == "200"
        });
    let (_, join) = parts.node_proxy.wait_type("MSG_NS_JOIN_REQ", 0, SOON);
    let endpoint = &body(&join)["Endpoints"][0];
    assert_eq!(endpoint["Host"], "127.0.0.2");
    assert_eq!(endpoint["RTSP"], parts.rtsp.port().to_string());

    // 1 and 2: the camera registers and is acknowledged; its key never travels.
    let mut camera = parts.start_camera("pattern");
    camera.wait_ready();
    let (first, register) = parts.device_proxy.wait_type("MSG_DS_REGISTER_REQ", 0, SOON);
    assert_eq!(body(&register)["Serial"], SERIAL);
    assert_eq!(header(&register)["AppType"], "EasyCamera");
    assert!(
        body(&register).get("Token").is_none(),
        "the key itself was sent"
    );
    let (_, challenge) = parts
        .device_proxy
        .wait_type("MSG_SD_REGISTER_ACK", first, SOON);
    assert_eq!(error_num(&challenge), "401");
    assert!(body(&challenge)["Nonce"].is_string());
    let (accepted, ack) =
        parts
            .device_proxy
            .wait_for("the accepting ack", first, SOON, |message| {
                is(message, "MSG_SD_REGISTER_ACK") && error_num(message) == "200"
            });
    assert!(ack.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", ack.head);
    assert!(body(&ack)["ServerProof"].is_string());
    assert!(body(&ack)["Generation"].is_string());

    // 3 and 4: a client asks for the devices.
    let device = eventually("the camera is listed", SOON, || parts.listed());
    assert_eq!(device["AppType"], "EasyCamera");
    assert!(
        parts.rtsp_proxy.messages().is_empty(),
        "the camera pushes although nobody asked for its picture"
    );

    // 5: a client asks for the stream; 9: it is answered when the stream is live.
    let asked = Instant::now();
    let started = parts.start_stream().expect("the stream starts");
    let answered = Instant::now();
    assert_eq!(started["Serial"], SERIAL);
    assert_eq!(started["Channel"], "1");
    let service = started["Service"].as_str().expect("Service is a text");
    let names_the_cms = format!("IP=127.0.0.1;Port={};Type=EasyDarwin", parts.cms.port());
    assert_eq!(service, names_the_cms);

    // 6: the CMS lets the camera in at the media server, then tells it to push.
    let (granted, grant) = parts.node_proxy.wait_type("MSG_SN_GRANT_REQ", joined, SOON);
    assert_eq!(body(&grant)["Path"], format!("{SERIAL}/1"));
    let (pushed, push) = parts
        .device_proxy
        .wait_type("MSG_SD_PUSH_STREAM_REQ", accepted, SOON);
    assert_eq!(push.way, Way::Out);
    assert!(
        push.head.starts_with("HTTP/1.1 200 OK\r\n"),
        "{}",
        push.head
    );
    let request = body(&push);
    assert_eq!(request["Server_IP"], "127.0.0.2");
    assert_eq!(request["Server_PORT"], parts.rtsp.port().to_string());
    assert_eq!(request["Server_Port"], request["Server_PORT"]);
    assert_eq!(request["Protocol"], "RTSP");
    assert_eq!(request["Serial"], SERIAL);
    assert_eq!(request["Channel"], "1");
    let token = request["StreamID"]
        .as_str()
        .expect("a token to publish with");

    // 7: the camera's answer, with From and To swapped.
    let (_, push_ack) = parts
        .device_proxy
        .wait_type("MSG_DS_PUSH_STREAM_ACK", pushed, SOON);
    assert_eq!(error_num(&push_ack), "200");
    assert_eq!(header(&push_ack)["CSeq"], header(&push)["CSeq"]);
    assert_eq!(body(&push_ack)["From"], request["To"]);
    assert_eq!(body(&push_ack)["To"], request["From"]);
    assert_eq!(body(&push_ack)["Via"], request["Via"]);

    // and its ANNOUNCE, SETUP, RECORD with the token.
    let url = format!("rtsp://127.0.0.2:{}/{SERIAL}/1", parts.rtsp.port());
    let (announced, announce) = rtsp(&parts, "ANNOUNCE", 0);
    assert_eq!(
        announce.head.lines().next(),
        Some(&*format!("ANNOUNCE {url} RTSP/1.0"))
    );
    assert_eq!(
        announce.header("Authorization"),
        Some(&*format!("Bearer {token}"))
    );
    let sdp = String::from_utf8(announce.body.clone()).expect("SDP is text");
    assert!(
        sdp.contains("m=video") && sdp.contains("H264/90000"),
        "{sdp}"
    );
    let (_, setup) = rtsp(&parts, "SETUP", announced);
    assert!(
        setup
            .header("Transport")
            .is_some_and(|t| t.contains("mode=record")),
        "{}",
        setup.head
    );
    let (recorded, record) = rtsp(&parts, "RECORD", announced);
    let cseq = record.header("CSeq").expect("CSeq").to_owned();
    let (_, answer) = parts
        .rtsp_proxy
        .wait_for("RECORD's answer", recorded, SOON, |message| {
            message.way == Way::Out
                && message.connection == record.connection
                && message.header("CSeq") == Some(&cseq)
        });
    assert!(answer.head.starts_with("RTSP/1.0 200"), "{}", answer.head);

    // 8: RTP flows, the media server tells that it has a picture ("streaming OK").
    assert!(
        parts.rtsp_proxy.interleaved() > 10_000,
        "{} bytes",
        parts.rtsp_proxy.interleaved()
    );
    let event = |name: &str| {
        let (_, event) = parts.node_proxy.wait_for(name, granted, SOON, |message| {
            is(message, "MSG_NS_EVENT_REQ") && body(message)["Event"] == name
        });
        assert_eq!(body(&event)["Path"], format!("{SERIAL}/1"));
        assert_eq!(body(&event)["Generation"], body(&grant)["Generation"]);
        event.at
    };
    let (published, ready) = (event("published"), event("ready"));

    let order = [
        asked,
        grant.at,
        push.at,
        announce.at,
        published,
        ready,
        answered,
    ];
    assert!(order.is_sorted(), "out of order: {order:?}");
    assert!(
        push_ack.at > push.at && push_ack.at < answered,
        "the camera's answer came too late"
    );

    // 9, second half, and 10: the URLs, and what they play.
    for (protocol, options, least) in [
        ("RTSP", &["-rtsp_transport", "tcp"][..], 40),
        ("RTSP", &["-rtsp_transport", "udp"], 40),
        ("HLS", &[], 40),
    ] {
        let url = parts.url(protocol).expect("a URL");
        let (scheme, host) = if protocol == "HLS" {
            ("http", parts.http)
        } else {
            ("rtsp", parts.rtsp)
        };
        let given = format!("{scheme}://127.0.0.2:{}/", host.port());
        assert!(url.starts_with(&given), "{url}");
        // Datagrams come from the media server itself, not from the proxy.
        let url = url.replace("127.0.0.2", "127.0.0.1");
        let played = probe(&url, options);
        let packets = played["packets"].as_array().expect("a list");
        let video: Vec<_> = packets
            .iter()
            .filter(|p| p["codec_type"] == "video")
            .collect();
        let audio = packets.len() - video.len();
        assert!(
            video.len() >= least,
            "{protocol} {options:?}: {} pictures",
            video.len()
        );
        assert!(
            // Its frames are longer than the pictures.
            audio >= least / 2,
            "{protocol} {options:?}: {audio} audio frames"
        );
        let flags = video[0]["flags"].as_str().expect("flags");
        assert!(
            flags.starts_with('K'),
            "{protocol} {options:?} begins with {flags}"
        );
        let codecs: Vec<_> = played["streams"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|stream| stream["codec_name"].as_str().unwrap_or_default())
            .collect();
        assert!(codecs.contains(&"h264"), "{codecs:?}");
    }

    // A URL without its right opens nothing.
    let bare = format!("rtsp://{}/{SERIAL}/1", parts.rtsp);
    let (status, _) = easydarwin_test_support::api::describe(&bare).expect("an answer");
    assert_eq!(status, 401);
}

#[test]
fn idle_stream_is_stopped_and_starts_again() {
    let mut parts = Parts::new(Workdir::new("flow-idle"), IDLE_SECONDS);
    let _cms = parts.start_cms();
    let _server = parts.start_server();
    let _camera = parts.start_camera("pattern");
    eventually("the stream starts", BACK_WITHIN, || parts.start_stream());
    let url = parts.url("RTSP").expect("a URL");
    let (_, grant) = parts.node_proxy.wait_type("MSG_SN_GRANT_REQ", 0, SOON);
    probe(&url, &["-rtsp_transport", "tcp"]);

    // The player has gone: the media server says so, the CMS closes and stops the camera.
    let (_, free) = parts
        .node_proxy
        .wait_type("MSG_CS_FREE_STREAM_REQ", 0, SOON);
    assert_eq!(body(&free)["Serial"], SERIAL);
    assert_eq!(body(&free)["Generation"], body(&grant)["Generation"]);
    let (_, close) = parts.node_proxy.wait_type("MSG_SN_CLOSE_REQ", 0, SOON);
    assert_eq!(body(&close)["Path"], format!("{SERIAL}/1"));
    let (stopped, stop) = parts
        .device_proxy
        .wait_type("MSG_SD_STREAM_STOP_REQ", 0, SOON);
    for field in [
        "Serial", "Channel", "Protocol", "Reserve", "From", "To", "Via",
    ] {
        assert!(
            body(&stop)[field].is_string(),
            "{field} is missing: {}",
            body(&stop)
        );
    }
    let (_, ack) = parts
        .device_proxy
        .wait_type("MSG_DS_STREAM_STOP_ACK", stopped, SOON);
    assert_eq!(error_num(&ack), "200");

    // Asked again, it starts again, under a higher generation.
    parts.start_stream().expect("it starts again");
    let (_, again) = parts
        .device_proxy
        .wait_type("MSG_SD_PUSH_STREAM_REQ", stopped, SOON);
    assert!(again.at > stop.at);
    let (_, second) = parts
        .node_proxy
        .wait_for("a second grant", 0, SOON, |message| {
            is(message, "MSG_SN_GRANT_REQ")
                && body(message)["Generation"] != body(&grant)["Generation"]
        });
    let number = |message: &Message| {
        body(message)["Generation"]
            .as_str()
            .and_then(|text| text.parse::<u64>().ok())
            .expect("a number")
    };
    assert!(number(&second) > number(&grant));
    probe(
        &parts.url("RTSP").expect("a URL"),
        &["-rtsp_transport", "tcp"],
    );
}

#[test]
fn camera_that_dies_ends_its_readers_and_comes_back() {
    let mut parts = Parts::new(Workdir::new("flow-camera-dies"), NEVER_IDLE);
    let _cms = parts.start_cms();
    let _server = parts.start_server();
    let mut camera = parts.start_camera("pattern");
    eventually("the stream starts", BACK_WITHIN, || parts.start_stream());

    // Killed: its connections end, and so do the readers'.
    let mut reader = play(&parts, "killed");
    camera.kill();
    reader.wait(SOON).expect("the reader gets an end");
    let mut camera = parts.start_camera("pattern");
    eventually("the stream starts again", BACK_WITHIN, || {
        parts.start_stream()
    });

    // Frozen: nothing ends, only silence; 10 s of it end the stream.
    let mut reader = play(&parts, "frozen");
    camera.freeze();
    reader.wait(2 * SOON).expect("the reader gets an end");
    camera.kill();
    let _camera = parts.start_camera("pattern");
    eventually("the stream starts again", BACK_WITHIN, || {
        parts.start_stream()
    });
    probe(
        &parts.url("RTSP").expect("a URL"),
        &["-rtsp_transport", "tcp"],
    );
}

#[test]
fn cms_may_start_last_and_restart_under_players() {
    let mut parts = Parts::new(Workdir::new("flow-cms-restarts"), NEVER_IDLE);
    let _server = parts.start_server();
    let _camera = parts.start_camera("pattern");
    let mut cms = parts.start_cms();
    eventually("the stream starts", BACK_WITHIN, || parts.start_stream());

    let mut reader = play(&parts, "player");
    cms.kill();
    let _cms = parts.start_cms();
    let before = parts.device_proxy.messages().len();
    eventually("the camera is back", BACK_WITHIN, || parts.listed());
    // The running stream is found, not started anew: the camera is not even asked.
    eventually("the stream is known", BACK_WITHIN, || parts.start_stream());
    let asked = parts.device_proxy.messages().split_off(before);
    assert!(
        !asked
            .iter()
            .any(|message| is(message, "MSG_SD_PUSH_STREAM_REQ")),
        "the CMS asked for a push that was running"
    );
    assert!(reader.running(), "the CMS's restart has ended a player");
    probe(
        &parts.url("RTSP").expect("a URL"),
        &["-rtsp_transport", "tcp"],
    );
}

#[test]
fn media_server_may_restart() {
    let mut parts = Parts::new(Workdir::new("flow-server-restarts"), NEVER_IDLE);
    let _cms = parts.start_cms();
    let mut server = parts.start_server();
    let _camera = parts.start_camera("pattern");
    eventually("the stream starts", BACK_WITHIN, || parts.start_stream());
    let mut reader = play(&parts, "player");
    server.kill();
    reader.wait(SOON).expect("the reader gets an end");
    let _server = parts.start_server();
    eventually("the stream starts again", BACK_WITHIN, || {
        parts.start_stream()
    });
    probe(
        &parts.url("RTSP").expect("a URL"),
        &["-rtsp_transport", "tcp"],
    );
}

#[test]
fn sigterm_says_goodbye() {
    let mut parts = Parts::new(Workdir::new("flow-sigterm"), NEVER_IDLE);
    let mut cms = parts.start_cms();
    let mut server = parts.start_server();
    let mut camera = parts.start_camera("pattern");
    eventually("the stream starts", BACK_WITHIN, || parts.start_stream());
    let mut reader = play(&parts, "player");

    let status = camera.terminate(SOON).expect("the camera ends");
    assert!(status.success(), "{status}");
    let (_, teardown) = rtsp(&parts, "TEARDOWN", 0);
    assert_eq!(teardown.way, Way::In);
    reader.wait(SOON).expect("the reader gets an end");

    let status = server.terminate(SOON).expect("the media server ends");
    assert!(status.success(), "{status}");
    let status = cms.terminate(SOON).expect("the CMS ends");
    assert!(status.success(), "{status}");
    for address in [parts.cms, parts.rtsp, parts.http] {
        std::net::TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("{address} is still taken: {error}"));
    }
}

/// A player that reads until the stream ends and counts; returns when it has begun to.
fn play(parts: &Parts, name: &str) -> Process {
    require(&["ffmpeg"]);
    let url = parts.url("RTSP").expect("a URL");
    let before = parts.rtsp_proxy.messages().len();
    let mut command = Command::new("ffmpeg");
    command
        .args([
            "-nostdin",
            "-v",
            "info",
            "-rtsp_transport",
            "tcp",
            "-i",
            &url,
        ])
        .args(["-c", "copy", "-f", "null", "-"]);
    let mut process = Process::spawn(parts.workdir(), &format!("player-{name}"), command);
    let (played, request) = rtsp(parts, "PLAY", before);
    parts
        .rtsp_proxy
        .wait_for("PLAY's answer", played, SOON, |message| {
            message.way == Way::Out && message.connection == request.connection
        });
    assert!(process.running(), "{}", process.log());
    process
}

/// What ffprobe plays of a URL in two seconds.
fn probe(url: &str, options: &[&str]) -> Value {
    require(&["ffprobe"]);
    let output = Command::new("timeout")
        .args(["30", "ffprobe", "-v", "error"])
        .args(options)
        .args(["-read_intervals", "%+2", "-of", "json"])
        .args([
            "-show_entries",
            "packet=codec_type,flags,dts:stream=codec_name",
            url,
        ])
        .output()
        .expect("ffprobe can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ffprobe {options:?} {url}: {errors}"
    );
    serde_json::from_slice(&output.stdout).expect("ffprobe writes JSON")
}

fn rtsp(parts: &Parts, method: &str, from: usize) -> (usize, Message) {
    parts.rtsp_proxy.wait_for(method, from, SOON, |message| {
        message.way == Way::In && message.head.starts_with(&format!("{method} "))
    })
}

fn is(message: &Message, message_type: &str) -> bool {
    message.message_type().as_deref() == Some(message_type)
}

fn header(message: &Message) -> Value {
    message.json().expect("JSON")["Header"].take()
}

fn body(message: &Message) -> Value {
    message.json().expect("JSON")["Body"].take()
}

fn error_num(message: &Message) -> String {
    header(message)["ErrorNum"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
