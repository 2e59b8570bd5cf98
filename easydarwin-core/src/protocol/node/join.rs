//! How a node joins.

use super::super::{Envelope, EnvelopeError, ErrorNum, Fields, MessageType, check_serial};

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
    /// RTSP over TLS, if the node serves it.
    pub rtsps: Option<u16>,
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
            rtsps: None,
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
            rtsps: fields.number("RTSPS"),
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
            .set_some("RTSPS", self.rtsps.map(|p| p.to_string()))
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
        check_serial(&node).map_err(|_| EnvelopeError::Field("Node"))?;
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
