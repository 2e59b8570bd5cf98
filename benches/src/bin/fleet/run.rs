//! The measurement: one stage after the other.

use std::collections::HashMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use easydarwin_benches::load::process::Process;
use easydarwin_benches::load::procfs::{self, Usage};
use easydarwin_benches::load::stats::Histogram;

use super::api::Api;
use super::device::{KEEP_ALIVE, SNAPSHOT, Way};
use super::figures::{Figures, SnapshotFigures};
use super::identity::{Identity, Secret};
use super::parts::{Parts, ask};
use super::worker::{Status, Viewed};

/// Where the CMS keeps its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// In its data directory, into which they were imported.
    Sqlite,
    /// In memory; it reads a file at its start.
    Memory,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Devices.
    pub devices: usize,
    /// Where the CMS keeps them.
    pub store: Store,
    /// Devices speak TLS to the CMS.
    pub tls: bool,
    /// Length of the window at rest.
    pub window: Duration,
    /// Devices that make themselves known each second.
    pub rate: usize,
    /// Share of devices with keys.
    pub ed1_share: f64,
    /// Streams of 2 Mbit/s with a viewer each.
    pub streams: usize,
    /// Further devices that are started and stopped.
    pub simulated: usize,
    /// How long the CMS is away.
    pub outage: Duration,
    /// Snapshots are measured, too, that travel so.
    pub snapshots: Option<Way>,
}

/// How often each list is asked for.
const LISTS: usize = 50;

/// Longest time for anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often a process is asked how far it is.
const POLL: Duration = Duration::from_millis(20);

/// A register's answer, before a real one was measured: what the null server sends.
const ANSWER: usize = 450;

/// Runs all stages.
pub fn run(plan: &Plan, parts: &Parts) -> io::Result<Figures> {
    let mut figures = Figures {
        devices: plan.devices,
        ed1_devices: (0..plan.devices)
            .filter(|i| matches!(Identity::new(*i, plan.ed1_share).secret, Secret::Key(_)))
            .count(),
        store: format!("{:?}", plan.store).to_lowercase(),
        tls: plan.tls,
        streams: plan.streams,
        ..Figures::default()
    };
    let empty = {
        let cms = parts.cms(false)?;
        settled(cms.pid()).rss_anon
    };
    parts.provision(plan)?;
    let mut cms = parts.cms(true)?;
    let known = settled(cms.pid()).rss_anon;

    say("the fleet registers");
    let begun = Instant::now();
    let mut fleet = parts.fleet(plan, None)?;
    all_registered(&mut fleet, plan.devices)?;
    figures.registered_s = begun.elapsed().as_secs_f64();

    // A first round of keep-alives, so that the null server can answer at the same length.
    thread::sleep(KEEP_ALIVE);
    let status: Status = ask(&mut fleet, "status")?;
    let answer = status.answer_bytes.checked_div(status.answers);
    let (null, null_port) = parts.null(answer.map_or(ANSWER, |n| n as usize))?;
    let null_empty = settled(null.pid()).rss_anon;
    let mut null_fleet = parts.fleet(plan, Some(null_port))?;
    all_registered(&mut null_fleet, plan.devices)?;
    thread::sleep(KEEP_ALIVE);

    say("window at rest");
    let per_device = |more: u64, less: u64| more.saturating_sub(less) as f64 / plan.devices as f64;
    let rss = procfs::usage(cms.pid()).rss_anon;
    figures.rss_bytes_per_device = per_device(rss, empty);
    figures.rss_bytes_per_known_device = per_device(known, empty);
    let null_rss = procfs::usage(null.pid()).rss_anon;
    figures.null_rss_bytes_per_device = per_device(null_rss, null_empty);
    at_rest(
        plan,
        &mut figures,
        [cms.pid(), null.pid()],
        [&mut fleet, &mut null_fleet],
    )?;
    drop((null, null_fleet));
    if let Some(way) = plan.snapshots {
        say("snapshots");
        figures.snapshots = Some(snapshots(plan, way, cms.pid(), &mut fleet)?);
    }

    say("streams");
    let api = parts.api()?;
    let node = parts.node()?;
    let mut viewers = parts.viewers()?;
    streams(plan, &api, &mut viewers, &mut figures)?;

    say("lists");
    lists(plan, &api, &mut figures)?;

    say("outage and restart");
    cms = restart(plan, parts, cms, &mut fleet, &mut figures)?;

    // Long enough for viewers to miss what the restart may have done to the streams.
    thread::sleep(Duration::from_secs(5));
    let sent: HashMap<usize, u64> = ask(&mut fleet, "pause")?;
    thread::sleep(Duration::from_secs(1));
    let viewed: Viewed = ask(&mut viewers, "finish")?;
    let tails = viewed.last.iter().map(|(stream, last)| {
        // A stream that ended was lost from there on; how much, nobody knows.
        sent.get(stream)
            .map_or(1, |sent| sent.saturating_sub(*last))
    });
    figures.media_packets = viewed.packets;
    figures.media_lost_packets = viewed.lost + tails.sum::<u64>();
    figures.viewers_ended = viewed.ended;
    figures.media_delay_p99_ms = viewed.delay_p99_ms;
    drop((node, cms));
    Ok(figures)
}

