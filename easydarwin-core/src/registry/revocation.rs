use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::{Claims, StreamPath, UnixMillis};
use crate::protocol::node::{Revocation, Revoked};

/// Most revocations kept. When there are more, the older half becomes one moment before which no
/// token of anybody is taken: nothing that was taken back comes to life again.
const MAX_ENTRIES: usize = 65_536;

/// What was taken back, for those who check tokens and for the sessions that run.
#[derive(Debug)]
pub struct Revocations {
    table: RwLock<Table>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Revoked, Entry>,
    /// Tokens of anybody that are older are refused. Sessions that run are not touched by it:
    /// they were when what it stands for came in.
    floor: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    not_before: u64,
    until_ms: u64,
}

impl Default for Revocations {
    fn default() -> Self {
        Self {
            table: RwLock::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Revocations {
    /// Nothing was taken back.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes rights back. An older revocation of the same changes nothing.
    pub fn revoke(&self, revocations: impl IntoIterator<Item = Revocation>, now: UnixMillis) {
        self.revoke_up_to(MAX_ENTRIES, revocations, now);
    }

    fn revoke_up_to(
        &self,
        limit: usize,
        revocations: impl IntoIterator<Item = Revocation>,
        now: UnixMillis,
    ) {
        let mut table = self.table.write();
        for revocation in revocations {
            if table.entries.len() >= limit {
                table.make_room(limit, now);
            }
            // What is no path has no tokens.
            let Some(what) = canonical(revocation.what) else {
                continue;
            };
            let entry = table.entries.entry(what).or_default();
            entry.not_before = entry.not_before.max(revocation.not_before);
            entry.until_ms = entry.until_ms.max(revocation.until_ms);
        }
        drop(table);
        self.changed.send_replace(());
    }

    /// No token of anybody that was issued earlier counts, as another such list says.
    pub fn raise_floor(&self, floor: u64) {
        let mut table = self.table.write();
        table.floor = table.floor.max(floor);
    }

    /// The moment before which no token of anybody counts, in seconds since 1970; 0 for none.
    pub fn floor(&self) -> u64 {
        self.table.read().floor
    }

    /// Everything that is not to be forgotten yet.
    pub fn list(&self, now: UnixMillis) -> Vec<Revocation> {
        let mut table = self.table.write();
        table.entries.retain(|_, entry| entry.until_ms > now.0);
        table
            .entries
            .iter()
            .map(|(what, entry)| Revocation::new(what.clone(), entry.not_before, entry.until_ms))
            .collect()
    }

    /// The earliest moment of issue, in seconds since 1970, that counts for this subject and
    /// stream: a token that is made now says at least that.
    pub fn not_before(&self, subject: &str, path: &StreamPath) -> u64 {
        let table = self.table.read();
        table.of(subject, path).max(table.floor)
    }

    /// Whether a token with these claims may still begin something.
    pub fn allows(&self, claims: &Claims) -> bool {
        claims.iat >= self.not_before(&claims.sub, &claims.path)
    }

    fn ends(&self, kept: &Kept) -> bool {
        kept.issued < self.table.read().of(&kept.subject, &kept.path)
    }
}

fn canonical(what: Revoked) -> Option<Revoked> {
    match what {
        Revoked::Path(text) => {
            let path = StreamPath::parse(&text).ok()?;
            Some(Revoked::Path(path.as_str().to_owned()))
        }
        other => Some(other),
    }
}

impl Table {
    fn of(&self, subject: &str, path: &StreamPath) -> u64 {
        // Nearly always.
        if self.entries.is_empty() {
            return 0;
        }
        let device = path
            .as_device()
            .map(|(serial, _)| Revoked::Device(serial.to_owned()));
        [
            Some(Revoked::Subject(subject.to_owned())),
            Some(Revoked::Path(path.as_str().to_owned())),
            device,
        ]
        .into_iter()
        .flatten()
        .filter_map(|what| self.entries.get(&what))
        .map(|entry| entry.not_before)
        .max()
        .unwrap_or(0)
    }

    fn make_room(&mut self, limit: usize, now: UnixMillis) {
        self.entries.retain(|_, entry| entry.until_ms > now.0);
        if self.entries.len() < limit {
            return;
        }
        let mut ages: Vec<u64> = self.entries.values().map(|e| e.not_before).collect();
        ages.sort_unstable();
        let Some(&middle) = ages.get(ages.len() / 2) else {
            return;
        };
        self.entries.retain(|_, entry| entry.not_before > middle);
        self.floor = self.floor.max(middle);
    }
}

/// A right as a session keeps it, to learn when it is taken back.
#[derive(Debug, Clone, Default)]
pub struct Permit(Option<Arc<Kept>>);

#[derive(Debug)]
struct Kept {
    subject: Box<str>,
    path: StreamPath,
    /// In seconds since 1970.
    issued: u64,
    list: Arc<Revocations>,
}

impl Permit {
    /// A right that nobody takes back.
    pub fn lasting() -> Self {
        Self(None)
    }

    /// A right of this subject to this stream, issued then (seconds since 1970), that ends when
    /// `list` says so.
    pub fn revocable(
        list: Arc<Revocations>,
        subject: impl Into<Box<str>>,
        path: StreamPath,
        issued: u64,
    ) -> Self {
        let kept = Kept {
            subject: subject.into(),
            path,
            issued,
            list,
        };
        Self(Some(Arc::new(kept)))
    }

    /// Whether it was taken back.
    pub fn is_revoked(&self) -> bool {
        self.0.as_ref().is_some_and(|kept| kept.list.ends(kept))
    }

    /// Resolves when it is taken back. Cancel safe.
    pub async fn revoked(self) {
        if let Some(kept) = &self.0 {
            let mut changed = kept.list.changed.subscribe();
            loop {
                if kept.list.ends(kept) {
                    return;
                }
                if changed.changed().await.is_err() {
                    break;
                }
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::TokenAction;

    const NOW: UnixMillis = UnixMillis(100_000);
    const LATER: UnixMillis = UnixMillis(200_000);

    fn path(text: &str) -> StreamPath {
        StreamPath::parse(text).unwrap()
    }

    fn revoke(list: &Revocations, what: Revoked, not_before: u64) {
        list.revoke([Revocation::new(what, not_before, LATER.0)], NOW);
    }

    fn subject(text: &str) -> Revoked {
        Revoked::Subject(text.into())
    }

    #[test]
    fn what_was_issued_before_is_refused_and_what_comes_after_is_not() {
        let list = Revocations::new();
        let claims = |sub: &str, stream: &str, iat| {
            let mut claims = Claims::new(path(stream), TokenAction::Play, sub, NOW, 60);
            claims.iat = iat;
            claims
        };
        assert!(list.allows(&claims("ann", "cam/1", 1)));
        revoke(&list, subject("ann"), 50);
        revoke(&list, Revoked::Device("cam".into()), 60);
        revoke(&list, Revoked::Path("/yard/2.sdp".into()), 70);
        for (sub, stream, iat, allowed) in [
            ("ann", "hall/1", 49, false),
            ("ann", "hall/1", 50, true),
            ("bob", "hall/1", 1, true),
            ("bob", "cam/2", 59, false),
            ("bob", "cam/2", 60, true),
            ("bob", "camera/2", 1, true),
            ("bob", "yard/2", 69, false),
            ("bob", "yard/1", 1, true),
            ("ann", "cam/1", 55, false),
        ] {
            let claims = claims(sub, stream, iat);
            assert_eq!(list.allows(&claims), allowed, "{claims:?}");
        }
        // What is older changes nothing.
        revoke(&list, subject("ann"), 10);
        assert!(!list.allows(&claims("ann", "hall/1", 49)));
        assert_eq!(list.list(NOW).len(), 3);
        assert!(list.list(LATER).is_empty());
        assert!(list.allows(&claims("ann", "hall/1", 49)));
    }

    #[test]
    fn too_many_become_one_moment_for_all_but_end_no_session() {
        let list = Arc::new(Revocations::new());
        let running = Permit::revocable(list.clone(), "bob", path("hall/1"), 1);
        for number in 0..8_u64 {
            let what = subject(&number.to_string());
            list.revoke_up_to(4, [Revocation::new(what, 10 + number, LATER.0)], NOW);
        }
        assert!(list.list(NOW).len() <= 4);
        for number in 0..8_u64 {
            let old = list.not_before(&number.to_string(), &path("hall/1"));
            assert!(old >= 10 + number, "{number}: {old}");
        }
        assert!(list.floor() > 0 && !running.is_revoked());
        let elsewhere = Revocations::new();
        elsewhere.raise_floor(list.floor());
        assert_eq!(elsewhere.not_before("x", &path("y/1")), list.floor());
    }

    #[tokio::test]
    async fn a_session_learns_that_its_right_was_taken_back() {
        let list = Arc::new(Revocations::new());
        let permit = Permit::revocable(list.clone(), "ann", path("cam/1"), 10);
        let later = Permit::revocable(list.clone(), "ann", path("cam/1"), 50);
        let waiting = tokio::spawn(permit.clone().revoked());
        tokio::task::yield_now().await;
        revoke(&list, subject("bob"), 50);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && !permit.is_revoked());
        revoke(&list, subject("ann"), 50);
        waiting.await.unwrap();
        assert!(permit.is_revoked() && !later.is_revoked());
        // Also one that looks only now.
        permit.revoked().await;
        assert!(!Permit::lasting().is_revoked());
    }
}
