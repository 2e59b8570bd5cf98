//! RTSP messages, values of headers, and the client's side.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use easydarwin_core::rtsp::auth::{
    Algorithm, AuthConfig, AuthParams, Realm, UserSecret, Verdict, Via, answer_digest,
};
use easydarwin_core::rtsp::{
    ClientEvent, ClientSession, ClientStep, ClientUrl, Credentials, Headers, Limits, Login,
    Message, Method, ParseError, Parsed, Parser, RequestUri, Transport,
};

use crate::Meter;
use crate::input::{Input, cuts};

/// No `Authorization` value is right by chance, over TLS or not.
fn proves_nothing(authorization: &str) {
    let now = Instant::now();
    let mut config = AuthConfig::default();
    config.digest = vec![Algorithm::Md5, Algorithm::Sha256];
    let secret = UserSecret::from_password("user", &config.realm, "a password that nobody guesses");
    let realm = Realm::new(config, [7; 32], now);
    let uri = RequestUri::parse("rtsp://h/p", "h").expect("our own URL");
    for secure in [false, true] {
        let via = Via {
            peer: [127, 0, 0, 1].into(),
            secure,
        };
        if let Ok(proof) = realm.read(authorization, (&Method::Play, &uri), via, now) {
            assert_eq!(proof.check(None), Verdict::Wrong);
            assert_eq!(proof.check(Some(&secret)), Verdict::Wrong);
        }
    }
}

/// Messages and interleaved frames: the same ones however the bytes are cut into reads.
pub fn rtsp_parser(data: &[u8]) {
    let mut input = Input::new(data);
    let gaps: Vec<u8> = (0..4).map(|_| input.byte()).collect();
    let data = input.rest();
    let whole = parse(data, &[data.len()]);
    assert_eq!(whole, parse(data, &cuts(data.len(), &gaps)));
    if data.len() <= 256 {
        let bytewise: Vec<usize> = (0..=data.len()).collect();
        assert_eq!(whole, parse(data, &bytewise));
    }
}

#[derive(Debug, PartialEq)]
enum Item {
    Frame(u8, Vec<u8>),
    Message(Message),
    Error(ParseError),
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.head = 512;
    limits.headers = 8;
    limits.body = 256;
    limits.junk = 128;
    limits
}

fn parse(data: &[u8], ends: &[usize]) -> Vec<Item> {
    let limits = limits();
    let mut parser = Parser::new(limits.clone());
    let (mut items, mut from) = (Vec::new(), 0);
    for &end in ends {
        loop {
            let unread = &data[from..end];
            let consumed = match parser.parse(unread) {
                Ok(Parsed::NeedMore) => {
                    assert!(unread.len() <= limits.message());
                    break;
                }
                Ok(Parsed::Skipped { consumed }) => consumed,
                Ok(Parsed::Frame {
                    consumed,
                    channel,
                    data,
                }) => {
                    assert_eq!(consumed, data.len() + 4);
                    items.push(Item::Frame(channel, data.to_vec()));
                    consumed
                }
                Ok(Parsed::Message { consumed, message }) => {
                    of_message(&message, &limits);
                    items.push(Item::Message(message));
                    consumed
                }
                Err(error) => {
                    assert!(error.status().code() >= 400);
                    items.push(Item::Error(error));
                    return items;
                }
            };
            assert!(consumed > 0 && consumed <= unread.len());
            from += consumed;
        }
    }
    items
}

/// What is written of it is one message again, unless there is something in it that we never write.
fn of_message(message: &Message, limits: &Limits) {
    let mut out = BytesMut::new();
    let (headers, body) = match message {
        Message::Request(request) => {
            request.write(&mut out);
            (&request.headers, &request.body)
        }
        Message::Response(response) => {
            response.write(&mut out);
            (&response.headers, &response.body)
        }
    };
    assert!(headers.len() <= limits.headers && body.len() <= limits.body);
}

