//! What clients and media servers ask the CMS for in JSON.

use super::device::{number_of_channel, serial_of};
use super::{Envelope, EnvelopeError, MessageType, parse_channel};

/// Serial and channel: one stream of one device.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamRef {
    /// The device.
    pub serial: String,
    /// Its channel.
    pub channel: u32,
}

impl StreamRef {
    /// A channel of a device.
    pub fn new(serial: impl Into<String>, channel: u32) -> Self {
        Self {
            serial: serial.into(),
            channel: channel.max(1),
        }
    }
}

impl std::fmt::Display for StreamRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.serial, self.channel)
    }
}

/// `MSG_CS_FREE_STREAM_REQ`: a media server has no viewer for this stream any more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FreeStream {
    /// The stream.
    pub stream: StreamRef,
    /// Generation of the push, from a node of ours. The CMS ignores a lower one than the running.
    pub generation: Option<u64>,
}

impl FreeStream {
    /// A stream without viewers.
    pub fn new(stream: StreamRef, generation: Option<u64>) -> Self {
        Self { stream, generation }
    }

    /// Reads one. An old media server writes `serial/channel` into `Serial`.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::FreeStreamReq)?;
        let body = &message.body;
        let text = body.text_or_empty("Serial");
        let stream = match text.split_once('/') {
            Some((serial, channel)) => {
                super::check_serial(serial).map_err(|_| EnvelopeError::Field("Serial"))?;
                StreamRef::new(serial, parse_channel(Some(channel)))
            }
            None => StreamRef::new(serial_of(body)?, number_of_channel(body)),
        };
        Ok(Self {
            stream,
            generation: body.number("Generation"),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::FreeStreamReq, cseq);
        message
            .header
            .set("AppType", "EasyDarwin")
            .set("TerminalType", "Linux");
        message
            .body
            .set("Serial", self.stream.serial.as_str())
            .set_number("Channel", self.stream.channel)
            .set_some("Generation", self.generation.map(|g| g.to_string()));
        message
    }
}
