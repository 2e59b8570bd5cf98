//! Streams pushed on to another instance.

use std::time::Duration;

use easydarwin_core::forward::{ForwardInfo, ForwardMode, ForwardSpec};
use easydarwin_core::pull::{FailureKind, LinkState, SourceMode, SourceSpec};
use easydarwin_core::registry::AllowAll;
use easydarwin_core::server::{MediaServer, ServerHandle};

use super::support::{Server, Source, path, sequence, within};

fn spec(name: &str, url: &str) -> ForwardSpec {
    ForwardSpec::new(path(name), url.parse().unwrap())
}

async fn until(handle: &ServerHandle, what: impl Fn(&ForwardInfo) -> bool) -> ForwardInfo {
    within(async {
        loop {
            let list = handle.forwards().list();
            if let Some(info) = list.into_iter().find(&what) {
                return info;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn gone(server: &Server, name: &str) {
    within(async {
        while server.hub().get(&path(name)).is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_stream_is_live_and_across_a_restart_of_the_other_server() {
    let origin = Server::open().await;
    let backup = Server::open().await;
    let forwards = origin.handle.forwards();
    let spec = spec("cam/1", &backup.url("copy/1"));
    forwards.add(spec.clone()).await.unwrap();
    assert!(forwards.add(spec.clone()).await.is_err());
    assert_eq!(forwards.list()[0].state, LinkState::Stopped);

    let source = Source::start(origin.hub(), "cam/1");
    until(&origin.handle, |info| info.state == LinkState::Playing).await;
    let mut client = backup.connect().await;
    client.play(&backup.url("copy/1")).await;
    let mut last: Option<u16> = None;
    for _ in 0..100 {
        let packet = within(client.packet()).await.expect("media");
        let sequence = sequence(&packet);
        assert!(last.is_none_or(|last| sequence == last.wrapping_add(1)));
        last = Some(sequence);
    }
    let info = &forwards.list()[0];
    assert!(info.reader.as_ref().unwrap().packets >= 100);
    // A forward of what is live anyway is no viewer.
    assert_eq!(origin.hub().info().viewers, 0);

    // The other server restarts on the same port.
    let address = backup.addr;
    backup.stop().await;
    let info = until(&origin.handle, |info| info.state == LinkState::Waiting).await;
    assert!(info.counters.last_error.is_some());
    let builder = MediaServer::builder().rtsp(address).authorizer(AllowAll);
    let backup = Server::of(builder).await;
    let info = until(&origin.handle, |info| info.counters.reconnects == 1).await;
    assert_eq!(info.counters.connects, 2);
    let mut client = backup.connect().await;
    client.play(&backup.url("copy/1")).await;
    within(client.packet()).await.expect("media again");

    // The stream ends here, so it ends there, by TEARDOWN; that is no failure.
    let failures: u64 = info.counters.failures.values().sum();
    drop(source);
    gone(&backup, "copy/1").await;
    let info = until(&origin.handle, |info| info.state == LinkState::Stopped).await;
    assert_eq!(info.counters.failures.values().sum::<u64>(), failures);
    let _source = Source::start(origin.hub(), "cam/1");
    until(&origin.handle, |info| info.state == LinkState::Playing).await;
    assert_eq!(forwards.remove(&path("cam/1"), None).await.unwrap(), 1);
    gone(&backup, "copy/1").await;
    assert!(forwards.list().is_empty());
    origin.stop().await;
    backup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanent_one_starts_and_holds_its_source() {
    let camera = Server::open().await;
    let _source = Source::start(camera.hub(), "live/1");
    let edge = Server::open().await;
    let backup = Server::open().await;
    let mut pulled = SourceSpec::new(path("cam/1"), camera.url("live/1").parse().unwrap());
    pulled.mode = SourceMode::OnDemand;
    edge.handle.pulls().add(pulled).await.unwrap();
    let mut held = spec("cam/1", &backup.url("copy/1"));
    held.mode = ForwardMode::Permanent;
    edge.handle.forwards().add(held).await.unwrap();
    until(&edge.handle, |info| info.state == LinkState::Playing).await;
    let mut client = backup.connect().await;
    client.play(&backup.url("copy/1")).await;
    within(client.packet()).await.expect("media");
    assert_eq!(edge.hub().info().viewers, 1, "it holds the source");
    for server in [edge, camera, backup] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses() {
    let origin = Server::open().await;
    let closed = Server::of(MediaServer::builder()).await;
    let _source = Source::start(origin.hub(), "cam/1");
    let url = closed.url("copy/1").replace("rtsp://", "rtsp://u:hush@");
    origin
        .handle
        .forwards()
        .add(spec("cam/1", &url))
        .await
        .unwrap();
    let info = until(&origin.handle, |info| info.state == LinkState::Waiting).await;
    assert_eq!(info.reason, Some(FailureKind::Unauthorized));
    assert!(info.next_attempt_ms.unwrap() > 20_000);
    assert!(!format!("{info:?}").contains("hush"));
    origin.stop().await;
    closed.stop().await;
}
