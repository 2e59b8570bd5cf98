//! Register and keep-alive.

use std::time::{Duration, Instant};

use easydarwin_core::protocol::login::{ED1, NONCE_LEN, nonce};
use easydarwin_core::protocol::{
    AppType, ChannelInfo, Envelope, ErrorNum, Ext, Extension, Register, RegisterAck,
};

use super::dial::Dial;
use super::{CommandKind, ControlConfig, ControlEngine, Credential, DisconnectReason, Phase};

/// How far a login has come.
#[derive(Debug)]
pub(super) enum Exchange {
    /// The token was sent.
    Token,
    /// The client's nonce was sent.
    Hello { client_nonce: String },
    /// The proof was sent.
    Proof { client_nonce: String, nonce: String },
}

/// What came of an answer.
enum Answer {
    /// Let in. `proven`: by a CMS that knows the device's key.
    Accepted { proven: bool },
    /// Not let in.
    Refused {
        reason: DisconnectReason,
        proven: bool,
    },
    /// The next message of the exchange.
    Prove(Exchange, Box<Register>),
}

impl ControlEngine {
    /// Begins a login on a new connection.
    pub(super) fn hello(&mut self, random: [u8; NONCE_LEN], now: Instant) -> Exchange {
        let mut register = self.plain_register();
        let exchange = match &self.config.credential {
            Credential::Token(_) => Exchange::Token,
            Credential::Key(_) => {
                let client_nonce = nonce(random);
                register.auth = Some(ED1.to_owned());
                register.client_nonce = Some(client_nonce.clone());
                Exchange::Hello { client_nonce }
            }
        };
        self.send_register(&register, now);
        exchange
    }

