//! The envelope `{"EasyDarwin": {"Header": …, "Body": …}}`.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Map, Value};
use thiserror::Error;

use super::{ErrorNum, Fields, MessageType};

/// What we write as `Version`.
pub const VERSION: &str = "v1";

/// Why a body is no EasyDarwin message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Not JSON at all.
    #[error("the body is no JSON: {0}")]
    Json(String),
    /// JSON, but not `{"EasyDarwin": {"Header": {…}}}`.
    #[error("the JSON has no object EasyDarwin with an object Header")]
    NoHeader,
    /// A field without which the message means nothing.
    #[error("the field {0} is missing or not valid")]
    Field(&'static str),
    /// Another message than the one expected.
    #[error("the message is {found}, not {expected}")]
    WrongType {
        /// What was asked for.
        expected: &'static str,
        /// What came.
        found: String,
    },
}

/// One message: header and body.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// `Header`.
    pub header: Fields,
    /// `Body`; empty when the peer sent none.
    pub body: Fields,
}

impl Envelope {
    /// A request or notice with this CSeq.
    pub fn request(kind: MessageType, cseq: u32) -> Self {
        let mut header = Fields::new();
        header
            .set("Version", VERSION)
            .set("CSeq", cseq.to_string())
            .set("MessageType", kind.as_str());
        Self {
            header,
            body: Fields::new(),
        }
    }

    /// An answer. `cseq` is what the request had, as text.
    pub fn answer(kind: MessageType, cseq: &str, error: ErrorNum) -> Self {
        let mut header = Fields::new();
        header
            .set("Version", VERSION)
            .set("CSeq", cseq)
            .set("MessageType", kind.as_str())
            .set("ErrorNum", error.code().to_string())
            .set("ErrorString", error.text());
        Self {
            header,
            body: Fields::new(),
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`EnvelopeError::Json`] and [`EnvelopeError::NoHeader`].
    pub fn parse(body: &[u8]) -> Result<Self, EnvelopeError> {
        let value: Value =
            serde_json::from_slice(body).map_err(|e| EnvelopeError::Json(e.to_string()))?;
        let Value::Object(mut root) = value else {
            return Err(EnvelopeError::NoHeader);
        };
        // Taken, not removed: a map that loses entries is four kilobytes more of a firmware.
        let taken = |map: &mut Map<String, Value>, key| map.get_mut(key).map(Value::take);
        let Some(Value::Object(mut inner)) = taken(&mut root, "EasyDarwin") else {
            return Err(EnvelopeError::NoHeader);
        };
        let Some(Value::Object(header)) = taken(&mut inner, "Header") else {
            return Err(EnvelopeError::NoHeader);
        };
        let body = match taken(&mut inner, "Body") {
            Some(Value::Object(body)) => body,
            _ => Map::new(),
        };
        Ok(Self {
            header: Fields::from_map(header),
            body: Fields::from_map(body),
        })
    }

    /// The message's name, if it is one we know.
    pub fn kind(&self) -> Option<MessageType> {
        MessageType::parse(&self.header.text("MessageType")?)
    }

    /// `CSeq` as it came (`"1"` when missing), for the answer.
    pub fn cseq(&self) -> String {
        self.header.non_empty("CSeq").unwrap_or_else(|| "1".into())
    }

    /// `CSeq` as a number.
    pub fn cseq_number(&self) -> Option<u32> {
        self.header.number("CSeq")
    }

    /// `ErrorNum` of an answer.
    pub fn error(&self) -> Option<ErrorNum> {
        Some(ErrorNum::from_code(self.header.number("ErrorNum")?))
    }

    /// Fails unless the message is `expected`.
    ///
    /// # Errors
    /// [`EnvelopeError::WrongType`].
    pub fn expect(&self, expected: MessageType) -> Result<(), EnvelopeError> {
        if self.kind() == Some(expected) {
            return Ok(());
        }
        Err(EnvelopeError::WrongType {
            expected: expected.as_str(),
            found: self.header.text_or_empty("MessageType"),
        })
    }

    /// The JSON in the original's style. `Body` is always there: one known device's reader dies
    /// of messages without.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(256);
        out.push_str("{\n   \"EasyDarwin\" : {\n      \"Body\" : ");
        write_object(&mut out, self.body.as_map(), 2);
        out.push_str(",\n      \"Header\" : ");
        write_object(&mut out, self.header.as_map(), 2);
        out.push_str("\n   }\n}\n");
        out
    }

