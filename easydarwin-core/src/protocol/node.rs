//! Messages between a media node and its CMS: our own, in the same framing and envelope.
//!
//! The node keeps one connection to the CMS's port. It joins with a proof of the join key
//! (the exchange of [`login`](super::login)), then
//!
//! - reports its load each beat, the first time with its whole inventory (also when the CMS
//!   asks for it in an answer), which is the truth for the CMS;
//! - tells at once what happens to a stream ([`NodeEvent`]);
//! - asks for streams that viewers want from it ([`Demand`]), and tells when nobody watches
//!   ([`FreeStream`](super::FreeStream));
//! - executes [`Grant`] and [`Close`].

use std::net::IpAddr;

use super::{Envelope, EnvelopeError, ErrorNum, Fields, MessageType};

/// Serial under which a node's proof is made.
pub fn node_serial(node: &str) -> String {
    format!("node:{node}")
}

/// Where a node can be reached by those who live in certain networks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// `lan`, `wan` or any other name; `wan` is what everybody gets for whom none fits.
    pub name: String,
    /// Networks whose peers use it, such as `10.0.0.0/8`; empty for `wan`.
    pub cidrs: Vec<String>,
    /// Host of all URLs: a name or an IP literal.
    pub host: String,
    /// RTSP port.
    pub rtsp: u16,
    /// HTTP port, if the node serves HTTP.
    pub http: Option<u16>,
}

impl Endpoint {
    /// An endpoint for everybody.
    pub fn wan(host: impl Into<String>, rtsp: u16, http: Option<u16>) -> Self {
        Self {
            name: "wan".into(),
            cidrs: Vec::new(),
            host: host.into(),
            rtsp,
            http,
        }
    }

    fn read(fields: &Fields) -> Option<Self> {
        Some(Self {
            name: fields.text_or_empty("Name"),
            cidrs: fields
                .text_or_empty("Cidrs")
                .split(',')
                .filter(|c| !c.is_empty())
                .map(str::to_owned)
                .collect(),
            host: fields.non_empty("Host")?,
            rtsp: fields.number("RTSP")?,
            http: fields.number("HTTP"),
        })
    }

    fn write(&self) -> Fields {
        let mut fields = Fields::new();
        fields
            .set("Name", self.name.as_str())
            .set("Cidrs", self.cidrs.join(","))
            .set("Host", self.host.as_str())
            .set("RTSP", self.rtsp.to_string())
            .set_some("HTTP", self.http.map(|p| p.to_string()));
        fields
    }
}

/// `MSG_NS_JOIN_REQ`. Sent twice: without and with `proof`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Join {
    /// The node's id, `[A-Za-z0-9_-]{1,64}`, stable over restarts.
    pub node: String,
    /// The node's nonce.
    pub client_nonce: String,
    /// The CMS's nonce, repeated with the proof.
    pub nonce: Option<String>,
    /// The proof of the join key.
    pub proof: Option<String>,
    /// Where the node can be reached.
    pub endpoints: Vec<Endpoint>,
    /// Most streams that it will take; 0: no limit stated.
    pub capacity: u32,
    /// Version of the program, for people.
    pub version: String,
}

impl Join {
    /// A first message.
    pub fn new(
        node: impl Into<String>,
        client_nonce: impl Into<String>,
        endpoints: Vec<Endpoint>,
    ) -> Self {
        Self {
            node: node.into(),
            client_nonce: client_nonce.into(),
            nonce: None,
            proof: None,
            endpoints,
            capacity: 0,
            version: String::new(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing or not valid.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::NodeJoinReq)?;
        let body = &message.body;
        let node = body.text_or_empty("Node");
        super::check_serial(&node).map_err(|_| EnvelopeError::Field("Node"))?;
        Ok(Self {
            node,
            client_nonce: body
                .non_empty("ClientNonce")
                .ok_or(EnvelopeError::Field("ClientNonce"))?,
            nonce: body.non_empty("Nonce"),
            proof: body.non_empty("Proof"),
            endpoints: body
                .list("Endpoints")
                .iter()
                .filter_map(Endpoint::read)
                .collect(),
            capacity: body.number("Capacity").unwrap_or(0),
            version: body.text_or_empty("NodeVersion"),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::NodeJoinReq, cseq);
        message
            .body
            .set("Node", self.node.as_str())
            .set("ClientNonce", self.client_nonce.as_str())
            .set_some("Nonce", self.nonce.as_deref())
            .set_some("Proof", self.proof.as_deref())
            .set("Capacity", self.capacity.to_string())
            .set("NodeVersion", self.version.as_str())
            .set_list(
                "Endpoints",
                self.endpoints.iter().map(Endpoint::write).collect(),
            );
        message
    }
}

/// A public key with which the CMS signs tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// Which one.
    pub kid: String,
    /// The Ed25519 key in base64url.
    pub key: String,
}

/// `MSG_SN_JOIN_ACK`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinAck {
    /// 401 with a nonce is the challenge, without one a refusal.
    pub error: ErrorNum,
    /// The challenge.
    pub nonce: Option<String>,
    /// Shows that the CMS knows the join key, too.
    pub server_proof: Option<String>,
    /// Keys to check tokens with.
    pub keys: Vec<TokenKey>,
    /// The CMS's clock in milliseconds since 1970.
    pub time_ms: u64,
    /// The CMS's boot epoch: another one means that it was restarted.
    pub epoch: u32,
    /// Milliseconds between two reports.
    pub beat_ms: u64,
    /// Milliseconds of silence after which the node counts as dead.
    pub lease_ms: u64,
}

