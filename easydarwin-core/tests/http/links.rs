//! Sources and forwards through the node's API.

use std::net::SocketAddr;
use std::time::Duration;

use easydarwin_core::http::HttpConfig;
use easydarwin_core::pull::{NoSourceStore, SourceFile};
use easydarwin_core::registry::AllowAll;
use easydarwin_core::server::MediaServer;

use super::client::{Answer, get, request, until_closed};

const ADMIN: &[&str] = &["Authorization: Bearer admin"];

/// A server with this API, until the sender is dropped.
async fn serve(store: Option<SourceFile>) -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let mut config = HttpConfig::default();
    config.api_tokens = vec!["admin".into()];
    let builder = MediaServer::builder()
        .authorizer(AllowAll)
        .http(([127, 0, 0, 1], 0).into())
        .http_config(config);
    let builder = match store {
        Some(file) => builder.source_store(file),
        None => builder.source_store(NoSourceStore),
    };
    let server = builder.build().await.unwrap();
    let address = server.http_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    (address, stop)
}

async fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Authorization: Bearer admin\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let bytes = until_closed(address, head.as_bytes()).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn list(address: SocketAddr, what: &str) -> Answer {
    let answer = get(address, &format!("/api/v1/{what}"), ADMIN).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("hush"), "{}", answer.text());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_added_listed_changed_and_removed_and_outlive_the_process() {
    let file = std::env::temp_dir().join(format!("easydarwin-links-{}.json", std::process::id()));
    let (address, stop) = serve(Some(SourceFile::new(&file))).await;
    for path in ["/api/v1/sources", "/api/v1/forwards"] {
        assert_eq!(get(address, path, &[]).await.status, 401);
    }
    let source = r#"{"path":"cam/1","url":"rtsp://u:hush@127.0.0.1:1/a?token=hush","mode":"on-demand","user":"u","password":"hush"}"#;
    let (status, body) = send(address, "POST", "/api/v1/sources", source).await;
    assert_eq!(status, 201, "{body}");
    assert!(
        body.contains(r#""url":"rtsp://127.0.0.1:1/a?token=***""#),
        "{body}"
    );
    assert!(body.contains(r#""state":"stopped""#), "{body}");
    assert_eq!(
        send(address, "POST", "/api/v1/sources", source).await.0,
        409
    );
    let (status, body) = send(
        address,
        "POST",
        "/api/v1/sources",
        r#"{"path":"x/1","url":"http://u:hush@h"}"#,
    )
    .await;
    assert_eq!(status, 400);
    assert!(
        body.contains("no usable RTSP URL") && !body.contains("hush"),
        "{body}"
    );
    let forward = r#"{"path":"cam/1","url":"rtsp://u:hush@127.0.0.1:1/b"}"#;
    let (status, body) = send(address, "POST", "/api/v1/forwards", forward).await;
    assert_eq!((status, body.contains("hush")), (201, false), "{body}");
    assert_eq!(
        send(address, "PUT", "/api/v1/forwards", forward).await.0,
        200
    );
    let changed = r#"{"path":"cam/1","url":"rtsp://u:hush@127.0.0.1:2/a"}"#;
    let (status, body) = send(address, "PUT", "/api/v1/sources", changed).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(r#""mode":"permanent""#), "{body}");
    let missing = r#"{"path":"cam/9","url":"rtsp://127.0.0.1:2/a"}"#;
    assert_eq!(
        send(address, "PUT", "/api/v1/sources", missing).await.0,
        404
    );
    stop.send(()).unwrap();

    // Another process, the same file.
    let (address, _stop) = serve(Some(SourceFile::new(&file))).await;
    let one = get(address, "/api/v1/sources/cam/1", ADMIN).await;
    assert_eq!(one.status, 200);
    assert!(one.text().contains("127.0.0.1:2"), "{}", one.text());
    // Nobody listens there: it tries, waits and says so.
    let waiting = async {
        loop {
            let text = list(address, "sources").await.text().to_owned();
            if text.contains(r#""reason":"unreachable""#) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let text = tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap();
    assert!(
        text.contains(r#""last_error":"cannot be reached: "#),
        "{text}"
    );
    assert!(
        list(address, "forwards")
            .await
            .text()
            .contains(r#""state":"stopped""#)
    );
    let removed = request(address, "DELETE", "/api/v1/forwards/cam/1", ADMIN).await;
    assert_eq!(removed.text(), r#"{"removed":1}"#);
    let removed = request(address, "DELETE", "/api/v1/sources/cam/1", ADMIN).await;
    assert_eq!(removed.status, 200);
    let again = request(address, "DELETE", "/api/v1/sources/cam/1", ADMIN).await;
    assert_eq!(again.status, 404);
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(!kept.contains("cam/1"), "{kept}");
    std::fs::remove_file(&file).unwrap();
}
