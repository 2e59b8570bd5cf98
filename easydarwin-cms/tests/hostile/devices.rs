//! Devices that say they are others.

use easydarwin_core::protocol::{
    AppType, Envelope, MessageType, Register, Snapshot, TerminalType, login,
};

use crate::common::code;
use crate::flow::{Flow, HOLDER, OLD, OLD_TOKEN};
use crate::{from, register_as, stranger};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_serials() {
    let mut flow = Flow::start(|_| {}).await;
    let long = "9".repeat(300);
    for serial in [
        "../../etc/passwd",
        "..",
        "%s%n%s%n",
        "%00",
        "a\0b",
        "a b",
        " ",
        "",
        "a/1",
        "'; DROP TABLE devices;--",
        "${jndi:ldap://x}",
        "<script>",
        "\u{202e}",
        &long,
    ] {
        let mut peer = stranger(&flow).await;
        peer.send(&register_as(serial)).await;
        assert_eq!(peer.expect().await.error(), 400, "{serial:?}");
        let escaped: String = serial.bytes().map(|b| format!("%{b:02X}")).collect();
        for call in [
            "getdeviceinfo",
            "startdevicestream",
            "stopdevicestream",
            "getdevicestream",
        ] {
            let target = format!("/api/v1/{call}?device={escaped}&channel=1&protocol=rtsp");
            let answer = flow.cms.get(&target).await;
            assert!([400, 603].contains(&answer.error()), "{call} {serial:?}");
            assert!(answer.body.len() < 1000);
        }
    }
    for path in [
        "/snap/../../../../etc/passwd",
        "/snap/..%2f..%2fetc%2fpasswd",
        "/snap/x/../../x",
        "/../Cargo.toml",
        "//etc/passwd",
        "/api/v2/devices/..%2f..",
    ] {
        let reply = flow.cms.get(path).await;
        assert!(
            (400..500).contains(&reply.status) || reply.body.starts_with(b"{"),
            "{path}"
        );
        assert!(
            !String::from_utf8_lossy(&reply.body).contains("root:"),
            "{path}"
        );
    }
    flow.undisturbed().await;
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_snapshots() {
    let flow = Flow::start(|_| {}).await;
    let fake = "/9j/RkFLRUZBS0VGQUtF";
    let snapshot = Snapshot::jpeg(HOLDER, 1, fake).to_envelope(3);
    assert_eq!(code(&stranger(&flow).await.ask(&snapshot).await), 401);
    // As the body of a web client's request, from a trusted address.
    let mut client = flow.cms.connect().await;
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_ne!(code(&client.ask(&snapshot).await), 200);
    // By a device that is somebody, but not the holder.
    let mut old = stranger(&flow).await;
    assert_eq!(code(&old.register(OLD, OLD_TOKEN).await), 200);
    assert_eq!(code(&old.ask(&snapshot).await), 403);
    // Channels that are none, pictures that are none.
    for (channel, image) in [
        (0, fake),
        (65, fake),
        (u32::MAX, fake),
        (1, "AAAA"),
        (1, "%%%"),
    ] {
        let odd = Snapshot::jpeg(HOLDER, channel, image).to_envelope(4);
        assert_ne!(code(&old.ask(&odd).await), 200);
    }
    let info = flow
        .cms
        .api(&format!("getdeviceinfo?device={HOLDER}"))
        .await;
    let url = info.body.text_or_empty("SnapURL");
    if let Some(path) = url
        .split_once("/snap/")
        .map(|(_, path)| format!("/snap/{path}"))
    {
        let picture = flow.cms.get(&path).await.body;
        assert!(
            !picture.windows(4).any(|w| w == b"FAKE"),
            "the stranger's picture is shown"
        );
    }
    // Too long: refused by its head alone.
    old.send(b"POST / HTTP/1.1\r\nContent-Length: 1500001\r\n\r\n")
        .await;
    assert_eq!(old.expect().await.status, 413);
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takeover_without_the_secret() {
    let mut flow = Flow::start(|_| {}).await;
    let plain = |token: Option<&str>| {
        let mut register = Register::new(HOLDER, AppType::EasyCamera, TerminalType::Linux);
        register.token = token.map(Into::into);
        register
    };
    let mut thief = stranger(&flow).await;
    for token in [None, Some(""), Some("the holder's key"), Some("x")] {
        let answer = thief.ask(&plain(token).to_envelope(1)).await;
        assert_eq!(code(&answer), 401, "{token:?}");
    }
    assert_eq!(code(&thief.login(HOLDER, "another key").await), 401);
    // A proof for a challenge that was not made here, and one that was sent back to its maker.
    let mut register = plain(None);
    register.auth = Some(login::ED1.into());
    register.client_nonce = Some("n".into());
    register.proof = Some("cHJvb2Y".into());
    register.nonce = Some("m".into());
    assert_eq!(code(&thief.ask(&register.to_envelope(2)).await), 401);
    // From a connection that is somebody else's.
    let mut old = from(&flow, [127, 0, 0, 67]).await;
    assert_eq!(code(&old.register(OLD, OLD_TOKEN).await), 200);
    assert_eq!(
        code(&old.ask(&plain(Some(OLD_TOKEN)).to_envelope(3)).await),
        400
    );
    // A node's words without the join key.
    for kind in [
        MessageType::FreeStreamReq,
        MessageType::NodeReport,
        MessageType::NodeEvent,
    ] {
        let mut message = Envelope::request(kind, 4);
        message.body.set("Serial", HOLDER).set("Channel", "1");
        message
            .body
            .set("Protocol", "RTSP")
            .set("Path", format!("{HOLDER}/1"));
        let mut stranger = from(&flow, [127, 0, 0, 68]).await;
        assert_ne!(code(&stranger.ask(&message).await), 200, "{kind:?}");
    }
    flow.undisturbed().await;
    // Answers to questions that the CMS asked somebody else.
    let mut ack = Envelope::answer(
        MessageType::PushStreamAck,
        "1",
        easydarwin_core::protocol::ErrorNum::OK,
    );
    ack.body.set("Serial", HOLDER).set("Channel", "1");
    assert_eq!(code(&thief.ask(&ack).await), 401);
    flow.end().await;
}
