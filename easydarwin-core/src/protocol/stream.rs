//! Start and stop of a push.

use super::device::{number_of_channel, serial_of};
use super::{Envelope, EnvelopeError, ErrorNum, Fields, MessageType};

/// `From`, `To`, `Via` of messages that pass through the CMS. Opaque to the device: it swaps
/// `From` and `To` in its answer and keeps `Via`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Who asks.
    pub from: String,
    /// Who is asked.
    pub to: String,
    /// The CMS between them.
    pub via: String,
}

impl Route {
    /// The way back.
    #[must_use]
    pub fn swapped(&self) -> Self {
        Self {
            from: self.to.clone(),
            to: self.from.clone(),
            via: self.via.clone(),
        }
    }

    pub(super) fn read(body: &Fields) -> Self {
        Self {
            from: body.text_or_empty("From"),
            to: body.text_or_empty("To"),
            via: body.text_or_empty("Via"),
        }
    }

    pub(super) fn write(&self, body: &mut Fields) {
        body.set("From", self.from.as_str())
            .set("To", self.to.as_str())
            .set("Via", self.via.as_str());
    }
}

/// `MSG_SD_PUSH_STREAM_REQ`: push this channel to that media server.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushRequest {
    /// The device.
    pub serial: String,
    /// Its channel.
    pub channel: u32,
    /// Quality: 0 smooth, 1 SD, 2 HD, 3 full HD.
    pub reserve: String,
    /// IP literal of the media server.
    pub server_ip: String,
    /// Its RTSP port.
    pub server_port: u16,
    /// Its name for TLS; only to devices that know it.
    pub server_host: Option<String>,
    /// The publish token, sent as `Authorization: Bearer` in ANNOUNCE; only to devices that
    /// listed `token`.
    pub stream_id: Option<String>,
    /// Generation of the push; only to devices that listed `token`.
    pub generation: Option<u64>,
    /// Where the answer goes.
    pub route: Route,
}

impl std::fmt::Debug for PushRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushRequest")
            .field("serial", &self.serial)
            .field("channel", &self.channel)
            .field("server", &(&self.server_ip, self.server_port))
            .field("token", &self.stream_id.is_some())
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl PushRequest {
    /// A push without token.
    pub fn new(
        serial: impl Into<String>,
        channel: u32,
        server_ip: impl Into<String>,
        server_port: u16,
    ) -> Self {
        Self {
            serial: serial.into(),
            channel,
            reserve: "1".into(),
            server_ip: server_ip.into(),
            server_port,
            server_host: None,
            stream_id: None,
            generation: None,
            route: Route::default(),
        }
    }

    /// The RTSP URL to push to.
    pub fn url(&self) -> String {
        let ip = if self.server_ip.bytes().any(|byte| byte == b':')
            && !self.server_ip.starts_with('[')
        {
            format!("[{}]", self.server_ip)
        } else {
            self.server_ip.clone()
        };
        format!(
            "rtsp://{ip}:{}/{}/{}",
            self.server_port, self.serial, self.channel
        )
    }

    /// Reads one; either spelling of the port will do.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::PushStreamReq)?;
        let body = &message.body;
        Ok(Self {
            serial: serial_of(body)?,
            channel: number_of_channel(body),
            reserve: body.non_empty("Reserve").unwrap_or_else(|| "1".into()),
            server_ip: body
                .non_empty("Server_IP")
                .ok_or(EnvelopeError::Field("Server_IP"))?,
            server_port: port_of(body).ok_or(EnvelopeError::Field("Server_PORT"))?,
            server_host: body.non_empty("Server_Host"),
            stream_id: body.non_empty("StreamID"),
            generation: body.number("Generation"),
            route: Route::read(body),
        })
    }

    /// The message with this CSeq. The port is written in both spellings: code since 2016 reads
    /// `Server_PORT`, documents say `Server_Port`.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::PushStreamReq, cseq);
        let port = self.server_port.to_string();
        let body = &mut message.body;
        body.set("Serial", self.serial.as_str())
            .set_number("Channel", self.channel)
            .set("Protocol", "RTSP")
            .set("Reserve", self.reserve.as_str())
            .set("Server_IP", self.server_ip.as_str())
            .set("Server_PORT", port.as_str())
            .set("Server_Port", port)
            .set_some("Server_Host", self.server_host.as_deref())
            .set_some("StreamID", self.stream_id.as_deref())
            .set_some("Generation", self.generation.map(|g| g.to_string()));
        self.route.write(body);
        message
    }
}

fn port_of(body: &Fields) -> Option<u16> {
    body.number("Server_PORT")
        .or_else(|| body.number("Server_Port"))
}

/// `MSG_DS_PUSH_STREAM_ACK`: the push has been started (not: media flows).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushAck {
    /// Result.
    pub error: ErrorNum,
    /// The device.
    pub serial: String,
    /// Its channel.
    pub channel: u32,
    /// Where the device really pushes to. An old device that is pushing already names its first
    /// target and ignores the new one.
    pub server_ip: String,
    /// Port of that server.
    pub server_port: Option<u16>,
    /// As asked.
    pub reserve: String,
    /// The way back.
    pub route: Route,
}

