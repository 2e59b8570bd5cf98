//! How the CMS takes rights back at its nodes.

use super::super::{Envelope, EnvelopeError, ErrorNum, Fields, MessageType, check_serial};

/// Whose rights are taken back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Revoked {
    /// Tokens that name this subject: a person, an API key.
    Subject(String),
    /// All streams of the device with this serial: what it publishes, and who watches it.
    Device(String),
    /// One stream.
    Path(String),
}

/// Rights that were given before a moment count no more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revocation {
    /// Whose.
    pub what: Revoked,
    /// In seconds since 1970: tokens issued earlier are refused, sessions that began with them end.
    pub not_before: u64,
    /// In milliseconds since 1970: from then on it may be forgotten, for everything issued before
    /// has expired.
    pub until_ms: u64,
}

impl Revocation {
    /// A revocation.
    pub fn new(what: Revoked, not_before: u64, until_ms: u64) -> Self {
        Self {
            what,
            not_before,
            until_ms,
        }
    }
}

/// `MSG_SN_REVOKE_REQ`: rights that were given before count no more. The node refuses their
/// tokens, ends their sessions at once, and answers when both holds. Whoever joins later gets all
/// that may still matter, in as many messages as it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revoke {
    /// Whose rights.
    pub revocations: Vec<Revocation>,
    /// No token of anybody that was issued before (in seconds since 1970) counts; 0: no such
    /// moment.
    pub floor: u64,
}

impl Revoke {
    /// Most revocations in one message.
    pub const MOST: usize = 1000;
    /// Longest subject in bytes.
    const MAX_SUBJECT: usize = 256;

    /// A message about these.
    pub fn new(revocations: Vec<Revocation>, floor: u64) -> Self {
        Self { revocations, floor }
    }

    /// Reads one. An entry that is about something unknown here is an error: what is not
    /// understood must not pass for done.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing or not valid.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::NodeRevokeReq)?;
        let list = message.body.list("Revocations");
        if list.len() > Self::MOST {
            return Err(EnvelopeError::Field("Revocations"));
        }
        let revocations: Option<_> = list.iter().map(read).collect();
        Ok(Self {
            revocations: revocations.ok_or(EnvelopeError::Field("Revocations"))?,
            floor: message.body.number("Floor").unwrap_or(0),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::NodeRevokeReq, cseq);
        message
            .body
            .set("Floor", self.floor.to_string())
            .set_list("Revocations", self.revocations.iter().map(write).collect());
        message
    }

    /// The answer to a request.
    pub fn ack(request: &Envelope, error: ErrorNum) -> Envelope {
        Envelope::answer(MessageType::NodeRevokeAck, &request.cseq(), error)
    }
}

fn read(fields: &Fields) -> Option<Revocation> {
    let what = if let Some(subject) = fields.non_empty("Subject") {
        (subject.len() <= Revoke::MAX_SUBJECT).then_some(Revoked::Subject(subject))
    } else if let Some(serial) = fields.non_empty("Device") {
        check_serial(&serial)
            .is_ok()
            .then_some(Revoked::Device(serial))
    } else {
        Some(Revoked::Path(fields.non_empty("Path")?))
    };
    Some(Revocation::new(
        what?,
        fields.number("NotBefore")?,
        fields.number("Until")?,
    ))
}

fn write(revocation: &Revocation) -> Fields {
    let mut fields = Fields::new();
    match &revocation.what {
        Revoked::Subject(subject) => fields.set("Subject", subject.as_str()),
        Revoked::Device(serial) => fields.set("Device", serial.as_str()),
        Revoked::Path(path) => fields.set("Path", path.as_str()),
    };
    fields
        .set("NotBefore", revocation.not_before.to_string())
        .set("Until", revocation.until_ms.to_string());
    fields
}
