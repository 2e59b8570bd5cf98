use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::encoder::Obeys;
use super::run::Scene;
use crate::feedback::{Advice, BitrateRange, RateConfig, RateController, StreamChoice, Uplink};

fn uplink() -> impl Strategy<Value = Uplink> {
    (
        any::<u32>(),
        any::<usize>(),
        any::<usize>(),
        any::<u64>(),
        prop::option::of(any::<u32>()),
        any::<u64>(),
    )
        .prop_map(
            |(queued, unsent, in_flight, sent_total, rtt, drops)| Uplink {
                queued: Duration::from_micros(queued.into()),
                queued_bytes: 0,
                unsent,
                in_flight,
                sent_total,
                rtt: rtt.map(|micros| Duration::from_micros(micros.into())),
                drops,
            },
        )
}

proptest! {
    /// Whatever a kernel may tell: no panic, advice within the range of the stream that it is
    /// for, never the same twice, and what the getters say.
    #[test]
    fn advice_stays_in_range(
        ticks in prop::collection::vec((0_u64..2_000, uplink()), 0..200),
        (low, high, start) in any::<(u32, u32, u32)>(),
        sub in prop::option::of((any::<u32>(), any::<u32>())),
        other in any::<u32>(),
        latency in 0_u64..20_000,
    ) {
        let config = RateConfig {
            main: BitrateRange { min: low, max: high },
            sub: sub.map(|(min, max)| BitrateRange { min, max }),
            start,
            other,
            max_latency: Duration::from_millis(latency),
        };
        let mut controller = RateController::new(config);
        let mut now = Instant::now();
        for (ms, uplink) in ticks {
            now += Duration::from_millis(ms);
            let before = (controller.bitrate(), controller.stream());
            let advice = controller.tick(now, &uplink);
            let range = match controller.stream() {
                StreamChoice::Main => config.main,
                StreamChoice::Sub => config.sub.unwrap(),
            };
            match advice {
                Some(Advice::Bitrate(bitrate)) => {
                    prop_assert_ne!(bitrate, before.0);
                    prop_assert_eq!(bitrate, controller.bitrate());
                    prop_assert!(bitrate >= range.min && bitrate <= range.max.max(range.min));
                }
                Some(Advice::Stream(choice)) => {
                    prop_assert_ne!(choice, before.1);
                    prop_assert_eq!(choice, controller.stream());
                }
                None => prop_assert_eq!(before, (controller.bitrate(), controller.stream())),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Links of many widths, ways and routers, any picture: in steady state most of the link is
    /// used and the delay keeps its bound.
    #[test]
    fn every_steady_link_is_filled(
        kilobits in prop::sample::select(vec![400_u64, 700, 1_000, 1_500, 2_000, 3_000, 3_900]),
        rtt in 5_u64..200,
        router in 8_u64 * 1024..24 * 1024,
        late in 0_u64..500,
        seed in any::<u64>(),
    ) {
        let scene = Scene {
            rtt,
            router,
            seed,
            obeys: Obeys::After(late),
            ..Scene::new(kilobits * 1000, 150)
        };
        let report = scene.run();
        prop_assert!(report.worst_delay(15..150) < 1200, "{}", report);
        prop_assert!(report.utilisation(60..150) >= 70, "{}", report);
        prop_assert!(report.turns(60..150) <= 5, "{}", report);
    }
}
