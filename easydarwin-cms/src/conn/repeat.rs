//! Keep-alives that say what the last one said, as nearly all of them do: recognised by a
//! fingerprint and answered without being read. With ten thousand devices, reading and writing
//! their JSON would be most of what a CMS at rest does.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use easydarwin_core::protocol::RegisterAck;

use super::link::SERVER;

/// Longest body that is looked at; keep-alives are shorter.
const MAX_BODY: usize = 2048;

/// Most digits of a `CSeq`.
const MAX_DIGITS: usize = 9;

const CSEQ: &[u8] = b"\"CSeq\"";

/// Makes fingerprints that nobody outside can aim at: the hash has a random key.
#[derive(Debug, Default)]
pub(crate) struct Fingerprints(RandomState);

/// A message without its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    /// Equal for messages that differ in nothing but their number.
    pub(super) fingerprint: u64,
    /// Its number.
    pub(super) cseq: u32,
}

impl Fingerprints {
    /// `None`: a message that has to be read.
    pub(super) fn print(&self, body: &[u8]) -> Option<Print> {
        if body.len() > MAX_BODY {
            return None;
        }
        let (before, digits, after) = around_cseq(body)?;
        let mut hasher = self.0.build_hasher();
        hasher.write_usize(before.len());
        hasher.write(before);
        hasher.write(after);
        Some(Print {
            fingerprint: hasher.finish(),
            cseq: std::str::from_utf8(digits).ok()?.parse().ok()?,
        })
    }
}

/// Cuts the digits of the one `CSeq` out. Inside a text its name would have backslashes.
fn around_cseq(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut places = body
        .windows(CSEQ.len())
        .enumerate()
        .filter_map(|(at, window)| (window == CSEQ).then_some(at));
    let (place, None) = (places.next()?, places.next()) else {
        return None;
    };
    let value = body.get(place + CSEQ.len()..)?.trim_ascii_start();
    let value = value.strip_prefix(b":")?.trim_ascii_start();
    let (value, quoted) = match value.strip_prefix(b"\"") {
        Some(text) => (text, true),
        None => (value, false),
    };
    let length = value.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, after) = value.split_at_checked(length)?;
    // What is no plain number is answered as it was written.
    let ends = match after.first()? {
        b'"' => quoted,
        b',' | b'}' => !quoted,
        byte => byte.is_ascii_whitespace() && !quoted,
    };
    let plain = ends && (1..=MAX_DIGITS).contains(&length) && digits.first() != Some(&b'0');
    let begin = body.len().checked_sub(value.len())?;
    plain.then_some((body.get(..begin)?, digits, after))
}

/// The answer, byte for byte as [`RegisterAck::to_envelope`] would have it written.
pub(super) fn answer(ack: &RegisterAck, cseq: u32) -> String {
    let mut json = String::with_capacity(512);
    json.push_str("{\n   \"EasyDarwin\" : {\n      \"Body\" : {\n");
    let mut number = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            let _ = writeln!(json, "         \"{name}\" : \"{value}\",");
        }
    };
    number("Generation", ack.generation);
    number("KeepAlive", ack.keep_alive_s);
    let _ = write!(json, "         \"Serial\" : \"{}\"", ack.serial);
    if let Some(time) = ack.time_ms {
        let _ = write!(json, ",\n         \"Time\" : \"{time}\"");
    }
    let _ = write!(
        json,
        "\n      }},\n      \"Header\" : {{\n         \"CSeq\" : \"{cseq}\",\n         \
         \"ErrorNum\" : \"{}\",\n         \"ErrorString\" : \"{}\",\n         \
         \"MessageType\" : \"MSG_SD_REGISTER_ACK\",\n         \"Version\" : \"v1\"\n      }}\n   }}\n}}\n",
        ack.error.code(),
        ack.error.text(),
    );
    format!(
        "HTTP/1.1 200 OK\r\nServer: {SERVER}\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    )
}

#[cfg(test)]
mod tests {
    use easydarwin_core::protocol::{AppType, Envelope, ErrorNum, Register, TerminalType};
    use proptest::prelude::*;

    use super::*;

    fn register(serial: &str, token: &str, cseq: u32) -> String {
        let mut register = Register::new(serial, AppType::EasyCamera, TerminalType::Linux);
        register.token = Some(token.into());
        register.to_envelope(cseq).to_json()
    }

    #[test]
    fn only_the_number_may_differ() {
        let prints = Fingerprints::default();
        let print = |text: &str| prints.print(text.as_bytes()).unwrap();
        let first = print(&register("cam", "secret", 9));
        let next = print(&register("cam", "secret", 10));
        assert_eq!((first.cseq, next.cseq), (9, 10));
        assert_eq!(first.fingerprint, next.fingerprint);
        for other in [register("cam2", "secret", 9), register("cam", "Secret", 9)] {
            assert_ne!(first.fingerprint, print(&other).fingerprint);
        }
    }

    #[test]
    fn what_is_not_plain_is_read() {
        let prints = Fingerprints::default();
        for body in [
            r#"{"a":{"CSeq":"1"},"b":{"CSeq":"2"}}"#,
            r#"{"CSeq":"01"}"#,
            r#"{"CSeq":"x1"}"#,
            r#"{"CSeq":"1x"}"#,
            r#"{"CSeq":" 1"}"#,
            r#"{"CSeq":1.5}"#,
            r#"{"CSeq":"12345678901"}"#,
            r#"{"CSeq":1"#,
            r#"{"CSeq""#,
            r#"{"Name":"\"CSeq\":\"1\""}"#,
        ] {
            assert_eq!(prints.print(body.as_bytes()), None, "{body}");
        }
        assert_eq!(prints.print(&vec![b' '; MAX_BODY + 1]), None);
    }

    #[test]
    fn the_answer_is_byte_for_byte_the_general_one() {
        let mut ack = RegisterAck::new("001001000099", ErrorNum::OK);
        assert_eq!(
            answer(&ack, 7).as_bytes(),
            &*ack.to_envelope("7").to_response(SERVER)
        );
        ack.time_ms = Some(1_700_000_000_000);
        ack.generation = Some(u64::MAX);
        ack.keep_alive_s = Some(30);
        ack.error = ErrorNum::CONFLICT;
        assert_eq!(
            answer(&ack, 99_999).as_bytes(),
            &*ack.to_envelope("99999").to_response(SERVER)
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut body = CSEQ.to_vec();
            body.extend(bytes);
            let _ = Fingerprints::default().print(&body);
        }

        #[test]
        fn the_number_is_the_one_that_a_reader_finds(value in r#"[ "]{0,2}[0-9]{0,11}[ ."e]{0,2}"#) {
            let body = format!(r#"{{"EasyDarwin":{{"Header":{{"CSeq" : {value}}}}}}}"#);
            if let (Some(print), Ok(message)) = (
                Fingerprints::default().print(body.as_bytes()),
                Envelope::parse(body.as_bytes()),
            ) {
                prop_assert_eq!(print.cseq.to_string(), message.cseq());
            }
        }
    }
}