/// Transport, Session, RTP-Info, challenges and authorizations, URLs of both sides.
pub fn rtsp_values(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let text = String::from_utf8_lossy(input.rest());
    match kind % 4 {
        0 => {
            for transport in Transport::parse_list(&text) {
                let written = transport.to_string();
                let again = Transport::parse_list(&written);
                // A source is echoed as it came; everything else is ours.
                assert!(
                    transport.source.is_some() || again == [transport],
                    "{written}"
                );
            }
        }
        1 => {
            for params in AuthParams::parse_list(&text) {
                // Written into a request it loses what would end a line.
                let _ = answer_digest(&params, ("u", "p"), ("PLAY", "rtsp://h/"), 1, "c");
            }
            proves_nothing(&text);
            let mut headers = Headers::new();
            headers.push("Authorization", text.as_ref());
            if let Ok(uri) = RequestUri::parse("rtsp://h/p", "h") {
                let _ = Credentials::from_request(&uri, &headers);
            }
        }
        2 => {
            if let Ok(uri) = RequestUri::parse(&text, "h:554") {
                let control = uri.track_control(3);
                assert!(
                    control.is_ascii() && !control.contains(['\r', '\n', ' ']),
                    "{control}"
                );
                let again = RequestUri::parse(&control, "x").expect("our own URL");
                assert_eq!(again.path(), uri.path());
                assert_eq!(again.track(), Some(3));
                let base = uri.content_base();
                assert!(!base.contains(['\r', '\n', ' ']));
                let again = RequestUri::parse(&base, "x").expect("our own URL");
                assert_eq!(again.path(), uri.path());
                let _ = (uri.token(), uri.query(), uri.path_and_query());
            }
        }
        _ => {
            if let Ok(url) = ClientUrl::parse(&text) {
                let request = url.request();
                assert!(!request.contains(['\r', '\n', ' ']), "{request}");
                if let Some((_, password)) = url.user().filter(|(_, p)| p.len() > 7) {
                    let elsewhere = request.contains(password);
                    assert!(elsewhere || !format!("{url:?}").contains(password));
                }
                let again = ClientUrl::parse(request).expect("what is requested is a URL");
                assert_eq!((again.host(), again.port()), (url.host(), url.port()));
                assert_eq!(again.user(), None);
            }
        }
    }
}

/// A server that answers with the input: a client that goes on as far as it is let.
pub fn rtsp_client(data: &[u8]) {
    let mut input = Input::new(data);
    let login = match input.byte() % 3 {
        0 => Login::FromUrl,
        1 => Login::Bearer("t".to_owned()),
        _ => Login::Password {
            user: "u".to_owned(),
            password: "p".to_owned(),
        },
    };
    let publishes = input.byte() % 2 == 1;
    let gaps: Vec<u8> = (0..4).map(|_| input.byte()).collect();
    let data = input.rest();
    let limits = limits();
    let url = ClientUrl::parse("rtsp://u:p@h/a?b").expect("a URL");
    let meter = Meter::new();
    let mut session = ClientSession::new(&url, login, "c", "x", limits.clone());
    let mut now = Instant::now();
    if publishes {
        session.announce(Bytes::from_static(b"v=0\r\n"));
    } else {
        session.options();
        session.describe();
    }
    let mut from = 0;
    let mut events = 0;
    for end in cuts(data.len(), &gaps) {
        loop {
            let unread = &data[from..end];
            let consumed = match session.next(unread, now) {
                ClientStep::NeedMore => break,
                ClientStep::Failed(_) => return,
                ClientStep::Handled { consumed } | ClientStep::Interleaved { consumed, .. } => {
                    consumed
                }
                ClientStep::Event { consumed, event } => {
                    events += 1;
                    go_on(&mut session, event);
                    consumed
                }
            };
            assert!(consumed > 0 && consumed <= unread.len());
            from += consumed;
            let output = session.take_output().unwrap_or_default();
            assert!(lines_end_with_crlf(&output), "{output:?}");
            drop(output);
            // The last requests, and the texts that the server gave for the next.
            assert!(
                meter.held() <= 128 * 1024,
                "{} bytes are held",
                meter.held()
            );
        }
        now += Duration::from_secs(31);
        session.handle_timeout(now);
        assert!(session.poll_timeout().is_none_or(|due| due > now));
    }
    assert!(events <= data.len());
}

/// Nothing that the server sent ends a line of ours, or begins another.
fn lines_end_with_crlf(output: &[u8]) -> bool {
    let stray = output
        .windows(2)
        .any(|pair| (pair[0] == b'\r') != (pair[1] == b'\n'));
    !stray && output.last().is_none_or(|last| *last == b'\n')
}

fn go_on(session: &mut ClientSession, event: ClientEvent) {
    let mut transport = Transport::default();
    transport.tcp = true;
    match event {
        ClientEvent::Described { sdp } => {
            let text = String::from_utf8_lossy(&sdp);
            let control = text
                .lines()
                .find_map(|line| line.strip_prefix("a=control:"));
            session.setup(control, &transport);
        }
        ClientEvent::Announced => session.setup(Some("trackID=0"), &transport),
        ClientEvent::SetUp { transport } if transport.record => session.record(),
        ClientEvent::SetUp { .. } => session.play(),
        ClientEvent::Refused { .. } => session.teardown(),
        _ => {}
    }
}
