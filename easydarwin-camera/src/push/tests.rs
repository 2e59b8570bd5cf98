//! The pushes of a channel at media servers that the tests play, line by line.

use std::time::{Duration, Instant, SystemTime};

use easydarwin_core::media::{H264Params, Track};
use easydarwin_core::protocol::ClockQuality;

use super::{Channel, ChannelEvent, PushError, PushTransport, Wall, Wanted};
use crate::control::PushTarget;
use crate::frames::{Frame, FrameSender, QueueConfig, queue};

mod clock;

const URL: &str = "rtsp://10.0.0.2:554/camera/1";
const OK: &str = "200 OK";

struct Rig {
    channel: Channel,
    sender: FrameSender,
    now: Instant,
    wall: Wall,
    /// What came for the embedder and the shell since it was asked.
    events: Vec<ChannelEvent>,
}

impl Rig {
    fn new(transport: PushTransport) -> Self {
        let parameters = H264Params {
            sps: Some(vec![0x67, 0x42, 0, 0x1f, 0xe9].into()),
            pps: vec![vec![0x68, 0xce, 0x3c, 0x80].into()],
        };
        let tracks = vec![Track::h264(96, parameters)];
        let (mut senders, feed) = queue(tracks, &QueueConfig::default()).unwrap();
        Self {
            channel: Channel::new(Some(feed), transport, 3),
            sender: senders.pop().unwrap(),
            now: Instant::now(),
            wall: Wall {
                time: SystemTime::UNIX_EPOCH,
                quality: ClockQuality::Unset,
            },
            events: Vec::new(),
        }
    }

    fn work(&mut self) {
        self.channel.work(self.wall, self.now);
        self.events
            .extend(std::iter::from_fn(|| self.channel.poll_event()));
    }

    fn asked(&mut self, url: &str, token: &str, generation: u64) {
        let target = PushTarget {
            channel: 1,
            url: url.to_owned(),
            token: Some(token.to_owned()),
            generation: Some(generation),
        };
        self.channel.want(Some(Wanted::asked(target)), self.now);
        self.work();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.work();
    }

    fn push(&mut self, key: bool, len: usize) {
        self.push_at(0, key, len);
    }

    fn push_at(&mut self, pts_us: i64, key: bool, len: usize) {
        let picture = vec![0xaa; len];
        let start = [0, 0, 1, if key { 0x65 } else { 0x41 }];
        let frame = Frame {
            parts: &[&start, &picture],
            pts_us,
            key,
        };
        self.sender.push_at(&frame, self.now);
        self.work();
    }

    /// Takes the only event of a kind out.
    fn take(&mut self, wanted: impl Fn(&ChannelEvent) -> bool) -> ChannelEvent {
        let at = self.events.iter().position(wanted);
        self.events
            .remove(at.unwrap_or_else(|| panic!("not among {:?}", self.events)))
    }

    fn connected(&mut self) {
        self.take(|event| matches!(event, ChannelEvent::Connect { .. }));
        self.channel.connected(false, self.now);
        self.work();
    }

    fn bound(&mut self) {
        self.take(|event| matches!(event, ChannelEvent::Bind { tracks: 1 }));
        self.channel.bound(vec![(6000, 6001)], self.now);
        self.work();
    }

    /// The request that is sent.
    fn request(&mut self) -> String {
        let now = self.now;
        let text = String::from_utf8(self.channel.output().to_vec()).unwrap();
        self.channel.written(text.len(), now);
        text
    }

