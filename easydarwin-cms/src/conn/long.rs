//! Memory for long messages: snapshots, and the inventories of media nodes. What all of them
//! take together is bounded; beyond, a connection is not read from until there is room.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Messages up to this length need no leave.
const SHORT: usize = 64 * 1024;

/// Memory is counted in pieces of this many bytes.
const UNIT: usize = 1024;

/// Room for long messages, first come, first served.
#[derive(Debug)]
pub(crate) struct LongMessages {
    units: Arc<Semaphore>,
    total: u32,
}

impl LongMessages {
    /// For so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let total = total.clamp(1, u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self {
            units: Arc::new(Semaphore::new(usize::try_from(total).unwrap_or(1))),
            total,
        }
    }

    /// Whether a message needs leave before it is read any further.
    pub(super) fn is_long(len: usize) -> bool {
        len > SHORT
    }

    /// Waits for room for the whole of a message, so that of those that were begun each can end.
    /// It is there until the permit is dropped, after the message was handled.
    pub(super) async fn room_for(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        self.room_for_bytes(memory_of(len)).await
    }

    /// The same for so many bytes that are taken as they are.
    pub(crate) async fn room_for_bytes(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX).min(self.total);
        self.units.clone().acquire_many_owned(units).await.ok()
    }
}

/// What handling takes: the message, the text in it, and the picture in that, three quarters of it.
fn memory_of(len: usize) -> usize {
    len.saturating_mul(11) / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn eight_of_the_longest_find_room_in_the_default() {
        let config = crate::CmsConfig::new("127.0.0.1:0".parse().unwrap());
        let long = LongMessages::new(config.max_long_messages);
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(long.room_for(config.max_body_device).await.unwrap());
        }
        let ninth = long.room_for(config.max_body_device);
        tokio::pin!(ninth);
        assert!(futures_util::poll!(ninth.as_mut()).is_pending());
        held.pop();
        assert!(futures_util::poll!(ninth.as_mut()).is_ready());
        // Longer than all that there is: alone.
        held.clear();
        assert!(long.room_for(usize::MAX).await.is_some());
    }
}
