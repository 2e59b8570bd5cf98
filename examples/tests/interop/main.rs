//! Every publisher with every reader. Each test is one publication that all its readers play at
//! the same time from the binary `easydarwin`; what they receive must be a contiguous run of what
//! was published, from a key frame on. And our client plays from a server that we did not write.
//!
//! `INTEROP=full` takes every clip with every publisher; without it every publisher is paired with
//! every reader once, and the other clips with some.

// A test may panic; that is how it fails.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod pause;
mod readers;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use easydarwin_test_support::api::wait_live;
use easydarwin_test_support::gst_server::{GstServer, Guard};
use easydarwin_test_support::media::{Audio, Clip};
use easydarwin_test_support::peers::{
    FFMPEG_PACKET, Received, Transport, ffmpeg_publish, ffmpeg_read, gstreamer_publish,
    gstreamer_read, hls_read,
};
use easydarwin_test_support::process::{Process, Workdir, free_port};
use easydarwin_test_support::tls::self_signed;

/// How long a publisher may take until its stream is there.
const LIVE_WITHIN: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publisher {
    Ffmpeg(Transport),
    /// Over TCP, with packets that no datagram can carry.
    FfmpegLarge,
    GStreamer(Transport),
    Camera,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Ffmpeg(Transport),
    GStreamer(Transport),
    Retina,
    Ours(Transport),
    Hls,
}

impl Reader {
    const ALL: [Self; 8] = [
        Self::Ffmpeg(Transport::Tcp),
        Self::Ffmpeg(Transport::Udp),
        Self::GStreamer(Transport::Tcp),
        Self::GStreamer(Transport::Udp),
        Self::Retina,
        Self::Ours(Transport::Tcp),
        Self::Ours(Transport::Udp),
        Self::Hls,
    ];

    fn name(self) -> String {
        match self {
            Self::Ffmpeg(transport) => format!("ffmpeg-{}", transport.name()),
            Self::GStreamer(transport) => format!("gstreamer-{}", transport.name()),
            Self::Retina => "retina".to_owned(),
            Self::Ours(transport) => format!("ours-{}", transport.name()),
            Self::Hls => "ffmpeg-hls".to_owned(),
        }
    }

    /// Whether it understands the clip's audio; its video it always does.
    fn takes_audio(self, clip: Clip) -> bool {
        match self {
            Self::Retina => clip.audio() != Audio::Opus,
            Self::Hls => clip.audio() == Audio::Aac,
            _ => true,
        }
    }

    fn read(self, workdir: &Workdir, clip: Clip, server: &Server) -> Result<(), String> {
        let received: Received = match self {
            Self::Ffmpeg(transport) => {
                ffmpeg_read(workdir, clip, &server.url(transport), transport)?
            }
            Self::GStreamer(transport) => {
                gstreamer_read(workdir, clip, &server.url(transport), transport)?
            }
            Self::Retina => {
                readers::retina(clip, &server.url(Transport::Tcp), self.takes_audio(clip))?
            }
            Self::Ours(transport) => {
                let url = server.url(transport);
                readers::ours(clip, &url, transport, Some(&server.certificate))?
            }
            Self::Hls => hls_read(workdir, clip, &server.hls())?,
        };
        received.check(clip, self.takes_audio(clip))
    }
}

/// Where one `easydarwin` listens.
#[derive(Debug)]
struct Server {
    /// The address by which it is reached.
    host: &'static str,
    rtsp: u16,
    rtsps: u16,
    http: u16,
    certificate: PathBuf,
}

impl Server {
    /// Starts one that lets everybody in.
    fn start(workdir: &Workdir, host: &'static str) -> (Self, Process) {
        let (rtsp, rtsps, http) = (free_port(), free_port(), free_port());
        let (certificate, key) = self_signed(workdir);
        let process = Process::spawn_ready(
            workdir,
            "easydarwin",
            "easydarwin",
            [
                "--rtsp",
                &format!("[::]:{rtsp}"),
                "--rtsps",
                &format!("[::]:{rtsps}"),
                "--tls-cert",
                &certificate.to_string_lossy(),
                "--tls-key",
                &key.to_string_lossy(),
                "--http",
                &format!("127.0.0.1:{http}"),
                "--anonymous",
            ],
        );
        let server = Self {
            host,
            rtsp,
            rtsps,
            http,
            certificate,
        };
        (server, process)
    }

    fn url(&self, transport: Transport) -> String {
        let (scheme, port) = if transport.is_tls() {
            ("rtsps", self.rtsps)
        } else {
            ("rtsp", self.rtsp)
        };
        format!("{scheme}://{}:{port}/live/film", self.host)
    }

