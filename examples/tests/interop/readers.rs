//! The readers and the publisher that are Rust: retina, our client, our camera.

use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use easydarwin_core::client::{ClientOptions, ClientTransport, Player};
use easydarwin_core::media::{MediaKind, Track};
use easydarwin_core::tls::TlsTrust;
use easydarwin_test_support::media::{Audio, Clip};
use easydarwin_test_support::peers::{Received, SECONDS, Transport};
use easydarwin_test_support::process::{Process, Workdir, binary};
use easydarwin_test_support::units::{hash, split_length_prefixed, video_units};
use futures::StreamExt as _;
use retina::client::{InitialTimestampPolicy, PlayOptions, Session, SessionOptions, SetupOptions};
use retina::codec::CodecItem;
use url::Url;

/// As for the other readers.
const LIMIT: Duration = Duration::from_secs(45);

/// retina, over TCP.
pub(crate) fn retina(clip: Clip, url: &str, with_audio: bool) -> Result<Received, String> {
    block_on(async {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let mut session = Session::describe(url, SessionOptions::default())
            .await
            .map_err(|error| format!("DESCRIBE: {error}"))?;
        let mut video = None;
        for index in 0..session.streams().len() {
            let is_video = session.streams()[index].media() == "video";
            if is_video {
                video = Some(index);
            } else if !with_audio {
                continue;
            }
            session
                .setup(index, SetupOptions::default())
                .await
                .map_err(|error| format!("SETUP: {error}"))?;
        }
        let mut frames = session
            // Who comes before the first picture gets an RTP-Info without times.
            .play(PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Permissive))
            .await
            .map_err(|error| format!("PLAY: {error}"))?
            .demuxed()
            .map_err(|error| error.to_string())?;
        let mut received = Received::default();
        while !enough(&received, clip, with_audio) {
            let item = frames.next().await.ok_or("the stream ended")?;
            match item.map_err(|error| error.to_string())? {
                CodecItem::VideoFrame(frame) => {
                    if Some(frame.stream_id()) != video || frame.loss() > 0 {
                        return Err(format!("{} packets lost", frame.loss()));
                    }
                    let units = split_length_prefixed(frame.data());
                    received.video.extend(video_units(clip.video(), units));
                    if !reordered(clip) {
                        received.video_dts.push(frame.timestamp().elapsed());
                    }
                }
                CodecItem::AudioFrame(frame) => {
                    received.audio_dts.push(frame.timestamp().elapsed());
                    add_audio(&mut received, clip, frame.data());
                }
                _ => {}
            }
        }
        Ok(received)
    })
}

/// Our own client. `certificate`: the one to trust, for TLS.
pub(crate) fn ours(
    clip: Clip,
    url: &str,
    transport: Transport,
    certificate: Option<&Path>,
) -> Result<Received, String> {
    block_on(async {
        let mut options = ClientOptions::default();
        options.transport = match transport {
            Transport::Tcp | Transport::Tls => ClientTransport::Tcp,
            Transport::Udp => ClientTransport::Udp,
            Transport::Http | Transport::Https => ClientTransport::Tunnel,
        };
        // One of the peers asks for nothing better.
        options.plain_basic = true;
        if let Some(certificate) = certificate.filter(|_| transport.is_tls()) {
            let trust = TlsTrust::ca_file(certificate).map_err(|error| error.to_string())?;
            options.tls = Some(trust);
        }
        let mut player = Player::connect(url, options)
            .await
            .map_err(|error| error.to_string())?;
        let is_video: Vec<bool> = player
            .description()
            .tracks
            .iter()
            .map(carries_video)
            .collect();
        let mut received = Received::default();
        while !enough(&received, clip, true) {
            let unit = player
                .next_unit()
                .await
                .map_err(|error| error.to_string())?
                .ok_or("the stream ended")?;
            if unit.lossy {
                return Err(format!("packets of track {} were lost", unit.track));
            }
            if is_video[unit.track] {
                let units = unit.data.iter().map(AsRef::as_ref);
                received.video.extend(video_units(clip.video(), units));
                if !reordered(clip) {
                    received.video_dts.push(unit.pts);
                }
            } else {
                received.audio_dts.push(unit.pts);
                for frame in &unit.data {
                    add_audio(&mut received, clip, frame);
                }
            }
        }
        player
            .close()
            .await
            .map_err(|error| format!("TEARDOWN: {error}"))?;
        Ok(received)
    })
}

/// `easydarwin-camera` pushing a file to a server that it is told, without any CMS.
pub(crate) fn camera_publish(workdir: &Workdir, clip: Clip, url: &str) -> Process {
    let mut command = Command::new(binary("easydarwin-camera"));
    command.args(["--push", url, "--source"]).arg(clip.path());
    Process::spawn(workdir, "publisher-camera", command)
}

fn carries_video(track: &Track) -> bool {
    track.kind == MediaKind::Video
}

/// Presentation and decode times differ.
fn reordered(clip: Clip) -> bool {
    matches!(clip, Clip::BFrames | Clip::H265)
}

fn add_audio(received: &mut Received, clip: Clip, frame: &[u8]) {
    if clip.audio() == Audio::G711 {
        received.samples.extend_from_slice(frame);
    } else {
        received.audio.push(hash(frame));
    }
}

fn enough(received: &Received, clip: Clip, with_audio: bool) -> bool {
    let audio = match clip.audio() {
        Audio::G711 => received.samples.len() >= 8000 * SECONDS,
        Audio::Aac | Audio::Opus => received.audio.len() >= 46 * SECONDS,
    };
    received.video.len() >= 25 * SECONDS && (audio || !with_audio)
}

fn block_on<T>(task: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?
        .block_on(async {
            tokio::time::timeout(LIMIT, task)
                .await
                .unwrap_or_else(|_| Err(format!("not done within {LIMIT:?}")))
        })
}
