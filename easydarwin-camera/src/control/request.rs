//! What the CMS asks of the device.

use std::time::{Duration, Instant};

use easydarwin_core::protocol::{
    ConfigRequest, ControlAck, Envelope, EnvelopeError, ErrorNum, MessageType, PresetRequest,
    PtzRequest, PushAck, PushRequest, RebootRequest, SnapshotRequest, StopAck, StopRequest,
};

use super::{Command, CommandId, CommandKind, ControlEngine, ControlEvent, PushTarget};

/// Commands that may wait for the embedder at once.
const MAX_PENDING: usize = 64;
/// Least time between two pictures on request.
const SNAPSHOT_PACE: Duration = Duration::from_secs(1);

/// A command without an answer yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) deadline: Instant,
    /// The answer but for its result, and the CSeq that it repeats.
    ack: ControlAck,
    cseq: String,
    /// Without success nobody talks.
    pub(super) begins_talk: bool,
}

impl ControlEngine {
    /// Answers a command. False when that was done before, or its time or connection is over.
    pub fn reply(&mut self, id: CommandId, result: ErrorNum) -> bool {
        let Some(at) = self.pending.iter().position(|(other, _)| *other == id) else {
            return false;
        };
        let (_, pending) = self.pending.remove(at);
        if pending.begins_talk && !result.is_success() {
            self.talk = None;
        }
        self.finish(pending, result);
        true
    }

    pub(super) fn request(&mut self, kind: MessageType, message: &Envelope, now: Instant) {
        match kind {
            MessageType::PushStreamReq => self.push(message),
            MessageType::StopStreamReq => self.stop(message),
            MessageType::ControlPtzReq => {
                let request = PtzRequest::from_envelope(message).map(Command::Ptz);
                self.command(message, CommandKind::Ptz, request, now);
            }
            MessageType::ControlPresetReq => {
                let request = PresetRequest::from_envelope(message).map(Command::Preset);
                self.command(message, CommandKind::Preset, request, now);
            }
            MessageType::RebootReq => {
                let request = RebootRequest::from_envelope(message).map(|_| Command::Reboot);
                self.command(message, CommandKind::Reboot, request, now);
            }
            MessageType::ConfigReq => {
                let request = ConfigRequest::from_envelope(message);
                let request = request.map(|request| Command::Config(request.settings));
                self.command(message, CommandKind::Config, request, now);
            }
            MessageType::ControlTalkbackReq => self.talkback(message, now),
            MessageType::SnapshotReq => self.picture_wanted(message, now),
            _ => {}
        }
    }

    pub(super) fn expire_commands(&mut self, now: Instant) {
        let late = |pending: &Pending| pending.deadline <= now;
        while let Some(&(id, _)) = self.pending.iter().find(|(_, pending)| late(pending)) {
            self.reply(id, ErrorNum::TIMEOUT);
        }
    }

    fn push(&mut self, message: &Envelope) {
        let request = match PushRequest::from_envelope(message) {
            Ok(request) => request,
            Err(error) => {
                self.refuse(MessageType::PushStreamAck, message, &error);
                return;
            }
        };
        let result = if is_clean(&request) {
            self.check_target(&request.serial, request.channel)
        } else {
            ErrorNum::BAD_REQUEST
        };
        self.send(&PushAck::answer(&request, result).to_envelope(&message.cseq()));
        if result == ErrorNum::OK {
            self.events.push_back(ControlEvent::StartPush(PushTarget {
                channel: request.channel,
                url: request.url(),
                token: request.stream_id,
                generation: request.generation,
            }));
        }
    }

    fn stop(&mut self, message: &Envelope) {
        let request = match StopRequest::from_envelope(message) {
            Ok(request) => request,
            Err(error) => {
                self.refuse(MessageType::StopStreamAck, message, &error);
                return;
            }
        };
        let result = self.check_target(&request.serial, request.channel);
        self.send(&StopAck::answer(&request, result).to_envelope(&message.cseq()));
        if result == ErrorNum::OK {
            self.events.push_back(ControlEvent::StopPush {
                channel: request.channel,
            });
        }
    }