    fn hls(&self) -> String {
        format!("http://127.0.0.1:{}/live/film/index.m3u8", self.http)
    }
}

fn publication(publisher: Publisher, clip: Clip, readers: &[Reader]) {
    publication_at("127.0.0.1", publisher, clip, readers);
}

fn publication_at(host: &'static str, publisher: Publisher, clip: Clip, readers: &[Reader]) {
    let name = match publisher {
        Publisher::Ffmpeg(transport) => format!("ffmpeg-{}", transport.name()),
        Publisher::FfmpegLarge => "ffmpeg-large".to_owned(),
        Publisher::GStreamer(transport) => format!("gstreamer-{}", transport.name()),
        Publisher::Camera => "camera".to_owned(),
    };
    let family = if host.starts_with('[') { "-v6" } else { "" };
    let name = format!("{name}{family}-{}", clip.name());
    let workdir = Workdir::new(&format!("interop-{name}"));
    clip.published();
    let (server, mut process) = Server::start(&workdir, host);
    let server = &server;
    let mut source = match publisher {
        Publisher::Ffmpeg(transport) => ffmpeg_publish(
            &workdir,
            clip,
            &server.url(transport),
            transport,
            FFMPEG_PACKET,
        ),
        Publisher::FfmpegLarge => ffmpeg_publish(&workdir, clip, &server.url(TCP), TCP, 8000),
        Publisher::GStreamer(transport) => {
            gstreamer_publish(&workdir, clip, &server.url(transport), transport)
        }
        Publisher::Camera => readers::camera_publish(&workdir, clip, &server.url(TCP)),
    };
    wait_live(&server.url(TCP), LIVE_WITHIN);

    let results: Vec<(Reader, Result<(), String>, Duration)> = std::thread::scope(|scope| {
        let started: Vec<_> = readers
            .iter()
            .map(|&reader| {
                let workdir = workdir.sub(&reader.name());
                let thread = scope.spawn(move || {
                    let start = Instant::now();
                    let result = reader.read(&workdir, clip, server);
                    (result, start.elapsed())
                });
                (reader, thread)
            })
            .collect();
        started
            .into_iter()
            .map(|(reader, thread)| {
                let (result, took) = thread.join().unwrap_or_else(|panic| {
                    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                    (Err(format!("panicked: {text}")), Duration::ZERO)
                });
                (reader, result, took)
            })
            .collect()
    });

    let mut table = String::new();
    for (reader, result, took) in &results {
        let text = match result {
            Ok(()) => "ok",
            Err(error) => error,
        };
        writeln!(
            table,
            "{name} -> {}: {text} ({:.1} s)",
            reader.name(),
            took.as_secs_f32()
        )
        .expect("a String takes everything");
    }
    println!("{table}");
    assert!(process.running(), "the server has ended");
    let failed = results
        .iter()
        .filter(|(_, result, _)| result.is_err())
        .count();
    if failed > 0 {
        eprintln!(
            "the publisher is {}running",
            if source.running() { "" } else { "not " }
        );
    }
    assert!(
        failed == 0,
        "{failed} of {} readers failed:\n{table}",
        results.len()
    );
}

fn full() -> bool {
    std::env::var("INTEROP").is_ok_and(|value| value == "full")
}

/// The readers of a pairing that only the full product tests with all of them.
fn some(readers: &[Reader]) -> Vec<Reader> {
    if full() {
        Reader::ALL.to_vec()
    } else {
        readers.to_vec()
    }
}

const TCP: Transport = Transport::Tcp;
const UDP: Transport = Transport::Udp;
const TLS: Transport = Transport::Tls;

#[test]
fn ffmpeg_tcp_h264_aac() {
    publication(Publisher::Ffmpeg(TCP), Clip::Aac, &Reader::ALL);
}

#[test]
fn ffmpeg_udp_h264_aac() {
    publication(Publisher::Ffmpeg(UDP), Clip::Aac, &Reader::ALL);
}

#[test]
fn gstreamer_h264_aac() {
    publication(Publisher::GStreamer(TCP), Clip::Aac, &Reader::ALL);
}

#[test]
fn ffmpeg_large_packets_h264_aac() {
    publication(Publisher::FfmpegLarge, Clip::Aac, &Reader::ALL);
}

#[test]
fn ffmpeg_large_packets_h265() {
    let readers = some(&[Reader::Ffmpeg(UDP), Reader::Ffmpeg(TCP), Reader::Ours(UDP)]);
    publication(Publisher::FfmpegLarge, Clip::H265, &readers);
}

#[test]
fn camera_h264_aac() {
    publication(Publisher::Camera, Clip::Aac, &Reader::ALL);
}

