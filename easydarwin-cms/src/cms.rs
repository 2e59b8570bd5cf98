use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::accounts::{follow, remember_revocations};
use crate::conn::accept_loop;
use crate::devices::{self, write_uses};
use crate::error::CmsError;
use crate::events::Writer;
use crate::handle::CmsHandle;
use crate::nodes;
use crate::state::State;
use crate::webhooks;

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

/// A CMS whose port is open.
#[derive(Debug)]
pub struct Cms {
    pub(crate) handle: CmsHandle,
    pub(crate) listener: TcpListener,
    pub(crate) local: SocketAddr,
    pub(crate) writer: Writer,
}

impl Cms {
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
