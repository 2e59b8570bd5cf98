//! What was repaired of a peer's requests and descriptions: counted, said once per session.

use std::time::Instant;

use super::{Connection, Media};
use crate::media::Repairs;

impl Connection {
    /// Takes what the protocol repaired, or refused.
    pub(super) fn take_repairs(&mut self) {
        let repairs = self.rtsp.take_repairs();
        if !repairs.is_empty() {
            let path = self.rtsp.faulty_path().unwrap_or_default().to_owned();
            self.note_repairs(&repairs, &path);
        }
    }

    pub(super) fn note_repairs(&mut self, repairs: &Repairs, path: &str) {
        let strict = self.shared.rtsp.strict;
        let peer = self.peer;
        for (repair, count) in repairs.iter() {
            if !self.repairs.add_many(repair, count) {
                continue;
            }
            let Some(left_out) = self.shared.hub.may_log(Instant::now()) else {
                continue;
            };
            if strict {
                tracing::warn!(%peer, path, ?repair, left_out, "refused: {}", repair.fault());
            } else {
                tracing::warn!(%peer, path, ?repair, left_out, "repaired: {}", repair.text());
            }
        }
        self.shared.hub.count_repairs(repairs);
        if let Media::Record(recorder) = &mut self.media {
            recorder.count_repairs(repairs);
        }
    }
}
