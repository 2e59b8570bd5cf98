//! IPv6, and both families on one socket.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use easydarwin_core::client::{ClientOptions, ClientTransport};
use easydarwin_core::registry::{AccessRequest, AllowAll, Authorizer, Denied, Principal};
use easydarwin_core::server::MediaServer;

use crate::support::{Rtsp, Server, Source};
use crate::tunnel::{publish_and_play, tunnelled};

const ALL: [ClientTransport; 2] = [ClientTransport::Tcp, ClientTransport::Udp];

#[tokio::test]
async fn everything_over_v6() {
    let loopback = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let builder = MediaServer::builder().authorizer(AllowAll).rtsp(loopback);
    let server = Server::of(builder).await;
    assert!(server.url("x").starts_with("rtsp://[::1]:"));
    for transport in ALL {
        let mut options = ClientOptions::default();
        options.transport = transport;
        publish_and_play(&server.url("cam/1"), &options).await;
    }
    publish_and_play(&server.url("cam/1"), &tunnelled()).await;
    let _source = Source::start(server.hub(), "cam/2");
    let mut client = server.connect().await;
    let url = server.url("cam/2");
    // By path alone, too: what stands for the host is the address that was connected to.
    for asked in [&*url, "/cam/2"] {
        let sdp = client.describe(asked).await.text();
        assert!(sdp.contains("c=IN IP6 ::\r\n"), "{sdp}");
        assert!(sdp.contains("IN IP6 ::1\r\n"), "{sdp}");
        assert!(
            sdp.contains(&format!("a=control:{url}/trackID=0\r\n")),
            "{sdp}"
        );
    }
    server.stop().await;
}

/// Lets everybody in and remembers from where.
#[derive(Debug, Clone, Default)]
struct Remember(Arc<Mutex<Vec<SocketAddr>>>);

#[async_trait]
impl Authorizer for Remember {
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        self.0.lock().unwrap().push(request.peer);
        Ok(Principal::Anonymous)
    }
}

#[tokio::test]
async fn both_families_on_one_socket_and_addresses_as_they_are() {
    let remember = Remember::default();
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let builder = MediaServer::builder()
        .authorizer(remember.clone())
        .rtsp(everywhere);
    let server = Server::of(builder).await;
    let port = server.addr.port();
    for (host, family) in [("127.0.0.1", "IP4"), ("[::1]", "IP6")] {
        let url = format!("rtsp://{host}:{port}/cam/1");
        for transport in ALL {
            let mut options = ClientOptions::default();
            options.transport = transport;
            publish_and_play(&url, &options).await;
        }
        publish_and_play(&url, &tunnelled()).await;
        let _source = Source::start(server.hub(), "cam/2");
        let mut client = Rtsp::connect(format!("{host}:{port}").parse().unwrap()).await;
        let sdp = client.describe("/cam/2").await.text();
        assert!(sdp.contains(&format!("c=IN {family} ")), "{sdp}");
        assert!(
            sdp.contains(&format!("rtsp://{host}:{port}/cam/2/")),
            "{sdp}"
        );
        let peers = std::mem::take(&mut *remember.0.lock().unwrap());
        let expected: SocketAddr = format!("{host}:0").parse().unwrap();
        assert!(
            peers.iter().all(|peer| peer.ip() == expected.ip()),
            "{peers:?}"
        );
    }
    server.stop().await;
}
