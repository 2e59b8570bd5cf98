//! What a device tells of itself. Ours: only to a CMS that listed `event` in `Ext`.

use std::fmt;

use serde_json::Value;

use super::device::serial_of;
use super::{Envelope, EnvelopeError, ErrorNum, Fields, MessageType};

/// How much a device's event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum EventLevel {
    /// `info`: good to know; a health that is as it should be.
    #[default]
    Info,
    /// `warning`: somebody should look.
    Warning,
    /// `critical`: somebody has to act.
    Critical,
}

impl EventLevel {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Reads it in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical]
            .into_iter()
            .find(|level| text.eq_ignore_ascii_case(level.as_str()))
    }
}

impl fmt::Display for EventLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that a device tells: `MSG_DS_EVENT_REQ`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeviceEvent {
    /// What happened, in the vendor's words: 1 to 64 of `a-z 0-9 . _ -`.
    pub name: String,
    /// It tells how the device is rather than what happened: only the newest one counts.
    pub health: bool,
    /// How much it matters.
    pub level: EventLevel,
    /// Channel, from 1, if it is about one.
    pub channel: Option<u32>,
    /// What else is known: at most [`MAX_DATA`](Self::MAX_DATA) bytes as JSON.
    pub data: Fields,
    /// When, in ms since 1970, if the device knows the time.
    pub time_ms: Option<u64>,
    /// Number of the event since the device was started, from 1. An event that was sent twice, because
    /// the connection broke before its answer came, has the same number both times.
    pub number: u64,
    /// Events that the device had to drop since the one before.
    pub dropped: u64,
}

/// Why an event cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceEventError {
    /// A name of other characters, or too long.
    #[error("an event's name has 1 to 64 of a-z 0-9 . _ -")]
    Name,
    /// Too much data.
    #[error("an event's data has at most {} bytes as JSON", DeviceEvent::MAX_DATA)]
    Data,
    /// The data is no JSON object.
    #[error("an event's data is a JSON object")]
    Json,
}

impl DeviceEvent {
    /// Most bytes of an event's data.
    pub const MAX_DATA: usize = 2048;

    /// Something that happened, without data.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            health: false,
            level: EventLevel::Info,
            channel: None,
            data: Fields::new(),
            time_ms: None,
            number: 0,
            dropped: 0,
        }
    }

    /// How the device is.
    pub fn health(level: EventLevel) -> Self {
        Self {
            health: true,
            level,
            ..Self::new("health")
        }
    }

    /// How much it matters.
    #[must_use]
    pub fn level(mut self, level: EventLevel) -> Self {
        self.level = level;
        self
    }

    /// It is about this channel, from 1.
    #[must_use]
    pub fn channel(mut self, channel: u32) -> Self {
        self.channel = Some(channel);
        self
    }

    /// This is known besides.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.data.set(name, value);
        self
    }

    /// The data as a JSON object.
    ///
    /// # Errors
    /// [`DeviceEventError::Json`] if it is none.
    pub fn with_json(mut self, text: &str) -> Result<Self, DeviceEventError> {
        // As messages are read: one reader in a firmware.
        let Ok(Value::Object(map)) = serde_json::from_slice(text.as_bytes()) else {
            return Err(DeviceEventError::Json);
        };
        self.data = Fields::from_map(map);
        Ok(self)
    }

    /// Whether name and data keep to their bounds.
    ///
    /// # Errors
    /// [`DeviceEventError`] says what does not.
    pub fn check(&self) -> Result<(), DeviceEventError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(allowed) {
            return Err(DeviceEventError::Name);
        }
        if self.data.to_json().len() > Self::MAX_DATA {
            return Err(DeviceEventError::Data);
        }
        Ok(())
    }

    /// Reads one; whose it is comes with it.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing or out of bounds.
    pub fn from_envelope(message: &Envelope) -> Result<(String, Self), EnvelopeError> {
        message.expect(MessageType::DeviceEventReq)?;
        let body = &message.body;
        let event = Self {
            name: body.text_or_empty("Name"),
            health: body.text_or_empty("Health") == "1",
            level: EventLevel::parse(&body.text_or_empty("Level")).unwrap_or_default(),
            channel: body.number("Channel"),
            data: body.object("Data").unwrap_or_default(),
            time_ms: body.number("Time"),
            number: body.number("Number").unwrap_or(0),
            dropped: body.number("Dropped").unwrap_or(0),
        };
        event.check().map_err(|error| match error {
            DeviceEventError::Name => EnvelopeError::Field("Name"),
            _ => EnvelopeError::Field("Data"),
        })?;
        Ok((serial_of(body)?, event))
    }

    /// The message with this CSeq, of this device.
    pub fn to_envelope(&self, serial: &str, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::DeviceEventReq, cseq);
        let body = &mut message.body;
        body.set("Serial", serial)
            .set("Name", self.name.as_str())
            .set("Level", self.level.as_str())
            .set_number("Number", self.number)
            .set_some("Channel", self.channel.map(|c| c.to_string()))
            .set_some("Time", self.time_ms.map(|t| t.to_string()))
            .set_object("Data", self.data.clone());
        if self.health {
            body.set("Health", "1");
        }
        if self.dropped > 0 {
            body.set_number("Dropped", self.dropped);
        }
        message
    }
}

