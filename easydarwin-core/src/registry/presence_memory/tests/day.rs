//! A day of many devices: they come, are taken over, fall silent, and the CMS is started anew.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DEVICES: usize = 6;

#[derive(Debug, Clone, Copy)]
enum Step {
    Register,
    KeepAlive,
    ConnectionEnds,
    Media(bool),
    /// The CMS ends on purpose and is started again.
    Restart,
    /// The CMS is killed: what it had not written down since the last second is lost.
    Crash,
    Nothing,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Register),
        6 => Just(Step::KeepAlive),
        5 => Just(Step::ConnectionEnds),
        3 => any::<bool>().prop_map(Step::Media),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        4 => Just(Step::Nothing),
    ]
}

/// What a CMS around the presence does: it keeps the leases, writes down who was there, and
/// tells of events.
struct World {
    now: UnixMillis,
    epoch: u32,
    presence: MemoryPresence,
    leases: BTreeMap<usize, Lease>,
    stored: BTreeMap<usize, (UnixMillis, Cause)>,
    /// Who was told of last: there or not. Nobody is there before the first event.
    told: BTreeMap<usize, bool>,
}

fn name(device: usize) -> String {
    format!("cam{device}")
}

impl World {
    fn new() -> Self {
        Self {
            now: T0,
            epoch: 1,
            presence: MemoryPresence::new(1, PresenceTiming::default()),
            leases: BTreeMap::new(),
            stored: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    fn tell(&mut self, transition: &Transition) {
        if !transition.is_event() {
            return;
        }
        let device: usize = transition.serial[3..].parse().unwrap();
        let there = transition.to != PresenceState::Offline;
        let before = self.told.insert(device, there).unwrap_or(false);
        assert_ne!(before, there, "{transition:?} is no news");
    }

    async fn entry(&self, device: usize) -> Option<PresenceEntry> {
        self.presence.entry(&name(device)).await.unwrap()
    }

    async fn write_down(&mut self) {
        for device in 0..DEVICES {
            if let Some(seen) = self.entry(device).await.and_then(|e| e.seen()) {
                self.stored.insert(device, seen);
            }
        }
    }

    async fn start_again(&mut self) {
        self.epoch += 1;
        self.presence = MemoryPresence::new(self.epoch, PresenceTiming::default());
        self.leases.clear();
        for device in 0..DEVICES {
            let stored = self.stored.get(&device);
            let cause = stored.map_or("", |(_, cause)| cause.as_str());
            let known = LastKnown::from_stored(stored.map(|(at, _)| *at), cause);
            self.presence
                .expect(&name(device), known, self.now)
                .await
                .unwrap();
        }
    }

    async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus(Duration::from_secs(1));
            for transition in self.presence.sweep(self.now).await.unwrap() {
                self.tell(&transition);
            }
        }
        self.write_down().await;
    }

    async fn step(&mut self, device: usize, step: Step) {
        let now = self.now;
        match step {
            Step::Register => {
                let acquired = self.presence.acquire(&name(device), now).await.unwrap();
                let held = self.leases.insert(device, acquired.lease);
                if let Some(superseded) = acquired.superseded {
                    assert_eq!(held.map(|l| l.generation), Some(superseded));
                }
                self.tell(&acquired.transition);
            }
            Step::KeepAlive => {
                if let Some(lease) = self.leases.get(&device).cloned() {
                    let changed = self.presence.renew(&lease, now).await.unwrap();
                    changed.iter().for_each(|t| self.tell(t));
                }
            }
            Step::ConnectionEnds => {
                if let Some(lease) = self.leases.remove(&device) {
                    let cause = Cause::ConnectionClosed;
                    self.presence.release(&lease, cause, now).await.unwrap();
                }
            }
            Step::Media(flows) => {
                let changed = self.presence.media(&name(device), flows, now).await;
                changed.unwrap().iter().for_each(|t| self.tell(t));
            }
            Step::Restart => {
                self.write_down().await;
                self.start_again().await;
            }
            Step::Crash => {
                self.start_again().await;
                // The last second's news may have to be told again, or never is.
                for device in 0..DEVICES {
                    let there = self
                        .entry(device)
                        .await
                        .is_some_and(|e| e.state != PresenceState::Offline);
                    self.told.insert(device, there);
                }
            }
            Step::Nothing => {}
        }
    }

