//! The queue under a clock that the tests turn.

use proptest::prelude::*;

use super::*;
use crate::feedback::StreamChoice;

const IDR: &[u8] = &[0, 0, 0, 1, 0x65, 0x88];
const SLICE: &[u8] = &[0, 0, 1, 0x41, 0x9a];

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn config(pre_roll: Duration) -> QueueConfig {
    QueueConfig {
        pre_roll,
        ..QueueConfig::default()
    }
}

/// A video and an audio stream.
struct Rig {
    senders: Vec<FrameSender>,
    feed: FrameFeed,
    start: Instant,
}

impl Rig {
    fn new(config: &QueueConfig) -> Self {
        let tracks = vec![
            Track::h264(96, Default::default()),
            Track::g711(easydarwin_core::media::G711Law::A),
        ];
        let (senders, feed) = queue(tracks, config).unwrap();
        let start = feed.epoch;
        Self {
            senders,
            feed,
            start,
        }
    }

    fn push(&mut self, track: usize, bytes: &[u8], at: u64) -> Verdict {
        let frame = Frame {
            parts: &[bytes],
            pts_us: i64::try_from(at).unwrap() * 1000,
            key: false,
        };
        self.senders[track].push_at(&frame, self.start + ms(at))
    }

    /// Sends what is there; the times in ms of what was sent.
    fn drain(&mut self, at: u64) -> Vec<(usize, i64)> {
        let now = self.start + ms(at);
        let mut sent = Vec::new();
        while let Some(next) = self.feed.next(now) {
            sent.push((next.track, next.pts_us / 1000));
            self.feed.done(&next, None, now);
        }
        sent
    }

    fn dropped(&self, track: usize, cause: DropCause) -> u64 {
        self.feed.counts(track).unwrap().dropped_by(cause)
    }
}

fn dropped(cause: DropCause, wait_key: bool) -> Verdict {
    Verdict::Dropped { cause, wait_key }
}

#[test]
fn a_push_begins_with_a_key_frame_and_keeps_the_order_of_capture() {
    let mut rig = Rig::new(&QueueConfig::default());
    assert_eq!(rig.push(0, IDR, 0), dropped(DropCause::NotWanted, true));
    rig.feed.rest(true, rig.start);
    assert_eq!(rig.push(0, IDR, 1), dropped(DropCause::NotConnected, true));
    rig.feed.open(rig.start + ms(2));
    assert_eq!(rig.push(0, SLICE, 3), dropped(DropCause::WaitKey, true));
    assert_eq!(rig.push(1, &[7; 160], 4), Verdict::Queued);
    assert_eq!(rig.push(0, IDR, 5), Verdict::Queued);
    assert_eq!(rig.push(0, SLICE, 6), Verdict::Queued);
    assert_eq!(rig.push(1, &[7; 160], 7), Verdict::Queued);
    assert_eq!(rig.drain(8), [(1, 4), (0, 5), (0, 6), (1, 7)]);
    let counts = rig.feed.counts(0).unwrap();
    assert_eq!((counts.pushed, counts.sent, counts.waiting()), (5, 2, 0));
    drop(rig.feed);
    assert_eq!(
        rig.senders[0].push(&Frame {
            parts: &[IDR],
            pts_us: 0,
            key: true
        }),
        dropped(DropCause::Closed, true)
    );
}

#[test]
fn a_full_ring_drops_up_to_the_next_key_frame_and_audio_goes_on() {
    let mut rig = Rig::new(&QueueConfig {
        video_bytes: 64 << 10,
        ..QueueConfig::default()
    });
    rig.feed.open(rig.start);
    let big = |head: &[u8]| [head, &[1; 30_000]].concat();
    assert_eq!(rig.push(0, &big(IDR), 0), Verdict::Queued);
    assert_eq!(rig.push(0, &big(SLICE), 1), Verdict::Queued);
    assert_eq!(
        rig.push(0, &big(SLICE), 2),
        dropped(DropCause::QueueFull, true)
    );
    // It would fit, but the picture before it is missing.
    assert_eq!(rig.push(0, SLICE, 3), dropped(DropCause::WaitKey, true));
    assert_eq!(rig.push(1, &[7; 160], 4), Verdict::Queued);
    assert_eq!(rig.drain(5), [(0, 0), (0, 1), (1, 4)]);
    assert_eq!(rig.push(0, SLICE, 6), dropped(DropCause::WaitKey, true));
    assert_eq!(rig.push(0, &big(IDR), 7), Verdict::Queued);
    assert_eq!(rig.push(0, &[1; 40_000], 8), dropped(DropCause::Size, true));
}

