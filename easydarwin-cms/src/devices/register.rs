//! Register: who is let in.

use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::{ErrorNum, Ext, Extension, Register, RegisterAck, login};
use easydarwin_core::registry::{
    Author, Credential, DeviceChange, DeviceChannel, DevicePatch, DeviceSaid, PresenceError,
    Secret, StoreError, UnixMillis, random_bytes,
};
use subtle::ConstantTimeEq as _;

use super::presence;
use super::session::{DeviceInfo, Proved, Session};
use crate::config::Policy;
use crate::conn::Link;
use crate::state::State;

/// A challenge that a device has still to answer. It counts once.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    serial: String,
    client_nonce: String,
    nonce: String,
}

/// What came of a register.
pub(crate) enum Registration {
    /// Let in: the new session.
    In(Arc<Session>, RegisterAck),
    /// The first half of ED1.
    Challenged(Challenge, RegisterAck),
    /// Not let in. The answer is delayed, so that guessing is slow.
    Refused(RegisterAck),
}

/// Longest nonce of a device.
const MAX_NONCE: usize = 128;

/// Id of the credential with which a device was adopted.
const ADOPTED: &str = "adopted";

/// How a device proved who it is.
enum Proven {
    ByKey {
        server_proof: String,
        proved: Proved,
    },
    ByToken {
        digest: [u8; 32],
        proved: Proved,
    },
    NotAsked {
        token: Option<[u8; 32]>,
    },
}

