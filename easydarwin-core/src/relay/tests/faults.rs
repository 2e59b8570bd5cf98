//! What publishers do wrong: readers get pictures all the same, it is counted, and a strict relay
//! ends the stream.

use super::rig::{Camera, Peer, description, frames, header, hub, now, path, settle, video};
use crate::media::Repair;
use crate::registry::Principal;
use crate::relay::{EndReason, Hub, ReaderOptions};
use crate::rtp::rtcp;

/// A camera that has filmed for a while.
async fn camera(hub: &Hub, audio: bool, strict: bool) -> Camera {
    let mut publisher = hub
        .publish(&path(), description(audio), Principal::Anonymous)
        .unwrap();
    publisher.watch_faults("10.0.0.9:40000", strict);
    let mut camera = Camera::with(publisher, audio);
    camera.film_many(3).await;
    camera
}

fn repairs(camera: &Camera) -> Vec<(Repair, u64)> {
    let info = camera.publisher.stream().info();
    info.repairs.iter().collect()
}

fn end(camera: &Camera) -> Option<EndReason> {
    camera.publisher.stream().end_reason()
}

/// The same with a lenient and a strict relay; `after` comes after the fault and is fine.
async fn faulty(repair: Repair, count: u64, fault: impl Fn(&mut Camera), after: u32) -> Vec<u32> {
    let hub_strict = hub();
    let mut strict = camera(&hub_strict, true, true).await;
    fault(&mut strict);
    for _ in 0..after {
        strict.push_picture();
        strict.publisher.flush(now());
    }
    assert_eq!(end(&strict), Some(EndReason::Faulty), "{repair:?}");
    assert_eq!(strict.publisher.closed().await, EndReason::Faulty);
    assert!(!strict.publisher.flush(now()));

    let hub = hub();
    let mut lenient = camera(&hub, true, false).await;
    assert_eq!(repairs(&lenient), []);
    let peer = Peer::eager();
    let prepared = lenient
        .publisher
        .stream()
        .prepare(ReaderOptions::new("test"));
    let _handle = prepared.start(peer.sink());
    settle().await;
    fault(&mut lenient);
    lenient.film_many(after).await;
    settle().await;
    assert_eq!(end(&lenient), None);
    assert_eq!(repairs(&lenient), [(repair, count)]);
    assert_eq!(hub.info().repairs.count(repair), count);
    let seen = video(&frames(&peer.take()));
    for pair in seen.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1));
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        let step = pair[1].ts.wrapping_sub(pair[0].ts);
        assert!(step <= 30 * 3600, "{step}");
    }
    let mut pictures: Vec<u32> = seen.iter().map(super::rig::Seen::picture).collect();
    pictures.dedup();
    pictures
}

#[tokio::test(start_paused = true)]
async fn another_ssrc() {
    let pictures = faulty(Repair::SsrcJump, 1, |camera| camera.ssrc = 77, 30).await;
    // From the next key frame on, without a gap in the numbers.
    assert_eq!(pictures, [0, 1, 2, 25, 26, 27, 28, 29, 30, 31, 32]);
}

#[tokio::test(start_paused = true)]
async fn another_time() {
    let jump = |camera: &mut Camera| camera.ts = camera.ts.wrapping_add(90_000 * 3600);
    let pictures = faulty(Repair::TimestampJump, 1, jump, 5).await;
    assert_eq!(pictures, [0, 1, 2, 3, 4, 5, 6, 7]);
}

/// Pushes pictures without markers.
fn unmarked(camera: &mut Camera, pictures: u32) {
    for _ in 0..pictures {
        for index in 0..3 {
            let mut packet = header(96, camera.seq, camera.ts, camera.ssrc, false);
            packet.extend([0x41, if index == 0 { 0x88 } else { 0x48 }]);
            packet.extend(camera.picture.to_be_bytes());
            packet.extend([0; 4]);
            camera.publisher.push_rtp(0, &packet, now());
            camera.seq = camera.seq.wrapping_add(1);
        }
        camera.picture += 1;
        camera.ts = camera.ts.wrapping_add(3600);
        camera.publisher.flush(now());
    }
}

