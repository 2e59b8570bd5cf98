use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use parking_lot::RwLock;

use super::{
    Account, AccountChange, AccountStore, ApiKey, AuditEntry, Author, Changed, Credential, Device,
    DeviceChange, DeviceQuery, DeviceSort, DeviceStore, GroupPath, Page, PagePlace, Rights,
    RoleGrant, Seen, StoreError, UnixMillis, Used,
};

/// Most devices on one page.
const MAX_PAGE: usize = 10_000;

/// Entries of the audit that are kept.
const MAX_AUDIT: usize = 10_000;

/// A [`DeviceStore`] and [`AccountStore`] that forgets everything with the process.
#[derive(Debug)]
pub struct MemoryStore {
    tables: RwLock<Tables>,
    epoch: AtomicU32,
    limit: usize,
}

/// Cloned before people are changed, who are few, and put back if that fails in the middle.
#[derive(Debug, Clone, Default)]
struct Tables {
    /// Apart from the tree, whose nodes are half empty when serials come in order.
    devices: BTreeMap<String, Box<Entry>>,
    accounts: BTreeMap<String, Account>,
    keys: BTreeMap<String, ApiKey>,
    groups: Vec<GroupPath>,
    policy: BTreeMap<String, String>,
    audit: VecDeque<AuditEntry>,
    last_audit: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    device: Device,
    credentials: Vec<Credential>,
}

impl MemoryStore {
    /// Most devices by default.
    pub const DEFAULT_LIMIT: usize = 200_000;

    /// An empty store. Its epoch begins with the wall clock's seconds, so that it grows over
    /// restarts although nothing is kept.
    pub fn new() -> Self {
        let seconds = UnixMillis::system().seconds();
        Self {
            tables: RwLock::default(),
            epoch: AtomicU32::new(u32::try_from(seconds).unwrap_or(u32::MAX - 1)),
            limit: Self::DEFAULT_LIMIT,
        }
    }

    /// At most this many devices.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// What changes of devices may touch, as it was before them.
struct Before {
    devices: Vec<(String, Option<Box<Entry>>)>,
    groups: Vec<GroupPath>,
    last_audit: u64,
}

impl Tables {
    fn before(&self, changes: &[DeviceChange]) -> Before {
        let devices = changes.iter().map(|change| {
            let serial = change.serial();
            (serial.to_owned(), self.devices.get(serial).cloned())
        });
        Before {
            devices: devices.collect(),
            groups: self.groups.clone(),
            last_audit: self.last_audit,
        }
    }

    fn put_back(&mut self, before: Before) {
        for (serial, entry) in before.devices {
            match entry {
                Some(entry) => self.devices.insert(serial, entry),
                None => self.devices.remove(&serial),
            };
        }
        self.groups = before.groups;
        self.audit.retain(|entry| entry.id <= before.last_audit);
        self.last_audit = before.last_audit;
    }

    fn note(&mut self, by: &Author, action: &str, subject: &str, detail: String) {
        self.last_audit += 1;
        if self.audit.len() >= MAX_AUDIT {
            self.audit.pop_front();
        }
        let entry = AuditEntry::new(self.last_audit, by.clone(), action, subject, detail);
        self.audit.push_back(entry);
    }

    fn add_group(&mut self, group: &GroupPath) {
        for group in group.with_parents() {
            if let Err(at) = self.groups.binary_search(&group) {
                self.groups.insert(at, group);
            }
        }
    }

    /// The entry of a device; whether it had to be made.
    fn entry(
        &mut self,
        serial: &str,
        limit: usize,
        now: UnixMillis,
    ) -> Result<(&mut Entry, bool), StoreError> {
        let is_new = !self.devices.contains_key(serial);
        if is_new && self.devices.len() >= limit {
            return Err(StoreError::Full { limit });
        }
        let entry = self.devices.entry(serial.to_owned()).or_insert_with(|| {
            Box::new(Entry {
                device: Device::new(serial, now),
                credentials: Vec::new(),
            })
        });
        Ok((entry, is_new))
    }

