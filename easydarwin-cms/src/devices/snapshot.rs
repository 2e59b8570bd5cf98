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
#[derive(Debug)]
struct Picture {
    jpeg: Bytes,
    /// When it came.
    at: UnixMillis,
    right: Option<Right>,
}

/// The right to load the pictures of a channel, the next ones too: signing it is what costs most in a
/// long list.
#[derive(Debug)]
struct Right {
    token: String,
    claims: Claims,
    /// It is handed out for half of its life.
    until: UnixMillis,
}

impl Right {
    fn sign(state: &State, stream: &StreamRef) -> Option<Self> {
        let claimed = StreamPath::device(&stream.serial, stream.channel).ok()?;
        let ttl = state.config.long_token_ttl;
        let claims = state.claims(claimed, TokenAction::Snapshot, "client", ttl);
        Some(Self {
            token: state.signer.sign(&claims),
            claims,
            until: state.now().plus(ttl / 2),
        })
    }

    fn counts(&self, state: &State) -> bool {
        state.now() < self.until && state.verifier.revocations().allows(&self.claims)
    }
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

    /// Keeps a picture. Whether it took the place of another one.
    pub(super) fn put(&self, state: &State, stream: StreamRef, jpeg: Bytes) -> bool {
        let before = self
            .table
            .lock()
            .pictures
            .get_mut(&stream)
            .map(|p| p.right.take());
        // As pictures come, so that a list finds them signed.
        let right = before.flatten().filter(|right| right.counts(state));
        let right = right.or_else(|| Right::sign(state, &stream));
        let mut table = self.table.lock();
        table.bytes = table.bytes.saturating_add(jpeg.len());
        let at = state.now();
        let picture = Picture { jpeg, at, right };
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

    pub(crate) fn jpeg(&self, stream: &StreamRef) -> Option<Bytes> {
        let table = self.table.lock();
        table
            .pictures
            .get(stream)
            .map(|picture| picture.jpeg.clone())
    }

    /// When the picture came.
    pub(crate) fn at(&self, stream: &StreamRef) -> Option<UnixMillis> {
        self.table
            .lock()
            .pictures
            .get(stream)
            .map(|picture| picture.at)
    }

    /// Path of the picture's URL, `None` when there is none. Clients load it bare, so the
    /// right to do so is in it.
    pub(crate) fn url_path(&self, state: &State, stream: &StreamRef) -> Option<String> {
        let mut table = self.table.lock();
        let picture = table.pictures.get_mut(stream)?;
        if !picture
            .right
            .as_ref()
            .is_some_and(|right| right.counts(state))
        {
            picture.right = Right::sign(state, stream);
        }
        let token = &picture.right.as_ref()?.token;
        Some(format!(
            "/snap/{token}/{}_{}_{}.jpg",
            stream.serial, stream.channel, picture.at.0
        ))
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
    state.snapshots.put(state, stream, jpeg.into());
    refused(ErrorNum::OK)
}
