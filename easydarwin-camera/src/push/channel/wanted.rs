use std::fmt;

use easydarwin_core::rtsp::Login;

use crate::control::PushTarget;

/// A push that is wanted. `Debug` shows neither token nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    url: String,
    token: Option<String>,
    generation: Option<u64>,
    /// Nobody asks again: tried again even when the server refuses the right.
    pub(super) always: bool,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("url", &crate::url::without_password(&self.url))
            .field("generation", &self.generation)
            .field("always", &self.always)
            .finish_non_exhaustive()
    }
}

impl Wanted {
    /// A push to an `rtsp://` or `rtsps://` URL that no CMS asked for: it is tried again whatever
    /// the media server says.
    pub fn always(url: String) -> Self {
        Self {
            url,
            token: None,
            generation: None,
            always: true,
        }
    }

    /// A push that a CMS asked for. When the media server denies the right to publish (401, 403),
    /// it waits for the CMS to ask anew.
    pub fn asked(target: PushTarget) -> Self {
        Self {
            url: target.url,
            token: target.token,
            generation: target.generation,
            always: false,
        }
    }

    /// Where to, with what the URL says of user and password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether a push for this serves `other`, too. A new generation is a push of its own: the
    /// CMS would not have asked if it saw the old one.
    pub(super) fn serves(&self, other: &Self) -> bool {
        self.url == other.url && self.generation == other.generation
    }

    pub(super) fn login(&self) -> Login {
        self.token
            .as_ref()
            .map_or(Login::FromUrl, |token| Login::Bearer(token.clone()))
    }
}
