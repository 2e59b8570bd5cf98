//! What a camera tells the vendor: a bounded queue with a descriptor that can be polled.

use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::abi::*;
use crate::failure::Failure;

/// Events that wait for a vendor who does not take them; the oldest that is no command is dropped then.
const CAPACITY: usize = 64;

/// One event with its texts.
#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) kind: i32,
    pub(crate) channel: u32,
    pub(crate) command: u64,
    pub(crate) value: i64,
    pub(crate) stream: edc_stream,
    pub(crate) text: CString,
    pub(crate) detail: CString,
    pub(crate) argument: CString,
    data: Vec<u8>,
    lost: u32,
}

impl Event {
    pub(crate) fn new(kind: i32) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    pub(crate) fn channel(mut self, channel: u32) -> Self {
        self.channel = channel;
        self
    }

    pub(crate) fn stream(mut self, stream: edc_stream) -> Self {
        self.stream = stream;
        self
    }

    pub(crate) fn value(mut self, value: i64) -> Self {
        self.value = value;
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.text = c_text(text);
        self
    }

    pub(crate) fn detail(mut self, text: &str) -> Self {
        self.detail = c_text(text);
        self
    }

    pub(crate) fn argument(mut self, text: &str) -> Self {
        self.argument = c_text(text);
        self
    }

    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }

    /// As C sees it; good as long as `self` stays where it is.
    pub(crate) fn view(&self) -> edc_event {
        edc_event {
            size: u32::try_from(size_of::<edc_event>()).unwrap_or(0),
            kind: self.kind,
            channel: self.channel,
            lost: self.lost,
            command: self.command,
            value: self.value,
            stream: self.stream,
            text: self.text.as_ptr(),
            detail: self.detail.as_ptr(),
            argument: self.argument.as_ptr(),
            data: match self.data.as_slice() {
                [] => std::ptr::null(),
                data => data.as_ptr(),
            },
            data_length: u32::try_from(self.data.len()).unwrap_or(0),
        }
    }

    /// Whether this event says all that `older` said: only the newest wish counts.
    fn replaces(&self, older: &Self) -> bool {
        matches!(
            self.kind,
            EDC_EVENT_BITRATE | EDC_EVENT_KEYFRAME | EDC_EVENT_SELECT | EDC_EVENT_SNAPSHOT
        ) && self.kind == older.kind
            && self.channel == older.channel
            && self.stream == older.stream
    }
}

