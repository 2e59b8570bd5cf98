//! Devices: who is let in, who is not, and that the refused disturb nobody.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::time::Duration;

use common::{Peer, TestCms, code};
use easydarwin_cms::{Cms, CmsConfig, CmsError, LegacyLevel, Policy};
use easydarwin_core::protocol::{
    AppType, Envelope, ErrorNum, MessageType, Register, Snapshot, TalkbackRequest, TerminalType,
};
use easydarwin_core::registry::PresenceState;

const KEY: &str = "the camera's key";

async fn cms() -> TestCms {
    let cms = TestCms::start(|_| {}).await;
    cms.handle.provision_key("cam", KEY).await.unwrap();
    cms.handle.provision_token("old", "123456").await.unwrap();
    cms
}

async fn still_online(peer: &mut Peer, serial: &str) {
    let ack = peer.register(serial, "123456").await;
    assert_eq!(code(&ack), 200, "the holder goes on");
}

#[tokio::test]
async fn a_key_lets_in_and_the_answer_has_time_and_generation() {
    let cms = cms().await;
    let ack = cms.connect().await.login("cam", KEY).await;
    assert_eq!(code(&ack), 200);
    for field in ["ServerProof", "Time", "Generation", "KeepAlive", "Ext"] {
        assert!(ack.body.contains(field), "{field}");
    }
}

#[tokio::test]
async fn wrong_secrets_are_refused_and_nobody_is_kicked() {
    let cms = cms().await;
    let mut holder = cms.connect().await;
    assert_eq!(code(&holder.register("old", "123456").await), 200);
    let mut guesser = cms.connect().await;
    for token in ["", "12345", "1234567"] {
        assert_eq!(code(&guesser.register("old", token).await), 401);
        still_online(&mut holder, "old").await;
    }
    assert_eq!(code(&guesser.login("cam", "another key").await), 401);
    // What a key guards no plain text opens, and a serial that is not known is no hint.
    assert_eq!(code(&guesser.register("cam", KEY).await), 401);
    assert_eq!(code(&guesser.login("nobody", KEY).await), 401);
    assert_eq!(code(&guesser.register("nobody", "x").await), 401);
    // The refused connection may still do it right.
    assert_eq!(code(&guesser.login("cam", KEY).await), 200);
}

#[tokio::test]
async fn a_proof_counts_once_and_only_for_its_challenge() {
    let cms = cms().await;
    let mut peer = cms.connect().await;
    assert_eq!(code(&peer.login("cam", KEY).await), 200);
    // Replayed on another connection without a challenge of its own.
    let mut other = cms.connect().await;
    let mut register = easydarwin_core::protocol::Register::new(
        "cam",
        easydarwin_core::protocol::AppType::EasyCamera,
        easydarwin_core::protocol::TerminalType::Linux,
    );
    register.auth = Some("ED1".into());
    register.client_nonce = Some("client-nonce".into());
    register.nonce = Some("x".into());
    let key = easydarwin_core::protocol::login::DeviceKey::new(KEY, "cam");
    register.proof = Some(key.proof("client-nonce", "x"));
    assert_eq!(code(&other.ask(&register.to_envelope(1)).await), 401);
}

#[tokio::test]
async fn the_rightful_newcomer_takes_over_at_once() {
    let cms = cms().await;
    let (mut old, mut new) = (cms.connect().await, cms.connect().await);
    let first = old.login("cam", KEY).await;
    let second = new.login("cam", KEY).await;
    assert_eq!(code(&second), 200);
    let generation = |ack: &Envelope| ack.body.number::<u64>("Generation").unwrap();
    assert!(generation(&second) > generation(&first));
    old.closed().await;
    let list = cms.api("getdevicelist").await;
    assert_eq!(list.body.text_or_empty("DeviceCount"), "1");
    // The end of the old connection took nothing from the new one.
    let entry = cms.handle.presence().entry("cam").await.unwrap().unwrap();
    assert_eq!(entry.state, PresenceState::Online);
}

