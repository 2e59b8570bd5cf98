//! Publishers that follow each other while others watch: takeover, other tracks, a camera that
//! starts anew in mid-stream, a publisher that is away for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use easydarwin_core::client::{self, ClientError, ClientOptions, ClientTransport, Player};
use easydarwin_core::media::{
    AccessUnit, Codec, G711Law, H264Params, H265Params, SessionDescription, Track,
};
use easydarwin_core::registry::{AccessRequest, Action, Authorizer, Denied, Principal};
use easydarwin_core::relay::{EndReason, RelayConfig, StreamEvent, TapEvent, TapOptions};
use easydarwin_core::server::MediaServer;
use tokio::task::JoinHandle;

use crate::support::{Message, Rtsp, Server, interleaved, path, sequence, within};

/// Enough that a takeover falls into the middle of writing to some of them.
const READERS: usize = 20;
const PICTURE: Duration = Duration::from_millis(20);
const PICTURES_PER_GROUP: u64 = 10;
const SPS: [u8; 8] = [0x67, 0x42, 0xc0, 0x0a, 0xa6, 0x11, 0x11, 0xe8];
const PPS: [u8; 4] = [0x68, 0xce, 0x38, 0x80];
const URL: &str = "cam/1";

/// Whoever publishes is the same device.
struct OneDevice;

#[async_trait]
impl Authorizer for OneDevice {
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        Ok(match request.action {
            Action::Publish => Principal::Device {
                serial: "cam".into(),
                generation: 1,
            },
            _ => Principal::Anonymous,
        })
    }
}

async fn server(grace: Duration) -> Server {
    let mut config = RelayConfig::default();
    config.offline_grace = grace;
    let builder = MediaServer::builder().authorizer(OneDevice).relay(config);
    Server::of(builder).await
}

fn description(payload_type: u8) -> SessionDescription {
    let params = H264Params {
        sps: Some(SPS.to_vec().into()),
        pps: vec![PPS.to_vec().into()],
    };
    SessionDescription {
        tracks: vec![Track::h264(payload_type, params), Track::g711(G711Law::A)],
        ..SessionDescription::default()
    }
}

/// A camera that marks all its bytes.
struct Camera {
    publisher: client::Publisher,
    picture: u64,
    mark: u8,
}

impl Camera {
    async fn connect(server: &Server, description: SessionDescription, mark: u8) -> Self {
        let url = server.url(URL);
        let publisher = client::Publisher::connect(&url, description, ClientOptions::default());
        Self {
            publisher: within(publisher).await.unwrap(),
            picture: 0,
            mark,
        }
    }

    /// One picture, with the sound that belongs to it.
    async fn film(&mut self) -> Result<(), ClientError> {
        let key = self.picture.is_multiple_of(PICTURES_PER_GROUP);
        let slice = |kind: u8, len: usize| {
            let mut slice = vec![self.mark; len];
            slice[0] = kind;
            Bytes::from(slice)
        };
        let data = if key {
            vec![
                SPS.to_vec().into(),
                PPS.to_vec().into(),
                slice(0x65, 20_000),
            ]
        } else {
            vec![slice(0x41, 3_000)]
        };
        let picture = i64::try_from(self.picture).unwrap();
        let mut unit = AccessUnit {
            track: 0,
            pts: picture * 1_800,
            arrival: Instant::now(),
            ntp: None,
            key,
            discontinuity: false,
            lossy: false,
            data,
        };
        self.publisher.send(&unit).await?;
        unit.track = 1;
        unit.pts = picture * 160;
        unit.data = vec![slice(self.mark, 160)];
        self.publisher.send(&unit).await?;
        self.picture += 1;
        tokio::time::sleep(PICTURE).await;
        Ok(())
    }

    async fn film_many(&mut self, pictures: u32) {
        for _ in 0..pictures {
            within(self.film()).await.unwrap();
        }
    }
}

/// A player over TCP that accepts no break in what it gets.
struct Reader {
    packets: Arc<AtomicU64>,
    task: JoinHandle<Vec<(u8, bool)>>,
}

