use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::*;
use crate::registry::{
    Accepts, AccessRequest, Action, AllowAll, Authorizer as _, Credentials, Denied, Principal,
    StreamPath,
};
use crate::rtsp::auth::{AuthConfig, Realm, UserSecret, Via, answer_basic};
use crate::rtsp::{Method, RequestUri};

fn path(text: &str) -> StreamPath {
    StreamPath::parse(text).unwrap()
}

#[test]
fn patterns_match_whole_components() {
    for (pattern, yes, no) in [
        ("**", &["a/1", "a/b/c"][..], &[][..]),
        ("a/*", &["a/1", "a/b"], &["a/b/c", "b/1"]),
        ("a/**", &["a/1", "a/b/c"], &["b/1"]),
        ("*/1", &["a/1", "b/1"], &["a/2", "a/1/1"]),
        ("/a/1/", &["a/1"], &["a/2", "a/11"]),
        ("a", &["a/1"], &["a/2", "ab/1"]),
        ("a/*/c", &["a/b/c"], &["a/c/b", "a/c"]),
    ] {
        let parsed: PathPattern = pattern.parse().unwrap();
        for text in yes {
            assert!(parsed.matches(&path(text)), "{pattern} {text}");
        }
        for text in no {
            assert!(!parsed.matches(&path(text)), "{pattern} {text}");
        }
    }
    for text in ["", "/", "*", "a*/1", "**/1", "a//b", "../x", "a b", "a/***"] {
        assert!(text.parse::<PathPattern>().is_err(), "{text}");
    }
    let written: PathPattern = "/a/*/**".parse().unwrap();
    assert_eq!(written.to_string(), "a/*/**");
}

fn users() -> Arc<MemoryUsers> {
    let users = MemoryUsers::new();
    let secret = UserSecret::from_password("anna", AuthConfig::REALM, "pw");
    let anna = User::new(secret)
        .play(PathPattern::all())
        .publish("hall/*".parse().unwrap());
    users.insert("anna", anna);
    Arc::new(users)
}

/// A request with that password, sent over TLS with Basic.
fn with_password(action: Action, stream: &str, user: &str, password: &str) -> AccessRequest {
    let realm = Realm::new(AuthConfig::default(), [0; 32], Instant::now());
    let value = answer_basic(user, password);
    let via = Via {
        peer: [127, 0, 0, 1].into(),
        secure: true,
    };
    let uri = RequestUri::parse(stream, "h").unwrap();
    let target = (&Method::Describe, &uri);
    let proof = realm.read(&value, target, via, Instant::now()).unwrap();
    let credentials = Credentials {
        authorization: Some(value.into()),
        ..Credentials::default()
    };
    AccessRequest::new(
        action,
        path(stream),
        "127.0.0.1:5".parse().unwrap(),
        credentials,
    )
    .with_proof(Some(proof))
}

fn without(stream: &str) -> AccessRequest {
    let mut request = with_password(Action::Play, stream, "", "");
    request.proof = None;
    request.credentials = Credentials::default();
    request
}

#[tokio::test]
async fn a_password_opens_the_streams_of_its_user() {
    let authorizer = UserAuthorizer::new(users());
    let anna = || Ok(Principal::Named("anna".into()));
    for (action, stream, user, password, expected) in [
        (Action::Play, "yard/1", "anna", "pw", anna()),
        (Action::Publish, "hall/2", "anna", "pw", anna()),
        (
            Action::Publish,
            "yard/1",
            "anna",
            "pw",
            Err(Denied::Forbidden),
        ),
        (
            Action::Publish,
            "yard/1",
            "anna",
            "no",
            Err(Denied::Unauthorized),
        ),
        (
            Action::Play,
            "yard/1",
            "otto",
            "pw",
            Err(Denied::Unauthorized),
        ),
    ] {
        let request = with_password(action, stream, user, password);
        assert_eq!(authorizer.authorize(&request).await, expected);
    }
    let nobody = authorizer.authorize(&without("yard/1")).await;
    assert_eq!(nobody, Err(Denied::Unauthorized));
    assert_eq!(authorizer.accepts(), Accepts::PASSWORDS);
}

#[tokio::test]
async fn wrong_credentials_are_not_overlooked_for_those_who_need_none() {
    let authorizer = UserAuthorizer::new(users()).otherwise(Arc::new(AllowAll));
    assert!(authorizer.authorize(&without("a/1")).await.is_ok());
    let mut wrong = with_password(Action::Play, "a/1", "anna", "no");
    let denied = Err(Denied::Unauthorized);
    assert_eq!(authorizer.authorize(&wrong).await, denied);
    wrong.proof = None;
    assert_eq!(authorizer.authorize(&wrong).await, denied);
}

#[tokio::test]
async fn users_come_and_go_while_it_runs() {
    let users = users();
    let authorizer = UserAuthorizer::new(users.clone());
    let request = with_password(Action::Play, "a/1", "anna", "pw");
    assert!(authorizer.authorize(&request).await.is_ok());
    assert!(users.remove("anna"));
    assert!(users.is_empty());
    assert_eq!(
        authorizer.authorize(&request).await,
        Err(Denied::Unauthorized)
    );
}

struct Broken;

#[async_trait]
impl Users for Broken {
    async fn find(&self, _name: &str) -> Result<Option<Arc<User>>, UsersError> {
        Err(UsersError("no database".to_owned()))
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_no_wrong_password() {
    let authorizer = UserAuthorizer::new(Arc::new(Broken));
    let request = with_password(Action::Play, "a/1", "anna", "pw");
    assert_eq!(
        authorizer.authorize(&request).await,
        Err(Denied::Unavailable)
    );
}

/// A store that counts how often it is asked.
struct Remembered(Arc<MemoryUsers>, std::sync::atomic::AtomicUsize);

#[async_trait]
impl Users for Remembered {
    async fn find(&self, name: &str) -> Result<Option<Arc<User>>, UsersError> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.0.find(name).await
    }

    fn valid_for(&self) -> std::time::Duration {
        std::time::Duration::from_secs(60)
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_allows_it_is_asked_once_in_a_while() {
    let store = Arc::new(Remembered(users(), 0.into()));
    let asked = || store.1.load(std::sync::atomic::Ordering::SeqCst);
    let authorizer = UserAuthorizer::new(store.clone());
    let log_in = async |user, password| {
        let request = with_password(Action::Play, "a/1", user, password);
        authorizer.authorize(&request).await.is_ok()
    };
    // The password is checked each time.
    assert!(log_in("anna", "pw").await && !log_in("anna", "no").await);
    assert!(!log_in("otto", "pw").await && !log_in("otto", "no").await);
    assert_eq!(asked(), 2);
    tokio::time::advance(std::time::Duration::from_secs(59)).await;
    assert!(!log_in("otto", "pw").await && log_in("anna", "pw").await);
    assert_eq!(asked(), 2, "who is not there is remembered as long");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert!(!log_in("otto", "pw").await && log_in("anna", "pw").await);
    assert_eq!(asked(), 4);
    store.0.remove("anna");
    assert!(log_in("anna", "pw").await);
    authorizer.flush();
    assert!(!log_in("anna", "pw").await);
}
