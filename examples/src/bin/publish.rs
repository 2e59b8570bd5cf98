//! Publishes from code: an encoder and an RTSP server in one program, no socket between them.
//!
//!     cargo run --release --bin publish
//!     ffplay rtsp://127.0.0.1:10554/studio/1
//!
//! The encoder here is the test picture; anything that makes access units does as well.

use std::error::Error;
use std::future::poll_fn;
use std::time::Instant;

use clap::Parser;
use easydarwin_camera::source::{MediaSource, PatternSource, SourceError};
use easydarwin_core::cli::{log_to_stderr, shutdown_signal};
use easydarwin_core::media::AccessUnit;
use easydarwin_core::registry::{AllowAll, Principal, StreamPath};
use easydarwin_core::relay::Publisher;
use easydarwin_core::server::MediaServer;

/// A server that plays what this program films
#[derive(Debug, Parser)]
struct Args {
    /// Address for RTSP
    #[arg(long, default_value = "127.0.0.1:10554")]
    rtsp: std::net::SocketAddr,
    /// Path of the stream
    #[arg(long, default_value = "studio/1")]
    path: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    log_to_stderr("warn")?;
    let server = MediaServer::builder()
        .rtsp(args.rtsp)
        .authorizer(AllowAll)
        .build()
        .await?;

    let path = StreamPath::parse(&args.path)?;
    let mut source = PatternSource::new(&*args.path);
    let description = poll_fn(|cx| source.poll_open(cx)).await?;
    // Who publishes under the same name may take the stream over, for readers it goes on then.
    let principal = Principal::Named("studio".into());
    let publisher = server.hub().publish(&path, description, principal)?;
    let filming = tokio::spawn(film(source, publisher));

    println!("ready: ffplay rtsp://{}/{path}", args.rtsp);
    server.run(shutdown_signal()?).await?;
    filming.await??;
    Ok(())
}

/// Until the stream is closed: here, when the server shuts down.
async fn film(mut source: PatternSource, mut publisher: Publisher) -> Result<(), SourceError> {
    let mut unit = AccessUnit {
        track: 0,
        pts: 0,
        arrival: Instant::now(),
        ntp: None,
        key: false,
        discontinuity: false,
        lossy: false,
        data: Vec::new(),
    };
    loop {
        poll_fn(|cx| source.poll_frame(cx, &mut unit)).await?;
        publisher.push_unit(&unit);
        // Readers see it from here on; nothing waits for them.
        if !publisher.flush(Instant::now()) {
            return Ok(());
        }
    }
}
