//! A camera with two ways to its servers, one of which the routes prefer: what belongs to an
//! interface goes through it, all of it and nothing else.
//!
//! Needs `unshare` and `ip`: scripts/peers installs them.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../namespace/mod.rs"]
mod namespace;

use std::sync::mpsc;
use std::time::Duration;

use easydarwin_camera::frames::{self, Frame, QueueConfig};
use easydarwin_camera::{BuildError, Camera, CameraBuilder, CameraEvent, PushTransport};
use easydarwin_core::media::{H264Params, Track};
use easydarwin_core::registry::{AllowAll, StreamPath};
use easydarwin_core::relay::{TapEvent, TapOptions};
use easydarwin_core::server::MediaServer;
use namespace::run;

/// Reached through both interfaces.
const SERVER: &str = "10.78.9.1";
const RTSP: &str = "10.78.9.1:10554";
const CMS: &str = "10.78.9.1:10000";
const PATH: &str = "cam/1";
const SOON: Duration = Duration::from_secs(20);
/// Of each picture.
const PICTURE: usize = 20_000;
/// Pictures that have to arrive.
const PICTURES: u64 = 25;
/// Less than one picture: what interfaces say by themselves (ARP, neighbours of IPv6).
const CHATTER: u64 = 10_000;

#[test]
fn everything_goes_through_the_interface_that_was_named() {
    if !namespace::is_inside() {
        return namespace::run_inside("everything_goes_through_the_interface_that_was_named");
    }
    let (ready, thread) = mpsc::channel();
    let (orders, wanted) = mpsc::channel();
    let (heard, failures) = mpsc::channel();
    let camera = std::thread::spawn(move || {
        ready.send(namespace::leave_namespace()).unwrap();
        let () = wanted.recv().unwrap();
        near_side();
        heard.send(Vec::new()).unwrap();
        for (interface, transport) in [
            (None, PushTransport::Tcp),
            (Some("near1"), PushTransport::Tcp),
            (Some("near1"), PushTransport::Udp),
        ] {
            let () = wanted.recv().unwrap();
            film(interface, transport, &wanted);
        }
        let () = wanted.recv().unwrap();
        heard.send(complain("nothere0")).unwrap();
    });
    let thread = thread.recv().unwrap();
    for link in 0..2 {
        run(&format!(
            "ip link add far{link} type veth peer name near{link}"
        ));
        run(&format!("ip link set near{link} netns {thread}"));
        run(&format!("ip addr add 10.78.{link}.1/24 dev far{link}"));
        run(&format!("ip link set far{link} up"));
    }
    run(&format!("ip addr add {SERVER}/32 dev lo"));
    run("ip link set lo up");
    orders.send(()).unwrap();
    failures.recv().unwrap();

    // An order to come, and one to leave.
    let order = || orders.send(()).unwrap();
    let (others, own) = far_side(order, order);
    assert!(
        own < CHATTER && others > PICTURES * 20_000,
        "routes: {others} and {own}"
    );
    for transport in ["TCP", "UDP"] {
        let (others, own) = far_side(order, order);
        assert!(
            others < CHATTER,
            "{transport}: {others} bytes went elsewhere"
        );
        assert!(own > PICTURES * 20_000, "{transport}: {own}");
    }
    orders.send(()).unwrap();
    let complaints = failures.recv().unwrap();
    camera.join().unwrap();
    assert_eq!(complaints.len(), 2, "CMS and media server: {complaints:?}");
    for complaint in complaints {
        assert!(
            complaint.contains("interface \"nothere0\"") && complaint.contains("ip link"),
            "{complaint}"
        );
    }
}

#[test]
fn names_that_no_interface_can_have_are_refused() {
    for name in ["", "a/b", "sixteen-chars-00", "with space", ".."] {
        let (_, builder) = camera(Some(name), PushTransport::Tcp);
        assert_eq!(
            builder.build().unwrap_err(),
            BuildError::Interface,
            "{name:?}"
        );
    }
}

/// Both ways are there, the first one is preferred.
fn near_side() {
    for link in 0..2 {
        run(&format!("ip addr add 10.78.{link}.2/24 dev near{link}"));
        run(&format!("ip link set near{link} up"));
        run(&format!(
            "ip route add {SERVER}/32 via 10.78.{link}.1 dev near{link} metric {}",
            10 + link
        ));
    }
    // What comes back another way than the routes would take is taken all the same.
    for name in ["all", "near0", "near1"] {
        // Where this cannot be written it is off, or the test fails.
        let _ = std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "0");
    }
}

