use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{StoreError, StreamPath, UnixMillis};
use crate::protocol::node::Endpoint;

/// What a media node says of itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Stable over restarts.
    pub id: String,
    /// Where it can be reached.
    pub endpoints: Vec<Endpoint>,
    /// Most streams; 0: not stated.
    pub capacity: u32,
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeLoad {
    /// In thousandths of what it can do.
    pub permille: u32,
    /// Streams it has.
    pub streams: u32,
    /// Viewers it has.
    pub viewers: u32,
}

/// What a node says of itself each beat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeBeat {
    /// How busy it is.
    pub load: NodeLoad,
    /// Its wall clock, if it told.
    pub clock: Option<UnixMillis>,
}

/// A node that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// What it said.
    pub info: NodeInfo,
    /// As it last reported.
    pub load: NodeLoad,
    /// How far its wall clock is ahead of the CMS's (behind, if negative), in milliseconds; as
    /// last reported. Nothing is decided by it.
    pub skew_ms: Option<i64>,
    /// When it joined.
    pub since: UnixMillis,
    /// When it was last heard.
    pub last_beat: UnixMillis,
}

/// Where a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLocation {
    /// The stream.
    pub path: StreamPath,
    /// The node that has it from its publisher.
    pub node: String,
    /// Generation of the publisher.
    pub generation: u64,
    /// Viewers as last reported.
    pub viewers: u32,
    /// Whether viewers get a picture.
    pub ready: bool,
}

/// The media nodes and what they have. What a node reports is the truth, not what was asked.
#[async_trait]
pub trait NodeDirectory: Send + Sync + 'static {
    /// A node has come, or has come back; its inventory follows.
    async fn join(&self, info: NodeInfo, now: UnixMillis) -> Result<(), StoreError>;

    /// It was heard. `false`: it is not known (any more) and has to join.
    async fn beat(&self, node: &str, beat: NodeBeat, now: UnixMillis) -> Result<bool, StoreError>;

    /// It is gone; returns the streams that went with it.
    async fn leave(&self, node: &str) -> Result<Vec<StreamLocation>, StoreError>;

    /// Nodes not heard of since `lease`.
    async fn expired(&self, lease: Duration, now: UnixMillis) -> Result<Vec<String>, StoreError>;

    /// All nodes.
    async fn nodes(&self) -> Result<Vec<NodeStatus>, StoreError>;

    /// Everything a node has; returns what it had before and has no more.
    async fn inventory(
        &self,
        node: &str,
        streams: Vec<StreamLocation>,
    ) -> Result<Vec<StreamLocation>, StoreError>;

    /// A stream is there, or changed. One of an older generation than the known is ignored,
    /// and `false` returned.
    async fn put(&self, location: StreamLocation) -> Result<bool, StoreError>;

    /// A stream is gone from a node, unless a newer generation of it is there.
    async fn remove(
        &self,
        node: &str,
        path: &StreamPath,
        generation: u64,
    ) -> Result<bool, StoreError>;

    /// Where a stream is.
    async fn locate(&self, path: &StreamPath) -> Result<Option<StreamLocation>, StoreError>;

    /// All streams, by path.
    async fn streams(&self) -> Result<Vec<StreamLocation>, StoreError>;
}

/// A [`NodeDirectory`] in this process's memory.
#[derive(Debug, Default)]
pub struct MemoryNodeDirectory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<String, NodeStatus>,
    streams: HashMap<StreamPath, StreamLocation>,
}

impl State {
    fn put(&mut self, location: StreamLocation) -> bool {
        match self.streams.get(&location.path) {
            Some(known) if known.generation > location.generation => false,
            _ => {
                self.streams.insert(location.path.clone(), location);
                true
            }
        }
    }

    fn take_all(&mut self, mut gone: impl FnMut(&StreamLocation) -> bool) -> Vec<StreamLocation> {
        self.streams
            .extract_if(|_, location| gone(location))
            .map(|(_, location)| location)
            .collect()
    }
}

/// Most nodes.
const MAX_NODES: usize = 1024;

