//! What carries RTSP beside plain TCP: HTTP tunnels and WebSockets.

use std::mem;

use easydarwin_core::fuzzing::{
    FrameReader, FrameWriter, TunnelReader, base64_of, http_head, sniffed,
};

use crate::Meter;
use crate::input::{Input, cuts};

/// Longest cookie of a tunnel.
const MAX_COOKIE: usize = 128;
/// What a reader of WebSocket frames may hold: the head of a frame and the payload of a ping.
const MAX_HELD: usize = 512;

/// The base64 of tunnels, the heads they begin with, and WebSocket frames.
pub fn wire(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    match kind % 6 {
        0 => {
            let gaps: Vec<u8> = (0..4).map(|_| input.byte()).collect();
            base64_read(input.rest(), &gaps);
        }
        1 => base64_written(&mut input),
        2 => head(input.rest()),
        3 => {
            let gaps: Vec<u8> = (0..4).map(|_| input.byte()).collect();
            frames_read(input.rest(), &gaps);
        }
        4 => frames_sent(&mut input),
        _ => frames_written(&mut input),
    }
}

/// The same bytes, or the same refusal, wherever the text is cut.
fn base64_read(data: &[u8], gaps: &[u8]) {
    let read = |ends: &[usize]| {
        let (mut reader, mut all, mut from) = (TunnelReader::default(), Vec::new(), 0);
        for &end in ends {
            all.extend(reader.read(&data[from..end])?);
            from = end;
        }
        Ok::<_, String>(all)
    };
    let whole = read(&[data.len()]);
    assert_eq!(read(&cuts(data.len(), gaps)), whole);
    assert_eq!(read(&(0..=data.len()).collect::<Vec<_>>()), whole);
    if let Ok(bytes) = whole {
        assert!(bytes.len() <= data.len() / 4 * 3 + 2);
    }
}

/// Messages that a client encodes one by one come out as they were.
fn base64_written(input: &mut Input<'_>) {
    let step = usize::from(input.byte()) + 1;
    let (mut text, mut sent) = (String::new(), Vec::new());
    while !input.is_empty() {
        let count = usize::from(input.byte());
        let message = input.bytes(count);
        text.push_str(&base64_of(message));
        if count % 2 == 1 {
            text.push_str("\r\n");
        }
        sent.extend_from_slice(message);
    }
    let mut reader = TunnelReader::default();
    let mut got = Vec::new();
    for piece in text.as_bytes().chunks(step) {
        got.extend(reader.read(piece).expect("our own base64"));
    }
    assert_eq!(got, sent);
}

/// A head is complete at one byte and not before, and what follows it changes nothing.
fn head(data: &[u8]) {
    let protocol = sniffed(data);
    for local in [false, true] {
        let whole = http_head(data, local);
        let end = match &whole {
            Ok(Some(opening)) => opening.length,
            _ => data.len(),
        };
        for length in 0..end {
            let part = http_head(&data[..length], local);
            // What is wrong with the beginning is wrong with all.
            assert!(part == Ok(None) || part == whole, "{length}: {part:?}");
        }
        match whole {
            Ok(Some(opening)) => {
                assert_eq!(protocol, Some("HTTP"));
                assert!(opening.length <= data.len());
                assert_eq!(
                    http_head(&data[..opening.length], local).as_ref(),
                    Ok(&Some(opening.clone()))
                );
                match &opening.cookie {
                    Some(cookie) => {
                        assert!((1..=MAX_COOKIE).contains(&cookie.len()));
                        assert!(cookie.bytes().all(|byte| byte.is_ascii_graphic()));
                        let again = format!(
                            "GET / HTTP/1.1\r\nHost: h\r\nx-sessioncookie: {cookie}\r\n\r\n"
                        );
                        let read = http_head(again.as_bytes(), local).expect("our own head");
                        assert_eq!(
                            read.map(|opening| opening.cookie),
                            Some(Some(cookie.clone()))
                        );
                    }
                    None => assert!(opening.answer.starts_with("HTTP/1.1 101 ")),
                }
                // Nothing of the request gets to where it would be another header.
                assert!(opening.answer.is_empty() || opening.answer.ends_with("\r\n\r\n"));
                assert_eq!(
                    opening.answer.matches("\r\n\r\n").count(),
                    usize::from(!opening.answer.is_empty())
                );
            }
            Ok(None) => {}
            Err(answer) => {
                let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
                assert!(head.starts_with("HTTP/1.1 4"));
                assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
            }
        }
    }
}

/// What came out of frames: bytes, then pings and the goodbye, then what was wrong.
#[derive(Debug, PartialEq, Default)]
struct Heard {
    bytes: Vec<u8>,
    said: Vec<Option<Vec<u8>>>,
    error: Option<String>,
}

fn hear(data: &[u8], ends: &[usize]) -> Heard {
    let mut heard = Heard::default();
    let mut from = 0;
    let meter = Meter::new();
    let mut reader = FrameReader::default();
    for &end in ends {
        let mut bytes = data[from..end].to_vec();
        from = end;
        let said = &mut heard.said;
        if let Err(error) = reader.read(&mut bytes, |what| said.push(what)) {
            heard.error = Some(error);
            break;
        }
        heard.bytes.append(&mut bytes);
    }
    let ours = heard.bytes.capacity()
        + heard.said.capacity() * mem::size_of::<Option<Vec<u8>>>()
        + heard
            .said
            .iter()
            .flatten()
            .map(Vec::capacity)
            .sum::<usize>()
        + heard.error.as_ref().map_or(0, String::capacity);
    assert!(meter.held() <= ours + MAX_HELD, "{} {ours}", meter.held());
    if heard.error.is_some() {
        // Bytes of the read in which something is wrong are nobody's any more.
        heard.bytes.clear();
    }
    heard
}

