//! Messages of devices: register.

use super::{
    ClockQuality, Envelope, EnvelopeError, ErrorNum, Ext, Fields, MessageType, check_serial,
    parse_channel,
};

/// What kind of device registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AppType {
    /// One camera, one channel.
    EasyCamera,
    /// A recorder with channels.
    EasyNvr,
}

impl AppType {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EasyCamera => "EasyCamera",
            Self::EasyNvr => "EasyNVR",
        }
    }

    /// Reads it in any case; `Camera` is what the first generation wrote.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "easycamera" | "camera" => Some(Self::EasyCamera),
            "easynvr" => Some(Self::EasyNvr),
            _ => None,
        }
    }
}

/// What a device runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TerminalType {
    /// `ARM_Linux`.
    ArmLinux,
    /// `Android`.
    Android,
    /// `IOS`.
    Ios,
    /// `WEB`.
    Web,
    /// `Windows`.
    Windows,
    /// `Linux`.
    Linux,
    /// `Camera`: what the first generation wrote.
    Camera,
}

impl TerminalType {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ArmLinux => "ARM_Linux",
            Self::Android => "Android",
            Self::Ios => "IOS",
            Self::Web => "WEB",
            Self::Windows => "Windows",
            Self::Linux => "Linux",
            Self::Camera => "Camera",
        }
    }

    /// Reads it in any case; documents and clients write `PC` for Windows.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "arm_linux" => Some(Self::ArmLinux),
            "android" => Some(Self::Android),
            "ios" => Some(Self::Ios),
            "web" => Some(Self::Web),
            "windows" | "pc" => Some(Self::Windows),
            "linux" => Some(Self::Linux),
            "camera" | "easycamera" => Some(Self::Camera),
            _ => None,
        }
    }
}

/// A channel of a recorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInfo {
    /// Its number, 1 to 64.
    pub channel: u32,
    /// Its name.
    pub name: String,
    /// Whether the camera behind it is there.
    pub online: bool,
}

/// `MSG_DS_REGISTER_REQ`: sent when the connection is made, and each 30 s from then on.
///
/// A device proves who it is either with `Token` (old devices, plain text) or with the ED1
/// exchange: `Auth` and `ClientNonce`, then the same with `Proof`. Keep-alives after an ED1
/// login carry neither: the connection holds the lease.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Register {
    /// `[A-Za-z0-9_-]{1,64}`.
    pub serial: String,
    /// Shown to people.
    pub name: String,
    /// Free text for grouping.
    pub tag: String,
    /// Kind of device.
    pub app_type: AppType,
    /// What it runs on.
    pub terminal_type: TerminalType,
    /// `TerminalType` as the device wrote it, for showing.
    pub terminal_text: String,
    /// Plain secret of an old device.
    pub token: Option<String>,
    /// Channels of a recorder.
    pub channels: Vec<ChannelInfo>,
    /// What the device can do beyond the old protocol.
    pub ext: Ext,
    /// `Auth`: `ED1`.
    pub auth: Option<String>,
    /// `ClientNonce` of ED1.
    pub client_nonce: Option<String>,
    /// `Nonce` of the CMS, repeated with the proof.
    pub nonce: Option<String>,
    /// `Proof` of ED1.
    pub proof: Option<String>,
    /// `ClockQuality`: how well the device knows what time it is.
    pub clock_quality: Option<ClockQuality>,
}

impl std::fmt::Debug for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Register")
            .field("serial", &self.serial)
            .field("name", &self.name)
            .field("tag", &self.tag)
            .field("app_type", &self.app_type)
            .field("terminal", &self.terminal_text)
            .field("token", &self.token.is_some())
            .field("channels", &self.channels)
            .field("ext", &self.ext)
            .field("auth", &self.auth)
            .field("proof", &self.proof.is_some())
            .finish_non_exhaustive()
    }
}

/// Most channels that one device may have.
const MAX_CHANNELS: usize = 64;

