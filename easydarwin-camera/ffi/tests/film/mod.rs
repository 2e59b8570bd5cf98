//! What `push_file` pushes, and whether it arrives: every NAL unit of every access unit.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use easydarwin_core::media::Track;
use easydarwin_core::rtp::{Depacketizer, MediaPacket, RtpPacket, TimestampUnwrapper};
use easydarwin_test_support::media::Clip;
use easydarwin_test_support::peers::{Received, SECONDS};
use easydarwin_test_support::process::Workdir;
use easydarwin_test_support::proxy::{Proxy, Way};
use easydarwin_test_support::require;
use easydarwin_test_support::units::{contiguous_run, rising, split_annexb};

/// The clip that the sound is of, and the pictures were.
pub(crate) const CLIP: Clip = Clip::Aac;
/// Pictures a second.
const RATE: usize = 25;
/// Access unit delimiter (H.264, table 7-1).
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
/// The channel of the pictures' RTP: the camera asks for it.
const PICTURES: u8 = 0;

/// A NAL unit, short in what tests print.
#[derive(Clone, PartialEq, Eq)]
struct Nal(Vec<u8>);

impl Nal {
    fn kind(&self) -> u8 {
        self.0.first().map_or(0, |header| header & 0x1f)
    }
}

impl std::fmt::Debug for Nal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.kind(), self.0.len())
    }
}

/// An access unit.
type Picture = Vec<Nal>;

/// H.264 with everything that encoders put beside slices, and AAC.
#[derive(Debug)]
pub(crate) struct Film {
    video: PathBuf,
    audio: PathBuf,
    pictures: Vec<Picture>,
}

impl Film {
    pub(crate) fn make(workdir: &Workdir, seconds: usize) -> Self {
        require(&["ffmpeg"]);
        let (video, audio) = (workdir.file("film.h264"), workdir.file("film.aac"));
        let time = seconds.to_string();
        let output = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-y", "-t", &time, "-i"])
            .arg(CLIP.path())
            .args(["-map", "0:v", "-r", &RATE.to_string(), "-c:v", "libx264"])
            // Delimiters, buffering and timing, four slices; parameter sets at each key frame.
            .args([
                "-preset",
                "ultrafast",
                "-b:v",
                "1M",
                "-maxrate",
                "1M",
                "-bufsize",
                "1M",
            ])
            .args([
                "-x264-params",
                "aud=1:nal-hrd=cbr:slices=4:keyint=50:scenecut=0",
            ])
            .args(["-f", "h264"])
            .arg(&video)
            .args(["-map", "0:a", "-c", "copy", "-f", "adts"])
            .arg(&audio)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let mut pictures = pictures(&std::fs::read(&video).unwrap());
        let mut bytes = Vec::new();
        for (number, picture) in pictures.iter_mut().enumerate() {
            // Filler, as encoders with a constant rate put it behind the slices; some of it longer than a packet.
            let mut filler = vec![0xff; 2 + number * 37 % 2000];
            (filler[0], *filler.last_mut().unwrap()) = (FILLER, 0x80);
            picture.push(Nal(if number % 3 == 0 {
                filler
            } else {
                vec![FILLER, 0x80]
            }));
            for nal in picture {
                bytes.extend([0, 0, 0, 1]);
                bytes.extend(&nal.0);
            }
        }
        std::fs::write(&video, bytes).unwrap();
        let all: Vec<u8> = pictures.iter().flatten().map(|nal| nal.kind()).collect();
        for kind in [1, 5, 6, 7, 8, DELIMITER, FILLER] {
            assert!(all.contains(&kind), "no NAL unit {kind} in the film");
        }
        assert!(pictures.len() >= RATE * seconds);
        Self {
            video,
            audio,
            pictures,
        }
    }

    /// How many access units it has.
    pub(crate) fn pictures(&self) -> usize {
        self.pictures.len()
    }

