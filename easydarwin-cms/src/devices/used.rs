//! When credentials were last used: kept in memory and written down now and then.

use std::collections::HashMap;

use easydarwin_core::registry::{UnixMillis, Used};
use parking_lot::Mutex;

use super::session::Proved;
use crate::state::State;

/// Most uses that wait; what comes beyond is written down at the device's next login.
const MAX_WAITING: usize = 65_536;

/// The last use of each device's credential.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<String, (String, UnixMillis)>>);

impl Uses {
    pub(crate) fn note(&self, serial: &str, proved: &Proved, at: UnixMillis) {
        let mut table = self.0.lock();
        if table.len() < MAX_WAITING || table.contains_key(serial) {
            table.insert(serial.to_owned(), (proved.id.clone(), at));
        }
    }
}

/// Writes down what was noted.
pub(crate) async fn write_uses(state: &State) {
    let noted = std::mem::take(&mut *state.uses.0.lock());
    if noted.is_empty() {
        return;
    }
    let used = noted
        .into_iter()
        .map(|(serial, (id, at))| Used { serial, id, at })
        .collect();
    if let Err(error) = state.devices.used(used).await {
        tracing::error!(%error, "the uses of credentials could not be stored");
    }
}
