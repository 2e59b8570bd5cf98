//! Failed logins are answered late, right ones at once.

use std::time::{Duration, Instant};

use easydarwin_core::rtsp::auth::{AuthParams, answer_digest};
use easydarwin_core::server::BackoffConfig;

use crate::support::{Rtsp, Server, Source, within};
use crate::with_users;

/// DESCRIBE twice, as clients do; the status of the second and the time until it.
async fn log_in(client: &mut Rtsp, url: &str, password: &str) -> (u16, Duration) {
    let first = client.describe(url).await;
    assert_eq!(first.status, 401);
    let challenge = AuthParams::parse_list(first.header("WWW-Authenticate").unwrap()).remove(0);
    let target = ("DESCRIBE", url);
    let value = answer_digest(&challenge, ("viewer", password), target, 1, "c").unwrap();
    let begun = Instant::now();
    let answer = client
        .request("DESCRIBE", url, &[("Authorization", &value)], "")
        .await;
    (answer.status, begun.elapsed())
}

#[tokio::test]
async fn only_the_wrong_wait_and_only_so_many() {
    let mut config = BackoffConfig::default();
    config.free = 1;
    let delay = Duration::from_secs(3);
    config.first_delay = delay;
    config.max_delay = delay;
    config.waiting_per_address = 2;
    let server = Server::of(with_users().backoff(config)).await;
    let _source = Source::start(server.hub(), "hall/1");
    let url = server.url("hall/1");
    let mut client = server.connect().await;
    let (status, _) = log_in(&mut client, &url, "wrong").await;
    assert_eq!(status, 401);
    // Two answers wait, a third is one too many: answered at once, connection closed.
    let wrong = |mut client: Rtsp, url: String| async move {
        let result = log_in(&mut client, &url, "wrong").await;
        (client, result)
    };
    let two = [
        tokio::spawn(wrong(server.connect().await, url.clone())),
        tokio::spawn(wrong(server.connect().await, url.clone())),
    ];
    within(async {
        while server.handle.backoff().waiting < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (mut third, (status, _)) = wrong(server.connect().await, url.clone()).await;
    assert_eq!(status, 401);
    third.closed().await;
    assert_eq!(server.handle.backoff().waiting, 2, "the others still wait");
    // The right password, from the same address, in the midst of it.
    let mut right = server.connect().await;
    let (status, _) = log_in(&mut right, &url, "look").await;
    assert_eq!(status, 200);
    assert_eq!(server.handle.backoff().waiting, 2, "it waited for nobody");
    for task in two {
        let (mut client, (status, after)) = within(task).await.unwrap();
        assert_eq!(status, 401);
        assert!(after >= delay, "{after:?}");
        // The connection is good for another try.
        assert_eq!(log_in(&mut client, &url, "look").await.0, 200);
    }
    let stats = server.handle.backoff();
    assert_eq!(
        (stats.failures, stats.delayed, stats.closed, stats.waiting),
        (4, 2, 1, 0)
    );
    server.stop().await;
}

#[tokio::test]
async fn who_hangs_up_waits_no_more() {
    let mut config = BackoffConfig::default();
    config.free = 0;
    config.first_delay = Duration::from_secs(60);
    config.max_delay = Duration::from_secs(60);
    let server = Server::of(with_users().backoff(config)).await;
    let mut client = server.connect().await;
    let token = [("Authorization", "Bearer no")];
    let url = server.url("hall/1");
    client.write_request("DESCRIBE", &url, &token, "").await;
    let waits = |count| {
        let handle = server.handle.clone();
        within(async move {
            while handle.backoff().waiting != count {
                tokio::task::yield_now().await;
            }
        })
    };
    waits(1).await;
    drop(client);
    waits(0).await;
    server.stop().await;
}

/// One GET without keep-alive: what the server says.
#[cfg(feature = "http")]
async fn get(address: std::net::SocketAddr, path: &str, header: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{header}\r\n");
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[cfg(feature = "http")]
#[tokio::test]
async fn the_other_door_counts_the_same_failures_and_the_api_shows_them() {
    let mut config = BackoffConfig::default();
    config.free = 1;
    config.waiting = 0;
    let mut http = easydarwin_core::http::HttpConfig::default();
    http.api_tokens = vec!["admin".into()];
    let builder = with_users()
        .backoff(config)
        .http(([127, 0, 0, 1], 0).into())
        .http_config(http);
    let server = Server::of(builder).await;
    let address = server.handle.http_addr().unwrap();
    let wrong = "/t/wrong/hall/1/live.mp4";
    assert!(get(address, wrong, "").await.starts_with("HTTP/1.1 401 "));
    assert!(get(address, wrong, "").await.starts_with("HTTP/1.1 429 "));
    let admin = "Authorization: Bearer admin\r\n";
    let shown = get(address, "/api/v1/streams", admin).await;
    let expected =
        r#""failed_logins":{"addresses":1,"closed":1,"delayed":0,"failures":2,"waiting":0}"#;
    assert!(shown.contains(expected), "{shown}");
    server.stop().await;
}
