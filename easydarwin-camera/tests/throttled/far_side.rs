//! Our media server, and a look at what comes in.

use std::time::{Duration, Instant};

use easydarwin_core::media::{H264Params, Track};
use easydarwin_core::registry::{AllowAll, StreamPath};
use easydarwin_core::relay::{TapEvent, TapOptions};
use easydarwin_core::rtp::{PacketRun, Packetizer, PacketizerConfig};
use easydarwin_core::server::MediaServer;

use super::{encoder, link};

/// Longest wait for the camera.
const SOON: Duration = Duration::from_secs(20);

/// A picture that is whole; times are since the start of the test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) captured: Duration,
    pub(crate) arrived: Duration,
    pub(crate) number: u64,
    pub(crate) bytes: usize,
    /// Bytes of media on the connection from the first of these pictures to the end of this one.
    pub(crate) end: u64,
}

impl Arrival {
    pub(crate) fn delay(&self) -> Duration {
        self.arrived - self.captured
    }
}

/// Serves until the camera has gone. `listening` is told when it may come.
pub(crate) fn watch(start: Instant, listening: impl FnOnce()) -> Vec<Arrival> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let address = format!("{}:{}", link::FAR, encoder::PORT);
            let server = MediaServer::builder()
                .rtsp(address.parse().unwrap())
                .authorizer(AllowAll)
                .build()
                .await
                .unwrap();
            let hub = server.hub().clone();
            let server = tokio::spawn(server.run(std::future::pending()));
            listening();
            let path = StreamPath::parse(encoder::PATH).unwrap();
            let stream = hub.wait(&path, true, SOON).await.expect("the camera comes");
            let mut tap = stream.tap(TapOptions::new("far side"));
            let mut arrivals = Vec::new();
            let track = Track::h264(96, H264Params::default());
            let mut packetizer = Packetizer::new(&track, PacketizerConfig::default());
            let (mut run, mut end) = (PacketRun::new(), 0);
            while let Some(event) = tap.recv().await {
                if let TapEvent::Unit(unit) = event {
                    let picture = unit.data.iter().find(|nal| matches!(nal[0], 0x65 | 0x41));
                    let picture = picture.expect("a slice");
                    let figure = |at: usize| {
                        let digits = std::str::from_utf8(&picture[at..at + 16]).unwrap();
                        digits.parse::<u64>().unwrap()
                    };
                    run.clear();
                    let parts = unit.data.iter().map(AsRef::as_ref);
                    packetizer.packetize_parts(parts, 0, &mut run).unwrap();
                    end += u64::try_from(run.interleaved().len()).unwrap();
                    arrivals.push(Arrival {
                        captured: Duration::from_micros(figure(2)),
                        arrived: start.elapsed(),
                        number: figure(18),
                        bytes: unit.len(),
                        end,
                    });
                }
            }
            server.abort();
            arrivals
        })
}
