//! Managing a device: reboot, configuration, a picture on request. Ours: only to devices that listed
//! it in `Ext`.

use super::device::{number_of_channel, serial_of};
use super::{Envelope, EnvelopeError, Fields, MessageType, Route, UploadTicket};

/// `MSG_SD_REBOOT_REQ`: start anew. The device answers before it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootRequest {
    /// The device.
    pub serial: String,
    /// Where the answer goes.
    pub route: Route,
}

impl RebootRequest {
    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::RebootReq)?;
        Ok(Self {
            serial: serial_of(&message.body)?,
            route: Route::read(&message.body),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::RebootReq, cseq);
        message.body.set("Serial", self.serial.as_str());
        self.route.write(&mut message.body);
        message
    }
}

/// `MSG_SD_SNAPSHOT_REQ`: take a picture now, and send it like the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// The device.
    pub serial: String,
    /// Its channel.
    pub channel: u32,
    /// How to put the picture, for a device that can do so.
    pub upload: Option<UploadTicket>,
    /// Where the answer goes.
    pub route: Route,
}

impl SnapshotRequest {
    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::SnapshotReq)?;
        Ok(Self {
            serial: serial_of(&message.body)?,
            channel: number_of_channel(&message.body),
            upload: UploadTicket::read(&message.body),
            route: Route::read(&message.body),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::SnapshotReq, cseq);
        let body = &mut message.body;
        body.set("Serial", self.serial.as_str())
            .set_number("Channel", self.channel);
        if let Some(upload) = &self.upload {
            upload.write(body);
        }
        self.route.write(body);
        message
    }
}

/// One value of a device's configuration; what names mean is the vendor's business.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// At most 1024 bytes of UTF-8.
    pub value: String,
}

/// Values may be secrets: a password of the wireless network.
impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting")
            .field("name", &self.name)
            .field("value_len", &self.value.len())
            .finish()
    }
}

impl Setting {
    /// Whether name and value keep to their bounds.
    pub fn is_valid(&self) -> bool {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        (1..=64).contains(&self.name.len())
            && self.name.bytes().all(allowed)
            && self.value.len() <= 1024
    }
}

/// `MSG_SD_CONFIG_REQ`: set these values, all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigRequest {
    /// The device.
    pub serial: String,
    /// 1 to [`MAX_SETTINGS`](Self::MAX_SETTINGS).
    pub settings: Vec<Setting>,
    /// Where the answer goes.
    pub route: Route,
}

impl ConfigRequest {
    /// Most values of one message.
    pub const MAX_SETTINGS: usize = 32;

    /// Reads one.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field that is missing or out of bounds.
    pub fn from_envelope(message: &Envelope) -> Result<Self, EnvelopeError> {
        message.expect(MessageType::ConfigReq)?;
        let body = &message.body;
        let settings: Vec<_> = body
            .list("Settings")
            .iter()
            .map(|fields| Setting {
                name: fields.text_or_empty("Name"),
                value: fields.text_or_empty("Value"),
            })
            .collect();
        let number = (1..=Self::MAX_SETTINGS).contains(&settings.len());
        if !number || !settings.iter().all(Setting::is_valid) {
            return Err(EnvelopeError::Field("Settings"));
        }
        Ok(Self {
            serial: serial_of(body)?,
            settings,
            route: Route::read(body),
        })
    }

    /// The message with this CSeq.
    pub fn to_envelope(&self, cseq: u32) -> Envelope {
        let mut message = Envelope::request(MessageType::ConfigReq, cseq);
        let body = &mut message.body;
        let settings = self.settings.iter().map(|setting| {
            let mut fields = Fields::new();
            fields
                .set("Name", setting.name.as_str())
                .set("Value", setting.value.as_str());
            fields
        });
        body.set("Serial", self.serial.as_str())
            .set_list("Settings", settings.collect());
        self.route.write(body);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn route() -> Route {
        Route {
            from: "a".into(),
            to: "b".into(),
            via: "c".into(),
        }
    }

    #[test]
    fn what_manages_a_device_survives_the_wire() {
        let reboot = RebootRequest {
            serial: "cam".into(),
            route: route(),
        };
        let read = RebootRequest::from_envelope(&reboot.to_envelope(1));
        assert_eq!(read, Ok(reboot));
        let snapshot = SnapshotRequest {
            serial: "cam".into(),
            channel: 3,
            upload: Some(UploadTicket {
                path: "/snap/cam/3".into(),
                ticket: "t".into(),
                ttl_s: 60,
            }),
            route: route(),
        };
        let read = SnapshotRequest::from_envelope(&snapshot.to_envelope(1));
        assert_eq!(read, Ok(snapshot));
    }

    fn config(settings: Vec<Setting>) -> ConfigRequest {
        ConfigRequest {
            serial: "cam".into(),
            settings,
            route: route(),
        }
    }

    #[test]
    fn settings_out_of_bounds_are_refused() {
        let one = |name: &str, value: &str| Setting {
            name: name.into(),
            value: value.into(),
        };
        let long = "v".repeat(1025);
        for settings in [
            vec![],
            vec![one("", "x")],
            vec![one("a b", "x")],
            vec![one(&"n".repeat(65), "x")],
            vec![one("a", &long)],
            vec![one("a", "x"); ConfigRequest::MAX_SETTINGS + 1],
        ] {
            let message = config(settings).to_envelope(1);
            let error = Err(EnvelopeError::Field("Settings"));
            assert_eq!(ConfigRequest::from_envelope(&message), error);
        }
        let secret = format!("{:?}", one("wifi.password", "hunter2"));
        assert!(!secret.contains("hunter2"));
    }

    proptest! {
        #[test]
        fn settings_survive_the_wire(
            settings in prop::collection::vec(("[A-Za-z0-9._-]{1,64}", ".{0,200}"), 1..=32),
        ) {
            let settings = settings.into_iter().map(|(name, value)| Setting { name, value });
            let config = config(settings.collect());
            let bytes = config.to_envelope(7).to_json();
            let message = Envelope::parse(bytes.as_bytes()).unwrap();
            prop_assert_eq!(ConfigRequest::from_envelope(&message), Ok(config));
        }
    }
}