#[test]
fn what_is_late_is_left_out_by_whole_tails_of_picture_groups() {
    let mut rig = Rig::new(&QueueConfig::default());
    rig.feed.open(rig.start);
    rig.push(0, IDR, 0);
    for at in [100, 200, 300] {
        rig.push(0, SLICE, at);
    }
    rig.push(0, IDR, 400);
    rig.push(0, SLICE, 500);
    rig.push(1, &[7; 160], 150);
    rig.push(1, &[7; 160], 550);
    // All before 300 is too old: the group goes on at the key frame, the sound where it is in time.
    assert_eq!(rig.drain(1300), [(0, 400), (0, 500), (1, 550)]);
    assert_eq!(rig.dropped(0, DropCause::Late), 4);
    assert_eq!(rig.dropped(1, DropCause::Late), 1);
    assert!(!rig.feed.take_key_wanted(0));
    // No key frame in time: an encoder is asked, once, and slices are not even copied.
    rig.push(0, SLICE, 1400);
    assert_eq!(rig.drain(2500), []);
    assert!(rig.feed.take_key_wanted(0) && !rig.feed.take_key_wanted(0));
    assert_eq!(rig.push(0, SLICE, 2600), dropped(DropCause::WaitKey, true));
    rig.push(0, IDR, 2700);
    assert_eq!(rig.drain(2750), [(0, 2700)]);
}

#[test]
fn a_push_begins_in_the_past_that_is_kept() {
    let mut rig = Rig::new(&config(ms(1000)));
    for at in (0..5000).step_by(100) {
        let unit = if at % 500 == 0 { IDR } else { SLICE };
        assert_eq!(rig.push(0, unit, at), Verdict::Queued);
        rig.push(1, &[7; 160], at);
        rig.feed.keep(rig.start + ms(at));
    }
    rig.feed.open(rig.start + ms(5000));
    let sent = rig.drain(5000);
    // The newest key frame that is a second old, and everything since.
    assert_eq!(sent.first(), Some(&(1, 4000)));
    let expected: Vec<_> = (4000..5000)
        .step_by(100)
        .flat_map(|at| [(1, at), (0, at)])
        .collect();
    assert_eq!(sent, expected);
    assert_eq!(rig.dropped(0, DropCause::Late), 0);
    // A second push soon after gets the same past again, and nothing is counted twice.
    rig.push(0, IDR, 5000);
    assert_eq!(rig.drain(5000), [(0, 5000)]);
    rig.feed.rest(false, rig.start + ms(5100));
    rig.feed.open(rig.start + ms(5200));
    assert_eq!(rig.drain(5200).first(), Some(&(1, 4000)));
    let counts = rig.feed.counts(0).unwrap();
    assert_eq!((counts.pushed, counts.sent), (51, 11));
    assert_eq!(counts.dropped_by(DropCause::NotWanted), 40);
}

#[test]
fn the_encoders_flag_or_the_first_slice_makes_a_key_frame() {
    let mut rig = Rig::new(&QueueConfig::default());
    rig.feed.open(rig.start);
    // Delimiter, parameter sets, then the slice; the start code is cut in two.
    let parts: [&[u8]; 3] = [
        &[0, 0, 1, 9, 16, 0, 0, 1, 0x67, 1, 2, 0, 0],
        &[1, 0x68, 3, 0, 0, 1],
        &[0x65, 1],
    ];
    let frame = Frame {
        parts: &parts,
        pts_us: 0,
        key: false,
    };
    assert_eq!(rig.senders[0].push_at(&frame, rig.start), Verdict::Queued);
    let next = rig.feed.next(rig.start).unwrap();
    assert!(next.key);
    let data: Vec<_> = rig
        .feed
        .read(&next)
        .parts(&Track::h264(96, Default::default()))
        .map(<[u8]>::to_vec)
        .collect();
    assert_eq!(
        data,
        [vec![9, 16], vec![0x67, 1, 2], vec![0x68, 3], vec![0x65, 1]]
    );
}

