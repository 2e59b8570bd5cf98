//! PTZ, presets and talkback towards the device, and the answer to every command.

use super::device::{number_of_channel, serial_of};
use super::{Envelope, EnvelopeError, ErrorNum, MessageType, Route};

/// `MSG_SD_CONTROL_PTZ_REQ`: move, zoom, focus, aperture. Values are upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PtzRequest {
    /// The device.
    pub serial: String,
    /// Its channel.
    pub channel: u32,
    /// `ONVIF` or `SDK`.
    pub protocol: String,
    /// Passed through.
    pub reserve: String,
    /// `CONTINUOUS` or `SINGLE`.
    pub action_type: String,
    /// `STOP`, `UP`, `DOWN`, `LEFT`, `RIGHT`, `ZOOMIN`, …
    pub command: String,
    /// As the client wrote it.
    pub speed: String,
    /// Where the answer goes.
    pub route: Route,
}

/// `MSG_SD_CONTROL_PRESET_REQ`. Values are upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetRequest {
    /// The device.
    pub serial: String,
    /// Its channel.
    pub channel: u32,
    /// `ONVIF` or `SDK`.
    pub protocol: String,
    /// Passed through.
    pub reserve: String,
    /// `GOTO`, `SET` or `REMOVE`.
    pub command: String,
    /// Number of the preset.
    pub preset: String,
    /// Where the answer goes.
    pub route: Route,
}

/// `MSG_SD_CONTROL_TALKBACK_REQ`: sound for the device's speaker.
#[derive(Clone, PartialEq, Eq)]
pub struct TalkbackRequest {
    /// The device.
    pub serial: String,
    /// Its channel.
    pub channel: u32,
    /// `SDK`.
    pub protocol: String,
    /// Passed through.
    pub reserve: String,
    /// `START`, `SENDDATA` or `STOP`.
    pub command: String,
    /// `G711A`, `G711U` or `G726`.
    pub audio_type: String,
    /// Base64.
    pub audio_data: String,
    /// Milliseconds since the start.
    pub pts: String,
    /// Where the answer goes.
    pub route: Route,
}

impl std::fmt::Debug for TalkbackRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TalkbackRequest")
            .field("serial", &self.serial)
            .field("channel", &self.channel)
            .field("command", &self.command)
            .field("audio_type", &self.audio_type)
            .field("audio_len", &self.audio_data.len())
            .finish_non_exhaustive()
    }
}

macro_rules! control_message {
    ($name:ident, $kind:ident, { $($field:ident : $key:literal),* $(,)? }) => {
        impl $name {
            /// Reads one.
            ///
            /// # Errors
            /// [`EnvelopeError`] names the field that is missing.
            pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
                message.expect(MessageType::$kind)?;
                let body = &message.body;
                Ok(Self {
                    serial: serial_of(body)?,
                    channel: number_of_channel(body),
                    $($field: body.text_or_empty($key),)*
                    route: Route::read(body),
                })
            }

            /// The message with this CSeq.
            pub fn to_envelope(&self, cseq: u32) -> Envelope {
                let mut message = Envelope::request(MessageType::$kind, cseq);
                let body = &mut message.body;
                body.set("Serial", self.serial.as_str())
                    .set_number("Channel", self.channel)
                    $(.set($key, self.$field.as_str()))*;
                self.route.write(body);
                message
            }
        }
    };
}

control_message!(PtzRequest, ControlPtzReq, {
    protocol: "Protocol", reserve: "Reserve", action_type: "ActionType",
    command: "Command", speed: "Speed",
});
control_message!(PresetRequest, ControlPresetReq, {
    protocol: "Protocol", reserve: "Reserve", command: "Command", preset: "Preset",
});
control_message!(TalkbackRequest, ControlTalkbackReq, {
    protocol: "Protocol", reserve: "Reserve", command: "Command",
    audio_type: "AudioType", audio_data: "AudioData", pts: "Pts",
});

/// The device's answer to a command: to one of these three, to a reboot, a configuration, a request
/// for a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlAck {
    /// Which of the acks.
    pub kind: MessageType,
    /// Result.
    pub error: ErrorNum,
    /// The device.
    pub serial: String,
    /// Its channel.
    pub channel: u32,
    /// As asked.
    pub protocol: String,
    /// As asked.
    pub reserve: String,
    /// The way back.
    pub route: Route,
}

impl ControlAck {
    /// The ack's name for a control request's name.
    pub fn kind_for(request: MessageType) -> Option<MessageType> {
        match request {
            MessageType::ControlPtzReq => Some(MessageType::ControlPtzAck),
            MessageType::ControlPresetReq => Some(MessageType::ControlPresetAck),
            MessageType::ControlTalkbackReq => Some(MessageType::ControlTalkbackAck),
            MessageType::RebootReq => Some(MessageType::RebootAck),
            MessageType::ConfigReq => Some(MessageType::ConfigAck),
            MessageType::SnapshotReq => Some(MessageType::SnapshotReqAck),
            _ => None,
        }
    }

    /// The answer to a control request of any kind, `None` when it is none.
    pub fn answer(request: &Envelope, error: ErrorNum) -> Option<Self> {
        let body = &request.body;
        Some(Self {
            kind: Self::kind_for(request.kind()?)?,
            error,
            serial: body.text_or_empty("Serial"),
            channel: number_of_channel(body),
            protocol: body.text_or_empty("Protocol"),
            reserve: body.text_or_empty("Reserve"),
            route: Route::read(body).swapped(),
        })
    }

    /// The message, answering a request with this CSeq.
    pub fn to_envelope(&self, cseq: &str) -> Envelope {
        let mut message = Envelope::answer(self.kind, cseq, self.error);
        let body = &mut message.body;
        body.set("Serial", self.serial.as_str())
            .set_number("Channel", self.channel)
            .set("Protocol", self.protocol.as_str())
            .set("Reserve", self.reserve.as_str());
        self.route.write(body);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ptz_request_survives_the_wire_and_is_answered() {
        let ptz = PtzRequest {
            serial: "cam".into(),
            channel: 1,
            protocol: "ONVIF".into(),
            reserve: "1".into(),
            action_type: "SINGLE".into(),
            command: "DOWN".into(),
            speed: "5".into(),
            route: Route {
                from: "a".into(),
                to: "b".into(),
                via: "c".into(),
            },
        };
        let message = ptz.to_envelope(6);
        assert_eq!(PtzRequest::from_envelope(&message).unwrap(), ptz);
        let ack = ControlAck::answer(&message, ErrorNum::OK).unwrap();
        assert_eq!(ack.kind, MessageType::ControlPtzAck);
        assert_eq!(ack.route.from, "b");
    }
}