#[tokio::test]
async fn one_connection_speaks_for_one_device() {
    let cms = cms().await;
    cms.handle.provision_token("old2", "123456").await.unwrap();
    let mut peer = cms.connect().await;
    assert_eq!(code(&peer.register("old", "123456").await), 200);
    assert_eq!(code(&peer.register("old2", "123456").await), 400);
    assert_eq!(code(&peer.register("old", "other").await), 401);
    still_online(&mut peer, "old").await;
}

#[tokio::test]
async fn adopt_keeps_the_first_token() {
    let cms = TestCms::start(|c| c.policy = Policy::Adopt).await;
    assert_eq!(code(&cms.connect().await.register("new", "").await), 401);
    assert_eq!(
        code(&cms.connect().await.register("new", "mine").await),
        200
    );
    assert_eq!(
        code(&cms.connect().await.register("new", "yours").await),
        401
    );
    assert_eq!(
        code(&cms.connect().await.register("new", "mine").await),
        200
    );
    assert_eq!(code(&cms.connect().await.login("newer", "key").await), 401);
}

#[tokio::test]
async fn open_lets_everybody_in_but_not_on_a_public_address() {
    let cms = TestCms::start(|c| c.policy = Policy::Open).await;
    cms.handle.provision_key("cam", KEY).await.unwrap();
    assert_eq!(code(&cms.connect().await.register("x", "").await), 200);
    let ack = cms.connect().await.login("y", "whatever").await;
    assert_eq!(code(&ack), 200);
    assert!(!ack.body.contains("ServerProof"));
    // What was provisioned is guarded here, too.
    assert_eq!(code(&cms.connect().await.login("cam", "wrong").await), 401);

    let mut config = CmsConfig::new("0.0.0.0:0".parse().unwrap());
    config.policy = Policy::Open;
    let refused = Cms::builder(config.clone()).build().await;
    assert!(matches!(refused, Err(CmsError::OpenOnPublicAddress { .. })));
    config.i_know = true;
    assert!(Cms::builder(config).build().await.is_ok());
}