    /// Gives a command to the embedder, or answers it. Whether it was given.
    pub(super) fn command(
        &mut self,
        message: &Envelope,
        kind: CommandKind,
        command: Result<Command, EnvelopeError>,
        now: Instant,
    ) -> Option<CommandId> {
        let pending = self.admit(message, kind, now)?;
        let Ok(command) = command else {
            self.finish(pending, ErrorNum::BAD_REQUEST);
            return None;
        };
        if self.pending.len() >= MAX_PENDING {
            self.finish(pending, ErrorNum::UNAVAILABLE);
            return None;
        }
        let id = CommandId(self.next_command);
        self.next_command += 1;
        self.pending.push((id, pending));
        self.events.push_back(ControlEvent::Command { id, command });
        Some(id)
    }

    /// The answer that is due, if it is for us and such that we do it. Otherwise it is given.
    pub(super) fn admit(
        &mut self,
        message: &Envelope,
        kind: CommandKind,
        now: Instant,
    ) -> Option<Pending> {
        let ack = ControlAck::answer(message, ErrorNum::OK)?;
        let mut result = self.check_target(&ack.serial, ack.channel);
        let whole_device = matches!(kind, CommandKind::Reboot | CommandKind::Config);
        if whole_device && ack.serial == self.config.serial {
            result = ErrorNum::OK;
        }
        if result == ErrorNum::OK && !self.config.supports.has(kind) {
            result = ErrorNum::NOT_IMPLEMENTED;
        }
        let pending = Pending {
            deadline: now + self.config.command_timeout,
            ack,
            cseq: message.cseq(),
            begins_talk: false,
        };
        if result == ErrorNum::OK {
            return Some(pending);
        }
        self.finish(pending, result);
        None
    }

    /// Answered at once; the picture follows like those that nobody asked for.
    fn picture_wanted(&mut self, message: &Envelope, now: Instant) {
        let Some(pending) = self.admit(message, CommandKind::Snapshot, now) else {
            return;
        };
        let Ok(request) = SnapshotRequest::from_envelope(message) else {
            return self.finish(pending, ErrorNum::BAD_REQUEST);
        };
        let free = self
            .picture_asked
            .is_none_or(|at| now >= at + SNAPSHOT_PACE);
        if !free {
            return self.finish(pending, ErrorNum::TOO_MANY);
        }
        self.picture_asked = Some(now);
        if let Some(ticket) = request.upload {
            self.keep_ticket(request.channel, ticket, now);
        }
        self.events.push_back(ControlEvent::TakeSnapshot {
            channel: request.channel,
        });
        self.finish(pending, ErrorNum::OK);
    }

    pub(super) fn finish(&mut self, pending: Pending, result: ErrorNum) {
        let mut ack = pending.ack;
        ack.error = result;
        self.send(&ack.to_envelope(&pending.cseq));
    }

    /// Answers a request that makes no sense.
    fn refuse(&mut self, kind: MessageType, message: &Envelope, error: &EnvelopeError) {
        tracing::warn!(%error, "request of the CMS refused");
        self.send(&Envelope::answer(
            kind,
            &message.cseq(),
            ErrorNum::BAD_REQUEST,
        ));
    }

    pub(super) fn check_target(&self, serial: &str, channel: u32) -> ErrorNum {
        if serial != self.config.serial {
            ErrorNum::DEVICE_NOT_FOUND
        } else if !self.config.channels.contains(&channel) {
            ErrorNum::NOT_FOUND
        } else {
            ErrorNum::OK
        }
    }
}

/// Whether address and token can stand in a URL and a header: nothing that ends a line or a path.
fn is_clean(request: &PushRequest) -> bool {
    let address = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    let token = request.stream_id.as_deref().unwrap_or_default();
    request.server_ip.bytes().all(address) && token.bytes().all(|b| b.is_ascii_graphic())
}