impl Register {
    /// A register without secret, name or channels.
    pub fn new(serial: impl Into<String>, app_type: AppType, terminal_type: TerminalType) -> Self {
        Self {
            serial: serial.into(),
            name: String::new(),
            tag: String::new(),
            app_type,
            terminal_type,
            terminal_text: terminal_type.as_str().to_owned(),
            token: None,
            channels: Vec::new(),
            ext: Ext::default(),
            auth: None,
            client_nonce: None,
            nonce: None,
            proof: None,
            clock_quality: None,
        }
    }

    /// Reads and checks one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing or not valid.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::RegisterReq)?;
        let (header, body) = (&message.header, &message.body);
        let app_type = AppType::parse(&header.text_or_empty("AppType"))
            .ok_or(EnvelopeError::Field("AppType"))?;
        let terminal_text = header.text_or_empty("TerminalType");
        let terminal_type =
            TerminalType::parse(&terminal_text).ok_or(EnvelopeError::Field("TerminalType"))?;
        let channels = body.list("Channels");
        if channels.len() > MAX_CHANNELS {
            return Err(EnvelopeError::Field("Channels"));
        }
        Ok(Self {
            serial: serial_of(body)?,
            name: body.text_or_empty("Name"),
            tag: body.text_or_empty("Tag"),
            app_type,
            terminal_type,
            terminal_text,
            token: body.text("Token").map(Into::into),
            channels: channels.iter().filter_map(channel_of).collect(),
            ext: Ext::parse(&body.text_or_empty("Ext")),
            auth: body.non_empty("Auth"),
            client_nonce: body.non_empty("ClientNonce"),
            nonce: body.non_empty("Nonce"),
            proof: body.non_empty("Proof"),
            clock_quality: body
                .text("ClockQuality")
                .and_then(|text| ClockQuality::parse(&text)),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::RegisterReq, cseq);
        message
            .header
            .set("AppType", self.app_type.as_str())
            .set("TerminalType", self.terminal_text.as_str());
        let channels: Vec<Fields> = self.channels.iter().map(channel_fields).collect();
        let body = &mut message.body;
        body.set("Serial", self.serial.as_str())
            .set("Name", self.name.as_str())
            .set("Tag", self.tag.as_str())
            .set_some("Token", self.token.as_deref())
            .set_some("Auth", self.auth.as_deref())
            .set_some("ClientNonce", self.client_nonce.as_deref())
            .set_some("Nonce", self.nonce.as_deref())
            .set_some("Proof", self.proof.as_deref())
            .set_some("ClockQuality", self.clock_quality.map(ClockQuality::as_str));
        if !self.ext.is_empty() {
            body.set("Ext", self.ext.to_string());
        }
        if self.app_type == AppType::EasyNvr {
            body.set("ChannelCount", channels.len().to_string());
            body.set_list("Channels", channels);
        }
        message
    }
}

fn channel_of(fields: &Fields) -> Option<ChannelInfo> {
    let channel = fields.number::<u32>("Channel")?.max(1);
    Some(ChannelInfo {
        channel: (channel <= 64).then_some(channel)?,
        name: fields.text_or_empty("Name"),
        online: fields
            .text_or_empty("Status")
            .eq_ignore_ascii_case("online"),
    })
}

fn channel_fields(channel: &ChannelInfo) -> Fields {
    let mut fields = Fields::new();
    fields
        .set_number("Channel", channel.channel)
        .set("Name", channel.name.as_str())
        .set("Status", if channel.online { "online" } else { "offline" });
    fields
}

/// `Channel` as a number.
pub(super) fn number_of_channel(body: &Fields) -> u32 {
    parse_channel(body.text("Channel").as_deref())
}

pub(super) fn serial_of(body: &Fields) -> Result<String, EnvelopeError> {
    let serial = body.text_or_empty("Serial");
    check_serial(&serial).map_err(|_| EnvelopeError::Field("Serial"))?;
    Ok(serial)
}

