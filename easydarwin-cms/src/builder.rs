use std::sync::Arc;

use easydarwin_core::registry::{
    AccountStore, Cidr, CmsClock, DeviceStore, EventLog, MemoryEventLog, MemoryNodeDirectory,
    MemoryPresence, MemoryStore, NodeDirectory, Presence, PresenceTiming, TokenSigner,
    TokenVerifier, UnixMillis, random_bytes,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::{Directory, FirstRun, Logins};
use crate::cms::Cms;
use crate::config::{CmsConfig, LegacyClient, LegacyLevel, Policy, Secrets};
use crate::conn::{Fingerprints, LongMessages, bind};
use crate::devices::{Healths, PendingDevices, SeenDevices, Sessions, Snapshots, TalkLocks, Uses};
use crate::error::CmsError;
use crate::events::{Events, ToldStreams};
use crate::guard::Guard;
use crate::handle::CmsHandle;
use crate::http::{Listeners, Tickets};
use crate::metrics::Metrics;
use crate::nodes::NodeLinks;
use crate::state::{Links, State};
use crate::streams::Operations;
use crate::webhooks::{MemoryWebhooks, WebhookStore, Webhooks};

/// Puts a CMS together.
pub struct CmsBuilder {
    config: CmsConfig,
    secrets: Option<Secrets>,
    devices: Option<Arc<dyn DeviceStore>>,
    accounts: Option<Arc<dyn AccountStore>>,
    first_run: Option<FirstRun>,
    presence: Option<Arc<dyn Presence>>,
    directory: Option<Arc<dyn NodeDirectory>>,
    #[cfg(feature = "tls")]
    tls: Option<easydarwin_core::tls::TlsConfig>,
    events: Option<Arc<dyn EventLog>>,
    webhooks: Option<Arc<dyn WebhookStore>>,
}

impl std::fmt::Debug for CmsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CmsBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl CmsBuilder {
    /// Secrets of an earlier run; default: new ones.
    #[must_use]
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Clients of this network need no API key.
    #[must_use]
    pub fn legacy_client(mut self, network: Cidr, level: LegacyLevel) -> Self {
        self.config
            .legacy_clients
            .push(LegacyClient { network, level });
        self
    }

    /// Where devices, people and keys are kept, such as an `SqliteStore`; default: in memory.
    #[must_use]
    pub fn store<S: DeviceStore + AccountStore>(mut self, store: Arc<S>) -> Self {
        self.devices = Some(store.clone());
        self.accounts = Some(store);
        self
    }

    /// Where devices and their secrets are kept, if somewhere else than people and keys.
    #[must_use]
    pub fn device_store(mut self, store: Arc<dyn DeviceStore>) -> Self {
        self.devices = Some(store);
        self
    }

    /// Where people and keys are kept, if somewhere else than devices.
    #[must_use]
    pub fn account_store(mut self, store: Arc<dyn AccountStore>) -> Self {
        self.accounts = Some(store);
        self
    }

    /// Where the secret is with which the first administrator sets a password.
    #[must_use]
    pub fn first_run(mut self, first_run: FirstRun) -> Self {
        self.first_run = Some(first_run);
        self
    }

    /// Who is there; default: in memory.
    #[must_use]
    pub fn presence(mut self, presence: Arc<dyn Presence>) -> Self {
        self.presence = Some(presence);
        self
    }

    /// Where streams are; default: in memory.
    #[must_use]
    pub fn node_directory(mut self, directory: Arc<dyn NodeDirectory>) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Takes TLS, too, on the one port.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: easydarwin_core::tls::TlsConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Where events are kept, such as an `SqliteStore`; default: in memory.
    #[must_use]
    pub fn event_log(mut self, log: Arc<dyn EventLog>) -> Self {
        self.events = Some(log);
        self
    }

    /// Where webhooks are kept; default: in memory. Each has a place in the event log, so that
    /// has to be as durable.
    #[must_use]
    pub fn webhook_store(mut self, store: Arc<dyn WebhookStore>) -> Self {
        self.webhooks = Some(store);
        self
    }

    /// Opens the port. Nothing is answered before [`Cms::run`].
    ///
    /// # Errors
    /// [`CmsError`]: the port is taken, policy `open` on a public address, no random bytes.
    pub async fn build(self) -> Result<Cms, CmsError> {
        let config = self.config;
        check(&config)?;
        let secrets = match self.secrets {
            Some(secrets) => secrets,
            None => Secrets::generate()?,
        };
        let memory = Arc::new(MemoryStore::new());
        let devices = self.devices.unwrap_or_else(|| memory.clone());
        let accounts = self.accounts.unwrap_or(memory);
        let epoch = devices.begin_epoch().await?;
        let presence = self.presence.unwrap_or_else(|| {
            let timing = PresenceTiming {
                lease: config.idle,
                grace: config.grace,
            };
            Arc::new(MemoryPresence::new(epoch, timing))
        });
        let directory = self
            .directory
            .unwrap_or_else(|| Arc::new(MemoryNodeDirectory::default()));
        let log = match self.events {
            Some(log) => log,
            None => Arc::new(MemoryEventLog::new(MemoryEventLog::DEFAULT_RETENTION)?),
        };
        let (events, writer) = Events::new(log);
        let clock = CmsClock::new();
        events.started(clock.now()).await?;
        let signer = TokenSigner::from_seed(secrets.token_seed);
        let verifier = TokenVerifier::new();
        verifier.set_keys([signer.public_key().key.as_str()])?;
        let listener = bind(config.listen)?;
        let local = listener.local_addr().map_err(|source| CmsError::Listen {
            address: config.listen,
            source,
        })?;
        let via: [u8; 16] = random_bytes()?;
        let state = Arc::new(State {
            clock,
            epoch,
            via: via.iter().map(|byte| format!("{byte:02x}")).collect(),
            devices,
            accounts,
            people: Directory::default(),
            logins: Logins::default(),
            first_run: self.first_run,
            changed: Notify::new(),
            adopt_until: UnixMillis::system().plus(config.adopt_for),
            presence,
            directory,
            signer,
            verifier,
            sessions: Sessions::default(),
            snapshots: Snapshots::new(config.max_snapshots),
            talkers: TalkLocks::default(),
            healths: Healths::default(),
            uses: Uses::default(),
            pending: PendingDevices::new(config.max_pending),
            nodes: NodeLinks::default(),
            operations: Operations::default(),
            events,
            streams: ToldStreams::default(),
            webhooks: Webhooks::new(
                self.webhooks
                    .unwrap_or_else(|| Arc::<MemoryWebhooks>::default()),
            ),
            seen: SeenDevices::default(),
            tickets: Tickets::default(),
            listeners: Listeners::default(),
            metrics: Metrics::new(),
            links: Links::default(),
            fingerprints: Fingerprints::default(),
            guard: Guard::new(&config),
            long_messages: LongMessages::new(config.max_long_messages),
            #[cfg(feature = "tls")]
            tls: self
                .tls
                .map(|tls| crate::conn::TlsDoor::new(tls, config.handshakes_per_second)),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            config,
            secrets,
        });
        Ok(Cms {
            handle: CmsHandle { state },
            listener,
            local,
            writer,
        })
    }
}

/// What can be said of a configuration before it is used.
pub(crate) fn check(config: &CmsConfig) -> Result<(), CmsError> {
    if config.policy == Policy::Open && !config.i_know && !config.listen.ip().is_loopback() {
        return Err(CmsError::OpenOnPublicAddress {
            address: config.listen,
        });
    }
    Ok(())
}

impl Cms {
    /// Begins with a configuration.
    pub fn builder(config: CmsConfig) -> CmsBuilder {
        CmsBuilder {
            config,
            secrets: None,
            devices: None,
            accounts: None,
            first_run: None,
            presence: None,
            directory: None,
            #[cfg(feature = "tls")]
            tls: None,
            events: None,
            webhooks: None,
        }
    }
}
