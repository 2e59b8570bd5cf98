//! The torture suite against our own server: all vectors, none refused, the good stream undisturbed.

use std::path::Path;

use easydarwin_benches::torture::{Background, Names, Outcome, Peer, load, run_all};
use easydarwin_core::registry::AllowAll;
use easydarwin_core::server::MediaServer;

/// Vectors mostly wait, for silence or for a time-out.
const JOBS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_server_passes_every_vector() {
    let server = MediaServer::builder()
        .authorizer(AllowAll)
        .build()
        .await
        .unwrap();
    let addr = server.rtsp_addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let _ = server
            .run(async {
                let _ = stopped.await;
            })
            .await;
    });
    tokio::task::spawn_blocking(move || {
        let vectors = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("torture")).unwrap();
        let publisher = Background::start(addr, "torture").unwrap();
        let url = format!("rtsp://{addr}/torture");
        let names = Names {
            track: Peer::connect(addr).unwrap().first_track(&url).unwrap(),
            host: addr.to_string(),
            path: "torture".to_owned(),
            url,
            ..Names::default()
        };
        let verdicts = run_all(addr, &names, &vectors, JOBS);
        let bad: Vec<_> = verdicts
            .iter()
            .filter(|verdict| verdict.outcome != Outcome::Passed)
            .map(|v| format!("{}/{}: {:?}", v.group, v.vector.name, v.outcome))
            .collect();
        assert!(bad.is_empty(), "{bad:#?}");
        assert_eq!(verdicts.len(), vectors.len());
        assert!(publisher.finish(), "the good publisher was cut off");
    })
    .await
    .unwrap();
    stop.send(()).unwrap();
    task.await.unwrap();
}