impl JoinAck {
    /// An answer with nothing but a result.
    pub fn new(error: ErrorNum) -> Self {
        Self {
            error,
            nonce: None,
            server_proof: None,
            keys: Vec::new(),
            time_ms: 0,
            epoch: 0,
            beat_ms: 0,
            lease_ms: 0,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is none or has no `ErrorNum`.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::NodeJoinAck)?;
        let body = &message.body;
        Ok(Self {
            error: message.error().ok_or(EnvelopeError::Field("ErrorNum"))?,
            nonce: body.non_empty("Nonce"),
            server_proof: body.non_empty("ServerProof"),
            keys: body
                .list("Keys")
                .iter()
                .filter_map(|k| {
                    Some(TokenKey {
                        kid: k.non_empty("Kid")?,
                        key: k.non_empty("Key")?,
                    })
                })
                .collect(),
            time_ms: body.number("Time").unwrap_or(0),
            epoch: body.number("Epoch").unwrap_or(0),
            beat_ms: body.number("Beat").unwrap_or(0),
            lease_ms: body.number("Lease").unwrap_or(0),
        })
    }

    /// The message, answering a request with this CSeq.
    pub fn to_envelope(&self, cseq: &str) -> Envelope {
        let mut message = Envelope::answer(MessageType::NodeJoinAck, cseq, self.error);
        let keys = self.keys.iter().map(|key| {
            let mut fields = Fields::new();
            fields
                .set("Kid", key.kid.as_str())
                .set("Key", key.key.as_str());
            fields
        });
        message
            .body
            .set_some("Nonce", self.nonce.as_deref())
            .set_some("ServerProof", self.server_proof.as_deref())
            .set("Time", self.time_ms.to_string())
            .set("Epoch", self.epoch.to_string())
            .set("Beat", self.beat_ms.to_string())
            .set("Lease", self.lease_ms.to_string())
            .set_list("Keys", keys.collect());
        message
    }
}

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
            .set("ViewerCount", self.viewers.to_string());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn over_the_wire(message: &Envelope) -> Envelope {
        Envelope::parse(message.to_json().as_bytes()).unwrap()
    }

    #[test]
    fn every_node_message_survives_the_wire() {
        let mut endpoint = Endpoint::wan("media.example", 10554, Some(10080));
        endpoint.cidrs = vec!["10.0.0.0/8".into(), "fd00::/8".into()];
        let mut join = Join::new("n1", "nonce", vec![endpoint]);
        join.proof = Some("p".into());
        assert_eq!(
            Join::from_envelope(&over_the_wire(&join.to_envelope(1))).unwrap(),
            join
        );

        let mut ack = JoinAck::new(ErrorNum::OK);
        ack.keys.push(TokenKey {
            kid: "k".into(),
            key: "v".into(),
        });
        (ack.time_ms, ack.epoch, ack.beat_ms, ack.lease_ms) = (1, 2, 2000, 6000);
        assert_eq!(
            JoinAck::from_envelope(&over_the_wire(&ack.to_envelope("1"))).unwrap(),
            ack
        );

        let mut stream = NodeStream::new("cam/1", u64::MAX);
        stream.ready = true;
        let report = Report {
            load_permille: 5,
            streams: 1,
            viewers: 0,
            inventory: Some(vec![stream.clone()]),
        };
        assert_eq!(
            Report::from_envelope(&over_the_wire(&report.to_envelope(2))).unwrap(),
            report
        );
        let empty = Report {
            inventory: Some(vec![]),
            ..Report::default()
        };
        assert_eq!(
            Report::from_envelope(&over_the_wire(&empty.to_envelope(2))).unwrap(),
            empty
        );

        let event = NodeEvent::new(StreamChange::Ready, stream);
        assert_eq!(
            NodeEvent::from_envelope(&over_the_wire(&event.to_envelope(3))).unwrap(),
            event
        );

        let grant = Grant::new("cam/1", 9, Some([127, 0, 0, 1].into()), 30);
        let wire = over_the_wire(&grant.to_envelope(4));
        assert_eq!(Grant::from_envelope(&wire).unwrap(), grant);
        assert_eq!(node_ack(&wire, ErrorNum::OK).unwrap().cseq(), "4");

        let close = Close::new("cam/1", 9, true);
        assert_eq!(
            Close::from_envelope(&over_the_wire(&close.to_envelope(5))).unwrap(),
            close
        );
    }
}
