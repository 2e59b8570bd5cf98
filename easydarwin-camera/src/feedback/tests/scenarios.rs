use super::encoder::Obeys;
use super::run::{Capacity, Report, Scene};
use crate::feedback::{Advice, BitrateRange, RateConfig, StreamChoice};

/// What the delay may be: `max_latency` and 200 ms.
const MOST_DELAY: u64 = 1200;
/// What it may be in the seconds after a link became narrow: what the kernel had taken for the
/// wide one comes through the narrow one.
const SETTLING: u64 = 2000;

/// 4 Mbit/s, from second 60 to 150 only 1 Mbit/s.
fn down_and_up_at(ms: u64) -> u64 {
    match ms / 1000 {
        60..150 => 1_000_000,
        _ => 4_000_000,
    }
}

#[test]
fn a_narrow_link_is_filled_and_its_queue_stays_short() {
    let report = Scene::new(1_000_000, 300).run();
    assert!(report.worst_delay(0..300) < MOST_DELAY, "{report}");
    assert!(report.worst_delay(20..300) < 600, "{report}");
    assert!(report.utilisation(20..300) >= 80, "{report}");
    assert_eq!(report.dropped(5..300), 0);
    // Once it is known, one probe a minute, of six steps up, two down and one back.
    assert!(report.changes(120..300) <= 3 * 10, "{report}");
    assert!(report.turns(120..300) <= 3, "{report}");
}

fn assert_follows(report: &Report) {
    assert!(report.worst_delay(0..60) < MOST_DELAY, "{report}");
    assert!(report.worst_delay(60..63) < SETTLING, "{report}");
    assert!(report.worst_delay(63..300) < MOST_DELAY, "{report}");
    assert!(report.utilisation(20..60) >= 70, "{report}");
    // Five seconds after the step it fits, and drops have ended.
    assert!(report.worst_delay(65..150) < 700, "{report}");
    assert_eq!(report.dropped(65..150), 0);
    assert!(report.utilisation(70..150) >= 70, "{report}");
    // The longest wait for a probe, and the way up.
    assert!(report.utilisation(230..300) >= 70, "{report}");
    assert!(report.dropped(150..300) == 0, "{report}");
    assert!(report.turns(65..150) <= 5, "{report}");
    assert!(report.turns(150..300) <= 6, "{report}");
}

#[test]
fn a_step_down_is_followed_within_seconds_and_a_step_up_in_the_end() {
    let report = Scene::new(Capacity::Varying(down_and_up_at), 300).run();
    assert_follows(&report);
    // What was lost: less than the two seconds of one group of pictures.
    assert!(report.dropped(55..70) < 50, "{report}");
}

#[test]
fn an_encoder_that_is_late_by_half_a_second() {
    let late = Scene {
        obeys: Obeys::After(500),
        ..Scene::new(Capacity::Varying(down_and_up_at), 300)
    };
    assert_follows(&late.run());
}

#[test]
fn an_encoder_that_knows_only_some_bitrates() {
    let steps = vec![
        256_000, 400_000, 600_000, 900_000, 1_400_000, 2_200_000, 3_500_000,
    ];
    let coarse = Scene {
        obeys: Obeys::Steps(steps),
        ..Scene::new(Capacity::Varying(down_and_up_at), 300)
    };
    let report = coarse.run();
    assert!(report.worst_delay(63..300) < MOST_DELAY, "{report}");
    assert!(report.utilisation(70..150) >= 55, "{report}");
    assert!(report.utilisation(230..300) >= 55, "{report}");
    assert_eq!(report.dropped(65..150), 0);
}

#[test]
fn an_encoder_that_does_not_obey_is_advised_its_least_and_no_more() {
    let deaf = Scene {
        obeys: Obeys::Never,
        ..Scene::new(1_000_000, 120)
    };
    let report = deaf.run();
    // The ring bounds the delay also then.
    assert!(report.worst_delay(0..120) < MOST_DELAY, "{report}");
    assert_eq!(report.advised[119], 256_000);
    assert_eq!(report.changes(30..120), 0, "{report}");
    assert!(report.dropped(30..120) > 0);
}

/// 4 Mbit/s, from second 30 to 60 an eighth, and again.
fn an_eighth_at(ms: u64) -> u64 {
    match ms / 1000 {
        30..60 | 120..150 => 500_000,
        _ => 4_000_000,
    }
}

/// Not one frame leaves later than allowed, whatever the encoder does, also while it settles; what alone
/// takes too long was begun before anybody could know.
fn assert_always(scene: &Scene) {
    let report = scene.run();
    let (latest, beyond) = report.latest(scene.capacity, MOST_DELAY);
    println!(
        "{latest} ms, {beyond} ms beyond its own time, {} frames",
        report.left.len()
    );
    assert!(latest < MOST_DELAY, "{latest} ms: {report}");
    assert!(beyond < 700, "{beyond} ms: {report}");
    // A picture now and then is the least.
    let frames = u64::try_from(report.left.len()).unwrap();
    assert!(frames * 10 > scene.seconds, "{report}");
}

