//! Serials that tried to register and are not known: for the operator to look at.

use std::collections::VecDeque;

use easydarwin_core::registry::UnixMillis;
use parking_lot::Mutex;

/// One unknown serial.
#[derive(Debug, Clone)]
pub(crate) struct Unknown {
    pub(crate) serial: String,
    pub(crate) address: std::net::IpAddr,
    pub(crate) last: UnixMillis,
}

/// The last unknown serials; the longest unheard go first.
#[derive(Debug)]
pub(crate) struct PendingDevices {
    limit: usize,
    list: Mutex<VecDeque<Unknown>>,
}

impl PendingDevices {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            list: Mutex::default(),
        }
    }

    pub(crate) fn note(&self, serial: &str, address: std::net::IpAddr, last: UnixMillis) {
        let mut list = self.list.lock();
        list.retain(|unknown| unknown.serial != serial);
        while list.len() >= self.limit.max(1) {
            list.pop_front();
        }
        list.push_back(Unknown {
            serial: serial.to_owned(),
            address,
            last,
        });
    }

    pub(crate) fn all(&self) -> Vec<Unknown> {
        self.list.lock().iter().rev().cloned().collect()
    }
}
