//! Commands, speech, and what the device tells.

use easydarwin_core::protocol::{
    ConfigRequest, DeviceEventAck, Ext, Extension, PresetRequest, RebootRequest, SnapshotRequest,
    TalkbackRequest,
};

use super::*;

fn all() -> Bench {
    Bench::with(|config| {
        config.supports = [
            CommandKind::Ptz,
            CommandKind::Preset,
            CommandKind::Talkback,
            CommandKind::Snapshot,
            CommandKind::Reboot,
            CommandKind::Config,
        ]
        .into_iter()
        .collect();
    })
}

fn preset() -> PresetRequest {
    PresetRequest {
        serial: SERIAL.into(),
        channel: 1,
        protocol: "ONVIF".into(),
        reserve: "1".into(),
        command: "GOTO".into(),
        preset: "3".into(),
        route: Route::default(),
    }
}

fn reboot() -> RebootRequest {
    RebootRequest {
        serial: SERIAL.into(),
        route: Route::default(),
    }
}

fn config() -> ConfigRequest {
    ConfigRequest {
        serial: SERIAL.into(),
        settings: vec![Setting {
            name: "osd.text".into(),
            value: "Hall".into(),
        }],
        route: Route::default(),
    }
}

fn picture() -> SnapshotRequest {
    SnapshotRequest {
        serial: SERIAL.into(),
        channel: 1,
        upload: None,
        route: Route::default(),
    }
}

fn talk(command: &str, audio: &[u8], pts: u64) -> TalkbackRequest {
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, audio);
    TalkbackRequest {
        serial: SERIAL.into(),
        channel: 1,
        protocol: "SDK".into(),
        reserve: "1".into(),
        command: command.into(),
        audio_type: "G711U".into(),
        audio_data: encoded,
        pts: pts.to_string(),
        route: Route::default(),
    }
}

/// Every command that there is.
fn messages() -> [Envelope; 6] {
    [
        ptz().to_envelope(1),
        preset().to_envelope(2),
        talk("START", &[], 0).to_envelope(3),
        picture().to_envelope(4),
        reboot().to_envelope(5),
        config().to_envelope(6),
    ]
}

#[test]
fn what_the_embedder_does_not_do_is_answered_at_once_and_not_listed() {
    let mut bench = Bench::with(|config| config.supports = CommandKinds::default());
    let register = bench.connect();
    for extension in [Extension::Config, Extension::Reboot, Extension::Snapshot] {
        assert!(!register.ext.has(extension));
    }
    let mut bench = Bench::with(|config| config.supports = CommandKinds::default());
    bench.log_in();
    for message in messages() {
        bench.receive(&message);
        let answer = bench.sent().remove(0);
        assert_eq!(answer.error(), Some(ErrorNum::NOT_IMPLEMENTED));
        assert_eq!(answer.cseq(), message.cseq());
        assert_eq!(bench.events(), []);
    }
}

#[test]
fn what_it_does_comes_as_a_command_and_is_listed() {
    let mut bench = all();
    let register = bench.connect();
    for extension in [Extension::Config, Extension::Reboot, Extension::Snapshot] {
        assert!(register.ext.has(extension));
    }
    let mut bench = all();
    bench.log_in();
    let mut commands = Vec::new();
    for message in messages() {
        bench.receive(&message);
        commands.extend(bench.events());
    }
    let answers = bench.sent();
    assert_eq!(answers.len(), 1, "the picture is promised: {answers:?}");
    assert_eq!(answers[0].kind(), Some(MessageType::SnapshotReqAck));
    let expected = [
        "Ptz",
        "Preset",
        "TalkbackStart",
        "TakeSnapshot",
        "Reboot",
        "Config",
    ];
    assert_eq!(commands.len(), expected.len());
    for (command, name) in commands.iter().zip(expected) {
        assert!(format!("{command:?}").contains(name), "{command:?}");
    }
    let [.., ControlEvent::Command { id, command }] = &commands[..] else {
        panic!("{commands:?}");
    };
    let Command::Config(settings) = command else {
        panic!("{command:?}");
    };
    assert_eq!(
        (&*settings[0].name, &*settings[0].value),
        ("osd.text", "Hall")
    );
    assert!(bench.engine.reply(*id, ErrorNum::OK));
    let answer = bench.sent().remove(0);
    assert_eq!(answer.kind(), Some(MessageType::ConfigAck));
    // A second picture at once is too much.
    bench.receive(&picture().to_envelope(9));
    assert_eq!(bench.sent()[0].error(), Some(ErrorNum::TOO_MANY));
}