/// `MSG_SD_REGISTER_ACK`.
///
/// An old device looks at `ErrorNum` alone; everything else is for devices that log in with ED1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisterAck {
    /// Result. 401 with a `nonce` is the challenge of ED1, without one a refusal.
    pub error: ErrorNum,
    /// The device's serial.
    pub serial: String,
    /// `Nonce`: the CMS's challenge.
    pub nonce: Option<String>,
    /// `ServerProof`: shows that the CMS knows the device's key, too.
    pub server_proof: Option<String>,
    /// `Time`: the CMS's clock in milliseconds since 1970.
    pub time_ms: Option<u64>,
    /// `Generation` of the lease.
    pub generation: Option<u64>,
    /// `KeepAlive`: seconds between two registers.
    pub keep_alive_s: Option<u64>,
    /// `RetryAfter`: seconds to wait before the next try, with any refusal.
    pub retry_after_s: Option<u64>,
    /// `Redirect`: `host:port` of the CMS to go to.
    pub redirect: Option<String>,
    /// What the CMS can do beyond the old protocol.
    pub ext: Ext,
}

impl RegisterAck {
    /// An answer with nothing but a result.
    pub fn new(serial: impl Into<String>, error: ErrorNum) -> Self {
        Self {
            error,
            serial: serial.into(),
            nonce: None,
            server_proof: None,
            time_ms: None,
            generation: None,
            keep_alive_s: None,
            retry_after_s: None,
            redirect: None,
            ext: Ext::default(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is no register ack or has no `ErrorNum`.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::RegisterAck)?;
        let body = &message.body;
        Ok(Self {
            error: message.error().ok_or(EnvelopeError::Field("ErrorNum"))?,
            serial: body.text_or_empty("Serial"),
            nonce: body.non_empty("Nonce"),
            server_proof: body.non_empty("ServerProof"),
            time_ms: body.number("Time"),
            generation: body.number("Generation"),
            keep_alive_s: body.number("KeepAlive"),
            retry_after_s: body.number("RetryAfter"),
            redirect: body.non_empty("Redirect"),
            ext: Ext::parse(&body.text_or_empty("Ext")),
        })
    }

    /// The message, answering a request with this CSeq.
    pub fn to_envelope(&self, cseq: &str) -> Envelope {
        let mut message = Envelope::answer(MessageType::RegisterAck, cseq, self.error);
        let number = |n: Option<u64>| n.map(|n| n.to_string());
        message
            .body
            .set("Serial", self.serial.as_str())
            .set_some("Nonce", self.nonce.as_deref())
            .set_some("ServerProof", self.server_proof.as_deref())
            .set_some("Time", number(self.time_ms))
            .set_some("Generation", number(self.generation))
            .set_some("KeepAlive", number(self.keep_alive_s))
            .set_some("RetryAfter", number(self.retry_after_s))
            .set_some("Redirect", self.redirect.as_deref());
        if !self.ext.is_empty() {
            message.body.set("Ext", self.ext.to_string());
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_old_protocol_comes_through() {
        let mut register = Register::new("cam", AppType::EasyCamera, TerminalType::Linux);
        for quality in [None, Some(ClockQuality::Unset), Some(ClockQuality::Ntp)] {
            register.clock_quality = quality;
            let read = Register::from_envelope(&register.to_envelope(1)).unwrap();
            assert_eq!(read, register);
        }
        let mut odd = register.to_envelope(1);
        odd.body.set("ClockQuality", "sundial");
        assert_eq!(
            Register::from_envelope(&odd).unwrap().clock_quality,
            None,
            "what a newer device says of its clock is no reason to refuse it"
        );

        let mut ack = RegisterAck::new("cam", ErrorNum::MOVED);
        ack.retry_after_s = Some(7);
        ack.redirect = Some("cms2.example:10000".into());
        let read = RegisterAck::from_envelope(&ack.to_envelope("1")).unwrap();
        assert_eq!(read, ack);
        let old = RegisterAck::new("cam", ErrorNum::OK).to_envelope("1");
        assert!(!old.body.contains("Redirect") && !old.body.contains("RetryAfter"));
    }
}
