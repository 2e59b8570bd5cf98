use easydarwin_core::protocol::login::{Verifier, nonce};
use easydarwin_core::protocol::{
    ErrorNum, Extension, PtzRequest, PushAck, PushRequest, Register, RegisterAck, Route, Snapshot,
    StopAck, StopRequest,
};
use proptest::prelude::*;

use super::*;

mod commands;
mod dial_out;
mod uploads;

const SERIAL: &str = "001001000099";
const SECOND: Duration = Duration::from_secs(1);

/// An engine, a clock, and what a CMS would see.
struct Bench {
    engine: ControlEngine,
    now: Instant,
    verifier: Verifier,
}

impl Bench {
    fn with(change: impl FnOnce(&mut ControlConfig)) -> Self {
        let credential = Credential::key("secret", SERIAL);
        let Credential::Key(key) = &credential else {
            unreachable!()
        };
        let verifier = key.verifier().clone();
        let mut config = ControlConfig::new(SERIAL, credential);
        config.supports = [CommandKind::Ptz].into_iter().collect();
        config.addresses = vec![CmsAddress::plain("cms:1")];
        change(&mut config);
        let now = Instant::now();
        Self {
            engine: ControlEngine::new(config, now),
            now,
            verifier,
        }
    }

    fn new() -> Self {
        Self::with(|_| {})
    }

    fn events(&mut self) -> Vec<ControlEvent> {
        std::iter::from_fn(|| self.engine.poll_event()).collect()
    }

    /// What the CMS receives.
    fn sent(&mut self) -> Vec<Envelope> {
        let mut reader = MessageReader::default();
        while let Some(bytes) = self.engine.take_output() {
            reader.push(&bytes);
        }
        std::iter::from_fn(|| reader.next_message().unwrap())
            .map(|message| message.envelope().unwrap())
            .collect()
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.engine.timeout(self.now);
    }

    fn receive(&mut self, message: &Envelope) {
        self.engine
            .received(&message.to_response("EasyDarwin"), self.now);
    }

    fn connect(&mut self) -> Register {
        self.engine.timeout(self.now);
        assert!(matches!(self.events()[..], [ControlEvent::Connect { .. }]));
        self.hello()
    }

    /// The first register on the connection that was dialed.
    fn hello(&mut self) -> Register {
        self.engine.connected([7; NONCE_LEN], self.now);
        Register::from_envelope(&self.sent()[0]).unwrap()
    }

    /// The challenge and the ack that follows the right proof.
    fn prove(&mut self) -> RegisterAck {
        let hello = self.connect();
        self.answer_hello(&hello)
    }

    fn answer_hello(&mut self, hello: &Register) -> RegisterAck {
        assert_eq!(hello.auth.as_deref(), Some("ED1"));
        assert!(hello.token.is_none() && hello.proof.is_none());
        let client_nonce = hello.client_nonce.clone().unwrap();
        let challenge = nonce([9; NONCE_LEN]);
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::UNAUTHORIZED);
        ack.nonce = Some(challenge.clone());
        self.receive(&ack.to_envelope("1"));
        let proof = Register::from_envelope(&self.sent()[0]).unwrap();
        assert!(
            self.verifier
                .check(SERIAL, &client_nonce, &challenge, &proof.proof.unwrap())
        );
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
        ack.server_proof = Some(
            self.verifier
                .server_proof(SERIAL, &client_nonce, &challenge),
        );
        ack.time_ms = Some(1_795_386_123_000);
        ack.generation = Some(3);
        ack
    }

    fn log_in(&mut self) {
        let ack = self.prove();
        self.receive(&ack.to_envelope("2"));
        let registered = ControlEvent::Registered {
            proven: true,
            generation: Some(3),
        };
        assert_eq!(self.events(), [registered]);
    }
}

#[test]
fn logs_in_with_its_key_and_takes_a_picture() {
    let mut bench = Bench::new();
    assert_eq!(bench.engine.wall_clock(bench.now), None);
    bench.log_in();
    bench.wait(Duration::ZERO);
    assert_eq!(bench.events(), [ControlEvent::TakeSnapshot { channel: 1 }]);
    assert!(
        bench
            .engine
            .snapshot(1, b"\xff\xd8jpeg", bench.now + SECOND)
    );
    let snapshot = Snapshot::from_envelope(&bench.sent()[0]).unwrap();
    assert_eq!(snapshot.time, "20261122222204");
    assert_eq!(snapshot.image, "/9hqcGVn");
    assert!(
        !bench
            .engine
            .snapshot(1, &vec![0; MAX_SNAPSHOT + 1], bench.now)
    );
    for _ in 0..3 {
        bench.receive(&RegisterAck::new(SERIAL, ErrorNum::OK).to_envelope("3"));
        bench.wait(60 * SECOND);
    }
    assert!(
        bench
            .events()
            .contains(&ControlEvent::TakeSnapshot { channel: 1 })
    );
}

