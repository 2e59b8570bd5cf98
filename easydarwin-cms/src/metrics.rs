//! What happens, counted for a monitoring system. Nothing here has a label that strangers or
//! devices could choose: the number of time series does not depend on them.

use std::time::Duration;

use easydarwin_core::protocol::ErrorNum;
use easydarwin_core::registry::{PresenceError, StoreError};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::state::State;
use crate::streams::{Progress, Stage};

/// What [`Metrics::render`] writes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A media node whose clock is off by more is counted.
pub(crate) const SKEW: Duration = Duration::from_secs(2);

type One = [(&'static str, &'static str); 1];
type Two = [(&'static str, &'static str); 2];
type Times = Family<One, Histogram, fn() -> Histogram>;

/// From what a camera nearby needs to the longest deadline.
const SECONDS: [f64; 12] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0,
];

/// Why somebody was turned away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    /// The limit of connections.
    Limit,
    /// The limit of strangers' connections of one address.
    Crowded,
    /// Too many wrong secrets from the address.
    Blocked,
    /// A wrong API key or session.
    WrongKey,
}

impl Refused {
    fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Crowded => "crowded",
            Self::Blocked => "blocked",
            Self::WrongKey => "wrong_key",
        }
    }
}

/// All counts of one CMS.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) keep_alives: Counter,
    pub(crate) connections: Gauge,
    registers: Family<One, Counter>,
    snapshots: Family<One, Counter>,
    told: Family<One, Counter>,
    refused: Family<One, Counter>,
    operations: Family<Two, Counter>,
    operation_seconds: Times,
    devices: Family<One, Gauge>,
    looked: Looked,
}

