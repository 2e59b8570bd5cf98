use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;

use super::{
    Credential, Device, DeviceQuery, DeviceSort, DeviceStore, Page, StoreError, UnixMillis,
};

/// Most devices on one page.
const MAX_PAGE: usize = 10_000;

/// A [`DeviceStore`] that forgets everything with the process.
#[derive(Debug)]
pub struct MemoryDeviceStore {
    devices: RwLock<BTreeMap<String, Entry>>,
    epoch: AtomicU32,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    device: Device,
    credentials: Vec<Credential>,
}

impl MemoryDeviceStore {
    /// Most devices by default.
    pub const DEFAULT_LIMIT: usize = 200_000;

    /// An empty store. Its epoch begins with the wall clock's seconds, so that it grows over
    /// restarts although nothing is kept.
    pub fn new() -> Self {
        let seconds = UnixMillis::system().seconds();
        Self {
            devices: RwLock::default(),
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

impl Default for MemoryDeviceStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl DeviceStore for MemoryDeviceStore {
    async fn begin_epoch(&self) -> Result<u32, StoreError> {
        Ok(self.epoch.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }

    async fn put(&self, device: Device) -> Result<(), StoreError> {
        let mut devices = self.devices.write();
        if let Some(entry) = devices.get_mut(&device.serial) {
            entry.device = device;
            return Ok(());
        }
        if devices.len() >= self.limit {
            return Err(StoreError::Full { limit: self.limit });
        }
        let credentials = Vec::new();
        devices.insert(
            device.serial.clone(),
            Entry {
                device,
                credentials,
            },
        );
        Ok(())
    }

    async fn get(&self, serial: &str) -> Result<Option<Device>, StoreError> {
        Ok(self.devices.read().get(serial).map(|e| e.device.clone()))
    }

    async fn remove(&self, serial: &str) -> Result<(), StoreError> {
        let removed = self.devices.write().remove(serial);
        removed.map(|_| ()).ok_or(StoreError::NotFound)
    }

    async fn list(&self, query: &DeviceQuery) -> Result<Page<Device>, StoreError> {
        let after = query.cursor.as_deref().map(decode_cursor).transpose()?;
        let limit = match query.limit {
            0 => MAX_PAGE,
            n => n.min(MAX_PAGE),
        };
        let devices = self.devices.read();
        let mut keyed: Vec<(String, &Device)> = devices
            .values()
            .map(|e| &e.device)
            .filter(|d| matches(query, d))
            .map(|d| (sort_key(query.sort, d), d))
            .collect();
        keyed.sort_by(|a, b| (&a.0, &a.1.serial).cmp(&(&b.0, &b.1.serial)));
        if query.descending {
            keyed.reverse();
        }
        let beyond = |key: &str, serial: &str| match &after {
            None => true,
            Some((k, s)) if query.descending => (key, serial) < (k.as_str(), s.as_str()),
            Some((k, s)) => (key, serial) > (k.as_str(), s.as_str()),
        };
        let mut rest = keyed.into_iter().filter(|(k, d)| beyond(k, &d.serial));
        let mut items = Vec::new();
        let mut last = None;
        for (key, device) in rest.by_ref().take(limit) {
            items.push(device.clone());
            last = Some((key, device));
        }
        let next = match (rest.next(), last) {
            (Some(_), Some((key, device))) => Some(encode_cursor(&key, &device.serial)),
            _ => None,
        };
        Ok(Page { items, next })
    }

    async fn count(&self) -> Result<usize, StoreError> {
        Ok(self.devices.read().len())
    }

    async fn credentials(&self, serial: &str) -> Result<Vec<Credential>, StoreError> {
        let devices = self.devices.read();
        Ok(devices
            .get(serial)
            .map(|e| e.credentials.clone())
            .unwrap_or_default())
    }

    async fn put_credential(&self, serial: &str, credential: Credential) -> Result<(), StoreError> {
        let mut devices = self.devices.write();
        let entry = devices.get_mut(serial).ok_or(StoreError::NotFound)?;
        entry.credentials.retain(|c| c.id != credential.id);
        entry.credentials.push(credential);
        Ok(())
    }

    async fn revoke_credential(
        &self,
        serial: &str,
        id: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut devices = self.devices.write();
        let credential = devices
            .get_mut(serial)
            .and_then(|e| e.credentials.iter_mut().find(|c| c.id == id))
            .ok_or(StoreError::NotFound)?;
        credential.revoked.get_or_insert(now);
        Ok(())
    }
}

fn matches(query: &DeviceQuery, device: &Device) -> bool {
    let any = |wanted: &[String], value: &str| {
        wanted.is_empty() || wanted.iter().any(|w| w.eq_ignore_ascii_case(value))
    };
    let text_fits = query.text.as_deref().is_none_or(|text| {
        let text = text.to_lowercase();
        [&device.serial, &device.name, &device.tag]
            .iter()
            .any(|field| field.to_lowercase().contains(&text))
    });
    text_fits
        && any(&query.app_types, &device.app_type)
        && any(&query.terminal_types, &device.terminal_type)
        && query.tag.as_deref().is_none_or(|tag| tag == device.tag)
}

fn sort_key(sort: DeviceSort, device: &Device) -> String {
    match sort {
        DeviceSort::Serial => String::new(),
        DeviceSort::Name => device.name.to_lowercase(),
        DeviceSort::Created => format!("{:020}", device.created.0),
    }
}

fn encode_cursor(key: &str, serial: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{serial}\n{key}"))
}

fn decode_cursor(cursor: &str) -> Result<(String, String), StoreError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(cursor)
        .map_err(|_| StoreError::Cursor)?;
    let text = String::from_utf8(bytes).map_err(|_| StoreError::Cursor)?;
    let (serial, key) = text.split_once('\n').ok_or(StoreError::Cursor)?;
    Ok((key.to_owned(), serial.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Secret;

    async fn store_of(n: u64) -> MemoryDeviceStore {
        let store = MemoryDeviceStore::new();
        for i in 0..n {
            let mut device = Device::new(format!("s{i:03}"), UnixMillis(1000 - i));
            device.name = format!("Cam {}", i % 3);
            device.app_type = if i % 2 == 0 { "EasyCamera" } else { "EasyNVR" }.into();
            store.put(device).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn pages_cover_everything_once_in_every_order() {
        let store = store_of(25).await;
        for sort in [DeviceSort::Serial, DeviceSort::Name, DeviceSort::Created] {
            for descending in [false, true] {
                let mut query = DeviceQuery {
                    sort,
                    descending,
                    limit: 4,
                    ..DeviceQuery::default()
                };
                let mut seen = Vec::new();
                loop {
                    let page = store.list(&query).await.unwrap();
                    seen.extend(page.items.into_iter().map(|d| d.serial));
                    match page.next {
                        Some(next) => query.cursor = Some(next),
                        None => break,
                    }
                }
                let mut unique = seen.clone();
                unique.sort();
                unique.dedup();
                assert_eq!(
                    (seen.len(), unique.len()),
                    (25, 25),
                    "{sort:?} {descending}"
                );
            }
        }
        let query = DeviceQuery {
            cursor: Some("!".into()),
            ..DeviceQuery::default()
        };
        assert!(matches!(store.list(&query).await, Err(StoreError::Cursor)));
    }

    #[tokio::test]
    async fn filters_do_not_look_at_case() {
        let store = store_of(10).await;
        let query = DeviceQuery {
            app_types: vec!["easynvr".into()],
            text: Some("CAM 1".into()),
            ..DeviceQuery::default()
        };
        let page = store.list(&query).await.unwrap();
        assert!(!page.items.is_empty());
        assert!(
            page.items
                .iter()
                .all(|d| d.app_type == "EasyNVR" && d.name == "Cam 1")
        );
    }

    #[tokio::test]
    async fn credentials_are_several_and_can_be_revoked() {
        let store = store_of(1).await;
        for id in ["a", "b", "a"] {
            let credential = Credential::new(id, Secret::Token([1; 32]), UnixMillis(1));
            store.put_credential("s000", credential).await.unwrap();
        }
        store
            .revoke_credential("s000", "a", UnixMillis(5))
            .await
            .unwrap();
        let credentials = store.credentials("s000").await.unwrap();
        assert_eq!(credentials.len(), 2);
        assert_eq!(
            credentials.iter().filter(|c| c.revoked.is_some()).count(),
            1
        );
        let credential = Credential::new("a", Secret::Token([1; 32]), UnixMillis(1));
        assert_eq!(
            store.put_credential("nobody", credential).await,
            Err(StoreError::NotFound)
        );
    }

    #[tokio::test]
    async fn epochs_grow_and_the_limit_holds() {
        let store = MemoryDeviceStore::new().with_limit(1);
        let first = store.begin_epoch().await.unwrap();
        assert!(store.begin_epoch().await.unwrap() > first);
        store.put(Device::new("a", UnixMillis(0))).await.unwrap();
        store.put(Device::new("a", UnixMillis(0))).await.unwrap();
        let full = store.put(Device::new("b", UnixMillis(0))).await;
        assert_eq!(full, Err(StoreError::Full { limit: 1 }));
    }
}
