//! Streams on request: every stage, every way to fail, the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::time::Duration;

use common::{FakeNode, Peer, TestCms, code};
use easydarwin_core::protocol::node::{Close, Demand, DemandAck, NodeStream, StreamChange};
use easydarwin_core::protocol::{
    AppType, ChannelInfo, Envelope, ErrorNum, FreeStream, MessageType, PushAck, PushRequest,
    Register, StopAck, StopRequest, StreamRef, TerminalType,
};
use easydarwin_core::registry::{TokenAction, TokenVerifier, UnixMillis};

const KEY: &str = "the camera's key";

async fn cms() -> TestCms {
    let cms = TestCms::start(|config| {
        config.push_ack = Duration::from_millis(300);
        config.first_picture = Duration::from_millis(500);
    })
    .await;
    cms.handle.provision_key("cam", KEY).await.unwrap();
    cms.handle.provision_token("old", "123456").await.unwrap();
    cms
}

async fn camera(cms: &TestCms) -> Peer {
    let mut camera = cms.connect().await;
    assert_eq!(code(&camera.login("cam", KEY).await), 200);
    camera
}

/// Takes the push request and answers it.
async fn accept_push(camera: &mut Peer, error: ErrorNum) -> PushRequest {
    let message = camera.expect().await.envelope();
    let push = PushRequest::from_envelope(&message).unwrap();
    let ack = PushAck::answer(&push, error).to_envelope(&message.cseq());
    camera.send_message(&ack).await;
    push
}

#[tokio::test]
async fn a_stream_comes_in_all_its_stages_and_goes_when_nobody_watches() {
    let cms = cms().await;
    let mut node = FakeNode::join(&cms, "n1").await;
    let mut camera = camera(&cms).await;
    let device = async {
        let push = accept_push(&mut camera, ErrorNum::OK).await;
        let grant = node.granted().await;
        assert_eq!(
            (push.server_ip.as_str(), push.server_port),
            ("127.0.0.2", 11554)
        );
        assert_eq!(push.generation, Some(grant.generation));
        // It brings a token, so no address is let in without one.
        assert_eq!(grant.source, None);
        node.tell(StreamChange::Published, "cam/1", grant.generation);
        node.tell(StreamChange::Ready, "cam/1", grant.generation);
        (push, grant)
    };
    let (answer, (push, grant)) = tokio::join!(
        cms.api("startdevicestream?device=cam&channel=1&protocol=RTSP"),
        device
    );
    assert_eq!(code(&answer), 200);
    let service = answer.body.text_or_empty("Service");
    let own = format!("IP=127.0.0.1;Port={};Type=EasyDarwin", cms.addr.port());
    assert!(service.starts_with("IP=127.0.0.1;Port=") && own.ends_with("EasyDarwin"));

    // The token that the camera got lets it publish this, and nothing else.
    let verifier = TokenVerifier::new();
    verifier
        .set_keys([public_key(&cms).await.as_str()])
        .unwrap();
    let claims = verifier
        .verify(&push.stream_id.unwrap(), UnixMillis::system())
        .unwrap();
    assert_eq!(claims.action, TokenAction::Publish);
    assert_eq!(claims.path.as_str(), "cam/1");
    assert_eq!(claims.generation, Some(grant.generation));

    // It is live: no second push, and URLs of every kind.
    for (protocol, begin) in [
        ("RTSP", "rtsp://127.0.0.2:11554/cam/1?token="),
        ("rtsps", "rtsps://127.0.0.2:11322/cam/1?token="),
        ("hls", "http://127.0.0.2:11080/t/"),
        ("WS", "ws://127.0.0.2:11080/t/"),
    ] {
        let answer = cms
            .api(&format!("getdevicestream?device=cam&protocol={protocol}"))
            .await;
        assert_eq!(code(&answer), 200);
        let url = answer.body.text_or_empty("URL");
        assert!(url.starts_with(begin), "{url}");
        assert_eq!(
            answer.body.text_or_empty("PlayerURL"),
            "http://127.0.0.2:11080/player.js"
        );
    }
    assert_eq!(
        code(&cms.api("livedevicestream?device=cam&channel=1").await),
        200
    );

    // The node has no viewers: closed there if still so, then the device is told.
    let free = FreeStream::new(StreamRef::new("cam", 1), Some(grant.generation));
    node.send(free.to_envelope(77));
    let ack = node.asked(MessageType::FreeStreamAck).await;
    assert_eq!((code(&ack), ack.cseq().as_str()), (200, "77"));
    let close = Close::from_envelope(&node.asked(MessageType::NodeCloseReq).await).unwrap();
    assert_eq!(close, Close::new("cam/1", grant.generation, true));
    let stop = camera.expect().await.envelope();
    assert_eq!(StopRequest::from_envelope(&stop).unwrap().channel, 1);
    cms.stop().await;
}

async fn public_key(cms: &TestCms) -> String {
    let mut peer = cms.connect().await;
    let ack = FakeNode::join_with(&mut peer, "key-reader", cms.handle.join_key()).await;
    ack.keys[0].key.clone()
}

