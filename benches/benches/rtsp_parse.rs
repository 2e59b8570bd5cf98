//! RTSP: how fast messages are read and written, and interleaved frames are cut.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use easydarwin_core::rtsp::{
    Limits, Parsed, Parser, Reply, Request, RequestUri, Response, ServerConfig, ServerConnection,
    ServerEvent, Status, Step, TransportAnswer, TransportOffer,
};

/// As ffmpeg sends it, with a long token.
const SETUP: &[u8] = b"SETUP rtsp://192.168.1.20:10554/001001000099/1/trackID=0?token=eyJhbGciOiJFZERTQSJ9.eyJwYXRoIjoiMDAxMDAxMDAwMDk5LzEifQ.c2lnbmF0dXJl RTSP/1.0\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nCSeq: 3\r\nUser-Agent: Lavf59.27.100\r\nSession: 5a5a5a5a5a5a5a5a\r\n\r\n";

fn parse_all(parser: &mut Parser, input: &[u8]) -> usize {
    let (mut from, mut found) = (0, 0);
    loop {
        match parser.parse(&input[from..]) {
            Ok(Parsed::NeedMore) => return found,
            Ok(Parsed::Skipped { consumed }) => from += consumed,
            Ok(Parsed::Frame { consumed, data, .. }) => {
                black_box(data);
                found += 1;
                from += consumed;
            }
            Ok(Parsed::Message { consumed, message }) => {
                black_box(message);
                found += 1;
                from += consumed;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("rtsp message");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse request", |b| {
        let mut parser = Parser::new(Limits::default());
        b.iter(|| assert_eq!(parse_all(&mut parser, black_box(SETUP)), 1));
    });
    group.bench_function("parse request byte by byte", |b| {
        let mut parser = Parser::new(Limits::default());
        b.iter(|| {
            for end in 1..SETUP.len() {
                assert_eq!(parser.parse(&SETUP[..end]), Ok(Parsed::NeedMore));
            }
            assert_eq!(parse_all(&mut parser, SETUP), 1);
        });
    });
    group.bench_function("take URI apart", |b| {
        let uri = "rtsp://192.168.1.20:10554/001001000099/1/trackID=0?token=abcdef";
        b.iter(|| RequestUri::parse(black_box(uri), "h"));
    });
    let mut request = Request::new(
        easydarwin_core::rtsp::Method::Describe,
        "rtsp://192.168.1.20:10554/001001000099/1",
    );
    request.headers.push("CSeq", "2");
    request.headers.push("User-Agent", "EasyDarwin");
    request.headers.push("Accept", "application/sdp");
    let mut response = Response::new(Status::OK);
    response.headers.push("CSeq", "2");
    response.headers.push("Server", "EasyDarwin");
    response.headers.push("Content-Type", "application/sdp");
    response.body = Bytes::from(vec![b'a'; 600]);
    let mut out = BytesMut::with_capacity(4096);
    group.bench_function("write request", |b| {
        b.iter(|| {
            out.clear();
            black_box(&request).write(&mut out);
        });
    });
    group.bench_function("write response with description", |b| {
        b.iter(|| {
            out.clear();
            black_box(&response).write(&mut out);
        });
    });
    group.finish();
}

/// One second of a 4 Mbit/s publisher: 360 packets of 1412 bytes, a report between.
fn interleaved() -> Vec<u8> {
    let mut input = Vec::new();
    for n in 0..360_u32 {
        input.extend_from_slice(&[b'$', 0, 0x05, 0x84]);
        input.extend_from_slice(&[0x80, 96]);
        input.resize(input.len() + 1410, n.to_be_bytes()[3]);
        if n % 90 == 0 {
            input.extend_from_slice(&[b'$', 1, 0, 28]);
            input.extend_from_slice(&[0x80; 28]);
        }
    }
    input
}

fn frames(c: &mut Criterion) {
    let input = interleaved();
    let mut group = c.benchmark_group("rtsp interleaved");
    group.throughput(Throughput::Bytes(input.len() as u64));
    group.bench_function("parser", |b| {
        let mut parser = Parser::new(Limits::default());
        b.iter(|| assert_eq!(parse_all(&mut parser, black_box(&input)), 364));
    });
    group.bench_function("connection of a publisher", |b| {
        let now = Instant::now();
        let mut connection = publisher(now);
        b.iter(|| {
            let (mut from, mut found) = (0, 0);
            loop {
                match connection.next(black_box(&input[from..]), now) {
                    Step::Interleaved { consumed, data, .. } => {
                        black_box(data);
                        found += 1;
                        from += consumed;
                    }
                    Step::NeedMore => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(found, 364);
        });
    });
    group.finish();
}

/// A whole session of a player, from accept to TEARDOWN.
fn session(c: &mut Criterion) {
    let requests: String = [
        ("OPTIONS", "", ""),
        ("DESCRIBE", "", "Accept: application/sdp\r\n"),
        ("SETUP", "/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"),
        ("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;unicast;interleaved=2-3\r\n"),
        ("PLAY", "/", "Range: npt=0.000-\r\n"),
        ("TEARDOWN", "/", ""),
    ]
    .iter()
    .map(|(method, end, headers)| {
        format!("{method} rtsp://192.168.1.20:10554/001001000099/1{end} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: x\r\n{headers}\r\n")
    })
    .collect();
    let config = Arc::new(ServerConfig::default());
    let sdp = Bytes::from(vec![b'a'; 600]);
    let mut group = c.benchmark_group("rtsp session");
    group.throughput(Throughput::Elements(6));
    group.bench_function("six requests and answers", |b| {
        b.iter(|| {
            let now = Instant::now();
            let local = ([192, 168, 1, 20], 10554).into();
            let mut connection =
                ServerConnection::new(config.clone(), "5a5a5a5a5a5a5a5a", local, now);
            run(&mut connection, requests.as_bytes(), &sdp, now);
            black_box(connection.take_output());
        });
    });
    group.finish();
}

fn publisher(now: Instant) -> ServerConnection {
    let local = ([127, 0, 0, 1], 554).into();
    let config = Arc::new(ServerConfig::default());
    let mut connection = ServerConnection::new(config, "5a5a5a5a5a5a5a5a", local, now);
    let requests = "ANNOUNCE rtsp://h/a RTSP/1.0\r\nContent-Length: 1\r\n\r\nxSETUP rtsp://h/a/trackID=0 RTSP/1.0\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\nRECORD rtsp://h/a RTSP/1.0\r\n\r\n";
    run(&mut connection, requests.as_bytes(), &Bytes::new(), now);
    connection
}

/// Steps through all input, answering everything with success.
fn run(connection: &mut ServerConnection, input: &[u8], sdp: &Bytes, now: Instant) {
    let mut from = 0;
    loop {
        from += match connection.next(&input[from..], now) {
            Step::NeedMore => break,
            Step::Handled { consumed } => consumed,
            Step::Event { consumed, event } => {
                if let Some((id, reply)) = answer(event, sdp) {
                    assert!(connection.respond(id, reply));
                }
                consumed
            }
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(from, input.len());
}

fn answer(event: ServerEvent, sdp: &Bytes) -> Option<(easydarwin_core::rtsp::RequestId, Reply)> {
    Some(match event {
        ServerEvent::Describe { id, .. } => (
            id,
            Reply::Describe {
                sdp: sdp.clone(),
                tracks: 2,
            },
        ),
        ServerEvent::Announce { id, .. } => (
            id,
            Reply::Announce {
                controls: vec![None],
            },
        ),
        ServerEvent::Setup(setup) => {
            let TransportOffer::Tcp { rtp, rtcp } = setup.offers[0] else {
                panic!("only TCP is asked for");
            };
            (
                setup.id,
                Reply::Setup {
                    track: setup.track.unwrap_or(0),
                    transport: TransportAnswer::Tcp { rtp, rtcp },
                    ssrc: Some(1),
                },
            )
        }
        ServerEvent::Play { id, .. } => (id, Reply::Play { rtp_info: vec![] }),
        ServerEvent::Record { id } | ServerEvent::Pause { id } => (id, Reply::Ok),
        _ => return None,
    })
}

criterion_group!(benches, messages, frames, session);
criterion_main!(benches);
