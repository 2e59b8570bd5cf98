//! `Ext`: what a peer can do beyond the old protocol.

use std::fmt;

/// One thing that a device can do beyond the old protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Extension {
    /// Logs in with ED1.
    Auth,
    /// Sends the token of a push request as `Authorization: Bearer` to the media node.
    Token,
    /// Follows a redirect to another CMS.
    Redirect,
    /// Obeys `RetryAfter`.
    Retry,
    /// Takes configuration.
    Config,
    /// Can be rebooted.
    Reboot,
    /// Sends events.
    Event,
    /// Sends what it recorded while it was cut off.
    Backfill,
    /// Takes talkback as binary frames.
    TalkbackBinary,
    /// Takes a picture on request.
    Snapshot,
    /// Brings pictures by HTTP PUT instead of in messages.
    SnapshotPut,
}

impl Extension {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Auth, "auth"),
        (Self::Token, "token"),
        (Self::Redirect, "redirect"),
        (Self::Retry, "retry"),
        (Self::Config, "config"),
        (Self::Reboot, "reboot"),
        (Self::Event, "event"),
        (Self::Backfill, "backfill"),
        (Self::TalkbackBinary, "talkback-binary"),
        (Self::Snapshot, "snapshot"),
        (Self::SnapshotPut, "snapshot-put"),
    ];

    fn bit(self) -> u16 {
        let at = Self::ALL.iter().position(|(e, _)| *e == self).unwrap_or(0);
        1 << at
    }
}

/// A set of [`Extension`]s, `auth,token` on the wire. Names that we don't know are left out.
///
/// Nothing outside the old protocol is sent to a device that did not list it: old devices may
/// drop the connection at unknown messages.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Ext(u16);

impl Ext {
    /// A set of these.
    pub fn of(extensions: &[Extension]) -> Self {
        Self(extensions.iter().fold(0, |bits, e| bits | e.bit()))
    }

    /// Reads a comma list.
    pub fn parse(text: &str) -> Self {
        let known = |name: &str| {
            let name = name.trim();
            Extension::ALL
                .iter()
                .find(|(_, n)| n.eq_ignore_ascii_case(name))
                .map_or(0, |(e, _)| e.bit())
        };
        Self(text.split(',').fold(0, |bits, name| bits | known(name)))
    }

    /// Whether the peer can do this.
    pub fn has(self, extension: Extension) -> bool {
        self.0 & extension.bit() != 0
    }

    /// Whether nothing is listed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Ext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Extension::ALL
            .iter()
            .filter(|(e, _)| self.has(*e))
            .map(|(_, name)| *name)
            .collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Ext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ext({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_left_out() {
        let ext = Ext::parse("token, AUTH,teleport,,talkback-binary");
        assert!(ext.has(Extension::Auth) && ext.has(Extension::TalkbackBinary));
        assert!(!ext.has(Extension::Reboot));
        assert_eq!(ext.to_string(), "auth,token,talkback-binary");
        assert_eq!(ext, Ext::parse(&ext.to_string()));
    }
}