    /// Answers the request that is sent with a status and headers; what was asked.
    fn answer(&mut self, method: &str, status: &str, headers: &str) -> String {
        let request = self.request();
        assert!(request.starts_with(method), "{request}");
        let cseq = request
            .split("CSeq: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        let answer = format!("RTSP/1.0 {status}\r\nCSeq: {cseq}\r\nSession: 7\r\n{headers}\r\n");
        self.channel.received(answer.as_bytes(), self.now);
        self.work();
        request
    }

    fn record_over_tcp(&mut self) {
        self.connected();
        self.answer("ANNOUNCE", OK, "");
        self.answer(
            "SETUP",
            OK,
            "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
        );
        self.answer("RECORD", OK, "");
        self.take(|event| matches!(event, ChannelEvent::Started));
    }

    fn failure(&mut self) -> PushError {
        match self.take(|event| matches!(event, ChannelEvent::Failed(_))) {
            ChannelEvent::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_token_is_shown_and_frames_are_interleaved() {
    let mut rig = Rig::new(PushTransport::Tcp);
    rig.asked(URL, "secret-token", 1);
    rig.take(|event| matches!(event, ChannelEvent::KeyFrame { stream: 0 }));
    rig.connected();
    let announce = rig.answer("ANNOUNCE rtsp://10.0.0.2:554/camera/1 ", OK, "");
    assert!(
        announce.contains("Authorization: Bearer secret-token\r\n"),
        "{announce}"
    );
    assert!(
        announce.contains("sprop-parameter-sets=Z0IAH+k=,aM48gA=="),
        "{announce}"
    );
    assert!(!format!("{:?}", rig.channel).contains("secret-token"));
    let setup = rig.answer(
        "SETUP",
        OK,
        "Transport: RTP/AVP/TCP;unicast;interleaved=4-5\r\n",
    );
    assert!(
        setup.contains("mode=record") || setup.contains("mode=RECORD"),
        "{setup}"
    );
    rig.answer("RECORD", OK, "");
    rig.push(true, 100);
    // The report first, on the channel that the server named; then the picture.
    assert_eq!(rig.channel.output()[..2], [b'$', 4]);
    // Stopped: the picture that was begun ends, then TEARDOWN.
    let now = rig.now;
    rig.channel.written(10, now);
    let rest = rig.channel.output().len();
    rig.channel.want(None, now);
    rig.work();
    assert_eq!(rig.channel.output().len(), rest);
    rig.channel.written(rest, now);
    rig.answer("TEARDOWN", OK, "");
    assert!(rig.channel.is_idle());
}

#[test]
fn datagrams_that_nobody_hears_of_give_way_to_tcp() {
    let mut rig = Rig::new(PushTransport::Udp);
    rig.asked(URL, "t", 1);
    rig.connected();
    rig.bound();
    rig.answer("ANNOUNCE", OK, "");
    let setup = rig.answer(
        "SETUP",
        OK,
        "Transport: RTP/AVP;unicast;client_port=6000-6001;server_port=7000-7001\r\n",
    );
    assert!(setup.contains("client_port=6000-6001"), "{setup}");
    rig.answer("RECORD", OK, "");
    rig.push(true, 100);
    let now = rig.now;
    assert_eq!(rig.channel.remote(0), Some((None, (7000, 7001))));
    let mut sent = Vec::new();
    while let Some(datagram) = rig.channel.datagram(now) {
        sent.push((datagram.rtcp, datagram.data.len()));
        rig.channel.datagram_sent(now);
    }
    assert_eq!(sent.last(), Some(&(false, 12 + 101)));
    // Receiver reports keep it going.
    rig.pass(Duration::from_secs(9));
    rig.channel
        .received_datagram(&[0x80, 201, 0, 1, 0, 0, 0, 1], rig.now);
    rig.pass(Duration::from_secs(9));
    assert!(rig.channel.remote(0).is_some());
    rig.pass(Duration::from_secs(1));
    assert!(matches!(rig.failure(), PushError::Unheard { .. }));
    rig.pass(Duration::from_secs(20));
    rig.record_over_tcp();
}

/// Neither a connection that takes its time nor ports that do make the camera work again at once.
#[test]
fn an_undescribed_stream_waits_for_what_is_missing() {
    let mut rig = Rig::new(PushTransport::Udp);
    rig.asked(URL, "t", 1);
    rig.push(true, 100);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.channel.poll_timeout(rig.now), None);
    rig.connected();
    assert_eq!(rig.channel.poll_timeout(rig.now), None);
    rig.bound();
    rig.answer("ANNOUNCE", OK, "");
}

#[test]
fn closed_ports_give_way_to_tcp_at_once() {
    let mut rig = Rig::new(PushTransport::Udp);
    rig.asked(URL, "t", 1);
    rig.connected();
    rig.bound();
    rig.answer("ANNOUNCE", OK, "");
    rig.answer(
        "SETUP",
        OK,
        "Transport: RTP/AVP;unicast;client_port=6000-6001;server_port=7000-7001\r\n",
    );
    rig.answer("RECORD", OK, "");
    rig.channel.failed(PushError::PortClosed, rig.now);
    rig.work();
    assert!(matches!(rig.failure(), PushError::PortClosed));
    rig.pass(Duration::from_secs(20));
    rig.record_over_tcp();
}

#[test]
fn a_server_without_udp_gets_tcp_on_the_same_connection() {
    let mut rig = Rig::new(PushTransport::Udp);
    rig.asked(URL, "t", 1);
    rig.connected();
    rig.bound();
    rig.answer("ANNOUNCE", OK, "");
    rig.answer("SETUP", "461 Unsupported Transport", "");
    let setup = rig.answer(
        "SETUP",
        OK,
        "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
    );
    assert!(setup.contains("interleaved=0-1"), "{setup}");
    rig.answer("RECORD", OK, "");
    rig.push(true, 100);
    assert_eq!(rig.channel.remote(0), None);
    assert_eq!(rig.channel.output()[0], b'$');
}

#[test]
fn who_is_denied_the_right_waits_for_a_new_request() {
    let mut rig = Rig::new(PushTransport::Tcp);
    rig.asked(URL, "old", 1);
    rig.connected();
    rig.answer("ANNOUNCE", "403 Forbidden", "");
    assert!(rig.failure().is_denial());
    rig.pass(Duration::from_secs(3600));
    assert!(
        rig.events
            .iter()
            .all(|event| !matches!(event, ChannelEvent::Connect { .. }))
    );
    rig.asked(URL, "new", 1);
    rig.connected();
    assert!(rig.request().contains("Bearer new"));
}

#[test]
fn a_push_without_a_cms_is_tried_for_ever() {
    let mut rig = Rig::new(PushTransport::Tcp);
    rig.channel
        .want(Some(Wanted::always(URL.to_owned())), rig.now);
    rig.work();
    for _ in 0..5 {
        rig.connected();
        rig.answer("ANNOUNCE", "403 Forbidden", "");
        rig.failure();
        rig.pass(Duration::from_secs(61));
    }
}

#[test]
fn digest_is_answered_and_a_password_never_goes_in_the_clear() {
    let mut rig = Rig::new(PushTransport::Tcp);
    let url = "rtsp://anna:secret@10.0.0.2/hall/1";
    rig.channel
        .want(Some(Wanted::always(url.to_owned())), rig.now);
    rig.work();
    rig.connected();
    let challenge =
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=MD5, qop=\"auth\"\r\n";
    rig.answer("ANNOUNCE", "401 Unauthorized", challenge);
    let again = rig.answer("ANNOUNCE", OK, "");
    assert!(again.contains("Authorization: Digest username=\"anna\"") && !again.contains("secret"));

    let mut rig = Rig::new(PushTransport::Tcp);
    rig.channel
        .want(Some(Wanted::always(url.to_owned())), rig.now);
    rig.work();
    rig.connected();
    rig.answer(
        "ANNOUNCE",
        "401 Unauthorized",
        "WWW-Authenticate: Basic realm=\"r\"\r\n",
    );
    assert!(matches!(rig.failure(), PushError::Login { .. }));
}

#[test]
fn a_redirection_is_followed_without_the_token() {
    let mut rig = Rig::new(PushTransport::Tcp);
    rig.asked(URL, "secret-token", 1);
    rig.connected();
    rig.answer(
        "ANNOUNCE",
        "302 Found",
        "Location: rtsp://10.0.0.3:5554/camera/1\r\n",
    );
    let ChannelEvent::Connect { url } =
        rig.take(|event| matches!(event, ChannelEvent::Connect { .. }))
    else {
        panic!("just taken");
    };
    assert_eq!((url.host(), url.port()), ("10.0.0.3", 5554));
    rig.channel.connected(false, rig.now);
    rig.work();
    let announce = rig.answer("ANNOUNCE", OK, "");
    assert!(!announce.contains("secret-token"), "{announce}");
}

#[test]
fn a_server_that_takes_nothing_or_says_nothing_is_left() {
    let mut rig = Rig::new(PushTransport::Tcp);
    rig.asked(URL, "t", 1);
    rig.record_over_tcp();
    rig.push(true, 1000);
    let now = rig.now;
    rig.channel.written(0, now);
    rig.pass(Duration::from_secs(10));
    assert!(matches!(rig.failure(), PushError::Stalled { .. }));
    // The next one does not even answer.
    rig.pass(Duration::from_secs(20));
    rig.connected();
    rig.request();
    rig.pass(Duration::from_secs(10));
    assert!(matches!(rig.failure(), PushError::NoAnswer { .. }));
}
