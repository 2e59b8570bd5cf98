//! One talker per device: the connection that began. Another one takes over by rule.

use std::collections::HashMap;
use std::time::Duration;

use easydarwin_core::registry::UnixMillis;
use parking_lot::Mutex;

use crate::access::Access;

/// Who says nothing for so long has no claim to the device any more.
const SILENCE: Duration = Duration::from_secs(30);

/// What became of somebody's wish to talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    /// He talks.
    Begun,
    /// He talks; whoever did before does not any more.
    TakenOver,
    /// Somebody else talks.
    Busy,
}

/// Who talks through which device.
#[derive(Debug, Default)]
pub(crate) struct TalkLocks {
    holders: Mutex<HashMap<String, Talker>>,
}

#[derive(Debug, Clone, Copy)]
struct Talker {
    connection: u64,
    access: Access,
    heard: UnixMillis,
}

impl TalkLocks {
    /// The connection begins, unless another one talks that has the same right or a higher one
    /// and was heard lately.
    pub(crate) fn start(
        &self,
        serial: &str,
        connection: u64,
        access: Access,
        now: UnixMillis,
    ) -> Talk {
        let mut holders = self.holders.lock();
        let new = Talker {
            connection,
            access,
            heard: now,
        };
        let result = match holders.get(serial) {
            None => Talk::Begun,
            Some(talker) if talker.connection == connection => Talk::Begun,
            Some(talker) if access > talker.access || now.since(talker.heard) >= SILENCE => {
                Talk::TakenOver
            }
            Some(_) => Talk::Busy,
        };
        if result != Talk::Busy {
            holders.insert(serial.to_owned(), new);
        }
        result
    }

    /// The connection says something; `false` if it is not the talker.
    pub(crate) fn says(&self, serial: &str, connection: u64, now: UnixMillis) -> bool {
        match self.holders.lock().get_mut(serial) {
            Some(talker) if talker.connection == connection => {
                talker.heard = now;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn stop(&self, serial: &str, connection: u64) -> bool {
        let mut holders = self.holders.lock();
        let held = holders
            .get(serial)
            .is_some_and(|talker| talker.connection == connection);
        if held {
            holders.remove(serial);
        }
        held
    }

    /// The talker's connection has ended.
    pub(crate) fn connection_ended(&self, connection: u64) {
        self.holders
            .lock()
            .retain(|_, talker| talker.connection != connection);
    }

    pub(crate) fn device_ended(&self, serial: &str) {
        self.holders.lock().remove(serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_right_or_silence_takes_over() {
        let locks = TalkLocks::default();
        let at = |seconds: u64| UnixMillis(seconds * 1000);
        let start =
            |connection, access, seconds| locks.start("cam", connection, access, at(seconds));
        assert_eq!(start(1, Access::Control, 0), Talk::Begun);
        assert_eq!(start(1, Access::Control, 1), Talk::Begun, "once more");
        assert_eq!(start(2, Access::Control, 2), Talk::Busy);
        assert!(locks.says("cam", 1, at(20)) && !locks.says("cam", 2, at(20)));
        assert_eq!(start(2, Access::Control, 49), Talk::Busy, "heard at 20");
        assert_eq!(start(2, Access::Control, 50), Talk::TakenOver);
        assert!(!locks.says("cam", 1, at(50)), "no longer");
        assert!(!locks.stop("cam", 1));
        assert_eq!(start(3, Access::Admin, 51), Talk::TakenOver);
        assert_eq!(start(2, Access::Control, 52), Talk::Busy);
        assert!(locks.stop("cam", 3));
        assert_eq!(start(2, Access::Control, 53), Talk::Begun);
        locks.connection_ended(2);
        assert_eq!(start(4, Access::Control, 54), Talk::Begun);
        locks.device_ended("cam");
        assert_eq!(start(5, Access::Control, 55), Talk::Begun);
    }
}
