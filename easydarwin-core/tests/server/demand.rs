//! Streams that start when somebody asks for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use easydarwin_core::registry::{AllowAll, Principal, StreamPath};
use easydarwin_core::relay::{Hub, RelayConfig};
use easydarwin_core::server::{DemandError, Limits, MediaServer, OnDemand};
use parking_lot::Mutex;

use crate::support::{Server, Source, within};

/// Brings `cam/…`; never answers for `slow/…`.
struct Cameras {
    hub: Hub,
    running: Mutex<Vec<Source>>,
    waiting: Arc<AtomicUsize>,
}

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl OnDemand for Cameras {
    async fn demand(&self, path: &StreamPath, _viewer: &Principal) -> Result<(), DemandError> {
        match path.as_device() {
            Some(("cam", _)) => {
                self.running
                    .lock()
                    .push(Source::start(&self.hub, path.as_str()));
                Ok(())
            }
            Some(("slow", _)) => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                let _waiting = Waiting(self.waiting.clone());
                std::future::pending().await
            }
            Some(("broken", _)) => Err(DemandError::Failed("the device refused".into())),
            Some(("away", _)) => Err(DemandError::Unavailable("no link to the CMS".into())),
            _ => Err(DemandError::NotFound),
        }
    }
}

async fn server(deadline: Duration) -> (Server, Arc<AtomicUsize>) {
    let hub = Hub::new(RelayConfig::default());
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut limits = Limits::default();
    limits.demand = deadline;
    let builder = MediaServer::builder()
        .authorizer(AllowAll)
        .hub(hub.clone())
        .limits(limits)
        .on_demand(Cameras {
            hub,
            running: Mutex::default(),
            waiting: waiting.clone(),
        });
    (Server::of(builder).await, waiting)
}

#[tokio::test]
async fn a_missing_stream_is_started() {
    let (server, _) = server(Duration::from_secs(10)).await;
    let mut player = server.connect().await;
    player.play(&server.url("cam/1")).await;
    assert!(within(player.packet()).await.is_some());
    server.stop().await;
}

#[tokio::test]
async fn failures_name_the_stage() {
    let (server, _) = server(Duration::from_millis(200)).await;
    let mut player = server.connect().await;
    for (path, status, text) in [
        ("broken/1", 504, "refused"),
        ("away/1", 503, "CMS"),
        ("unknown/1", 404, ""),
        ("slow/1", 504, "did not start"),
    ] {
        let response = player.describe(&server.url(path)).await;
        assert_eq!(response.status, status, "{path}");
        assert!(response.reason.contains(text), "{path}: {response:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_viewer_that_leaves_takes_its_demand_back() {
    let (server, waiting) = server(Duration::from_secs(60)).await;
    let mut player = server.connect().await;
    let url = server.url("slow/1");
    player.write_request("DESCRIBE", &url, &[], "").await;
    within(async {
        while waiting.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(player);
    within(async {
        while waiting.load(Ordering::SeqCst) != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    server.stop().await;
}