impl Reader {
    async fn watch(addr: SocketAddr, url: String) -> Self {
        let mut client = Rtsp::connect(addr).await;
        assert_eq!(client.describe(&url).await.status, 200);
        let mut ssrcs = Vec::new();
        for track in 0..2 {
            let transport = format!(
                "RTP/AVP/TCP;unicast;interleaved={}-{}",
                2 * track,
                2 * track + 1
            );
            let answer = client
                .set_up(&format!("{url}/trackID={track}"), &transport)
                .await;
            assert_eq!(answer.status, 200);
            let transport = answer.header("Transport").unwrap().to_owned();
            let (_, ssrc) = transport.split_once("ssrc=").expect("an SSRC");
            ssrcs.push(u32::from_str_radix(ssrc.split(';').next().unwrap(), 16).unwrap());
        }
        assert_eq!(client.request("PLAY", &url, &[], "").await.status, 200);
        let packets = Arc::new(AtomicU64::new(0));
        let count = packets.clone();
        let task = tokio::spawn(judge(client, ssrcs, count));
        Self { packets, task }
    }

    async fn has_more(&self) {
        let before = self.packets.load(Ordering::Relaxed);
        within(async {
            while self.packets.load(Ordering::Relaxed) < before + 5 {
                assert!(!self.task.is_finished(), "the reader was ended");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// For each camera seen: its mark, and whether its video began with a key frame.
    async fn seen(self) -> Vec<(u8, bool)> {
        within(self.task).await.unwrap()
    }
}

/// Reads to the end; sequence, time, SSRC and payload type must go on whoever publishes.
async fn judge(mut client: Rtsp, ssrcs: Vec<u32>, count: Arc<AtomicU64>) -> Vec<(u8, bool)> {
    let mut last: [Option<(u16, u32, u8)>; 2] = [None; 2];
    let mut seen: Vec<(u8, bool)> = Vec::new();
    while let Some(message) = client.next().await {
        let Message::Frame(channel @ (0 | 2), packet) = message else {
            continue;
        };
        let track = usize::from(channel / 2);
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        assert_eq!(word(8), ssrcs[track], "another SSRC on track {track}");
        let (number, time, payload_type) = (sequence(&packet), word(4), packet[1] & 0x7f);
        if let Some((last_number, last_time, last_type)) = last[track] {
            assert_eq!(
                number,
                last_number.wrapping_add(1),
                "a gap on track {track}"
            );
            let step = time.wrapping_sub(last_time).cast_signed();
            assert!((0..4 * 90_000).contains(&step), "time moved by {step}");
            assert_eq!(payload_type, last_type);
        }
        last[track] = Some((number, time, payload_type));
        count.fetch_add(1, Ordering::Relaxed);
        let nal = match packet[12] & 0x1f {
            28 => packet[13] & 0x1f,
            nal => nal,
        };
        let mark = *packet.last().unwrap();
        if track == 0 && matches!(nal, 1 | 5) && seen.last().map(|(last, _)| *last) != Some(mark) {
            seen.push((mark, nal == 5));
        }
    }
    seen
}

async fn watch_many(server: &Server) -> Vec<Reader> {
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(Reader::watch(server.addr, server.url(URL)).await);
    }
    readers
}

/// What a tap was told of a stream, to its end.
#[derive(Debug, Default)]
struct Told {
    pictures: usize,
    gaps: usize,
    params: usize,
    discontinuities: usize,
    end: Option<EndReason>,
}

/// Reads in process beside the players; time must go on and pictures begin with a key frame.
fn tap(server: &Server) -> JoinHandle<Told> {
    let stream = server.hub().get(&path(URL)).unwrap();
    let mut tap = stream.tap(TapOptions::new("test"));
    tokio::spawn(async move {
        let mut told = Told::default();
        let (mut last, mut mark) = ([i64::MIN; 2], 0);
        while let Some(event) = tap.recv().await {
            match event {
                TapEvent::Unit(unit) => {
                    assert!(unit.pts > last[unit.track] && !unit.lossy, "{unit:?}");
                    last[unit.track] = unit.pts;
                    let its = *unit.data.last().unwrap().last().unwrap();
                    if unit.track == 0 {
                        assert!(unit.key || its == mark, "another take from its middle");
                        (mark, told.pictures) = (its, told.pictures + 1);
                    }
                }
                TapEvent::Gap => told.gaps += 1,
                TapEvent::ParamsChanged(_) => told.params += 1,
                TapEvent::Discontinuity => told.discontinuities += 1,
                TapEvent::End(reason) => told.end = Some(reason),
                other => panic!("{other:?}"),
            }
        }
        told
    })
}

/// Our own player, to the end of the stream; units by track and mark.
fn play_on(mut player: Player) -> JoinHandle<Vec<(usize, u8)>> {
    tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(unit) = player.next_unit().await.expect("a clean end") {
            assert!(!unit.lossy, "a packet was lost");
            let what = (unit.track, *unit.data.last().unwrap().last().unwrap());
            if !seen.contains(&what) {
                seen.push(what);
            }
        }
        seen
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_under_load_is_no_break_for_readers() {
    let server = server(Duration::ZERO).await;
    let mut old = Camera::connect(&server, description(96), 0xa1).await;
    old.film_many(2).await;
    let readers = watch_many(&server).await;
    let mut options = ClientOptions::default();
    options.transport = ClientTransport::Udp;
    let over_udp = within(Player::connect(&server.url(URL), options)).await;
    let over_udp = play_on(over_udp.unwrap());
    let told = tap(&server);
    old.film_many(15).await;

    let old = tokio::spawn(async move { while old.film().await.is_ok() {} });
    // Another payload type, and another PPS than it sends in band then.
    let mut offered = description(97);
    if let Codec::H264(params) = &mut offered.tracks[0].codec {
        params.pps = vec![vec![0x68, 0xce, 0x3c, 0x80].into()];
    }
    let mut new = Camera::connect(&server, offered, 0xb2).await;
    within(old).await.unwrap();
    // It comes in the middle of its group: nothing of that may be shown.
    new.picture = 5;
    new.film_many(25).await;
    for reader in &readers {
        assert!(!reader.task.is_finished());
    }
    let info = server.hub().get(&path(URL)).unwrap().info();
    assert_eq!(info.takeovers, 1);
    assert!(info.tracks[0].held_back > 0);
    assert_eq!((info.ended.stalled, info.ended.io), (0, 0));
    within(new.publisher.close()).await.unwrap();
    for reader in readers {
        assert_eq!(reader.seen().await, [(0xa1, true), (0xb2, true)]);
    }
    let told = within(told).await.unwrap();
    // One for each track.
    assert_eq!((told.gaps, told.discontinuities), (0, 2), "{told:?}");
    assert!(told.params > 0, "{told:?}");
    assert!(told.pictures > 30, "{told:?}");
    assert_eq!(told.end, Some(EndReason::PublisherLeft));
    let seen = within(over_udp).await.unwrap();
    for what in [(0, 0xa1), (0, 0xb2), (1, 0xa1), (1, 0xb2)] {
        assert!(seen.contains(&what), "{what:x?} in {seen:x?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_tracks_end_readers_cleanly() {
    let server = server(Duration::ZERO).await;
    let mut old = Camera::connect(&server, description(96), 0xa1).await;
    old.film_many(2).await;
    let readers = watch_many(&server).await;
    let url = server.url(URL);
    let player = Player::connect(&url, ClientOptions::default());
    let player = play_on(within(player).await.unwrap());
    old.film_many(5).await;
    let old = tokio::spawn(async move { while old.film().await.is_ok() {} });
    let mut other = description(96);
    other.tracks[0] = Track::h265(96, H265Params::default());
    let new = Camera::connect(&server, other, 0xb2).await;
    within(old).await.unwrap();
    for reader in readers {
        assert_eq!(reader.seen().await, [(0xa1, true)]);
    }
    assert!(within(player).await.unwrap().contains(&(0, 0xa1)));
    let stream = server.hub().get(&path(URL)).unwrap();
    assert_eq!(&*stream.description().tracks[0].encoding, "H265");
    within(new.publisher.close()).await.unwrap();
    server.stop().await;
}

/// Sends the pictures of a camera as packets, with the numbers that the test chooses.
struct Jumping {
    client: Rtsp,
    picture: u64,
    sequence: u16,
    time: u32,
    ssrc: u32,
    mark: u8,
}

impl Jumping {
    async fn film_many(&mut self, pictures: u32) {
        for _ in 0..pictures {
            let key = self.picture.is_multiple_of(PICTURES_PER_GROUP);
            let mut packet = vec![0x80, 0x80 | 96];
            packet.extend(self.sequence.to_be_bytes());
            packet.extend(self.time.to_be_bytes());
            packet.extend(self.ssrc.to_be_bytes());
            packet.push(if key { 0x65 } else { 0x41 });
            packet.extend([self.mark; 1_000]);
            self.client.send(&interleaved(0, &packet)).await;
            self.picture += 1;
            self.sequence = self.sequence.wrapping_add(1);
            self.time = self.time.wrapping_add(1_800);
            tokio::time::sleep(PICTURE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_that_starts_anew_in_mid_stream_is_no_break_for_readers() {
    let server = server(Duration::ZERO).await;
    let url = server.url(URL);
    let mut client = server.connect().await;
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
        a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LACqYREeg=,aM44gA==\r\n\
        a=control:streamid=0\r\n\
        m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:streamid=1\r\n";
    let announce = [("Content-Type", "application/sdp")];
    let answer = client.request("ANNOUNCE", &url, &announce, sdp).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for (track, channels) in ["0-1", "2-3"].iter().enumerate() {
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={channels};mode=record");
        let track = format!("{url}/streamid={track}");
        assert_eq!(client.set_up(&track, &transport).await.status, 200);
    }
    assert_eq!(client.request("RECORD", &url, &[], "").await.status, 200);
    let mut camera = Jumping {
        client,
        picture: 0,
        sequence: 65_530,
        time: 0xffff_0000,
        ssrc: 1,
        mark: 0xa1,
    };
    camera.film_many(2).await;
    let readers = watch_many(&server).await;
    let told = tap(&server);
    camera.film_many(13).await;
    // Another source, in the middle of a group, all numbers new.
    (camera.ssrc, camera.sequence, camera.time, camera.mark) = (2, 30_000, 77, 0xb2);
    camera.film_many(15).await;
    // The same source, its clock set by an hour (back and forth).
    for jump in [3_600_u32 * 90_000, (3_600_u32 * 90_000).wrapping_neg()] {
        camera.time = camera.time.wrapping_add(jump);
        camera.mark += 1;
        camera.picture = 0;
        camera.film_many(5).await;
    }
    for reader in &readers {
        assert!(!reader.task.is_finished());
    }
    let info = server.hub().get(&path(URL)).unwrap().info();
    assert_eq!((info.invalid, info.tracks[0].held_back), (0, 5));
    drop(camera);
    let told = within(told).await.unwrap();
    // The new source and both jumps.
    assert_eq!((told.gaps, told.discontinuities), (0, 3), "{told:?}");
    assert!(told.pictures >= 35, "{told:?}");
    for reader in readers {
        let marks = reader.seen().await;
        assert_eq!(
            marks,
            [(0xa1, true), (0xb2, true), (0xb3, true), (0xb4, true)]
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_wait_for_a_publisher_that_is_away_for_a_while() {
    let server = server(Duration::from_secs(2)).await;
    let mut events = server.hub().events();
    let mut camera = Camera::connect(&server, description(96), 0xa1).await;
    camera.film_many(2).await;
    let readers = watch_many(&server).await;
    let told = tap(&server);
    camera.film_many(5).await;
    within(camera.publisher.close()).await.unwrap();
    within(async {
        while !matches!(
            events.recv().await.unwrap().event,
            StreamEvent::Offline { .. }
        ) {}
    })
    .await;
    assert!(!server.hub().get(&path(URL)).unwrap().info().online);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut camera = Camera::connect(&server, description(96), 0xb2).await;
    camera.film_many(5).await;
    for reader in &readers {
        assert!(!reader.task.is_finished(), "readers wait");
    }
    // It is back: the time of grace counts anew.
    tokio::join!(camera.film_many(110), readers[0].has_more());
    within(camera.publisher.close()).await.unwrap();
    let closed = Instant::now();
    for reader in readers {
        assert_eq!(reader.seen().await, [(0xa1, true), (0xb2, true)]);
    }
    let told = within(told).await.unwrap();
    assert_eq!((told.gaps, told.discontinuities), (0, 2), "{told:?}");
    assert_eq!(told.end, Some(EndReason::PublisherLeft));
    // It does not come again: the stream ends, and they with it.
    assert!(closed.elapsed() >= Duration::from_millis(1_500));
    assert!(server.hub().get(&path(URL)).is_none());
    server.stop().await;
}
