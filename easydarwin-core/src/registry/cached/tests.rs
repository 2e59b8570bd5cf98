use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;
use crate::registry::{Credentials, StreamPath};

/// A backend that takes its time: each answer needs a permit.
struct Slow {
    asked: AtomicUsize,
    permits: Semaphore,
    valid_for: Duration,
    refuses: AtomicBool,
}

impl Slow {
    fn new(valid_for: Duration, permits: usize) -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicUsize::new(0),
            permits: Semaphore::new(permits),
            valid_for,
            refuses: AtomicBool::new(false),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

struct Asks(Arc<Slow>);

#[async_trait]
impl Authorizer for Asks {
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        self.decide(request).await.outcome
    }

    async fn decide(&self, request: &AccessRequest) -> Decision {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        self.0.permits.acquire().await.unwrap().forget();
        let outcome = match request.credentials.token() {
            Some("good") if !self.0.refuses.load(Ordering::SeqCst) => {
                Ok(Principal::Named("x".into()))
            }
            _ => Err(Denied::Unauthorized),
        };
        Decision::lasting(outcome, self.0.valid_for)
    }
}

const ENOUGH: usize = 1000;

fn request(token: &str) -> AccessRequest {
    let credentials = Credentials {
        url_token: Some(token.into()),
        ..Credentials::default()
    };
    let path = StreamPath::parse("a/1").unwrap();
    let peer = "10.0.0.1:5".parse().unwrap();
    AccessRequest::new(Action::Play, path, peer, credentials)
}

fn cached(slow: &Arc<Slow>) -> Arc<CachedAuthorizer<Asks>> {
    let config = CacheConfig {
        entries: 4,
        ..CacheConfig::default()
    };
    Arc::new(CachedAuthorizer::new(Asks(slow.clone()), config))
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

#[tokio::test(start_paused = true)]
async fn the_backend_is_asked_once_while_an_answer_holds() {
    let slow = Slow::new(minutes(1), ENOUGH);
    let cached = cached(&slow);
    for _ in 0..3 {
        assert!(cached.authorize(&request("good")).await.is_ok());
        // Another port is no other client.
        let mut again = request("good");
        again.peer.set_port(77);
        assert!(cached.authorize(&again).await.is_ok());
    }
    assert_eq!(slow.asked(), 1);
    tokio::time::advance(Duration::from_secs(20)).await;
    let decision = cached.decide(&request("good")).await;
    assert_eq!(decision.valid_for, Duration::from_secs(40));
    tokio::time::advance(Duration::from_secs(40)).await;
    assert!(cached.authorize(&request("good")).await.is_ok());
    assert_eq!(slow.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_question_is_another_question() {
    let slow = Slow::new(minutes(1), ENOUGH);
    let cached = cached(&slow);
    let mut others = vec![request("good"); 7];
    others[1].action = Action::Publish;
    others[2].path = StreamPath::parse("a/2").unwrap();
    others[3].peer = "10.0.0.2:5".parse().unwrap();
    others[4].secure = true;
    others[5].credentials.url_token = None;
    others[5].credentials.bearer = Some("good".into());
    others[6].credentials.url_token = Some("".into());
    for (at, other) in others.iter().enumerate() {
        let _ = cached.authorize(other).await;
        assert_eq!(slow.asked(), at + 1);
    }
    assert_eq!(cached.answers.len(), 4, "no more than there may be");
    // A digest is never the same twice.
    let mut digest = request("good");
    digest.credentials.authorization = Some("Digest x".into());
    for count in [8, 9] {
        let _ = cached.authorize(&digest).await;
        assert_eq!(slow.asked(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn a_no_is_remembered_for_a_short_time_only() {
    let slow = Slow::new(minutes(1), ENOUGH);
    let cached = cached(&slow);
    for _ in 0..3 {
        assert!(cached.authorize(&request("bad")).await.is_err());
    }
    assert_eq!(slow.asked(), 1);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(cached.authorize(&request("bad")).await.is_err());
    assert_eq!(slow.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_hold_is_asked_each_time() {
    let slow = Slow::new(Duration::ZERO, ENOUGH);
    let cached = cached(&slow);
    for count in 1..4 {
        assert!(cached.authorize(&request("good")).await.is_ok());
        assert_eq!(slow.asked(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_at_the_same_time_waits_for_the_one_answer() {
    let slow = Slow::new(minutes(1), 0);
    let cached = cached(&slow);
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { cached.authorize(&request("good")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(slow.asked(), 1);
    slow.permits.add_permits(1);
    for task in asking {
        assert!(task.await.unwrap().is_ok());
    }
    assert_eq!(slow.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn if_the_one_who_asks_goes_away_another_asks() {
    let slow = Slow::new(minutes(1), 0);
    let cached = cached(&slow);
    let spawn = || {
        let cached = cached.clone();
        tokio::spawn(async move { cached.authorize(&request("good")).await })
    };
    let first = spawn();
    tokio::task::yield_now().await;
    let second = spawn();
    tokio::task::yield_now().await;
    assert_eq!(slow.asked(), 1);
    first.abort();
    assert!(first.await.is_err());
    slow.permits.add_permits(1);
    assert!(second.await.unwrap().is_ok());
    assert_eq!(slow.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flush_counts_for_answers_on_their_way_too() {
    let slow = Slow::new(minutes(1), 1);
    let cached = cached(&slow);
    assert!(cached.authorize(&request("good")).await.is_ok());
    slow.refuses.store(true, Ordering::SeqCst);
    assert!(cached.authorize(&request("good")).await.is_ok());
    cached.flush();
    slow.permits.add_permits(1);
    assert!(cached.authorize(&request("good")).await.is_err());
    cached.flush();
    // Asked before the flush, answered after it.
    slow.refuses.store(false, Ordering::SeqCst);
    let early = {
        let cached = cached.clone();
        tokio::spawn(async move { cached.authorize(&request("good")).await })
    };
    tokio::task::yield_now().await;
    cached.flush();
    slow.permits.add_permits(2);
    assert!(early.await.unwrap().is_ok());
    assert_eq!(cached.answers.len(), 0);
    assert!(cached.authorize(&request("good")).await.is_ok());
    assert_eq!(slow.asked(), 4);
}
