//! Arrivals as networks make them, under virtual time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::buffer::{FRAME, JitterBuffer, MAX_AGE, MAX_DELAY, MIN_DELAY};

/// A piece as it leaves the talker: said at `pts`, sent when its end was said.
#[derive(Debug, Clone, Copy)]
struct Piece {
    pts: u64,
    ms: u64,
    /// Time on the way.
    transit: u64,
}

impl Piece {
    fn arrives(&self) -> u64 {
        self.pts + self.ms + self.transit
    }
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    at: u64,
    pts: u64,
    /// The piece's number stands in its bytes.
    tag: Option<u8>,
}

/// Plays pieces in the order of their arrival; what was heard, and what the buffer counted.
fn play(pieces: &[Piece]) -> (Vec<Heard>, super::TalkbackStats) {
    let begin = Instant::now();
    let mut buffer = JitterBuffer::new(8, begin);
    let mut arrivals: Vec<(u64, Piece, u8)> = pieces
        .iter()
        .zip(0u8..=255)
        .map(|(piece, tag)| (piece.arrives(), *piece, tag))
        .collect();
    arrivals.sort_by_key(|(at, ..)| *at);
    let mut heard = Vec::new();
    let mut arrivals = arrivals.into_iter().peekable();
    loop {
        let due = buffer
            .due()
            .map(|due| u64::try_from((due - begin).as_millis()).unwrap());
        let arrives = arrivals.peek().map(|(at, ..)| *at);
        let Some(now) = due.into_iter().chain(arrives).min() else {
            return (heard, buffer.stats());
        };
        let instant = begin + Duration::from_millis(now);
        if arrives == Some(now) {
            let (_, piece, tag) = arrivals.next().unwrap();
            let audio = Bytes::from(vec![tag; usize::try_from(piece.ms * 8).unwrap()]);
            buffer.push(Some(piece.pts), audio, instant);
        }
        while let Some(frame) = buffer.poll(instant) {
            let tag = frame
                .audio
                .as_ref()
                .and_then(|audio| audio.first().copied());
            heard.push(Heard {
                at: now,
                pts: frame.at,
                tag,
            });
        }
    }
}

fn steady(count: u64, ms: u64, transit: impl Fn(u64) -> u64) -> Vec<Piece> {
    (0..count)
        .map(|n| Piece {
            pts: 200 + n * ms,
            ms,
            transit: transit(n),
        })
        .collect()
}

/// What holds for every pattern: order, nothing twice, nothing early, nothing old.
fn check(pieces: &[Piece], heard: &[Heard]) {
    let mut seen = BTreeSet::new();
    let mut last = None;
    for frame in heard {
        let Some(tag) = frame.tag else { continue };
        let piece = pieces[usize::from(tag)];
        assert!(seen.insert(frame.pts), "{} twice", frame.pts);
        assert!(last < Some(frame.pts), "{} after {last:?}", frame.pts);
        last = Some(frame.pts);
        assert!(frame.at >= piece.arrives(), "before it came");
        // A frame at the end of a late piece may be due before as much time has passed as lies
        // before it in the piece.
        let waited = frame
            .at
            .saturating_sub(piece.arrives() + frame.pts - piece.pts);
        assert!(waited <= MAX_DELAY + FRAME, "{waited} ms in the buffer");
        // What is old is held against the fastest of the last seconds.
        let lately = piece.arrives().saturating_sub(5000)..=piece.arrives();
        let fastest = pieces.iter().filter(|p| lately.contains(&p.arrives()));
        let fastest = fastest.map(|p| p.transit).min().unwrap_or(0);
        let said = frame.pts + piece.ms + fastest;
        let age = frame.at.saturating_sub(said);
        assert!(age <= MAX_AGE + MAX_DELAY + FRAME, "{age} ms old");
    }
}

#[test]
fn a_calm_network_adds_the_least_delay_and_loses_nothing() {
    for ms in [20, 40, 200] {
        let pieces = steady(200, ms, |_| 30);
        let (heard, stats) = play(&pieces);
        check(&pieces, &heard);
        assert_eq!(stats.played, 200 * ms / FRAME);
        assert_eq!((stats.late, stats.skipped, stats.duplicate), (0, 0, 0));
        let first = heard.first().unwrap();
        assert_eq!(first.at, pieces[0].arrives() + MIN_DELAY);
        // Every 20 ms one, until the speech is over.
        for pair in heard.windows(2) {
            assert_eq!(pair[1].at - pair[0].at, FRAME);
        }
        assert_eq!(stats.concealed, 3, "the end looks like a gap at first");
    }
}

#[test]
fn jitter_is_taken_up() {
    // Up to 100 ms late, never in another order.
    let late = [0, 35, 70, 100, 65, 30];
    let pieces = steady(250, 40, |n| 30 + late[usize::try_from(n % 6).unwrap()]);
    let (heard, stats) = play(&pieces);
    check(&pieces, &heard);
    assert!(stats.concealed <= 3 + 4, "{stats:?}");
    assert!(stats.played >= 500 - 2, "{stats:?}");
}

#[test]
fn after_a_stall_of_three_seconds_nothing_old_is_heard() {
    // 75 pieces come at once when the line is back.
    let back = 200 + 100 * 40 + 3000;
    let pieces = steady(250, 40, |n| {
        let sent = 200 + (n + 1) * 40;
        if n >= 100 && sent < back {
            back - sent
        } else {
            30
        }
    });
    let (heard, stats) = play(&pieces);
    check(&pieces, &heard);
    let back = back + MIN_DELAY;
    let first = heard.iter().find(|h| h.tag.is_some() && h.at > back - 100);
    let first = first.unwrap();
    assert!(first.at <= back + MAX_DELAY, "{first:?}");
    assert!(
        first.at - first.pts <= 40 + MAX_AGE + MAX_DELAY,
        "{first:?} is old"
    );
    assert!(stats.late + stats.skipped >= 2300 / FRAME, "{stats:?}");
    // And then it goes on as before.
    let end: Vec<_> = heard.iter().filter(|h| h.pts > 9000).collect();
    assert!(end.len() > 50 && end.iter().all(|h| h.tag.is_some() || h.pts > 10_100));
}

