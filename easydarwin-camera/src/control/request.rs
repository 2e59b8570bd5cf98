//! What the CMS asks of the device.

use std::time::Instant;

use easydarwin_core::protocol::{
    ControlAck, Envelope, EnvelopeError, ErrorNum, MessageType, PresetRequest, PtzRequest, PushAck,
    PushRequest, StopAck, StopRequest, TalkbackRequest,
};

use super::{Command, CommandId, ControlEngine, ControlEvent, PushTarget};

/// Commands that may wait for the embedder at once.
const MAX_PENDING: usize = 64;

/// A command without an answer yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) deadline: Instant,
    /// The answer but for its result, and the CSeq that it repeats.
    ack: ControlAck,
    cseq: String,
}

impl ControlEngine {
    /// Answers a command. False when that was done before, or its time or connection is over.
    pub fn reply(&mut self, id: CommandId, result: ErrorNum) -> bool {
        let Some(pending) = self.pending.remove(&id) else {
            return false;
        };
        self.finish(pending, result);
        true
    }

    pub(super) fn request(&mut self, kind: MessageType, message: &Envelope, now: Instant) {
        match kind {
            MessageType::PushStreamReq => self.push(message),
            MessageType::StopStreamReq => self.stop(message),
            MessageType::ControlPtzReq => {
                self.command(
                    message,
                    PtzRequest::from_envelope(message).map(Command::Ptz),
                    now,
                );
            }
            MessageType::ControlPresetReq => {
                let request = PresetRequest::from_envelope(message);
                self.command(message, request.map(Command::Preset), now);
            }
            MessageType::ControlTalkbackReq => {
                let request = TalkbackRequest::from_envelope(message);
                self.command(message, request.map(Command::Talkback), now);
            }
            _ => {}
        }
    }

    pub(super) fn expire_commands(&mut self, now: Instant) {
        let late = |pending: &Pending| pending.deadline <= now;
        while let Some((&id, _)) = self.pending.iter().find(|(_, pending)| late(pending)) {
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

    fn command(
        &mut self,
        message: &Envelope,
        command: Result<Command, EnvelopeError>,
        now: Instant,
    ) {
        let Some(ack) = ControlAck::answer(message, ErrorNum::OK) else {
            return;
        };
        let target = self.check_target(&ack.serial, ack.channel);
        let pending = Pending {
            deadline: now + self.config.command_timeout,
            ack,
            cseq: message.cseq(),
        };
        let command = match command {
            Ok(command) if target == ErrorNum::OK => command,
            Ok(_) => return self.finish(pending, target),
            Err(_) => return self.finish(pending, ErrorNum::BAD_REQUEST),
        };
        if self.pending.len() >= MAX_PENDING {
            return self.finish(pending, ErrorNum::UNAVAILABLE);
        }
        let id = CommandId(self.next_command);
        self.next_command += 1;
        self.pending.insert(id, pending);
        self.events.push_back(ControlEvent::Command { id, command });
    }

    fn finish(&mut self, pending: Pending, result: ErrorNum) {
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

    fn check_target(&self, serial: &str, channel: u32) -> ErrorNum {
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
