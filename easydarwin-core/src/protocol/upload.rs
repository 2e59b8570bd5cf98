//! Pictures that travel beside the control connection: by HTTP PUT, with a ticket. Ours: only
//! between peers that both listed it in `Ext`.

use std::fmt;

use super::device::{number_of_channel, serial_of};
use super::{Envelope, EnvelopeError, ErrorNum, Fields, MessageType};

/// The right to put one snapshot of one channel, once and soon. `Debug` does not show the ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadTicket {
    /// Path at the CMS's own address, from its `/` on: printable ASCII, at most
    /// [`MAX_LEN`](Self::MAX_LEN) bytes.
    pub path: String,
    /// For `Authorization: Bearer` (RFC 6750, 2.1): printable ASCII, at most
    /// [`MAX_LEN`](Self::MAX_LEN) bytes.
    pub ticket: String,
    /// Seconds for which it counts.
    pub ttl_s: u64,
}

impl UploadTicket {
    /// Longest path, and longest ticket, in bytes.
    pub const MAX_LEN: usize = 256;

    /// Of a message's body; `None` when there is nothing, or nothing that can stand in the head of a
    /// request.
    pub fn read(body: &Fields) -> Option<Self> {
        let path = clean(body, "UploadPath")?;
        path.starts_with('/').then_some(())?;
        Some(Self {
            path,
            ticket: clean(body, "UploadTicket")?,
            ttl_s: body.number("UploadTTL")?,
        })
    }

    pub(super) fn write(&self, body: &mut Fields) {
        body.set("UploadPath", self.path.as_str())
            .set("UploadTicket", self.ticket.as_str())
            .set_number("UploadTTL", self.ttl_s);
    }
}

impl fmt::Debug for UploadTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadTicket")
            .field("path", &self.path)
            .field("ttl_s", &self.ttl_s)
            .finish_non_exhaustive()
    }
}

/// Nothing that ends a word or a line.
fn clean(body: &Fields, key: &str) -> Option<String> {
    let text = body.non_empty(key)?;
    let clean = text.len() <= UploadTicket::MAX_LEN && text.bytes().all(|b| b.is_ascii_graphic());
    clean.then_some(text)
}

/// `MSG_DS_UPLOAD_REQ`: the device has a snapshot of this channel and wants to put it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRequest {
    /// The device's own serial.
    pub serial: String,
    /// 1 when left out.
    pub channel: u32,
}

impl UploadRequest {
    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::UploadReq)?;
        let body = &message.body;
        Ok(Self {
            serial: serial_of(body)?,
            channel: number_of_channel(body),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::UploadReq, cseq);
        message
            .body
            .set("Serial", self.serial.as_str())
            .set_number("Channel", self.channel);
        message
    }
}

/// `MSG_SD_UPLOAD_ACK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadAck {
    /// Result.
    pub error: ErrorNum,
    /// The device's serial.
    pub serial: String,
    /// The channel.
    pub channel: u32,
    /// With success, where to put the snapshot and by which right.
    pub upload: Option<UploadTicket>,
}

impl UploadAck {
    /// An answer without a ticket.
    pub fn new(serial: impl Into<String>, channel: u32, error: ErrorNum) -> Self {
        Self {
            error,
            serial: serial.into(),
            channel,
            upload: None,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is none or has no `ErrorNum`.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::UploadAck)?;
        let body = &message.body;
        Ok(Self {
            error: message.error().ok_or(EnvelopeError::Field("ErrorNum"))?,
            serial: body.text_or_empty("Serial"),
            channel: number_of_channel(body),
            upload: UploadTicket::read(body),
        })
    }

    /// The message, answering a request with this CSeq.
    pub fn to_envelope(&self, cseq: &str) -> Envelope {
        let mut message = Envelope::answer(MessageType::UploadAck, cseq, self.error);
        let body = &mut message.body;
        body.set("Serial", self.serial.as_str())
            .set_number("Channel", self.channel);
        if let Some(upload) = &self.upload {
            upload.write(body);
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> UploadTicket {
        UploadTicket {
            path: "/snap/cam/2".into(),
            ticket: "secret-text".into(),
            ttl_s: 60,
        }
    }

    #[test]
    fn request_and_answer_survive_the_wire_and_the_ticket_is_not_shown() {
        let request = UploadRequest {
            serial: "cam".into(),
            channel: 2,
        };
        let read = UploadRequest::from_envelope(&request.to_envelope(1));
        assert_eq!(read, Ok(request));
        let mut ack = UploadAck::new("cam", 2, ErrorNum::OK);
        ack.upload = Some(ticket());
        let read = UploadAck::from_envelope(&ack.to_envelope("1")).unwrap();
        assert_eq!(read, ack);
        assert!(!format!("{read:?}").contains("secret-text"));
    }

    #[test]
    fn what_could_not_stand_in_a_head_is_no_ticket() {
        let long = "x".repeat(UploadTicket::MAX_LEN + 1);
        for (path, token, ttl) in [
            ("", "t", "60"),
            ("snap/cam/2", "t", "60"),
            ("http://elsewhere/snap", "t", "60"),
            ("/snap HTTP/1.1", "t", "60"),
            ("/snap\r\nX: y", "t", "60"),
            ("/snäp", "t", "60"),
            ("/snap", "", "60"),
            ("/snap", "t\r\nX: y", "60"),
            ("/snap", &long, "60"),
            ("/snap", "t", ""),
            ("/snap", "t", "-1"),
        ] {
            let mut message = UploadAck::new("cam", 1, ErrorNum::OK).to_envelope("1");
            message
                .body
                .set("UploadPath", path)
                .set("UploadTicket", token)
                .set("UploadTTL", ttl);
            let ack = UploadAck::from_envelope(&message).unwrap();
            assert_eq!(ack.upload, None, "{path:?} {token:?} {ttl:?}");
        }
    }
}
