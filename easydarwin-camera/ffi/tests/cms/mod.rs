//! A CMS for one device with a token, which sends it commands.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use easydarwin_core::protocol::{
    ClockQuality, DeviceEvent, DeviceEventAck, Envelope, ErrorNum, Ext, Extension, MessageReader,
    MessageType, PresetRequest, PtzRequest, Register, RegisterAck, Route, Snapshot, SnapshotAck,
    SnapshotRequest,
};

pub(crate) const SERIAL: &str = "001001000042";
pub(crate) const TOKEN: &str = "a-token";
/// Nothing takes longer unless it is broken; the camera runs under valgrind.
const SOON: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Listening {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct Cms {
    stream: TcpStream,
    reader: MessageReader,
    /// What came while something else was waited for.
    kept: VecDeque<Envelope>,
}

impl Listening {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// Takes the camera's connection and lets it in.
    pub(crate) fn accept(self) -> Cms {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut cms = Cms {
            stream,
            reader: MessageReader::default(),
            kept: VecDeque::new(),
        };
        let hello = Register::from_envelope(&cms.next()).unwrap();
        assert_eq!(
            (&*hello.serial, hello.token.as_deref()),
            (SERIAL, Some(TOKEN))
        );
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
        ack.ext = Ext::of(&[Extension::Event]);
        // Registers follow soon, in which the device tells what has changed.
        ack.keep_alive_s = Some(1);
        cms.send(&ack.to_envelope("1"));
        cms
    }

    /// Lets everybody in, without proof; its thread ends with the test.
    pub(crate) fn open(self) {
        std::thread::spawn(move || {
            while let Ok((stream, _)) = self.listener.accept() {
                let mut cms = Cms {
                    stream,
                    reader: MessageReader::default(),
                    kept: VecDeque::new(),
                };
                let hello = Register::from_envelope(&cms.next()).unwrap();
                let ack = RegisterAck::new(hello.serial, ErrorNum::OK);
                cms.send(&ack.to_envelope("1"));
                // Until the device has gone.
                let _ = cms.stream.read_to_end(&mut Vec::new());
            }
        });
    }
}

impl Cms {
    /// Moves the camera and returns its answer.
    pub(crate) fn ptz(&mut self, command: &str) -> ErrorNum {
        let request = PtzRequest {
            serial: SERIAL.into(),
            channel: 1,
            protocol: "ONVIF".into(),
            reserve: "1".into(),
            action_type: "SINGLE".into(),
            command: command.into(),
            speed: "1".into(),
            route: Route::default(),
        };
        self.ask(&request.to_envelope(7), MessageType::ControlPtzAck)
    }

    /// Sends the camera to a preset and returns its answer.
    pub(crate) fn preset(&mut self, preset: &str) -> ErrorNum {
        let request = PresetRequest {
            serial: SERIAL.into(),
            channel: 1,
            protocol: "ONVIF".into(),
            reserve: "1".into(),
            command: "GOTO".into(),
            preset: preset.into(),
            route: Route::default(),
        };
        self.ask(&request.to_envelope(8), MessageType::ControlPresetAck)
    }

    /// Asks for a picture and returns the camera's answer.
    pub(crate) fn want_snapshot(&mut self) -> ErrorNum {
        let request = SnapshotRequest {
            serial: SERIAL.into(),
            channel: 1,
            upload: None,
            route: Route::default(),
        };
        self.ask(&request.to_envelope(9), MessageType::SnapshotReqAck)
    }

    /// Takes a picture of the camera: channel and base64.
    pub(crate) fn snapshot(&mut self) -> (u32, String) {
        let message = self.next_of(MessageType::PostSnapReq);
        let snapshot = Snapshot::from_envelope(&message).unwrap();
        let ack = SnapshotAck {
            error: ErrorNum::OK,
            serial: SERIAL.into(),
            channel: snapshot.channel,
        };
        self.send(&ack.to_envelope(&message.cseq()));
        (snapshot.channel, snapshot.image)
    }

    /// Takes an event of the camera.
    pub(crate) fn event(&mut self) -> DeviceEvent {
        let message = self.next_of(MessageType::DeviceEventReq);
        let (serial, event) = DeviceEvent::from_envelope(&message).unwrap();
        assert_eq!(serial, SERIAL);
        let ack = DeviceEventAck::new(SERIAL, ErrorNum::OK);
        self.send(&ack.to_envelope(&message.cseq()));
        event
    }

    /// Waits until the camera says that it knows the time so well.
    pub(crate) fn wait_clock(&mut self, quality: ClockQuality) {
        loop {
            let message = self.next_of(MessageType::RegisterReq);
            let register = Register::from_envelope(&message).unwrap();
            let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
            ack.ext = Ext::of(&[Extension::Event]);
            ack.keep_alive_s = Some(1);
            self.send(&ack.to_envelope(&message.cseq()));
            if register.clock_quality == Some(quality) {
                return;
            }
        }
    }

    fn ask(&mut self, request: &Envelope, answer: MessageType) -> ErrorNum {
        self.send(request);
        let answer = self.next_of(answer);
        answer.error().expect("an answer has a result")
    }

    fn next_of(&mut self, kind: MessageType) -> Envelope {
        let mut kept = self.kept.iter();
        if let Some(at) = kept.position(|message| message.kind() == Some(kind)) {
            return self.kept.remove(at).unwrap();
        }
        loop {
            let message = self.next();
            if message.kind() == Some(kind) {
                return message;
            }
            self.kept.push_back(message);
        }
    }

    fn send(&mut self, message: &Envelope) {
        self.stream
            .write_all(&message.to_response("EasyDarwin"))
            .unwrap();
    }

    fn next(&mut self) -> Envelope {
        loop {
            if let Some(message) = self.reader.next_message().unwrap() {
                return message.envelope().unwrap();
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the camera closed the connection");
            self.reader.push(&buffer[..count]);
        }
    }
}
