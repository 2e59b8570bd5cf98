//! Transcripts: what real clients send, through the session and an authorizer, and what is said.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::registry::{
    Action, Claims, CmsClock, GrantTable, MemoryUsers, PathPattern, TokenAction, TokenAuthorizer,
    TokenSigner, TokenVerifier, User, UserAuthorizer,
};
use crate::rtsp::auth::{
    Algorithm, AuthConfig, AuthParams, UserSecret, answer_basic, answer_digest,
};
use crate::rtsp::{Credentials, RequestId, ServerConfig, ServerConnection, ServerEvent, Step};

const URL: &str = "rtsp://h/hall/1";

/// A server session whose shell decides by tokens, then by users, at a time of its own.
struct Peer {
    connection: ServerConnection,
    realm: Realm,
    authorizer: TokenAuthorizer,
    signer: TokenSigner,
    clock: Arc<CmsClock>,
    via: Via,
    now: Instant,
    cseq: u32,
}

impl Peer {
    fn new(secure: bool, change: impl FnOnce(&mut AuthConfig)) -> Self {
        let mut config = AuthConfig::default();
        change(&mut config);
        let now = Instant::now();
        let users = MemoryUsers::new();
        let secret = UserSecret::from_password("anna", &config.realm, "pw");
        let hall: PathPattern = "hall/*".parse().unwrap();
        let anna = User::new(secret).play(hall.clone()).publish(hall);
        users.insert("anna", anna);
        let signer = TokenSigner::from_seed([1; 32]);
        let verifier = TokenVerifier::new();
        verifier
            .set_keys([signer.public_key().key.as_str()])
            .unwrap();
        let clock = Arc::new(CmsClock::new());
        let authorizer = TokenAuthorizer::new(
            Arc::new(verifier),
            Arc::new(GrantTable::new()),
            clock.clone(),
        )
        .otherwise(Arc::new(UserAuthorizer::new(Arc::new(users))));
        let local = "10.0.0.1:554".parse().unwrap();
        Self {
            connection: ServerConnection::new(
                Arc::new(ServerConfig::default()),
                "5a5a5a5a5a5a5a5a",
                local,
                now,
            ),
            realm: Realm::new(config, [9; 32], now),
            authorizer,
            signer,
            clock,
            via: Via {
                peer: [10, 0, 0, 7].into(),
                secure,
            },
            now,
            cseq: 0,
        }
    }

    fn token(&self, stream: &str) -> String {
        let path = StreamPath::parse(stream).unwrap();
        let claims = Claims::new(path, TokenAction::Play, "client", self.clock.now(), 60);
        self.signer.sign(&claims)
    }

    /// One request, its answer as text. What is allowed is answered with 404: this is about rights.
    async fn ask(&mut self, method: &str, url: &str, headers: &[String]) -> String {
        self.cseq += 1;
        let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.cseq);
        for header in headers {
            text += &format!("{header}\r\n");
        }
        if method == "ANNOUNCE" {
            text += "Content-Length: 3\r\n\r\nv=0";
        } else {
            text += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n";
        }
        let Step::Event { consumed, event } = self.connection.next(text.as_bytes(), self.now)
        else {
            panic!("no event");
        };
        assert_eq!(consumed, text.len());
        let (id, action, uri, credentials) = asked(event);
        let path = StreamPath::parse(&uri.path_and_query()).unwrap();
        let address = (self.via.peer, 4000).into();
        let request = AccessRequest::new(action, path, address, credentials.into());
        let method = Method::parse(method);
        let question = Question::new(request, (&method, &uri), self.via, &self.realm, self.now);
        let reply = match self.authorizer.authorize(&question.request).await {
            Ok(_) => Reply::error(Status::NOT_FOUND),
            Err(denied) => {
                let accepts = self.authorizer.accepts();
                refusal(denied, accepts, self.via, &self.realm, self.now).reply
            }
        };
        assert!(self.connection.respond(id, reply));
        let output = self.connection.take_output().unwrap();
        String::from_utf8(output.to_vec()).unwrap()
    }

    async fn status(&mut self, method: &str, url: &str, headers: &[String]) -> u16 {
        self.ask(method, url, headers).await[9..12].parse().unwrap()
    }

    /// The challenges that a request without anything gets.
    async fn challenges(&mut self) -> Vec<AuthParams> {
        let answer = self.ask("DESCRIBE", URL, &[]).await;
        assert!(answer.starts_with("RTSP/1.0 401 Unauthorized\r\n"));
        challenges(&answer)
    }
}

