//! Snapshots that go beside the connection.

use easydarwin_core::protocol::{
    Ext, Extension, SnapshotRequest, UploadAck, UploadRequest, UploadTicket,
};

use super::*;

fn ticket(text: &str) -> UploadTicket {
    UploadTicket {
        path: "/snap/here".into(),
        ticket: text.into(),
        ttl_s: 60,
    }
}

fn logged_in(ext: &[Extension], change: impl FnOnce(&mut ControlConfig)) -> Bench {
    let mut bench = Bench::with(|config| {
        config.uploads = true;
        config.channels = vec![1, 2];
        config.supports = [CommandKind::Snapshot].into_iter().collect();
        change(config);
    });
    let mut ack = bench.prove();
    ack.ext = Ext::of(ext);
    bench.receive(&ack.to_envelope("2"));
    bench.events();
    bench
}

/// With a CMS that takes snapshots so.
fn bench() -> Bench {
    logged_in(&[Extension::SnapshotPut], |_| {})
}

impl Bench {
    fn picture(&mut self, channel: u32, jpeg: &[u8]) -> bool {
        self.engine.snapshot(channel, jpeg, self.now)
    }

    /// The one message, which asks for a ticket of this channel.
    fn asks_for(&mut self, channel: u32) -> Envelope {
        let sent = self.sent();
        let [message] = &sent[..] else {
            panic!("{sent:?}");
        };
        let request = UploadRequest::from_envelope(message).unwrap();
        assert_eq!((&*request.serial, request.channel), (SERIAL, channel));
        message.clone()
    }

    fn gives(&mut self, question: &Envelope, text: &str) {
        let request = UploadRequest::from_envelope(question).unwrap();
        let mut ack = UploadAck::new(SERIAL, request.channel, ErrorNum::OK);
        ack.upload = Some(ticket(text));
        self.receive(&ack.to_envelope(&question.cseq()));
    }

    /// What the shell is to put, as one text.
    fn puts(&mut self) -> (u32, String) {
        let events = self.events();
        let [ControlEvent::Upload(upload)] = &events[..] else {
            panic!("{events:?}");
        };
        let mut upload = upload.clone();
        assert_eq!(upload.address, CmsAddress::plain("cms:1"));
        let mut text = String::new();
        while let Some(bytes) = upload.take_output() {
            text += &String::from_utf8_lossy(&bytes);
        }
        (upload.channel, text)
    }

    fn ended(&mut self, result: Result<(), UploadError>) {
        self.engine.uploaded(result, self.now);
    }
}

fn answered(channel: u32) -> ControlEvent {
    let error = ErrorNum::OK;
    ControlEvent::SnapshotAnswered { channel, error }
}

fn failed(channel: u32, error: UploadError) -> ControlEvent {
    ControlEvent::SnapshotFailed { channel, error }
}

#[test]
fn both_have_to_list_it() {
    let mut bench = Bench::with(|config| config.uploads = true);
    assert!(bench.connect().ext.has(Extension::SnapshotPut));
    let mut bench = Bench::new();
    assert!(!bench.connect().ext.has(Extension::SnapshotPut));
    for mut bench in [
        logged_in(&[Extension::SnapshotPut], |config| config.uploads = false),
        logged_in(&[Extension::Event, Extension::Snapshot], |_| {}),
    ] {
        assert!(bench.picture(1, b"jpeg"));
        assert_eq!(bench.sent()[0].kind(), Some(MessageType::PostSnapReq));
    }
}

#[test]
fn a_ticket_is_asked_for_and_one_picture_goes_after_the_other() {
    let mut bench = bench();
    assert!(bench.picture(1, b"old"));
    let first = bench.asks_for(1);
    assert!(bench.picture(2, b"two"));
    assert!(bench.picture(1, b"new"), "in the place of the older one");
    assert!(bench.sent().is_empty(), "one at a time");
    bench.gives(&first, "t1");
    let (channel, text) = bench.puts();
    assert_eq!(channel, 1);
    assert!(text.starts_with("PUT /snap/here HTTP/1.1\r\nHost: cms:1\r\n"));
    assert!(text.contains("\r\nAuthorization: Bearer t1\r\n"));
    assert!(text.ends_with("\r\n\r\nnew"));
    bench.gives(&first, "t1");
    assert_eq!(bench.events(), [], "an answer counts once");
    assert!(bench.sent().is_empty());
    bench.ended(Ok(()));
    assert_eq!(bench.events(), [answered(1)]);
    let second = bench.asks_for(2);
    bench.gives(&second, "t2");
    assert_eq!(bench.puts().0, 2);
    bench.ended(Err(UploadError::Refused(503)));
    assert_eq!(bench.events(), [failed(2, UploadError::Refused(503))]);
    bench.ended(Ok(()));
    assert_eq!(bench.events(), [], "nothing is under way");
    bench.wait(Duration::ZERO);
    let due = bench.engine.poll_timeout().unwrap();
    assert!(due > bench.now + SECOND, "and nothing is waited for");
}