#[test]
fn the_sub_stream_takes_over_at_its_key_frame_and_gives_back_in_the_same_way() {
    let mut rig = Rig::new(&QueueConfig {
        sub_stream: true,
        ..QueueConfig::default()
    });
    assert_eq!(rig.senders.len(), 3);
    rig.feed.open(rig.start);
    rig.push(0, IDR, 0);
    assert_eq!(rig.push(2, IDR, 1), dropped(DropCause::NotSelected, true));
    assert_eq!(rig.drain(2), [(0, 0)]);
    rig.feed.select(StreamChoice::Sub);
    assert!(rig.feed.take_key_wanted(2) && !rig.feed.take_key_wanted(0));
    // Until it has a key frame, the main stream goes on.
    assert_eq!(rig.push(2, SLICE, 3), dropped(DropCause::WaitKey, true));
    rig.push(0, SLICE, 4);
    assert_eq!(rig.drain(5), [(0, 4)]);
    rig.push(0, SLICE, 6);
    rig.push(2, IDR, 7);
    rig.push(1, &[7; 160], 8);
    assert_eq!(rig.drain(9), [(0, 7), (1, 8)]);
    assert_eq!(rig.dropped(0, DropCause::NotSelected), 1);
    assert_eq!(rig.push(0, IDR, 10), dropped(DropCause::NotSelected, true));
    rig.push(2, SLICE, 11);
    rig.feed.select(StreamChoice::Main);
    rig.push(0, IDR, 12);
    assert_eq!(rig.drain(13), [(0, 12)]);
    assert_eq!(rig.dropped(2, DropCause::NotSelected), 2);
}

#[derive(Debug, Clone)]
enum Step {
    Push { track: usize, key: bool, len: usize },
    Pass(u64),
    Send(usize),
    Rest(bool),
    Open,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize, prop::bool::weighted(0.2), 1..30_000_usize)
            .prop_map(|(track, key, len)| Step::Push { track, key, len }),
        3 => (0..400_u64).prop_map(Step::Pass),
        3 => (0..12_usize).prop_map(Step::Send),
        1 => any::<bool>().prop_map(Step::Rest),
        1 => Just(Step::Open),
    ]
}

proptest! {
    /// Whatever happens: every frame is accounted for, bytes come out as they went in, video goes on
    /// only where decoding can, nothing that is sent live is older than allowed.
    #[test]
    fn every_frame_is_accounted_for(
        steps in prop::collection::vec(step(), 1..200),
        pre_roll in prop_oneof![Just(0_u64), Just(700)],
    ) {
        let mut rig = Rig::new(&QueueConfig { video_bytes: 128 << 10, pre_roll: ms(pre_roll), ..QueueConfig::default() });
        let (mut at, mut live, mut number) = (0, false, 0_u32);
        let mut pushed: std::collections::BTreeMap<(usize, i64), Vec<u8>> = Default::default();
        // Numbers of the video frames that were queued and are no key frames: the one before each.
        let mut before: std::collections::BTreeMap<i64, i64> = Default::default();
        let (mut last_queued, mut last_sent) = (None, None);
        for step in steps {
            let now = rig.start + ms(at);
            match step {
                Step::Push { track, key, len } => {
                    number += 1;
                    let head = if key { IDR } else { SLICE };
                    let mut bytes = head.to_vec();
                    bytes.extend((0..len).map(|i| u8::try_from((i + number as usize) % 250 + 2).unwrap()));
                    let frame = Frame { parts: &[&bytes[..3], &bytes[3..]], pts_us: i64::from(number), key: false };
                    if rig.senders[track].push_at(&frame, now) == Verdict::Queued {
                        if track == 0 && !key {
                            before.insert(i64::from(number), last_queued.unwrap());
                        }
                        if track == 0 {
                            last_queued = Some(i64::from(number));
                        }
                        pushed.insert((track, i64::from(number)), bytes);
                    }
                }
                Step::Pass(more) => {
                    at += more;
                    rig.feed.keep(rig.start + ms(at));
                }
                Step::Send(count) if live => for _ in 0..count {
                    let Some(next) = rig.feed.next(now) else { break };
                    let bytes = &pushed[&(next.track, next.pts_us)];
                    prop_assert_eq!(rig.feed.read(&next).bytes(), &bytes[..]);
                    if next.track == 0 && !next.key {
                        prop_assert_eq!(last_sent, Some(before[&next.pts_us]), "a picture without its reference");
                    }
                    if next.track == 0 {
                        last_sent = Some(next.pts_us);
                    }
                    rig.feed.done(&next, None, now);
                },
                Step::Send(_) => {}
                Step::Rest(wanted) => {
                    live = false;
                    rig.feed.rest(wanted, now);
                }
                Step::Open => {
                    live = true;
                    rig.feed.open(now);
                }
            }
            for track in 0..2 {
                let counts = rig.feed.counts(track).unwrap();
                let stream = &rig.feed.streams[track];
                prop_assert_eq!(counts.waiting(), stream.consumer.head() - stream.counted);
            }
        }
    }
}

