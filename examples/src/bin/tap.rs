//! Looks into a stream from the same process: a server whose streams are counted, access unit by
//! access unit, with no socket and no copy between.
//!
//!     cargo run --release --bin tap
//!     ffmpeg -re -i film.mp4 -c copy -f rtsp rtsp://127.0.0.1:10554/film/1

use std::error::Error;
use std::time::{Duration, Instant};

use clap::Parser;
use easydarwin_core::cli::{log_to_stderr, shutdown_signal};
use easydarwin_core::registry::AllowAll;
use easydarwin_core::relay::{Stream, StreamEvent, TapEvent, TapOptions};
use easydarwin_core::server::MediaServer;

/// A media server that counts what flows through it
#[derive(Debug, Parser)]
struct Args {
    /// Address for RTSP
    #[arg(long, default_value = "127.0.0.1:10554")]
    rtsp: std::net::SocketAddr,
}

/// How often a line is printed.
const REPORT_EVERY: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    log_to_stderr("warn")?;
    let server = MediaServer::builder()
        .rtsp(args.rtsp)
        .authorizer(AllowAll)
        .build()
        .await?;

    // Each stream that appears gets a tap of its own.
    let hub = server.hub().clone();
    let mut events = hub.events();
    tokio::spawn(async move {
        while let Ok(event) = events.recv().await {
            if let StreamEvent::Published {
                takeover: false, ..
            } = event.event
                && let Some(stream) = hub.get(&event.path)
            {
                tokio::spawn(count(stream));
            }
        }
    });

    println!("ready: publish to rtsp://{}/<any>/<name>", args.rtsp);
    server.run(shutdown_signal()?).await?;
    Ok(())
}

async fn count(stream: Stream) {
    let mut options = TapOptions::new("counter");
    // It watches, but nobody watches it: the stream may still become idle.
    options.viewer = false;
    let mut tap = stream.tap(options);
    let (mut units, mut keys, mut bytes, mut gaps) = (0_u64, 0_u64, 0_usize, 0_u64);
    let mut last = Instant::now();
    while let Some(event) = tap.recv().await {
        match event {
            TapEvent::Unit(unit) => {
                units += 1;
                keys += u64::from(unit.key);
                bytes += unit.len();
            }
            // A tap that is too slow skips to a key frame; it never holds up the publisher.
            TapEvent::Gap => gaps += 1,
            TapEvent::ParamsChanged(description) => {
                println!("{}: now {description:?}", stream.path())
            }
            TapEvent::Discontinuity => println!("{}: another take", stream.path()),
            TapEvent::End(reason) => println!("{}: ended, {reason:?}", stream.path()),
            _ => {}
        }
        if last.elapsed() >= REPORT_EVERY {
            last = Instant::now();
            println!(
                "{}: {units} access units ({keys} to start at), {bytes} bytes, {gaps} gaps",
                stream.path()
            );
        }
    }
}
