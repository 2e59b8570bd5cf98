use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::rig::{Camera, Peer, frames, hub, hub_with, settle, video};
use crate::relay::{
    ControlError, EndReason, ReaderEnd, ReaderOptions, RelayConfig, Start, StreamEvent,
    TrackChannels,
};
use crate::rtp::rtcp::{self, RtcpPacket};

#[tokio::test(start_paused = true)]
async fn starts_at_the_last_key_frame_and_says_so() {
    let hub = hub();
    let mut camera = Camera::new(&hub, true);
    camera.film_many(30).await;
    let stream = camera.publisher.stream().clone();
    let prepared = stream.prepare(ReaderOptions::new("test"));
    let info = prepared.rtp_info();
    let peer = Peer::eager();
    let _handle = prepared.start(peer.sink());
    settle().await;
    let bytes = peer.take();
    let frames = frames(&bytes);
    // First the reports, one per track.
    assert_eq!((frames[0].channel, frames[1].channel), (1, 3));
    let pictures = video(&frames);
    assert!(pictures[0].is_key());
    assert_eq!(pictures[0].picture(), 25);
    assert_eq!(info[0].seq, Some(pictures[0].seq));
    assert_eq!(info[0].rtptime, Some(pictures[0].ts));
    let sound = frames.iter().find(|seen| seen.channel == 2).unwrap();
    assert_eq!(
        (info[1].seq, info[1].rtptime),
        (Some(sound.seq), Some(sound.ts))
    );
    assert!(
        pictures
            .iter()
            .all(|seen| seen.ssrc == stream.tracks()[0].ssrc)
    );
}

/// The report and the media of a track agree on its time.
#[tokio::test(start_paused = true)]
async fn sender_reports_fit_the_media() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    camera.film_many(26).await;
    let peer = Peer::eager();
    let options = ReaderOptions::new("test");
    let _handle = camera
        .publisher
        .stream()
        .prepare(options)
        .start(peer.sink());
    camera.film_many(150).await;
    let bytes = peer.take();
    let mut reports = 0;
    let mut rest = &bytes[..];
    let mut last = None;
    while let Some((seen, after)) = super::rig::frame(rest) {
        let packet = &rest[4..rest.len() - after.len()];
        rest = after;
        if seen.channel == 0 {
            last = Some(seen.ts);
            continue;
        }
        reports += 1;
        let Some(Ok(RtcpPacket::SenderReport(report, _))) = rtcp::parse(packet).next() else {
            panic!("a sender report comes first");
        };
        assert_eq!(report.ssrc, camera.publisher.stream().tracks()[0].ssrc);
        if let Some(last) = last {
            let ahead = report.rtp_time.wrapping_sub(last);
            assert!(ahead <= 3600 || ahead > u32::MAX - 3600, "{ahead}");
        }
    }
    assert_eq!(reports, 2, "one at the start, one after five seconds");
}

#[tokio::test(start_paused = true)]
async fn a_live_start_waits_for_the_next_key_frame() {
    let hub = hub();
    let mut camera = Camera::new(&hub, true);
    camera.film_many(10).await;
    let mut options = ReaderOptions::new("test");
    options.start = Start::Live;
    let prepared = camera.publisher.stream().prepare(options);
    assert_eq!(prepared.rtp_info()[0].seq, None);
    let peer = Peer::eager();
    let handle = prepared.start(peer.sink());
    camera.film_many(20).await;
    let pictures = video(&frames(&peer.take()));
    assert_eq!(pictures[0].picture(), 25);
    assert_eq!(handle.info().held_units, 15);
}

#[tokio::test(start_paused = true)]
async fn an_old_group_is_no_start() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    camera.film_many(20).await;
    tokio::time::advance(Duration::from_secs(10)).await;
    camera.film_many(1).await;
    let peer = Peer::eager();
    let options = ReaderOptions::new("test");
    let _handle = camera
        .publisher
        .stream()
        .prepare(options)
        .start(peer.sink());
    camera.film_many(6).await;
    assert_eq!(video(&frames(&peer.take()))[0].picture(), 25);
}

