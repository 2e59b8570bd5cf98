//! The real camera beside the real CMS, with somebody in between who can hold up what is put.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use easydarwin_camera::CameraEvent;
use easydarwin_camera::control::CommandKind;
use easydarwin_core::protocol::{ErrorNum, MessageReader};
use tokio::io::{AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::common::{Large, PATIENCE};
use super::embedder::{Embedder, talk};
use super::*;

/// What of a PUT is let through before it is held.
const HELD: usize = 100_000;

/// What is done with a PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Only so much of it passes for now.
    Hold,
    Pass,
    /// Answered by a box that knows no PUT.
    Refuse,
    /// Closed after a part of it.
    Cut,
}

/// Stands between camera and CMS.
struct Between {
    addr: SocketAddr,
    way: watch::Sender<Way>,
    /// Kinds of the messages of control connections, both ways.
    messages: mpsc::UnboundedReceiver<MessageType>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Bytes from the camera to the CMS over control connections.
    control: AtomicUsize,
    /// The same of PUTs.
    put: AtomicUsize,
    puts: AtomicUsize,
}

impl Between {
    async fn start(cms: SocketAddr, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (way, ways) = watch::channel(way);
        let (told, messages) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        tokio::spawn(async move {
            while let Ok((camera, _)) = listener.accept().await {
                let (ways, told, counts) = (ways.clone(), told.clone(), shared.clone());
                tokio::spawn(connection(camera, cms, ways, told, counts));
            }
        });
        Self {
            addr,
            way,
            messages,
            counts,
        }
    }

    async fn message(&mut self, kind: MessageType) {
        let waiting =
            async { while self.messages.recv().await.expect("somebody talks") != kind {} };
        let waiting = tokio::time::timeout(PATIENCE, waiting);
        waiting.await.expect("a message in time");
    }
}

async fn connection(
    mut camera: TcpStream,
    cms: SocketAddr,
    ways: watch::Receiver<Way>,
    told: mpsc::UnboundedSender<MessageType>,
    counts: Arc<Counts>,
) {
    let mut first = [0; 4];
    if camera.read_exact(&mut first).await.is_err() {
        return;
    }
    let mut server = TcpStream::connect(cms).await.unwrap();
    server.write_all(&first).await.unwrap();
    let (from_camera, to_camera) = camera.split();
    let (from_server, to_server) = server.split();
    if &first == b"PUT " {
        counts.puts.fetch_add(1, Ordering::SeqCst);
        put(
            from_camera,
            to_camera,
            from_server,
            to_server,
            ways,
            &counts,
        )
        .await;
        return;
    }
    let up = messages(from_camera, to_server, &first, &told, &counts.control);
    let ignored = AtomicUsize::new(0);
    let down = messages(from_server, to_camera, b"", &told, &ignored);
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Passes a direction of a control connection on, and tells what passes.
async fn messages(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    first: &[u8],
    told: &mpsc::UnboundedSender<MessageType>,
    count: &AtomicUsize,
) {
    let mut reader = MessageReader::default();
    reader.push(first);
    let mut room = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut room).await {
        count.fetch_add(length, Ordering::SeqCst);
        reader.push(&room[..length]);
        while let Some(message) = reader.next_message().unwrap() {
            told.send(message.envelope().unwrap().kind().unwrap())
                .unwrap();
        }
        if to.write_all(&room[..length]).await.is_err() {
            return;
        }
    }
}

async fn put(
    mut from_camera: impl tokio::io::AsyncRead + Unpin,
    mut to_camera: impl AsyncWrite + Unpin,
    mut from_server: impl tokio::io::AsyncRead + Unpin,
    mut to_server: impl AsyncWrite + Unpin,
    mut ways: watch::Receiver<Way>,
    counts: &Counts,
) {
    let way = *ways.borrow();
    if way == Way::Refuse {
        let answer = b"HTTP/1.1 405 Method Not Allowed\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = to_camera.write_all(answer).await;
        // Whatever still comes.
        let _ = tokio::io::copy(&mut from_camera, &mut tokio::io::sink()).await;
        return;
    }
    let up = async {
        let mut room = [0; 4096];
        let mut passed = 0;
        while let Ok(length @ 1..) = from_camera.read(&mut room).await {
            to_server.write_all(&room[..length]).await.unwrap();
            passed += length;
            counts.put.fetch_add(length, Ordering::SeqCst);
            if passed >= HELD {
                if *ways.borrow() == Way::Cut {
                    return;
                }
                ways.wait_for(|way| *way == Way::Pass).await.unwrap();
            }
        }
        std::future::pending().await
    };
    let down = tokio::io::copy(&mut from_server, &mut to_camera);
    tokio::select! {
        () = up => {}
        _ = down => {}
    }
}