#[test]
fn refuses_a_cms_that_does_not_know_the_key() {
    for proof in [Some("AAAA".to_owned()), None] {
        let mut bench = Bench::new();
        let mut ack = bench.prove();
        ack.server_proof = proof;
        bench.receive(&ack.to_envelope("2"));
        assert_eq!(
            bench.events()[0],
            ControlEvent::Disconnect(DisconnectReason::ServerProof)
        );
        assert!(!bench.engine.is_registered());
    }
}

#[test]
fn a_refused_login_is_tried_again_later() {
    let mut bench = Bench::new();
    bench.connect();
    bench.receive(&RegisterAck::new(SERIAL, ErrorNum::UNAUTHORIZED).to_envelope("1"));
    let reason = DisconnectReason::Refused(ErrorNum::UNAUTHORIZED);
    let until = bench.engine.poll_timeout().unwrap();
    let told = ControlEvent::LoginRefused {
        address: CmsAddress::plain("cms:1"),
        reason: reason.clone(),
        retry_in: until - bench.now,
    };
    assert_eq!(bench.events(), [ControlEvent::Disconnect(reason), told]);
    assert!(
        until >= bench.now + 30 * SECOND,
        "a wrong secret is no hurry"
    );
    bench.wait(until - bench.now);
    let again = ControlEvent::Connect {
        address: CmsAddress::plain("cms:1"),
        attempt: 1,
    };
    assert_eq!(bench.events(), [again]);
}

/// A CMS that says 200 to the first register of a device with a key.
fn lets_in_without_proof(change: impl FnOnce(&mut ControlConfig)) -> Bench {
    let mut bench = Bench::with(change);
    bench.connect();
    bench.receive(&RegisterAck::new(SERIAL, ErrorNum::OK).to_envelope("1"));
    bench
}

#[test]
fn a_cms_without_proof_is_refused_by_a_device_with_a_key() {
    let mut bench = lets_in_without_proof(|_| {});
    assert!(!bench.engine.is_registered());
    let until = bench.engine.poll_timeout().unwrap();
    let reason = DisconnectReason::Unproven;
    let told = ControlEvent::LoginRefused {
        address: CmsAddress::plain("cms:1"),
        reason: reason.clone(),
        retry_in: until - bench.now,
    };
    assert_eq!(bench.events(), [ControlEvent::Disconnect(reason), told]);
    assert!(until >= bench.now + 30 * SECOND, "he stays a stranger");
}

#[test]
fn a_cms_without_proof_is_taken_through_tls_or_when_that_is_allowed() {
    for secure in [true, false] {
        let mut bench = lets_in_without_proof(|config| {
            config.unproven_cms = !secure;
            if secure {
                config.addresses = vec![CmsAddress::tls("cms:1")];
            }
        });
        let registered = ControlEvent::Registered {
            proven: false,
            generation: None,
        };
        assert_eq!(bench.events(), [registered]);
    }
}

#[test]
fn the_old_manner_sends_the_token_each_time() {
    let mut bench = Bench::with(|config| config.credential = Credential::Token("t".into()));
    let register = bench.connect();
    assert_eq!(register.token.as_deref(), Some("t"));
    assert!(register.auth.is_none());
    bench.receive(&RegisterAck::new(SERIAL, ErrorNum::OK).to_envelope("1"));
    assert!(bench.engine.is_registered());
    bench.wait(30 * SECOND);
    let keep_alive = Register::from_envelope(&bench.sent()[0]).unwrap();
    assert_eq!(keep_alive.token.as_deref(), Some("t"));
}