#[async_trait]
impl NodeDirectory for MemoryNodeDirectory {
    async fn join(&self, info: NodeInfo, now: UnixMillis) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.nodes.len() >= MAX_NODES && !state.nodes.contains_key(&info.id) {
            return Err(StoreError::Full { limit: MAX_NODES });
        }
        let status = NodeStatus {
            info,
            load: NodeLoad::default(),
            skew_ms: None,
            since: now,
            last_beat: now,
        };
        state.nodes.insert(status.info.id.clone(), status);
        Ok(())
    }

    async fn beat(&self, node: &str, beat: NodeBeat, now: UnixMillis) -> Result<bool, StoreError> {
        let mut state = self.state.lock();
        let Some(status) = state.nodes.get_mut(node) else {
            return Ok(false);
        };
        status.load = beat.load;
        status.skew_ms = beat.clock.map(|clock| {
            i64::try_from(i128::from(clock.0) - i128::from(now.0)).unwrap_or(i64::MAX)
        });
        status.last_beat = now;
        Ok(true)
    }

    async fn leave(&self, node: &str) -> Result<Vec<StreamLocation>, StoreError> {
        let mut state = self.state.lock();
        state.nodes.remove(node);
        Ok(state.take_all(|location| location.node == node))
    }

    async fn expired(&self, lease: Duration, now: UnixMillis) -> Result<Vec<String>, StoreError> {
        let state = self.state.lock();
        Ok(state
            .nodes
            .values()
            .filter(|n| now.since(n.last_beat) >= lease)
            .map(|n| n.info.id.clone())
            .collect())
    }

    async fn nodes(&self) -> Result<Vec<NodeStatus>, StoreError> {
        Ok(self.state.lock().nodes.values().cloned().collect())
    }

    async fn inventory(
        &self,
        node: &str,
        streams: Vec<StreamLocation>,
    ) -> Result<Vec<StreamLocation>, StoreError> {
        let mut state = self.state.lock();
        let gone = state
            .take_all(|old| old.node == node && !streams.iter().any(|new| new.path == old.path));
        for location in streams {
            state.put(location);
        }
        Ok(gone)
    }

    async fn put(&self, location: StreamLocation) -> Result<bool, StoreError> {
        Ok(self.state.lock().put(location))
    }

    async fn remove(
        &self,
        node: &str,
        path: &StreamPath,
        generation: u64,
    ) -> Result<bool, StoreError> {
        let mut state = self.state.lock();
        let fits = state
            .streams
            .get(path)
            .is_some_and(|l| l.node == node && l.generation <= generation);
        if fits {
            state.streams.remove(path);
        }
        Ok(fits)
    }

    async fn locate(&self, path: &StreamPath) -> Result<Option<StreamLocation>, StoreError> {
        Ok(self.state.lock().streams.get(path).cloned())
    }

    async fn streams(&self) -> Result<Vec<StreamLocation>, StoreError> {
        let mut streams: Vec<_> = self.state.lock().streams.values().cloned().collect();
        streams.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, node: &str, generation: u64) -> StreamLocation {
        StreamLocation {
            path: StreamPath::parse(path).unwrap(),
            node: node.into(),
            generation,
            viewers: 0,
            ready: true,
        }
    }

    #[tokio::test]
    async fn the_inventory_is_the_truth_and_older_generations_are_ignored() {
        let dir = MemoryNodeDirectory::default();
        dir.put(at("a/1", "n1", 5)).await.unwrap();
        dir.put(at("b/1", "n1", 5)).await.unwrap();
        assert!(!dir.put(at("a/1", "n2", 4)).await.unwrap());
        let gone = dir.inventory("n1", vec![at("a/1", "n1", 5)]).await.unwrap();
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].path.as_str(), "b/1");
        let path = StreamPath::parse("a/1").unwrap();
        assert!(!dir.remove("n1", &path, 4).await.unwrap());
        assert!(dir.remove("n1", &path, 5).await.unwrap());
        assert!(dir.locate(&path).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_silent_node_expires_and_takes_its_streams_along() {
        let dir = MemoryNodeDirectory::default();
        let info = NodeInfo {
            id: "n1".into(),
            endpoints: vec![],
            capacity: 0,
        };
        dir.join(info, UnixMillis(0)).await.unwrap();
        dir.put(at("a/1", "n1", 1)).await.unwrap();
        let lease = Duration::from_secs(6);
        let mut beat = NodeBeat::default();
        for (clock, skew) in [
            (None, None),
            (Some(5000), Some(3000)),
            (Some(1500), Some(-500)),
        ] {
            beat.clock = clock.map(UnixMillis);
            dir.beat("n1", beat, UnixMillis(2000)).await.unwrap();
            assert_eq!(dir.nodes().await.unwrap()[0].skew_ms, skew);
        }
        assert!(
            dir.expired(lease, UnixMillis(7999))
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(dir.expired(lease, UnixMillis(8000)).await.unwrap(), ["n1"]);
        assert_eq!(dir.leave("n1").await.unwrap().len(), 1);
        assert!(
            !dir.beat("n1", NodeBeat::default(), UnixMillis(8000))
                .await
                .unwrap()
        );
    }
}
