//! CMS, media server and cameras in this process; they meet only through their ports.

use std::net::SocketAddr;
use std::time::Duration;

use easydarwin_camera::Camera;
use easydarwin_camera::source::PatternSource;
use easydarwin_cms::{Cms, CmsConfig, CmsHandle};
use easydarwin_core::registry::{AccountChange, ApiKey, Author, Rights, StreamPath, UnixMillis};
use easydarwin_core::server::{MediaServer, NodeAgent, NodeConfig, ServerHandle};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing here takes so long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("took too long")
}

pub(crate) struct Platform {
    pub(crate) cms: CmsHandle,
    pub(crate) address: SocketAddr,
    pub(crate) server: ServerHandle,
    agent: NodeAgent,
    link: Option<(CancellationToken, JoinHandle<()>)>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Platform {
    /// A stream without viewers is stopped after `idle`.
    pub(crate) async fn start(idle: Duration) -> Self {
        let loopback = "127.0.0.1:0".parse().unwrap();
        let cms = Cms::builder(CmsConfig::new(loopback))
            .build()
            .await
            .unwrap();
        let (address, handle) = (cms.local_addr(), cms.handle());
        let mut node = NodeConfig::new(address.to_string(), handle.join_key(), "node");
        node.idle = idle;
        let agent = NodeAgent::new(node);
        let server = MediaServer::builder()
            .rtsp(loopback)
            .http(loopback)
            .authorizer(agent.authorizer())
            .on_demand(agent.clone())
            .build()
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let media = server.handle();
        let mut platform = Self {
            cms: handle,
            address,
            server: media,
            agent,
            link: None,
            tasks: vec![
                tokio::spawn({
                    let stop = stop.clone();
                    async move { cms.run(stop.cancelled_owned()).await.unwrap() }
                }),
                tokio::spawn({
                    let stop = stop.clone();
                    async move { server.run(stop.cancelled_owned()).await.unwrap() }
                }),
            ],
            stop,
        };
        platform.link();
        platform.joined().await;
        platform
    }

    /// Waits until the media server has joined.
    pub(crate) async fn joined(&self) {
        within(async {
            while self.cms.nodes().nodes().await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// A key of the API with this id that may control everything.
    pub(crate) async fn key(&self, id: &str) -> String {
        let key = format!("the key of {id}");
        let now = UnixMillis::system();
        let rights = Rights::new(vec!["operator".parse().unwrap()]);
        let hash = Sha256::digest(&key).into();
        let change = AccountChange::PutKey(ApiKey::new(id, hash, rights, now));
        self.change(change).await;
        key
    }

    /// Takes it away.
    pub(crate) async fn revoke_key(&self, id: &str) {
        let (id, at) = (id.to_owned(), UnixMillis::system());
        self.change(AccountChange::RevokeKey { id, at }).await;
    }

    async fn change(&self, change: AccountChange) {
        let by = Author::new("test", UnixMillis::system());
        let accounts = self.cms.accounts();
        accounts.change_accounts(vec![change], &by).await.unwrap();
    }

    /// Connects the media server to the CMS.
    pub(crate) fn link(&mut self) {
        let stop = CancellationToken::new();
        let link = self.agent.clone().run(self.server.clone(), stop.clone());
        self.link = Some((stop, tokio::spawn(link)));
    }

    /// Cuts the media server off from the CMS.
    pub(crate) async fn unlink(&mut self) {
        let (stop, task) = self.link.take().unwrap();
        stop.cancel();
        within(task).await.unwrap();
        within(async {
            while !self.cms.nodes().nodes().await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// A camera with a test picture that has registered. It ends when dropped.
    pub(crate) async fn camera(&self, serial: &str) -> CancelOnDrop {
        self.cms.provision_key(serial, "the key").await.unwrap();
        let camera = Camera::builder()
            .serial(serial)
            .key("the key")
            .cms(self.address.to_string())
            .source(PatternSource::new(serial))
            .build()
            .unwrap();
        let stop = CancelOnDrop(CancellationToken::new());
        tokio::spawn(camera.run(stop.0.clone().cancelled_owned()));
        let presence = self.cms.presence();
        within(async {
            while presence
                .entry(serial)
                .await
                .unwrap()
                .is_none_or(|entry| entry.state.as_str() != "online")
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
        stop
    }

    /// Waits until the media server counts so many viewers.
    pub(crate) async fn viewers(&self, serial: &str, count: usize) {
        let path = StreamPath::device(serial, 1).unwrap();
        let mut events = self.server.hub().events();
        within(async {
            while self.server.hub().get(&path).map(|s| s.viewers()) != Some(count) {
                // Lagging is no harm: the count is looked at anew.
                let _ = events.recv().await;
            }
        })
        .await;
    }

    pub(crate) async fn has_stream(&self, serial: &str) -> bool {
        let path = StreamPath::device(serial, 1).unwrap();
        let located = self.cms.nodes().locate(&path).await.unwrap();
        located.is_some() || self.server.hub().get(&path).is_some()
    }

    pub(crate) async fn stop(mut self) {
        if let Some((stop, task)) = self.link.take() {
            stop.cancel();
            within(task).await.unwrap();
        }
        self.stop.cancel();
        for task in self.tasks {
            within(task).await.unwrap();
        }
    }
}

pub(crate) struct CancelOnDrop(CancellationToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
