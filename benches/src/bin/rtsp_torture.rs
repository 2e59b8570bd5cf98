//! Sends odd, broken and hostile RTSP to a server and tells what it made of it.
//!
//! The vectors are data (`torture/*.toml` beside this package's manifest). Each says what a sound
//! server may answer, why it matters and where it comes from. After each the server must still
//! answer a new connection.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use easydarwin_benches::torture::{Background, Names, Outcome, Peer, Verdict, load, run_all};

#[derive(Debug, Parser)]
#[command(about = "Sends odd, broken and hostile RTSP to a server and tells what it made of it")]
struct Cli {
    /// The stream that readers are to use, for example rtsp://127.0.0.1:8554/torture.
    url: String,
    /// The stream is there already; otherwise it is published first.
    #[arg(long)]
    existing: bool,
    /// Only vectors whose group or name holds this text.
    #[arg(long)]
    only: Option<String>,
    /// Folder with the vectors.
    #[arg(long)]
    vectors: Option<PathBuf>,
    /// Vectors that are run at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Prints a line for each vector, not only for those that failed.
    #[arg(long, short)]
    verbose: bool,
    /// Prints a table by group, in Markdown.
    #[arg(long)]
    table: bool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let cli = Cli::parse();
    let rest = cli
        .url
        .strip_prefix("rtsp://")
        .ok_or("the URL begins with rtsp://")?;
    let (host, path) = rest.split_once('/').ok_or("the URL needs a path")?;
    let addr = host
        .to_socket_addrs()?
        .next()
        .ok_or("the host has no address")?;
    let folder = cli
        .vectors
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("torture"));
    let mut vectors = load(&folder)?;
    if let Some(only) = &cli.only {
        vectors.retain(|(group, vector)| format!("{group}/{}", vector.name).contains(only));
    }

    let publisher = if cli.existing {
        None
    } else {
        Some(Background::start(addr, path)?)
    };
    let names = Names {
        url: cli.url.clone(),
        host: host.to_owned(),
        path: path.to_owned(),
        track: Peer::connect(addr)?.first_track(&cli.url)?,
        ..Names::default()
    };
    let verdicts = run_all(addr, &names, &vectors, cli.jobs);
    let disturbed = publisher.is_some_and(|publisher| !publisher.finish());
    for verdict in &verdicts {
        tell(verdict, cli.verbose);
    }
    if disturbed {
        println!("the good publisher was cut off by what others sent");
    }
    if cli.table {
        print_table(&verdicts);
    }
    let [passed, failed, skipped, held, crashed] = count(&verdicts);
    println!(
        "{passed} passed, {failed} failed, {skipped} not applicable, {held} held others up, {crashed} crashed"
    );
    Ok(ExitCode::from(u8::from(
        failed + held + crashed > 0 || disturbed,
    )))
}

fn tell(verdict: &Verdict<'_>, verbose: bool) {
    let vector = verdict.vector;
    let full = format!("{}/{}", verdict.group, vector.name);
    match &verdict.outcome {
        Outcome::Passed if verbose => println!("passed          {full}"),
        Outcome::Passed => {}
        Outcome::Failed(what) => println!(
            "failed          {full}: {what}\n                {} ({})",
            vector.why, vector.source
        ),
        Outcome::NotApplicable(what) => println!("not applicable  {full}: {what}"),
        Outcome::HeldUp(what) => println!("held up         {full}: {what}"),
        Outcome::Crashed(what) => println!("crashed         {full}: {what}"),
    }
}

fn count(verdicts: &[Verdict<'_>]) -> [usize; 5] {
    let mut counts = [0; 5];
    for verdict in verdicts {
        counts[match verdict.outcome {
            Outcome::Passed => 0,
            Outcome::Failed(_) => 1,
            Outcome::NotApplicable(_) => 2,
            Outcome::HeldUp(_) => 3,
            Outcome::Crashed(_) => 4,
        }] += 1;
    }
    counts
}

fn print_table(verdicts: &[Verdict<'_>]) {
    let mut groups: BTreeMap<&str, Vec<Verdict<'_>>> = BTreeMap::new();
    for verdict in verdicts {
        groups.entry(verdict.group).or_default().push(Verdict {
            outcome: verdict.outcome.clone(),
            ..*verdict
        });
    }
    println!(
        "| class | passed | otherwise answered | not applicable | held others up | crashed |\n|---|---|---|---|---|---|"
    );
    for (group, verdicts) in groups {
        let [passed, failed, skipped, held, crashed] = count(&verdicts);
        println!("| {group} | {passed} | {failed} | {skipped} | {held} | {crashed} |");
    }
}