    fn change_device(
        &mut self,
        change: DeviceChange,
        limit: usize,
        by: &Author,
    ) -> Result<Changed, StoreError> {
        let changed = |is_new, differs| match (is_new, differs) {
            (true, _) => Changed::Added,
            (false, true) => Changed::Changed,
            (false, false) => Changed::Same,
        };
        match change {
            DeviceChange::Patch(serial, patch) => {
                let (entry, is_new) = self.entry(&serial, limit, by.at)?;
                let differs = patch.apply(&mut entry.device);
                let group = entry.device.group.clone();
                self.add_group(&group);
                if is_new || differs {
                    self.note(by, "device.put", &serial, format!("{patch:?}"));
                }
                Ok(changed(is_new, differs))
            }
            DeviceChange::Said(serial, said) => {
                let (entry, is_new) = self.entry(&serial, limit, by.at)?;
                let differs = entry.device.said != said;
                entry.device.said = said;
                Ok(changed(is_new, differs))
            }
            DeviceChange::Remove(serial) => {
                self.devices
                    .remove(&serial)
                    .ok_or_else(|| StoreError::NotFound(serial.clone()))?;
                self.note(by, "device.remove", &serial, String::new());
                Ok(Changed::Changed)
            }
            DeviceChange::PutCredential(serial, credential) => {
                let entry = self
                    .devices
                    .get_mut(&serial)
                    .ok_or_else(|| StoreError::NotFound(serial.clone()))?;
                if entry
                    .credentials
                    .iter()
                    .any(|c| c.id == credential.id && c.secret == credential.secret)
                {
                    return Ok(Changed::Same);
                }
                let before = entry.credentials.len();
                entry.credentials.retain(|c| c.id != credential.id);
                let is_new = entry.credentials.len() == before;
                let id = credential.id.clone();
                // Nearly all have one.
                entry.credentials.reserve_exact(1);
                entry.credentials.push(credential);
                self.note(by, "credential.put", &serial, id);
                Ok(changed(is_new, true))
            }
            DeviceChange::RevokeCredential(serial, id) => {
                let credential = self
                    .devices
                    .get_mut(&serial)
                    .and_then(|e| e.credentials.iter_mut().find(|c| c.id == id))
                    .ok_or_else(|| StoreError::NotFound(format!("{serial} {id}")))?;
                if credential.revoked.is_some() {
                    return Ok(Changed::Same);
                }
                credential.revoked = Some(by.at);
                self.note(by, "credential.revoke", &serial, id);
                Ok(Changed::Changed)
            }
        }
    }

    fn all_grants(&self) -> impl Iterator<Item = &RoleGrant> {
        let accounts = self.accounts.values().map(|a| &a.rights);
        let keys = self.keys.values().map(|k| &k.rights);
        accounts.chain(keys).flat_map(Rights::grants)
    }

    fn change_account(&mut self, change: AccountChange, by: &Author) -> Result<(), StoreError> {
        match change {
            AccountChange::PutAccount(account) => {
                for grant in account.rights.grants() {
                    self.add_group(&grant.group);
                }
                let detail = account.rights.described(account.enabled);
                self.note(by, "account.put", &account.name, detail);
                self.accounts.insert(account.name.clone(), account);
            }
            AccountChange::RemoveAccount(name) => {
                self.accounts
                    .remove(&name)
                    .ok_or_else(|| StoreError::NotFound(name.clone()))?;
                self.keys.retain(|_, key| key.owner.as_ref() != Some(&name));
                self.note(by, "account.remove", &name, String::new());
            }
            AccountChange::PutKey(key) => {
                for grant in key.rights.grants() {
                    self.add_group(&grant.group);
                }
                let detail = key.rights.described(key.revoked.is_none());
                self.note(by, "key.put", &key.id, detail);
                self.keys.insert(key.id.clone(), key);
            }
            AccountChange::RevokeKey { id, at } => {
                let key = self
                    .keys
                    .get_mut(&id)
                    .ok_or_else(|| StoreError::NotFound(id.clone()))?;
                key.revoked.get_or_insert(at);
                self.note(by, "key.revoke", &id, String::new());
            }
            AccountChange::AddGroup(group) => {
                self.add_group(&group);
                self.note(by, "group.add", group.as_str(), String::new());
            }
            AccountChange::MoveGroup { from, to } => self.move_group(&from, &to, by)?,
            AccountChange::RemoveGroup(group) => {
                let at = self
                    .groups
                    .binary_search(&group)
                    .map_err(|_| StoreError::NotFound(group.to_string()))?;
                let used = self.groups.iter().any(|g| *g != group && group.holds(g))
                    || self.devices.values().any(|e| group.holds(&e.device.group))
                    || self.all_grants().any(|g| group.holds(&g.group));
                if used {
                    return Err(group_in_use(&group));
                }
                self.groups.remove(at);
                self.note(by, "group.remove", group.as_str(), String::new());
            }
            AccountChange::SetPolicy { name, value } => {
                self.note(by, "policy.set", &name, value.clone());
                self.policy.insert(name, value);
            }
        }
        Ok(())
    }

