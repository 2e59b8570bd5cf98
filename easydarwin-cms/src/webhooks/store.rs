use std::collections::BTreeMap;

use async_trait::async_trait;
use easydarwin_core::registry::{EventCursor, StoreError, UnixMillis};
use parking_lot::Mutex;

/// Dead letters kept of each webhook; the oldest go.
pub(crate) const MAX_DEAD_LETTERS: usize = 1000;

/// A receiver of events.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Made by the CMS.
    pub id: String,
    /// Where the events go.
    pub url: String,
    /// With what they are signed: `whsec_` and base64.
    pub secret: String,
    /// Which events, as in [`EventFilter::kinds`](easydarwin_core::registry::EventFilter::kinds).
    pub kinds: Vec<String>,
    /// Of this device only.
    pub serial: Option<String>,
    /// Who made it.
    pub owner: String,
    /// When.
    pub created: UnixMillis,
    /// The receiver has taken everything before it.
    pub cursor: EventCursor,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a secret, too.
        f.debug_struct("Webhook")
            .field("id", &self.id)
            .field("kinds", &self.kinds)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

/// A batch that a receiver refused for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The webhook's id.
    pub webhook: String,
    /// When it was given up.
    pub at: UnixMillis,
    /// What the receiver said.
    pub reason: String,
    /// What he did not take.
    pub body: String,
}

/// Keeps the webhooks, and how far each has come in the event log beside it.
#[async_trait]
pub trait WebhookStore: Send + Sync + 'static {
    /// All of them.
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError>;

    /// Adds one.
    async fn add_webhook(&self, webhook: Webhook) -> Result<(), StoreError>;

    /// Removes one and its dead letters.
    async fn remove_webhook(&self, id: &str) -> Result<(), StoreError>;

    /// The receiver has taken everything before this. Nothing happens if it was removed.
    async fn advance(&self, id: &str, cursor: EventCursor) -> Result<(), StoreError>;

    /// Keeps a batch that was given up and moves the cursor behind it, both or none. Nothing
    /// happens if the webhook was removed.
    async fn bury(&self, letter: DeadLetter, cursor: EventCursor) -> Result<(), StoreError>;

    /// A webhook's dead letters, newest first.
    async fn dead_letters(&self, id: &str, limit: usize) -> Result<Vec<DeadLetter>, StoreError>;
}

/// A [`WebhookStore`] that forgets everything with the process.
#[derive(Debug, Default)]
pub struct MemoryWebhooks(Mutex<BTreeMap<String, (Webhook, Vec<DeadLetter>)>>);

#[async_trait]
impl WebhookStore for MemoryWebhooks {
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        Ok(self
            .0
            .lock()
            .values()
            .map(|(hook, _)| hook.clone())
            .collect())
    }

    async fn add_webhook(&self, webhook: Webhook) -> Result<(), StoreError> {
        let id = webhook.id.clone();
        self.0.lock().insert(id, (webhook, Vec::new()));
        Ok(())
    }

    async fn remove_webhook(&self, id: &str) -> Result<(), StoreError> {
        let removed = self.0.lock().remove(id);
        removed
            .map(|_| ())
            .ok_or_else(|| StoreError::NotFound(id.to_owned()))
    }

    async fn advance(&self, id: &str, cursor: EventCursor) -> Result<(), StoreError> {
        if let Some((hook, _)) = self.0.lock().get_mut(id) {
            hook.cursor = cursor;
        }
        Ok(())
    }

    async fn bury(&self, letter: DeadLetter, cursor: EventCursor) -> Result<(), StoreError> {
        if let Some((hook, letters)) = self.0.lock().get_mut(&letter.webhook) {
            hook.cursor = cursor;
            if letters.len() >= MAX_DEAD_LETTERS {
                letters.remove(0);
            }
            letters.push(letter);
        }
        Ok(())
    }

    async fn dead_letters(&self, id: &str, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let hooks = self.0.lock();
        let letters = hooks.get(id).map(|(_, letters)| letters.as_slice());
        let newest_first = letters.unwrap_or_default().iter().rev();
        Ok(newest_first.take(limit).cloned().collect())
    }
}

/// What every [`WebhookStore`] has to pass.
#[cfg(test)]
pub(crate) async fn conformance(store: &impl WebhookStore, log: u32) {
    let cursor = |n| EventCursor::new(log, n);
    let hook = |id: &str| Webhook {
        id: id.into(),
        url: "https://example.com/hook?a='b'".into(),
        secret: "whsec_c2VjcmV0".into(),
        kinds: vec!["device.".into(), "stream.failed".into()],
        serial: (id == "a").then(|| "cam".into()),
        owner: "user:anna".into(),
        created: UnixMillis(7),
        cursor: cursor(3),
    };
    assert_eq!(store.webhooks().await.unwrap(), []);
    for id in ["b", "a"] {
        store.add_webhook(hook(id)).await.unwrap();
    }
    assert_eq!(store.webhooks().await.unwrap(), [hook("a"), hook("b")]);
    store.advance("a", cursor(9)).await.unwrap();
    store.advance("nobody", cursor(9)).await.unwrap();
    let letter = |id: &str, at| DeadLetter {
        webhook: id.into(),
        at: UnixMillis(at),
        reason: "410".into(),
        body: format!("{{\"n\":{at}}}"),
    };
    for at in 0..MAX_DEAD_LETTERS as u64 + 5 {
        store.bury(letter("b", at), cursor(at)).await.unwrap();
    }
    store.bury(letter("nobody", 1), cursor(1)).await.unwrap();
    let cursors: Vec<_> = store
        .webhooks()
        .await
        .unwrap()
        .iter()
        .map(|w| w.cursor)
        .collect();
    assert_eq!(cursors, [cursor(9), cursor(MAX_DEAD_LETTERS as u64 + 4)]);
    let letters = store.dead_letters("b", 2).await.unwrap();
    let last = MAX_DEAD_LETTERS as u64 + 4;
    assert_eq!(letters, [letter("b", last), letter("b", last - 1)]);
    let all = store.dead_letters("b", usize::MAX).await.unwrap();
    assert_eq!(all.len(), MAX_DEAD_LETTERS);
    assert_eq!(store.dead_letters("a", 2).await.unwrap(), []);
    store.remove_webhook("b").await.unwrap();
    let gone = store.remove_webhook("b").await;
    assert_eq!(gone, Err(StoreError::NotFound("b".into())));
    assert_eq!(store.dead_letters("b", 2).await.unwrap(), []);
    assert_eq!(store.webhooks().await.unwrap().len(), 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_store_in_memory_does_what_every_one_does() {
        conformance(&MemoryWebhooks::default(), 5).await;
    }
}