#[test]
fn what_is_lost_leaves_a_gap_and_moves_nothing() {
    let mut pieces = steady(50, 40, |_| 30);
    pieces.remove(20);
    let (heard, stats) = play(&pieces);
    check(&pieces, &heard);
    assert_eq!(stats.concealed, 2 + 3);
    let gap: Vec<_> = heard.iter().filter(|h| h.tag.is_none()).collect();
    assert_eq!((gap[0].pts, gap[1].pts), (1000, 1020));
    assert_eq!(stats.played, 98);
}

#[test]
fn pieces_in_another_order_are_put_right() {
    // Each second one is 50 ms slower: it comes behind its follower.
    let pieces = steady(100, 40, |n| 30 + 50 * (n % 2));
    let (heard, stats) = play(&pieces);
    check(&pieces, &heard);
    assert!(stats.late <= 2, "{stats:?}");
    assert!(stats.played >= 198, "{stats:?}");
}

#[test]
fn pieces_that_are_overtaken_for_long_are_waited_for() {
    let pieces = steady(200, 40, |n| 30 + 150 * (n % 2));
    let (heard, stats) = play(&pieces);
    check(&pieces, &heard);
    assert!(stats.late <= 8 && stats.played >= 392, "{stats:?}");
}

#[test]
fn a_pause_costs_nothing_and_a_new_beginning_is_followed() {
    let begin = Instant::now();
    let mut buffer = JitterBuffer::new(8, begin);
    let at = |ms| begin + Duration::from_millis(ms);
    let piece = || Bytes::from(vec![1; 320]);
    let mut played = |pts, now| {
        buffer.push(pts, piece(), at(now));
        let mut frames = 0;
        while let Some(due) = buffer.due() {
            frames += usize::from(buffer.poll(due).is_some_and(|f| f.audio.is_some()));
        }
        frames
    };
    assert_eq!(played(Some(60_000), 0), 2);
    // Nobody spoke for ten seconds.
    assert_eq!(played(Some(70_000), 10_000), 2);
    // Without a place it follows.
    assert_eq!(played(None, 10_040), 2);
    // The talker's clock begins anew.
    assert_eq!(played(Some(0), 11_000), 2);
}

#[test]
fn a_player_that_sleeps_gets_no_old_speech() {
    let begin = Instant::now();
    let mut buffer = JitterBuffer::new(8, begin);
    for n in 0..20 {
        let at = begin + Duration::from_millis(n * 40);
        buffer.push(Some(n * 40), Bytes::from(vec![1; 320]), at);
    }
    let now = begin + Duration::from_millis(3000);
    let frames: Vec<_> = std::iter::from_fn(|| buffer.poll(now)).collect();
    assert!(frames.iter().all(|f| f.audio.is_none()), "{frames:?}");
}

/// Pieces of one length, with delays, stalls and doubles.
fn patterns() -> impl Strategy<Value = Vec<Piece>> {
    let ways = prop::collection::vec(
        prop_oneof![
            6 => 0u64..80,
            2 => 80u64..400,
            1 => 400u64..3500,
        ],
        1..200,
    );
    (
        prop::sample::select(vec![20u64, 30, 40, 100, 200]),
        ways,
        any::<bool>(),
        prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    )
        .prop_map(|(ms, ways, tcp, doubles)| {
            let mut clear = 0;
            let mut pieces = Vec::new();
            for (n, way) in (0u64..).zip(&ways) {
                let sent = n * ms + ms;
                // On one TCP connection nobody overtakes: a stall holds up all behind it.
                let arrives = if tcp {
                    clear.max(sent + way)
                } else {
                    sent + way
                };
                clear = arrives;
                pieces.push(Piece {
                    pts: n * ms,
                    ms,
                    transit: arrives - sent,
                });
            }
            for double in doubles {
                let piece = *double.get(&pieces);
                pieces.push(Piece {
                    transit: piece.transit + 25,
                    ..piece
                });
            }
            pieces
        })
}

proptest! {
    #[test]
    fn whatever_comes_order_and_delay_are_kept(pieces in patterns()) {
        let (heard, stats) = play(&pieces);
        // A piece that is 5 s behind counts as a new beginning; none here is.
        check(&pieces, &heard);
        let frames: u64 = pieces.iter().map(|p| p.ms.div_ceil(FRAME)).sum();
        prop_assert_eq!(
            stats.played + stats.late + stats.skipped + stats.duplicate, frames,
            "each frame is accounted for: {:?}", stats
        );
        let heard = heard.iter().filter(|h| h.tag.is_some()).count();
        prop_assert_eq!(stats.played, u64::try_from(heard).unwrap());
    }

    #[test]
    fn no_places_panic(pieces in prop::collection::vec(
        (prop::option::of(any::<u64>()), 1usize..2000, 0u64..2000), 0..50,
    )) {
        let mut now = Instant::now();
        let mut buffer = JitterBuffer::new(2, now);
        for (pts, len, wait) in pieces {
            now += Duration::from_millis(wait);
            buffer.push(pts, Bytes::from(vec![0; len]), now);
            let frames = std::iter::from_fn(|| buffer.poll(now)).count();
            prop_assert!(frames < 1000);
        }
    }
}