    fn move_group(
        &mut self,
        from: &GroupPath,
        to: &GroupPath,
        by: &Author,
    ) -> Result<(), StoreError> {
        if from.is_root() || self.groups.binary_search(from).is_err() {
            return Err(StoreError::NotFound(from.to_string()));
        }
        if from.holds(to) || self.groups.binary_search(to).is_ok() {
            return Err(StoreError::InUse(format!(
                "{from} cannot become {to}: that lies in it, or exists"
            )));
        }
        let moved = |group: &GroupPath| group.moved(from, to);
        let mut groups = Vec::new();
        for group in &self.groups {
            groups.push(moved(group)?);
        }
        groups.sort();
        self.groups = groups;
        self.add_group(to);
        for entry in self.devices.values_mut() {
            entry.device.group = moved(&entry.device.group)?;
        }
        let accounts = self.accounts.values_mut().map(|a| &mut a.rights);
        let keys = self.keys.values_mut().map(|k| &mut k.rights);
        for rights in accounts.chain(keys) {
            let mut grants = Vec::new();
            for grant in rights.grants() {
                grants.push(RoleGrant {
                    role: grant.role,
                    group: moved(&grant.group)?,
                });
            }
            *rights = Rights::new(grants);
        }
        self.note(by, "group.move", from.as_str(), to.to_string());
        Ok(())
    }
}

fn group_in_use(group: &GroupPath) -> StoreError {
    StoreError::InUse(format!(
        "the group {group} still holds groups, devices or rights; move them first"
    ))
}

#[async_trait]
impl DeviceStore for MemoryStore {
    async fn begin_epoch(&self) -> Result<u32, StoreError> {
        Ok(self.epoch.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }

    async fn change(
        &self,
        changes: Vec<DeviceChange>,
        by: &Author,
    ) -> Result<Vec<Changed>, StoreError> {
        let mut tables = self.tables.write();
        let before = tables.before(&changes);
        let done: Result<Vec<_>, _> = changes
            .into_iter()
            .map(|change| tables.change_device(change, self.limit, by))
            .collect();
        if done.is_err() {
            tables.put_back(before);
        }
        done
    }

    async fn get(&self, serial: &str) -> Result<Option<Device>, StoreError> {
        let tables = self.tables.read();
        Ok(tables.devices.get(serial).map(|e| e.device.clone()))
    }

    async fn list(&self, query: &DeviceQuery) -> Result<Page<Device>, StoreError> {
        let after = query.after()?;
        let limit = match query.limit {
            0 => MAX_PAGE,
            n => n.min(MAX_PAGE),
        };
        let tables = self.tables.read();
        let mut keyed: Vec<(String, &Device)> = tables
            .devices
            .values()
            .map(|e| &e.device)
            .filter(|d| query.matches(d))
            .map(|d| (sort_key(query.sort, d), d))
            .collect();
        keyed.sort_by(|a, b| (&a.0, &a.1.serial).cmp(&(&b.0, &b.1.serial)));
        if query.descending {
            keyed.reverse();
        }
        let beyond = |key: &str, serial: &str| match &after {
            None => true,
            Some(a) if query.descending => (key, serial) < (a.key.as_str(), a.serial.as_str()),
            Some(a) => (key, serial) > (a.key.as_str(), a.serial.as_str()),
        };
        let mut rest = keyed.into_iter().filter(|(k, d)| beyond(k, &d.serial));
        let mut items = Vec::new();
        let mut last = None;
        for (key, device) in rest.by_ref().take(limit) {
            items.push(device.clone());
            last = Some((key, device));
        }
        let next = match (rest.next(), last) {
            (Some(_), Some((key, device))) => Some(PagePlace::new(key, &device.serial).to_string()),
            _ => None,
        };
        Ok(Page { items, next })
    }

    async fn count(&self) -> Result<usize, StoreError> {
        Ok(self.tables.read().devices.len())
    }

    async fn credentials(&self, serial: &str) -> Result<Vec<Credential>, StoreError> {
        let tables = self.tables.read();
        let entry = tables.devices.get(serial);
        Ok(entry.map(|e| e.credentials.clone()).unwrap_or_default())
    }

    async fn seen(&self, seen: Vec<Seen>) -> Result<(), StoreError> {
        let mut tables = self.tables.write();
        for seen in seen {
            if let Some(entry) = tables.devices.get_mut(&seen.serial) {
                entry.device.last_seen = Some(seen.at);
                entry.device.last_cause = seen.cause;
            }
        }
        Ok(())
    }

    async fn used(&self, used: Vec<Used>) -> Result<(), StoreError> {
        let mut tables = self.tables.write();
        for used in used {
            let entry = tables.devices.get_mut(&used.serial);
            let mut credentials = entry.into_iter().flat_map(|e| &mut e.credentials);
            if let Some(credential) = credentials.find(|c| c.id == used.id) {
                credential.last_used = Some(used.at);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl AccountStore for MemoryStore {
    async fn change_accounts(
        &self,
        changes: Vec<AccountChange>,
        by: &Author,
    ) -> Result<(), StoreError> {
        let mut tables = self.tables.write();
        let before = tables.clone();
        let done = changes
            .into_iter()
            .try_for_each(|change| tables.change_account(change, by));
        if done.is_err() {
            *tables = before;
        }
        done
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        Ok(self.tables.read().accounts.values().cloned().collect())
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        Ok(self.tables.read().keys.values().cloned().collect())
    }

    async fn groups(&self) -> Result<Vec<GroupPath>, StoreError> {
        Ok(self.tables.read().groups.clone())
    }

    async fn policy(&self) -> Result<Vec<(String, String)>, StoreError> {
        let tables = self.tables.read();
        Ok(tables.policy.clone().into_iter().collect())
    }

    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let tables = self.tables.read();
        let newer = tables.audit.iter().filter(|entry| entry.id > after);
        Ok(newer.take(limit).cloned().collect())
    }

    async fn audit_end(&self) -> Result<u64, StoreError> {
        Ok(self.tables.read().last_audit)
    }
}

fn sort_key(sort: DeviceSort, device: &Device) -> String {
    match sort {
        DeviceSort::Serial => String::new(),
        DeviceSort::Name => device.name().to_lowercase(),
        DeviceSort::Created => format!("{:020}", device.created.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[tokio::test]
    async fn does_what_every_store_does() {
        conformance::devices(|| async { MemoryStore::new() }).await;
        conformance::accounts(|| async { MemoryStore::new() }).await;
    }

    #[tokio::test]
    async fn the_limit_holds() {
        let store = MemoryStore::new().with_limit(1);
        let by = Author::system(UnixMillis(1));
        let patch = super::super::DevicePatch::default();
        for serial in ["a", "a"] {
            store.patch(serial, patch.clone(), &by).await.unwrap();
        }
        let full = store.patch("b", patch, &by).await;
        assert_eq!(full, Err(StoreError::Full { limit: 1 }));
    }
}
