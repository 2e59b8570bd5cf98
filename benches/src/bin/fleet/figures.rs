//! What came of it, and what is asked of it.

use serde::Serialize;

use super::device::Way;

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// Devices.
    pub devices: usize,
    /// How many of them proved a key; the others sent a token.
    pub ed1_devices: usize,
    /// Where the CMS kept its devices.
    pub store: String,
    /// Devices spoke TLS to the CMS; those of the null server never do.
    pub tls: bool,
    /// From the first connection until all were registered, at the pace asked for.
    pub registered_s: f64,
    /// (RssAnon at rest - RssAnon of a CMS that knows no device) / devices.
    pub rss_bytes_per_device: f64,
    /// The part of it that is there before the first one connects: what is known of it.
    pub rss_bytes_per_known_device: f64,
    /// The same figure of the null server: connection and task, nothing else.
    pub null_rss_bytes_per_device: f64,
    /// Seconds of the window in which the next ones were measured.
    pub window_s: f64,
    /// CPU time of the CMS in percent of a core.
    pub cpu_percent_at_rest: f64,
    /// The same of the null server, in the same window.
    pub null_cpu_percent: f64,
    /// One through the other.
    pub cpu_ratio_to_null: f64,
    /// CPU time for each keep-alive.
    pub cpu_us_per_keep_alive: f64,
    /// Keep-alives a second in the window.
    pub keep_alives_per_s: f64,
    /// Mean size of the CMS's answer to one.
    pub answer_bytes: f64,
    /// The same of the null server.
    pub null_answer_bytes: f64,
    /// From keep-alive to answer, at the device.
    pub keep_alive_p99_ms: f64,
    /// The same with the null server.
    pub null_keep_alive_p99_ms: f64,
    /// CPU time of others in percent of the machine.
    pub foreign_percent: f64,
    /// The list of all devices, as old clients ask for it.
    pub list_p99_ms: f64,
    /// Its size.
    pub list_bytes: usize,
    /// The same list for the page, with states and streams.
    pub list_v2_p99_ms: f64,
    /// startdevicestream until the stream is live: of those that are watched.
    pub start_p99_ms: f64,
    /// The same of devices that stream little.
    pub start_simulated_p99_ms: f64,
    /// From the restarted CMS's readiness until all devices were back.
    pub restart_all_back_s: f64,
    /// From its start to its readiness.
    pub restart_ready_s: f64,
    /// Streams that were watched.
    pub streams: usize,
    /// Packets that viewers got.
    pub media_packets: u64,
    /// Packets that they did not get.
    pub media_lost_packets: u64,
    /// Viewers whose connection ended.
    pub viewers_ended: usize,
    /// From a device's send to the viewer's kernel.
    pub media_delay_p99_ms: f64,
    /// What snapshots cost, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<SnapshotFigures>,
}

/// The load of snapshots, each device one in 180 s beside its keep-alives.
#[derive(Debug, Serialize)]
pub struct SnapshotFigures {
    /// How they travelled.
    pub way: Way,
    /// Snapshots taken a second.
    pub per_s: f64,
    /// CPU time of the CMS in percent of a core, keep-alives included.
    pub cpu_percent: f64,
    /// RssAnon of the CMS with a picture of each device.
    pub rss_bytes: u64,
    /// From keep-alive to answer, at the device, beside them.
    pub keep_alive_p99_ms: f64,
}

/// Bytes of memory for a device in plain TCP.
const BYTES_PER_DEVICE: f64 = 4096.0;
/// The same over TLS: a session has keys and buffers of its own.
const BYTES_PER_TLS_DEVICE: f64 = 16_384.0;
/// CPU time in the null server's.
const CPU_RATIO: f64 = 1.3;
/// CPU time in percent of a core.
const CPU_PERCENT: f64 = 2.5;
/// Seconds until all are back.
const ALL_BACK: f64 = 15.0;