#[test]
fn a_link_that_shrinks_to_an_eighth_makes_no_frame_late() {
    for seed in 0..12 {
        assert_always(&Scene {
            seed,
            obeys: Obeys::After(seed * 40),
            ..Scene::new(Capacity::Varying(an_eighth_at), 180)
        });
    }
}

#[test]
fn an_encoder_that_does_not_obey_makes_no_frame_late() {
    for seed in 0..6 {
        for capacity in [300_000_u64, 500_000, 700_000, 1_000_000, 1_500_000] {
            assert_always(&Scene {
                seed,
                obeys: Obeys::Never,
                ..Scene::new(capacity, 60)
            });
        }
        assert_always(&Scene {
            seed,
            obeys: Obeys::Never,
            ..Scene::new(Capacity::Varying(an_eighth_at), 180)
        });
    }
}

#[test]
fn cross_traffic_that_comes_and_goes_leaves_the_picture_whole() {
    let cross = Scene::new(
        Capacity::Varying(|ms| match ms / 5000 % 2 {
            0 => 4_000_000,
            _ => 2_000_000,
        }),
        300,
    );
    let report = cross.run();
    assert!(report.worst_delay(0..300) < MOST_DELAY, "{report}");
    // Of what is always there.
    let always = report.utilisation(20..300) * 3_000_000 / 2_000_000;
    assert!(always >= 65, "{always} %: {report}");
    assert!(report.turns(20..300) <= 8, "{report}");
}

#[test]
fn a_long_way_is_no_queue() {
    let satellite = Scene {
        rtt: 600,
        ..Scene::new(3_000_000, 120)
    };
    let report = satellite.run();
    assert!(report.utilisation(40..120) >= 70, "{report}");
    assert!(report.worst_delay(40..120) < MOST_DELAY, "{report}");
}

#[test]
fn a_router_that_hoards_is_found_out() {
    // Half a second of queue where only acknowledgements tell of it.
    let bloated = Scene {
        router: 64 * 1024,
        ..Scene::new(1_000_000, 180)
    };
    let report = bloated.run();
    assert!(report.worst_delay(20..180) < 800, "{report}");
    assert!(report.utilisation(20..180) >= 70, "{report}");
}

#[test]
fn a_scene_at_rest_proves_nothing() {
    let calm = Scene {
        obeys: Obeys::AtMost(300_000),
        ..Scene::new(10_000_000, 120)
    };
    assert_eq!(calm.run().advice, []);
}

#[test]
fn a_stall_of_two_seconds_is_made_up_for() {
    let stalled = Scene::new(
        Capacity::Varying(|ms| match ms {
            60_000..62_000 => 0,
            _ => 2_000_000,
        }),
        180,
    );
    let report = stalled.run();
    assert!(report.advised[64] >= 256_000);
    assert!(report.utilisation(110..180) >= 70, "{report}");
    assert_eq!(report.dropped(70..180), 0);
}

#[test]
fn the_sub_stream_takes_over_and_the_main_stream_comes_back() {
    let scene = Scene {
        config: RateConfig {
            main: BitrateRange {
                min: 1_000_000,
                max: 4_000_000,
            },
            sub: Some(BitrateRange {
                min: 128_000,
                max: 512_000,
            }),
            ..RateConfig::default()
        },
        ..Scene::new(
            Capacity::Varying(|ms| match ms / 1000 {
                30..150 => 700_000,
                _ => 4_000_000,
            }),
            400,
        )
    };
    let report = scene.run();
    let choices: Vec<_> = report
        .advice
        .iter()
        .filter_map(|(at, advice)| match advice {
            Advice::Stream(choice) => Some((at / 1000, *choice)),
            Advice::Bitrate(_) => None,
        })
        .collect();
    let [(down, first), tries @ .., (up, last)] = &choices[..] else {
        panic!("{choices:?}");
    };
    assert_eq!((*first, *last), (StreamChoice::Sub, StreamChoice::Main));
    assert!((30..40).contains(down), "{choices:?}");
    assert!((150..330).contains(up), "{choices:?}");
    // 20 s, 40 s, 80 s: at most three tries fail in two minutes.
    assert!(tries.len() <= 6, "{choices:?}");
    // Except where the main stream is tried, and where the link becomes narrow.
    let mut from = 0;
    for tried in [30].into_iter().chain(choices.iter().map(|(at, _)| *at)) {
        let (until, after) = (usize::try_from(tried).unwrap(), from);
        if until > after {
            assert!(report.worst_delay(after..until) < MOST_DELAY, "{report}");
        }
        from = until + 5;
    }
    assert!(report.worst_delay(from..400) < MOST_DELAY, "{report}");
    assert!(report.worst_delay(0..400) < SETTLING, "{report}");
    assert!(report.utilisation(380..400) >= 70, "{report}");
}
