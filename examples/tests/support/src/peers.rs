//! Programs that we did not write, as publishers and readers.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::media::{Audio, Clip};
use crate::process::{Process, Workdir, tail};
use crate::units::{
    HashedPacket, VideoUnit, parse_framehash, parse_hash, rising, split_annexb, video_units,
};

/// How long a reader may take from its start to its end, on a busy machine.
const READER_LIMIT: Duration = Duration::from_secs(45);

/// How often it is looked whether a reader has recorded enough.
const RECORDED_POLL: Duration = Duration::from_millis(200);

/// Seconds of media that a reader records.
pub const SECONDS: usize = 4;

/// How RTSP and RTP travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Interleaved.
    Tcp,
    /// Port pairs.
    Udp,
    /// Interleaved, over TLS.
    Tls,
    /// Interleaved, in an HTTP tunnel.
    Http,
    /// The same over TLS.
    Https,
}

impl Transport {
    /// For the names of tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Whether it begins with a TLS handshake.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Https)
    }

    /// ffmpeg's options. It looks at no certificate unless told to.
    fn ffmpeg(self) -> [&'static str; 2] {
        let name = match self {
            Self::Tls => "tcp",
            other => other.name(),
        };
        ["-rtsp_transport", name]
    }

    /// ffmpeg's URL: it knows a tunnel by the option alone.
    fn ffmpeg_url(self, url: &str) -> String {
        match self {
            Self::Https => url.replacen("rtsps://", "rtsp://", 1),
            _ => url.to_owned(),
        }
    }

    /// GStreamer's property.
    fn gstreamer(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            // In a tunnel, too: what SETUP asks for is TCP.
            _ => "tcp",
        }
    }

    /// GStreamer's URL: it knows a tunnel by the scheme.
    fn gstreamer_url(self, url: &str) -> String {
        match self {
            Self::Http => url.replacen("rtsp://", "rtsph://", 1),
            Self::Https => url.replacen("rtsps://", "rtspsh://", 1),
            _ => url.to_owned(),
        }
    }
}

/// What a reader got.
#[derive(Debug, Default)]
pub struct Received {
    /// VCL NAL units in the order of arrival.
    pub video: Vec<VideoUnit>,
    /// Audio frames by hash, when they are frames.
    pub audio: Vec<[u8; 32]>,
    /// Audio samples, when it is G.711.
    pub samples: Vec<u8>,
    /// Decode times of the video's access units, where this reader knows them.
    pub video_dts: Vec<i64>,
    /// Decode times of the audio's, likewise.
    pub audio_dts: Vec<i64>,
}

impl Received {
    /// Compares with what was published: contiguous from a key frame on, in the right order of
    /// time, and as much of it as was asked for.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self, clip: Clip, with_audio: bool) -> Result<(), String> {
        let published = clip.published();
        // A second less than was asked for: readers cut at different places.
        let seconds = SECONDS - 1;
        crate::units::video_run(&published.video, &self.video, 25 * seconds)
            .map_err(|error| format!("video: {error}"))?;
        rising(self.video_dts.iter().copied()).map_err(|error| format!("video: {error}"))?;
        rising(self.audio_dts.iter().copied()).map_err(|error| format!("audio: {error}"))?;
        if !with_audio {
            return Ok(());
        }
        match clip.audio() {
            Audio::Aac => crate::units::contiguous_run(&published.audio, &self.audio, 46 * seconds),
            Audio::Opus => {
                crate::units::contiguous_run(&published.audio, &self.audio, 50 * seconds)
            }
            Audio::G711 => {
                crate::units::sample_run(&published.samples, &self.samples, 8000 * seconds)
            }
        }
        .map(|_| ())
        .map_err(|error| format!("audio: {error}"))
    }
}

/// The size of RTP packets that ffmpeg takes by itself, in bytes.
pub const FFMPEG_PACKET: usize = 1472;

/// ffmpeg publishing a file in real time, in RTP packets of at most `packet` bytes.
pub fn ffmpeg_publish(
    workdir: &Workdir,
    clip: Clip,
    url: &str,
    transport: Transport,
    packet: usize,
) -> Process {
    crate::require(&["ffmpeg"]);
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "warning", "-re", "-i"])
        .arg(clip.path())
        .args(["-c", "copy", "-f", "rtsp"])
        .args(transport.ffmpeg())
        .args(["-pkt_size", &packet.to_string()])
        .arg(transport.ffmpeg_url(url));
    Process::spawn(workdir, "publisher-ffmpeg", command)
}

/// The same over TCP, again and again from its beginning.
pub fn ffmpeg_publish_endlessly(workdir: &Workdir, clip: Clip, url: &str) -> Process {
    crate::require(&["ffmpeg"]);
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "warning", "-re", "-stream_loop", "-1"])
        .arg("-i")
        .arg(clip.path())
        .args(["-c", "copy", "-f", "rtsp"])
        .args(Transport::Tcp.ffmpeg())
        .arg(url);
    Process::spawn(workdir, "publisher-ffmpeg", command)
}

