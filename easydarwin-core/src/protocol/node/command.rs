//! What node and CMS ask of each other.

use std::net::IpAddr;

use super::super::{Envelope, EnvelopeError, ErrorNum, MessageType};

/// `MSG_NS_DEMAND_REQ`: a viewer asks the node for a stream that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The stream's path.
    pub path: String,
}

impl Demand {
    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::NodeDemandReq)?;
        Ok(Self {
            path: message
                .body
                .non_empty("Path")
                .ok_or(EnvelopeError::Field("Path"))?,
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::NodeDemandReq, cseq);
        message.body.set("Path", self.path.as_str());
        message
    }
}

/// `MSG_SN_DEMAND_ACK`: 200 when the stream is ready on that node, else why not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DemandAck {
    /// Result.
    pub error: ErrorNum,
    /// The stream's path.
    pub path: String,
    /// At which stage it failed, for people.
    pub stage: String,
}

impl DemandAck {
    /// An answer.
    pub fn new(path: impl Into<String>, error: ErrorNum, stage: impl Into<String>) -> Self {
        Self {
            error,
            path: path.into(),
            stage: stage.into(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is none or has no `ErrorNum`.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::NodeDemandAck)?;
        Ok(Self {
            error: message.error().ok_or(EnvelopeError::Field("ErrorNum"))?,
            path: message.body.text_or_empty("Path"),
            stage: message.body.text_or_empty("Stage"),
        })
    }

    /// The message, answering a request with this CSeq.
    pub fn to_envelope(&self, cseq: &str) -> Envelope {
        let mut message = Envelope::answer(MessageType::NodeDemandAck, cseq, self.error);
        message
            .body
            .set("Path", self.path.as_str())
            .set("Stage", self.stage.as_str());
        message
    }
}

/// `MSG_SN_GRANT_REQ`: let the publisher in that comes from this address; once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The stream's path.
    pub path: String,
    /// Generation of the push.
    pub generation: u64,
    /// From where the publisher will come. `None`: it will bring a token, expect no address.
    pub source: Option<IpAddr>,
    /// How long the grant holds.
    pub ttl_s: u64,
}

impl Grant {
    /// A grant for a publisher from this address.
    pub fn new(
        path: impl Into<String>,
        generation: u64,
        source: Option<IpAddr>,
        ttl_s: u64,
    ) -> Self {
        Self {
            path: path.into(),
            generation,
            source,
            ttl_s,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::NodeGrantReq)?;
        let body = &message.body;
        Ok(Self {
            path: body.non_empty("Path").ok_or(EnvelopeError::Field("Path"))?,
            generation: body
                .number("Generation")
                .ok_or(EnvelopeError::Field("Generation"))?,
            source: body.number("SourceIP"),
            ttl_s: body.number("TTL").unwrap_or(30),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::NodeGrantReq, cseq);
        message
            .body
            .set("Path", self.path.as_str())
            .set("Generation", self.generation.to_string())
            .set_some("SourceIP", self.source.map(|ip| ip.to_string()))
            .set("TTL", self.ttl_s.to_string());
        message
    }
}

/// `MSG_SN_CLOSE_REQ`: end this stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The stream's path.
    pub path: String,
    /// Only a publisher of this or an older generation is ended.
    pub generation: u64,
    /// Only if nobody watches.
    pub if_idle: bool,
}

impl Close {
    /// A close.
    pub fn new(path: impl Into<String>, generation: u64, if_idle: bool) -> Self {
        Self {
            path: path.into(),
            generation,
            if_idle,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::NodeCloseReq)?;
        let body = &message.body;
        Ok(Self {
            path: body.non_empty("Path").ok_or(EnvelopeError::Field("Path"))?,
            generation: body
                .number("Generation")
                .ok_or(EnvelopeError::Field("Generation"))?,
            if_idle: body.text("IfIdle").as_deref() == Some("1"),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::NodeCloseReq, cseq);
        message
            .body
            .set("Path", self.path.as_str())
            .set("Generation", self.generation.to_string())
            .set("IfIdle", if self.if_idle { "1" } else { "0" });
        message
    }
}

/// Answer of a node to [`Grant`] or [`Close`]: 200 done, 404 no such stream, 409 not idle or
/// another generation.
pub fn node_ack(request: &Envelope, error: ErrorNum) -> Option<Envelope> {
    let kind = match request.kind()? {
        MessageType::NodeGrantReq => MessageType::NodeGrantAck,
        MessageType::NodeCloseReq => MessageType::NodeCloseAck,
        _ => return None,
    };
    let mut answer = Envelope::answer(kind, &request.cseq(), error);
    answer.body.set("Path", request.body.text_or_empty("Path"));
    Some(answer)
}