    /// Framed as an HTTP response: everything that goes to a device, and answers to clients on
    /// the same kind of connection.
    pub fn to_response(&self, server: &str) -> Bytes {
        let json = self.to_json();
        format!(
            "HTTP/1.1 200 OK\r\nServer: {server}\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        )
        .into()
    }

    /// Framed as an HTTP request: what a device or a media node sends.
    pub fn to_request(&self, user_agent: &str) -> Bytes {
        let json = self.to_json();
        format!(
            "POST / HTTP/1.1\r\nUser-Agent: {user_agent}\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        )
        .into()
    }
}

fn write_value(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) => write_object(out, map, depth),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n == 0 { "\n" } else { ",\n" });
                indent(out, depth + 1);
                write_value(out, item, depth + 1);
            }
            out.push('\n');
            indent(out, depth);
            out.push(']');
        }
        // serde_json's own text of a scalar: strings quoted and escaped.
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

fn write_object(out: &mut String, map: &Map<String, Value>, depth: usize) {
    if map.is_empty() {
        out.push_str("{}");
        return;
    }
    // The map may keep insertion order when another crate asks serde_json for that.
    // By looking for the next key again and again: the library's sorts are much code for a device.
    let next = |after: Option<&String>| {
        let rest = map
            .iter()
            .filter(|(key, _)| after.is_none_or(|after| *key > after));
        rest.min_by_key(|(key, _)| *key)
    };
    let mut entries = std::iter::successors(next(None), |(key, _)| next(Some(*key)));
    out.push('{');
    for (n, (key, value)) in entries.by_ref().enumerate() {
        out.push_str(if n == 0 { "\n" } else { ",\n" });
        indent(out, depth + 1);
        let _ = write!(out, "{} : ", Value::String(key.clone()));
        write_value(out, value, depth + 1);
    }
    out.push('\n');
    indent(out, depth);
    out.push('}');
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("   ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_written_form_is_byte_for_byte_the_originals() {
        let mut ack = Envelope::answer(MessageType::RegisterAck, "1", ErrorNum::OK);
        ack.body.set("Serial", "001001000099");
        let expected = concat!(
            "{\n   \"EasyDarwin\" : {\n      \"Body\" : {\n         \"Serial\" : \"001001000099\"\n      },\n",
            "      \"Header\" : {\n         \"CSeq\" : \"1\",\n         \"ErrorNum\" : \"200\",\n",
            "         \"ErrorString\" : \"Success OK\",\n         \"MessageType\" : \"MSG_SD_REGISTER_ACK\",\n",
            "         \"Version\" : \"v1\"\n      }\n   }\n}\n"
        );
        assert_eq!(ack.to_json(), expected);
        assert_eq!(expected.len(), 282);
        let wire = ack.to_response("EasyDarwin");
        assert!(wire.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert_eq!(Envelope::parse(expected.as_bytes()).unwrap(), ack);
    }

    #[test]
    fn numbers_stand_for_strings_and_a_missing_body_is_empty() {
        let message =
            Envelope::parse(br#"{"EasyDarwin":{"Header":{"CSeq":77,"MessageType":"MSG_DS_REGISTER_REQ","ErrorNum":200}}}"#)
                .unwrap();
        assert_eq!(message.cseq(), "77");
        assert_eq!(message.error(), Some(ErrorNum::OK));
        assert_eq!(message.body, Fields::new());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Envelope::parse(&bytes);
        }

        #[test]
        fn what_is_written_can_be_read(key in ".{1,20}", value in ".{0,60}") {
            let mut message = Envelope::request(MessageType::RegisterReq, 9);
            message.body.set(&key, value.clone());
            let read = Envelope::parse(message.to_json().as_bytes()).unwrap();
            prop_assert_eq!(read.body.text_or_empty(&key), value);
        }
    }
}
