use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// Polls futures that hardly ever resolve only when one of them was woken.
///
/// A publisher's task wakes for each picture. Asking at each of these wake-ups also whether the
/// server shuts down, the stream was taken over or a timer fired would cost more than taking the
/// picture in: each of these questions touches memory that nothing else needs.
#[derive(Debug)]
pub(super) struct Rarely {
    flag: Arc<Flag>,
    waker: Waker,
    task: Option<Waker>,
}

#[derive(Debug)]
struct Flag {
    woken: AtomicBool,
    /// Stays there when it was woken: the next wake-up may come before the next poll.
    task: Mutex<Waker>,
}

impl Rarely {
    /// Polls at the first call.
    pub(super) fn new() -> Self {
        let flag = Arc::new(Flag {
            woken: AtomicBool::new(true),
            task: Mutex::new(Waker::noop().clone()),
        });
        Self {
            waker: Waker::from(Arc::clone(&flag)),
            flag,
            task: None,
        }
    }

    /// The futures are others than before: they must be polled once to know whom to wake.
    pub(super) fn renew(&self) {
        self.flag.woken.store(true, Ordering::Release);
    }

    /// Polls if that can have changed anything. `poll` has to poll all of the futures until one is
    /// ready.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if !self
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()))
        {
            self.flag.task.lock().clone_from(cx.waker());
            self.task = Some(cx.waker().clone());
            self.renew();
        }
        // The plain look first: it is nearly always in vain, and the swap is dear.
        if !self.flag.woken.load(Ordering::Acquire)
            || !self.flag.woken.swap(false, Ordering::AcqRel)
        {
            return Poll::Pending;
        }
        let result = poll(&mut Context::from_waker(&self.waker));
        if result.is_ready() {
            // Those behind the one that was ready were not polled.
            self.renew();
        }
        result
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.lock().wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_was_not_woken_is_not_polled() {
        let mut rarely = Rarely::new();
        let (first, second) = (Notify::new(), Notify::new());
        let mut one = pin!(first.notified().fuse());
        let mut two = pin!(second.notified().fuse());
        let mut polls = 0;
        let mut look = |cx: &mut Context<'_>| {
            rarely.poll(cx, |cx| {
                polls += 1;
                if one.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(1);
                }
                two.as_mut().poll(cx).map(|()| 2)
            })
        };
        for _ in 0..3 {
            let pending = std::future::poll_fn(|cx| Poll::Ready(look(cx))).await;
            assert_eq!(pending, Poll::Pending);
        }
        first.notify_one();
        second.notify_one();
        assert_eq!(std::future::poll_fn(&mut look).await, 1);
        assert_eq!(std::future::poll_fn(&mut look).await, 2, "not forgotten");
        let pending = std::future::poll_fn(|cx| Poll::Ready(look(cx))).await;
        assert_eq!(pending, Poll::Pending);
        // Polled at first, once for each event, once more behind each, and no more.
        assert_eq!(polls, 4);
    }

    #[tokio::test]
    async fn each_wake_reaches_the_task_that_polls() {
        let mut rarely = Rarely::new();
        let (events, mut incoming) = tokio::sync::mpsc::unbounded_channel::<u32>();
        let (seen, mut reported) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Some(event) =
                std::future::poll_fn(|cx| rarely.poll(cx, |cx| incoming.poll_recv(cx))).await
            {
                seen.send(event).unwrap();
            }
        });
        for event in 0..5 {
            tokio::task::yield_now().await;
            events.send(event).unwrap();
            assert_eq!(reported.recv().await, Some(event));
        }
        drop(events);
        task.await.unwrap();
    }
}
