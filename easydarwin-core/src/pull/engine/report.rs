//! What others may know of a source.

use std::time::{Duration, Instant};

use super::{Phase, SourceEngine};
use crate::media::Repairs;
use crate::pull::{LinkState, SourceInfo, SourceMemory, SourceSpec};

impl SourceEngine {
    /// The source as it was given.
    pub fn spec(&self) -> &SourceSpec {
        &self.spec
    }

    /// What was learned so far.
    pub fn memory(&self) -> SourceMemory {
        self.memory
    }

    /// What it does now.
    pub fn state(&self) -> LinkState {
        match &self.phase {
            Phase::Stopped => LinkState::Stopped,
            Phase::Waiting { .. } => LinkState::Waiting,
            Phase::Busy(busy) => match busy.conversation.has_media() {
                true => LinkState::Playing,
                false => LinkState::Connecting,
            },
        }
    }

    /// What the connection that there is had to repair.
    pub(in crate::pull) fn repairs(&self) -> Repairs {
        match &self.phase {
            Phase::Busy(busy) => busy.conversation.repairs(),
            _ => Repairs::default(),
        }
    }

    /// State and counters, without secrets.
    pub fn info(&self, now: Instant) -> SourceInfo {
        let (mut reason, mut next, mut playing) = (None, None, None);
        let (mut transport, mut keep_alive) = (self.memory.transport, self.memory.keep_alive);
        match &self.phase {
            Phase::Stopped => {}
            Phase::Waiting { kind, until } => {
                reason = Some(*kind);
                next = Some(millis(until.saturating_duration_since(now)));
            }
            Phase::Busy(busy) => {
                transport = Some(busy.conversation.transport());
                keep_alive = busy.conversation.keep_alive();
                let since = busy.conversation.playing_since();
                playing = since.map(|since| millis(now.saturating_duration_since(since)));
            }
        }
        SourceInfo {
            path: self.spec.path.as_str().to_owned(),
            url: self.spec.url.to_string(),
            mode: self.spec.mode,
            state: self.state(),
            reason,
            next_attempt_ms: next,
            transport,
            keep_alive,
            playing_ms: playing,
            counters: self.counters.clone(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
