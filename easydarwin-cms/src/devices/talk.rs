//! One talker per device: the connection that began.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Who talks through which device.
#[derive(Debug, Default)]
pub(crate) struct TalkLocks {
    holders: Mutex<HashMap<String, u64>>,
}

impl TalkLocks {
    /// The connection begins, unless another one talks.
    pub(crate) fn start(&self, serial: &str, connection: u64) -> bool {
        let mut holders = self.holders.lock();
        *holders.entry(serial.to_owned()).or_insert(connection) == connection
    }

    pub(crate) fn holds(&self, serial: &str, connection: u64) -> bool {
        self.holders.lock().get(serial) == Some(&connection)
    }

    pub(crate) fn stop(&self, serial: &str, connection: u64) -> bool {
        let mut holders = self.holders.lock();
        let held = holders.get(serial) == Some(&connection);
        if held {
            holders.remove(serial);
        }
        held
    }

    /// The device or the talker's connection has ended.
    pub(crate) fn connection_ended(&self, connection: u64) {
        self.holders
            .lock()
            .retain(|_, holder| *holder != connection);
    }

    pub(crate) fn device_ended(&self, serial: &str) {
        self.holders.lock().remove(serial);
    }
}
