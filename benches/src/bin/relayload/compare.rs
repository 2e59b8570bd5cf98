//! Server and null relay in turn, round by round, medians and ratios.

use std::io;

use easydarwin_benches::load::stats::median;
use serde::Serialize;

use super::run::{self, Figures, Load};
use super::server::Server;

/// Percent of the machine that others may use within a round that counts.
const FOREIGN_LIMIT: f64 = 20.0;

/// A scenario and what is asked of it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// What is put on the server.
    pub load: Load,
    /// Largest accepted ratio of CPU per packet to the null relay.
    pub target: f64,
}

/// The four scenarios whose ratios are published.
pub fn scenarios(seconds: u64, reader_threads: usize) -> Vec<Scenario> {
    let load = |streams, readers, mbit: u64, udp| Load {
        streams,
        readers,
        bitrate: mbit * 1_000_000,
        udp,
        seconds,
        stalled: 0,
        joins_per_second: 5,
        reader_threads,
    };
    vec![
        Scenario {
            name: "tcp-1x300-2M",
            load: load(1, 300, 2, false),
            target: 1.15,
        },
        Scenario {
            name: "tcp-1x60-8M",
            load: load(1, 60, 8, false),
            target: 1.2,
        },
        Scenario {
            name: "tcp-150x1-2M",
            load: load(150, 1, 2, false),
            target: 1.3,
        },
        Scenario {
            name: "udp-1x200-2M",
            load: load(1, 200, 2, true),
            target: 1.1,
        },
    ]
}

/// Medians of one scenario.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// Rounds that counted.
    pub rounds: usize,
    /// Median of the ratios round by round.
    pub cpu_ratio: f64,
    /// Largest accepted ratio.
    pub cpu_ratio_target: f64,
    /// All rounds of the server.
    pub server: Vec<Figures>,
    /// All rounds of the null relay.
    pub null: Vec<Figures>,
}

/// Runs `rounds` rounds of `scenario`. A round with much foreign CPU or in which something failed
/// is repeated, at most as often again; after that the first counts all the same, the second ends
/// the comparison.
pub fn compare(scenario: &Scenario, rounds: usize) -> io::Result<Row> {
    let (mut server, mut null) = (Vec::new(), Vec::new());
    let mut repeated = 0;
    while server.len() < rounds {
        eprint!("{} round {}/{rounds}: ", scenario.name, server.len() + 1);
        let may_repeat = repeated < rounds;
        let (ours, yardstick) = match pair(scenario) {
            Ok(figures) => figures,
            Err(error) if may_repeat => {
                eprintln!("failed, again: {error}");
                repeated += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let foreign = ours.foreign_percent.max(yardstick.foreign_percent);
        let again = foreign > FOREIGN_LIMIT && may_repeat;
        eprintln!(
            "{:.2} µs a packet, null relay {:.2}, ratio {:.2}, p99 {:.1} / {:.1} ms, lost {} / {}{}",
            ours.cpu_us_per_packet,
            yardstick.cpu_us_per_packet,
            ours.cpu_us_per_packet / yardstick.cpu_us_per_packet,
            ours.delay_p99_ms,
            yardstick.delay_p99_ms,
            ours.lost,
            yardstick.lost,
            if again {
                format!(", {foreign:.0} % foreign CPU: again")
            } else {
                String::new()
            },
        );
        if again {
            repeated += 1;
        } else {
            server.push(ours);
            null.push(yardstick);
        }
    }
    let ratios = server
        .iter()
        .zip(&null)
        .map(|(ours, yardstick)| ours.cpu_us_per_packet / yardstick.cpu_us_per_packet)
        .collect();
    Ok(Row {
        scenario: scenario.name,
        rounds: server.len(),
        cpu_ratio: median(ratios),
        cpu_ratio_target: scenario.target,
        server,
        null,
    })
}

/// One round of both.
fn pair(scenario: &Scenario) -> io::Result<(Figures, Figures)> {
    let ours = round("server", &Server::easydarwin()?, scenario)?;
    let yardstick = round("null relay", &Server::null()?, scenario)?;
    Ok((ours, yardstick))
}

fn round(name: &str, server: &Server, scenario: &Scenario) -> io::Result<Figures> {
    let failed = |what: String| io::Error::other(format!("{name}: {what}"));
    let figures = run::run(&server.target, server.pid(), &scenario.load)
        .map_err(|error| failed(error.to_string()))?;
    match figures.failure() {
        Some(failure) => Err(failed(failure)),
        None => Ok(figures),
    }
}

/// The table for README and terminal, in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| scenario | CPU µs/packet: server | null relay | ratio (target) | delay p50/p99 ms: server | null relay | first picture p50/p99 ms | lost |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let of = |figures: &[Figures], field: fn(&Figures) -> f64| {
            median(figures.iter().map(field).collect())
        };
        text.push_str(&format!(
            "| {} | {:.2} | {:.2} | {:.2} ({:.2}) | {:.1} / {:.1} | {:.1} / {:.1} | {:.1} / {:.1} | {} |\n",
            row.scenario,
            of(&row.server, |f| f.cpu_us_per_packet),
            of(&row.null, |f| f.cpu_us_per_packet),
            row.cpu_ratio,
            row.cpu_ratio_target,
            of(&row.server, |f| f.delay_p50_ms),
            of(&row.server, |f| f.delay_p99_ms),
            of(&row.null, |f| f.delay_p50_ms),
            of(&row.null, |f| f.delay_p99_ms),
            of(&row.server, |f| f.first_picture_p50_ms),
            of(&row.server, |f| f.first_picture_p99_ms),
            row.server.iter().map(|f| f.lost).sum::<u64>(),
        ));
    }
    text
}
