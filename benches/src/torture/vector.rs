//! The data files: what is sent in which state, and what a sound server does with it.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

/// How far the connection has come before the vector's bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Connected, nothing sent.
    Fresh,
    /// The first track is set up for playing over TCP.
    Ready,
    /// Playing over TCP.
    Playing,
    /// Announced, nothing set up.
    Announced,
    /// Recording H.264 over TCP.
    Recording,
    /// Recording H.265 over TCP.
    #[serde(rename = "recording-h265")]
    RecordingH265,
}

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Unique within its file, and says what is odd.
    pub name: String,
    /// State before it.
    #[serde(default = "fresh")]
    pub state: State,
    /// What is sent; every item in a write of its own.
    pub send: Vec<String>,
    /// One item for each answer: accepted statuses (`200`, `4xx`), `close`, `silence`, with `|` between.
    pub expect: Vec<String>,
    /// Texts that the first answer must hold (case is ignored).
    #[serde(default)]
    pub answer_has: Vec<String>,
    /// The connection must work afterwards; otherwise it may also have been closed.
    #[serde(default)]
    pub survives: bool,
    /// What follows on this connection belongs to an unfinished message: no answer is due.
    #[serde(default)]
    pub unfinished: bool,
    /// What a server that fails it does wrong to whom.
    pub why: String,
    /// Specification, or where such bytes were seen.
    pub source: String,
    /// Milliseconds between two items of `send`; for those who trickle.
    #[serde(default = "short_pause")]
    pub pause_ms: u64,
    /// Seconds for which each answer, or the closing, is waited for.
    #[serde(default = "short_patience")]
    pub patience_s: u64,
    /// Sent by another connection after all that; its answer is held to `other_expect`.
    #[serde(default)]
    pub other_send: Option<String>,
    /// Accepted answers of the other connection, as in `expect`.
    #[serde(default)]
    pub other_expect: Option<String>,
}

/// How long an answer may take.
fn short_patience() -> u64 {
    5
}

/// Long enough for the server to see a write of its own.
fn short_pause() -> u64 {
    20
}

fn fresh() -> State {
    State::Fresh
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    vector: Vec<Vector>,
}

/// Reads all `*.toml` of a folder, in the order of their names.
pub fn load(folder: &Path) -> io::Result<Vec<(String, Vector)>> {
    let mut paths: Vec<_> = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    paths.sort_by_key(fs::DirEntry::file_name);
    let mut vectors = Vec::new();
    for path in paths.iter().map(fs::DirEntry::path) {
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let group = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let file: File = toml::from_str(&fs::read_to_string(&path)?)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        vectors.extend(
            file.vector
                .into_iter()
                .map(|vector| (group.clone(), vector)),
        );
    }
    Ok(vectors)
}

/// What stands for the names in braces.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// `{url}`: the stream.
    pub url: String,
    /// `{host}`: host and port.
    pub host: String,
    /// `{path}`: the stream's path without leading slash.
    pub path: String,
    /// `{track}`: the first track's URL.
    pub track: String,
    /// `{session}`: the session's identifier.
    pub session: String,
    /// Appended to the stream's name by a vector that publishes.
    pub publisher: String,
}

/// Fills in names, `{hex:…}`, `{repeat:TEXT:COUNT}` and `{repeathex:…:COUNT}`.
pub fn expand(text: &str, names: &Names) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..open]);
        let Some(close) = rest[open..].find('}') else {
            break;
        };
        let word = &rest[open + 1..open + close];
        match word.split_once(':') {
            Some(("hex", digits)) => out.extend(hex(digits)),
            Some(("repeathex", what)) => {
                let (digits, count) = what.rsplit_once(':').unwrap_or((what, "1"));
                out.extend(hex(digits).repeat(count.parse().unwrap_or(1)));
            }
            Some(("repeat", what)) => {
                let (text, count) = what.rsplit_once(':').unwrap_or((what, "1"));
                out.extend(text.as_bytes().repeat(count.parse().unwrap_or(1)));
            }
            _ => out.extend_from_slice(match word {
                "url" => names.url.as_bytes(),
                "host" => names.host.as_bytes(),
                "path" => names.path.as_bytes(),
                "track" => names.track.as_bytes(),
                "session" => names.session.as_bytes(),
                _ => &rest.as_bytes()[open..=open + close],
            }),
        }
        rest = &rest[open + close + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .bytes()
        .filter_map(|b| char::from(b).to_digit(16))
        .map(|d| d as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hex_and_repeats_are_filled_in() {
        let names = Names {
            url: "rtsp://h/p".into(),
            ..Names::default()
        };
        assert_eq!(
            expand(
                "A {url} {hex:24 00ff}{repeat:xy:3}{repeathex:7a:2}{other}",
                &names
            ),
            b"A rtsp://h/p $\x00\xffxyxyxyzz{other}"
        );
    }

    #[test]
    fn the_data_files_are_whole() {
        let vectors = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("torture")).unwrap();
        assert!(vectors.len() >= 150, "{} vectors", vectors.len());
        let mut names: Vec<_> = vectors
            .iter()
            .map(|(group, vector)| (group, &vector.name))
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), vectors.len(), "names must be unique");
        for (_, vector) in &vectors {
            assert!(
                !vector.why.is_empty() && !vector.source.is_empty(),
                "{}",
                vector.name
            );
        }
    }
}
