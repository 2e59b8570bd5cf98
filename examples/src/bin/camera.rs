//! A camera as its vendor would write it: register, wait, push when somebody wants to watch.
//!
//!     cargo run --release --bin camera -- --cms 127.0.0.1:10000 --serial 001001000002 --key KEY
//!
//! The source here is the test picture; a vendor implements `MediaSource` for his encoder.

use std::error::Error;

use clap::Parser;
use easydarwin_camera::source::PatternSource;
use easydarwin_camera::{Camera, CameraEvent};
use easydarwin_core::cli::{log_to_stderr, shutdown_signal};
use tokio::sync::mpsc;

/// A camera that films a test picture
#[derive(Debug, Parser)]
struct Args {
    /// The CMS, host and port
    #[arg(long, default_value = "127.0.0.1:10000")]
    cms: String,
    /// Serial under which the CMS knows this camera
    #[arg(long)]
    serial: String,
    /// The key that the CMS gave for this serial; it is proven, never sent
    #[arg(long, env = "CAMERA_KEY", hide_env_values = true)]
    key: String,
}

// One thread is enough for a camera.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    log_to_stderr("warn")?;
    let (sender, mut events) = mpsc::channel(16);
    let camera = Camera::builder()
        .source(PatternSource::new(&*args.serial))
        .serial(args.serial)
        .key(args.key)
        .cms(args.cms)
        .events(sender)
        .build()?;

    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            match event {
                CameraEvent::Registered { cms } => println!("ready: registered at {cms}"),
                CameraEvent::PushStarted { channel } => {
                    println!("somebody watches channel {channel}")
                }
                CameraEvent::PushStopped { channel } => {
                    println!("nobody watches channel {channel}")
                }
                other => println!("{other:?}"),
            }
        }
    });

    // Ends pushes with TEARDOWN before it returns.
    camera.run(shutdown_signal()?).await;
    Ok(())
}