fn say(what: &str) {
    eprintln!("{what} ...");
}

/// The usage of a process that has just said that it is ready, once it does no more.
fn settled(pid: u32) -> Usage {
    let mut last = procfs::usage(pid);
    loop {
        thread::sleep(Duration::from_millis(500));
        let now = procfs::usage(pid);
        if now.rss_anon == last.rss_anon {
            return now;
        }
        last = now;
    }
}

/// Waits until all devices are registered.
fn all_registered(fleet: &mut Process, devices: usize) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let status: Status = ask(fleet, "status")?;
        if status.registered == devices {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other(format!(
                "{} of {devices} devices are registered after {} s: {status:?}",
                status.registered,
                PATIENCE.as_secs()
            )));
        }
        thread::sleep(POLL);
    }
}

/// CMS and null server in the same window, so that both meet the same disturbances.
fn at_rest(
    plan: &Plan,
    figures: &mut Figures,
    servers: [u32; 2],
    fleets: [&mut Process; 2],
) -> io::Result<()> {
    let [fleet, null_fleet] = fleets;
    let all = [
        servers[0],
        servers[1],
        fleet.pid(),
        null_fleet.pid(),
        std::process::id(),
    ];
    ask::<serde_json::Value>(fleet, "forget")?;
    ask::<serde_json::Value>(null_fleet, "forget")?;
    let look = |fleet: &mut Process, null_fleet: &mut Process| -> io::Result<_> {
        let statuses: [Status; 2] = [ask(fleet, "status")?, ask(null_fleet, "status")?];
        Ok((
            Instant::now(),
            all.map(|pid| procfs::usage(pid).cpu),
            procfs::machine_busy(),
            statuses,
        ))
    };
    let (start, cpu, busy, [ours, null]) = look(fleet, null_fleet)?;
    thread::sleep(plan.window);
    let (end, cpu_end, busy_end, [ours_end, null_end]) = look(fleet, null_fleet)?;
    if ours_end.ended != ours.ended || null_end.ended != null.ended {
        return Err(io::Error::other(format!(
            "connections ended in the window: {ours_end:?}, {null_end:?}"
        )));
    }
    let window = (end - start).as_secs_f64();
    let spent: Vec<f64> = cpu
        .iter()
        .zip(&cpu_end)
        .map(|(before, after)| after.saturating_sub(*before).as_secs_f64())
        .collect();
    let (mine, yardstick) = (spent[0], spent[1]);
    let answers = (ours_end.answers - ours.answers) as f64;
    let null_answers = (null_end.answers - null.answers) as f64;
    let cores = thread::available_parallelism()?.get() as f64;
    figures.window_s = window;
    figures.cpu_percent_at_rest = mine / window * 100.0;
    figures.null_cpu_percent = yardstick / window * 100.0;
    figures.cpu_ratio_to_null = (mine / answers) / (yardstick / null_answers);
    figures.cpu_us_per_keep_alive = mine * 1e6 / answers;
    figures.keep_alives_per_s = answers / window;
    figures.answer_bytes = (ours_end.answer_bytes - ours.answer_bytes) as f64 / answers;
    figures.null_answer_bytes = (null_end.answer_bytes - null.answer_bytes) as f64 / null_answers;
    figures.keep_alive_p99_ms = ours_end.answer_p99_ms;
    figures.null_keep_alive_p99_ms = null_end.answer_p99_ms;
    let foreign = busy_end.saturating_sub(busy).as_secs_f64() - spent.iter().sum::<f64>();
    figures.foreign_percent = foreign.max(0.0) / window / cores * 100.0;
    Ok(())
}

