//! The ring of frames and its bell under every interleaving of producer and consumer that their
//! memory order allows: the very source files, with loom's primitives in place of the real ones.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "source files of the library, compiled here; a test may stop at the first surprise"
)]

mod sync {
    pub(super) use loom::sync::Arc;
    pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

#[path = "../src/frames/bell.rs"]
mod bell;
#[path = "../src/frames/ring.rs"]
mod ring;

use bell::{Bell, Wake};
use ring::{Consumer, Meta, Producer, ring};

/// A condition variable that keeps one permit: what the socket of the alarm is.
#[derive(Default)]
struct Alarm {
    rung: loom::sync::Mutex<bool>,
    given: loom::sync::Condvar,
}

impl Alarm {
    fn wake(&self) {
        *self.rung.lock().unwrap() = true;
        self.given.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.given.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// All interleavings with at most three preemptions of a thread that could go on.
fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(body);
}

/// Nine bytes, two words, that tell their number.
fn bytes(number: u8) -> [u8; 9] {
    std::array::from_fn(|at| number * 16 + u8::try_from(at).unwrap())
}

fn push(producer: &mut Producer, number: u8) -> bool {
    let room = producer.has_room(9);
    if room {
        let meta = Meta {
            flags: number.into(),
            ..Meta::default()
        };
        let bytes = bytes(number);
        producer.push(meta, |filler| {
            filler.put(&bytes[..3]);
            filler.put(&bytes[3..]);
        });
    }
    room
}

/// Takes one frame; its number.
fn take(consumer: &mut Consumer) -> Option<u8> {
    let at = consumer.tail();
    if at == consumer.head() {
        return None;
    }
    let number = u8::try_from(consumer.meta(at).flags).unwrap();
    let mut memory = Vec::new();
    assert_eq!(consumer.read(at, &mut memory), bytes(number));
    consumer.release_to(at + 1);
    Some(number)
}

/// Two frames fill the ring; a third goes in only where one was given back, and no word of a frame
/// changes while it is read.
#[test]
fn frames_come_out_whole_and_in_order() {
    model(|| {
        let (mut producer, mut consumer) = ring(32, 2).unwrap();
        let pushing = loom::thread::spawn(move || {
            let pushed: Vec<u8> = (1..4)
                .filter(|number| push(&mut producer, *number))
                .collect();
            assert!(pushed.len() >= 2);
            pushed
        });
        let mut taken: Vec<u8> = (0..2).filter_map(|_| take(&mut consumer)).collect();
        let pushed = pushing.join().unwrap();
        taken.extend(std::iter::from_fn(|| take(&mut consumer)));
        assert_eq!(taken, pushed);
    });
}

/// A consumer that sleeps is woken for every frame, and one that is awake finds it.
#[test]
fn no_frame_is_slept_over() {
    model(|| {
        let (mut producer, mut consumer) = ring(64, 4).unwrap();
        let bell = loom::sync::Arc::new(Bell::new());
        let alarm = loom::sync::Arc::new(Alarm::default());
        let pushing = {
            let (bell, alarm) = (bell.clone(), alarm.clone());
            loom::thread::spawn(move || {
                for number in 1..3 {
                    assert!(push(&mut producer, number));
                    if bell.ring(false, 0) {
                        alarm.wake();
                    }
                }
            })
        };
        let mut taken = 0;
        while taken < 2 {
            bell.sleep(Wake::Always);
            if consumer.tail() == consumer.head() {
                alarm.wait();
            }
            bell.awake();
            while take(&mut consumer).is_some() {
                taken += 1;
            }
        }
        pushing.join().unwrap();
    });
}

/// A consumer that dozes is woken by what is urgent, and by that alone.
#[test]
fn what_is_urgent_wakes_who_dozes() {
    model(|| {
        let bell = loom::sync::Arc::new(Bell::new());
        bell.sleep(Wake::Urgent);
        let ringing = {
            let bell = bell.clone();
            loom::thread::spawn(move || (bell.ring(false, 0), bell.ring(true, 0)))
        };
        assert_eq!(ringing.join().unwrap(), (false, true));
    });
}

/// A consumer that naps is woken by no frame that comes about when it wakes by itself, and finds it then or is
/// woken by the bell that it sets then; one that comes much earlier wakes it.
fn nap(pushed_us: u64) {
    model(move || {
        let (mut producer, mut consumer) = ring(64, 4).unwrap();
        let bell = loom::sync::Arc::new(Bell::new());
        let alarm = loom::sync::Arc::new(Alarm::default());
        let pushing = {
            let (bell, alarm) = (bell.clone(), alarm.clone());
            loom::thread::spawn(move || {
                let mut rung = 0;
                for number in 1..3 {
                    assert!(push(&mut producer, number));
                    if bell.ring(false, pushed_us) {
                        alarm.wake();
                        rung += 1;
                    }
                }
                rung
            })
        };
        let mut taken = 0;
        let mut naps = true;
        let mut slept = 0;
        while taken < 2 {
            if naps {
                bell.nap(NAP_ENDS_US);
                // Its time comes at any moment.
                loom::thread::yield_now();
            } else {
                bell.sleep(Wake::Always);
                if consumer.tail() == consumer.head() {
                    alarm.wait();
                    slept += 1;
                }
            }
            bell.awake();
            let before = taken;
            while take(&mut consumer).is_some() {
                taken += 1;
            }
            naps = taken > before && !naps;
        }
        let rung = pushing.join().unwrap();
        if pushed_us == NAP_ENDS_US {
            // Nobody else was worth a system call.
            assert!(rung >= slept && rung <= slept + 1, "{rung} {slept}");
        }
    });
}

const NAP_ENDS_US: u64 = 40_000;

#[test]
fn no_frame_that_comes_in_time_is_napped_over() {
    nap(NAP_ENDS_US);
}

#[test]
fn no_early_frame_is_napped_over() {
    nap(NAP_ENDS_US - 10_000);
}

/// What is in time is left to whoever naps, before, about and after the moment, also when the counter
/// begins anew; what is early is not.
#[test]
fn only_early_frames_wake_who_naps() {
    model(|| {
        for until in [40_000_u64, 1 << 38, (1 << 38) + 100] {
            for (pushed, wakes) in [
                (until - 10_000, true),
                (until - 1_000, true),
                (until - 200, false),
                (until, false),
                (until + 5_000, false),
            ] {
                let bell = Bell::new();
                bell.nap(until);
                assert_eq!(bell.ring(true, pushed), wakes, "{pushed} of {until}");
                assert!(!bell.ring(true, pushed) || !wakes);
            }
        }
    });
}