#[test]
fn a_flood_of_commands_is_bounded() {
    let mut bench = all();
    bench.log_in();
    for cseq in 1..=65 {
        bench.receive(&ptz().to_envelope(cseq));
    }
    let answers = bench.sent();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].error(), Some(ErrorNum::UNAVAILABLE));
    bench.wait(10 * SECOND);
    let late = bench.sent();
    let late = late.iter().filter(|m| m.error() == Some(ErrorNum::TIMEOUT));
    assert_eq!(late.count(), 64);
}

/// Frames with sound until the engine has no more, with the time since `begin` in ms.
fn listen(bench: &mut Bench, begin: Instant) -> Vec<(u128, u64)> {
    let mut heard = Vec::new();
    for _ in 0..200 {
        for event in bench.events() {
            if let ControlEvent::Talkback(frame) = event
                && frame.audio.is_some()
            {
                heard.push(((bench.now - begin).as_millis(), frame.pts_ms));
            }
        }
        let due = bench.engine.poll_timeout().unwrap();
        if due > begin + SECOND {
            break;
        }
        bench.now = bench.now.max(due);
        bench.engine.timeout(bench.now);
    }
    heard
}

#[test]
fn speech_comes_out_in_pace_and_ends_when_told() {
    let mut bench = all();
    bench.log_in();
    bench.wait(Duration::ZERO);
    bench.events();
    bench.receive(&talk("SENDDATA", &[1; 320], 0).to_envelope(1));
    assert_eq!(bench.sent()[0].error(), Some(ErrorNum::SESSION_NOT_FOUND));
    bench.receive(&talk("START", &[], 0).to_envelope(2));
    let events = bench.events();
    let [ControlEvent::Command { id, command }] = &events[..] else {
        panic!("{events:?}");
    };
    let codec = TalkbackCodec::G711U;
    assert_eq!(*command, Command::TalkbackStart { channel: 1, codec });
    assert!(bench.engine.reply(*id, ErrorNum::OK));
    let begin = bench.now;
    // Two pieces of 40 ms in one read.
    bench.receive(&talk("SENDDATA", &[1; 320], 40).to_envelope(3));
    bench.receive(&talk("SENDDATA", &[2; 320], 80).to_envelope(4));
    bench.receive(&talk("SENDDATA", &[], 120).to_envelope(5));
    let errors: Vec<_> = bench.sent().iter().filter_map(Envelope::error).collect();
    let expected = [
        ErrorNum::OK,
        ErrorNum::OK,
        ErrorNum::OK,
        ErrorNum::BAD_REQUEST,
    ];
    assert_eq!(errors, expected);
    let heard = listen(&mut bench, begin);
    assert_eq!(heard, [(60, 40), (80, 60), (100, 80), (120, 100)]);
    bench.receive(&talk("STOP", &[], 0).to_envelope(6));
    let events = bench.events();
    let [ControlEvent::TalkbackEnded { channel: 1, stats }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((stats.pieces, stats.played), (2, 4));
}

#[test]
fn the_last_words_are_played_behind_the_stop() {
    let mut bench = all();
    bench.log_in();
    bench.wait(Duration::ZERO);
    bench.receive(&talk("START", &[], 0).to_envelope(1));
    bench.events();
    let begin = bench.now;
    bench.receive(&talk("SENDDATA", &[1; 320], 40).to_envelope(2));
    bench.receive(&talk("STOP", &[], 0).to_envelope(3));
    bench.receive(&talk("SENDDATA", &[1; 320], 80).to_envelope(4));
    let last = bench.sent().pop().unwrap();
    assert_eq!(last.error(), Some(ErrorNum::SESSION_NOT_FOUND));
    for wait in [60, 20] {
        bench.wait(Duration::from_millis(wait));
    }
    let events = bench.events();
    let [
        ControlEvent::Talkback(first),
        ControlEvent::Talkback(second),
        ControlEvent::TalkbackEnded { stats, .. },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((first.pts_ms, second.pts_ms), (40, 60));
    assert_eq!((stats.played, stats.concealed), (2, 0));
    assert_eq!(bench.now - begin, Duration::from_millis(80));
}

#[test]
fn a_talker_who_is_refused_silent_or_cut_off_talks_no_more() {
    let start = talk("START", &[], 0).to_envelope(1);
    let ended = |bench: &mut Bench| {
        let events = bench.events();
        let ended = |event: &ControlEvent| matches!(event, ControlEvent::TalkbackEnded { .. });
        events.iter().filter(|event| ended(event)).count()
    };
    let mut bench = all();
    bench.log_in();
    bench.receive(&start);
    let events = bench.events();
    let [ControlEvent::Command { id, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    bench.engine.reply(*id, ErrorNum::UNAVAILABLE);
    bench.receive(&talk("SENDDATA", &[1; 320], 0).to_envelope(2));
    let last = bench.sent().pop().unwrap();
    assert_eq!(last.error(), Some(ErrorNum::SESSION_NOT_FOUND));

    bench.receive(&start);
    assert_eq!(ended(&mut bench), 0);
    bench.receive(&start);
    assert_eq!(ended(&mut bench), 1, "another one talks");
    bench.engine.disconnected(bench.now);
    assert_eq!(ended(&mut bench), 1);

    let mut bench = all();
    bench.log_in();
    bench.receive(&start);
    let ControlEvent::Command { id, .. } = bench.events().remove(0) else {
        panic!();
    };
    bench.engine.reply(id, ErrorNum::OK);
    bench.wait(30 * SECOND);
    assert_eq!(ended(&mut bench), 1, "silent");
}

/// Lets in, with these extensions of the CMS.
fn let_in(bench: &mut Bench, ext: &[Extension]) {
    let mut ack = bench.prove();
    ack.ext = Ext::of(ext);
    bench.receive(&ack.to_envelope("2"));
}

#[test]
fn events_wait_for_a_cms_that_takes_them() {
    let mut bench = Bench::new();
    let boot = DeviceEvent::new("boot").with("reason", "watchdog");
    let verdict = bench.engine.send_event(boot.clone(), bench.now);
    assert_eq!(verdict, EventVerdict::Queued);
    assert!(bench.sent().is_empty());
    let_in(&mut bench, &[Extension::Event]);
    let sent = bench.sent().remove(0);
    let (serial, event) = DeviceEvent::from_envelope(&sent).unwrap();
    assert_eq!(serial, SERIAL);
    assert_eq!((event.number, event.data), (1, boot.data));
    let after = DeviceEvent::new("after");
    bench.engine.send_event(after, bench.now);
    assert!(bench.sent().is_empty(), "one at a time");
    let ack = DeviceEventAck::new(SERIAL, ErrorNum::OK);
    bench.receive(&ack.to_envelope(&sent.cseq()));
    let (_, event) = DeviceEvent::from_envelope(&bench.sent()[0]).unwrap();
    assert_eq!(event.name, "after");
    assert_eq!(event.time_ms, Some(1_795_386_123_000), "by the CMS's clock");
    // No answer before the connection ends: once more, with the same number.
    bench.engine.disconnected(bench.now);
    bench.wait(bench.engine.poll_timeout().unwrap() - bench.now);
    bench.events();
    let bad = DeviceEvent::new("Not a name");
    let verdict = bench.engine.send_event(bad, bench.now);
    assert_eq!(verdict, EventVerdict::Invalid(DeviceEventError::Name));
    assert_eq!(bench.engine.event_stats().taken, 1);
}

#[test]
fn a_cms_without_events_gets_none() {
    let mut bench = Bench::new();
    let event = DeviceEvent::new("boot");
    bench.engine.send_event(event.clone(), bench.now);
    let_in(&mut bench, &[Extension::Auth]);
    assert!(bench.sent().is_empty());
    let verdict = bench.engine.send_event(event, bench.now);
    assert_eq!(verdict, EventVerdict::NotSupported);
    bench.wait(10 * SECOND);
    let sent = bench.sent();
    assert!(
        sent.iter()
            .all(|m| m.kind() != Some(MessageType::DeviceEventReq))
    );
    assert_eq!(bench.engine.event_stats().dropped, 1);
}

#[test]
fn an_answer_waits_for_one_picture_at_most() {
    let mut bench = all();
    bench.log_in();
    let picture = vec![0; 600_000];
    let taken = (0..9)
        .filter(|_| bench.engine.snapshot(1, &picture, bench.now))
        .count();
    assert_eq!(taken, 3, "more would only wait");
    let first = bench.engine.take_output().unwrap();
    assert!(first.len() > 800_000);
    bench.receive(&ptz().to_envelope(7));
    let ControlEvent::Command { id, .. } = bench.events().remove(0) else {
        panic!();
    };
    bench.engine.reply(id, ErrorNum::OK);
    let second = bench.engine.take_output().unwrap();
    assert!(second.len() < 1000, "the answer is next");
    assert_eq!(bench.sent().len(), 2);
}
