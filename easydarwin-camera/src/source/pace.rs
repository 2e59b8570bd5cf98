use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// Waits for moments one after the other with a single timer.
#[derive(Debug)]
pub(super) struct Pacer {
    sleep: Pin<Box<Sleep>>,
}

impl Pacer {
    pub(super) fn new(first: Instant) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep_until(first.into())),
        }
    }

    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.sleep.deadline() != at.into() {
            self.sleep.as_mut().reset(at.into());
        }
        self.sleep.as_mut().poll(cx)
    }
}