#[tokio::test(start_paused = true)]
async fn no_markers() {
    // Each is noticed when the next begins; three of them may be bad luck.
    let pictures = faulty(Repair::MissingMarkers, 3, |camera| unmarked(camera, 6), 2).await;
    assert_eq!(pictures, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
}

#[tokio::test(start_paused = true)]
async fn no_markers_and_pictures_that_are_passed_on_before_the_next_one_comes() {
    let hub = hub();
    let mut camera = camera(&hub, false, false).await;
    for _ in 0..5 {
        unmarked(&mut camera, 1);
        // The time to merge passes: it is passed on.
        tokio::time::advance(std::time::Duration::from_millis(40)).await;
        camera.publisher.flush(now());
    }
    camera.film_many(1).await;
    assert_eq!(repairs(&camera), [(Repair::MissingMarkers, 2)]);
}

#[tokio::test(start_paused = true)]
async fn one_lost_marker_is_no_fault() {
    let hub = hub();
    let mut camera = camera(&hub, false, true).await;
    for _ in 0..10 {
        unmarked(&mut camera, 1);
        camera.film_many(1).await;
    }
    assert_eq!((repairs(&camera), end(&camera)), (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn rtcp_and_rtp_on_each_others_port() {
    let report = [0x80, 201, 0, 1, 1, 2, 3, 4];
    let long_report = |camera: &mut Camera| {
        let mut report = bytes::BytesMut::new();
        rtcp::write_receiver_report(1, &[], "x", &mut report);
        camera.publisher.push_rtp(0, &report, now());
    };
    let pictures = faulty(Repair::RtpPort, 1, long_report, 2).await;
    assert_eq!(pictures, [0, 1, 2, 3, 4]);
    // One that is too short for RTP.
    let short_report = |camera: &mut Camera| camera.publisher.push_rtp(0, &report, now());
    let pictures = faulty(Repair::RtpPort, 1, short_report, 2).await;
    assert_eq!(pictures, [0, 1, 2, 3, 4]);

    let hub = hub();
    let mut camera = camera(&hub, false, false).await;
    camera.publisher.push_rtcp(0, &report, now());
    assert_eq!(repairs(&camera), []);
    let mut packet = header(96, camera.seq, camera.ts, camera.ssrc, true);
    packet.extend([0x41, 0x88, 0, 0, 0, 3, 0, 0, 0, 0]);
    let before = camera.publisher.stream().info().tracks[0].packets;
    camera.publisher.push_rtcp(0, &packet, now());
    camera.publisher.flush(now());
    assert_eq!(repairs(&camera), [(Repair::RtpPort, 1)]);
    let info = camera.publisher.stream().info();
    assert_eq!((info.tracks[0].packets, info.invalid), (before + 1, 0));
    camera.publisher.push_rtcp(0, b"neither", now());
    assert_eq!(camera.publisher.stream().info().invalid, 1);
}

/// Both tracks on the first one's channels: what a camera does that asks for the same channels twice
/// and does not read the answer.
#[tokio::test(start_paused = true)]
async fn tracks_on_another_tracks_port() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    drop(camera.publisher);
    camera.publisher = hub
        .publish(&path(), description(true), Principal::Anonymous)
        .unwrap();
    let sound = |seq: u16| {
        let mut sound = header(8, seq, u32::from(seq) * 320, 99, false);
        sound.extend_from_slice(&[0xd5; 320]);
        sound
    };
    // The sound comes first: it must not be taken for the picture.
    camera.publisher.push_rtp(0, &sound(1), now());
    camera.film_many(2).await;
    camera.publisher.push_rtp(0, &sound(2), now());
    camera.film_many(1).await;
    let info = camera.publisher.stream().info();
    assert_eq!((info.tracks[1].packets, info.invalid), (2, 0));
    assert_eq!(info.tracks[0].packets, 20 + 4 + 4);
    assert_eq!(repairs(&camera), [(Repair::OtherTrackPort, 2)]);

    // A track that has packets of its own takes no others.
    let mut camera = Camera::with(
        {
            drop(camera);
            hub.publish(&path(), description(true), Principal::Anonymous)
                .unwrap()
        },
        true,
    );
    camera.film_many(2).await;
    camera.publisher.push_rtp(0, &sound(9), now());
    camera.film_many(1).await;
    let info = camera.publisher.stream().info();
    assert_eq!((info.tracks[1].packets, info.invalid), (3, 1));
    assert_eq!(repairs(&camera), []);
}

#[tokio::test(start_paused = true)]
async fn a_new_publisher_begins_without_repairs() {
    let hub = hub();
    let mut first = camera(&hub, false, false).await;
    first.ssrc = 5;
    first.film_many(25).await;
    assert_eq!(repairs(&first), [(Repair::SsrcJump, 1)]);
    tokio::time::advance(std::time::Duration::from_secs(30)).await;
    let second = Camera::new(&hub, false);
    assert_eq!(repairs(&second), []);
    assert_eq!(hub.info().repairs.count(Repair::SsrcJump), 1);
}