/// A register on a connection that holds no lease yet.
pub(crate) async fn register(
    state: &State,
    link: &Arc<Link>,
    challenge: Option<Challenge>,
    register: &Register,
) -> Registration {
    match decide(state, link, challenge, register).await {
        Ok(registration) => registration,
        Err(error) => {
            tracing::error!(serial = %register.serial, %error, "register failed");
            Registration::Refused(RegisterAck::new(
                register.serial.as_str(),
                ErrorNum::UNAVAILABLE,
            ))
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Presence(#[from] PresenceError),
    #[error(transparent)]
    Random(#[from] easydarwin_core::registry::TokenError),
}

async fn decide(
    state: &State,
    link: &Arc<Link>,
    challenge: Option<Challenge>,
    register: &Register,
) -> Result<Registration, Failure> {
    let serial = register.serial.as_str();
    let known = state.devices.get(serial).await?;
    let credentials: Vec<Credential> = state
        .devices
        .credentials(serial)
        .await?
        .into_iter()
        .filter(|credential| credential.revoked.is_none())
        .collect();
    if known.as_ref().is_some_and(|device| !device.enabled) {
        return Ok(refused(state, link, register, ErrorNum::FORBIDDEN));
    }
    let proven = if register.auth.as_deref() == Some(login::ED1) {
        match by_key(state, challenge, register, &credentials)? {
            KeyStep::Proven(proven) => Some(proven),
            KeyStep::Challenge(challenge) => {
                let mut ack = RegisterAck::new(serial, ErrorNum::UNAUTHORIZED);
                ack.nonce = Some(challenge.nonce.clone());
                ack.ext = our_ext();
                return Ok(Registration::Challenged(challenge, ack));
            }
            KeyStep::Refused => None,
        }
    } else {
        by_token(state, link, register, &credentials, known.is_some()).await?
    };
    let Some(proven) = proven else {
        return Ok(refused(state, link, register, ErrorNum::UNAUTHORIZED));
    };

    match &proven {
        Proven::NotAsked { .. } => link.visit.trusted(),
        Proven::ByKey { .. } | Proven::ByToken { .. } => link.visit.proven(),
    }

    let now = state.now();
    let info = DeviceInfo::of(register);
    let group = known.as_ref().map(|d| d.group.clone()).unwrap_or_default();
    let said = known.map(|device| device.said);
    remember(state, serial, &info, said.as_ref()).await?;
    let acquired = state.presence.acquire(serial, now).await?;
    presence::changed(state, &acquired.transition).await;
    let (token, credential) = match &proven {
        Proven::ByToken { digest, proved } => (Some(*digest), Some(proved.clone())),
        Proven::NotAsked { token } => (*token, None),
        Proven::ByKey { proved, .. } => (None, Some(proved.clone())),
    };
    if let Some(proved) = &credential {
        state.uses.note(serial, proved, now);
    }
    let lease = acquired.lease;
    let session = Session::new(lease, link.clone(), token, credential, group, info);
    let session = Arc::new(session);
    match state.sessions.enter(session.clone()) {
        Ok(Some(old)) => {
            tracing::info!(serial, old = %old.link.peer, new = %link.peer, "device taken over by a newer connection");
            state.talkers.device_ended(serial);
            old.ended();
            old.link.close();
        }
        Ok(None) => tracing::info!(serial, peer = %link.peer, "device registered"),
        // Another connection of the same device was faster by a hair and is the newer one.
        Err(()) => return Ok(refused(state, link, register, ErrorNum::CONFLICT)),
    }
    let mut ack = RegisterAck::new(serial, ErrorNum::OK);
    if is_detailed(register) {
        details(&mut ack, state, &session, now);
        ack.ext = our_ext();
    }
    if let Proven::ByKey { server_proof, .. } = proven {
        ack.server_proof = Some(server_proof);
    }
    Ok(Registration::In(session, ack))
}

/// What we can do beyond the old protocol.
fn our_ext() -> Ext {
    Ext::of(&[
        Extension::Auth,
        Extension::Token,
        Extension::Retry,
        Extension::Config,
        Extension::Reboot,
        Extension::Event,
        Extension::Snapshot,
        Extension::SnapshotPut,
    ])
}

/// To a device that can be told so, when too many come at once.
pub(crate) fn come_again(register: &Register, after: Duration) -> RegisterAck {
    let mut ack = RegisterAck::new(register.serial.as_str(), ErrorNum::UNAVAILABLE);
    ack.retry_after_s = Some(after.as_secs().saturating_add(1));
    ack.ext = our_ext();
    ack
}

fn refused(state: &State, link: &Link, register: &Register, error: ErrorNum) -> Registration {
    let serial = register.serial.as_str();
    tracing::warn!(serial, peer = %link.peer, %error, "register refused");
    state.pending.note(serial, link.peer.ip(), state.now());
    Registration::Refused(RegisterAck::new(serial, error))
}

enum KeyStep {
    Proven(Proven),
    Challenge(Challenge),
    Refused,
}

fn by_key(
    state: &State,
    challenge: Option<Challenge>,
    register: &Register,
    credentials: &[Credential],
) -> Result<KeyStep, Failure> {
    let Some(client_nonce) = register
        .client_nonce
        .as_deref()
        .filter(|nonce| nonce.len() <= MAX_NONCE)
    else {
        return Ok(KeyStep::Refused);
    };
    let serial = register.serial.as_str();
    if state.config.policy == Policy::Open && credentials.is_empty() {
        // There is nothing to check, and nothing to prove: no ServerProof.
        return Ok(KeyStep::Proven(Proven::NotAsked { token: None }));
    }
    let Some(proof) = register.proof.as_deref() else {
        // Unknown serials are challenged, too, so that nobody learns which ones exist.
        return Ok(KeyStep::Challenge(Challenge {
            serial: serial.to_owned(),
            client_nonce: client_nonce.to_owned(),
            nonce: login::nonce(random_bytes()?),
        }));
    };
    let Some(challenge) =
        challenge.filter(|c| c.serial == serial && c.client_nonce == client_nonce)
    else {
        return Ok(KeyStep::Refused);
    };
    for credential in credentials {
        if let Secret::Key(verifier) = &credential.secret
            && verifier.check(serial, client_nonce, &challenge.nonce, proof)
        {
            let server_proof = verifier.server_proof(serial, client_nonce, &challenge.nonce);
            return Ok(KeyStep::Proven(Proven::ByKey {
                server_proof,
                proved: Proved::of(credential),
            }));
        }
    }
    Ok(KeyStep::Refused)
}

async fn by_token(
    state: &State,
    link: &Link,
    register: &Register,
    credentials: &[Credential],
    known: bool,
) -> Result<Option<Proven>, Failure> {
    let serial = register.serial.as_str();
    let digest = register
        .token
        .as_deref()
        .map(|token| login::token_digest(&state.secrets.pepper, serial, token));
    if credentials.is_empty() && state.config.policy == Policy::Open {
        return Ok(Some(Proven::NotAsked { token: digest }));
    }
    let Some(digest) = digest else {
        return Ok(None);
    };
    let has_key = credentials
        .iter()
        .any(|credential| matches!(credential.secret, Secret::Key(_)));
    // Plain text must not open what a key guards.
    if has_key && !state.config.plain_ok {
        return Ok(None);
    }
    let fits = credentials.iter().find(|credential| {
        matches!(&credential.secret, Secret::Token(stored) if stored.ct_eq(&digest).into())
    });
    if let Some(credential) = fits {
        let proved = Proved::of(credential);
        return Ok(Some(Proven::ByToken { digest, proved }));
    }
    let adopt =
        state.adopts() && !known && register.token.as_deref().is_some_and(|t| !t.is_empty());
    if !adopt {
        return Ok(None);
    }
    let by = Author::new("policy:adopt", state.now()).from_address(link.peer.ip().to_string());
    let credential = Credential::new(ADOPTED, Secret::Token(digest), by.at);
    let proved = Proved::of(&credential);
    let changes = vec![
        DeviceChange::Patch(serial.to_owned(), DevicePatch::default()),
        DeviceChange::PutCredential(serial.to_owned(), credential),
    ];
    state.devices.change(changes, &by).await?;
    tracing::info!(
        serial,
        "unknown device adopted with the token that it brought"
    );
    Ok(Some(Proven::ByToken { digest, proved }))
}

/// Writes down what a device says of itself, if it is new.
pub(crate) async fn remember(
    state: &State,
    serial: &str,
    info: &DeviceInfo,
    known: Option<&DeviceSaid>,
) -> Result<(), StoreError> {
    let mut said = DeviceSaid::default();
    said.name.clone_from(&info.name);
    said.tag.clone_from(&info.tag);
    info.app_type.as_str().clone_into(&mut said.app_type);
    said.terminal_type.clone_from(&info.terminal);
    said.channels = info
        .channels
        .iter()
        .map(|channel| DeviceChannel {
            channel: channel.channel,
            name: channel.name.clone(),
            online: channel.online,
        })
        .collect();
    if known == Some(&said) {
        return Ok(());
    }
    let change = DeviceChange::Said(serial.to_owned(), said);
    let by = Author::system(state.now());
    state.devices.change(vec![change], &by).await.map(|_| ())
}

/// A register on a connection that holds a lease: the keep-alive. Returns the answer, and
/// whether the connection may go on.
pub(crate) async fn keep_alive(
    state: &State,
    session: &Arc<Session>,
    register: &Register,
) -> (RegisterAck, bool) {
    let serial = register.serial.as_str();
    if *serial != *session.serial {
        // One connection speaks for one device.
        return (RegisterAck::new(serial, ErrorNum::BAD_REQUEST), true);
    }
    if let (Some(digest), Some(token)) = (&session.token, register.token.as_deref()) {
        let other = login::token_digest(&state.secrets.pepper, serial, token);
        if !bool::from(digest.ct_eq(&other)) {
            tracing::warn!(serial, peer = %session.link.peer, "another token on a living connection refused");
            return (RegisterAck::new(serial, ErrorNum::UNAUTHORIZED), true);
        }
    }
    let (ack, go_on) = renew(state, session, is_detailed(register)).await;
    if !go_on {
        return (ack, false);
    }
    let info = DeviceInfo::of(register);
    if info != *session.info() {
        *session.info.write() = Arc::new(info.clone());
        if let Err(error) = remember(state, serial, &info, None).await {
            tracing::error!(serial, %error, "what the device says of itself could not be stored");
        }
    }
    (ack, true)
}

/// Whether a device understands more in an answer than its result.
pub(crate) fn is_detailed(register: &Register) -> bool {
    !register.ext.is_empty() || register.auth.is_some()
}

/// The lease's holder was heard. Returns the answer, and whether the connection may go on.
pub(crate) async fn renew(state: &State, session: &Session, detailed: bool) -> (RegisterAck, bool) {
    let now = state.now();
    if !presence::heard(state, &session.lease).await {
        return (
            RegisterAck::new(&*session.serial, ErrorNum::CONFLICT),
            false,
        );
    }
    let mut ack = RegisterAck::new(&*session.serial, ErrorNum::OK);
    if detailed {
        details(&mut ack, state, session, now);
    }
    (ack, true)
}

fn details(ack: &mut RegisterAck, state: &State, session: &Session, now: UnixMillis) {
    ack.time_ms = Some(now.0);
    ack.generation = Some(session.lease.generation);
    ack.keep_alive_s = Some(state.config.keep_alive.as_secs().max(1));
}