    /// The state follows from the history, and can be said in words.
    async fn check(&self) {
        for device in 0..DEVICES {
            let Some(entry) = self.entry(device).await else {
                continue;
            };
            let history = &entry.history;
            assert!(history.len() <= HISTORY);
            match history.last() {
                Some(last) => {
                    assert_eq!(last.to, entry.state);
                    let began = history.iter().rfind(|t| t.from != t.to).unwrap_or(last);
                    assert_eq!(began.at, entry.since, "{entry:?}");
                }
                None => assert_eq!(
                    (entry.state, entry.last_seen),
                    (PresenceState::Offline, None)
                ),
            }
            for pair in history.windows(2) {
                assert_eq!(pair[0].to, pair[1].from, "a gap: {history:?}");
                assert!(pair[0].at <= pair[1].at);
            }
            assert!(history.iter().all(|t| t.generation <= entry.generation));
            let why = entry.explain();
            assert!(why.ends_with('.') && !why.contains("nothing more"), "{why}");
            assert!(entry.last_seen.is_none_or(|seen| seen <= self.now));
            let there = entry.state != PresenceState::Offline;
            if entry.state != PresenceState::Unknown {
                let told = self.told.get(&device).copied().unwrap_or(false);
                assert_eq!(told, there, "what was told is what is: {entry:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn every_state_is_explained_by_its_history_and_told_once(
        steps in prop::collection::vec((0..DEVICES, step(), 0u64..60), 1..120)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            world.start_again().await;
            for (device, step, seconds) in steps {
                world.step(device, step).await;
                world.check().await;
                world.pass(seconds).await;
                world.check().await;
            }
        });
    }
}

#[tokio::test]
async fn twenty_thousand_devices_come_back_after_a_restart_without_an_event() {
    let count = 20_000_usize;
    let p = MemoryPresence::new(2, PresenceTiming::default());
    // Three of four were there, the others had gone or never came.
    for device in 0..count {
        let known = match device % 4 {
            0 if device % 8 == 0 => LastKnown::Never,
            0 => LastKnown::Gone {
                at: UnixMillis(7),
                cause: Cause::Silent,
            },
            _ => LastKnown::There {
                at: Some(UnixMillis(9)),
            },
        };
        p.expect(&name(device), known, T0).await.unwrap();
    }
    let mut events = 0;
    let mut missing = Vec::new();
    for second in 1..=200_usize {
        let now = after(second as u64);
        for device in (0..count).filter(|d| d % 4 != 0 && d % 60 + 20 == second) {
            // The one of 60 does not come.
            if device % 60 == 59 {
                missing.push(name(device));
                continue;
            }
            let acquired = p.acquire(&name(device), now).await.unwrap();
            events += usize::from(acquired.transition.is_event());
        }
        let swept = p.sweep(now).await.unwrap();
        if second < 90 {
            assert!(swept.is_empty());
        } else if second == 90 {
            let mut told: Vec<String> = swept.iter().map(|t| t.serial.to_string()).collect();
            told.sort();
            missing.sort();
            assert!(!missing.is_empty());
            assert_eq!(told, missing, "those that are missed, and no others");
        }
    }
    assert_eq!(events, 0, "no event storm");
    let entry = p.entry(&name(59)).await.unwrap().unwrap();
    assert_eq!(entry.last_seen, Some(UnixMillis(9)));
    assert_eq!(
        entry.explain(),
        "It did not come back after the CMS was started."
    );
    let entry = p.entry(&name(4)).await.unwrap().unwrap();
    assert_eq!(
        (entry.since, entry.last_seen),
        (UnixMillis(7), Some(UnixMillis(7)))
    );
    assert!(entry.explain().ends_with("nothing heard in time."));
}
