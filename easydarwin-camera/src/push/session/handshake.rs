//! What is asked of the server, and what becomes of its answers.

use std::time::Instant;

use easydarwin_core::rtsp::{ClientEvent, Method, Status, Transport};

use super::super::PushError;
use super::super::track::{TrackSeed, TrackSender};
use super::{Session, Stage, Step};

impl Session {
    pub(super) fn event(
        &mut self,
        event: ClientEvent,
        now: Instant,
    ) -> Result<Option<Step>, PushError> {
        let asked = self.deadline.as_ref().map(|(method, _)| method.clone());
        match (self.stage, event) {
            (Stage::Leaving, ClientEvent::TornDown) => return Ok(Some(Step::Left)),
            // Answers to earlier requests may stand before it.
            (Stage::Leaving, ClientEvent::Ended) => return Ok(Some(Step::Left)),
            (Stage::Leaving, _) => {}
            (_, ClientEvent::Ended | ClientEvent::TornDown) => return Err(PushError::Closed),
            (Stage::SettingUp(_), ClientEvent::Refused { status, .. })
                if status == Status::UNSUPPORTED_TRANSPORT
                    && self.datagrams
                    && self.remote.is_empty() =>
            {
                self.datagrams = false;
                self.set_up(0, now);
            }
            (
                _,
                ClientEvent::Refused {
                    method,
                    status,
                    reason,
                },
            ) => {
                return Err(PushError::Refused {
                    method,
                    status,
                    reason,
                });
            }
            (_, ClientEvent::LoginFailed { method, error }) => {
                return Err(PushError::Login { method, error });
            }
            (Stage::Announcing, ClientEvent::Redirected { location }) => {
                return Ok(Some(Step::Redirected(location)));
            }
            (Stage::Announcing, ClientEvent::Announced) => self.set_up(0, now),
            (Stage::SettingUp(at), ClientEvent::SetUp { transport }) => {
                self.add_track(at, transport)?;
                if at + 1 < self.config.description.tracks.len() {
                    self.set_up(at + 1, now);
                } else {
                    self.stage = Stage::Asking;
                    self.rtsp.record();
                    self.asked(Method::Record, now);
                }
            }
            (Stage::Asking, ClientEvent::Recording) => {
                self.stage = Stage::Recording;
                self.deadline = None;
                self.heard = self.datagrams.then_some(now);
                return Ok(Some(Step::Recording));
            }
            (_, _) => {
                return Err(PushError::BadAnswer {
                    method: asked.unwrap_or(Method::Options),
                    what: "it answers something else",
                });
            }
        }
        Ok(None)
    }

    fn set_up(&mut self, at: usize, now: Instant) {
        self.stage = Stage::SettingUp(at);
        let ports = self.config.ports.as_ref().and_then(|ports| ports.get(at));
        let channel = channel_of(at);
        let mut asked = Transport::default();
        asked.record = true;
        match ports {
            Some(ports) if self.datagrams => asked.client_port = Some(*ports),
            _ => {
                asked.tcp = true;
                asked.interleaved = Some((channel, channel + 1));
            }
        }
        self.rtsp.setup(Some(&control(at)), &asked);
        self.asked(Method::Setup, now);
    }

    fn add_track(&mut self, at: usize, answer: Transport) -> Result<(), PushError> {
        let unusable = |what| PushError::BadAnswer {
            method: Method::Setup,
            what,
        };
        let Some(track) = self.config.description.tracks.get(at) else {
            return Err(PushError::Closed);
        };
        let usual = (channel_of(at), channel_of(at) + 1);
        let mut channels = usual;
        if answer.tcp {
            if self.datagrams && at > 0 {
                return Err(unusable("TCP for one track, UDP for another"));
            }
            // Asked for datagrams, some servers answer with channels.
            if self.datagrams && answer.interleaved.is_none() {
                return Err(unusable("TCP without channels where UDP was asked for"));
            }
            self.datagrams = false;
            channels = answer.interleaved.unwrap_or(usual);
        } else if self.datagrams {
            let ports = answer
                .server_port
                .ok_or_else(|| unusable("no server_port to send to"))?;
            self.remote.push((answer.source, ports));
        } else {
            return Err(unusable("UDP where TCP was asked for"));
        }
        let seed = TrackSeed {
            ssrc: self.random.u32(..),
            first_sequence: self.random.u16(..),
            base: self.random.u32(..),
        };
        self.tracks.push(TrackSender::new(track, seed, channels));
        Ok(())
    }

    pub(super) fn asked(&mut self, method: Method, now: Instant) {
        self.take_output();
        self.deadline = Some((method, now + self.config.request_timeout));
    }

    pub(super) fn take_output(&mut self) {
        if let Some(bytes) = self.rtsp.take_output() {
            self.output.control().extend_from_slice(&bytes);
        }
    }
}

pub(super) fn control(track: usize) -> String {
    format!("trackID={track}")
}

/// The interleaved channel of a track's RTP; the next one is RTCP's.
fn channel_of(track: usize) -> u8 {
    u8::try_from(track.saturating_mul(2)).unwrap_or(u8::MAX - 1)
}
