use super::server::{Behaviour, Server};
use super::*;
use crate::rtsp::{RedirectError, Reply, Status};

#[tokio::test]
async fn a_token_is_sent_with_the_first_request() {
    let server = Server::start(Behaviour {
        gate: Some(|_, sent| {
            (sent != Some("Bearer t.o.k")).then(|| Reply::unauthorized(vec!["Bearer".to_owned()]))
        }),
        ..Behaviour::default()
    })
    .await;
    let error = Publisher::connect(&server.url(), description(), ClientOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(Status::UNAUTHORIZED));
    let options = ClientOptions {
        login: Login::Bearer("t.o.k".to_owned()),
        ..ClientOptions::default()
    };
    Publisher::connect(&server.url(), description(), options)
        .await
        .unwrap();
}

#[cfg(feature = "auth")]
#[tokio::test]
async fn user_and_password_of_the_url_answer_a_digest() {
    use crate::rtsp::auth::{AuthConfig, Realm, UserSecret, Verdict, Via};
    use crate::rtsp::{Method, RequestUri};
    let server = Server::start(Behaviour {
        gate: Some(|method, sent| {
            let via = Via {
                peer: [127, 0, 0, 1].into(),
                secure: false,
            };
            let now = std::time::Instant::now();
            let realm = Realm::new(AuthConfig::default(), [1; 32], now);
            let secret = UserSecret::from_password("admin", realm.name(), "p@ss");
            let uri = RequestUri::parse("/cam/1", "h").unwrap();
            let right = sent.is_some_and(|value| {
                // Each try has a realm, and so nonces, of its own.
                realm
                    .read(value, (&Method::parse(method), &uri), via, now)
                    .is_ok_and(|proof| proof.check(Some(&secret)) != Verdict::Wrong)
            });
            (!right).then(|| Reply::unauthorized(realm.challenges(via, false, now)))
        }),
        ..Behaviour::default()
    })
    .await;
    server.describe(description());
    let url = |password| format!("rtsp://admin:{password}@{}/cam/1", server.address);
    Player::connect(&url("p%40ss"), ClientOptions::default())
        .await
        .unwrap();
    Publisher::connect(&url("p@ss"), description(), ClientOptions::default())
        .await
        .unwrap();
    let error = Player::connect(&url("wrong"), ClientOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(Status::UNAUTHORIZED));
}

#[tokio::test]
async fn redirections_are_followed_five_times() {
    let server = Server::start(Behaviour::default()).await;
    server.describe(description());
    let pointer = |to: String, times: usize| async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("rtsp://{}/x", listener.local_addr().unwrap());
        let own_url = own.clone();
        tokio::spawn(async move {
            for n in 1..=times {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                let next = format!("{own_url}{n}");
                let to = if n == times { &to } else { &next };
                let answer = format!("RTSP/1.0 301 Moved\r\nCSeq: 1\r\nLocation: {to}\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                // Read until the client hangs up, so that it sees the answer and no reset.
                let _ = stream.read(&mut [0; 1]).await;
            }
        });
        own
    };
    let url = pointer(server.url(), 5).await;
    soon(Player::connect(&url, ClientOptions::default()))
        .await
        .unwrap();
    let url = pointer(server.url(), 6).await;
    assert!(matches!(
        soon(Player::connect(&url, ClientOptions::default())).await,
        Err(ClientError::Redirect(RedirectError::TooMany(5)))
    ));
}