/// `MSG_SD_EVENT_ACK`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceEventAck {
    /// 200 when it was taken; 429 when the device tells too much, and it was dropped.
    pub error: ErrorNum,
    /// The device.
    pub serial: String,
    /// Events that this CMS dropped of the device since the last one that it took.
    pub dropped: u64,
}

impl DeviceEventAck {
    /// An answer.
    pub fn new(serial: impl Into<String>, error: ErrorNum) -> Self {
        Self {
            error,
            serial: serial.into(),
            dropped: 0,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] if it is another message.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::DeviceEventAck)?;
        Ok(Self {
            error: message.error().unwrap_or(ErrorNum::BAD_REQUEST),
            serial: message.body.text_or_empty("Serial"),
            dropped: message.body.number("Dropped").unwrap_or(0),
        })
    }

    /// The message, answering a request with this CSeq.
    pub fn to_envelope(&self, cseq: &str) -> Envelope {
        let mut message = Envelope::answer(MessageType::DeviceEventAck, cseq, self.error);
        message.body.set("Serial", self.serial.as_str());
        if self.dropped > 0 {
            message.body.set_number("Dropped", self.dropped);
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_event_survives_the_wire() {
        let mut event = DeviceEvent::new("motion.begun")
            .level(EventLevel::Warning)
            .channel(2)
            .with_json(r#"{"zone": "door", "score": 0.75, "boxes": [[1, 2]]}"#)
            .unwrap();
        event.time_ms = Some(1_795_386_123_000);
        event.number = 7;
        event.dropped = 3;
        let json = event.to_envelope("cam", 4).to_json();
        let message = Envelope::parse(json.as_bytes()).unwrap();
        let read = DeviceEvent::from_envelope(&message).unwrap();
        assert_eq!(read, ("cam".to_owned(), event));
        let mut health = DeviceEvent::health(EventLevel::Critical).with("celsius", "91");
        health.number = 1;
        let message = health.to_envelope("cam", 4);
        assert_eq!(DeviceEvent::from_envelope(&message).unwrap().1, health);
        let mut ack = DeviceEventAck::new("cam", ErrorNum::TOO_MANY);
        ack.dropped = 9;
        let read = DeviceEventAck::from_envelope(&ack.to_envelope("4"));
        assert_eq!(read, Ok(ack));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_at_both_ends() {
        for (event, error, field) in [
            (DeviceEvent::new(""), DeviceEventError::Name, "Name"),
            (DeviceEvent::new("A b"), DeviceEventError::Name, "Name"),
            (
                DeviceEvent::new("x").with("y", "z".repeat(DeviceEvent::MAX_DATA)),
                DeviceEventError::Data,
                "Data",
            ),
        ] {
            assert_eq!(event.check(), Err(error));
            let read = DeviceEvent::from_envelope(&event.to_envelope("cam", 1));
            assert_eq!(read, Err(EnvelopeError::Field(field)));
        }
        let bad = DeviceEvent::new("x").with_json("[1]");
        assert_eq!(bad, Err(DeviceEventError::Json));
    }

    proptest! {
        #[test]
        fn no_body_panics(
            fields in prop::collection::vec((prop::sample::select(vec![
                "Serial", "Name", "Level", "Number", "Channel", "Time", "Data", "Dropped",
            ]), ".{0,40}"), 0..9),
        ) {
            let mut message = Envelope::request(MessageType::DeviceEventReq, 1);
            for (key, value) in fields {
                message.body.set(key, value);
            }
            let _ = DeviceEvent::from_envelope(&message);
        }
    }
}