/// GStreamer's `rtspclientsink` publishing a file in real time.
pub fn gstreamer_publish(
    workdir: &Workdir,
    clip: Clip,
    url: &str,
    transport: Transport,
) -> Process {
    crate::require(&["gst-launch-1.0"]);
    let parse = match clip.video() {
        crate::units::VideoCodec::H264 => "h264parse",
        crate::units::VideoCodec::H265 => "h265parse",
    };
    let audio: &[&str] = match clip {
        Clip::Aac => &["aacparse", "!"],
        Clip::BFrames => &["opusparse", "!"],
        Clip::H265 | Clip::Mulaw => &[],
    };
    let mut command = Command::new("gst-launch-1.0");
    command
        // Its own choice for AAC would be LATM, which half of the readers cannot take.
        .env("GST_PLUGIN_FEATURE_RANK", "rtpmp4apay:NONE")
        .args(["-q", "filesrc"])
        .arg(format!("location={}", clip.path().display()))
        .args([
            "!",
            "qtdemux",
            "name=d",
            "d.video_0",
            "!",
            "queue",
            "!",
            parse,
            "!",
        ])
        .args(["rtspclientsink", "name=s", "tls-validation-flags=0"])
        .arg(format!("protocols={}", transport.gstreamer()))
        .arg(format!("location={}", transport.gstreamer_url(url)))
        .args(["d.audio_0", "!", "queue", "!"])
        .args(audio)
        .arg("s.");
    Process::spawn(workdir, "publisher-gstreamer", command)
}

/// ffmpeg reading over RTSP.
///
/// # Errors
/// Says why it got nothing that could be compared.
pub fn ffmpeg_read(
    workdir: &Workdir,
    clip: Clip,
    url: &str,
    transport: Transport,
) -> Result<Received, String> {
    let url = transport.ffmpeg_url(url);
    ffmpeg_record(workdir, clip, &url, &transport.ffmpeg(), true)
}

/// ffmpeg as a server, to which `url` is published.
///
/// # Errors
/// Says why it got nothing that could be compared.
pub fn ffmpeg_listen(workdir: &Workdir, clip: Clip, url: &str) -> Result<Received, String> {
    ffmpeg_record(workdir, clip, url, &["-rtsp_flags", "listen"], true)
}

/// ffmpeg reading HLS.
///
/// # Errors
/// Says why it got nothing that could be compared.
pub fn hls_read(workdir: &Workdir, clip: Clip, url: &str) -> Result<Received, String> {
    let with_audio = clip.audio() == Audio::Aac;
    ffmpeg_record(workdir, clip, url, &[], with_audio)
}

fn ffmpeg_record(
    workdir: &Workdir,
    clip: Clip,
    url: &str,
    input: &[&str],
    with_audio: bool,
) -> Result<Received, String> {
    crate::require(&["ffmpeg"]);
    let seconds = SECONDS.to_string();
    let limit = ["-t", &seconds, "-c", "copy", "-copyinkf"];
    let (times, video, audio) = (
        workdir.file("times.txt"),
        workdir.file("video"),
        workdir.file("audio"),
    );
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-y", "-v", "warning"])
        .args(input)
        .args(["-i", url, "-map", "0:v"])
        .args(with_audio.then_some(["-map", "0:a"]).into_iter().flatten())
        .args(limit)
        .args(["-f", "framehash", "-hash", "sha256"])
        .arg(&times)
        .args(["-map", "0:v"])
        .args(limit)
        .args(["-f", clip.video().format()])
        .arg(&video);
    let raw_audio = with_audio && clip.audio() == Audio::G711;
    if raw_audio {
        command
            .args(["-map", "0:a"])
            .args(limit)
            .args(["-f", clip.raw_audio_format()])
            .arg(&audio);
    }
    let mut process = Process::spawn(workdir, "reader-ffmpeg", command);
    finish(&mut process)?;

    let packets = parse_framehash(&read_text(&times)?);
    let of = |stream: usize| -> Vec<HashedPacket> {
        packets
            .iter()
            .filter(|packet| packet.stream == stream)
            .cloned()
            .collect()
    };
    let dts = |stream| -> Vec<i64> { of(stream).iter().map(|packet| packet.dts).collect() };
    let mut received = Received {
        video: video_units(clip.video(), split_annexb(&read(&video)?)),
        // Over RTSP ffmpeg guesses the first picture's time, and all of them with B-frames;
        // HLS says them.
        video_dts: if input.is_empty() {
            dts(0)
        } else if matches!(clip, Clip::Aac | Clip::Mulaw) {
            dts(0).split_off(1.min(of(0).len()))
        } else {
            Vec::new()
        },
        audio_dts: dts(1),
        ..Received::default()
    };
    if raw_audio {
        received.samples = read(&audio)?;
    } else if with_audio {
        received.audio = of(1)
            .iter()
            .map(|packet| parse_hash(&packet.hash))
            .collect();
    }
    Ok(received)
}