    /// The register that is sent each half minute: with the token of the old manner, or with no
    /// secret at all, because the connection holds the lease.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        let register = self.plain_register();
        self.send_register(&register, now);
    }

    pub(super) fn register_ack(&mut self, message: &Envelope, now: Instant) {
        let Ok(ack) = RegisterAck::from_envelope(message) else {
            return;
        };
        let round_trip = self.round_trip(message, now);
        match &self.phase {
            Phase::Login { exchange, .. } => match self.answer(exchange, &ack) {
                Answer::Accepted { proven } => {
                    let trusted = proven || self.is_secure();
                    self.tell_time(&ack, round_trip, trusted, now);
                    if !self.follow(&ack, trusted, now) {
                        self.registered(&ack, proven, now);
                    }
                }
                Answer::Refused { reason, proven } => {
                    let trusted = proven || self.is_secure();
                    self.refused(&ack, reason, trusted, now);
                }
                Answer::Prove(next, register) => {
                    if let Phase::Login { exchange, .. } = &mut self.phase {
                        *exchange = next;
                    }
                    self.send_register(&register, now);
                }
            },
            &Phase::Online { trusted, .. } if ack.error.is_success() => {
                self.tell_time(&ack, round_trip, trusted, now);
                self.follow(&ack, trusted, now);
            }
            &Phase::Online { trusted, .. } => {
                self.refused(&ack, DisconnectReason::LeaseLost(ack.error), trusted, now);
            }
            Phase::Offline { .. } | Phase::Dialing { .. } => {}
        }
    }

    fn refused(
        &mut self,
        ack: &RegisterAck,
        reason: DisconnectReason,
        trusted: bool,
        now: Instant,
    ) {
        if self.follow(ack, trusted, now) {
            return;
        }
        let asked = Duration::from_secs(ack.retry_after_s.unwrap_or(0));
        self.give_up(reason, Dial::granted(asked, trusted), now);
    }

    /// Goes where the answer says, if it is to be believed.
    fn follow(&mut self, ack: &RegisterAck, trusted: bool, now: Instant) -> bool {
        let Some(to) = ack.redirect.as_deref() else {
            return false;
        };
        let until = trusted.then(|| self.dial.redirected(to, now)).flatten();
        match until {
            Some(until) => self.leave_for(until),
            None => tracing::warn!(to, trusted, "redirect of the CMS not followed"),
        }
        until.is_some()
    }

    fn tell_time(
        &mut self,
        ack: &RegisterAck,
        round_trip: Option<Duration>,
        trusted: bool,
        now: Instant,
    ) {
        if let (Some(time), Some(round_trip)) = (ack.time_ms, round_trip) {
            self.clock.told(time, round_trip, trusted, now);
        }
    }

    /// Since the register was sent that this answers, if it is the last one.
    fn round_trip(&self, ack: &Envelope, now: Instant) -> Option<Duration> {
        let (cseq, sent) = self.last_register?;
        (ack.cseq() == cseq.to_string()).then(|| now.saturating_duration_since(sent))
    }

    fn send_register(&mut self, register: &Register, now: Instant) {
        let cseq = self.next_cseq();
        self.last_register = Some((cseq, now));
        self.send(&register.to_envelope(cseq));
    }

    /// A register with nothing of a login in it.
    fn plain_register(&self) -> Register {
        let config = &self.config;
        let recorder = config.channels.len() > 1;
        let kind = if recorder {
            AppType::EasyNvr
        } else {
            AppType::EasyCamera
        };
        let mut register = Register::new(config.serial.as_str(), kind, config.terminal);
        register.name.clone_from(&config.name);
        register.tag.clone_from(&config.tag);
        register.ext = extensions(config, self.is_secure());
        register.clock_quality = Some(self.clock.quality());
        if recorder {
            let channels = config.channels.iter().map(|&channel| ChannelInfo {
                channel,
                name: format!("{} {channel}", config.name),
                online: true,
            });
            register.channels = channels.collect();
        }
        if let Credential::Token(token) = &config.credential {
            register.token = Some(token.clone());
        }
        register
    }

    fn answer(&self, exchange: &Exchange, ack: &RegisterAck) -> Answer {
        let key = match &self.config.credential {
            Credential::Key(key) => Some(key),
            Credential::Token(_) => None,
        };
        let proven = match (exchange, key, &ack.server_proof) {
            (
                Exchange::Proof {
                    client_nonce,
                    nonce,
                },
                Some(key),
                Some(proof),
            ) => key.check_server(client_nonce, nonce, proof),
            _ => false,
        };
        let refused = |reason| Answer::Refused { reason, proven };
        match (exchange, key) {
            (Exchange::Hello { client_nonce }, Some(key))
                if ack.error == ErrorNum::UNAUTHORIZED =>
            {
                let Some(nonce) = &ack.nonce else {
                    return refused(DisconnectReason::Refused(ack.error));
                };
                let mut register = self.plain_register();
                register.auth = Some(ED1.to_owned());
                register.client_nonce = Some(client_nonce.clone());
                register.nonce = Some(nonce.clone());
                register.proof = Some(key.proof(client_nonce, nonce));
                let exchange = Exchange::Proof {
                    client_nonce: client_nonce.clone(),
                    nonce: nonce.clone(),
                };
                Answer::Prove(exchange, Box::new(register))
            }
            _ if !ack.error.is_success() => refused(DisconnectReason::Refused(ack.error)),
            // Who was challenged is not to be let in by somebody else.
            (Exchange::Proof { .. }, _) if !proven => refused(DisconnectReason::ServerProof),
            // Nor is who was not, unless that is allowed; never where it was sent.
            (Exchange::Hello { .. }, _)
                if !self.is_secure() && (self.dial.is_elsewhere() || !self.config.unproven_cms) =>
            {
                refused(DisconnectReason::Unproven)
            }
            // A token proves nothing of the CMS, and one that lets everybody in has no proof to give.
            _ => Answer::Accepted { proven },
        }
    }
}

/// What this engine can do beyond the old protocol.
fn extensions(config: &ControlConfig, secure: bool) -> Ext {
    let redirect = matches!(config.credential, Credential::Key(_)) || secure;
    let mut extensions = vec![
        Extension::Auth,
        Extension::Token,
        Extension::Retry,
        Extension::Event,
    ];
    for (kind, extension) in [
        (CommandKind::Config, Extension::Config),
        (CommandKind::Reboot, Extension::Reboot),
        (CommandKind::Snapshot, Extension::Snapshot),
    ] {
        extensions.extend(config.supports.has(kind).then_some(extension));
    }
    extensions.extend(config.uploads.then_some(Extension::SnapshotPut));
    // A CMS that cannot show who it is cannot send us elsewhere.
    extensions.extend(redirect.then_some(Extension::Redirect));
    Ext::of(&extensions)
}
