//! Snapshots: the newest picture of each channel, in memory.

use std::collections::HashMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use easydarwin_core::protocol::{Envelope, ErrorNum, Snapshot, SnapshotAck, StreamRef};
use easydarwin_core::registry::{Claims, StreamPath, TokenAction, UnixMillis};
use parking_lot::Mutex;

use super::session::Session;
use crate::state::State;

/// Some devices leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const JPEG_MAGIC: [u8; 3] = [0xff, 0xd8, 0xff];

/// Whether it begins like a JPEG; nothing here decodes it.
pub(crate) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&JPEG_MAGIC)
}

/// A picture.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) jpeg: Bytes,
    /// When it came.
    pub(crate) at: UnixMillis,
    /// The path part of its URL, what it is signed for, and until when it is handed out.
    url: Option<(String, Claims, UnixMillis)>,
}

/// The newest picture of each channel, under a cap.
#[derive(Debug)]
pub(crate) struct Snapshots {
    limit: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    pictures: HashMap<StreamRef, Picture>,
    bytes: usize,
}

impl Snapshots {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            table: Mutex::default(),
        }
    }

    /// Whether it took the place of another one.
    pub(super) fn put(&self, stream: StreamRef, jpeg: Bytes, at: UnixMillis) -> bool {
        let mut table = self.table.lock();
        table.bytes = table.bytes.saturating_add(jpeg.len());
        let picture = Picture {
            jpeg,
            at,
            url: None,
        };
        let before = table.pictures.insert(stream, picture);
        if let Some(old) = &before {
            table.bytes = table.bytes.saturating_sub(old.jpeg.len());
        }
        while table.bytes > self.limit {
            let oldest = table.pictures.iter().min_by_key(|(_, p)| p.at);
            let Some(stream) = oldest.map(|(stream, _)| stream.clone()) else {
                break;
            };
            if let Some(old) = table.pictures.remove(&stream) {
                table.bytes = table.bytes.saturating_sub(old.jpeg.len());
            }
        }
        before.is_some()
    }

    pub(crate) fn get(&self, stream: &StreamRef) -> Option<Picture> {
        self.table.lock().pictures.get(stream).cloned()
    }

    /// Path of the picture's URL, `None` when there is none. Clients load it bare, so the
    /// right to do so is in it. The same URL is handed out for half of its life.
    pub(crate) fn url_path(&self, state: &State, stream: &StreamRef) -> Option<String> {
        let now = state.now();
        let mut table = self.table.lock();
        let picture = table.pictures.get_mut(stream)?;
        if let Some((path, claims, until)) = &picture.url
            && now < *until
            && state.verifier.revocations().allows(claims)
        {
            return Some(path.clone());
        }
        let claimed = StreamPath::device(&stream.serial, stream.channel).ok()?;
        let ttl = state.config.long_token_ttl;
        let claims = state.claims(claimed, TokenAction::Snapshot, "client", ttl);
        let token = state.signer.sign(&claims);
        let path = format!(
            "/snap/{token}/{}_{}_{}.jpg",
            stream.serial, stream.channel, picture.at.0
        );
        picture.url = Some((path.clone(), claims, now.plus(ttl / 2)));
        Some(path)
    }
}

/// `MSG_DS_POST_SNAP_REQ`: checked, kept, answered.
pub(crate) fn store_snapshot(
    state: &State,
    session: Option<&Session>,
    message: &Envelope,
) -> Envelope {
    let cseq = message.cseq();
    let answer = |error, serial: &str, channel| {
        SnapshotAck {
            error,
            serial: serial.to_owned(),
            channel,
        }
        .to_envelope(&cseq)
    };
    let Some(session) = session else {
        let serial = message.body.text_or_empty("Serial");
        return answer(ErrorNum::UNAUTHORIZED, &serial, 1);
    };
    let Ok(snapshot) = Snapshot::from_envelope(message) else {
        return answer(ErrorNum::BAD_REQUEST, &session.serial, 1);
    };
    let refused = |error| answer(error, &snapshot.serial, snapshot.channel);
    if *snapshot.serial != *session.serial {
        tracing::warn!(own = %session.serial, other = %snapshot.serial, "snapshot for another device refused");
        return refused(ErrorNum::FORBIDDEN);
    }
    if !snapshot.kind.eq_ignore_ascii_case("JPEG") {
        return refused(ErrorNum::from_code(415));
    }
    let Ok(jpeg) = BASE64.decode(snapshot.image.as_bytes()) else {
        return refused(ErrorNum::BAD_REQUEST);
    };
    if !is_jpeg(&jpeg) {
        return refused(ErrorNum::from_code(415));
    }
    let stream = StreamRef::new(snapshot.serial.as_str(), snapshot.channel);
    state.snapshots.put(stream, jpeg.into(), state.now());
    refused(ErrorNum::OK)
}
