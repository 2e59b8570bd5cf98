//! A real camera, and who embeds it.
#![allow(dead_code)] // Each test file uses its own part of it.

use std::net::SocketAddr;

use base64::Engine as _;
use easydarwin_camera::control::{Command, CommandKind};
use easydarwin_camera::source::{MediaSource, PatternSource};
use easydarwin_camera::{Camera, CameraCommand, CameraEvent, CameraHandle};
use easydarwin_core::protocol::{Envelope, ErrorNum, MessageType};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::common::{PATIENCE, TestCms};

/// A camera, and the embedder around it.
pub(crate) struct Embedder {
    pub(crate) handle: CameraHandle,
    pub(crate) commands: mpsc::Receiver<CameraCommand>,
    pub(crate) events: mpsc::Receiver<CameraEvent>,
    pub(crate) stop: CancellationToken,
}

impl Embedder {
    pub(crate) async fn start(
        cms: &TestCms,
        supports: impl IntoIterator<Item = CommandKind>,
    ) -> Self {
        let source = PatternSource::new("cam");
        Self::start_at(cms, cms.addr, source, supports).await
    }

    /// A camera that goes to this address, and films with this source.
    pub(crate) async fn start_at(
        cms: &TestCms,
        address: SocketAddr,
        source: impl MediaSource + 'static,
        supports: impl IntoIterator<Item = CommandKind>,
    ) -> Self {
        cms.handle.provision_key("cam", "cam's key").await.unwrap();
        let (to_commands, commands) = mpsc::channel(64);
        let (to_events, events) = mpsc::channel(1024);
        let camera = Camera::builder()
            .serial("cam")
            .key("cam's key")
            .cms(address.to_string())
            .source(source)
            .commands(to_commands)
            .supports(supports)
            .events(to_events)
            .build()
            .unwrap();
        let (handle, stop) = (camera.handle(), CancellationToken::new());
        tokio::spawn(camera.run(stop.clone().cancelled_owned()));
        let mut embedder = Self {
            handle,
            commands,
            events,
            stop,
        };
        embedder
            .until(|event| matches!(event, CameraEvent::Registered { .. }))
            .await;
        embedder
    }

    /// The next event of the camera that is wanted, past all others.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&CameraEvent) -> bool) -> CameraEvent {
        let waiting = async {
            loop {
                let event = self.events.recv().await.expect("the camera runs");
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("an event in time")
    }

    /// The next command is answered so.
    pub(crate) async fn does(&mut self, result: ErrorNum) -> Command {
        let command = tokio::time::timeout(PATIENCE, self.commands.recv()).await;
        let command = command.expect("a command in time").unwrap();
        let what = command.command.clone();
        command.reply(result);
        what
    }
}

impl Drop for Embedder {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn talk(cseq: u32, command: &str, pts: u64, audio: &[u8]) -> Envelope {
    let mut message = Envelope::request(MessageType::TalkbackControlReq, cseq);
    message
        .body
        .set("Serial", "cam")
        .set("Protocol", "SDK")
        .set("Command", command)
        .set("AudioType", "G711A")
        .set("Pts", pts.to_string())
        .set(
            "AudioData",
            base64::engine::general_purpose::STANDARD.encode(audio),
        );
    message
}
