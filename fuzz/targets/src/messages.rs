//! The EasyDarwin protocol, and what names and proves rights.

use std::net::{IpAddr, Ipv6Addr};

use easydarwin_core::protocol::{
    Envelope, FrameDecoder, FrameLimits, FreeStream, MessageReader, PresetRequest, PtzRequest,
    PushAck, PushRequest, Register, RegisterAck, Snapshot, SnapshotAck, SnapshotRequest, StopAck,
    StopRequest, TalkbackRequest, UploadAck, UploadRequest, check_serial, login, node,
    parse_channel,
};
use easydarwin_core::registry::{
    Cidr, Claims, StreamPath, TokenAction, TokenSigner, TokenVerifier, UnixMillis,
};

use crate::Meter;
use crate::input::{Input, cuts};

/// Frames, their JSON and the messages made of it, cut into reads at arbitrary places.
pub fn protocol(data: &[u8]) {
    let limits = FrameLimits {
        head: 1024,
        body: 4096,
    };
    let mut input = Input::new(data);
    let gaps: Vec<u8> = (0..4).map(|_| input.byte()).collect();
    let data = input.rest();
    let meter = Meter::new();
    let mut reader = MessageReader::new(limits);
    let mut from = 0;
    let mut messages = 0;
    'reads: for end in cuts(data.len(), &gaps) {
        reader.push(&data[from..end]);
        from = end;
        loop {
            match reader.next_message() {
                Ok(Some(message)) => {
                    messages += 1;
                    if let Ok(envelope) = message.envelope() {
                        of_envelope(&envelope);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    assert!((400..600).contains(&error.status()));
                    break 'reads;
                }
            }
        }
        // One message at most, and the buffer's growth by doubling.
        let most = 4 * (limits.head + limits.body + 255) + 1024;
        assert!(from < data.len() || meter.held() <= data.len() + most);
    }
    // The cuts change nothing.
    let mut decoder = FrameDecoder::new(limits);
    let mut rest = data;
    let mut whole = 0;
    while let Ok(Some(frame)) = decoder.decode(rest) {
        assert!(frame.consumed > 0 && frame.consumed <= rest.len());
        assert!(frame.body.len() <= limits.body);
        let _ = (frame.start.path_and_query(), frame.headers().count());
        rest = &rest[frame.consumed..];
        whole += 1;
    }
    assert_eq!(messages, whole);
}

/// What is read is written and read again as the same.
fn of_envelope(envelope: &Envelope) {
    let again = Envelope::parse(envelope.to_json().as_bytes()).expect("our own JSON");
    assert_eq!(again.kind(), envelope.kind());
    assert_eq!(again.cseq(), envelope.cseq());
    assert_eq!(again.error(), envelope.error());
    macro_rules! requests {
        ($($message:ty),*) => {$(
            if let Ok(message) = <$message>::from_envelope(envelope) {
                let written = message.to_envelope(7);
                assert!(<$message>::from_envelope(&written).as_ref() == Ok(&message), "{message:?}");
            }
        )*};
    }
    macro_rules! answers {
        ($($message:ty),*) => {$(
            if let Ok(message) = <$message>::from_envelope(envelope) {
                let written = message.to_envelope("7");
                assert!(<$message>::from_envelope(&written).as_ref() == Ok(&message), "{message:?}");
            }
        )*};
    }
    requests!(
        Register,
        Snapshot,
        PushRequest,
        StopRequest,
        FreeStream,
        PtzRequest,
        PresetRequest,
        TalkbackRequest,
        SnapshotRequest,
        UploadRequest,
        node::Join,
        node::Report,
        node::NodeEvent,
        node::Demand,
        node::Grant,
        node::Close
    );
    answers!(
        RegisterAck,
        SnapshotAck,
        PushAck,
        StopAck,
        UploadAck,
        node::JoinAck,
        node::ReportAck,
        node::DemandAck
    );
}

/// Tokens, stream paths, networks, serials, proofs.
pub fn access(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let seconds = input.byte();
    let bytes = input.rest();
    let text = String::from_utf8_lossy(bytes);
    match kind % 4 {
        0 => {
            if let Ok(path) = StreamPath::parse(&text) {
                let again = StreamPath::parse(path.as_str()).expect("a path is a path");
                assert_eq!(again, path);
                if let Some((serial, channel)) = path.as_device() {
                    let made = StreamPath::device(serial, channel).expect("it was one");
                    assert_eq!(made.as_device(), Some((serial, channel)));
                }
            }
        }
        1 => {
            let signer = TokenSigner::from_seed([7; 32]);
            let verifier = TokenVerifier::new();
            verifier
                .set_keys([signer.public_key().key.as_str()])
                .expect("its own key");
            let now = UnixMillis(1_700_000_000_000);
            // Nothing but the signer makes a token that counts.
            let _ = verifier
                .verify(&text, now)
                .map(|claims| panic!("{claims:?}"));
            let Ok(path) = StreamPath::parse(&text) else {
                return;
            };
            let claims = Claims::new(path, TokenAction::Play, "x", now, seconds.into());
            let mut token = signer.sign(&claims);
            assert_eq!(verifier.verify(&token, now).as_ref(), Ok(&claims));
            // Any change makes it worthless.
            let at = usize::from(seconds) % token.len();
            let other = if token.as_bytes()[at] == b'A' {
                "B"
            } else {
                "A"
            };
            token.replace_range(at..=at, other);
            assert!(verifier.verify(&token, now).is_err());
            let _ = verifier.set_keys([&*text]);
        }
        2 => {
            if let Ok(cidr) = text.parse::<Cidr>() {
                let again = cidr.to_string().parse::<Cidr>();
                assert_eq!(again.as_ref().ok(), Some(&cidr));
                let _ = cidr.contains(IpAddr::from([seconds; 4]));
                let _ = cidr.contains(IpAddr::V6(Ipv6Addr::from([seconds; 16])));
            }
        }
        _ => {
            let _ = parse_channel(Some(&text));
            let serial = check_serial(&text);
            let key = login::DeviceKey::new("key", serial.unwrap_or("1"));
            assert!(!key.check_server("c", "n", &text));
            assert!(!key.verifier().check("1", "c", "n", &text));
        }
    }
}