/// What is looked at when somebody asks.
#[derive(Debug, Default)]
struct Looked {
    nodes: Gauge,
    skewed: Gauge,
    streams: Gauge,
    viewers: Gauge,
    running: Gauge,
    connected: Gauge,
    pending: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("easydarwin_cms");
        let info = Family::<One, Gauge>::default();
        info.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))])
            .set(1);
        registry.register("build_info", "The program that runs; always 1", info);
        let times: Times =
            Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        let metrics = Self {
            keep_alives: Counter::default(),
            connections: Gauge::default(),
            registers: Family::default(),
            snapshots: Family::default(),
            told: Family::default(),
            refused: Family::default(),
            operations: Family::default(),
            operation_seconds: times,
            devices: Family::default(),
            looked: Looked::default(),
            registry,
        };
        metrics.named()
    }

    fn named(mut self) -> Self {
        let own = &mut self.registry;
        let looked = &self.looked;
        own.register(
            "keep_alives",
            "Keep-alives of devices",
            self.keep_alives.clone(),
        );
        own.register(
            "connections",
            "Open connections of all kinds",
            self.connections.clone(),
        );
        own.register(
            "registers",
            "Registers of devices by result",
            self.registers.clone(),
        );
        own.register(
            "snapshots",
            "Snapshots of devices by result",
            self.snapshots.clone(),
        );
        own.register(
            "device_events",
            "What devices told of themselves, by result",
            self.told.clone(),
        );
        own.register(
            "refused",
            "Who was turned away, by cause",
            self.refused.clone(),
        );
        own.register(
            "operations",
            "Streams on request that came to an end, by the stage reached and the result",
            self.operations.clone(),
        );
        own.register(
            "operation_seconds",
            "How long the stages of streams on request took that were passed",
            self.operation_seconds.clone(),
        );
        own.register("devices", "Devices by state", self.devices.clone());
        for (name, help, gauge) in [
            (
                "devices_connected",
                "Devices with a connection",
                &looked.connected,
            ),
            (
                "devices_pending",
                "Unknown serials that tried to register",
                &looked.pending,
            ),
            ("nodes", "Media nodes that have joined", &looked.nodes),
            (
                "nodes_skewed",
                "Media nodes whose clock is off by more than 2 s",
                &looked.skewed,
            ),
            ("streams", "Streams at the media nodes", &looked.streams),
            ("viewers", "Viewers at the media nodes", &looked.viewers),
            (
                "operations_running",
                "Streams that are being brought",
                &looked.running,
            ),
        ] {
            own.register(name, help, gauge.clone());
        }
        self
    }

    pub(crate) fn register(&self, error: ErrorNum) {
        let result = match error {
            ErrorNum::OK => "ok",
            ErrorNum::UNAUTHORIZED => "unauthorized",
            ErrorNum::FORBIDDEN => "forbidden",
            ErrorNum::CONFLICT => "conflict",
            ErrorNum::BAD_REQUEST => "bad_request",
            _ => "unavailable",
        };
        self.registers.get_or_create(&[("result", result)]).inc();
    }

    pub(crate) fn snapshot(&self, taken: bool) {
        let result = if taken { "ok" } else { "refused" };
        self.snapshots.get_or_create(&[("result", result)]).inc();
    }

    pub(crate) fn told(&self, error: ErrorNum) {
        let result = match error {
            ErrorNum::OK => "ok",
            ErrorNum::TOO_MANY => "too_many",
            _ => "refused",
        };
        self.told.get_or_create(&[("result", result)]).inc();
    }

    pub(crate) fn refused(&self, cause: Refused) {
        let labels = [("cause", cause.as_str())];
        self.refused.get_or_create(&labels).inc();
    }

    /// One has come to an end.
    pub(crate) fn operation(&self, progress: &Progress) {
        let reached = progress.steps.iter().rev().map(|(stage, _)| *stage);
        let reached = reached
            .clone()
            .find(|stage| *stage != Stage::Failed)
            .unwrap_or(Stage::Requested);
        let result = match &progress.outcome {
            Some(Ok(_)) => "ready",
            Some(Err(error)) => error.stage(),
            None => return,
        };
        let labels = [("stage", reached.as_str()), ("result", result)];
        self.operations.get_or_create(&labels).inc();
        for pair in progress.steps.windows(2) {
            let [(_, from), (stage, to)] = pair else {
                continue;
            };
            // A failure's time is a deadline, not a measurement.
            if *stage != Stage::Failed {
                self.took(stage.as_str(), to.since(*from));
            }
        }
        if let (Some(Ok(_)), Some((_, from)), Some((_, to))) = (
            &progress.outcome,
            progress.steps.first(),
            progress.steps.last(),
        ) {
            self.took("total", to.since(*from));
        }
    }

    fn took(&self, stage: &'static str, time: Duration) {
        let labels = [("stage", stage)];
        self.operation_seconds
            .get_or_create(&labels)
            .observe(time.as_secs_f64());
    }

    /// Everything as text.
    pub(crate) async fn render(&self, state: &State) -> Result<String, Failed> {
        self.look(state).await?;
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        Ok(text)
    }

    async fn look(&self, state: &State) -> Result<(), Failed> {
        let looked = &self.looked;
        let nodes = state.directory.nodes().await?;
        looked.nodes.set(count(nodes.len()));
        let limit = i64::try_from(SKEW.as_millis()).unwrap_or(i64::MAX);
        let off = nodes
            .iter()
            .filter(|n| n.skew_ms.is_some_and(|skew| skew.saturating_abs() > limit));
        looked.skewed.set(count(off.count()));
        let viewers: u64 = nodes.iter().map(|n| u64::from(n.load.viewers)).sum();
        looked
            .viewers
            .set(i64::try_from(viewers).unwrap_or(i64::MAX));
        let streams = state.directory.streams().await?;
        looked.streams.set(count(streams.len()));
        looked.running.set(count(state.operations.running()));
        looked.connected.set(count(state.sessions.all().len()));
        looked.pending.set(count(state.pending.all().len()));
        let mut counts = std::collections::BTreeMap::<&'static str, usize>::new();
        for entry in state.presence.list(&[], None, usize::MAX).await? {
            *counts.entry(entry.state.as_str()).or_default() += 1;
        }
        // A state that nobody is in any more is 0, not what it was.
        self.devices.clear();
        for (name, number) in counts {
            self.devices
                .get_or_create(&[("state", name)])
                .set(count(number));
        }
        Ok(())
    }
}

/// What is counted could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Presence(#[from] PresenceError),
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
