//! The task of one forward.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::ForwardOutput;
use super::forwards::{Forward, Forwards};
use super::push::{not_had, push};
use crate::pull::Failure;
use crate::registry::Principal;
use crate::server::DemandError;

/// Without anything else to wait for.
const IDLE: Duration = Duration::from_secs(3600);

/// A connection and the token that ends it.
struct Pushing {
    attempt: u64,
    stop: CancellationToken,
    done: BoxFuture<'static, Failure>,
}

enum Wake {
    Pushed(u64, Failure),
    Demanded(DemandError),
    Ready,
    Stop,
}

/// Serves one forward until it is stopped.
pub(super) async fn run(forwards: Forwards, forward: Arc<Forward>) {
    let mut pushing: Option<Pushing> = None;
    let mut demanding: Option<BoxFuture<'static, DemandError>> = None;
    // Connections that are being ended: they need time for their goodbye.
    let mut leaving: Vec<BoxFuture<'static, Failure>> = Vec::new();
    let mut stopping = false;
    forward.engine.lock().start();
    loop {
        let now = Instant::now();
        let path = forward.path();
        let live = forwards.hub().get(&path).is_some();
        {
            let mut engine = forward.engine.lock();
            engine.set_live(live && !stopping);
            engine.handle_timeout(now);
        }
        if live {
            demanding = None;
        }
        loop {
            let output = forward.engine.lock().poll_output();
            let Some(output) = output else { break };
            match output {
                ForwardOutput::Connect { attempt } => {
                    pushing = connect(&forwards, &forward, attempt);
                    if pushing.is_none() {
                        // It ended in this moment; its event wakes us.
                        forward.engine.lock().set_live(false);
                    }
                }
                ForwardOutput::Disconnect => {
                    if let Some(old) = pushing.take() {
                        old.stop.cancel();
                        leaving.push(old.done);
                    }
                }
                ForwardOutput::Demand => {
                    let (on_demand, path) = (forwards.on_demand(), path.clone());
                    demanding = on_demand.map(|on_demand| -> BoxFuture<'static, DemandError> {
                        Box::pin(async move {
                            let viewer = Principal::Named("forward".into());
                            match on_demand.demand(&path, &viewer).await {
                                // Now it comes; that is seen elsewhere.
                                Ok(()) => std::future::pending().await,
                                Err(error) => error,
                            }
                        })
                    });
                }
                ForwardOutput::Failed(failure, wait) => {
                    tracing::warn!(%path, %failure, wait_ms = wait.as_millis(), "forward lost; trying again");
                }
                ForwardOutput::Changed => {}
            }
        }
        if stopping && leaving.is_empty() {
            return;
        }
        let due = forward.engine.lock().poll_timeout();
        let due = due.unwrap_or_else(|| Instant::now() + IDLE);
        let wake = {
            let mut sleep = pin!(tokio::time::sleep_until(due.into()));
            let mut woken = pin!(forward.wake.notified());
            let mut stopped = pin!(forward.stop.cancelled());
            poll_fn(|cx| {
                let before = leaving.len();
                leaving.retain_mut(|done| done.as_mut().poll(cx).is_pending());
                if let Some(pushing) = &mut pushing
                    && let Poll::Ready(failure) = pushing.done.as_mut().poll(cx)
                {
                    return Poll::Ready(Wake::Pushed(pushing.attempt, failure));
                }
                if let Some(demand) = &mut demanding
                    && let Poll::Ready(error) = demand.as_mut().poll(cx)
                {
                    return Poll::Ready(Wake::Demanded(error));
                }
                if !stopping && stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Wake::Stop);
                }
                let ready = leaving.len() < before
                    || sleep.as_mut().poll(cx).is_ready()
                    || woken.as_mut().poll(cx).is_ready();
                match ready {
                    true => Poll::Ready(Wake::Ready),
                    false => Poll::Pending,
                }
            })
            .await
        };
        let now = Instant::now();
        let mut engine = forward.engine.lock();
        match wake {
            Wake::Ready => {}
            Wake::Stop => {
                stopping = true;
                engine.stop();
            }
            Wake::Pushed(attempt, failure) => {
                pushing = None;
                // The stream ended: no failure, and no other to wait for unless it comes back.
                match failure {
                    Failure::Stopped => engine.set_live(false),
                    failure => engine.ended(attempt, failure, now),
                }
            }
            Wake::Demanded(error) => {
                demanding = None;
                let attempt = engine.attempt();
                engine.ended(attempt, not_had(&error), now);
            }
        }
    }
}

fn connect(forwards: &Forwards, forward: &Arc<Forward>, attempt: u64) -> Option<Pushing> {
    let spec = forward.engine.lock().spec().clone();
    let stream = forwards.hub().get(&spec.path)?;
    let stop = CancellationToken::new();
    let recording = {
        let forward = Arc::clone(forward);
        move || forward.engine.lock().connected(attempt, Instant::now())
    };
    let seen = Arc::clone(&forward.seen);
    let config = forwards.config().clone();
    Some(Pushing {
        attempt,
        done: Box::pin(push(stream, spec, config, seen, stop.clone(), recording)),
        stop,
    })
}
