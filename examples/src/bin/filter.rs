//! Stands between publishers and their streams: leaves sound out, blanks pictures on request, and
//! adds a track of its own that tells when each picture came.
//!
//!     cargo run --release --bin filter
//!     ffmpeg -re -i film.mp4 -c copy -f rtsp rtsp://127.0.0.1:10554/house/1
//!     ffprobe rtsp://127.0.0.1:10554/house/1          video and data, no audio
//!
//! Each line on stdin opens or closes the curtain.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use clap::Parser;
use easydarwin_core::cli::{log_to_stderr, shutdown_signal};
use easydarwin_core::media::{Codec, MediaKind, Track};
use easydarwin_core::registry::{AllowAll, Principal, StreamPath};
use easydarwin_core::relay::{FilterTracks, FilterUnit, MediaFilter, OwnData, Verdict};
use easydarwin_core::server::MediaServer;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// A media server that passes on pictures, no sound, and the time of each picture
#[derive(Debug, Parser)]
struct Args {
    /// Address for RTSP
    #[arg(long, default_value = "127.0.0.1:10554")]
    rtsp: std::net::SocketAddr,
}

/// One publisher's filter.
#[derive(Debug)]
struct House {
    curtain: Arc<AtomicBool>,
    times: usize,
    pictures: u64,
}

impl MediaFilter for House {
    fn describe(&mut self, tracks: &mut FilterTracks) {
        for index in 0..tracks.offered().len() {
            let audio = |track: &Track| track.kind == MediaKind::Audio;
            if tracks.offered().get(index).is_some_and(audio) {
                tracks.leave_out(index);
            }
        }
        self.times = tracks.add(Track {
            kind: MediaKind::Application,
            payload_type: 107,
            encoding: "x-picture-times".to_owned(),
            clock_rate: 90_000,
            channels: 0,
            fmtp: None,
            control: None,
            codec: Codec::Other,
        });
    }

    // Runs where packets are taken in: quick, and never waiting.
    fn unit(&mut self, unit: &FilterUnit<'_>, own: &mut OwnData) -> Verdict {
        if unit.description.kind != MediaKind::Video {
            return Verdict::Pass;
        }
        let closed = self.curtain.load(Ordering::Relaxed);
        self.pictures += 1;
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let note = format!(
            r#"{{"picture":{},"unix_ms":{},"blank":{closed}}}"#,
            self.pictures,
            time.unwrap_or_default().as_millis()
        );
        // It gets the media time of this picture.
        own.push(self.times, note);
        // When pictures come back, they do with a key frame: the relay sees to that.
        if closed { Verdict::Drop } else { Verdict::Pass }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    log_to_stderr("warn")?;
    let curtain = Arc::new(AtomicBool::new(false));
    let switch = curtain.clone();
    let filters = move |path: &StreamPath, _: &Principal| -> Option<Box<dyn MediaFilter>> {
        path.as_str().starts_with("house/").then(|| {
            let curtain = curtain.clone();
            let (times, pictures) = (0, 0);
            Box::new(House {
                curtain,
                times,
                pictures,
            }) as Box<dyn MediaFilter>
        })
    };
    let server = MediaServer::builder()
        .rtsp(args.rtsp)
        .authorizer(AllowAll)
        .filter(filters)
        .build()
        .await?;

    tokio::spawn(async move {
        let mut lines = BufReader::new(stdin()).lines();
        while let Ok(Some(_)) = lines.next_line().await {
            let closed = !switch.fetch_xor(true, Ordering::Relaxed);
            println!("the curtain is {}", if closed { "closed" } else { "open" });
        }
    });

    println!("ready: publish to rtsp://{}/house/<name>", args.rtsp);
    server.run(shutdown_signal()?).await?;
    Ok(())
}
