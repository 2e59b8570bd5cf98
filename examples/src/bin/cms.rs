//! A CMS inside a program of one's own: the devices are provisioned from its own knowledge.
//!
//!     cargo run --release --bin cms
//!     cargo run --release --bin camera -- --serial 001001000001 --key KEY

use std::error::Error;

use clap::Parser;
use easydarwin_cms::{Cms, CmsConfig, LegacyLevel};
use easydarwin_core::cli::{log_to_stderr, shutdown_signal};
use easydarwin_core::protocol::login::key_text;
use easydarwin_core::registry::random_bytes;

/// A CMS that knows as many cameras as it is told to
#[derive(Debug, Parser)]
struct Args {
    /// Address for devices, clients and media nodes
    #[arg(long, default_value = "127.0.0.1:10000")]
    listen: std::net::SocketAddr,
    /// How many cameras there are
    #[arg(long, default_value_t = 2)]
    cameras: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    log_to_stderr("info")?;
    let shutdown = shutdown_signal()?;
    let cms = Cms::builder(CmsConfig::new(args.listen))
        // Clients on this machine need no key; all others bring it as `Authorization: Bearer`.
        .legacy_client("127.0.0.0/8".parse()?, LegacyLevel::Control)
        .build()
        .await?;

    // A vendor does this once per camera, in the factory or at the first installation.
    for number in 1..=args.cameras {
        let serial = format!("001001{number:06}");
        let key = key_text(random_bytes()?);
        cms.provision_key(&serial, &key).await?;
        println!("camera {serial} has the key {key}");
    }

    let handle = cms.handle();
    println!("clients bring the key {}", handle.api_key());
    println!("media nodes join with {}", handle.join_key());
    println!("ready: http://{}/", cms.local_addr());
    cms.run(shutdown).await?;
    Ok(())
}