/// Pushes frames of `[capture time, presentation time]` in ms, and says which ones are marked.
fn jumps(rig: &mut Rig, track: usize, frames: &[(u64, i64, bool)]) -> Vec<bool> {
    frames
        .iter()
        .map(|&(at, pts_ms, key)| {
            let frame = Frame {
                parts: &[if key { IDR } else { SLICE }],
                pts_us: pts_ms * 1000,
                key,
            };
            let now = rig.start + ms(at);
            assert_eq!(rig.senders[track].push_at(&frame, now), Verdict::Queued);
            let next = rig.feed.next(now).unwrap();
            rig.feed.done(&next, None, now);
            next.jump
        })
        .collect()
}

#[test]
fn media_time_that_does_not_go_on_is_marked() {
    let mut rig = Rig::new(&QueueConfig::default());
    rig.feed.open(rig.start);
    let video = [
        (0, 1_000, true),
        // Shown after the two that follow it.
        (40, 1_120, false),
        (80, 1_040, false),
        (120, 1_080, false),
        // A pause of the encoder, of its clock, and of both.
        (160, 1_160, true),
        (60_160, 61_160, false),
        (60_200, 71_201, false),
        (75_300, 76_301, false),
        (90_000, 76_341, false),
        // It begins anew, at a key frame or not.
        (90_040, 76_340, true),
        (90_080, 70_000, false),
        (90_120, 70_040, false),
    ];
    let marked = [
        false, false, false, false, false, false, true, false, true, true, true, false,
    ];
    assert_eq!(jumps(&mut rig, 0, &video), marked);
    let audio = [
        (90_200, 500, true),
        (90_220, 520, true),
        (90_240, 519, true),
        (90_260, 539, true),
    ];
    assert_eq!(jumps(&mut rig, 1, &audio), [false, false, true, false]);
}

#[test]
fn a_jump_at_a_frame_that_was_left_out_is_marked_at_the_next() {
    let mut rig = Rig::new(&QueueConfig::default());
    rig.feed.open(rig.start);
    let mut push = |at: u64, pts_ms: i64, key: bool| {
        let frame = Frame {
            parts: &[if key { IDR } else { SLICE }],
            pts_us: pts_ms * 1000,
            key,
        };
        assert_eq!(
            rig.senders[0].push_at(&frame, rig.start + ms(at)),
            Verdict::Queued
        );
    };
    push(0, 0, true);
    // Both become too late behind a slow uplink.
    push(40, 500_000, true);
    push(80, 500_040, false);
    push(1_500, 501_460, true);
    let now = rig.start + ms(1_501);
    let next = rig.feed.next(now).unwrap();
    assert_eq!((next.pts_us, next.jump), (501_460_000, true));
    rig.feed.done(&next, Some(DropCause::Format), now);
    assert_eq!(rig.dropped(0, DropCause::Late), 3);
    let frame = Frame {
        parts: &[SLICE],
        pts_us: 501_500_000,
        key: false,
    };
    rig.senders[0].push_at(&frame, rig.start + ms(1_540));
    let next = rig.feed.next(now).unwrap();
    assert!(next.jump, "the frame before could not be sent");
    rig.feed.done(&next, None, now);
    rig.senders[0].push_at(&frame, rig.start + ms(1_540));
    assert!(!rig.feed.next(now).unwrap().jump);
}
