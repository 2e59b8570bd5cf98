//! Who asks.

use std::sync::Arc;

use easydarwin_core::registry::{GroupPath, Rights, Role};

/// What somebody may do, over all or over one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Nothing.
    None,
    /// See which devices there are.
    Read,
    /// Also watch.
    View,
    /// Also move cameras, talk, end streams that others watch.
    Control,
    /// Also change devices, people and keys.
    Admin,
}

impl From<Option<Role>> for Access {
    fn from(role: Option<Role>) -> Self {
        match role {
            None => Self::None,
            Some(Role::Viewer) => Self::View,
            Some(Role::Operator) => Self::Control,
            Some(_) => Self::Admin,
        }
    }
}

/// Somebody and his rights.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// `user:NAME`, `key:ID`, `network:CIDR`, `nobody`; stands in tokens and in the audit.
    pub(crate) who: Arc<str>,
    rights: Arc<Rights>,
    /// What he may do at most, whatever the rights say.
    cap: Access,
}

impl Identity {
    pub(crate) fn nobody() -> Self {
        Self::new("nobody", Arc::new(Rights::NONE))
    }

    pub(crate) fn new(who: impl Into<Arc<str>>, rights: Arc<Rights>) -> Self {
        Self {
            who: who.into(),
            rights,
            cap: Access::Admin,
        }
    }

    /// The same, with no more than this.
    pub(crate) fn at_most(mut self, cap: Access) -> Self {
        self.cap = self.cap.min(cap);
        self
    }

    /// What he may do with something, somewhere.
    pub(crate) fn highest(&self) -> Access {
        Access::from(self.rights.highest()).min(self.cap)
    }

    /// What he may do with what belongs to no group: the CMS itself.
    pub(crate) fn everywhere(&self) -> Access {
        self.in_group(&GroupPath::root())
    }

    /// What he may do with a device of this group.
    pub(crate) fn in_group(&self, group: &GroupPath) -> Access {
        Access::from(self.rights.role_in(group)).min(self.cap)
    }

    /// The groups whose devices he sees; `None`: all.
    pub(crate) fn scope(&self) -> Option<Vec<GroupPath>> {
        if self.cap == Access::None {
            return Some(Vec::new());
        }
        self.rights.scope()
    }

    /// Whether he is who he is by his address alone.
    pub(crate) fn is_by_network(&self) -> bool {
        &*self.who == "network"
    }

    pub(crate) fn rights(&self) -> &Rights {
        &self.rights
    }
}
