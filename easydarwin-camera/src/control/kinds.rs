//! What an embedder can do for clients.

use std::fmt;

/// A kind of command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommandKind {
    /// Move, zoom, focus.
    Ptz,
    /// Preset positions.
    Preset,
    /// Speech for the loudspeaker.
    Talkback,
    /// A picture on request; without it pictures are sent from time to time only.
    Snapshot,
    /// Start anew.
    Reboot,
    /// Values of the configuration.
    Config,
}

impl CommandKind {
    const ALL: [Self; 6] = [
        Self::Ptz,
        Self::Preset,
        Self::Talkback,
        Self::Snapshot,
        Self::Reboot,
        Self::Config,
    ];

    fn bit(self) -> u8 {
        match self {
            Self::Ptz => 1,
            Self::Preset => 2,
            Self::Talkback => 4,
            Self::Snapshot => 8,
            Self::Reboot => 16,
            Self::Config => 32,
        }
    }
}

/// What an embedder does. Everything else is answered with 501 at once.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandKinds(u8);

impl CommandKinds {
    /// Whether this is among them.
    pub fn has(self, kind: CommandKind) -> bool {
        self.0 & kind.bit() != 0
    }
}

impl FromIterator<CommandKind> for CommandKinds {
    fn from_iter<I: IntoIterator<Item = CommandKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | kind.bit()))
    }
}

impl fmt::Debug for CommandKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = CommandKind::ALL.into_iter().filter(|kind| self.has(*kind));
        f.debug_set().entries(kinds).finish()
    }
}