fn sent(event: &CameraEvent) -> bool {
    matches!(event, CameraEvent::SnapshotSent { .. })
}

/// The wire of the picture stands still half way. Speech, answers and keep-alives do not.
#[tokio::test]
async fn what_is_said_does_not_wait_behind_a_picture() {
    let cms = TestCms::start(|c| c.keep_alive = Duration::from_secs(1)).await;
    let mut between = Between::start(cms.addr, Way::Hold).await;
    let source = Large::new(LARGE);
    let mut camera = Embedder::start_at(&cms, between.addr, source, [CommandKind::Talkback]).await;
    between.message(MessageType::UploadAck).await;
    let before = between.counts.control.load(Ordering::SeqCst);

    let mut client = cms.connect().await;
    assert_eq!(code(&client.ask(&talk(1, "START", 0, &[])).await), 200);
    camera.does(ErrorNum::OK).await;
    let mut pace = tokio::time::interval(Duration::from_millis(40));
    for n in 1..=25u8 {
        pace.tick().await;
        let piece = talk(1 + u32::from(n), "SENDDATA", 40 * u64::from(n), &[n; 320]);
        assert_eq!(code(&client.ask(&piece).await), 200);
    }
    assert_eq!(code(&client.ask(&talk(30, "STOP", 0, &[])).await), 200);
    for _ in 0..27 {
        between.message(MessageType::ControlTalkbackReq).await;
    }
    let ended = |event: &CameraEvent| matches!(event, CameraEvent::TalkbackEnded { .. });
    let CameraEvent::TalkbackEnded { stats, .. } = camera.until(ended).await else {
        panic!();
    };
    assert_eq!(stats.pieces, 25, "every piece came through");
    assert_eq!(stats.played + stats.late + stats.skipped, 50);
    // A machine that is busy with something else may hold pieces up for longer than speech waits.
    assert!(stats.played >= 35, "{stats:?}");
    for _ in 0..2 {
        between.message(MessageType::RegisterReq).await;
        between.message(MessageType::RegisterAck).await;
    }
    // All the while nothing of the picture moved, and none of it went the other way.
    let counts = &between.counts;
    let passed = counts.put.load(Ordering::SeqCst);
    assert!((HELD..HELD + 4096).contains(&passed), "{passed}");
    let said = counts.control.load(Ordering::SeqCst) - before;
    assert!(said < 40_000, "{said} bytes of control messages");
    assert_eq!(loaded(&cms, "cam").await, None);

    between.way.send(Way::Pass).unwrap();
    camera.until(sent).await;
    assert_eq!(loaded(&cms, "cam").await.unwrap(), picture(LARGE));
    assert_eq!(counts.puts.load(Ordering::SeqCst), 1);
    cms.stop().await;
}

#[tokio::test]
async fn a_box_that_knows_no_put_gets_messages() {
    let cms = TestCms::start(|_| {}).await;
    let mut between = Between::start(cms.addr, Way::Refuse).await;
    let source = Large::new(LARGE);
    let mut camera = Embedder::start_at(&cms, between.addr, source, []).await;
    between.message(MessageType::PostSnapReq).await;
    camera.until(sent).await;
    assert_eq!(loaded(&cms, "cam").await.unwrap(), picture(LARGE));
    assert_eq!(between.counts.puts.load(Ordering::SeqCst), 1);
    cms.stop().await;
}

#[tokio::test]
async fn a_picture_that_broke_off_is_told_and_the_next_one_comes() {
    let cms = TestCms::start(|_| {}).await;
    let between = Between::start(cms.addr, Way::Cut).await;
    let source = Large::new(LARGE);
    let wishes = [CommandKind::Snapshot];
    let mut camera = Embedder::start_at(&cms, between.addr, source, wishes).await;
    let said = |event: &CameraEvent| {
        matches!(
            event,
            CameraEvent::SnapshotFailed { .. } | CameraEvent::Disconnected { .. }
        )
    };
    let event = camera.until(said).await;
    assert!(
        matches!(event, CameraEvent::SnapshotFailed { channel: 1, .. }),
        "{event:?}"
    );
    assert_eq!(loaded(&cms, "cam").await, None);
    between.way.send(Way::Pass).unwrap();
    let mut client = cms.connect().await;
    let wish = format!(
        "POST /api/v2/devices/cam/snapshot HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\n\r\n",
        cms.handle.api_key()
    );
    client.send(wish.as_bytes()).await;
    assert_eq!(client.expect().await.status, 200);
    let happens = |event: &CameraEvent| sent(event) || said(event);
    let event = camera.until(happens).await;
    assert!(sent(&event), "{event:?}");
    assert_eq!(loaded(&cms, "cam").await.unwrap(), picture(LARGE));
    cms.stop().await;
}
