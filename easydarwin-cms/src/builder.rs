use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::node::Revoked;
use easydarwin_core::protocol::{check_serial, login};
use easydarwin_core::registry::{
    AccountStore, Author, Cidr, CmsClock, Credential, DeviceChange, DevicePatch, DeviceStore,
    Event, EventLog, MemoryEventLog, MemoryNodeDirectory, MemoryPresence, MemoryStore,
    NodeDirectory, Presence, PresenceTiming, Secret, TokenSigner, TokenVerifier, UnixMillis,
    random_bytes,
};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::{Directory, FirstRun, Logins, follow, remember_revocations};
use crate::config::{CmsConfig, LegacyClient, LegacyLevel, Policy, Secrets};
use crate::conn::{Fingerprints, LongMessages, accept_loop, bind};
use crate::devices::{
    self, PendingDevices, SeenDevices, Sessions, Snapshots, TalkLocks, Uses, write_uses,
};
use crate::error::CmsError;
use crate::events::{Events, ToldStreams, Writer};
use crate::guard::Guard;
use crate::http::{Listeners, Tickets};
use crate::metrics::Metrics;
use crate::nodes::{self, NodeLinks};
use crate::state::{Links, State};
use crate::streams::Operations;
use crate::webhooks::{self, MemoryWebhooks, WebhookStore, Webhooks};

/// How often time-outs are looked at, all in one pass.
const SWEEP: Duration = Duration::from_secs(1);

/// How often things are written down that may be lost in a crash.
const WRITE_DOWN: Duration = Duration::from_secs(60);

/// How long connections get at the shutdown to finish what they are answering.
const DRAIN: Duration = Duration::from_secs(3);

/// How long the last events may take to be written at the shutdown.
const LAST_EVENTS: Duration = Duration::from_secs(10);

/// How often it is written down when the devices that are there were last heard.
const WRITE_PRESENT: Duration = Duration::from_secs(600);

/// How long media nodes get after the start to come back with their streams.
const NODES_RETURN: Duration = Duration::from_secs(30);

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

/// A CMS whose port is open.
#[derive(Debug)]
pub struct Cms {
    handle: CmsHandle,
    listener: TcpListener,
    local: SocketAddr,
    writer: Writer,
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

    /// Address of the port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Something to hold on to while it runs.
    pub fn handle(&self) -> CmsHandle {
        self.handle.clone()
    }

    /// See [`CmsHandle::provision_key`].
    ///
    /// # Errors
    /// [`CmsError::Serial`], [`CmsError::Store`].
    pub async fn provision_key(&self, serial: &str, key: &str) -> Result<(), CmsError> {
        self.handle.provision_key(serial, key).await
    }

    /// Answers until `shutdown` is there, then ends what is being answered and closes all.
    ///
    /// # Errors
    /// [`CmsError`] if the stores fail at the start.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), CmsError> {
        let state = self.handle.state;
        let closing = CancellationToken::new();
        let writing = tokio::spawn(self.writer.run(closing.clone()));
        state.streams.recall(&**state.events.log()).await?;
        devices::expect_known(&state).await?;
        let audited = state.accounts.audit_end().await?;
        state.people.reload(&*state.accounts, state.now()).await?;
        remember_revocations(&state, audited).await?;
        state.spawn(follow(state.clone(), audited));
        webhooks::start_all(&state).await?;
        state.spawn(accept_loop(state.clone(), self.listener));
        state.spawn(sweep(state.clone()));
        state.spawn(write_down(state.clone()));
        #[cfg(feature = "tls")]
        state.spawn(crate::conn::TlsDoor::watch(state.clone()));
        shutdown.await;
        tracing::info!("shutting down");
        state.shutdown.cancel();
        state.links.close_all();
        state.tasks.close();
        if tokio::time::timeout(DRAIN, state.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some connections did not end in time");
        }
        write_uses(&state).await;
        devices::write_changed(&state).await;
        devices::write_present(&state).await;
        state.events.stopped(state.now());
        closing.cancel();
        if tokio::time::timeout(LAST_EVENTS, writing).await.is_err() {
            tracing::error!("the last events could not be written in time");
        }
        Ok(())
    }
}