#[test]
fn keeps_alive_and_gives_up_after_silence() {
    let mut bench = Bench::new();
    bench.log_in();
    let begin = bench.now;
    let mut keep_alives = 0;
    let ended = loop {
        bench.now = bench.engine.poll_timeout().unwrap();
        bench.engine.timeout(bench.now);
        keep_alives += bench.sent().len();
        let events = bench.events();
        if let Some(ControlEvent::Disconnect(reason)) = events.last() {
            break reason.clone();
        }
        // The CMS answers the first and then falls silent.
        if keep_alives == 1 && bench.now - begin == 30 * SECOND {
            let register = RegisterAck::new(SERIAL, ErrorNum::OK);
            bench.receive(&register.to_envelope("3"));
        }
    };
    assert_eq!(ended, DisconnectReason::Silence);
    assert_eq!(bench.now - begin, 120 * SECOND);
    assert_eq!(keep_alives, 3);
}

#[test]
fn keep_alives_carry_no_secret_and_their_refusal_ends_the_lease() {
    let mut bench = Bench::new();
    bench.log_in();
    bench.wait(30 * SECOND);
    let register = Register::from_envelope(&bench.sent()[0]).unwrap();
    assert!(register.token.is_none() && register.proof.is_none() && register.auth.is_none());
    bench.receive(&RegisterAck::new(SERIAL, ErrorNum::CONFLICT).to_envelope("3"));
    let reason = DisconnectReason::LeaseLost(ErrorNum::CONFLICT);
    assert!(bench.events().contains(&ControlEvent::Disconnect(reason)));
}

#[test]
fn a_cms_that_accepts_and_says_nothing_is_left() {
    let mut bench = Bench::new();
    bench.connect();
    bench.wait(20 * SECOND);
    assert_eq!(
        bench.events(),
        [ControlEvent::Disconnect(DisconnectReason::LoginTimeout)]
    );
}

fn push_request(serial: &str, channel: u32) -> PushRequest {
    let mut request = PushRequest::new(serial, channel, "192.0.2.5", 10554);
    request.stream_id = Some("token".into());
    request.route = Route {
        from: "client".into(),
        to: "device".into(),
        via: "cms".into(),
    };
    request
}

#[test]
fn pushes_and_stops_when_told() {
    let mut bench = Bench::with(|config| config.channels = vec![1, 2]);
    bench.log_in();
    let message = push_request(SERIAL, 2).to_envelope(41);
    // The other framing will do as well.
    bench.engine.received(&message.to_request("CMS"), bench.now);
    let ack = bench.sent().remove(0);
    assert_eq!(ack.cseq(), "41");
    let ack = PushAck::from_envelope(&ack).unwrap();
    assert_eq!(
        (ack.error, ack.channel, ack.server_port),
        (ErrorNum::OK, 2, Some(10554))
    );
    assert_eq!(
        (ack.route.from.as_str(), ack.route.to.as_str()),
        ("device", "client")
    );
    let [ControlEvent::StartPush(target)] = &bench.events()[..] else {
        panic!()
    };
    assert_eq!(target.url, format!("rtsp://192.0.2.5:10554/{SERIAL}/2"));
    assert_eq!(target.token.as_deref(), Some("token"));
    assert!(!format!("{target:?}").contains("\"token\""));

    bench.receive(&StopRequest::new(SERIAL, 2).to_envelope(42));
    assert_eq!(
        StopAck::from_envelope(&bench.sent()[0]).unwrap().error,
        ErrorNum::OK
    );
    assert_eq!(bench.events(), [ControlEvent::StopPush { channel: 2 }]);
}

#[test]
fn what_is_not_ours_is_refused() {
    let mut bench = Bench::new();
    bench.log_in();
    for (request, error) in [
        (push_request("other", 1), ErrorNum::DEVICE_NOT_FOUND),
        (push_request(SERIAL, 5), ErrorNum::NOT_FOUND),
        (
            PushRequest::new(SERIAL, 1, "a/b\r\nX: y", 1),
            ErrorNum::BAD_REQUEST,
        ),
    ] {
        bench.receive(&request.to_envelope(1));
        assert_eq!(
            PushAck::from_envelope(&bench.sent()[0]).unwrap().error,
            error
        );
        assert_eq!(bench.events(), []);
    }
    let mut without = push_request(SERIAL, 1).to_envelope(1);
    without.body.set("Server_IP", "");
    bench.receive(&without);
    assert_eq!(bench.sent()[0].error(), Some(ErrorNum::BAD_REQUEST));
}

