//! Players are sent to where the stream is.

use async_trait::async_trait;
use easydarwin_core::client::{ClientError, ClientOptions, Player};
use easydarwin_core::pull::{LinkState, SourceSpec};
use easydarwin_core::registry::{AllowAll, Principal, StreamPath};
use easydarwin_core::rtsp::RedirectError;
use easydarwin_core::server::{DemandError, MediaServer, OnDemand};

use super::support::{Server, Source, path, within};

/// Knows where streams are.
struct Door(String);

#[async_trait]
impl OnDemand for Door {
    async fn demand(&self, path: &StreamPath, _viewer: &Principal) -> Result<(), DemandError> {
        let url = format!("{}/{path}?token=hush", self.0);
        Err(DemandError::Redirect(url.parse().unwrap()))
    }
}

async fn door(to: &str) -> Server {
    let door = Door(to.to_owned());
    Server::of(MediaServer::builder().authorizer(AllowAll).on_demand(door)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn describe_is_answered_with_the_url() {
    let node = Server::open().await;
    let _source = Source::start(node.hub(), "cam/1");
    let door = door(&format!("rtsp://{}", node.addr)).await;
    let mut client = door.connect().await;
    let answer = client.describe(&door.url("cam/1")).await;
    assert_eq!(answer.status, 302);
    let location = node.url("cam/1?token=hush");
    assert_eq!(answer.header("Location"), Some(&*location));
    assert_eq!(answer.header("Content-Base"), None);

    // Our client follows it, and so does a source.
    let mut player = within(Player::connect(
        &door.url("cam/1"),
        ClientOptions::default(),
    ))
    .await
    .unwrap();
    assert!(within(player.next_packet()).await.unwrap().is_some());
    let edge = Server::open().await;
    let source = SourceSpec::new(path("copy/1"), door.url("cam/1").parse().unwrap());
    edge.handle.pulls().add(source).await.unwrap();
    let info = within(async {
        loop {
            let info = edge.handle.pulls().get(&path("copy/1")).unwrap();
            if info.state == LinkState::Playing {
                return info;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!((info.counters.redirects, info.counters.attempts), (1, 2));
    for server in [edge, door, node] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_that_leads_to_itself() {
    // Bound first, so that the door knows its own address.
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let door = Door(format!("rtsp://{address}"));
    let builder = MediaServer::builder()
        .rtsp(address)
        .authorizer(AllowAll)
        .on_demand(door);
    let door = Server::of(builder).await;
    let url = door.url("cam/1?token=hush");
    let error = within(Player::connect(&url, ClientOptions::default()))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::Redirect(RedirectError::Loop)),
        "{error}"
    );
    door.stop().await;
}