impl Figures {
    /// Each figure that has a target, as (name, value, target, whether it is met).
    fn targets(&self) -> Vec<(&'static str, f64, f64, bool)> {
        let at_most = |name, value: f64, target: f64| (name, value, target, value <= target);
        let memory = match self.tls {
            true => BYTES_PER_TLS_DEVICE,
            false => BYTES_PER_DEVICE,
        };
        let mut targets = vec![
            at_most("rss_bytes_per_device", self.rss_bytes_per_device, memory),
            at_most("media_lost_packets", self.media_lost_packets as f64, 0.0),
            at_most("viewers_ended", self.viewers_ended as f64, 0.0),
        ];
        // A session costs what it costs, and a herd comes back at the pace of handshakes.
        if !self.tls {
            targets.extend([
                at_most("cpu_ratio_to_null", self.cpu_ratio_to_null, CPU_RATIO),
                at_most("cpu_percent_at_rest", self.cpu_percent_at_rest, CPU_PERCENT),
                at_most("restart_all_back_s", self.restart_all_back_s, ALL_BACK),
            ]);
        }
        targets
    }

    /// What is not as it should be.
    pub fn missed(&self) -> Vec<String> {
        self.targets()
            .into_iter()
            .filter(|(.., met)| !met)
            .map(|(name, value, target, _)| format!("{name} is {value:.2}, at most {target} asked"))
            .collect()
    }

    /// A table in Markdown.
    pub fn table(&self) -> String {
        let mut text = String::from("| figure | value | target |\n|---|---|---|\n");
        let targets = self.targets();
        let mut row = |name: &str, value: String| {
            let target = targets.iter().find(|target| target.0 == name);
            let target = target.map_or(String::new(), |(_, _, at_most, met)| {
                format!("{at_most}{}", if *met { "" } else { ", missed" })
            });
            text.push_str(&format!("| `{name}` | {value} | {target} |\n"));
        };
        for (name, value) in [
            ("registered_s", self.registered_s),
            ("rss_bytes_per_device", self.rss_bytes_per_device),
            (
                "rss_bytes_per_known_device",
                self.rss_bytes_per_known_device,
            ),
            ("null_rss_bytes_per_device", self.null_rss_bytes_per_device),
            ("cpu_ratio_to_null", self.cpu_ratio_to_null),
            ("cpu_percent_at_rest", self.cpu_percent_at_rest),
            ("null_cpu_percent", self.null_cpu_percent),
            ("cpu_us_per_keep_alive", self.cpu_us_per_keep_alive),
            ("keep_alive_p99_ms", self.keep_alive_p99_ms),
            ("null_keep_alive_p99_ms", self.null_keep_alive_p99_ms),
            ("foreign_percent", self.foreign_percent),
            ("list_p99_ms", self.list_p99_ms),
            ("list_v2_p99_ms", self.list_v2_p99_ms),
            ("start_p99_ms", self.start_p99_ms),
            ("start_simulated_p99_ms", self.start_simulated_p99_ms),
            ("restart_ready_s", self.restart_ready_s),
            ("restart_all_back_s", self.restart_all_back_s),
            ("media_delay_p99_ms", self.media_delay_p99_ms),
        ] {
            row(name, format!("{value:.2}"));
        }
        row("media_packets", self.media_packets.to_string());
        row("media_lost_packets", self.media_lost_packets.to_string());
        row("viewers_ended", self.viewers_ended.to_string());
        if let Some(snapshots) = &self.snapshots {
            row("snapshots.per_s", format!("{:.1}", snapshots.per_s));
            row(
                "snapshots.cpu_percent",
                format!("{:.2}", snapshots.cpu_percent),
            );
            row("snapshots.rss_bytes", snapshots.rss_bytes.to_string());
            row(
                "snapshots.keep_alive_p99_ms",
                format!("{:.2}", snapshots.keep_alive_p99_ms),
            );
            row(
                "snapshots.way",
                format!("{:?}", snapshots.way).to_lowercase(),
            );
        }
        text
    }
}