#[test]
fn nobody_gives_orders_before_the_login_is_done() {
    let mut bench = Bench::new();
    bench.prove();
    bench.receive(&push_request(SERIAL, 1).to_envelope(1));
    assert_eq!(bench.events(), []);
    assert!(bench.sent().is_empty());
}

fn ptz() -> PtzRequest {
    PtzRequest {
        serial: SERIAL.into(),
        channel: 1,
        protocol: "ONVIF".into(),
        reserve: "1".into(),
        action_type: "SINGLE".into(),
        command: "LEFT".into(),
        speed: "5".into(),
        route: Route::default(),
    }
}

#[test]
fn commands_are_answered_once_or_time_out() {
    let mut bench = Bench::new();
    bench.log_in();
    bench.receive(&ptz().to_envelope(6));
    bench.receive(&ptz().to_envelope(7));
    let events = bench.events();
    let [
        ControlEvent::Command {
            id,
            command: Command::Ptz(request),
        },
        ControlEvent::Command { id: late, .. },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(request.command, "LEFT");
    assert!(bench.engine.reply(*id, ErrorNum::NOT_IMPLEMENTED));
    assert!(!bench.engine.reply(*id, ErrorNum::OK));
    let ack = bench.sent().remove(0);
    assert_eq!(
        (ack.cseq().as_str(), ack.error()),
        ("6", Some(ErrorNum::NOT_IMPLEMENTED))
    );
    bench.wait(10 * SECOND);
    let ack = bench
        .sent()
        .into_iter()
        .find(|m| m.kind() == Some(MessageType::ControlPtzAck))
        .unwrap();
    assert_eq!(
        (ack.cseq().as_str(), ack.error()),
        ("7", Some(ErrorNum::TIMEOUT))
    );
    assert!(!bench.engine.reply(*late, ErrorNum::OK));
}

#[test]
fn a_cms_that_never_reads_costs_no_memory() {
    let mut bench = Bench::new();
    bench.log_in();
    let message = push_request(SERIAL, 1).to_envelope(1).to_response("x");
    let left = (0..100_000).any(|_| {
        bench.engine.received(&message, bench.now);
        bench
            .events()
            .contains(&ControlEvent::Disconnect(DisconnectReason::OutputFull))
    });
    assert!(left);
    assert!(bench.engine.take_output().is_none());
}

#[test]
fn a_registration_that_lasted_makes_the_next_wait_short() {
    let mut bench = Bench::new();
    for _ in 0..8 {
        bench.connect();
        bench.engine.disconnected(bench.now);
        let until = bench.engine.poll_timeout().unwrap();
        bench.now = until;
    }
    bench.log_in();
    bench.now += dial::LASTING;
    bench.engine.disconnected(bench.now);
    assert!(bench.engine.poll_timeout().unwrap() <= bench.now + SECOND);
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        online in any::<bool>(),
    ) {
        let mut bench = Bench::new();
        if online {
            bench.log_in();
        } else {
            bench.connect();
        }
        for chunk in chunks {
            bench.engine.received(&chunk, bench.now);
            bench.wait(SECOND);
        }
        bench.events();
    }

    #[test]
    fn hostile_messages_never_panic(
        kind in prop::sample::select(vec![
            "MSG_SD_REGISTER_ACK", "MSG_SD_PUSH_STREAM_REQ", "MSG_SD_STREAM_STOP_REQ",
            "MSG_SD_CONTROL_PTZ_REQ", "MSG_SD_CONTROL_TALKBACK_REQ", "MSG_SD_POST_SNAP_ACK",
        ]),
        fields in prop::collection::vec((prop::sample::select(vec![
            "Serial", "Channel", "Server_IP", "Server_PORT", "StreamID", "Nonce", "ServerProof",
            "Time", "KeepAlive", "From", "To", "ErrorNum",
        ]), ".{0,30}|[0-9]{1,22}"), 0..8),
        online in any::<bool>(),
    ) {
        let mut bench = Bench::new();
        if online {
            bench.log_in();
        } else {
            bench.connect();
        }
        let mut message = Envelope::request(MessageType::RegisterReq, 1);
        message.header.set("MessageType", kind);
        for (key, value) in fields {
            message.header.set(key, value.clone());
            message.body.set(key, value);
        }
        bench.receive(&message);
        bench.wait(400 * SECOND);
        bench.events();
        let _ = bench.engine.wall_clock(bench.now);
    }
}
