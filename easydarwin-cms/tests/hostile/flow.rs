//! A whole flow beside the abuse: a camera that films a pattern, a media server, a reader that
//! counts what it misses. All are the real parts, over real sockets.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use easydarwin_camera::Camera;
use easydarwin_camera::source::PatternSource;
use easydarwin_cms::{Cms, CmsConfig, LegacyLevel, Secrets};
use easydarwin_core::client::{ClientOptions, Player};
use easydarwin_core::registry::PresenceState;
use easydarwin_core::server::{MediaServer, NodeAgent, NodeConfig};
use easydarwin_core::tls::TlsConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::common::{PATIENCE, TestCms, code};

/// The camera that is never to notice anything.
pub(crate) const HOLDER: &str = "001001000001";

const KEY: &str = "the holder's key";

/// An old device, for those who abuse what is theirs.
pub(crate) const OLD: &str = "old";

pub(crate) const OLD_TOKEN: &str = "123456";

/// Packets after which an abuse is said to have disturbed nobody.
const ENOUGH: u64 = 40;

#[derive(Debug, Clone, Default)]
struct Seen {
    packets: u64,
    missing: u64,
    ended: bool,
}

pub(crate) struct Flow {
    pub(crate) cms: TestCms,
    generation: u64,
    seen: watch::Receiver<Seen>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Flow {
    /// Only 127.0.0.1 is a trusted client.
    pub(crate) async fn start(change: impl FnOnce(&mut CmsConfig)) -> Self {
        let mut config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
        config.refusal_delay = Duration::from_millis(5);
        change(&mut config);
        let secrets = Secrets::generate().unwrap();
        let join_key = secrets.join_key.clone();
        let cms = Cms::builder(config)
            .secrets(secrets)
            .legacy_client("127.0.0.1/32".parse().unwrap(), LegacyLevel::Control)
            .tls(certificate())
            .build()
            .await
            .unwrap();
        cms.provision_key(HOLDER, KEY).await.unwrap();
        cms.handle().provision_token(OLD, OLD_TOKEN).await.unwrap();
        let cms = TestCms::run(cms);

        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let mut node = NodeConfig::new(cms.addr.to_string(), join_key, "node");
        node.idle = Duration::from_secs(600);
        let agent = NodeAgent::new(node);
        let server = MediaServer::builder()
            .rtsp("127.0.0.1:0".parse().unwrap())
            .authorizer(agent.authorizer())
            .on_demand(agent.clone())
            .build()
            .await
            .unwrap();
        let (handle, stopped) = (server.handle(), stop.clone());
        tasks.spawn(async move { agent.run(handle, stopped).await });
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move { server.run(stopped).await.unwrap() });
        let camera = Camera::builder()
            .serial(HOLDER)
            .key(KEY)
            .cms(cms.addr.to_string())
            .source(PatternSource::new(HOLDER))
            .build()
            .unwrap();
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move { camera.run(stopped).await });

        let mut player = Player::connect(&url(&cms).await, ClientOptions::default())
            .await
            .unwrap();
        let (tell, seen) = watch::channel(Seen::default());
        tasks.spawn(async move {
            let mut last: Vec<Option<u16>> = Vec::new();
            while let Ok(Some(packet)) = player.next_packet().await {
                let number = u16::from_be_bytes([packet.data[2], packet.data[3]]);
                last.resize(last.len().max(packet.track + 1), None);
                let before = last[packet.track].replace(number);
                let missing = before.map_or(0, |b| number.wrapping_sub(b).wrapping_sub(1));
                tell.send_modify(|seen| {
                    seen.packets += 1;
                    seen.missing += u64::from(missing);
                });
            }
            tell.send_modify(|seen| seen.ended = true);
        });
        let entry = cms.handle.presence().entry(HOLDER).await.unwrap().unwrap();
        let mut flow = Self {
            cms,
            generation: entry.generation,
            seen,
            stop,
            tasks,
        };
        flow.undisturbed().await;
        flow
    }

    /// The picture goes on, nothing of it is missing, and the camera was never away.
    pub(crate) async fn undisturbed(&mut self) {
        let enough = self.seen.borrow().packets + ENOUGH;
        let goes_on = self
            .seen
            .wait_for(|seen| seen.ended || seen.missing > 0 || seen.packets >= enough);
        let seen = tokio::time::timeout(PATIENCE, goes_on)
            .await
            .expect("the picture goes on")
            .unwrap()
            .clone();
        assert!(!seen.ended && seen.missing == 0, "{seen:?}");
        let presence = self.cms.handle.presence();
        let entry = presence.entry(HOLDER).await.unwrap().unwrap();
        assert_eq!(entry.state, PresenceState::Online);
        assert_eq!(entry.generation, self.generation, "it had to come again");
        let list = self.cms.api("getdevicelist").await;
        assert_eq!(code(&list), 200);
        assert!(String::from_utf8_lossy(&list.to_response("x")).contains(HOLDER));
    }

    pub(crate) async fn end(mut self) {
        self.undisturbed().await;
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.cms.stop().await;
    }
}

/// So that garbage that looks like TLS is taken for TLS.
fn certificate() -> TlsConfig {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("cms-hostile-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let config = TlsConfig::from_pem_files(&certificate, &key).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    config
}

/// Asks for the stream until camera and media server are there.
async fn url(cms: &TestCms) -> String {
    let request = format!("getdevicestream?device={HOLDER}&channel=1&protocol=rtsp");
    let asked = async {
        loop {
            let answer = cms.api(&request).await;
            if code(&answer) == 200 {
                return answer.body.text_or_empty("URL").clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .expect("the stream starts")
}