#[tokio::test]
async fn silence_ends_a_connection_and_any_message_is_life() {
    let cms = TestCms::start(|c| {
        c.policy = Policy::Open;
        c.idle = Duration::from_millis(1500);
        c.grace = Duration::from_millis(200);
    })
    .await;
    let mut silent = cms.connect().await;
    silent.register("cam", "").await;
    let started = std::time::Instant::now();
    silent.closed().await;
    assert!(started.elapsed() >= Duration::from_millis(1400));
    let presence = cms.handle.presence();
    while presence.entry("cam").await.unwrap().unwrap().state != PresenceState::Offline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn only_true_pictures_of_its_own_are_taken_from_a_device() {
    let cms = TestCms::start(|c| c.policy = Policy::Open).await;
    let mut camera = cms.connect().await;
    camera.register("cam", "").await;
    let jpeg = "/9j/2Q"; // FF D8 FF D9, without padding
    let post = |serial: &str, image: &str| Snapshot::jpeg(serial, 1, image).to_envelope(7);
    for (message, error) in [
        (post("cam", jpeg), 200),
        (post("other", jpeg), 403),
        (post("cam", "AAAA"), 415),
        (post("cam", "not base64 !"), 400),
        (post("cam", ""), 400),
    ] {
        assert_eq!(code(&camera.ask(&message).await), error);
    }
    let mut idr = Snapshot::jpeg("cam", 1, jpeg);
    idr.kind = "IDR".into();
    assert_eq!(code(&camera.ask(&idr.to_envelope(8)).await), 415);

    let info = cms.api("getdeviceinfo?device=cam").await;
    let url = info.body.text_or_empty("SnapURL");
    let path = url
        .splitn(4, '/')
        .nth(3)
        .map(|path| format!("/{path}"))
        .unwrap();
    let picture = cms.get(&path).await;
    assert_eq!(
        (picture.status, picture.body.as_slice()),
        (200, &[0xff, 0xd8, 0xff, 0xd9][..])
    );
    assert_eq!(picture.header("Content-Type"), Some("image/jpeg"));
    // Without the right in the URL there is no picture.
    assert_eq!(cms.get("/snap/cam/cam_1_0.jpg").await.status, 401);
    let mut forged = path.clone().into_bytes();
    // Another character of the token's alphabet.
    forged[20] = if forged[20] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    assert_eq!(cms.get(&forged).await.status, 401);
}

#[tokio::test]
async fn a_large_snapshot_is_taken_from_a_registered_device_only() {
    let cms = TestCms::start(|c| c.policy = Policy::Open).await;
    let image = format!("/9j/{}", "AAAA".repeat(300_000));
    let message = Snapshot::jpeg("cam", 1, image).to_envelope(1);
    let mut stranger = cms.connect().await;
    stranger.send(&message.to_request("x")[..100_000]).await;
    assert_eq!(stranger.expect().await.status, 413);
    stranger.closed().await;

    // Register and snapshot in one go.
    let mut camera = cms.connect().await;
    let register = easydarwin_core::protocol::Register::new(
        "cam",
        easydarwin_core::protocol::AppType::EasyCamera,
        easydarwin_core::protocol::TerminalType::Linux,
    );
    let mut bytes = register.to_envelope(1).to_request("x").to_vec();
    bytes.extend_from_slice(&message.to_request("x"));
    camera.send(&bytes).await;
    assert_eq!(code(&camera.expect().await.envelope()), 200);
    let ack = camera.expect().await.envelope();
    assert_eq!(
        (ack.kind(), code(&ack)),
        (Some(MessageType::PostSnapAck), 200)
    );
}

#[tokio::test]
async fn ptz_and_presets_reach_the_device_in_upper_case() {
    let cms = TestCms::start(|c| {
        c.policy = Policy::Open;
        c.control_ack = Duration::from_millis(200);
    })
    .await;
    let mut camera = cms.connect().await;
    camera.register("cam", "").await;
    let ptz = "ptzcontrol?device=cam&protocol=onvif&actiontype=single&command=down&speed=5";
    assert_eq!(code(&cms.api(ptz).await), 200);
    let message = camera.expect().await.envelope();
    for (field, value) in [
        ("Command", "DOWN"),
        ("ActionType", "SINGLE"),
        ("Protocol", "ONVIF"),
    ] {
        assert_eq!(message.body.text_or_empty(field), value);
    }
    let preset = "presetcontrol?device=cam&protocol=onvif&command=goto&preset=3";
    let device = async {
        let message = camera.expect().await.envelope();
        assert_eq!(message.body.text_or_empty("Command"), "GOTO");
        let ack = easydarwin_core::protocol::ControlAck::answer(&message, ErrorNum::from_code(405));
        camera
            .send_message(&ack.unwrap().to_envelope(&message.cseq()))
            .await;
    };
    let (answer, ()) = tokio::join!(cms.api(preset), device);
    assert_eq!(code(&answer), 405);
    // Silent: told, not hung.
    assert_eq!(code(&cms.api(preset).await), 408);
    assert_eq!(
        code(
            &cms.api("ptzcontrol?device=no&protocol=a&actiontype=b&command=c")
                .await
        ),
        603
    );
    assert_eq!(cms.get("/api/v1/ptzcontrol?device=cam").await.status, 400);
}

#[tokio::test]
async fn one_talker_at_a_time() {
    let cms = TestCms::start(|c| c.policy = Policy::Open).await;
    let mut camera = cms.connect().await;
    camera.register("cam", "").await;
    let say = |command: &str| {
        let request = TalkbackRequest {
            serial: "cam".into(),
            channel: 1,
            protocol: "SDK".into(),
            reserve: "1".into(),
            command: command.into(),
            audio_type: "G711A".into(),
            audio_data: "1dXV1Q==".into(),
            pts: "0".into(),
            route: Default::default(),
        };
        let mut message = request.to_envelope(5);
        message
            .header
            .set("MessageType", "MSG_CS_TALKBACK_CONTROL_REQ");
        message
    };
    let (mut first, mut second) = (cms.connect().await, cms.connect().await);
    assert_eq!(code(&first.ask(&say("START")).await), 200);
    assert_eq!(code(&second.ask(&say("START")).await), 409);
    assert_eq!(code(&second.ask(&say("SENDDATA")).await), 400);
    let ack = first.ask(&say("SENDDATA")).await;
    assert_eq!(ack.header.text_or_empty("ErrorNum"), "200");
    for command in ["START", "SENDDATA"] {
        let message = camera.expect().await.envelope();
        assert_eq!(message.kind(), Some(MessageType::ControlTalkbackReq));
        assert_eq!(message.body.text_or_empty("Command"), command);
    }
    // The talker's end frees the device.
    drop(first);
    loop {
        if code(&second.ask(&say("START")).await) == 200 {
            break;
        }
    }
}

#[tokio::test]
async fn clients_without_a_right_get_nothing() {
    let mut config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
    config.policy = Policy::Open;
    let cms = Cms::builder(config.clone()).build().await.unwrap();
    let cms = TestCms::run(cms);
    assert_eq!(cms.get("/api/v1/getdevicelist").await.error(), 401);
    assert_eq!(cms.get("/api/v2/devices").await.status, 401);
    let list = Envelope::request(MessageType::DeviceListReq, 1);
    assert_eq!(code(&cms.connect().await.ask(&list).await), 401);
    let mut peer = cms.connect().await;
    let with_key = format!(
        "GET /api/v1/getdevicelist HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        cms.handle.api_key()
    );
    peer.send(with_key.as_bytes()).await;
    assert_eq!(peer.expect().await.error(), 200);

    let reading = Cms::builder(config)
        .legacy_client("127.0.0.1".parse().unwrap(), LegacyLevel::Read)
        .build()
        .await
        .unwrap();
    let reading = TestCms::run(reading);
    assert_eq!(code(&reading.api("getdevicelist").await), 200);
    assert_eq!(
        reading
            .get("/api/v1/startdevicestream?device=a")
            .await
            .status,
        403
    );
    for path in ["restart", "setbaseconfig?ServiceWanIP=1.2.3.4"] {
        assert_eq!(reading.get(&format!("/api/v1/{path}")).await.status, 403);
    }
}

fn register_of(serial: &str) -> Vec<u8> {
    let mut register = Register::new(serial, AppType::EasyCamera, TerminalType::Linux);
    register.token = Some("123456".into());
    register.to_envelope(1).to_request("x").to_vec()
}

#[tokio::test]
async fn long_messages_wait_for_room_and_short_ones_do_not() {
    let cms = TestCms::start(|c| c.max_long_messages = 600 * 1024).await;
    for serial in ["one", "two", "three"] {
        let token = cms.handle.provision_token(serial, "123456");
        token.await.unwrap();
    }
    let image = "/9j/".repeat(40_000);
    let message = |serial: &str| {
        let snapshot = Snapshot::jpeg(serial, 1, image.as_str());
        snapshot.to_envelope(2).to_request("x")
    };
    let mut peers = Vec::new();
    for serial in ["one", "two", "three"] {
        let mut peer = cms.connect().await;
        assert_eq!(code(&peer.register(serial, "123456").await), 200);
        peers.push(peer);
    }
    let [mut one, mut two, mut three] = <[Peer; 3]>::try_from(peers).ok().unwrap();
    // One takes all the room and does not go on.
    let begin = message("one");
    // That it has begun is known by the answer to what came with its beginning.
    let mut both = register_of("one");
    both.extend_from_slice(&begin[..80_000]);
    one.send(&both).await;
    assert_eq!(one.expect().await.error(), 200);
    two.send(&message("two")).await;
    let waits = tokio::time::timeout(Duration::from_millis(400), two.next());
    assert!(waits.await.is_err(), "there was room");
    still_online(&mut three, "three").await;
    one.send(&begin[80_000..]).await;
    assert_eq!(one.expect().await.error(), 200);
    assert_eq!(two.expect().await.error(), 200);
    // Also when whoever has it goes.
    one.send(&begin[..80_000]).await;
    drop(one);
    two.send(&message("two")).await;
    assert_eq!(two.expect().await.error(), 200);
}
