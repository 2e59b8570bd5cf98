//! A registered device's connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::{
    AppType, ChannelInfo, Envelope, Ext, MessageType, Register, Route,
};
use easydarwin_core::registry::{Credential, GroupPath, Lease, Secret};
use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tokio::sync::oneshot;

use super::told::TellPace;
use super::upload::Uploads;
use crate::conn::Link;

/// A known old client takes a CSeq from 100 000 on for its own.
const MAX_CSEQ: u32 = 99_999;

/// Requests to one device that may wait for their answers.
const MAX_WAITING: usize = 64;

/// What a device said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceInfo {
    pub(crate) name: String,
    pub(crate) tag: String,
    pub(crate) app_type: AppType,
    pub(crate) terminal: String,
    pub(crate) channels: Vec<ChannelInfo>,
    pub(crate) ext: Ext,
}

impl DeviceInfo {
    pub(crate) fn of(register: &Register) -> Self {
        Self {
            name: shortened(&register.name),
            tag: shortened(&register.tag),
            app_type: register.app_type,
            terminal: shortened(&register.terminal_text),
            channels: register
                .channels
                .iter()
                .map(|c| ChannelInfo {
                    name: shortened(&c.name),
                    ..c.clone()
                })
                .collect(),
            ext: register.ext,
        }
    }
}

/// Longest name kept, in characters.
const MAX_NAME: usize = 128;

fn shortened(text: &str) -> String {
    text.chars().take(MAX_NAME).collect()
}

/// A credential that a device proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proved {
    pub(crate) id: String,
    pub(crate) secret: Secret,
}

impl Proved {
    pub(crate) fn of(credential: &Credential) -> Self {
        Self {
            id: credential.id.clone(),
            secret: credential.secret.clone(),
        }
    }

    /// Whether it still counts.
    pub(crate) fn is_among(&self, credentials: &[Credential]) -> bool {
        credentials
            .iter()
            .any(|c| c.id == self.id && c.secret == self.secret && c.revoked.is_none())
    }
}

/// A device that is registered, and the way to it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) serial: Arc<str>,
    pub(crate) link: Arc<Link>,
    pub(crate) lease: Lease,
    /// Digest of an old device's token: each keep-alive has to bring the same.
    pub(crate) token: Option<[u8; 32]>,
    /// The credential that it proved, with what it was checked against.
    pub(crate) credential: Option<Box<Proved>>,
    pub(crate) info: RwLock<Arc<DeviceInfo>>,
    group: RwLock<GroupPath>,
    waiting: Mutex<Waiting>,
    /// How much it tells.
    pub(crate) tells: Mutex<TellPace>,
    /// What it may put beside this connection.
    pub(super) uploads: Mutex<Uploads>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u32,
    answers: HashMap<u32, (MessageType, oneshot::Sender<Envelope>)>,
    closed: bool,
}

/// Why a device's answer did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum AckError {
    #[error("the device did not answer in time")]
    Silent,
    #[error("the device's connection ended before it answered")]
    Gone,
    #[error("too many requests wait for this device")]
    Busy,
}

impl Session {
    pub(crate) fn new(
        lease: Lease,
        link: Arc<Link>,
        token: Option<[u8; 32]>,
        credential: Option<Proved>,
        group: GroupPath,
        info: DeviceInfo,
    ) -> Self {
        Self {
            serial: lease.serial.clone(),
            link,
            lease,
            token,
            credential: credential.map(Box::new),
            info: RwLock::new(Arc::new(info)),
            group: RwLock::new(group),
            waiting: Mutex::default(),
            tells: Mutex::default(),
            uploads: Mutex::default(),
        }
    }

    pub(crate) fn info(&self) -> Arc<DeviceInfo> {
        self.info.read().clone()
    }

    /// Where the device is in the tree of groups.
    pub(crate) fn group(&self) -> GroupPath {
        self.group.read().clone()
    }

    pub(crate) fn set_group(&self, group: GroupPath) {
        *self.group.write() = group;
    }

    pub(crate) fn route(&self, from: String, to: String, via: &str) -> Route {
        let mut route = Route::default();
        (route.from, route.to, route.via) = (from, to, via.to_owned());
        route
    }

    /// Sends a request whose answer nobody waits for. Returns its CSeq.
    pub(crate) fn notify(&self, make: impl FnOnce(u32) -> Envelope) -> Result<u32, AckError> {
        let cseq = self.waiting.lock().next();
        self.link.send(&make(cseq)).map_err(|_| AckError::Gone)?;
        Ok(cseq)
    }

    /// Sends a request and waits for the answer of this kind.
    pub(crate) async fn ask(
        &self,
        answer: MessageType,
        within: Duration,
        make: impl FnOnce(u32) -> Envelope,
    ) -> Result<Envelope, AckError> {
        let (tx, rx) = oneshot::channel();
        let cseq = {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(AckError::Gone);
            }
            if waiting.answers.len() >= MAX_WAITING {
                return Err(AckError::Busy);
            }
            let cseq = waiting.next();
            waiting.answers.insert(cseq, (answer, tx));
            cseq
        };
        let result = match self.link.send(&make(cseq)) {
            Err(_) => Err(AckError::Gone),
            Ok(()) => match tokio::time::timeout(within, rx).await {
                Err(_) => Err(AckError::Silent),
                Ok(Err(_)) => Err(AckError::Gone),
                Ok(Ok(envelope)) => Ok(envelope),
            },
        };
        self.waiting.lock().answers.remove(&cseq);
        result
    }

    /// An answer came from the device.
    pub(crate) fn answered(&self, envelope: Envelope) {
        let (Some(cseq), Some(kind)) = (envelope.cseq_number(), envelope.kind()) else {
            return;
        };
        let mut waiting = self.waiting.lock();
        if waiting.answers.get(&cseq).is_some_and(|(k, _)| *k == kind)
            && let Some((_, tx)) = waiting.answers.remove(&cseq)
        {
            // Who asked may have given up at this moment.
            let _ = tx.send(envelope);
        }
    }

    /// The connection has ended: nobody waits any longer.
    pub(crate) fn ended(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.answers.clear();
    }
}

impl Waiting {
    fn next(&mut self) -> u32 {
        self.last = if self.last >= MAX_CSEQ {
            1
        } else {
            self.last + 1
        };
        self.last
    }
}

/// Registered devices by serial.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: RwLock<BTreeMap<Arc<str>, Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn get(&self, serial: &str) -> Option<Arc<Session>> {
        self.table.read().get(serial).cloned()
    }

    /// Enters a session unless a newer one is there; returns the one that it replaced.
    pub(crate) fn enter(&self, session: Arc<Session>) -> Result<Option<Arc<Session>>, ()> {
        let mut table = self.table.write();
        if let Some(other) = table.get(&session.serial)
            && other.lease.generation > session.lease.generation
        {
            return Err(());
        }
        Ok(table.insert(session.serial.clone(), session))
    }

    /// Removes this very session, not a newer one of the same serial.
    pub(crate) fn leave(&self, session: &Session) -> bool {
        let mut table = self.table.write();
        let own = table
            .get(&session.serial)
            .is_some_and(|s| s.lease.generation == session.lease.generation);
        if own {
            table.remove(&session.serial);
        }
        own
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.table.read().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_numbers_begin_anew_below_those_of_a_known_device() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.next(), 1);
        waiting.last = MAX_CSEQ - 1;
        assert_eq!(waiting.next(), 99_999);
        assert_eq!(waiting.next(), 1);
    }
}
