//! Messages of devices: pictures.

use super::device::{number_of_channel, serial_of};
use super::{Envelope, EnvelopeError, ErrorNum, MessageType};

/// `MSG_DS_POST_SNAP_REQ`: a picture of a channel.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The device's own serial.
    pub serial: String,
    /// 1 when left out.
    pub channel: u32,
    /// `Type`: `JPEG`.
    pub kind: String,
    /// When it was taken, digits only (`YYYYMMDDhhmmss`); empty: now.
    pub time: String,
    /// Base64; some devices leave the padding out.
    pub image: String,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("serial", &self.serial)
            .field("channel", &self.channel)
            .field("kind", &self.kind)
            .field("time", &self.time)
            .field("image_len", &self.image.len())
            .finish()
    }
}

impl Snapshot {
    /// A JPEG, already in base64.
    pub fn jpeg(serial: impl Into<String>, channel: u32, image: impl Into<String>) -> Self {
        Self {
            serial: serial.into(),
            channel,
            kind: "JPEG".into(),
            time: String::new(),
            image: image.into(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::PostSnapReq)?;
        let body = &message.body;
        Ok(Self {
            serial: serial_of(body)?,
            channel: number_of_channel(body),
            kind: body.non_empty("Type").ok_or(EnvelopeError::Field("Type"))?,
            time: body
                .text_or_empty("Time")
                .chars()
                .filter(char::is_ascii_digit)
                .take(14)
                .collect(),
            image: body
                .non_empty("Image")
                .ok_or(EnvelopeError::Field("Image"))?,
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::PostSnapReq, cseq);
        message
            .body
            .set("Serial", self.serial.as_str())
            .set_number("Channel", self.channel)
            .set("Type", self.kind.as_str())
            .set("Time", self.time.as_str())
            .set("Image", self.image.as_str());
        message
    }
}

/// `MSG_SD_POST_SNAP_ACK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotAck {
    /// Result.
    pub error: ErrorNum,
    /// The device's serial.
    pub serial: String,
    /// The channel.
    pub channel: u32,
}

impl SnapshotAck {
    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is none or has no `ErrorNum`.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::PostSnapAck)?;
        Ok(Self {
            error: message.error().ok_or(EnvelopeError::Field("ErrorNum"))?,
            serial: message.body.text_or_empty("Serial"),
            channel: number_of_channel(&message.body),
        })
    }

    /// The message, answering a request with this CSeq.
    pub fn to_envelope(&self, cseq: &str) -> Envelope {
        let mut message = Envelope::answer(MessageType::PostSnapAck, cseq, self.error);
        message
            .body
            .set("Serial", self.serial.as_str())
            .set_number("Channel", self.channel);
        message
    }
}
