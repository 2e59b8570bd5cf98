//! When one publisher may follow another without the readers leaving.

use std::time::Instant;

use super::live::Meta;
use super::{PublishError, RelayConfig};
use crate::media::SessionDescription;
use crate::registry::Principal;

/// The same tracks in the same order; payload types and parameter sets may differ.
pub(super) fn compatible(old: &SessionDescription, new: &SessionDescription) -> bool {
    old.tracks.len() == new.tracks.len()
        && old.tracks.iter().zip(&new.tracks).all(|(old, new)| {
            old.kind == new.kind
                && old.encoding.eq_ignore_ascii_case(&new.encoding)
                && old.clock_rate == new.clock_rate
                && old.channels == new.channels
        })
}

/// Whether `principal` may replace the stream's publisher now.
///
/// Without such rules two cameras set to one path would kick each other for ever.
pub(super) fn may_take_over(
    meta: &Meta,
    principal: &Principal,
    last_packet: Instant,
    now: Instant,
    config: &RelayConfig,
) -> Result<(), PublishError> {
    let mut renewed = false;
    let same = match (&meta.principal, principal) {
        (
            Principal::Device {
                serial: old,
                generation: current,
            },
            Principal::Device {
                serial,
                generation: offered,
            },
        ) => {
            if old == serial && offered < current {
                return Err(PublishError::Stale {
                    offered: *offered,
                    current: *current,
                });
            }
            renewed = offered > current;
            old == serial
        }
        (old, new) => old == new,
    };
    if !same {
        return Err(PublishError::Busy("it belongs to somebody else"));
    }
    if !meta.online || renewed {
        return Ok(());
    }
    let device = matches!(principal, Principal::Device { .. });
    let silent = now.saturating_duration_since(last_packet) >= config.takeover_silence;
    if !device && !silent {
        return Err(PublishError::Busy("it is sending"));
    }
    let recent = meta
        .last_takeover
        .is_some_and(|last| now.saturating_duration_since(last) < config.takeover_interval);
    if recent {
        return Err(PublishError::Busy("it took over a moment ago"));
    }
    Ok(())
}
