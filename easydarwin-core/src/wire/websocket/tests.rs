use proptest::prelude::*;

use super::*;

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = Vec::new();
    header(first & OPCODE, payload.len(), &mut out);
    out[0] = first;
    out[1] |= MASK;
    out.extend(mask);
    out.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i & 3]));
    out
}

fn decode(decoder: &mut Decoder, bytes: &[u8]) -> Result<(Vec<u8>, Vec<Said>), FrameError> {
    let mut bytes = bytes.to_vec();
    let mut said = Vec::new();
    let count = decoder.decode(&mut bytes, |what| said.push(what))?;
    bytes.truncate(count);
    Ok((bytes, said))
}

proptest! {
    #[test]
    fn messages_come_out_however_they_are_fragmented_and_cut(
        pieces in prop::collection::vec((0..3_usize, prop::collection::vec(any::<u8>(), 0..300)), 0..6),
        cut in 1..50_usize,
    ) {
        let (mut wire, mut expected) = (Vec::<u8>::new(), Vec::<u8>::new());
        let mut pings = Vec::new();
        let mut fragmented = false;
        for (kind, payload) in &pieces {
            let opcode = if fragmented { CONTINUATION } else { BINARY };
            match kind {
                0 => {
                    wire.extend(frame(FIN | opcode, payload));
                    fragmented = false;
                }
                1 => {
                    wire.extend(frame(opcode, payload));
                    fragmented = true;
                }
                _ => {
                    let payload = &payload[..payload.len().min(MAX_CONTROL)];
                    wire.extend(frame(FIN | PING, payload));
                    pings.push(Said::Ping(payload.to_vec()));
                    continue;
                }
            }
            expected.extend(payload);
        }
        wire.extend(frame(FIN | CLOSE, &[3, 232]));
        pings.push(Said::Close);
        wire.extend(b"what comes then is nothing");
        let mut decoder = Decoder::default();
        let (mut got, mut heard) = (Vec::<u8>::new(), Vec::new());
        for piece in wire.chunks(cut) {
            let (bytes, said) = decode(&mut decoder, piece).unwrap();
            got.extend(bytes);
            heard.extend(said);
        }
        prop_assert_eq!(got, expected);
        prop_assert_eq!(heard, pings);
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&mut Decoder::default(), &bytes);
    }

    /// A socket that takes a few bytes at a time, and writers that change their mind about what
    /// follows: the client gets exactly the bytes that were said to be written.
    #[test]
    fn what_is_written_arrives_whatever_the_socket_takes(
        writes in prop::collection::vec((1..70_000_usize, 1..70_100_usize, any::<bool>()), 1..12),
    ) {
        let mut encoder = Encoder::default();
        let mut wire: Vec<u8> = Vec::new();
        let mut written: Vec<u8> = Vec::new();
        for (index, (length, room, ping)) in writes.into_iter().enumerate() {
            if ping {
                encoder.pong(b"p");
            }
            let payload = vec![u8::try_from(index).unwrap(); length];
            let (front, may) = encoder.prepare(length);
            let mut out = front.to_vec();
            out.extend(&payload[..may]);
            out.truncate(room);
            let count = encoder.wrote(out.len());
            written.extend(&payload[..count]);
            wire.extend(out);
        }
        let mut got: Vec<u8> = Vec::new();
        let mut rest = wire.as_slice();
        while let Some((&first, after)) = rest.split_first() {
            let Some((&second, after)) = after.split_first() else { break };
            let skip = match second { 126 => 2, 127 => 8, _ => 0 };
            let Some((length, after)) = after.split_at_checked(skip) else { break };
            let length = match skip {
                0 => usize::from(second),
                _ => length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            };
            let (payload, after) = after.split_at(length.min(after.len()));
            match first & OPCODE {
                BINARY => got.extend(payload),
                opcode => prop_assert_eq!(opcode, PONG),
            }
            rest = after;
        }
        prop_assert_eq!(got, written);
    }
}

#[test]
fn what_is_not_allowed() {
    let long = [&[FIN | BINARY, MASK | 127][..], &[0xff; 8], &[0; 4]].concat();
    for (bytes, error) in [
        (vec![FIN | BINARY, 1, 0], FrameError::Unmasked),
        (frame(FIN | 1, b"text"), FrameError::NotBinary),
        (frame(FIN | CONTINUATION, b"x"), FrameError::Order),
        (
            [frame(BINARY, b"x"), frame(FIN | BINARY, b"x")].concat(),
            FrameError::Order,
        ),
        (frame(FIN | 0x40 | BINARY, b"x"), FrameError::Unknown),
        (frame(FIN | 3, b"x"), FrameError::Unknown),
        (frame(PING, b"x"), FrameError::Length),
        (frame(FIN | PING, &[0; 126]), FrameError::Length),
        (long, FrameError::Length),
    ] {
        assert_eq!(
            decode(&mut Decoder::default(), &bytes),
            Err(error),
            "{bytes:?}"
        );
    }
}

#[test]
fn goodbye_is_the_last_word() {
    let mut encoder = Encoder::default();
    encoder.close();
    encoder.pong(b"x");
    assert!(encoder.has_left());
    let (front, payload) = encoder.prepare(5);
    assert_eq!((front, payload), (&[FIN | CLOSE, 2, 3, 232][..], 0));
    encoder.wrote(4);
    assert_eq!(encoder.prepare(5), (&[][..], 0));
    assert!(!encoder.has_left());
}