    /// What `push_file` is called with.
    pub(crate) fn args(&self, url: &str) -> [String; 4] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [
            url.to_owned(),
            text(&self.video),
            RATE.to_string(),
            text(&self.audio),
        ]
    }

    /// `push_file` said that each of the pictures was queued and sent.
    pub(crate) fn expect_all_sent(&self, said: &str) {
        let pictures = self.pictures();
        let line = format!("frames={pictures} queued={pictures} sent={pictures}");
        assert!(said.contains(&line), "{line:?} is not in\n{said}");
    }

    /// What passed on the wire is the film from its beginning on, access unit by access unit, at least so
    /// many of them.
    pub(crate) fn check_wire(&self, proxy: &Proxy, least: usize) {
        let sent = sent(proxy);
        assert!(sent.len() >= least, "{} access units", sent.len());
        assert!(sent.len() <= self.pictures.len(), "{}", sent.len());
        // A server that leaves cuts the last one.
        let whole = sent.len() - usize::from(sent.len() < self.pictures.len());
        for (number, (sent, film)) in sent[..whole].iter().zip(&self.pictures).enumerate() {
            assert_eq!(sent, film, "access unit {number} on the wire");
        }
    }

    /// What a reader recorded is a run of the film's NAL units, all of them, from the beginning of an access
    /// unit on, and of the clip's sound. The last NAL unit may be cut. GStreamer puts the parameter sets of
    /// the description in front.
    pub(crate) fn check_recorded(&self, video: &Path, received: &Received) {
        let sound = &CLIP.published().audio;
        contiguous_run(sound, &received.audio, 46 * (SECONDS - 1)).unwrap();
        rising(received.video_dts.iter().copied()).unwrap();
        rising(received.audio_dts.iter().copied()).unwrap();

        let recorded = nals(&std::fs::read(video).unwrap());
        let begins = recorded.iter().position(|nal| nal.kind() == DELIMITER);
        let (described, recorded) = recorded.split_at(begins.expect("a delimiter"));
        assert!(
            described.iter().all(|nal| matches!(nal.kind(), 7 | 8)),
            "{described:?}"
        );
        let recorded = &recorded[..recorded.len() - 1];
        let film: Vec<_> = self.pictures.concat();
        let least = self.pictures[..RATE * (SECONDS - 1)]
            .iter()
            .map(Vec::len)
            .sum();
        contiguous_run(&film, recorded, least).unwrap_or_else(|error| {
            panic!(
                "{error}; recorded: {:?}",
                &recorded[..recorded.len().min(40)]
            )
        });
    }
}

fn nals(elementary: &[u8]) -> Vec<Nal> {
    let units = split_annexb(elementary).into_iter();
    units.map(|unit| Nal(unit.to_vec())).collect()
}

/// Each begins with its delimiter.
fn pictures(elementary: &[u8]) -> Vec<Picture> {
    let mut pictures: Vec<Picture> = Vec::new();
    for nal in nals(elementary) {
        if nal.kind() == DELIMITER {
            pictures.push(Vec::new());
        }
        pictures.last_mut().expect("a delimiter first").push(nal);
    }
    pictures
}

/// The access units that passed, out of their RTP packets: where one ends and the next begins is lost in what
/// readers record.
fn sent(proxy: &Proxy) -> Vec<Picture> {
    let mut depacketizer = Depacketizer::new(0, &Track::h264(96, Default::default()));
    let mut times = TimestampUnwrapper::default();
    let mut sequence = None;
    let mut sent = Vec::new();
    let arrival = Instant::now();
    let mut take = |depacketizer: &mut Depacketizer| {
        while let Some(unit) = depacketizer.pop() {
            assert!(!unit.lossy);
            sent.push(unit.data.iter().map(|nal| Nal(nal.to_vec())).collect());
        }
    };
    for frame in proxy.frames() {
        if frame.way != Way::In || frame.channel != PICTURES {
            continue;
        }
        let packet = RtpPacket::parse(&frame.data).unwrap();
        let number = packet.sequence();
        let before = sequence.replace(number);
        assert!(before.is_none_or(|before: u16| before.wrapping_add(1) == number));
        let packet = MediaPacket {
            payload: packet.payload(),
            marker: packet.marker(),
            timestamp: times.unwrap(packet.timestamp()),
            arrival,
            ntp: None,
            lost_before: false,
        };
        depacketizer.push(packet).unwrap();
        take(&mut depacketizer);
    }
    depacketizer.flush();
    take(&mut depacketizer);
    sent
}