/// GStreamer's `rtspsrc` reading.
///
/// # Errors
/// Says why it got nothing that could be compared.
pub fn gstreamer_read(
    workdir: &Workdir,
    clip: Clip,
    url: &str,
    transport: Transport,
) -> Result<Received, String> {
    crate::require(&["gst-launch-1.0"]);
    let (video, frames) = (workdir.file("video"), workdir.sub("frames"));
    let video_chain = match clip.video() {
        crate::units::VideoCodec::H264 => {
            "rtph264depay ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au"
        }
        crate::units::VideoCodec::H265 => {
            "rtph265depay ! h265parse ! video/x-h265,stream-format=byte-stream,alignment=au"
        }
    };
    let audio_chain = match (clip.audio(), clip) {
        (Audio::Aac, _) => "rtpmp4gdepay",
        (Audio::Opus, _) => "rtpopusdepay",
        (Audio::G711, Clip::H265) => "rtppcmadepay",
        (Audio::G711, _) => "rtppcmudepay",
    };
    // The filters are elements, not caps between two `!`: for those gst-launch makes an element
    // whenever `rtspsrc` adds a pad, and joins it to both sides whether or not one of them failed.
    // `rtspsrc` adds its pads from one thread per track; when media come at once, as from a ring,
    // the filter that fits no pad may take the queue from the one that does, neither stays, and
    // the pipeline waits for that track for ever (`gst_element_link_pads_filtered`, 1.22).
    let pipeline = format!(
        "rtspsrc name=s location={} protocols={} tls-validation-flags=0 latency=200 \
         s. ! capsfilter caps=application/x-rtp,media=video ! queue ! {video_chain} ! filesink buffer-mode=unbuffered location={} \
         s. ! capsfilter caps=application/x-rtp,media=audio ! queue ! {audio_chain} ! multifilesink location={}/%06d",
        transport.gstreamer_url(url),
        transport.gstreamer(),
        video.display(),
        frames.path().display(),
    );
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q").args(pipeline.split_whitespace());
    let mut process = Process::spawn(workdir, "reader-gstreamer", command);
    // It has no option to end after some time: it is ended when it has recorded enough.
    recorded(&mut process, clip, &video, frames.path())
}

/// What a program records, once it is enough: pictures as an Annex B stream in `video`, sound in
/// `frames`, a file for each.
///
/// # Errors
/// When it ends before, or takes too long.
pub fn recorded(
    process: &mut Process,
    clip: Clip,
    video: &Path,
    frames: &Path,
) -> Result<Received, String> {
    let deadline = Instant::now() + READER_LIMIT;
    loop {
        let received = gstreamer_received(clip, video, frames)?;
        if received.video.len() >= 25 * SECONDS
            && received.audio.len().max(received.samples.len() / 160) >= 46 * SECONDS
        {
            return Ok(received);
        }
        if !process.running() || Instant::now() >= deadline {
            return Err(format!(
                "{} pictures, {} audio frames, {} samples, then it {}:\n{}",
                received.video.len(),
                received.audio.len(),
                received.samples.len(),
                if process.running() {
                    "had no more in time"
                } else {
                    "ended"
                },
                tail(&process.log(), 3000)
            ));
        }
        std::thread::sleep(RECORDED_POLL);
    }
}

/// What has been recorded so far. The last unit of each kind may still be being written.
fn gstreamer_received(clip: Clip, video: &Path, frames: &Path) -> Result<Received, String> {
    // The file is not there before the first picture is.
    let elementary = std::fs::read(video).unwrap_or_default();
    let mut units = split_annexb(&elementary);
    units.pop();
    let mut received = Received {
        video: video_units(clip.video(), units),
        ..Received::default()
    };
    let mut files: Vec<_> = std::fs::read_dir(frames)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files.pop();
    for file in files {
        let frame = read(&file)?;
        if clip.audio() == Audio::G711 {
            received.samples.extend(frame);
        } else {
            received.audio.push(crate::units::hash(&frame));
        }
    }
    Ok(received)
}

fn finish(process: &mut Process) -> Result<(), String> {
    match process.wait(READER_LIMIT) {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!(
            "ended with {status}:\n{}",
            tail(&process.log(), 3000)
        )),
        None => Err(format!(
            "had not ended after {READER_LIMIT:?}:\n{}",
            tail(&process.log(), 3000)
        )),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn read_text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
