//! How long it takes from connecting to having the first complete key frame: over RTSP (TCP), as
//! an NVR or player does it, and over the WebSocket from which the page's player plays.
//!
//! Without arguments it starts a media server and a camera of its own on loopback; with `--rtsp`
//! and `--ws` it measures whatever streams stand there.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Parser;
use easydarwin_camera::Camera;
use easydarwin_camera::source::PatternSource;
use easydarwin_core::client::{ClientOptions, Player};
use easydarwin_core::registry::{AllowAll, StreamPath};
use easydarwin_core::server::MediaServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Measures connect to first complete key frame
#[derive(Debug, Parser)]
struct Args {
    /// Connections per door
    #[arg(long, default_value_t = 300)]
    rounds: usize,
    /// Pause between two connections, in milliseconds, so that they meet all phases of a GOP
    #[arg(long, default_value_t = 37)]
    pause: u64,
    /// Measure this RTSP URL instead of a server of our own
    #[arg(long)]
    rtsp: Option<String>,
    /// Measure this ws:// URL instead of a server of our own
    #[arg(long)]
    ws: Option<String>,
}

/// Path of the stream of our own.
const PATH: &str = "bench/1";

/// Nothing here takes longer unless it is broken.
const LIMIT: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let args = Args::parse();
    let (mut rtsp, mut ws) = (args.rtsp, args.ws);
    if rtsp.is_none() && ws.is_none() {
        let (rtsp_address, http_address) = serve()?;
        rtsp = Some(format!("rtsp://{rtsp_address}/{PATH}"));
        ws = Some(format!("ws://{http_address}/{PATH}/live.ws"));
    }
    // The measuring side has a thread of its own, as a player has a process of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let pause = Duration::from_millis(args.pause);
    println!(
        "connect to first complete key frame, {} connections each",
        args.rounds
    );
    println!(
        "{:<22} {:>9} {:>9} {:>9} {:>9}",
        "", "p50 ms", "p90 ms", "p99 ms", "max ms"
    );
    runtime.block_on(async {
        if let Some(url) = rtsp {
            let mut times = Vec::with_capacity(args.rounds);
            for _ in 0..args.rounds {
                times.push(tokio::time::timeout(LIMIT, over_rtsp(&url)).await??);
                tokio::time::sleep(pause).await;
            }
            print_row("RTSP over TCP", times);
        }
        if let Some(url) = ws {
            let mut times = Vec::with_capacity(args.rounds);
            for _ in 0..args.rounds {
                times.push(tokio::time::timeout(LIMIT, over_websocket(&url)).await??);
                tokio::time::sleep(pause).await;
            }
            print_row("fMP4 over WebSocket", times);
        }
        Ok(())
    })
}

/// Starts server and camera on threads of their own; returns when there is a picture.
fn serve() -> Result<(SocketAddr, SocketAddr)> {
    let runtime = Box::leak(Box::new(
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?,
    ));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = runtime.block_on(
        MediaServer::builder()
            .rtsp(any)
            .http(any)
            .authorizer(AllowAll)
            .build(),
    )?;
    let rtsp = server.rtsp_addr();
    let http = server.http_addr().ok_or("no HTTP address")?;
    let hub = server.hub().clone();
    runtime.spawn(server.run(std::future::pending()));
    let camera = Camera::builder()
        .serial("bench")
        .source(PatternSource::new("bench"))
        .push_to(format!("rtsp://{rtsp}/{PATH}"))
        .build()?;
    runtime.spawn(camera.run(std::future::pending()));
    let path = StreamPath::parse(PATH)?;
    runtime
        .block_on(hub.wait(&path, true, LIMIT))
        .ok_or("the camera's picture did not come")?;
    Ok((rtsp, http))
}

async fn over_rtsp(url: &str) -> Result<Duration> {
    let start = Instant::now();
    let mut player = Player::connect(url, ClientOptions::default()).await?;
    let is_video: Vec<bool> = player
        .description()
        .tracks
        .iter()
        .map(|track| track.kind == easydarwin_core::media::MediaKind::Video)
        .collect();
    while let Some(unit) = player.next_unit().await? {
        if unit.key && is_video.get(unit.track).copied().unwrap_or(false) {
            let time = start.elapsed();
            player.close().await?;
            return Ok(time);
        }
    }
    Err("the stream ended before a key frame".into())
}

/// The text message with the codecs, the initialization segment, then the first fragment, which
/// is a whole key frame.
async fn over_websocket(url: &str) -> Result<Duration> {
    let rest = url.strip_prefix("ws://").ok_or("not a ws:// URL")?;
    let (host, path) = rest.split_once('/').ok_or("the URL has no path")?;
    let start = Instant::now();
    let mut stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ZWFzeWRhcndpbiBiZW5jaCE=\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut data = Vec::with_capacity(256 * 1024);
    let mut scanned = None;
    loop {
        if stream.read_buf(&mut data).await? == 0 {
            return Err(String::from_utf8_lossy(&data).into_owned().into());
        }
        let head_end = match scanned {
            Some(end) => end,
            None => match data.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) if data.starts_with(b"HTTP/1.1 101") => *scanned.insert(end + 4),
                Some(_) => return Err(String::from_utf8_lossy(&data).into_owned().into()),
                None => continue,
            },
        };
        // Codecs, initialization segment, first fragment.
        if complete_messages(&data[head_end..]) >= 3 {
            return Ok(start.elapsed());
        }
    }
}

/// Complete frames at the front of a server's side of a WebSocket (RFC 6455, section 5.2).
fn complete_messages(mut data: &[u8]) -> usize {
    let mut count = 0;
    loop {
        let (head, length) = match data {
            [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
            [_, 127, rest @ ..] => match rest.first_chunk::<8>() {
                Some(bytes) => (10, u64::from_be_bytes(*bytes) as usize),
                None => return count,
            },
            [_, short, ..] => (2, usize::from(*short)),
            _ => return count,
        };
        match data.get(head + length..) {
            Some(rest) => data = rest,
            None => return count,
        }
        count += 1;
    }
}

fn print_row(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1;
        times[index].as_secs_f64() * 1000.0
    };
    println!(
        "{name:<22} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}