#[test]
fn the_ticket_that_came_with_the_wish_is_used_while_it_counts() {
    let mut bench = bench();
    let wish = |bench: &mut Bench, text: &str| {
        let request = SnapshotRequest {
            serial: SERIAL.into(),
            channel: 2,
            upload: Some(ticket(text)),
            route: Route::default(),
        };
        bench.receive(&request.to_envelope(5));
        assert_eq!(bench.sent()[0].error(), Some(ErrorNum::OK));
        assert_eq!(bench.events(), [ControlEvent::TakeSnapshot { channel: 2 }]);
    };
    wish(&mut bench, "t1");
    assert!(bench.picture(2, b"jpeg"));
    assert!(bench.sent().is_empty());
    assert!(bench.puts().1.contains("Bearer t1\r\n"));
    bench.ended(Ok(()));
    bench.events();
    assert!(bench.picture(2, b"jpeg"));
    let question = bench.asks_for(2);
    bench.gives(&question, "t2");
    bench.puts();
    bench.ended(Ok(()));
    bench.events();
    bench.now += SECOND;
    // Two at once: the newer counts.
    wish(&mut bench, "t3");
    bench.now += SECOND;
    wish(&mut bench, "t4");
    assert!(bench.picture(2, b"jpeg"));
    assert!(bench.puts().1.contains("Bearer t4\r\n"));
    bench.ended(Ok(()));
    bench.events();
    // Too old.
    bench.now += SECOND;
    wish(&mut bench, "t5");
    bench.receive(&RegisterAck::new(SERIAL, ErrorNum::OK).to_envelope("9"));
    bench.now += 60 * SECOND;
    assert!(bench.picture(2, b"jpeg"));
    bench.asks_for(2);
}

#[test]
fn without_a_ticket_nothing_goes() {
    let mut bench = bench();
    let refuse = |bench: &mut Bench, change: &dyn Fn(&mut Envelope)| {
        assert!(bench.picture(1, b"jpeg"));
        let question = bench.asks_for(1);
        let mut ack = UploadAck::new(SERIAL, 1, ErrorNum::OK);
        ack.upload = Some(ticket("t"));
        let mut ack = ack.to_envelope(&question.cseq());
        change(&mut ack);
        bench.receive(&ack);
        bench.events()
    };
    let events = refuse(&mut bench, &|ack| {
        ack.header.set("ErrorNum", "429");
    });
    let error = UploadError::NoTicket(ErrorNum::TOO_MANY);
    assert_eq!(events, [failed(1, error)]);
    let events = refuse(&mut bench, &|ack| {
        ack.body.set("UploadPath", "http://elsewhere/");
    });
    assert_eq!(events, [failed(1, UploadError::NoTicket(ErrorNum::OK))]);
    // Nor while the CMS is silent; then the next one has its turn.
    assert!(bench.picture(1, b"one"));
    assert!(bench.picture(2, b"two"));
    bench.asks_for(1);
    bench.wait(10 * SECOND);
    assert_eq!(bench.events()[0], failed(1, UploadError::Timeout));
    bench.asks_for(2);
}

#[test]
fn what_stands_between_and_knows_no_put_is_told_in_messages() {
    for status in [404, 405] {
        let mut bench = bench();
        assert!(bench.picture(1, b"\xff\xd8one"));
        let question = bench.asks_for(1);
        assert!(bench.picture(2, b"\xff\xd8two"));
        bench.gives(&question, "t");
        bench.puts();
        bench.ended(Err(UploadError::Refused(status)));
        assert_eq!(bench.events(), []);
        assert!(bench.picture(1, b"\xff\xd8new"));
        let sent = bench.sent();
        let channels = sent.iter().map(|message| {
            let snapshot = Snapshot::from_envelope(message).unwrap();
            snapshot.channel
        });
        assert_eq!(channels.collect::<Vec<_>>(), [1, 2, 1], "{status}");
    }
}

#[test]
fn a_put_has_its_time_and_ends_with_the_connection() {
    let mut bench = bench();
    assert!(bench.picture(1, b"one"));
    let question = bench.asks_for(1);
    assert!(bench.picture(2, b"two"));
    bench.gives(&question, "t");
    bench.puts();
    bench.receive(&RegisterAck::new(SERIAL, ErrorNum::OK).to_envelope("3"));
    bench.wait(30 * SECOND);
    let events = bench.events();
    let ends = [ControlEvent::CancelUpload, failed(1, UploadError::Timeout)];
    assert_eq!(events[..2], ends);
    let sent = bench.sent();
    let question = sent
        .iter()
        .find(|m| m.kind() == Some(MessageType::UploadReq));
    let question = question.unwrap().clone();
    bench.gives(&question, "t2");
    bench.puts();
    assert!(bench.picture(1, b"three"));
    bench.engine.disconnected(bench.now);
    assert_eq!(bench.events(), [ControlEvent::CancelUpload]);
    bench.ended(Ok(()));
    assert_eq!(bench.events(), []);
    assert!(!bench.picture(1, b"four"), "nobody is there");
}

#[test]
fn what_waits_is_bounded() {
    let mut bench = logged_in(&[Extension::SnapshotPut], |config| {
        config.channels = (1..=9).collect();
    });
    let jpeg = vec![0; 600_000];
    let taken = (1..=9)
        .filter(|channel| bench.picture(*channel, &jpeg))
        .count();
    assert_eq!(taken, 3);
    assert!(
        bench.picture(1, &vec![1; MAX_SNAPSHOT - 200_000]),
        "instead"
    );
    assert!(!bench.picture(1, &vec![1; MAX_SNAPSHOT + 1]));
}

proptest! {
    #[test]
    fn hostile_answers_never_panic(
        path in ".{0,20}|/[a-z]{0,300}", text in ".{0,20}|[a-z]{0,300}",
        ttl in ".{0,5}|[0-9]{1,22}", number in 0u16..700, right in any::<bool>(),
    ) {
        let mut bench = bench();
        bench.picture(1, b"jpeg");
        let question = bench.asks_for(1);
        let cseq = if right { question.cseq() } else { text.clone() };
        let mut ack = UploadAck::new(SERIAL, 1, ErrorNum::from_code(number)).to_envelope(&cseq);
        ack.body.set("UploadPath", path).set("UploadTicket", text).set("UploadTTL", ttl);
        bench.receive(&ack);
        bench.events();
        bench.wait(60 * SECOND);
    }
}
