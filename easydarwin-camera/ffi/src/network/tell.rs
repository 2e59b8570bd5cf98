//! What the camera reports, as events for C.

use std::sync::Arc;

use easydarwin_camera::control::{Command, TalkbackCodec};
use easydarwin_camera::feedback::{Advice, StreamChoice};
use easydarwin_camera::{CameraCommand, CameraEvent};
use easydarwin_core::protocol::ErrorNum;

use super::Built;
use crate::abi::*;
use crate::event::Event;
use crate::instance::Instance;

/// Runs the camera and passes on what it reports, until it is destroyed.
pub(super) async fn run(instance: &Arc<Instance>, built: Built) {
    let Built {
        camera,
        mut events,
        mut commands,
    } = built;
    let running = camera.run(instance.closed.notified());
    tokio::pin!(running);
    loop {
        tokio::select! {
            () = &mut running => return,
            Some(event) = events.recv() => {
                if let Some(event) = told(instance, event) {
                    instance.events.push(event);
                }
            }
            Some(command) = commands.recv() => ask(instance, command),
            () = injected(instance) => {}
        }
    }
}

/// `None`: C has no name for it.
fn told(instance: &Instance, event: CameraEvent) -> Option<Event> {
    Some(match event {
        CameraEvent::Registered { cms } => Event::new(EDC_EVENT_REGISTERED).text(&cms.to_string()),
        CameraEvent::Disconnected { reason } => Event::new(EDC_EVENT_DISCONNECTED).text(&reason),
        CameraEvent::LoginRefused {
            cms,
            reason,
            retry_in,
        } => Event::new(EDC_EVENT_LOGIN_REFUSED)
            .text(&reason)
            .detail(&cms)
            .value(i64::try_from(retry_in.as_millis()).unwrap_or(i64::MAX)),
        CameraEvent::PushRequested { channel, url } => Event::new(EDC_EVENT_PUSH_REQUESTED)
            .channel(channel)
            .text(&url),
        CameraEvent::PushStarted { channel } => Event::new(EDC_EVENT_PUSH_STARTED).channel(channel),
        CameraEvent::PushFailed { channel, reason } => Event::new(EDC_EVENT_PUSH_FAILED)
            .channel(channel)
            .text(&reason),
        CameraEvent::PushStopped { channel } => Event::new(EDC_EVENT_PUSH_STOPPED).channel(channel),
        CameraEvent::KeyFrameWanted { channel, stream } => Event::new(EDC_EVENT_KEYFRAME)
            .channel(channel)
            .stream(instance.stream_of(channel, stream)),
        CameraEvent::Advice { channel, advice } => match advice {
            Advice::Bitrate(bitrate) => Event::new(EDC_EVENT_BITRATE)
                .channel(channel)
                .value(bitrate.into()),
            Advice::Stream(choice) => Event::new(EDC_EVENT_SELECT)
                .channel(channel)
                .value(i64::from(choice == StreamChoice::Sub)),
            _ => return None,
        },
        CameraEvent::SnapshotWanted { channel } if instance.settings.takes_snapshots() => {
            Event::new(EDC_EVENT_SNAPSHOT).channel(channel)
        }
        CameraEvent::SnapshotSent { channel } => {
            Event::new(EDC_EVENT_SNAPSHOT_SENT).channel(channel)
        }
        CameraEvent::Talkback(frame) => Event::new(EDC_EVENT_SPEECH)
            .channel(frame.channel)
            .detail(codec_name(frame.codec))
            .value(i64::try_from(frame.pts_ms).unwrap_or(i64::MAX))
            .data(frame.audio.as_deref().unwrap_or_default()),
        CameraEvent::TalkbackEnded { channel, .. } => {
            Event::new(EDC_EVENT_TALKBACK_ENDED).channel(channel)
        }
        _ => return None,
    })
}

fn codec_name(codec: TalkbackCodec) -> &'static str {
    match codec {
        TalkbackCodec::G711A => "G711A",
        TalkbackCodec::G711U => "G711U",
        TalkbackCodec::G726 => "G726",
        _ => "",
    }
}

/// Passes a command on; what C has no name for is answered here.
fn ask(instance: &Instance, command: CameraCommand) {
    let mut event = match &command.command {
        Command::Ptz(ptz) => Event::new(EDC_EVENT_PTZ)
            .channel(ptz.channel)
            .text(&ptz.command)
            .detail(&ptz.action_type)
            .argument(&ptz.speed),
        Command::Preset(preset) => Event::new(EDC_EVENT_PRESET)
            .channel(preset.channel)
            .text(&preset.command)
            .argument(&preset.preset),
        Command::TalkbackStart { channel, codec } => Event::new(EDC_EVENT_TALKBACK)
            .channel(*channel)
            .detail(codec_name(*codec)),
        Command::Reboot => Event::new(EDC_EVENT_REBOOT),
        Command::Config(settings) => {
            let lines = settings
                .iter()
                .map(|setting| format!("{}={}\n", setting.name, setting.value));
            Event::new(EDC_EVENT_CONFIG).text(&lines.collect::<String>())
        }
        _ => return command.reply(ErrorNum::NOT_IMPLEMENTED),
    };
    event.command = instance.command(command);
    instance.events.push(event);
}

/// Panics when a test asks for it.
#[cfg(feature = "test-panic")]
#[allow(clippy::panic)]
async fn injected(instance: &Instance) {
    instance.injected.notified().await;
    panic!("injected by a test");
}

#[cfg(not(feature = "test-panic"))]
async fn injected(_: &Instance) {
    std::future::pending().await
}
