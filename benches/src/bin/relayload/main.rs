//! Load tool for RTSP servers, with a null relay as the yardstick.
//!
//! Publishes paced synthetic streams, plays them with many readers, and reports what the server
//! spent and what the readers saw. Everything stays on loopback.

use std::error::Error;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod compare;
mod null;
mod publisher;
mod run;
mod server;

use easydarwin_benches::handshake::Target;
use easydarwin_benches::load::process::raise_file_limit;
use run::Load;
use server::Server;

#[derive(Debug, Parser)]
#[command(
    about = "Measures an RTSP relay: CPU per packet, delay, loss, memory, time to first picture"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Server and null relay in turn, as ratios: the table of the README.
    Compare {
        /// Scenarios to run, by name; all when none is given.
        scenario: Vec<String>,
        /// Rounds of each scenario.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Length of a measuring window in seconds.
        #[arg(long, default_value_t = 8)]
        seconds: u64,
        /// Threads that read.
        #[arg(long, default_value_t = 1)]
        reader_threads: usize,
        /// Also writes all figures there.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// One load on one server.
    Run {
        #[command(flatten)]
        load: LoadArgs,
        /// Server that runs already: rtsp://address:port/prefix; needs --pid. Starts easydarwin when left out.
        #[arg(long, requires = "pid")]
        server: Option<String>,
        /// Its process.
        #[arg(long)]
        pid: Option<u32>,
        /// Measures the null relay instead.
        #[arg(long)]
        null: bool,
    },
    /// Memory: resident bytes per reader as the slope from 300 to 600, and the cost of stalled readers.
    Memory {
        /// Length of a measuring window in seconds.
        #[arg(long, default_value_t = 8)]
        seconds: u64,
    },
    /// Most readers of one 2 Mbit/s stream with zero loss and p99 below 200 ms, server and null relay.
    Ceiling {
        /// Readers added at each step.
        #[arg(long, default_value_t = 250)]
        step: usize,
        /// Where to begin.
        #[arg(long, default_value_t = 1000)]
        from: usize,
        /// Length of a measuring window in seconds.
        #[arg(long, default_value_t = 6)]
        seconds: u64,
    },
    /// The null relay alone.
    #[command(hide = true)]
    Null {
        #[arg(long)]
        listen: SocketAddr,
    },
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// Streams that are published.
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Readers of each stream.
    #[arg(long, default_value_t = 100)]
    readers: usize,
    /// Megabits a second of each stream.
    #[arg(long, default_value_t = 2)]
    mbit: u64,
    /// Readers play over UDP.
    #[arg(long)]
    udp: bool,
    /// Length of the measuring window in seconds.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Further readers that stop reading once they play.
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// Short-lived readers a second that wait for the first picture, after the window and for as long
    #[arg(long, default_value_t = 5)]
    joins: u32,
    /// Threads that read.
    #[arg(long, default_value_t = 1)]
    reader_threads: usize,
}

