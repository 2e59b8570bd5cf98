//! Register and keep-alive.

use std::time::Instant;

use easydarwin_core::protocol::login::{ED1, NONCE_LEN, nonce};
use easydarwin_core::protocol::{
    AppType, ChannelInfo, Envelope, ErrorNum, Ext, Extension, Register, RegisterAck,
};

use super::{ControlConfig, ControlEngine, Credential, DisconnectReason, Phase};

/// What this engine can do beyond the old protocol.
const EXTENSIONS: [Extension; 2] = [Extension::Auth, Extension::Token];

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

/// What an accepted login brought.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) proven: bool,
    pub(super) time_ms: Option<u64>,
    pub(super) generation: Option<u64>,
    pub(super) keep_alive_s: Option<u64>,
}

impl Exchange {
    pub(super) fn begin(config: &ControlConfig, random: [u8; NONCE_LEN]) -> (Self, Register) {
        let mut register = keep_alive(config);
        if let Credential::Token(_) = &config.credential {
            return (Self::Token, register);
        }
        let client_nonce = nonce(random);
        register.auth = Some(ED1.to_owned());
        register.client_nonce = Some(client_nonce.clone());
        (Self::Hello { client_nonce }, register)
    }
}

/// A register as it is sent each half minute: with the token of the old manner, or with no
/// secret at all, because the connection holds the lease.
pub(super) fn keep_alive(config: &ControlConfig) -> Register {
    let recorder = config.channels.len() > 1;
    let kind = if recorder {
        AppType::EasyNvr
    } else {
        AppType::EasyCamera
    };
    let mut register = Register::new(config.serial.as_str(), kind, config.terminal);
    register.name.clone_from(&config.name);
    register.tag.clone_from(&config.tag);
    register.ext = Ext::of(&EXTENSIONS);
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

impl ControlEngine {
    pub(super) fn register_ack(&mut self, message: &Envelope, now: Instant) {
        let Ok(ack) = RegisterAck::from_envelope(message) else {
            return;
        };
        match &self.phase {
            Phase::Login { exchange, .. } => match answer(&self.config, exchange, &ack) {
                Answer::Accepted(accepted) => self.registered(&accepted, now),
                Answer::Refused(reason) => self.give_up(reason, now),
                Answer::Prove(next, register) => {
                    if let Phase::Login { exchange, .. } = &mut self.phase {
                        *exchange = next;
                    }
                    let cseq = self.next_cseq();
                    self.send(&register.to_envelope(cseq));
                }
            },
            Phase::Online { .. } if !ack.error.is_success() => {
                self.give_up(DisconnectReason::LeaseLost(ack.error), now);
            }
            _ => {}
        }
    }
}

enum Answer {
    Accepted(Accepted),
    Refused(DisconnectReason),
    Prove(Exchange, Box<Register>),
}

fn answer(config: &ControlConfig, exchange: &Exchange, ack: &RegisterAck) -> Answer {
    let accepted = |proven| {
        Answer::Accepted(Accepted {
            proven,
            time_ms: ack.time_ms,
            generation: ack.generation,
            keep_alive_s: ack.keep_alive_s,
        })
    };
    match (exchange, &config.credential) {
        (Exchange::Hello { client_nonce }, Credential::Key(key))
            if ack.error == ErrorNum::UNAUTHORIZED =>
        {
            let Some(nonce) = &ack.nonce else {
                return Answer::Refused(DisconnectReason::Refused(ack.error));
            };
            let mut register = keep_alive(config);
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
        _ if !ack.error.is_success() => Answer::Refused(DisconnectReason::Refused(ack.error)),
        (
            Exchange::Proof {
                client_nonce,
                nonce,
            },
            Credential::Key(key),
        ) => {
            let proof = ack.server_proof.as_deref().unwrap_or_default();
            if key.check_server(client_nonce, nonce, proof) {
                accepted(true)
            } else {
                Answer::Refused(DisconnectReason::ServerProof)
            }
        }
        // A CMS that lets everybody in asks for no proof and has none to give.
        _ => accepted(false),
    }
}
