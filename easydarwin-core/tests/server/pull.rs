//! Streams that the server fetches itself: from another instance of it, over TCP and UDP.

use std::time::{Duration, Instant};

use easydarwin_core::pull::{LinkState, PullTransport, SourceInfo, SourceMode, SourceSpec};
use easydarwin_core::server::ServerHandle;

use super::support::{Rtsp, Server, Source, path, sequence, within};

fn spec(name: &str, url: &str) -> SourceSpec {
    SourceSpec::new(path(name), url.parse().unwrap())
}

/// Waits for a state; nothing in it is timed.
async fn until(
    handle: &ServerHandle,
    name: &str,
    what: impl Fn(&SourceInfo) -> bool,
) -> SourceInfo {
    within(async {
        loop {
            let info = handle.pulls().get(&path(name)).expect("the source");
            if what(&info) {
                return info;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// A player gets every packet of the source in order.
async fn plays_without_a_gap(client: &mut Rtsp, packets: usize) {
    let mut last: Option<u16> = None;
    for _ in 0..packets {
        let packet = within(client.packet()).await.expect("media");
        let sequence = sequence(&packet);
        assert!(last.is_none_or(|last| sequence == last.wrapping_add(1)));
        last = Some(sequence);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanent_source_over_each_transport() {
    let origin = Server::open().await;
    let _source = Source::start(origin.hub(), "cam/1");
    let edge = Server::open().await;
    for transport in [PullTransport::Tcp, PullTransport::Udp] {
        let mut spec = spec("copy/1", &origin.url("cam/1"));
        spec.transports = vec![transport];
        edge.handle.pulls().add(spec).await.unwrap();
        let info = until(&edge.handle, "copy/1", |info| {
            info.state == LinkState::Playing
        })
        .await;
        assert_eq!(info.transport, Some(transport));
        assert_eq!((info.counters.attempts, info.counters.connects), (1, 1));
        let mut client = edge.connect().await;
        client.play(&edge.url("copy/1")).await;
        plays_without_a_gap(&mut client, 100).await;
        edge.handle.pulls().remove(&path("copy/1")).await.unwrap();
        assert!(edge.handle.pulls().get(&path("copy/1")).is_none());
        // The origin's session and the copy are gone, by TEARDOWN and at once.
        within(client.closed()).await;
        within(async {
            while origin.hub().info().viewers > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    edge.stop().await;
    origin.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_demand_from_the_first_viewer_until_after_the_last() {
    let origin = Server::open().await;
    let _source = Source::start(origin.hub(), "cam/1");
    let mut config = easydarwin_core::pull::PullConfig::default();
    config.idle_grace = Duration::from_millis(300);
    let builder = easydarwin_core::server::MediaServer::builder()
        .authorizer(easydarwin_core::registry::AllowAll)
        .pull(config);
    let edge = Server::of(builder).await;
    let mut demanded = spec("copy/1", &origin.url("cam/1"));
    demanded.mode = SourceMode::OnDemand;
    edge.handle.pulls().add(demanded).await.unwrap();
    let info = until(&edge.handle, "copy/1", |_| true).await;
    assert_eq!(
        (info.state, info.counters.attempts),
        (LinkState::Stopped, 0)
    );

    for round in 1..=2 {
        let begin = Instant::now();
        let mut client = edge.connect().await;
        client.play(&edge.url("copy/1")).await;
        plays_without_a_gap(&mut client, 10).await;
        // Ten packets are 200 ms by themselves.
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
        drop(client);
        let info = until(&edge.handle, "copy/1", |info| {
            info.state == LinkState::Stopped
        })
        .await;
        assert_eq!(info.counters.connects, round);
        assert_eq!(info.counters.reconnects, 0);
        within(async {
            while origin.hub().info().viewers > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    edge.stop().await;
    origin.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_stay_while_the_source_is_away() {
    let origin = Server::open().await;
    let edge = Server::open().await;
    let source = Source::start(origin.hub(), "cam/1");
    let handle = &edge.handle;
    handle
        .pulls()
        .add(spec("copy/1", &origin.url("cam/1")))
        .await
        .unwrap();
    until(handle, "copy/1", |info| info.state == LinkState::Playing).await;
    let mut client = edge.connect().await;
    client.play(&edge.url("copy/1")).await;
    plays_without_a_gap(&mut client, 5).await;
    drop(source);
    origin.hub().close(&path("cam/1"), None, false).ok();
    until(handle, "copy/1", |info| info.state == LinkState::Waiting).await;
    let _source = Source::start(origin.hub(), "cam/1");
    let info = until(handle, "copy/1", |info| info.counters.reconnects == 1).await;
    assert!(info.counters.last_error.is_some());
    // The same session goes on: one identity, numbers go on where they were.
    plays_without_a_gap(&mut client, 20).await;
    edge.stop().await;
    origin.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_fetched_says_why() {
    let origin = Server::open().await;
    let edge = Server::open().await;
    let pulls = edge.handle.pulls();
    let mut missing = spec("copy/1", &origin.url("nothing/1"));
    missing.mode = SourceMode::OnDemand;
    pulls.add(missing.clone()).await.unwrap();
    assert!(pulls.add(missing).await.is_err());
    let mut client = edge.connect().await;
    assert_eq!(client.describe(&edge.url("copy/1")).await.status, 404);
    // Nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("rtsp://u:hush@{}/x", closed.local_addr().unwrap());
    drop(closed);
    let mut dead = spec("copy/2", &nowhere);
    dead.mode = SourceMode::OnDemand;
    pulls.add(dead).await.unwrap();
    let refused = client.describe(&edge.url("copy/2")).await;
    assert_eq!(refused.status, 504);
    assert!(refused.reason.contains("refused"), "{}", refused.reason);
    let shown = format!("{:?}", pulls.list());
    assert!(!shown.contains("hush"), "{shown}");
    // Changed to one that is there: no need to wait.
    let _source = Source::start(origin.hub(), "cam/1");
    pulls
        .update(spec("copy/2", &origin.url("cam/1")))
        .await
        .unwrap();
    until(&edge.handle, "copy/2", |info| {
        info.state == LinkState::Playing
    })
    .await;
    edge.stop().await;
    origin.stop().await;
}
