//! What the device tells, and what is said through it.

use std::time::{Instant, UNIX_EPOCH};

use easydarwin_core::protocol::{DeviceEvent, DeviceEventAck, Envelope, ErrorNum, TalkbackRequest};

use super::talkback::{Talk, TalkbackCodec};
use super::{Command, CommandKind, ControlEngine, ControlEvent, EventStats, EventVerdict};

impl ControlEngine {
    /// Tells the CMS something, if it listens. What happens while no CMS is there waits for one; a
    /// health replaces the one before it.
    pub fn send_event(&mut self, mut event: DeviceEvent, now: Instant) -> EventVerdict {
        if let Err(error) = event.check() {
            return EventVerdict::Invalid(error);
        }
        if self.takes_events == Some(false) {
            return EventVerdict::NotSupported;
        }
        if event.time_ms.is_none() {
            let wall = self.wall_clock(now);
            let since = wall.and_then(|wall| wall.duration_since(UNIX_EPOCH).ok());
            event.time_ms = since.and_then(|since| u64::try_from(since.as_millis()).ok());
        }
        let verdict = self.outbox.push(event);
        self.tell(now);
        verdict
    }

    /// What became of the events so far.
    pub fn event_stats(&self) -> EventStats {
        self.outbox.stats()
    }

    /// Whether the CMS takes events; `None` until one has said so.
    pub fn takes_events(&self) -> Option<bool> {
        self.takes_events
    }

    /// A CMS has let us in and said whether it takes events.
    pub(super) fn listens(&mut self, listens: bool, now: Instant) {
        self.takes_events = Some(listens);
        if listens {
            self.tell(now);
        } else {
            self.outbox.clear();
        }
    }

    /// Sends what may be sent now.
    pub(super) fn tell(&mut self, now: Instant) {
        if !self.is_registered() {
            return;
        }
        self.outbox.expire(now);
        if let Some(event) = self.outbox.next(now) {
            let cseq = self.next_cseq();
            self.send(&event.to_envelope(&self.config.serial, cseq));
            self.outbox.sent(event, cseq, now);
        }
    }

    /// The CMS's answer to an event.
    pub(super) fn told(&mut self, message: &Envelope, now: Instant) {
        if let Ok(ack) = DeviceEventAck::from_envelope(message) {
            let taken = ack.error.is_success();
            self.outbox.answered(message.cseq_number(), taken);
            self.tell(now);
        }
    }

    /// Speech: a beginning is the embedder's to decide, pieces go into the buffer.
    pub(super) fn talkback(&mut self, message: &Envelope, now: Instant) {
        let Ok(request) = TalkbackRequest::from_envelope(message) else {
            if let Some(pending) = self.admit(message, CommandKind::Talkback, now) {
                self.finish(pending, ErrorNum::BAD_REQUEST);
            }
            return;
        };
        if request.command.eq_ignore_ascii_case("START") {
            self.talk_begins(message, &request, now);
            return;
        }
        let Some(pending) = self.admit(message, CommandKind::Talkback, now) else {
            return;
        };
        let talk = self.talk.as_mut();
        let talk = talk.filter(|talk| talk.listens(request.channel));
        let result = match (talk, request.command.to_ascii_uppercase().as_str()) {
            (None, "STOP") => ErrorNum::OK,
            (None, "SENDDATA") => ErrorNum::SESSION_NOT_FOUND,
            (Some(talk), "SENDDATA") => {
                if talk.push(&request.audio_data, &request.pts, now) {
                    ErrorNum::OK
                } else {
                    ErrorNum::BAD_REQUEST
                }
            }
            (Some(talk), "STOP") => {
                talk.stop();
                ErrorNum::OK
            }
            _ => ErrorNum::BAD_REQUEST,
        };
        self.finish(pending, result);
        self.speak(now);
    }

    fn talk_begins(&mut self, message: &Envelope, request: &TalkbackRequest, now: Instant) {
        let channel = request.channel;
        let Some(codec) = TalkbackCodec::parse(&request.audio_type) else {
            if let Some(pending) = self.admit(message, CommandKind::Talkback, now) {
                self.finish(pending, ErrorNum::UNSUPPORTED_MEDIA);
            }
            return;
        };
        let command = Command::TalkbackStart { channel, codec };
        let given = self.command(message, CommandKind::Talkback, Ok(command), now);
        let Some(id) = given else {
            return;
        };
        // The event of the end stands before that of the beginning.
        let begins = self.events.pop_back();
        self.talk_ends();
        self.events.extend(begins);
        // An older beginning that is not answered yet decides nothing any more.
        for (other, pending) in &mut self.pending {
            pending.begins_talk = *other == id;
        }
        self.talk = Some(Talk::new(channel, codec, now));
    }

    /// What is to be played now.
    pub(super) fn speak(&mut self, now: Instant) {
        let Some(talk) = &mut self.talk else {
            return;
        };
        while let Some(frame) = talk.poll(now) {
            self.events.push_back(ControlEvent::Talkback(frame));
        }
        if talk.is_over(now) {
            self.talk_ends();
        }
    }

    pub(super) fn talk_ends(&mut self) {
        if let Some(talk) = self.talk.take() {
            self.events.push_back(ControlEvent::TalkbackEnded {
                channel: talk.channel(),
                stats: talk.stats(),
            });
        }
    }
}
