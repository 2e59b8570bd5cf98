//! The link between a media node and its CMS.

mod idle;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::session::Session;
use super::{DemandError, OnDemand, ServerHandle};
use crate::protocol::node::{DemandAck, Endpoint};
use crate::registry::{
    CmsClock, GrantTable, Principal, StreamPath, TokenAuthorizer, TokenVerifier,
};

/// Paths that may wait to be asked of the CMS; further viewers get 503.
const DEMAND_QUEUE: usize = 256;
/// First and longest pause before the CMS is tried again; the true one is random below.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// How a node finds its CMS and how it presents itself.
#[derive(Clone)]
#[non_exhaustive]
pub struct NodeConfig {
    /// Host and port of the CMS.
    pub cms: String,
    /// The key that proves that this node belongs to the CMS.
    pub join_key: String,
    /// The node's name, `[A-Za-z0-9_-]{1,64}`, the same after each restart.
    pub node_id: String,
    /// Host under which cameras and players reach the node. `None`: the address from which it
    /// speaks to the CMS.
    pub advertise: Option<String>,
    /// The node's endpoints when one host for everybody does not do; replaces `advertise`.
    pub endpoints: Vec<Endpoint>,
    /// A stream without viewers for so long is reported as idle. Default 15 s.
    pub idle: Duration,
    /// Public keys (base64url) whose tokens count beside the CMS's.
    pub local_keys: Vec<String>,
}

impl NodeConfig {
    /// A node of that CMS.
    pub fn new(
        cms: impl Into<String>,
        join_key: impl Into<String>,
        node_id: impl Into<String>,
    ) -> Self {
        Self {
            cms: cms.into(),
            join_key: join_key.into(),
            node_id: node_id.into(),
            advertise: None,
            endpoints: Vec::new(),
            idle: Duration::from_secs(15),
            local_keys: Vec::new(),
        }
    }
}

impl std::fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeConfig")
            .field("cms", &self.cms)
            .field("node_id", &self.node_id)
            .field("advertise", &self.advertise)
            .field("endpoints", &self.endpoints)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

/// Joins a CMS and keeps the link: reports what the node has, says at once what happens, executes
/// grants and closes, asks for streams that viewers want.
///
/// Without the CMS the node serves on: tokens are checked with the keys that it was given last.
/// Cheap to clone; clones are the same agent.
///
/// ```no_run
/// use easydarwin_core::server::{MediaServer, NodeAgent, NodeConfig};
/// use tokio_util::sync::CancellationToken;
///
/// # async fn example() -> Result<(), easydarwin_core::server::ServerError> {
/// let agent = NodeAgent::new(NodeConfig::new("cms.example:10000", "the join key", "node-1"));
/// let server = MediaServer::builder()
///     .authorizer(agent.authorizer())
///     .on_demand(agent.clone())
///     .build()
///     .await?;
/// let stop = CancellationToken::new();
/// let link = tokio::spawn(agent.run(server.handle(), stop.clone()));
/// server.run(std::future::pending()).await?;
/// stop.cancel();
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct NodeAgent {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: NodeConfig,
    verifier: Arc<TokenVerifier>,
    grants: Arc<GrantTable>,
    clock: Arc<CmsClock>,
    demands: Mutex<Demands>,
}

/// Who waits for what. One question to the CMS serves all viewers of a path.
#[derive(Debug, Default)]
struct Demands {
    /// Where the running session takes questions from; `None` without one.
    session: Option<mpsc::Sender<StreamPath>>,
    waiting: HashMap<StreamPath, Vec<oneshot::Sender<Result<(), DemandError>>>>,
}

impl NodeAgent {
    /// An agent that does nothing until it [runs](Self::run).
    pub fn new(config: NodeConfig) -> Self {
        let verifier = Arc::new(TokenVerifier::new());
        let agent = Self {
            inner: Arc::new(Inner {
                config,
                verifier,
                grants: Arc::new(GrantTable::new()),
                clock: Arc::new(CmsClock::new()),
                demands: Mutex::default(),
            }),
        };
        agent.inner.set_keys(&[]);
        agent
    }

    /// Lets in whom the CMS gave a token or a grant.
    pub fn authorizer(&self) -> TokenAuthorizer {
        TokenAuthorizer::new(
            self.inner.verifier.clone(),
            self.inner.grants.clone(),
            self.inner.clock.clone(),
        )
    }

