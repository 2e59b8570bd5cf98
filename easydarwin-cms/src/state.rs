//! What all parts of the CMS share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use easydarwin_core::registry::{
    AccountStore, Claims, CmsClock, DeviceStore, NodeDirectory, Presence, StreamPath, TokenAction,
    TokenSigner, TokenVerifier, UnixMillis,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Checks;
use crate::accounts::{Directory, FirstRun, Logins};
use crate::config::{CmsConfig, Policy, Secrets};
use crate::conn::{Fingerprints, Link, LongMessages};
use crate::devices::{Healths, PendingDevices, SeenDevices, Sessions, Snapshots, TalkLocks, Uses};
use crate::events::{Events, ToldStreams};
use crate::guard::Guard;
use crate::http::{Listeners, Tickets};
use crate::metrics::Metrics;
use crate::nodes::NodeLinks;
use crate::streams::Operations;
use crate::webhooks::Webhooks;

/// Shared by all connections.
pub(crate) struct State {
    pub(crate) config: CmsConfig,
    pub(crate) secrets: Secrets,
    pub(crate) clock: CmsClock,
    pub(crate) epoch: u32,
    /// 32 hex digits: `Via` of device-directed messages, and first half of connection ids.
    pub(crate) via: String,
    pub(crate) devices: Arc<dyn DeviceStore>,
    pub(crate) accounts: Arc<dyn AccountStore>,
    pub(crate) people: Directory,
    pub(crate) logins: Logins,
    pub(crate) first_run: Option<FirstRun>,
    /// Something was changed in the stores by this process.
    pub(crate) changed: Notify,
    /// Until when policy `adopt` holds.
    pub(crate) adopt_until: UnixMillis,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) directory: Arc<dyn NodeDirectory>,
    pub(crate) signer: TokenSigner,
    pub(crate) verifier: TokenVerifier,
    pub(crate) sessions: Sessions,
    pub(crate) snapshots: Snapshots,
    pub(crate) talkers: TalkLocks,
    pub(crate) healths: Healths,
    pub(crate) uses: Uses,
    pub(crate) pending: PendingDevices,
    pub(crate) nodes: NodeLinks,
    pub(crate) operations: Operations,
    pub(crate) events: Events,
    pub(crate) streams: ToldStreams,
    pub(crate) webhooks: Webhooks,
    pub(crate) seen: SeenDevices,
    pub(crate) tickets: Tickets,
    pub(crate) listeners: Listeners,
    pub(crate) metrics: Metrics,
    pub(crate) links: Links,
    pub(crate) fingerprints: Fingerprints,
    pub(crate) guard: Guard,
    pub(crate) long_messages: LongMessages,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::conn::TlsDoor>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Against what requests are checked.
    pub(crate) fn checks(&self) -> Checks<'_> {
        Checks {
            config: &self.config,
            built_in: &self.secrets.api_key,
            people: &self.people,
            logins: &self.logins,
            now: self.now(),
        }
    }

    /// Whether unknown old devices are taken with the token that they bring.
    pub(crate) fn adopts(&self) -> bool {
        let now = self.now();
        (self.config.policy == Policy::Adopt && now < self.adopt_until) || self.people.adopts(now)
    }

    /// What a token says that is made now. It counts also if something was taken back from the
    /// same subject in this very second.
    pub(crate) fn claims(
        &self,
        path: StreamPath,
        action: TokenAction,
        subject: &str,
        ttl: Duration,
    ) -> Claims {
        let mut claims = Claims::new(path, action, subject, self.now(), ttl.as_secs());
        let list = self.verifier.revocations();
        claims.iat = claims.iat.max(list.not_before(subject, &claims.path));
        claims
    }

    /// The connection id that devices see: 32 hex digits.
    pub(crate) fn connection_id(&self, link: u64) -> String {
        format!("{}{link:016x}", self.via.get(..16).unwrap_or_default())
    }

    /// Waits. `false`: we shut down meanwhile.
    pub(crate) async fn wait(&self, delay: Duration) -> bool {
        if delay.is_zero() {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => true,
            () = self.shutdown.cancelled() => false,
        }
    }

    /// Runs something that outlives the connection that asked for it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

/// Every connection that is new or in the device loop, for the sweep and the shutdown.
#[derive(Debug, Default)]
pub(crate) struct Links {
    next: AtomicU64,
    table: Mutex<HashMap<u64, Watched>>,
}

/// A connection, and when it has to be looked at: ten thousand that are looked at each second
/// would be the most expensive thing that a CMS at rest does.
#[derive(Debug)]
struct Watched {
    link: Arc<Link>,
    look_at: UnixMillis,
}

impl Links {
    /// An id for a connection of either loop.
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn insert(&self, link: Link) -> Arc<Link> {
        let link = Arc::new(link);
        let watched = Watched {
            link: link.clone(),
            look_at: UnixMillis(0),
        };
        self.table.lock().insert(link.id, watched);
        link
    }

    pub(crate) fn remove(&self, id: u64) {
        self.table.lock().remove(&id);
    }

    /// Closes all that are overdue.
    pub(crate) fn sweep(&self, now: UnixMillis, config: &CmsConfig) {
        for watched in self.table.lock().values_mut() {
            if now < watched.look_at {
                continue;
            }
            watched.look_at = watched.link.overdue_at(now, config);
            if watched.look_at <= now {
                watched.link.close();
            }
        }
    }

    pub(crate) fn close_all(&self) {
        for watched in self.table.lock().values() {
            watched.link.close();
        }
    }
}