/// Text that may come from the network: what C would take for its end is left out.
fn c_text(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

/// Events between the network's thread and whoever takes them.
#[derive(Debug)]
pub(crate) struct EventQueue {
    waiting: Mutex<Waiting>,
    /// Readable while events wait, and for ever once the queue is closed.
    ready: EventFd,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    events: VecDeque<Event>,
    /// Dropped since the last event was taken.
    lost: u32,
    closed: bool,
}

impl EventQueue {
    pub(crate) fn new() -> Result<Self, Failure> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let ready = EventFd::from_value_and_flags(0, flags)
            .map_err(|error| Failure::system("eventfd", &error))?;
        let mut events = VecDeque::new();
        events
            .try_reserve_exact(CAPACITY)
            .map_err(|_| Failure::from(EDC_ERR_NOMEM))?;
        Ok(Self {
            waiting: Mutex::new(Waiting {
                events,
                lost: 0,
                closed: false,
            }),
            ready,
            lost: AtomicU64::new(0),
        })
    }

    /// Adds an event; the oldest that is no command goes when there are too many.
    pub(crate) fn push(&self, event: Event) {
        let mut waiting = self.waiting();
        if waiting.closed {
            return;
        }
        let older = waiting
            .events
            .iter_mut()
            .find(|older| event.replaces(older));
        if let Some(older) = older {
            *older = event;
            return;
        }
        if waiting.events.len() >= CAPACITY {
            let victim = waiting.events.iter().position(|event| event.command == 0);
            waiting.events.remove(victim.unwrap_or(0));
            waiting.lost = waiting.lost.saturating_add(1);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        waiting.events.push_back(event);
        self.set_ready();
    }

    /// The next event; waits for it as long as `timeout` says, `None` for ever.
    pub(crate) fn next(&self, timeout: Option<Duration>) -> Result<Event, Failure> {
        let began = Instant::now();
        loop {
            if let Some(taken) = self.take() {
                return taken;
            }
            let left = timeout.map_or(Duration::MAX, |timeout| {
                timeout.saturating_sub(began.elapsed())
            });
            if left.is_zero() {
                return Err(EDC_ERR_TIMEOUT.into());
            }
            self.wait(left)?;
        }
    }

    /// No more events; whoever waits for one is told.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.set_ready();
    }

    /// Events that were dropped.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The descriptor to poll.
    pub(crate) fn descriptor(&self) -> i32 {
        self.ready.as_raw_fd()
    }

    fn take(&self) -> Option<Result<Event, Failure>> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Some(Err(EDC_ERR_CLOSED.into()));
        }
        let mut event = waiting.events.pop_front()?;
        event.lost = std::mem::take(&mut waiting.lost);
        if waiting.events.is_empty() {
            // Under the lock, so that the descriptor never says 'nothing' while an event waits.
            let _ = self.ready.read();
        }
        Some(Ok(event))
    }

    /// Waits until the descriptor is ready, or `left` is over, or a signal came.
    fn wait(&self, left: Duration) -> Result<(), Failure> {
        // One more millisecond: a wait that is cut down to whole ones would end too early.
        let millis = left.as_millis().saturating_add(1);
        let timeout = i32::try_from(millis).map_or(PollTimeout::NONE, |millis| {
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::NONE)
        });
        let mut descriptors = [PollFd::new(self.ready.as_fd(), PollFlags::POLLIN)];
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(Failure::system("poll", &error)),
        }
    }

    fn set_ready(&self) {
        // It can only fail when it is ready already.
        let _ = self.ready.write(1);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every change leaves the queue whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(kind: i32, stream: u64, value: i64) -> Event {
        Event {
            stream,
            ..Event::new(kind).value(value)
        }
    }

    #[test]
    fn newer_wishes_replace_older_ones_of_the_same_stream() {
        let queue = EventQueue::new().unwrap();
        for event in [
            wish(EDC_EVENT_BITRATE, 1, 1),
            wish(EDC_EVENT_BITRATE, 2, 2),
            wish(EDC_EVENT_KEYFRAME, 1, 0),
            wish(EDC_EVENT_BITRATE, 1, 3),
            wish(EDC_EVENT_KEYFRAME, 1, 0),
        ] {
            queue.push(event);
        }
        let mut taken = Vec::new();
        while let Ok(event) = queue.next(Some(Duration::ZERO)) {
            taken.push((event.kind, event.stream, event.value));
        }
        assert_eq!(
            taken,
            [
                (EDC_EVENT_BITRATE, 1, 3),
                (EDC_EVENT_BITRATE, 2, 2),
                (EDC_EVENT_KEYFRAME, 1, 0)
            ]
        );
    }

    #[test]
    fn commands_outlive_a_flood_and_the_loss_is_told() {
        let queue = EventQueue::new().unwrap();
        queue.push(Event {
            command: 7,
            ..Event::new(EDC_EVENT_PTZ)
        });
        for number in 0..100 {
            queue.push(Event::new(EDC_EVENT_PUSH_FAILED).value(number));
        }
        let first = queue.next(Some(Duration::ZERO)).unwrap();
        assert_eq!((first.command, first.lost), (7, 37));
        let second = queue.next(Some(Duration::ZERO)).unwrap();
        assert_eq!((second.value, second.lost), (37, 0));
        assert_eq!(queue.lost(), 37);
    }

    #[test]
    fn the_descriptor_is_readable_while_events_wait() {
        let queue = EventQueue::new().unwrap();
        let readable = || {
            let mut descriptors = [PollFd::new(queue.ready.as_fd(), PollFlags::POLLIN)];
            poll(&mut descriptors, PollTimeout::ZERO).unwrap() == 1
        };
        assert!(!readable());
        queue.push(Event::new(EDC_EVENT_REGISTERED));
        queue.push(Event::new(EDC_EVENT_DISCONNECTED));
        assert!(readable());
        assert!(queue.next(None).is_ok());
        assert!(readable());
        assert!(queue.next(None).is_ok());
        assert!(!readable());
        queue.close();
        assert!(readable());
        assert_eq!(queue.next(None).unwrap_err().code, EDC_ERR_CLOSED);
    }

    #[test]
    fn texts_from_the_network_end_where_they_end() {
        let event = Event::new(EDC_EVENT_PUSH_FAILED).text("a\0b");
        assert_eq!(event.text.as_c_str(), c"ab");
    }
}