/// The same bytes, pings, goodbye and refusal wherever the frames are cut.
fn frames_read(data: &[u8], gaps: &[u8]) {
    let whole = hear(data, &[data.len()]);
    assert_eq!(hear(data, &cuts(data.len(), gaps)), whole);
    assert_eq!(hear(data, &(0..=data.len()).collect::<Vec<_>>()), whole);
    assert!(whole.bytes.len() <= data.len());
    let goodbye = whole.said.iter().position(Option::is_none);
    assert!(goodbye.is_none_or(|at| at + 1 == whole.said.len()));
}

/// A client's frames, made of the input, are read as what they were made of.
fn frames_sent(input: &mut Input<'_>) {
    let step = usize::from(input.byte()) + 1;
    let (mut wire, mut sent) = (Vec::new(), Heard::default());
    let mut within = false;
    while !input.is_empty() {
        let how = input.byte();
        let count = usize::from(input.byte()) * usize::from(how >> 5);
        let payload = input.bytes(count);
        let opcode = match how & 3 {
            0 | 1 => {
                let opcode = if within { 0 } else { 2 };
                within = how & 1 == 1;
                sent.bytes.extend_from_slice(payload);
                opcode
            }
            2 => 9,
            _ => 10,
        };
        let control = opcode >= 8;
        let payload = if control {
            &payload[..payload.len().min(125)]
        } else {
            payload
        };
        if opcode == 9 {
            sent.said.push(Some(payload.to_vec()));
        }
        let last = if control || !within { 0x80 } else { 0 };
        wire.push(last | opcode);
        // Clients may use a longer form than is needed.
        match (payload.len(), how & 4 != 0 && !control) {
            (length @ 0..=125, false) => wire.push(0x80 | length as u8),
            (length, false) => {
                wire.push(0x80 | 126);
                wire.extend((length as u16).to_be_bytes());
            }
            (length, true) => {
                wire.push(0x80 | 127);
                wire.extend((length as u64).to_be_bytes());
            }
        }
        let mask = [how, 0x5a, 0, 0xff];
        wire.extend(mask);
        wire.extend(
            payload
                .iter()
                .enumerate()
                .map(|(at, byte)| byte ^ mask[at % 4]),
        );
    }
    let mut ends: Vec<usize> = (step..wire.len()).step_by(step).collect();
    ends.push(wire.len());
    assert_eq!(hear(&wire, &ends), sent);
}

/// Whatever a socket takes at a time, and whenever pings are answered: what the writer was told to
/// be taken is in the frames, in order, and the goodbye is the last one.
fn frames_written(input: &mut Input<'_>) {
    let mut writer = FrameWriter::default();
    let (mut socket, mut taken, mut pongs) = (Vec::new(), Vec::new(), 0);
    let mut next = 0_u8;
    while !input.is_empty() {
        let (how, room) = (input.byte(), usize::from(input.word()));
        match how % 4 {
            0 => {
                pongs += 1;
                writer.pong(&[how; 125][..usize::from(how) % 126]);
            }
            1 if how == 1 => writer.close(),
            _ => {
                // The writer may come back with other bytes than those it had to keep.
                next = next.wrapping_add(1);
                let payload = vec![next; usize::from(how) * 300];
                let count = writer.write(&payload, room, &mut socket);
                assert!(count <= payload.len().min(room));
                taken.extend_from_slice(&payload[..count]);
            }
        }
    }
    // A socket that takes all again.
    while writer.has_left() {
        let before = socket.len();
        writer.write(&[], usize::MAX, &mut socket);
        assert!(socket.len() > before, "nothing left, said to be left");
    }
    let (mut got, mut answers, mut closed) = (Vec::new(), 0, false);
    let mut rest = socket.as_slice();
    while !rest.is_empty() {
        assert!(!closed, "something follows the goodbye");
        // The socket took a part of the last head, and nobody writes any more.
        let Some((opcode, length, after)) = server_frame(rest) else {
            break;
        };
        match opcode {
            2 => {}
            10 => answers += 1,
            8 => closed = true,
            other => panic!("a frame of kind {other}"),
        }
        // The last frame may be announced longer than what was written of it.
        let (payload, after) = after.split_at(length.min(after.len()));
        if opcode == 2 {
            got.extend_from_slice(payload);
        }
        rest = after;
    }
    assert_eq!(got, taken);
    assert!(answers <= pongs);
}

/// Kind and length of a frame without mask, in the shortest form; what follows its head.
fn server_frame(bytes: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert_eq!(first & 0xf0, 0x80, "one frame is one message");
    let (length, rest) = match second {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let length = u16::from_be_bytes(*length).into();
            assert!(length > 125);
            (length, rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            let length = u64::from_be_bytes(*length);
            assert!(length > u16::MAX.into());
            (usize::try_from(length).ok()?, rest)
        }
        short => (short.into(), rest),
    };
    assert!(second < 128, "a server does not mask");
    Some((first & 15, length, rest))
}
