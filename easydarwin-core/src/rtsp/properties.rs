//! What holds for all inputs.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::auth::AuthParams;
use super::*;

/// Something of a stream: messages, frames, junk, anything.
fn segment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        request().prop_map(|request| {
            let mut out = BytesMut::new();
            request.write(&mut out);
            out.to_vec()
        }),
        ("[a-zA-Z/]{1,12}", "[ -~]{0,20}", "[ -~\n\r]{0,60}").prop_map(|(method, uri, rest)| {
            format!("{method} {uri} RTSP/1.0\r\n{rest}\r\n\r\n").into_bytes()
        }),
        (any::<u8>(), vec(any::<u8>(), 0..100)).prop_map(|(channel, data)| {
            let mut frame = vec![b'$', channel, 0, u8::try_from(data.len()).unwrap()];
            frame.extend_from_slice(&data);
            frame
        }),
        Just(b"\r\n".to_vec()),
        Just(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n".to_vec()),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![
        Just(Method::Options),
        Just(Method::Describe),
        Just(Method::Announce),
        Just(Method::Setup),
        Just(Method::Play),
        Just(Method::Pause),
        Just(Method::Record),
        Just(Method::Teardown),
        Just(Method::GetParameter),
        Just(Method::SetParameter),
        "[A-Z][A-Z_]{0,9}".prop_map(|name| Method::parse(&name)),
    ];
    let uri = prop_oneof![
        Just("rtsp://h/a/1".to_owned()),
        Just("rtsp://h/a/1/trackID=0".to_owned()),
        Just("rtsp://h/a/1/trackID=1?x".to_owned()),
        "[!-~]{1,30}",
    ];
    let header = prop_oneof![
        Just(("CSeq".to_owned(), "1".to_owned())),
        Just(("Session".to_owned(), "12345678".to_owned())),
        Just((
            "Transport".to_owned(),
            "RTP/AVP/TCP;unicast;interleaved=0-1".to_owned()
        )),
        Just((
            "Transport".to_owned(),
            "RTP/AVP;unicast;client_port=1-2".to_owned()
        )),
        ("X-[a-z]{1,8}", "[!-~]{0,20}"),
    ];
    (method, uri, vec(header, 0..6), vec(any::<u8>(), 0..50)).prop_map(
        |(method, uri, headers, body)| {
            let mut request = Request::new(method, uri);
            for (name, value) in headers {
                request.headers.push(name, value);
            }
            request.body = body.into();
            request
        },
    )
}

#[derive(Debug, PartialEq)]
enum Item {
    Frame(u8, Vec<u8>),
    Message(Message),
    Error(ParseError),
}

/// Everything that a parser finds when the input comes in these pieces.
fn parse_in_pieces(input: &[u8], cuts: &[usize]) -> Vec<Item> {
    let limits = Limits {
        head: 256,
        headers: 8,
        body: 64,
        junk: 64,
    };
    let mut parser = Parser::new(limits);
    let (mut items, mut from) = (Vec::new(), 0);
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.push(input.len());
    ends.sort_unstable();
    for end in ends {
        loop {
            let consumed = match parser.parse(&input[from..end]) {
                Ok(Parsed::NeedMore) => break,
                Ok(Parsed::Skipped { consumed }) => consumed,
                Ok(Parsed::Frame {
                    consumed,
                    channel,
                    data,
                }) => {
                    items.push(Item::Frame(channel, data.to_vec()));
                    consumed
                }
                Ok(Parsed::Message { consumed, message }) => {
                    items.push(Item::Message(message));
                    consumed
                }
                Err(error) => {
                    items.push(Item::Error(error));
                    return items;
                }
            };
            assert!(consumed > 0 && from + consumed <= end);
            from += consumed;
        }
    }
    items
}