#[test]
fn ffmpeg_tls_h264_aac() {
    publication(
        Publisher::Ffmpeg(TLS),
        Clip::Aac,
        &[
            Reader::Ffmpeg(TLS),
            Reader::Ffmpeg(Transport::Http),
            Reader::Ffmpeg(Transport::Https),
            Reader::GStreamer(TLS),
            Reader::Ours(TLS),
            Reader::Ours(Transport::Https),
        ],
    );
}

#[test]
fn gstreamer_tls_h264_aac() {
    publication(
        Publisher::GStreamer(TLS),
        Clip::Aac,
        &[
            Reader::Ffmpeg(TLS),
            Reader::GStreamer(Transport::Http),
            Reader::GStreamer(Transport::Https),
            Reader::Ours(Transport::Http),
        ],
    );
}

#[test]
fn ffmpeg_tcp_over_v6() {
    publication_at(
        "[::1]",
        Publisher::Ffmpeg(TCP),
        Clip::Aac,
        &[
            Reader::Ffmpeg(UDP),
            Reader::GStreamer(TCP),
            Reader::GStreamer(UDP),
            Reader::Ours(UDP),
            Reader::Retina,
        ],
    );
}

#[test]
fn ffmpeg_udp_over_v6() {
    publication_at(
        "[::1]",
        Publisher::Ffmpeg(UDP),
        Clip::Aac,
        &[
            Reader::Ffmpeg(TCP),
            Reader::GStreamer(UDP),
            Reader::Ours(TCP),
            Reader::Ours(TLS),
        ],
    );
}

#[test]
fn ffmpeg_tcp_h264_bframes_opus() {
    let readers = some(&[
        Reader::Ffmpeg(TCP),
        Reader::GStreamer(TCP),
        Reader::Retina,
        Reader::Ours(TCP),
        Reader::Hls,
    ]);
    publication(Publisher::Ffmpeg(TCP), Clip::BFrames, &readers);
}

#[test]
fn gstreamer_h265_pcma() {
    let readers = some(&[
        Reader::Ffmpeg(UDP),
        Reader::GStreamer(TCP),
        Reader::Retina,
        Reader::Ours(TCP),
        Reader::Hls,
    ]);
    publication(Publisher::GStreamer(TCP), Clip::H265, &readers);
}

#[test]
fn ffmpeg_udp_h264_pcmu() {
    let readers = some(&[
        Reader::Ffmpeg(TCP),
        Reader::GStreamer(UDP),
        Reader::Ours(UDP),
    ]);
    publication(Publisher::Ffmpeg(UDP), Clip::Mulaw, &readers);
}

#[test]
fn camera_h265() {
    let readers = some(&[
        Reader::Ffmpeg(TCP),
        Reader::GStreamer(TCP),
        Reader::Ours(TCP),
    ]);
    publication(Publisher::Camera, Clip::H265, &readers);
}

/// The other way round: our client pulls from a server that we did not write.
#[test]
fn our_client_plays_from_gst_rtsp_server() {
    std::thread::scope(|scope| {
        for (guard, transport) in [
            (Guard::Open, TCP),
            (Guard::Open, UDP),
            (Guard::Digest, TCP),
            (Guard::Basic, UDP),
        ] {
            scope.spawn(move || pull(guard, transport));
        }
    });
}

fn pull(guard: Guard, transport: Transport) {
    let clip = Clip::Aac;
    let name = format!("{guard:?}-{}", transport.name()).to_lowercase();
    let workdir = Workdir::new(&format!("interop-gst-rtsp-server-{name}"));
    let server = GstServer::start(&workdir, &clip.path(), guard);
    if guard != Guard::Open {
        let refused = readers::ours(clip, &server.wrong_url(), transport, None);
        let error = refused.expect_err("the password was wrong");
        assert!(error.contains("401"), "{name}: {error}");
    }
    readers::ours(clip, &server.url(), transport, None)
        .and_then(|received| received.check(clip, true))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// The pairings that are left over: every publisher with every clip.
#[test]
fn all_other_clips_when_asked_for() {
    if !full() {
        return;
    }
    for publisher in [
        Publisher::Ffmpeg(TCP),
        Publisher::Ffmpeg(UDP),
        Publisher::GStreamer(TCP),
        Publisher::Camera,
    ] {
        for clip in Clip::ALL {
            let done = [
                (Publisher::Ffmpeg(TCP), Clip::BFrames),
                (Publisher::GStreamer(TCP), Clip::H265),
                (Publisher::Ffmpeg(UDP), Clip::Mulaw),
                (Publisher::Camera, Clip::H265),
            ];
            if clip != Clip::Aac && !done.contains(&(publisher, clip)) {
                publication(publisher, clip, &Reader::ALL);
            }
        }
    }
}