#[tokio::test]
async fn a_hundred_callers_make_one_push() {
    let cms = cms().await;
    let mut node = FakeNode::join(&cms, "n1").await;
    let mut camera = camera(&cms).await;
    let callers = futures_join((0..100).map(|_| cms.api("startdevicestream?device=cam")));
    let device = async {
        accept_push(&mut camera, ErrorNum::OK).await;
        let grant = node.granted().await;
        node.tell(StreamChange::Ready, "cam/1", grant.generation);
    };
    let (answers, ()) = tokio::join!(callers, device);
    assert!(answers.iter().all(|answer| code(answer) == 200));
    // Had there been a second push, it would stand before this answer.
    let again = camera.register("cam", "").await;
    assert_eq!(again.kind(), Some(MessageType::RegisterAck));
}

async fn futures_join<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut set: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        set.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if set.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done
}

#[tokio::test]
async fn an_old_camera_is_granted_by_its_address_and_gets_no_token() {
    let cms = cms().await;
    let mut node = FakeNode::join(&cms, "n1").await;
    let mut camera = cms.connect().await;
    assert_eq!(code(&camera.register("old", "123456").await), 200);
    let device = async {
        let push = accept_push(&mut camera, ErrorNum::OK).await;
        assert_eq!((push.stream_id, push.server_host), (None, None));
        let grant = node.granted().await;
        assert_eq!(grant.source, Some([127, 0, 0, 1].into()));
        node.tell(StreamChange::Ready, "old/1", grant.generation);
    };
    let (answer, ()) = tokio::join!(cms.api("startdevicestream?device=old"), device);
    assert_eq!(code(&answer), 200);
}

#[tokio::test]
async fn every_failure_is_answered_in_time_and_names_its_stage() {
    let cms = cms().await;
    let start = "startdevicestream?device=cam";
    let expect = |answer: Envelope, error: u16, stage: &str| {
        assert_eq!(
            (code(&answer), answer.body.text_or_empty("Stage").as_str()),
            (error, stage)
        );
        assert_eq!(answer.body.text_or_empty("Service"), "");
    };
    expect(cms.api(start).await, 603, "device");
    let mut camera = camera(&cms).await;
    expect(cms.api(start).await, 503, "node");

    let mut node = FakeNode::join(&cms, "n1").await;
    // Silent.
    expect(cms.api(start).await, 408, "push");
    assert_eq!(
        camera.expect().await.envelope().kind(),
        Some(MessageType::PushStreamReq)
    );
    // Refuses.
    let refuse = accept_push(&mut camera, ErrorNum::from_code(404));
    let (answer, _) = tokio::join!(cms.api(start), refuse);
    expect(answer, 404, "push");
    // Agrees and never comes to the node.
    let (answer, _) = tokio::join!(cms.api(start), accept_push(&mut camera, ErrorNum::OK));
    expect(answer, 408, "publish");
    stopped(&mut camera).await;
    // Comes and never sends a key frame.
    let device = async {
        accept_push(&mut camera, ErrorNum::OK).await;
        let mut grant = node.granted().await;
        while let Ok(newer) = node.asked.try_recv() {
            grant = easydarwin_core::protocol::node::Grant::from_envelope(&newer).unwrap_or(grant);
        }
        node.tell(StreamChange::Published, "cam/1", grant.generation);
        grant.generation
    };
    let (answer, generation) = tokio::join!(cms.api(start), device);
    expect(answer, 408, "picture");
    let close = node.asked(MessageType::NodeCloseReq).await;
    assert_eq!(Close::from_envelope(&close).unwrap().generation, generation);
    stopped(&mut camera).await;
    node.tell(StreamChange::Ended, "cam/1", generation);
    while !cms.handle.nodes().streams().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // Its connection ends in the middle.
    let device = async {
        camera.expect().await;
        drop(camera);
    };
    let (answer, ()) = tokio::join!(cms.api(start), device);
    expect(answer, 503, "push");
}

async fn stopped(camera: &mut Peer) {
    let message = camera.expect().await.envelope();
    assert_eq!(message.kind(), Some(MessageType::StopStreamReq));
}

#[tokio::test]
async fn an_old_camera_that_pushes_elsewhere_is_stopped_and_moved() {
    let cms = cms().await;
    let mut node = FakeNode::join(&cms, "n1").await;
    let mut camera = cms.connect().await;
    camera.register("old", "123456").await;
    let device = async {
        let message = camera.expect().await.envelope();
        let mut push = PushRequest::from_envelope(&message).unwrap();
        // Its first target, which it keeps.
        push.server_ip = "127.0.0.9".into();
        let ack = PushAck::answer(&push, ErrorNum::OK).to_envelope(&message.cseq());
        camera.send_message(&ack).await;
        let message = camera.expect().await.envelope();
        let stop = StopRequest::from_envelope(&message).unwrap();
        let ack = StopAck::answer(&stop, ErrorNum::OK).to_envelope(&message.cseq());
        camera.send_message(&ack).await;
        accept_push(&mut camera, ErrorNum::OK).await;
        let grant = node.granted().await;
        node.tell(StreamChange::Ready, "old/1", grant.generation);
    };
    let (answer, ()) = tokio::join!(cms.api("startdevicestream?device=old"), device);
    assert_eq!(code(&answer), 200);
}

