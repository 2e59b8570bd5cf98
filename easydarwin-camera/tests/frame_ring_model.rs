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
                    if bell.ring(false) {
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
            loom::thread::spawn(move || (bell.ring(false), bell.ring(true)))
        };
        assert_eq!(ringing.join().unwrap(), (false, true));
    });
}
