//! What a node reports.

use super::super::{Envelope, EnvelopeError, ErrorNum, Fields, MessageType};

/// One stream that a node has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStream {
    /// Path without leading slash, `<serial>/<channel>` for devices.
    pub path: String,
    /// Generation of its publisher; 0 when nobody gave one.
    pub generation: u64,
    /// Viewers on all doors of the node.
    pub viewers: u32,
    /// Whether a key frame has come, so that viewers get a picture.
    pub ready: bool,
    /// Who publishes, for people.
    pub publisher: String,
}

impl NodeStream {
    /// A stream of this generation.
    pub fn new(path: impl Into<String>, generation: u64) -> Self {
        Self {
            path: path.into(),
            generation,
            viewers: 0,
            ready: false,
            publisher: String::new(),
        }
    }

    fn read(fields: &Fields) -> Option<Self> {
        Some(Self {
            path: fields.non_empty("Path")?,
            generation: fields.number("Generation").unwrap_or(0),
            viewers: fields.number("Viewers").unwrap_or(0),
            ready: fields.text("Ready").as_deref() == Some("1"),
            publisher: fields.text_or_empty("Publisher"),
        })
    }

    fn write(&self) -> Fields {
        let mut fields = Fields::new();
        fields
            .set("Path", self.path.as_str())
            .set("Generation", self.generation.to_string())
            .set("Viewers", self.viewers.to_string())
            .set("Ready", if self.ready { "1" } else { "0" })
            .set("Publisher", self.publisher.as_str());
        fields
    }
}

/// `MSG_NS_REPORT_REQ`: the beat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How busy the node is, in thousandths of its capacity.
    pub load_permille: u32,
    /// Streams it has.
    pub streams: u32,
    /// Viewers it has.
    pub viewers: u32,
    /// The node's own wall clock in milliseconds since 1970, to show how wrong it is.
    pub clock_ms: Option<u64>,
    /// All of its streams; `None` when unchanged in kind since the last full list.
    pub inventory: Option<Vec<NodeStream>>,
}

impl Report {
    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is none.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::NodeReport)?;
        let body = &message.body;
        let full = body.text("Full").as_deref() == Some("1");
        Ok(Self {
            load_permille: body.number("Load").unwrap_or(0),
            streams: body.number("StreamCount").unwrap_or(0),
            viewers: body.number("ViewerCount").unwrap_or(0),
            clock_ms: body.number("Clock"),
            inventory: full.then(|| {
                body.list("Streams")
                    .iter()
                    .filter_map(NodeStream::read)
                    .collect()
            }),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::NodeReport, cseq);
        let body = &mut message.body;
        body.set("Load", self.load_permille.to_string())
            .set("StreamCount", self.streams.to_string())
            .set("ViewerCount", self.viewers.to_string())
            .set_some("Clock", self.clock_ms.map(|clock| clock.to_string()));
        if let Some(streams) = &self.inventory {
            body.set("Full", "1")
                .set_list("Streams", streams.iter().map(NodeStream::write).collect());
        }
        message
    }
}

/// `MSG_SN_REPORT_ACK`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportAck {
    /// 604: the CMS does not know this connection as a joined node; join again.
    pub error: ErrorNum,
    /// The CMS's clock in milliseconds since 1970.
    pub time_ms: u64,
    /// The CMS's boot epoch.
    pub epoch: u32,
    /// The next report shall carry the inventory.
    pub want_inventory: bool,
}

impl ReportAck {
    /// An answer.
    pub fn new(error: ErrorNum, time_ms: u64, epoch: u32, want_inventory: bool) -> Self {
        Self {
            error,
            time_ms,
            epoch,
            want_inventory,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is none or has no `ErrorNum`.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::NodeReportAck)?;
        Ok(Self {
            error: message.error().ok_or(EnvelopeError::Field("ErrorNum"))?,
            time_ms: message.body.number("Time").unwrap_or(0),
            epoch: message.body.number("Epoch").unwrap_or(0),
            want_inventory: message.body.text("Inventory").as_deref() == Some("1"),
        })
    }

    /// The message, answering a request with this CSeq.
    pub fn to_envelope(&self, cseq: &str) -> Envelope {
        let mut message = Envelope::answer(MessageType::NodeReportAck, cseq, self.error);
        message
            .body
            .set("Time", self.time_ms.to_string())
            .set("Epoch", self.epoch.to_string())
            .set("Inventory", if self.want_inventory { "1" } else { "0" });
        message
    }
}

/// What happened to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamChange {
    /// A publisher is there (RECORD was answered).
    Published,
    /// Its first key frame has come: viewers get a picture.
    Ready,
    /// The publisher is gone.
    Ended,
}

impl StreamChange {
    fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Ready => "ready",
            Self::Ended => "ended",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Published, Self::Ready, Self::Ended]
            .into_iter()
            .find(|c| c.as_str() == text)
    }
}

/// `MSG_NS_EVENT_REQ`: sent at once, not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeEvent {
    /// What happened.
    pub change: StreamChange,
    /// To which stream.
    pub stream: NodeStream,
    /// Why, for people; of an end.
    pub reason: String,
}

impl NodeEvent {
    /// An event without reason.
    pub fn new(change: StreamChange, stream: NodeStream) -> Self {
        Self {
            change,
            stream,
            reason: String::new(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::NodeEvent)?;
        let body = &message.body;
        Ok(Self {
            change: StreamChange::parse(&body.text_or_empty("Event"))
                .ok_or(EnvelopeError::Field("Event"))?,
            stream: NodeStream::read(body).ok_or(EnvelopeError::Field("Path"))?,
            reason: body.text_or_empty("Reason"),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::NodeEvent, cseq);
        message.body = self.stream.write();
        message
            .body
            .set("Event", self.change.as_str())
            .set("Reason", self.reason.as_str());
        message
    }
}