#[tokio::test]
async fn a_push_that_ends_before_its_picture_is_told_at_once() {
    let cms = TestCms::start(|_| {}).await;
    cms.handle.provision_key("cam", KEY).await.unwrap();
    let mut node = FakeNode::join(&cms, "n1").await;
    let mut camera = camera(&cms).await;
    let device = async {
        accept_push(&mut camera, ErrorNum::OK).await;
        let grant = node.granted().await;
        node.tell(StreamChange::Published, "cam/1", grant.generation);
        node.tell(StreamChange::Ended, "cam/1", grant.generation);
    };
    let (answer, ()) = tokio::join!(cms.api("startdevicestream?device=cam"), device);
    assert_eq!(code(&answer), 503);
    assert_eq!(answer.body.text_or_empty("Stage"), "picture");
}

#[tokio::test]
async fn a_recorders_channels_are_known_offline_or_not_there() {
    let cms = TestCms::start(|c| c.policy = easydarwin_cms::Policy::Open).await;
    let _node = FakeNode::join(&cms, "n1").await;
    let mut nvr = cms.connect().await;
    let mut register = Register::new("nvr", AppType::EasyNvr, TerminalType::Linux);
    for (channel, online) in [(1, true), (2, false)] {
        let name = format!("Cam{channel}");
        register.channels.push(ChannelInfo {
            channel,
            name,
            online,
        });
    }
    assert_eq!(code(&nvr.ask(&register.to_envelope(1)).await), 200);
    for (channel, error) in [(2, 404), (3, 404)] {
        let answer = cms
            .api(&format!("startdevicestream?device=nvr&channel={channel}"))
            .await;
        assert_eq!(code(&answer), error);
        assert_eq!(answer.body.text_or_empty("Stage"), "device");
    }
    let (answer, push) = tokio::join!(
        cms.api("startdevicestream?device=nvr&channel=01"),
        accept_push(&mut nvr, ErrorNum::from_code(500))
    );
    assert_eq!((code(&answer), push.channel), (500, 1));
}

#[tokio::test]
async fn a_viewer_at_the_node_gets_the_stream_there() {
    let cms = cms().await;
    let mut node = FakeNode::join(&cms, "n1").await;
    let _other = FakeNode::join(&cms, "a-node-that-sorts-first").await;
    let mut camera = camera(&cms).await;
    let demand = |path: &str| Demand { path: path.into() }.to_envelope(5);
    node.send(demand("cam/1"));
    accept_push(&mut camera, ErrorNum::OK).await;
    let grant = node.granted().await;
    node.tell(StreamChange::Ready, "cam/1", grant.generation);
    let ack = node.asked(MessageType::NodeDemandAck).await;
    assert_eq!(
        DemandAck::from_envelope(&ack).unwrap(),
        DemandAck::new("cam/1", ErrorNum::OK, "ready")
    );
    for path in ["nobody/1", "not/a/device"] {
        node.send(demand(path));
        let ack = node.asked(MessageType::NodeDemandAck).await;
        assert!(code(&ack) == 603 || code(&ack) == 404);
    }
}

#[tokio::test]
async fn what_a_node_says_it_has_is_live_and_goes_with_the_node() {
    let cms = cms().await;
    let mut peer = cms.connect().await;
    FakeNode::join_with(&mut peer, "n1", cms.handle.join_key()).await;
    let mut stream = NodeStream::new("cam/1", 1);
    stream.ready = true;
    let node = FakeNode::serve(peer, vec![stream]).await;
    // No device is registered, yet the picture is there.
    let answer = cms.api("getdevicestream?device=cam&protocol=RTSP").await;
    assert_eq!(code(&answer), 200);
    node.die().await;
    let nodes = cms.handle.nodes();
    while !nodes.nodes().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        code(&cms.api("getdevicestream?device=cam&protocol=RTSP").await),
        603
    );
}

#[tokio::test]
async fn a_silent_node_is_dead_and_a_stranger_is_none() {
    let cms = TestCms::start(|c| c.node_lease = Duration::from_millis(300)).await;
    let mut stranger = cms.connect().await;
    let ack = FakeNode::join_with(&mut stranger, "n1", "a wrong key").await;
    assert_eq!(ack.error, ErrorNum::UNAUTHORIZED);
    assert!(ack.keys.is_empty() && ack.server_proof.is_none());
    // Nor can it end other people's streams, or report.
    let mut free = FreeStream::new(StreamRef::new("cam", 1), None).to_envelope(1);
    free.header.set("From", "nobody");
    let report = easydarwin_core::protocol::node::Report::default();
    let ack = stranger.ask(&report.to_envelope(2)).await;
    assert_eq!(code(&ack), 604);

    let mut silent = cms.connect().await;
    FakeNode::join_with(&mut silent, "n2", cms.handle.join_key()).await;
    assert_eq!(cms.handle.nodes().nodes().await.unwrap().len(), 1);
    silent.closed().await;
    while !cms.handle.nodes().nodes().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}
