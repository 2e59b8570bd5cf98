//! Ten thousand devices at a CMS: what it spends on each, and how fast it is beside them.
//!
//! CMS, media node, devices, viewers and a null server are processes of their own and talk over
//! loopback; everything that is said is the real protocol.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

mod api;
mod backoff;
mod device;
mod figures;
mod identity;
mod null;
mod pacer;
mod parts;
mod run;
mod tls;
mod worker;

use device::Way;
use easydarwin_benches::load::process::raise_file_limit;
use parts::Parts;
use run::{Plan, Store};

/// Descriptors of a process beside those of its devices.
const SPARE_FILES: u64 = 500;

/// Shortest window at rest: two rounds of keep-alives.
const SHORTEST_WINDOW: u64 = 60;

#[derive(Debug, Parser)]
#[command(
    about = "Measures a CMS with many devices: memory, CPU beside a null server, lists, starts, a restart",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(flatten)]
    measure: Measure,
    #[command(subcommand)]
    worker: Option<Worker>,
}

#[derive(Debug, Args)]
struct Measure {
    /// Devices
    #[arg(long, default_value_t = 10_000)]
    devices: usize,
    /// Where the CMS keeps its devices
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    store: Store,
    /// Devices speak TLS to the CMS
    #[arg(long)]
    tls: bool,
    /// Length of the window at rest, at least 60
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(SHORTEST_WINDOW..))]
    seconds: u64,
    /// Devices that make themselves known each second
    #[arg(long, default_value_t = 1000)]
    rate: usize,
    /// Share of devices that prove a key; the others send a token as the original's do
    #[arg(long, default_value_t = 0.5)]
    ed1_share: f64,
    /// Streams of 2 Mbit/s, with a viewer each
    #[arg(long, default_value_t = 50)]
    streams: usize,
    /// Further streams that are started and stopped
    #[arg(long, default_value_t = 200)]
    simulated: usize,
    /// Seconds for which the CMS is away
    #[arg(long, default_value_t = 30)]
    outage: u64,
    /// Measure snapshots, too, one of each device in 180 s: in messages, or by HTTP PUT
    #[arg(long, value_enum, value_name = "WAY", num_args = 0..=1, default_missing_value = "message")]
    snapshots: Option<Way>,
    /// Fail when a target is missed
    #[arg(long)]
    check: bool,
    /// Also write all figures there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The processes that it starts of itself.
#[derive(Debug, Subcommand)]
enum Worker {
    #[command(hide = true)]
    Fleet(worker::FleetArgs),
    #[command(hide = true)]
    Viewers,
    #[command(hide = true)]
    Null {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        answer: usize,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.worker {
        None => return measure(&cli.measure),
        Some(Worker::Fleet(args)) => worker::fleet(&args),
        Some(Worker::Viewers) => worker::viewers(),
        Some(Worker::Null { listen, answer }) => null::serve(listen, answer),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Measure) -> ExitCode {
    match measured(args) {
        Ok(missed) if missed.is_empty() || !args.check => ExitCode::SUCCESS,
        Ok(missed) => {
            eprintln!("fleet: {}", missed.join("; "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The targets that were missed.
fn measured(args: &Measure) -> Result<Vec<String>, Box<dyn Error>> {
    let needed = args.devices as u64 + SPARE_FILES;
    let files = raise_file_limit()?;
    if files < needed {
        return Err(format!(
            "{} devices need {needed} open files in one process, {files} are allowed; raise the \
             limit (ulimit -Hn {needed} as root, or LimitNOFILE={needed} in the unit), or measure \
             with --devices {}",
            args.devices,
            files.saturating_sub(SPARE_FILES)
        )
        .into());
    }
    if args.streams > args.devices {
        return Err("each stream needs a device: lower --streams".into());
    }
    let plan = Plan {
        devices: args.devices,
        store: args.store,
        tls: args.tls,
        window: Duration::from_secs(args.seconds),
        rate: args.rate,
        ed1_share: args.ed1_share.clamp(0.0, 1.0),
        streams: args.streams,
        simulated: args.simulated,
        outage: Duration::from_secs(args.outage),
        snapshots: args.snapshots,
    };
    let parts = Parts::new(&plan)?;
    let figures = run::run(&plan, &parts).map_err(|error| format!("{error}\n{}", parts.logs()))?;
    print!("{}", figures.table());
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_vec_pretty(&figures)?)?;
    }
    Ok(figures.missed())
}
