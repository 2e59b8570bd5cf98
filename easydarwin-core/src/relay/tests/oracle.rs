//! Readers with random stalls against what was published: the judge knows the reference
//! structure (each picture refers to the one before, a key frame to none).

use std::time::Duration;

use super::rig::{Camera, Peer, Seen, frame, hub_with, settle};
use crate::relay::{ReaderHandle, ReaderOptions, RelayConfig};

/// Judges one reader's bytes as they come.
#[derive(Default)]
struct Judge {
    rest: Vec<u8>,
    /// The picture being received, packets of it, and how many it has.
    current: Option<(u32, u32, u32)>,
    next_seq: Option<u16>,
    gaps: u64,
    pictures: u64,
    truncated: u64,
}

impl Judge {
    fn see(&mut self, bytes: &[u8], camera: &Camera) {
        self.rest.extend_from_slice(bytes);
        let taken = std::mem::take(&mut self.rest);
        let mut rest = &taken[..];
        while let Some((seen, after)) = frame(rest) {
            rest = after;
            if seen.channel == 0 {
                self.packet(&seen, camera);
            }
        }
        self.rest = rest.to_vec();
    }

    fn packet(&mut self, seen: &Seen, camera: &Camera) {
        let contiguous = self.next_seq.is_some_and(|next| next == seen.seq);
        self.next_seq = Some(seen.seq.wrapping_add(1));
        let count = if seen.is_key() {
            camera.key_packets
        } else {
            camera.packets
        };
        if contiguous {
            let (picture, packets, of) = self.current.unwrap();
            if packets == of {
                assert_eq!((seen.picture(), seen.index()), (picture + 1, 0));
                self.current = Some((seen.picture(), 1, count));
                self.pictures += 1;
            } else {
                assert_eq!((seen.picture(), seen.index()), (picture, packets));
                self.current = Some((picture, packets + 1, of));
            }
            return;
        }
        // After a skip: a key frame from its first packet on, and nothing else.
        assert!(
            seen.is_key(),
            "picture {} lacks its reference",
            seen.picture()
        );
        assert_eq!(seen.index(), 0, "a key frame from the middle");
        if let Some((_, packets, of)) = self.current {
            self.gaps += 1;
            self.truncated += u64::from(packets < of);
        }
        self.current = Some((seen.picture(), 1, count));
        self.pictures += 1;
    }
}

async fn run(seed: u64, config: RelayConfig, audio: bool, keep_audio: bool) -> (u64, u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let hub = hub_with(config);
    let mut camera = Camera::new(&hub, audio);
    camera.film_many(3).await;
    let mut readers: Vec<(Peer, ReaderHandle, Judge)> = Vec::new();
    for _ in 0..8 {
        let peer = Peer::default();
        let mut options = ReaderOptions::new("random");
        options.keep_audio = keep_audio;
        options.stall_timeout = Some(Duration::from_secs(3600));
        let handle = camera
            .publisher
            .stream()
            .prepare(options)
            .start(peer.sink());
        readers.push((peer, handle, Judge::default()));
    }
    let patient = Peer::eager();
    let options = ReaderOptions::new("patient");
    let patient_handle = camera
        .publisher
        .stream()
        .prepare(options)
        .start(patient.sink());
    let mut patient_judge = Judge::default();
    for _ in 0..400 {
        camera.packet_len = random.usize(100..1400);
        camera.film().await;
        settle().await;
        for (peer, _, _) in &readers {
            match random.u8(0..80) {
                0 => peer.allow(random.usize(0..200_000)),
                1..=14 => peer.allow(random.usize(0..12_000)),
                _ => {}
            }
        }
        settle().await;
        for (peer, _, judge) in &mut readers {
            judge.see(&peer.take(), &camera);
        }
        patient_judge.see(&patient.take(), &camera);
    }
    for (peer, _, judge) in &mut readers {
        peer.allow(usize::MAX);
        settle().await;
        judge.see(&peer.take(), &camera);
        assert!(judge.rest.is_empty(), "the last packet is torn");
    }
    assert_eq!((patient_judge.gaps, patient_judge.pictures), (0, 403));
    assert_eq!(patient_handle.info().skips_lag, 0);
    let (mut gaps, mut truncated) = (0, 0);
    for (_, handle, judge) in &readers {
        let info = handle.info();
        let skips = info.skips_lag + info.skips_overrun;
        assert!(judge.gaps <= skips, "{} gaps, {skips} skips", judge.gaps);
        assert!(info.truncated <= skips && judge.truncated <= info.truncated);
        gaps += judge.gaps;
        truncated += judge.truncated;
    }
    (gaps, truncated)
}

#[tokio::test(start_paused = true)]
async fn slow_readers_never_see_a_picture_without_its_reference() {
    let mut gaps = 0;
    for seed in 0..6 {
        let config = RelayConfig {
            max_lag: Duration::from_secs(1),
            ..RelayConfig::default()
        };
        gaps += run(seed, config, seed % 2 == 0, seed % 4 == 0).await.0;
    }
    assert!(
        gaps > 20,
        "the stalls were too short to test anything: {gaps}"
    );
}

/// A cap below one picture group: units go while readers are in the middle of them.
#[tokio::test(start_paused = true)]
async fn evicted_under_the_reader() {
    let (mut gaps, mut truncated) = (0, 0);
    for seed in 10..16 {
        let config = RelayConfig {
            stream_bytes: 128 * 1024,
            ..RelayConfig::default()
        };
        let (more, cut) = run(seed, config, seed % 2 == 0, false).await;
        gaps += more;
        truncated += cut;
    }
    assert!(gaps > 20 && truncated > 0, "{gaps} {truncated}");
}