fn asked(event: ServerEvent) -> (RequestId, Action, RequestUri, Credentials) {
    match event {
        ServerEvent::Describe {
            id,
            uri,
            credentials,
        } => (id, Action::Play, uri, credentials),
        ServerEvent::Announce {
            id,
            uri,
            credentials,
            ..
        } => (id, Action::Publish, uri, credentials),
        ServerEvent::Setup(setup) => (setup.id, Action::Play, setup.uri, setup.credentials),
        other => panic!("{other:?}"),
    }
}

fn challenges(answer: &str) -> Vec<AuthParams> {
    answer
        .lines()
        .filter_map(|line| line.strip_prefix("WWW-Authenticate: "))
        .flat_map(AuthParams::parse_list)
        .collect()
}

fn digest(challenge: &AuthParams, password: &str, method: &str, uri: &str) -> String {
    let login = ("anna", password);
    let value = answer_digest(challenge, login, (method, uri), 1, "c0ffee").unwrap();
    format!("Authorization: {value}")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[tokio::test]
async fn without_anything_the_client_is_told_what_it_may_bring() {
    let mut peer = Peer::new(false, |_| {});
    let answer = peer.ask("DESCRIBE", URL, &[]).await;
    let offered: Vec<&str> = answer
        .lines()
        .filter(|line| line.starts_with("WWW-"))
        .collect();
    let [digest, bearer] = offered.as_slice() else {
        panic!("{answer}");
    };
    assert!(digest.starts_with("WWW-Authenticate: Digest realm=\"EasyDarwin\", nonce=\""));
    assert!(!digest.contains("algorithm") && !digest.contains("qop"));
    assert_eq!(*bearer, "WWW-Authenticate: Bearer realm=\"EasyDarwin\"");
    let mut safe = Peer::new(true, |config| {
        config.digest = vec![Algorithm::Sha256, Algorithm::Md5];
    });
    let offered = safe.ask("DESCRIBE", URL, &[]).await;
    let at = |text: &str| offered.find(text).unwrap();
    assert!(at("SHA-256") < at("Basic realm") && at("Basic realm") < at("Bearer realm"));
}

#[tokio::test]
async fn a_token_is_looked_at_first() {
    let mut peer = Peer::new(false, |_| {});
    let challenge = peer.challenges().await.remove(0);
    let (good, other) = (peer.token("hall/1"), peer.token("yard/1"));
    let right = digest(&challenge, "pw", "DESCRIBE", URL);
    let wrong = digest(&challenge, "no", "DESCRIBE", URL);
    let with = |token: &str| format!("{URL}?token={token}");
    for (url, headers, status) in [
        (with(&good), vec![], 404),
        (URL.to_owned(), vec![bearer(&good)], 404),
        // The header wins over the URL.
        (with("bad"), vec![bearer(&good)], 404),
        // A good token needs no good password.
        (with(&good), vec![wrong.clone()], 404),
        // A bad token with a good password.
        (with("bad"), vec![right.clone()], 404),
        (with(&other), vec![right.clone()], 404),
        (URL.to_owned(), vec![bearer("bad"), right.clone()], 404),
        // A bad token and nothing else is 401, as is a bad password.
        (with("bad"), vec![], 401),
        (URL.to_owned(), vec![bearer("bad")], 401),
        (with("bad"), vec![wrong.clone()], 401),
        // For another stream: no other try would help, unless by password.
        (with(&other), vec![], 403),
        (with(&other), vec![wrong.clone()], 401),
        (URL.to_owned(), vec![right.clone()], 404),
        (URL.to_owned(), vec![wrong.clone()], 401),
        (
            "rtsp://h/hall/1".to_owned(),
            vec!["Authorization: Hello".to_owned()],
            401,
        ),
    ] {
        let got = peer.status("DESCRIBE", &url, &headers).await;
        assert_eq!(got, status, "{url} {headers:?}");
    }
}

#[tokio::test]
async fn a_user_publishes_and_plays_where_it_may() {
    let mut peer = Peer::new(false, |_| {});
    let challenge = peer.challenges().await.remove(0);
    for (method, url, status) in [
        ("ANNOUNCE", "rtsp://h/hall/2", 404),
        ("ANNOUNCE", "rtsp://h/yard/2", 403),
        ("DESCRIBE", "rtsp://h/yard/2", 403),
        ("SETUP", "rtsp://h/hall/2/trackID=0", 404),
    ] {
        let header = digest(&challenge, "pw", method, url);
        let got = peer.status(method, url, &[header]).await;
        assert_eq!(got, status, "{method} {url}");
        let header = digest(&challenge, "no", method, url);
        assert_eq!(peer.status(method, url, &[header]).await, 401);
    }
}

#[tokio::test]
async fn an_old_nonce_is_stale_only_with_the_right_password() {
    let mut peer = Peer::new(false, |config| {
        config.nonce_lifetime = Duration::from_secs(30);
    });
    let challenge = peer.challenges().await.remove(0);
    peer.now += Duration::from_secs(31);
    let wrong = [digest(&challenge, "no", "DESCRIBE", URL)];
    assert!(!peer.ask("DESCRIBE", URL, &wrong).await.contains("stale"));
    let right = [digest(&challenge, "pw", "DESCRIBE", URL)];
    let answer = peer.ask("DESCRIBE", URL, &right).await;
    assert!(answer.starts_with("RTSP/1.0 401 "), "{answer}");
    let fresh = challenges(&answer).remove(0);
    assert_eq!(fresh.get("stale"), Some("true"));
    let right = [digest(&fresh, "pw", "DESCRIBE", URL)];
    assert_eq!(peer.status("DESCRIBE", URL, &right).await, 404);
}

#[tokio::test]
async fn basic_counts_over_tls_only() {
    let header = |password| [format!("Authorization: {}", answer_basic("anna", password))];
    let mut peer = Peer::new(false, |_| {});
    assert_eq!(peer.status("DESCRIBE", URL, &header("pw")).await, 401);
    let mut peer = Peer::new(true, |_| {});
    assert_eq!(peer.status("DESCRIBE", URL, &header("pw")).await, 404);
    assert_eq!(peer.status("DESCRIBE", URL, &header("no")).await, 401);
}

/// VLC's live555: OPTIONS, DESCRIBE without, DESCRIBE and SETUP with a digest in the old form. In
/// SETUP it signs the base URL and writes the track's URL into the request line.
#[tokio::test]
async fn live555_logs_in() {
    let mut peer = Peer::new(false, |config| {
        config.digest = vec![Algorithm::Sha256, Algorithm::Md5];
    });
    let agent = "User-Agent: LibVLC/3.0.18 (LIVE555 Streaming Media v2016.11.28)".to_owned();
    let accept = "Accept: application/sdp".to_owned();
    let answer = peer
        .ask("DESCRIBE", URL, &[agent.clone(), accept.clone()])
        .await;
    // It takes the last digest that it sees and supposes MD5.
    let last = answer
        .lines()
        .rfind(|line| line.starts_with("WWW-Authenticate: Digest"))
        .unwrap();
    let nonce = last.split("nonce=\"").nth(1).unwrap();
    let nonce = nonce.split('"').next().unwrap();
    let written = |method: &str, uri: &str| {
        let plain = format!("Digest realm=\"EasyDarwin\", nonce=\"{nonce}\"");
        let challenge = AuthParams::parse_list(&plain).remove(0);
        let ours = digest(&challenge, "pw", method, uri);
        let response = ours.split("response=\"").nth(1).unwrap();
        format!(
            "Authorization: Digest username=\"anna\", realm=\"EasyDarwin\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{}\"",
            response.split('"').next().unwrap()
        )
    };
    let headers = [written("DESCRIBE", URL), agent.clone(), accept];
    assert_eq!(peer.status("DESCRIBE", URL, &headers).await, 404);
    let headers = [written("SETUP", "rtsp://h/hall/1/"), agent];
    let track = "rtsp://h/hall/1/trackID=0";
    assert_eq!(peer.status("SETUP", track, &headers).await, 404);
}