impl PushAck {
    /// The answer of a device to a request.
    pub fn answer(request: &PushRequest, error: ErrorNum) -> Self {
        Self {
            error,
            serial: request.serial.clone(),
            channel: request.channel,
            server_ip: request.server_ip.clone(),
            server_port: Some(request.server_port),
            reserve: request.reserve.clone(),
            route: request.route.swapped(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is none or has no `ErrorNum`.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::PushStreamAck)?;
        let body = &message.body;
        Ok(Self {
            error: message.error().ok_or(EnvelopeError::Field("ErrorNum"))?,
            serial: body.text_or_empty("Serial"),
            channel: number_of_channel(body),
            server_ip: body.text_or_empty("Server_IP"),
            server_port: port_of(body),
            reserve: body.text_or_empty("Reserve"),
            route: Route::read(body),
        })
    }

    /// The message, answering a request with this CSeq.
    pub fn to_envelope(&self, cseq: &str) -> Envelope {
        let mut message = Envelope::answer(MessageType::PushStreamAck, cseq, self.error);
        let body = &mut message.body;
        body.set("Serial", self.serial.as_str())
            .set_number("Channel", self.channel)
            .set("Protocol", "RTSP")
            .set("Reserve", self.reserve.as_str())
            .set("Server_IP", self.server_ip.as_str())
            .set_some("Server_PORT", self.server_port.map(|p| p.to_string()));
        self.route.write(body);
        message
    }
}

/// `MSG_SD_STREAM_STOP_REQ`: stop pushing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopRequest {
    /// The device.
    pub serial: String,
    /// Its channel.
    pub channel: u32,
    /// Quality, as in the push request.
    pub reserve: String,
    /// Where the answer goes.
    pub route: Route,
}

impl StopRequest {
    /// A stop of this channel.
    pub fn new(serial: impl Into<String>, channel: u32) -> Self {
        Self {
            serial: serial.into(),
            channel,
            reserve: "1".into(),
            route: Route::default(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::StopStreamReq)?;
        let body = &message.body;
        Ok(Self {
            serial: serial_of(body)?,
            channel: number_of_channel(body),
            reserve: body.text_or_empty("Reserve"),
            route: Route::read(body),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::StopStreamReq, cseq);
        let body = &mut message.body;
        body.set("Serial", self.serial.as_str())
            .set_number("Channel", self.channel)
            .set("Protocol", "RTSP")
            .set("Reserve", self.reserve.as_str());
        self.route.write(body);
        message
    }
}

/// `MSG_DS_STREAM_STOP_ACK`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopAck {
    /// Result.
    pub error: ErrorNum,
    /// The device.
    pub serial: String,
    /// Its channel.
    pub channel: u32,
    /// The way back.
    pub route: Route,
}

impl StopAck {
    /// The answer of a device to a request.
    pub fn answer(request: &StopRequest, error: ErrorNum) -> Self {
        Self {
            error,
            serial: request.serial.clone(),
            channel: request.channel,
            route: request.route.swapped(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is none or has no `ErrorNum`.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::StopStreamAck)?;
        let body = &message.body;
        Ok(Self {
            error: message.error().ok_or(EnvelopeError::Field("ErrorNum"))?,
            serial: body.text_or_empty("Serial"),
            channel: number_of_channel(body),
            route: Route::read(body),
        })
    }

    /// The message, answering a request with this CSeq.
    pub fn to_envelope(&self, cseq: &str) -> Envelope {
        let mut message = Envelope::answer(MessageType::StopStreamAck, cseq, self.error);
        let body = &mut message.body;
        body.set("Serial", self.serial.as_str())
            .set_number("Channel", self.channel)
            .set("Protocol", "RTSP");
        self.route.write(body);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_request_has_both_spellings_of_the_port_and_survives_the_wire() {
        let mut push = PushRequest::new("cam", 2, "192.0.2.5", 10554);
        push.route = Route {
            from: "client".into(),
            to: "device".into(),
            via: "cms".into(),
        };
        push.stream_id = Some("token".into());
        push.generation = Some(7);
        let message = push.to_envelope(5);
        for key in ["Server_PORT", "Server_Port"] {
            assert_eq!(message.body.text_or_empty(key), "10554");
        }
        let parsed = Envelope::parse(message.to_json().as_bytes()).unwrap();
        assert_eq!(PushRequest::from_envelope(&parsed).unwrap(), push);
        assert_eq!(push.url(), "rtsp://192.0.2.5:10554/cam/2");

        let ack = PushAck::answer(&push, ErrorNum::OK).to_envelope("5");
        let ack = PushAck::from_envelope(&ack).unwrap();
        assert_eq!(ack.route.to, "client");
        assert_eq!(ack.server_port, Some(10554));
    }

    #[test]
    fn the_documented_port_name_and_a_numeric_port_will_do() {
        let json = br#"{"EasyDarwin":{"Header":{"MessageType":"MSG_SD_PUSH_STREAM_REQ"},"Body":{"Serial":"a","Server_IP":"::1","Server_Port":554}}}"#;
        let push = PushRequest::from_envelope(&Envelope::parse(json).unwrap()).unwrap();
        assert_eq!(push.url(), "rtsp://[::1]:554/a/1");
    }
}
