//! One webhook's task.

use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::registry::{
    Event, EventCursor, EventFilter, EventKind, EventLogError, EventPage, UnixMillis, random_bytes,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Fare;
use super::send::{Client, Message, Outcome};
use super::sign::signature;
use super::store::{DeadLetter, Webhook};
use crate::events::{Reader, as_json};
use crate::state::State;

/// Most events in one message.
const BATCH: usize = 100;

/// Longest pause between two tries, also if the receiver asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How long the answer to what was sent is waited for when the CMS ends.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// What came of a batch.
enum Fate {
    Taken,
    /// Refused for too long.
    GivenUp(String),
    /// The CMS is ending, or the webhook was removed.
    Stopped,
}

pub(super) struct Delivery {
    state: Arc<State>,
    webhook: Webhook,
    fare: Arc<Mutex<Fare>>,
    client: Client,
    /// Since when nothing is taken, and when that was told last.
    failing: Option<(Instant, Option<Instant>)>,
}

impl Delivery {
    pub(super) fn new(state: &Arc<State>, webhook: Webhook, fare: Arc<Mutex<Fare>>) -> Self {
        Self {
            state: state.clone(),
            webhook,
            fare,
            client: Client::new(state.config.webhook_timeout),
            failing: None,
        }
    }

    pub(super) async fn run(mut self, stop: &CancellationToken) {
        let mut filter = EventFilter::all();
        filter.kinds.clone_from(&self.webhook.kinds);
        filter.serial.clone_from(&self.webhook.serial);
        let mut reader = self.state.events.reader(self.webhook.cursor, filter);
        loop {
            let read = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    // What the filter left out need not be looked at again.
                    self.keep(reader.after()).await;
                    return;
                }
                read = reader.next(BATCH) => read,
            };
            let page = match read {
                Ok(page) => page,
                Err(EventLogError::Gone { oldest }) => {
                    self.lost(&mut reader, oldest).await;
                    continue;
                }
                Err(error) => {
                    tracing::error!(webhook = self.webhook.id, %error, "the event log could not be read");
                    if pause(self.state.config.webhook_retry, stop).await {
                        return;
                    }
                    continue;
                }
            };
            let (id, body) = self.message(&page);
            match self.deliver(id, &body, stop).await {
                Fate::Taken => self.keep(page.next).await,
                Fate::GivenUp(reason) => self.bury(reason, body, &page).await,
                Fate::Stopped => return,
            }
        }
    }

    /// The log did not keep what the receiver lacks.
    async fn lost(&mut self, reader: &mut Reader, oldest: EventCursor) {
        let reason = "the event log no longer has what the receiver lacks";
        self.tell(reason, json!({ "lost": true }));
        reader.seek(oldest);
        self.keep(oldest).await;
    }

    /// An id that is the same for the same events, and the body.
    fn message(&self, page: &EventPage) -> (String, String) {
        let ends = [page.events.first(), page.events.last()];
        let [first, last] = ends.map(|e| e.map_or_else(String::new, |e| e.id.to_string()));
        let newest = page
            .events
            .last()
            .map_or(UnixMillis(0), |logged| logged.event.at);
        let body = json!({
            "type": "easydarwin.events",
            "timestamp": rfc3339(newest),
            "data": page.events.iter().map(as_json).collect::<Vec<_>>(),
        });
        (
            format!("{}_{first}_{last}", self.webhook.id),
            body.to_string(),
        )
    }

    /// Tries until the batch is taken, or refused for too long.
    async fn deliver(&mut self, id: String, body: &str, stop: &CancellationToken) -> Fate {
        let config = &self.state.config;
        let (first, give_up) = (config.webhook_retry, config.webhook_give_up);
        let mut refused_since = None;
        let mut tries = 0_u32;
        loop {
            let outcome = {
                let sending = self.send(id.clone(), body.to_owned());
                tokio::pin!(sending);
                tokio::select! {
                    outcome = &mut sending => outcome,
                    () = stop.cancelled() => {
                        // What is taken at this moment need not be sent again after the start.
                        match tokio::time::timeout(LAST_ANSWER, sending).await {
                            Ok(Outcome::Taken) => Outcome::Taken,
                            _ => return Fate::Stopped,
                        }
                    }
                }
            };
            let (error, wish) = match outcome {
                Outcome::Taken => {
                    self.taken();
                    return Fate::Taken;
                }
                Outcome::Refused(error) => {
                    let since = *refused_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= give_up {
                        self.failed(&error);
                        return Fate::GivenUp(error);
                    }
                    (error, None)
                }
                Outcome::Failed(error, wish) => {
                    refused_since = None;
                    (error, wish)
                }
            };
            self.failed(&error);
            self.tell_if_long(&error, give_up);
            let doubled = first.saturating_mul(1 << tries.min(16));
            tries = tries.saturating_add(1);
            // Not later than the moment at which it is given up.
            let left = refused_since.map_or(LONGEST_PAUSE, |since: Instant| {
                give_up.saturating_sub(since.elapsed())
            });
            let wait = jitter(doubled.max(wish.unwrap_or_default()).min(LONGEST_PAUSE));
            if pause(wait.min(left.max(first / 2)), stop).await {
                return Fate::Stopped;
            }
        }
    }

    async fn send(&self, id: String, body: String) -> Outcome {
        let seconds = UnixMillis::system().seconds();
        let Some(signature) = signature(&self.webhook.secret, &id, seconds, &body) else {
            return Outcome::Failed("the webhook's secret is none".into(), None);
        };
        let message = Message {
            url: self.webhook.url.clone(),
            id,
            seconds,
            signature,
            body,
        };
        let client = self.client.clone();
        let sent = tokio::task::spawn_blocking(move || client.send(&message));
        sent.await
            .unwrap_or_else(|error| Outcome::Failed(error.to_string(), None))
    }

    fn taken(&mut self) {
        if self.failing.take().is_some() {
            tracing::info!(
                webhook = self.webhook.id,
                "the webhook's receiver takes events again"
            );
        }
        let mut fare = self.fare.lock();
        fare.delivered = Some(self.state.now());
        fare.failing = None;
        fare.error.clear();
    }

    fn failed(&mut self, error: &str) {
        if self.failing.is_none() {
            tracing::warn!(
                webhook = self.webhook.id,
                error,
                "the webhook's receiver fails"
            );
            self.failing = Some((Instant::now(), None));
        }
        let mut fare = self.fare.lock();
        fare.failing.get_or_insert(self.state.now());
        error.clone_into(&mut fare.error);
    }

    /// Also of a receiver that is merely gone, once in that time.
    fn tell_if_long(&mut self, error: &str, long: Duration) {
        let Some((since, told)) = self.failing else {
            return;
        };
        if told.unwrap_or(since).elapsed() >= long {
            self.failing = Some((since, Some(Instant::now())));
            self.tell(error, json!({}));
        }
    }

    /// The batch is kept for people, and the next one gets its turn.
    async fn bury(&mut self, reason: String, body: String, page: &EventPage) {
        self.tell(&reason, json!({ "undelivered": page.events.len() }));
        let letter = DeadLetter {
            webhook: self.webhook.id.clone(),
            at: self.state.now(),
            reason,
            body,
        };
        let buried = self.state.webhooks.store().bury(letter, page.next).await;
        if let Err(error) = buried {
            tracing::error!(webhook = self.webhook.id, %error, "a dead letter could not be kept");
        }
    }

    fn tell(&self, reason: &str, mut data: Value) {
        if let Some(data) = data.as_object_mut() {
            data.insert("webhook".into(), self.webhook.id.as_str().into());
        }
        let event = Event::new(EventKind::WEBHOOK_FAILING, self.state.now());
        self.state
            .events
            .emit(event.because(reason.to_owned()).with(data));
    }

    /// If this fails, what was taken is sent again after the next start.
    async fn keep(&self, cursor: EventCursor) {
        let kept = self
            .state
            .webhooks
            .store()
            .advance(&self.webhook.id, cursor)
            .await;
        if let Err(error) = kept {
            tracing::error!(webhook = self.webhook.id, %error, "a webhook's cursor could not be kept");
        }
    }
}

/// Waits; whether it was stopped.
async fn pause(wait: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        () = stop.cancelled() => true,
    }
}

/// As people write it, in UTC.
fn rfc3339(time: UnixMillis) -> String {
    let seconds = time.seconds();
    // Days are counted from the first of March of the year 0, so that a leap day is the last.
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let millis = time.0 % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Between half of it and all of it, so that many that failed together do not come together.
fn jitter(wait: Duration) -> Duration {
    let [random] = random_bytes().unwrap_or([255]);
    wait.mul_f64(0.5 + f64::from(random) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_everybody_reads_them() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_826_154_007, "2000-02-29T12:09:14.007Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UnixMillis(at)), text);
        }
    }

    #[test]
    fn pauses_are_spread_but_never_longer() {
        for _ in 0..100 {
            let wait = jitter(Duration::from_secs(10));
            assert!((5.0..=10.0).contains(&wait.as_secs_f64()), "{wait:?}");
        }
    }
}