impl LoadArgs {
    fn load(&self) -> Load {
        Load {
            streams: self.streams,
            readers: self.readers,
            bitrate: self.mbit * 1_000_000,
            udp: self.udp,
            seconds: self.seconds,
            stalled: self.stalled,
            joins_per_second: self.joins,
            reader_threads: self.reader_threads,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    raise_file_limit()?;
    match Cli::parse().command {
        Command::Compare {
            scenario,
            rounds,
            seconds,
            reader_threads,
            json,
        } => {
            let all = compare::scenarios(seconds, reader_threads);
            if let Some(unknown) = scenario
                .iter()
                .find(|name| all.iter().all(|s| s.name != **name))
            {
                let names: Vec<_> = all.iter().map(|s| s.name).collect();
                return Err(
                    format!("no scenario {unknown}; there are {}", names.join(", ")).into(),
                );
            }
            let mut rows = Vec::new();
            for wanted in all
                .iter()
                .filter(|s| scenario.is_empty() || scenario.iter().any(|name| name == s.name))
            {
                rows.push(compare::compare(wanted, rounds)?);
            }
            print!("{}", compare::table(&rows));
            if let Some(path) = json {
                fs::write(path, serde_json::to_vec_pretty(&rows)?)?;
            }
        }
        Command::Run {
            load,
            server,
            pid,
            null,
        } => {
            let figures = match (server, pid) {
                (Some(url), Some(pid)) => run::run(&parse(&url)?, pid, &load.load())?,
                _ => {
                    let server = if null {
                        Server::null()?
                    } else {
                        Server::easydarwin()?
                    };
                    run::run(&server.target, server.pid(), &load.load())?
                }
            };
            println!("{}", serde_json::to_string_pretty(&figures)?);
            if let Some(failure) = figures.failure() {
                return Err(failure.into());
            }
        }
        Command::Memory { seconds } => memory(seconds)?,
        Command::Ceiling {
            step,
            from,
            seconds,
        } => ceiling(from, step, seconds)?,
        Command::Null { listen } => {
            let listener = TcpListener::bind(listen)?;
            println!("null relay ready: {listen}");
            null::serve(&listener)?;
        }
    }
    Ok(())
}

fn parse(url: &str) -> Result<Target, Box<dyn Error>> {
    let rest = url
        .strip_prefix("rtsp://")
        .ok_or("the server's address begins with rtsp://")?;
    let (addr, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    Ok(Target::Rtsp {
        addr: addr.parse()?,
        prefix: prefix.to_owned(),
    })
}

fn plain(readers: usize, seconds: u64) -> Load {
    Load {
        streams: 1,
        readers,
        bitrate: 2_000_000,
        udp: false,
        seconds,
        stalled: 0,
        joins_per_second: 0,
        reader_threads: 1,
    }
}

fn memory(seconds: u64) -> Result<(), Box<dyn Error>> {
    let measure = |load: &Load| -> Result<run::Figures, Box<dyn Error>> {
        let server = Server::easydarwin()?;
        eprintln!("{} readers, {} stalled ...", load.readers, load.stalled);
        Ok(run::run(&server.target, server.pid(), load)?)
    };
    let few = measure(&plain(300, seconds))?;
    let many = measure(&plain(600, seconds))?;
    let stalled = measure(&Load {
        stalled: 100,
        ..plain(200, seconds)
    })?;
    let unstalled = measure(&plain(200, seconds))?;
    println!(
        "resident bytes per reader: {}",
        (many.rss_bytes as i64 - few.rss_bytes as i64) / 300
    );
    println!(
        "100 stalled of 300: resident {:+.1} MB, kernel {:.2} MB for each stalled one, others lost {}",
        (stalled.rss_bytes as f64 - few.rss_bytes as f64) / 1e6,
        (stalled.tcp_kernel_bytes as f64 - unstalled.tcp_kernel_bytes as f64) / 100.0 / 1e6,
        stalled.lost,
    );
    Ok(())
}

fn ceiling(from: usize, step: usize, seconds: u64) -> Result<(), Box<dyn Error>> {
    let mut found = Vec::new();
    for (name, start) in [
        (
            "null relay",
            Server::null as fn() -> std::io::Result<Server>,
        ),
        ("easydarwin", Server::easydarwin),
    ] {
        let mut best = 0;
        let mut readers = from;
        loop {
            let server = start()?;
            let figures = run::run(&server.target, server.pid(), &plain(readers, seconds))?;
            let good = figures.lost == 0 && figures.ended == 0 && figures.delay_p99_ms < 200.0;
            eprintln!(
                "{name}: {readers} readers, p99 {:.1} ms, lost {}, ended {}, {:.0} % CPU",
                figures.delay_p99_ms, figures.lost, figures.ended, figures.cpu_percent
            );
            if !good {
                break;
            }
            best = readers;
            readers += step;
        }
        println!("{name}: {best} readers");
        found.push(best as f64);
    }
    match found[..] {
        [0.0, _] => return Err("the null relay fails with the first number: lower --from".into()),
        [null, ours] => println!("ratio {:.2}", ours / null),
        _ => {}
    }
    Ok(())
}