fn snapshots(plan: &Plan, way: Way, cms: u32, fleet: &mut Process) -> io::Result<SnapshotFigures> {
    ask::<serde_json::Value>(fleet, "snapshots")?;
    // Until there is one of each device.
    thread::sleep(SNAPSHOT + KEEP_ALIVE);
    ask::<serde_json::Value>(fleet, "forget")?;
    let (start, before) = (Instant::now(), procfs::usage(cms));
    let first: Status = ask(fleet, "status")?;
    thread::sleep(plan.window);
    let last: Status = ask(fleet, "status")?;
    let (window, after) = (start.elapsed().as_secs_f64(), procfs::usage(cms));
    Ok(SnapshotFigures {
        way,
        keep_alive_p99_ms: last.answer_p99_ms,
        per_s: (last.snapshots - first.snapshots) as f64 / window,
        cpu_percent: (after.cpu - before.cpu).as_secs_f64() / window * 100.0,
        rss_bytes: after.rss_anon,
    })
}

/// Starts all streams, gives each a viewer, and starts and stops some more.
fn streams(plan: &Plan, api: &Api, viewers: &mut Process, figures: &mut Figures) -> io::Result<()> {
    let serial = |index| Identity::new(index, plan.ed1_share).serial;
    let (mut watched, mut simulated) = (Histogram::default(), Histogram::default());
    let begun = Instant::now();
    for index in 0..plan.streams {
        let serial = serial(index);
        let start = format!("startdevicestream?device={serial}&channel=1&protocol=RTSP");
        let mut asked = Instant::now();
        // The first one waits for the node to join.
        while let Err(error) = api.easy(&start) {
            if index > 0 || begun.elapsed() > Duration::from_secs(10) {
                return Err(error);
            }
            thread::sleep(POLL);
            asked = Instant::now();
        }
        watched.add(asked.elapsed());
        let get = format!("getdevicestream?device={serial}&channel=1&protocol=RTSP");
        let body = api.easy(&get)?;
        let url = body["URL"].as_str().unwrap_or_default();
        let (address, path) = url
            .strip_prefix("rtsp://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| io::Error::other(format!("no RTSP URL: {body}")))?;
        let answer = viewers.ask(&format!("play {index} {address} {path}"))?;
        if answer.trim() != "ok" {
            return Err(io::Error::other(format!("viewer of {serial}: {answer}")));
        }
    }
    let end = (plan.streams + plan.simulated).min(plan.devices);
    for index in plan.streams..end {
        let serial = serial(index);
        let asked = Instant::now();
        api.easy(&format!(
            "startdevicestream?device={serial}&channel=1&protocol=RTSP"
        ))?;
        simulated.add(asked.elapsed());
        api.easy(&format!(
            "stopdevicestream?device={serial}&channel=1&protocol=RTSP"
        ))?;
    }
    figures.start_p99_ms = watched.quantile_ms(0.99);
    figures.start_simulated_p99_ms = simulated.quantile_ms(0.99);
    Ok(())
}

fn lists(plan: &Plan, api: &Api, figures: &mut Figures) -> io::Result<()> {
    let (mut old, mut new) = (Histogram::default(), Histogram::default());
    let count = format!("\"DeviceCount\" : \"{}\"", plan.devices);
    for _ in 0..LISTS {
        let asked = Instant::now();
        let list = api.get("/api/v1/getdevicelist")?;
        old.add(asked.elapsed());
        figures.list_bytes = list.len();
        if !list.windows(count.len()).any(|w| w == count.as_bytes()) {
            return Err(io::Error::other("the list has not all devices"));
        }
        let asked = Instant::now();
        api.get("/api/v2/devices")?;
        new.add(asked.elapsed());
    }
    figures.list_p99_ms = old.quantile_ms(0.99);
    figures.list_v2_p99_ms = new.quantile_ms(0.99);
    Ok(())
}

/// Kills the CMS and starts it again after a while; returns when all devices are back.
fn restart(
    plan: &Plan,
    parts: &Parts,
    cms: Process,
    fleet: &mut Process,
    figures: &mut Figures,
) -> io::Result<Process> {
    // Killed, not asked to end.
    drop(cms);
    thread::sleep(plan.outage);
    let status: Status = ask(fleet, "status")?;
    if status.registered != 0 {
        return Err(io::Error::other(format!(
            "{} devices did not notice that the CMS was gone",
            status.registered
        )));
    }
    let begun = Instant::now();
    let cms = parts.cms(true)?;
    figures.restart_ready_s = begun.elapsed().as_secs_f64();
    let ready = Instant::now();
    all_registered(fleet, plan.devices)?;
    figures.restart_all_back_s = ready.elapsed().as_secs_f64();
    Ok(cms)
}