#[tokio::test(start_paused = true)]
async fn other_channels_and_a_subset_of_tracks() {
    let hub = hub();
    let mut camera = Camera::new(&hub, true);
    camera.film_many(1).await;
    let all = Peer::eager();
    let mut options = ReaderOptions::new("both");
    let odd = |track, rtp| TrackChannels {
        track,
        rtp,
        rtcp: rtp + 1,
    };
    options.tracks = Some(vec![odd(0, 11), odd(1, 7)]);
    let _all = camera
        .publisher
        .stream()
        .prepare(options.clone())
        .start(all.sink());
    let sound = Peer::default();
    options.tracks = Some(vec![odd(1, 0)]);
    let _sound = camera
        .publisher
        .stream()
        .prepare(options)
        .start(sound.sink());
    for _ in 0..300 {
        // Cuts at every place of a packet.
        sound.allow(77);
        camera.film_many(1).await;
    }
    sound.allow(usize::MAX);
    camera.film_many(1).await;
    let frames_all = frames(&all.take());
    assert!(
        frames_all
            .iter()
            .all(|seen| [11, 12, 7, 8].contains(&seen.channel))
    );
    assert!(frames_all.iter().any(|seen| seen.channel == 11));
    let frames_sound = frames(&sound.take());
    assert!(frames_sound.iter().all(|seen| seen.channel < 2));
    assert!(
        frames_sound
            .iter()
            .any(|seen| seen.channel == 0 && seen.payload_type == 8)
    );
}

#[tokio::test(start_paused = true)]
async fn answers_go_between_packets() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    camera.film_many(1).await;
    let peer = Peer::default();
    let options = ReaderOptions::new("test");
    let handle = camera
        .publisher
        .stream()
        .prepare(options)
        .start(peer.sink());
    // The report, then a packet cut in the middle.
    peer.allow(500);
    settle().await;
    handle
        .control(Bytes::from_static(b"RTSP/1.0 200 OK\r\n\r\n"))
        .unwrap();
    camera.film_many(1).await;
    peer.allow(usize::MAX);
    settle().await;
    let bytes = peer.take();
    let at = bytes.windows(4).position(|four| four == b"RTSP").unwrap();
    frames(&bytes[..at]);
    frames(&bytes[at + 19..]);

    let big = Bytes::from(vec![0; 40_000]);
    let stuck = Peer::default();
    let options = ReaderOptions::new("stuck");
    let handle = camera
        .publisher
        .stream()
        .prepare(options)
        .start(stuck.sink());
    settle().await;
    handle.control(big.clone()).unwrap();
    assert_eq!(handle.control(big), Err(ControlError::Overflow));
    assert_eq!(handle.ended().await, ReaderEnd::ControlOverflow);
}

#[tokio::test(start_paused = true)]
async fn stop_gives_the_sink_back_at_a_packet_boundary() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    camera.film_many(1).await;
    let peer = Peer::default();
    peer.allow(2000);
    let options = ReaderOptions::new("test");
    let handle = camera
        .publisher
        .stream()
        .prepare(options)
        .start(peer.sink());
    settle().await;
    let stopped = handle.stop().await;
    assert!(stopped.sink.is_some());
    let mut bytes = peer.take();
    assert_eq!(bytes.len(), 2000);
    bytes.extend_from_slice(&stopped.pending);
    frames(&bytes);
    assert_eq!(camera.publisher.stream().viewers(), 0);
    // And to drop the handle is to stop.
    let options = ReaderOptions::new("test");
    drop(
        camera
            .publisher
            .stream()
            .prepare(options)
            .start(peer.sink()),
    );
    settle().await;
    assert_eq!(camera.publisher.stream().viewers(), 0);
    assert_eq!(hub.info().readers, 0);
}

#[tokio::test(start_paused = true)]
async fn readers_end_by_stall_by_error_and_with_the_stream() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    camera.film_many(1).await;
    let start = |label: &str, peer: &Peer| {
        let stream = camera.publisher.stream();
        stream.prepare(ReaderOptions::new(label)).start(peer.sink())
    };
    let (stuck, broken, good) = (Peer::default(), Peer::eager(), Peer::eager());
    let stuck_handle = start("stuck", &stuck);
    let broken_handle = start("broken", &broken);
    let good_handle = start("good", &good);
    settle().await;
    broken.break_it();
    for _ in 0..25 * 17 {
        camera.film().await;
        settle().await;
    }
    assert_eq!(stuck_handle.ended().await, ReaderEnd::Stalled(15));
    let end = broken_handle.ended().await;
    assert_eq!(end, ReaderEnd::Io(std::io::ErrorKind::BrokenPipe));
    assert!(good_handle.info().lag_ms == 0);
    // Who left, and why, is there to be seen.
    let info = camera.publisher.stream().info();
    assert_eq!(
        (info.ended.stalled, info.ended.io, info.ended.stream),
        (1, 1, 0)
    );
    let left: Vec<_> = info
        .left
        .iter()
        .map(|left| (left.cause, &*left.reader.label))
        .collect();
    assert_eq!(left, [("stalled", "stuck"), ("io", "broken")]);
    drop(camera);
    let end = good_handle.ended().await;
    assert_eq!(end, ReaderEnd::Stream(EndReason::PublisherLeft));
    assert_eq!(video(&frames(&good.take())).len(), 18 * 20 + (426 - 18) * 4);
}

