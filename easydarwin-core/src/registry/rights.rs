//! What somebody may do, and with which devices.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::GroupPath;

/// What somebody may do. Each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// See devices, events and pictures, and watch.
    Viewer,
    /// Also move cameras, talk, and end streams that others watch.
    Operator,
    /// Also change devices, people, keys and policy.
    Admin,
}

/// The text is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a role is one of viewer, operator, admin")]
pub struct RoleError;

impl Role {
    /// As it stands in the API and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        [Self::Viewer, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(RoleError)
    }
}

/// A role over a group and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleGrant {
    /// The role.
    pub role: Role,
    /// The group.
    pub group: GroupPath,
}

impl RoleGrant {
    /// A role over everything.
    pub fn everywhere(role: Role) -> Self {
        Self {
            role,
            group: GroupPath::root(),
        }
    }
}

impl fmt::Display for RoleGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_root() {
            return write!(f, "{}", self.role);
        }
        write!(f, "{}:{}", self.role, self.group)
    }
}

/// The text is no grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write ROLE or ROLE:GROUP, such as viewer:north/gate; roles are viewer, operator, admin")]
pub struct RoleGrantError;

impl FromStr for RoleGrant {
    type Err = RoleGrantError;

    fn from_str(text: &str) -> Result<Self, RoleGrantError> {
        let (role, group) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self {
            role: role.parse().map_err(|_| RoleGrantError)?,
            group: group.parse().map_err(|_| RoleGrantError)?,
        })
    }
}

/// All that somebody was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    grants: Vec<RoleGrant>,
}

impl Rights {
    /// Nothing at all.
    pub const NONE: Self = Self { grants: Vec::new() };

    /// These.
    pub fn new(grants: Vec<RoleGrant>) -> Self {
        Self { grants }
    }

    /// A role over everything.
    pub fn everywhere(role: Role) -> Self {
        Self::new(vec![RoleGrant::everywhere(role)])
    }

    /// What was given.
    pub fn grants(&self) -> &[RoleGrant] {
        &self.grants
    }

    /// In words, for the audit; `counts`: whoever has them is enabled.
    pub fn described(&self, counts: bool) -> String {
        let grants: Vec<String> = self.grants.iter().map(ToString::to_string).collect();
        let note = if counts { "" } else { " (disabled)" };
        format!("{}{note}", grants.join(" "))
    }

    /// The highest role over a device in this group.
    pub fn role_in(&self, group: &GroupPath) -> Option<Role> {
        self.grants
            .iter()
            .filter(|grant| grant.group.holds(group))
            .map(|grant| grant.role)
            .max()
    }

    /// The highest role over anything.
    pub fn highest(&self) -> Option<Role> {
        self.grants.iter().map(|grant| grant.role).max()
    }

    /// Whether a device in this group may be seen.
    pub fn sees(&self, group: &GroupPath) -> bool {
        self.role_in(group).is_some()
    }

    /// The groups whose devices may be seen: `None` means all devices.
    pub fn scope(&self) -> Option<Vec<GroupPath>> {
        if self.sees(&GroupPath::root()) {
            return None;
        }
        Some(self.grants.iter().map(|g| g.group.clone()).collect())
    }

    /// What both allow: a key can never do more than its owner.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        let mut grants: Vec<RoleGrant> = Vec::new();
        for (a, b) in self
            .grants
            .iter()
            .flat_map(|a| other.grants.iter().map(move |b| (a, b)))
        {
            let group = if a.group.holds(&b.group) {
                &b.group
            } else if b.group.holds(&a.group) {
                &a.group
            } else {
                continue;
            };
            let grant = RoleGrant {
                role: a.role.min(b.role),
                group: group.clone(),
            };
            if !grants.contains(&grant) {
                grants.push(grant);
            }
        }
        Self { grants }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(grants: &[&str]) -> Rights {
        Rights::new(grants.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn the_highest_role_over_a_group_counts() {
        let rights = rights(&["viewer", "operator:north", "admin:north/gate"]);
        for (group, role) in [
            ("", Role::Viewer),
            ("south", Role::Viewer),
            ("north/yard", Role::Operator),
            ("north/gate/1", Role::Admin),
        ] {
            assert_eq!(rights.role_in(&group.parse().unwrap()), Some(role));
        }
        assert_eq!(rights.scope(), None);
        assert_eq!(Rights::NONE.role_in(&GroupPath::root()), None);
        assert_eq!(Rights::NONE.scope(), Some(vec![]));
    }

    #[test]
    fn a_key_does_no_more_than_its_owner() {
        let key = rights(&["admin"]);
        let owner = rights(&["viewer", "operator:north"]);
        assert_eq!(key.both(&owner), rights(&["viewer", "operator:north"]));
        let narrow = rights(&["admin:north/gate", "admin:south"]);
        let north = rights(&["operator:north"]);
        assert_eq!(narrow.both(&north), rights(&["operator:north/gate"]));
        assert!("boss".parse::<RoleGrant>().is_err());
        assert_eq!(narrow.grants()[0].to_string(), "admin:north/gate");
    }
}