/// Writes down now and then what may be lost in a crash.
async fn write_down(state: Arc<State>) {
    let mut tick = tokio::time::interval(WRITE_DOWN);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => write_uses(&state).await,
            () = state.shutdown.cancelled() => return,
        }
    }
}

/// One pass over everything that has a deadline.
async fn sweep(state: Arc<State>) {
    let mut tick = tokio::time::interval(SWEEP.min(state.config.node_lease / 3));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let begin = state.now();
    let (mut settled, mut written) = (false, begin);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = state.shutdown.cancelled() => return,
        }
        let now = state.now();
        state.links.sweep(now, &state.config);
        state.guard.sweep();
        nodes::sweep(&state).await;
        match state.presence.sweep(now).await {
            Ok(changed) => {
                for transition in &changed {
                    devices::changed(&state, transition).await;
                }
            }
            Err(error) => tracing::error!(%error, "presence could not be swept"),
        }
        devices::write_changed(&state).await;
        if now.since(written) >= WRITE_PRESENT {
            written = now;
            devices::write_present(&state).await;
        }
        if !settled && now.since(begin) >= NODES_RETURN.max(state.config.node_lease * 2) {
            settled = true;
            state.streams.settle(&state.events, now);
        }
    }
}

/// A running CMS, for whoever embeds it.
#[derive(Debug, Clone)]
pub struct CmsHandle {
    state: Arc<State>,
}

impl CmsHandle {
    /// Lets a device in that proves this key (ED1), besides what it could prove before.
    ///
    /// # Errors
    /// [`CmsError::Serial`], [`CmsError::Store`].
    pub async fn provision_key(&self, serial: &str, key: &str) -> Result<(), CmsError> {
        let verifier = login::DeviceKey::new(key, serial).verifier().clone();
        self.provision(serial, "key", Secret::Key(verifier)).await
    }

    /// Lets an old device in that brings this token.
    ///
    /// # Errors
    /// [`CmsError::Serial`], [`CmsError::Store`].
    pub async fn provision_token(&self, serial: &str, token: &str) -> Result<(), CmsError> {
        let digest = login::token_digest(&self.state.secrets.pepper, serial, token);
        self.provision(serial, "token", Secret::Token(digest)).await
    }

    async fn provision(&self, serial: &str, id: &str, secret: Secret) -> Result<(), CmsError> {
        check_serial(serial).map_err(|_| CmsError::Serial(serial.to_owned()))?;
        let by = Author::system(self.state.now());
        let credential = Credential::new(id, secret, by.at);
        let changes = vec![
            DeviceChange::Patch(serial.to_owned(), DevicePatch::default()),
            DeviceChange::PutCredential(serial.to_owned(), credential),
        ];
        self.state.devices.change(changes, &by).await?;
        self.state.changed.notify_one();
        Ok(())
    }

    /// Takes back what was given until now to a subject, for a device or for a stream: tokens of
    /// before are refused, here and at the media nodes, and the sessions that began with them
    /// end. A device's connection is closed, too.
    pub fn revoke(&self, what: Revoked) {
        nodes::revoke(&self.state, [what]);
    }

    /// The key that clients bring.
    pub fn api_key(&self) -> &str {
        &self.state.secrets.api_key
    }

    /// The key that media nodes prove.
    pub fn join_key(&self) -> &str {
        &self.state.secrets.join_key
    }

    /// People, keys, groups and the audit.
    pub fn accounts(&self) -> Arc<dyn AccountStore> {
        self.state.accounts.clone()
    }

    /// Who is there.
    pub fn presence(&self) -> Arc<dyn Presence> {
        self.state.presence.clone()
    }

    /// Devices and their secrets.
    pub fn devices(&self) -> Arc<dyn DeviceStore> {
        self.state.devices.clone()
    }

    /// Tells of something of the embedder's own, in one order with everything else. Never waits;
    /// when too much comes at once, it is counted and lost.
    pub fn emit(&self, event: Event) {
        self.state.events.emit(event);
    }

    /// What happened.
    pub fn events(&self) -> Arc<dyn EventLog> {
        self.state.events.log().clone()
    }

    /// Media nodes and their streams.
    pub fn nodes(&self) -> Arc<dyn NodeDirectory> {
        self.state.directory.clone()
    }
}