/// One that takes nothing costs the others nothing.
#[tokio::test(start_paused = true)]
async fn one_stalled_among_many() {
    let hub = hub();
    let mut camera = Camera::new(&hub, true);
    camera.film_many(1).await;
    let stream = camera.publisher.stream().clone();
    let stuck = Peer::default();
    let options = ReaderOptions::new("stuck");
    let stuck_handle = stream.prepare(options).start(stuck.sink());
    let peers: Vec<_> = (0..150)
        .map(|_| {
            let peer = Peer::eager();
            let handle = stream
                .prepare(ReaderOptions::new("good"))
                .start(peer.sink());
            (peer, handle)
        })
        .collect();
    settle().await;
    let before = peers[0].0.writes();
    camera.film_many(100).await;
    for (peer, handle) in &peers {
        let info = handle.info();
        assert_eq!((info.lag_ms, info.truncated, info.blocked), (0, 0, 0));
        assert_eq!(
            peer.writes() - before,
            100,
            "one write a picture, sound included"
        );
        assert_eq!(video(&frames(&peer.take())).len(), 5 * 20 + 96 * 4);
    }
    assert!(stuck_handle.info().lag_ms >= 3900);
    let info = stream.info();
    assert_eq!(info.readers.len(), 151);
    assert!(info.kept_bytes < 4 << 20, "{}", info.kept_bytes);
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_story() {
    let hub = hub();
    let mut events = hub.events();
    let mut camera = Camera::new(&hub, false);
    camera.film_many(2).await;
    let stream = camera.publisher.stream().clone();
    let reader = stream.prepare(ReaderOptions::new("test"));
    let session = stream.viewer();
    drop(reader);
    drop(session);
    assert!(stream.idle_since().is_some());
    drop(camera);
    let mut names = Vec::new();
    while let Ok(event) = events.try_recv() {
        names.push(match event.event {
            StreamEvent::Published { .. } => "published",
            StreamEvent::Ready => "ready",
            StreamEvent::ReaderJoined { .. } => "joined",
            StreamEvent::ReaderLeft { .. } => "left",
            StreamEvent::Idle { .. } => "idle",
            StreamEvent::Offline { .. } => "offline",
            StreamEvent::Ended { .. } => "ended",
        });
    }
    let story = "published idle ready joined joined left left idle ended";
    assert_eq!(names.join(" "), story);
    assert!(!stream.ready().await || stream.end_reason().is_some());
    assert!(hub.streams().is_empty());
}

#[tokio::test(start_paused = true)]
async fn close_minds_generation_and_viewers() {
    use crate::relay::CloseError;
    let hub = hub();
    let camera = Camera::new(&hub, false);
    let path = super::rig::path();
    let generation = camera.publisher.generation();
    let stream = camera.publisher.stream().clone();
    let viewer = stream.viewer();
    assert_eq!(hub.close(&path, None, true), Err(CloseError::InUse(1)));
    let older = hub.close(&path, Some(generation - 1), false);
    assert_eq!(older, Err(CloseError::Superseded(generation)));
    drop(viewer);
    assert_eq!(hub.close(&path, Some(generation), true), Ok(()));
    assert_eq!(camera.publisher.closed().await, EndReason::Closed);
    assert_eq!(hub.close(&path, None, false), Err(CloseError::NotFound));
}

/// A stream whose publisher left stays for a while, if so configured.
#[tokio::test(start_paused = true)]
async fn offline_grace() {
    let config = RelayConfig {
        offline_grace: Duration::from_secs(5),
        ..RelayConfig::default()
    };
    let hub = hub_with(config);
    let camera = Camera::new(&hub, false);
    let stream = camera.publisher.stream().clone();
    drop(camera);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(hub.get(stream.path()).is_some());
    let camera = Camera::new(&hub, false);
    assert!(Arc::ptr_eq(&camera.publisher.stream().inner, &stream.inner));
    tokio::time::sleep(Duration::from_secs(10)).await;
    drop(camera);
    assert_eq!(stream.ended().await, EndReason::PublisherLeft);
}

/// Sound before the first key frame makes no picture at once.
#[tokio::test(start_paused = true)]
async fn a_stream_with_video_is_ready_at_its_first_key_frame() {
    let hub = hub();
    let mut camera = Camera::new(&hub, true);
    camera.picture = 20;
    camera.film_many(5).await;
    assert!(!camera.publisher.stream().is_ready());
    camera.film_many(1).await;
    assert!(camera.publisher.stream().is_ready());
}
