//! The transcripts of `docs/protocol.md` against a CMS: what stands there is what happens.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::collections::HashMap;

use base64::Engine as _;
use common::{FakeNode, Peer, TestCms};
use easydarwin_core::protocol::login::DeviceKey;
use easydarwin_core::protocol::node::{Report, Revoked};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../docs/protocol.md");

/// Name and lines of each transcript.
fn transcripts() -> Vec<(&'static str, Vec<&'static str>)> {
    DOCUMENT
        .split("```transcript ")
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once('\n').unwrap();
            let (block, _) = rest.split_once("\n```").expect("an end");
            (name, block.lines().collect())
        })
        .collect()
}

/// What `$name` stands for.
type Known = HashMap<String, String>;

/// Whether all of `expected` is in `got`; texts that begin with `$` are learnt or compared.
fn holds(expected: &Value, got: &Value, known: &mut Known) -> Result<(), String> {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            expected.iter().try_for_each(|(key, v)| {
                let found = got.get(key).ok_or_else(|| format!("{key} is missing"))?;
                holds(v, found, known).map_err(|e| format!("{key}: {e}"))
            })
        }
        (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => expected
            .iter()
            .zip(got)
            .try_for_each(|(e, g)| holds(e, g, known)),
        (Value::String(expected), Value::String(got)) => {
            let fits = if expected == "*" {
                !got.is_empty()
            } else if let Some(name) = expected.strip_prefix('$') {
                known.entry(name.to_owned()).or_insert(got.clone()) == got
            } else {
                expected == got
            };
            fits.then_some(())
                .ok_or(format!("{got:?}, not {expected:?}"))
        }
        _ if expected == got => Ok(()),
        _ => Err(format!("{got}, not {expected}")),
    }
}

fn filled_in(text: &str, known: &Known) -> String {
    let filled = known.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("\"${name}\""), &format!("\"{value}\""))
    });
    assert!(!filled.contains("\"$"), "nobody knows this yet: {filled}");
    filled
}

async fn replay(name: &str, lines: &[&str]) {
    let cms = TestCms::start(|_| {}).await;
    cms.handle.provision_key("cam", "cam's key").await.unwrap();
    for serial in ["old", "nvr"] {
        let token = format!("{serial}'s token");
        cms.handle.provision_token(serial, &token).await.unwrap();
    }
    let mut node = cms.connect().await;
    FakeNode::join_with(&mut node, "n1", cms.handle.join_key()).await;
    let mut report = Report::default();
    report.inventory = Some(Vec::new());
    node.ask(&report.to_envelope(3)).await;
    if name == "revoke" {
        cms.handle.revoke(Revoked::Subject("key:lost".into()));
    }
    let mut peers: HashMap<&str, Peer> = HashMap::from([
        ("node", node),
        ("device", cms.connect().await),
        ("client", cms.connect().await),
        ("upload", cms.connect().await),
    ]);
    let mut known = Known::new();
    for line in lines {
        let (who, text) = line.split_once(' ').unwrap();
        let (who, way) = who.split_at(who.len() - 1);
        let peer = peers.get_mut(who).unwrap_or_else(|| panic!("{who}?"));
        if way == "<" {
            let reply = peer.expect().await;
            let mut text = text;
            if who == "upload" {
                let (status, rest) = text.split_at(3);
                assert_eq!(reply.status.to_string(), status, "{name}: {line}");
                text = rest.trim();
                if text.is_empty() {
                    assert!(reply.body.is_empty());
                    continue;
                }
            }
            let got: Value = serde_json::from_slice(&reply.body).unwrap();
            let expected: Value = serde_json::from_str(text).unwrap();
            if let Err(why) = holds(&expected, &got, &mut known) {
                panic!("{name}: {why}\n  as written: {text}\n  as it came: {got}");
            }
            if let Some(nonce) = known.get("nonce") {
                let proof = DeviceKey::new("cam's key", "cam").proof("client-nonce", nonce);
                known.insert("proof".into(), proof);
            }
            continue;
        }
        assert_eq!(way, ">", "{line}");
        let text = filled_in(text, &known);
        if who == "upload" {
            peer.send(&put(&text)).await;
            continue;
        }
        let message = if text.starts_with("GET ") {
            format!("{text} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        } else if text.starts_with('P') {
            // Version 2, by somebody with a key: method, path, and a body if there is one.
            let mut parts = text.splitn(3, ' ');
            let (method, path) = (parts.next().unwrap(), parts.next().unwrap());
            let body = parts.next().unwrap_or_default();
            format!(
                "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                cms.handle.api_key(),
                body.len()
            )
        } else {
            let _: Value = serde_json::from_str(&text).unwrap();
            format!(
                "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
        };
        peer.send(message.as_bytes()).await;
    }
    cms.stop().await;
}

/// Path, ticket and body of a request that puts a picture.
fn put(text: &str) -> Vec<u8> {
    let mut parts = text.splitn(4, ' ').skip(1);
    let mut part = || parts.next().unwrap();
    let (path, ticket, body) = (part(), part().trim_matches('"'), part());
    let body = base64::engine::general_purpose::STANDARD.decode(body);
    let body = body.unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ticket}\r\n\
         Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

#[tokio::test]
async fn what_the_document_shows_is_what_happens() {
    let all = transcripts();
    assert_eq!(all.len(), DOCUMENT.matches("```transcript").count());
    assert!(all.len() >= 6);
    for (name, lines) in all {
        replay(name, &lines).await;
    }
}

#[test]
fn a_transcript_that_is_wrong_is_seen() {
    let mut known = Known::new();
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (expected, got, fits) in [
        (r#"{"a":"1"}"#, r#"{"a":"1","b":"2"}"#, true),
        (r#"{"a":"1"}"#, r#"{"a":"2"}"#, false),
        (r#"{"a":"*"}"#, r#"{"a":""}"#, false),
        (r#"{"a":"$x"}"#, r#"{"a":"1"}"#, true),
        (r#"{"a":"$x"}"#, r#"{"a":"2"}"#, false),
        (r#"{"a":["1"]}"#, r#"{"a":["1","2"]}"#, false),
        (r#"{"c":"1"}"#, r#"{"a":"1"}"#, false),
    ] {
        let result = holds(&value(expected), &value(got), &mut known);
        assert_eq!(result.is_ok(), fits, "{expected} {got}");
    }
}