    /// Whether the CMS has accepted this node and the link stands.
    pub fn is_joined(&self) -> bool {
        self.inner.demands.lock().session.is_some()
    }

    /// Keeps the link for `server` until cancelled.
    pub async fn run(self, server: ServerHandle, cancel: CancellationToken) {
        let mut attempt = 0_u32;
        let mut last_error: Option<String> = None;
        loop {
            let session = Session::run(&self.inner, &server, &mut attempt);
            let Some(error) = cancel.run_until_cancelled(session).await else {
                break;
            };
            self.inner.session_over();
            if attempt == 0 {
                last_error = None;
            }
            let pause = retry_pause(attempt);
            attempt = attempt.saturating_add(1);
            let cms = &self.inner.config.cms;
            let error = error.to_string();
            // Told once, not at each of the attempts that end in the same way.
            if last_error.as_ref() == Some(&error) {
                tracing::debug!(%cms, %error, ?pause, "still no link to the CMS");
            } else {
                tracing::warn!(%cms, %error, "no link to the CMS; serving on without it, trying again");
                last_error = Some(error);
            }
            if cancel
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                break;
            }
        }
        self.inner.session_over();
    }
}

#[async_trait]
impl OnDemand for NodeAgent {
    async fn demand(&self, path: &StreamPath, _viewer: &Principal) -> Result<(), DemandError> {
        let answer = self.inner.ask(path)?;
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(DemandError::Unavailable("the CMS went away".into())),
        }
    }
}

impl Inner {
    /// The keys of the CMS take effect beside those that the node was given itself.
    fn set_keys(&self, of_cms: &[String]) {
        let keys = self.config.local_keys.iter().chain(of_cms);
        if let Err(error) = self.verifier.set_keys(keys.map(String::as_str)) {
            tracing::error!(%error, "a key for tokens cannot be used; the keys stay as they were");
        }
    }

    /// Has the session ask the CMS for a stream, once for all who wait for it.
    fn ask(
        &self,
        path: &StreamPath,
    ) -> Result<oneshot::Receiver<Result<(), DemandError>>, DemandError> {
        let (sender, receiver) = oneshot::channel();
        let mut demands = self.demands.lock();
        let Some(session) = demands.session.clone() else {
            return Err(DemandError::Unavailable(
                "this node has no link to its CMS".into(),
            ));
        };
        let waiting = demands.waiting.entry(path.clone()).or_default();
        // Viewers who gave up meanwhile.
        waiting.retain(|other| !other.is_closed());
        let first = waiting.is_empty();
        waiting.push(sender);
        if first && session.try_send(path.clone()).is_err() {
            demands.waiting.remove(path);
            return Err(DemandError::Unavailable(
                "too many streams are asked for at once".into(),
            ));
        }
        Ok(receiver)
    }

    fn session_begins(&self) -> mpsc::Receiver<StreamPath> {
        let (sender, receiver) = mpsc::channel(DEMAND_QUEUE);
        self.demands.lock().session = Some(sender);
        receiver
    }

    /// Those who wait are told by the drop of their senders.
    fn session_over(&self) {
        *self.demands.lock() = Demands::default();
    }

    fn answered(&self, ack: &DemandAck) {
        let Ok(path) = StreamPath::parse(&ack.path) else {
            return;
        };
        let result = match ack.error.code() {
            200..=299 => Ok(()),
            404 | 603 => Err(DemandError::NotFound),
            503 => Err(DemandError::Unavailable(ack.stage.clone())),
            code if ack.stage.is_empty() => {
                Err(DemandError::Failed(format!("the CMS says {code}")))
            }
            _ => Err(DemandError::Failed(ack.stage.clone())),
        };
        let waiting = self.demands.lock().waiting.remove(&path);
        for viewer in waiting.into_iter().flatten() {
            // A viewer that gave up is no error.
            let _ = viewer.send(result.clone());
        }
    }
}

/// Grows with each failure, random below that, so that the nodes of a restarted CMS do not all
/// come at once.
fn retry_pause(attempt: u32) -> Duration {
    let longest = RETRY_FIRST
        .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX))
        .min(RETRY_LONGEST);
    longest.mul_f64(0.2 + 0.8 * fastrand::f64())
}