/// Runs a server connection over any input; answers come some events late.
fn serve(input: &[u8], cuts: &[usize]) {
    let now = Instant::now();
    let local = "127.0.0.1:554".parse().unwrap();
    let config = Arc::new(ServerConfig::default());
    let mut connection = ServerConnection::new(config, "12345678", local, now);
    let (mut from, mut waiting) = (0, Vec::new());
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.push(input.len());
    ends.sort_unstable();
    for end in ends {
        for id in waiting.drain(..) {
            connection.respond(id, Reply::Ok);
        }
        loop {
            let consumed = match connection.next(&input[from..end], now) {
                Step::NeedMore => break,
                Step::Close { .. } => return,
                Step::Handled { consumed } | Step::Interleaved { consumed, .. } => consumed,
                Step::Event { consumed, event } => {
                    match event {
                        ServerEvent::Describe { id, .. } => {
                            connection.respond(
                                id,
                                Reply::Describe {
                                    sdp: Bytes::from_static(b"v=0\r\n"),
                                    tracks: 2,
                                },
                            );
                        }
                        ServerEvent::Announce { id, .. } => {
                            let controls = vec![None, Some("x".to_owned())];
                            connection.respond(id, Reply::Announce { controls });
                        }
                        ServerEvent::Setup(setup) => {
                            let TransportOffer::Tcp { rtp, rtcp } = setup.offers[0] else {
                                connection
                                    .respond(setup.id, Reply::error(Status::UNSUPPORTED_TRANSPORT));
                                from += consumed;
                                continue;
                            };
                            let reply = Reply::Setup {
                                track: setup.track.unwrap_or(0),
                                transport: TransportAnswer::Tcp { rtp, rtcp },
                                ssrc: None,
                            };
                            connection.respond(setup.id, reply);
                        }
                        ServerEvent::Play { id, .. }
                        | ServerEvent::Record { id }
                        | ServerEvent::Pause { id } => waiting.push(id),
                        ServerEvent::Teardown => {}
                    }
                    consumed
                }
            };
            from += consumed;
            assert!(from <= end);
        }
        connection.take_output();
        connection.poll_timeout();
        assert_eq!(connection.handle_timeout(now), None);
    }
}

proptest! {
    #[test]
    fn parsing_does_not_depend_on_the_pieces(
        segments in vec(segment(), 0..12),
        cuts in vec(any::<usize>(), 0..20),
    ) {
        let input = segments.concat();
        let whole = parse_in_pieces(&input, &[]);
        prop_assert_eq!(&whole, &parse_in_pieces(&input, &cuts));
        let bytewise: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&whole, &parse_in_pieces(&input, &bytewise));
    }

    #[test]
    fn what_is_written_is_read(request in request()) {
        let mut out = BytesMut::new();
        request.write(&mut out);
        let mut parser = Parser::new(Limits::default());
        let Ok(Parsed::Message { consumed, message: Message::Request(mut read) }) = parser.parse(&out) else {
            return Err(TestCaseError::fail("no request"));
        };
        prop_assert_eq!(consumed, out.len());
        prop_assert_eq!(read.headers.len(), request.headers.len() + usize::from(!request.body.is_empty()));
        read.headers = request.headers.clone();
        prop_assert_eq!(read, request);
    }

    #[test]
    fn a_server_survives_everything(
        segments in vec(segment(), 0..30),
        cuts in vec(any::<usize>(), 0..10),
    ) {
        serve(&segments.concat(), &cuts);
    }

    #[test]
    fn a_client_survives_everything(segments in vec(segment(), 0..30)) {
        let input = segments.concat();
        let url = ClientUrl::parse("rtsp://h/a").unwrap();
        let mut session = ClientSession::new(&url, Login::FromUrl, "c", "x", Limits::default());
        session.describe();
        let (mut from, now) = (0, Instant::now());
        loop {
            from += match session.next(&input[from..], now) {
                ClientStep::NeedMore | ClientStep::Failed(_) => break,
                ClientStep::Handled { consumed }
                | ClientStep::Interleaved { consumed, .. }
                | ClientStep::Event { consumed, .. } => consumed,
            };
        }
    }

    #[test]
    fn no_text_breaks_the_readers_of_values(text in "\\PC{0,80}|[ -~]{0,80}") {
        for transport in Transport::parse_list(&text) {
            let again = Transport::parse_list(&transport.to_string());
            // A source is echoed as it came; everything else is ours.
            prop_assert!(again.len() == 1 || transport.source.is_some());
        }
        let _ = AuthParams::parse_list(&text);
        let _ = ClientUrl::parse(&text);
        if let Ok(uri) = RequestUri::parse(&text, "h") {
            prop_assert!(uri.content_base().is_ascii() || !text.is_ascii());
            prop_assert!(!uri.track_control(1).contains(['\r', '\n', ' ']));
        }
    }

    #[test]
    fn our_own_control_urls_come_back(path in "[a-z0-9/]{0,20}", query in proptest::option::of("[a-z=&]{1,10}"), track in 0_usize..40) {
        let text = match query {
            Some(query) => format!("rtsp://h:554/{path}?{query}"),
            None => format!("rtsp://h:554/{path}"),
        };
        let base = RequestUri::parse(&text, "x").unwrap();
        let control = RequestUri::parse(&base.track_control(track), "x").unwrap();
        prop_assert_eq!(control.path(), base.path());
        prop_assert_eq!(control.query(), base.query());
        prop_assert_eq!(control.track(), Some(track));
        let all = RequestUri::parse(&base.content_base(), "x").unwrap();
        prop_assert_eq!(all.path(), base.path());
        prop_assert_eq!(all.track(), base.track());
    }
}
