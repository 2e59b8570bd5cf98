mod day;

use super::*;

const T0: UnixMillis = UnixMillis(1_000_000);

fn after(seconds: u64) -> UnixMillis {
    T0.plus(Duration::from_secs(seconds))
}

fn presence() -> MemoryPresence {
    MemoryPresence::new(7, PresenceTiming::default())
}

async fn state(p: &MemoryPresence) -> PresenceState {
    p.entry("cam").await.unwrap().unwrap().state
}

#[tokio::test]
async fn the_newcomer_supersedes_and_the_old_lease_is_worthless() {
    let p = presence();
    let old = p.acquire("cam", T0).await.unwrap();
    assert_eq!(old.superseded, None);
    let new = p.acquire("cam", after(1)).await.unwrap();
    assert_eq!(new.superseded, Some(old.lease.generation));
    assert!(new.lease.generation > old.lease.generation);
    assert_eq!(new.lease.generation >> 32, 7);
    assert_eq!(
        p.renew(&old.lease, after(2)).await,
        Err(PresenceError::Superseded)
    );
    p.release(&old.lease, Cause::ConnectionClosed, after(2))
        .await
        .unwrap();
    assert_eq!(state(&p).await, PresenceState::Online);
}

#[tokio::test]
async fn generations_of_a_later_epoch_are_higher() {
    let before = presence().next_generation().await.unwrap();
    let later = MemoryPresence::new(8, PresenceTiming::default());
    assert!(later.next_generation().await.unwrap() > before);
}

#[tokio::test]
async fn silence_ends_a_lease_and_life_renews_it() {
    let p = presence();
    let lease = p.acquire("cam", T0).await.unwrap().lease;
    assert!(p.sweep(after(89)).await.unwrap().is_empty());
    p.renew(&lease, after(89)).await.unwrap();
    assert!(p.sweep(after(178)).await.unwrap().is_empty());
    let changed = p.sweep(after(179)).await.unwrap();
    assert_eq!(changed.len(), 1);
    assert!(changed[0].is_event() && changed[0].cause == Cause::Silent);
    assert_eq!(state(&p).await, PresenceState::Offline);
}

#[tokio::test]
async fn a_short_break_is_no_event() {
    let p = presence();
    let lease = p.acquire("cam", T0).await.unwrap().lease;
    p.release(&lease, Cause::ConnectionClosed, after(1))
        .await
        .unwrap();
    assert_eq!(state(&p).await, PresenceState::Grace);
    p.acquire("cam", after(5)).await.unwrap();
    assert!(p.sweep(after(20)).await.unwrap().is_empty());
    let entry = p.entry("cam").await.unwrap().unwrap();
    // The first one, from offline to online, is the only one to tell of.
    assert_eq!(entry.history.iter().filter(|t| t.is_event()).count(), 1);
}

#[tokio::test]
async fn media_counts_as_life() {
    let p = presence();
    let lease = p.acquire("cam", T0).await.unwrap().lease;
    p.media("cam", true, after(1)).await.unwrap();
    p.release(&lease, Cause::ConnectionClosed, after(2))
        .await
        .unwrap();
    assert_eq!(state(&p).await, PresenceState::MediaOnly);
    assert!(p.sweep(after(500)).await.unwrap().is_empty());
    p.media("cam", false, after(500)).await.unwrap();
    assert_eq!(state(&p).await, PresenceState::Grace);
    assert_eq!(p.sweep(after(515)).await.unwrap().len(), 1);
    assert_eq!(state(&p).await, PresenceState::Offline);
}

#[tokio::test]
async fn after_a_start_devices_are_unknown_and_come_back_without_noise() {
    let p = presence();
    p.expect("cam", LastKnown::There { at: None }, T0)
        .await
        .unwrap();
    p.expect("gone", LastKnown::There { at: None }, T0)
        .await
        .unwrap();
    p.acquire("cam", after(10)).await.unwrap();
    let history = p.entry("cam").await.unwrap().unwrap().history;
    assert!(history.iter().all(|t| !t.is_event()));
    let changed = p.sweep(after(90)).await.unwrap();
    assert_eq!(changed.len(), 1);
    assert_eq!(&*changed[0].serial, "gone");
}

#[tokio::test]
async fn lists_go_on_after_a_serial_and_the_limit_holds() {
    let p = presence().with_limit(3);
    for serial in ["a", "b", "c"] {
        p.acquire(serial, T0).await.unwrap();
    }
    assert!(matches!(
        p.acquire("d", T0).await,
        Err(PresenceError::Full { .. })
    ));
    let page = p
        .list(&[PresenceState::Online], Some("a"), 1)
        .await
        .unwrap();
    assert_eq!(page.len(), 1);
    assert_eq!(&*page[0].serial, "b");
}