fn camera(
    interface: Option<&str>,
    transport: PushTransport,
) -> (Vec<frames::FrameSender>, CameraBuilder) {
    let parameters = H264Params {
        sps: Some(vec![0x67, 0x42, 0, 0x1f, 0xe9].into()),
        pps: vec![vec![0x68, 0xce, 0x3c, 0x80].into()],
    };
    let tracks = vec![Track::h264(96, parameters)];
    let (senders, feed) = frames::queue(tracks, &QueueConfig::default()).unwrap();
    let mut builder = Camera::builder()
        .serial("camera")
        .token("t")
        .cms(CMS)
        .push_to(format!("rtsp://{RTSP}/{PATH}"))
        .transport(transport)
        .frames(1, feed);
    if let Some(name) = interface {
        builder = builder.interface(name);
    }
    (senders, builder)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Pushes pictures until it is told to leave.
fn film(interface: Option<&str>, transport: PushTransport, leave: &mpsc::Receiver<()>) {
    let (mut senders, builder) = camera(interface, transport);
    let picture = [&[0, 0, 0, 1, 0x65, 0x88][..], &[0xaa; PICTURE]].concat();
    runtime().block_on(async {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = builder.build().unwrap().run(async {
            let _ = stopped.await;
        });
        let running = tokio::spawn(running);
        let mut ticks = tokio::time::interval(Duration::from_millis(40));
        let mut pts_us = 0;
        while leave.try_recv().is_err() {
            ticks.tick().await;
            let frame = Frame {
                parts: &[&picture],
                pts_us,
                key: true,
            };
            senders[0].push(&frame);
            pts_us += 40_000;
        }
        let _ = stop.send(());
        running.await.unwrap();
    });
}

/// What a camera says that cannot have its interface: of its CMS and of its media server.
fn complain(interface: &str) -> Vec<String> {
    let (_senders, builder) = camera(Some(interface), PushTransport::Tcp);
    runtime().block_on(async {
        let (events, mut heard) = tokio::sync::mpsc::channel(16);
        let camera = builder.events(events).build().unwrap();
        let running = tokio::spawn(camera.run(std::future::pending()));
        let (mut cms, mut media) = (None, None);
        while cms.is_none() || media.is_none() {
            let event = tokio::time::timeout(SOON, heard.recv()).await;
            match event.expect("it says what is wrong").unwrap() {
                CameraEvent::Disconnected { reason } => cms = Some(reason),
                CameraEvent::PushFailed { reason, .. } => media = Some(reason),
                _ => {}
            }
        }
        running.abort();
        cms.into_iter().chain(media).collect()
    })
}

/// Bytes that came in through both interfaces while a camera pushed: `come` calls it, `leave` sends it
/// away.
fn far_side(come: impl FnOnce(), leave: impl FnOnce()) -> (u64, u64) {
    runtime().block_on(async {
        let server = MediaServer::builder()
            .rtsp(RTSP.parse().unwrap())
            .authorizer(AllowAll)
            .build()
            .await
            .unwrap();
        let cms = tokio::net::TcpListener::bind(CMS).await.unwrap();
        let hub = server.hub().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        let before = received();
        come();
        let (device, _) = tokio::time::timeout(SOON, cms.accept())
            .await
            .expect("the camera calls its CMS")
            .unwrap();
        let path = StreamPath::parse(PATH).unwrap();
        let stream = hub.wait(&path, true, SOON).await.expect("the camera comes");
        let mut tap = stream.tap(TapOptions::new("far side"));
        let mut pictures = 0;
        while pictures < PICTURES {
            let event = tokio::time::timeout(SOON, tap.recv()).await;
            if let Some(TapEvent::Unit(unit)) = event.expect("pictures") {
                assert!(unit.len() > PICTURE);
                pictures += 1;
            }
        }
        leave();
        // What it sends until it has hung up belongs to this count.
        let ended = async { while tap.recv().await.is_some() {} };
        tokio::time::timeout(SOON, ended).await.expect("it leaves");
        drop(device);
        let after = received();
        let _ = stop.send(());
        server.await.unwrap().unwrap();
        (after.0 - before.0, after.1 - before.1)
    })
}

/// Bytes received so far by both interfaces of this namespace.
fn received() -> (u64, u64) {
    let table = std::fs::read_to_string("/proc/net/dev").unwrap();
    let of = |name: &str| {
        let mut lines = table.lines();
        let line = lines.find_map(|line| line.trim_start().strip_prefix(name));
        let figures = line.expect("the interface").trim_start_matches(':');
        figures.split_whitespace().next().unwrap().parse().unwrap()
    };
    (of("far0"), of("far1"))
}
