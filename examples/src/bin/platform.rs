//! The whole platform in one process, put together from the libraries: a CMS, a media server and a
//! camera that films a test picture.
//!
//!     cargo run --release --bin platform
//!     http://127.0.0.1:10000/            the page with the camera
//!
//! The three meet only through their ports, as they would on three machines.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Parser;
use easydarwin_camera::Camera;
use easydarwin_camera::source::PatternSource;
use easydarwin_cms::{Cms, CmsConfig, LegacyLevel, Secrets};
use easydarwin_core::cli::{DEFAULT_HTTP_PORT, DEFAULT_RTSP_PORT, log_to_stderr, shutdown_signal};
use easydarwin_core::protocol::login::key_text;
use easydarwin_core::registry::random_bytes;
use easydarwin_core::server::{MediaServer, NodeAgent, NodeConfig};
use tokio_util::sync::CancellationToken;

/// CMS, media server and a camera with a test picture, in one process
#[derive(Debug, Parser)]
struct Args {
    /// Address for all ports; 0.0.0.0 opens them to others
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Added to all ports
    #[arg(long, default_value_t = 0)]
    port_offset: u16,
    /// Seconds without a viewer after which the camera is asked to stop
    #[arg(long, default_value_t = 15)]
    idle: u64,
    /// What is logged to stderr: error, warn, info, debug, trace
    #[arg(long, default_value = "warn")]
    log: String,
}

/// The port for devices, clients and the page.
const CMS_PORT: u16 = 10000;

/// The camera's serial.
const SERIAL: &str = "001001000001";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    log_to_stderr(&args.log)?;
    let shutdown = shutdown_signal()?;
    let at = |port: u16| match port.checked_add(args.port_offset) {
        Some(port) => Ok(SocketAddr::new(args.bind, port)),
        None => Err("--port-offset is too large"),
    };
    let loopback = "127.0.0.0/8".parse()?;

    // The CMS. Clients on this machine need no key; the secrets live as long as this process.
    let secrets = Secrets::generate()?;
    let join_key = secrets.join_key.clone();
    let cms = Cms::builder(CmsConfig::new(at(CMS_PORT)?))
        .secrets(secrets)
        .legacy_client(loopback, LegacyLevel::Control)
        .build()
        .await?;
    let cms_address = reachable(cms.local_addr());

    // The media server joins it. Players on this machine need no token.
    let mut node = NodeConfig::new(cms_address.to_string(), join_key, "platform");
    node.idle = std::time::Duration::from_secs(args.idle);
    let agent = NodeAgent::new(node);
    let server = MediaServer::builder()
        .rtsp(at(DEFAULT_RTSP_PORT)?)
        .http(at(DEFAULT_HTTP_PORT)?)
        .authorizer(agent.authorizer().play_from([loopback]))
        .on_demand(agent.clone())
        .build()
        .await?;
    let rtsp = reachable(server.rtsp_addr());
    let http = server
        .http_addr()
        .map(reachable)
        .ok_or("the media server has no HTTP port")?;

    // The camera gets a key that the CMS knows.
    let key = key_text(random_bytes()?);
    cms.provision_key(SERIAL, &key).await?;
    let camera = Camera::builder()
        .serial(SERIAL)
        .name("Test picture")
        .key(key)
        .cms(cms_address.to_string())
        .source(PatternSource::new(SERIAL))
        .build()?;

    // They leave one after the other, while the rest still listens to the goodbye.
    let stop: [_; 3] = std::array::from_fn(|_| CancellationToken::new());
    let [stop_camera, stop_node, stop_cms] = stop.clone();
    let camera = tokio::spawn(camera.run(stop_camera.cancelled_owned()));
    let link = tokio::spawn(agent.run(server.handle(), stop_node.clone()));
    let server = tokio::spawn(server.run(stop_node.cancelled_owned()));
    let cms = tokio::spawn(cms.run(stop_cms.cancelled_owned()));

    println!("platform ready: page=http://{cms_address}/ rtsp={rtsp} http={http}");
    println!("  devices  curl 'http://{cms_address}/api/v1/getdevicelist'");
    println!(
        "  start    curl 'http://{cms_address}/api/v1/startdevicestream?device={SERIAL}&channel=1'"
    );
    println!(
        "  URL      curl 'http://{cms_address}/api/v1/getdevicestream?device={SERIAL}&channel=1&protocol=rtsp'"
    );
    println!("  RTSP     ffplay rtsp://{rtsp}/{SERIAL}/1");
    println!("  HLS      http://{http}/{SERIAL}/1/index.m3u8");

    shutdown.await;
    let [stop_camera, stop_node, stop_cms] = stop;
    stop_camera.cancel();
    camera.await?;
    stop_node.cancel();
    link.await?;
    server.await??;
    stop_cms.cancel();
    cms.await??;
    Ok(())
}

/// An address to put into a URL: one can listen on 0.0.0.0, but not connect to it.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}
