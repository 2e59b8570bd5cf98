use std::collections::VecDeque;

/// 25 pictures a second.
pub(super) const FRAME_MS: u64 = 40;
/// Pictures from one key frame to the next.
const GROUP: u64 = 50;
/// A key frame is so many times as large as another.
const KEY_WEIGHT: u64 = 6;

/// How an encoder takes advice.
#[derive(Debug, Clone)]
pub(super) enum Obeys {
    /// Only after so many milliseconds.
    After(u64),
    /// Only these bitrates: the largest that is not above the advice, else the least.
    Steps(Vec<u64>),
    /// Not at all.
    Never,
    /// The scene needs so much and no more, whatever is allowed.
    AtMost(u64),
}

/// Pictures of a size that follows a bitrate.
#[derive(Debug)]
pub(super) struct Encoder {
    obeys: Obeys,
    bitrate: u64,
    waiting: VecDeque<(u64, u64)>,
    picture: u64,
    random: u64,
}

impl Encoder {
    pub(super) fn new(obeys: Obeys, bitrate: u64, seed: u64) -> Self {
        let mut encoder = Self {
            obeys,
            bitrate,
            waiting: VecDeque::new(),
            picture: 0,
            random: seed,
        };
        encoder.advise(0, bitrate);
        encoder
    }

    pub(super) fn advise(&mut self, now: u64, bitrate: u64) {
        match &self.obeys {
            Obeys::After(delay) => self.waiting.push_back((now + delay, bitrate)),
            Obeys::Steps(steps) => {
                let fitting = steps.iter().filter(|&&step| step <= bitrate).max();
                self.bitrate = *fitting.or(steps.iter().min()).unwrap();
            }
            Obeys::Never => {}
            Obeys::AtMost(most) => self.bitrate = bitrate.min(*most),
        }
    }

    /// The next picture: whether it is a key frame, and its size in bytes, 20 % up or down.
    pub(super) fn picture(&mut self, now: u64) -> (bool, u64) {
        while let Some((_, bitrate)) = self.waiting.pop_front_if(|(at, _)| *at <= now) {
            self.bitrate = bitrate;
        }
        let key = self.picture.is_multiple_of(GROUP);
        self.picture += 1;
        let group = self.bitrate / 8 * FRAME_MS * GROUP / 1000;
        let usual = group / (GROUP - 1 + KEY_WEIGHT);
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let noise = 80 + (self.random >> 33) % 41;
        let weight = if key { KEY_WEIGHT } else { 1 };
        (key, (usual * weight * noise / 100).max(1))
    }
}
