//! Snapshots that devices put beside their connection: the tickets for it, and who puts now.

use std::sync::Arc;

use easydarwin_core::protocol::login::{key_text, token_digest};
use easydarwin_core::protocol::{
    Envelope, ErrorNum, StreamRef, UploadAck, UploadRequest, UploadTicket,
};
use easydarwin_core::registry::{UnixMillis, random_bytes};
use subtle::ConstantTimeEq as _;

use super::session::Session;
use crate::state::State;

/// Snapshots that one device may put at once; each takes memory for as long as it comes in.
const MAX_RUNNING: u8 = 2;

/// What a device may put. It ends with the device's connection.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    /// One for each channel at most: a new one takes the place of the last.
    tickets: Vec<Ticket>,
    running: u8,
}

/// A ticket that waits for its one use. Its text is with the device only.
#[derive(Debug)]
struct Ticket {
    channel: u32,
    digest: [u8; 32],
    expires: UnixMillis,
}

/// Why nothing may be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoUpload {
    /// No such ticket waits: it is wrong, was used, is too old, or was replaced.
    Ticket,
    /// The ticket is right and stays so, but too many are being put.
    Busy,
}

impl Uploads {
    fn issue(&mut self, channel: u32, digest: [u8; 32], expires: UnixMillis) {
        self.tickets.retain(|ticket| ticket.channel != channel);
        self.tickets.push(Ticket {
            channel,
            digest,
            expires,
        });
    }

    /// Uses a ticket up.
    fn begin(&mut self, channel: u32, digest: [u8; 32], now: UnixMillis) -> Result<(), NoUpload> {
        self.tickets.retain(|ticket| ticket.expires > now);
        let fits =
            |ticket: &Ticket| ticket.channel == channel && bool::from(ticket.digest.ct_eq(&digest));
        let found = self.tickets.iter().position(fits);
        let found = found.ok_or(NoUpload::Ticket)?;
        if self.running >= MAX_RUNNING {
            return Err(NoUpload::Busy);
        }
        self.tickets.swap_remove(found);
        if self.tickets.is_empty() {
            // Most of the time there is none, and there are many devices.
            self.tickets = Vec::new();
        }
        self.running += 1;
        Ok(())
    }
}

/// A snapshot that is being put.
#[derive(Debug)]
pub(crate) struct Upload {
    session: Arc<Session>,
    channel: u32,
}

impl Upload {
    /// Uses the ticket up, if the device is there and has one that is right.
    pub(crate) fn begin(
        state: &State,
        serial: &str,
        channel: u32,
        ticket: &str,
    ) -> Result<Self, NoUpload> {
        let session = state.sessions.get(serial).ok_or(NoUpload::Ticket)?;
        let digest = token_digest(&state.secrets.pepper, serial, ticket);
        let begun = session.uploads.lock().begin(channel, digest, state.now());
        begun.map(|()| Self { session, channel })
    }

    /// Keeps the picture, if the device is still there. Returns whether it took the place of another.
    pub(crate) async fn finish(&self, state: &State, jpeg: Vec<u8>) -> Option<bool> {
        let session = &self.session;
        let current = state.sessions.get(&session.serial)?;
        if !Arc::ptr_eq(&current, session) || !super::heard(state, &session.lease).await {
            return None;
        }
        let stream = StreamRef::new(&*session.serial, self.channel);
        Some(state.snapshots.put(state, stream, jpeg.into()))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut uploads = self.session.uploads.lock();
        uploads.running = uploads.running.saturating_sub(1);
    }
}

/// A ticket for a device that can put; `None` if the system has no random bytes.
pub(crate) fn ticket(state: &State, session: &Session, channel: u32) -> Option<UploadTicket> {
    let text = key_text(random_bytes().ok()?);
    let serial = &*session.serial;
    let digest = token_digest(&state.secrets.pepper, serial, &text);
    let ttl = state.config.token_ttl;
    let expires = state.now().plus(ttl);
    session.uploads.lock().issue(channel, digest, expires);
    Some(UploadTicket {
        path: format!("/snap/{serial}/{channel}"),
        ticket: text,
        ttl_s: ttl.as_secs(),
    })
}

/// `MSG_DS_UPLOAD_REQ`: answered with a ticket.
pub(crate) fn wants_upload(
    state: &State,
    session: Option<&Session>,
    message: &Envelope,
) -> UploadAck {
    let Some(session) = session else {
        let serial = message.body.text_or_empty("Serial");
        return UploadAck::new(serial, 1, ErrorNum::UNAUTHORIZED);
    };
    let own = &*session.serial;
    let Ok(request) = UploadRequest::from_envelope(message) else {
        return UploadAck::new(own, 1, ErrorNum::BAD_REQUEST);
    };
    if request.serial != own {
        tracing::warn!(own, other = %request.serial, "snapshot for another device refused");
        return UploadAck::new(own, request.channel, ErrorNum::FORBIDDEN);
    }
    let mut ack = UploadAck::new(own, request.channel, ErrorNum::OK);
    ack.upload = ticket(state, session, request.channel);
    if ack.upload.is_none() {
        ack.error = ErrorNum::INTERNAL;
    }
    ack
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_counts_once_for_its_channel_and_soon() {
        let (mut uploads, now) = (Uploads::default(), UnixMillis(1_000));
        let (first, second, later) = ([1; 32], [2; 32], UnixMillis(2_000));
        uploads.issue(1, first, later);
        uploads.issue(2, second, later);
        assert_eq!(uploads.begin(2, first, now), Err(NoUpload::Ticket));
        assert_eq!(uploads.begin(1, first, now), Ok(()));
        assert_eq!(uploads.begin(1, first, now), Err(NoUpload::Ticket));
        assert_eq!(uploads.begin(2, second, later), Err(NoUpload::Ticket));
        assert!(uploads.tickets.is_empty(), "what is too old is forgotten");
    }

    #[test]
    fn tickets_and_uploads_of_a_device_are_bounded() {
        let (mut uploads, now) = (Uploads::default(), UnixMillis(1_000));
        let later = UnixMillis(2_000);
        for n in 0..=255 {
            uploads.issue(1, [n; 32], later);
        }
        assert_eq!(uploads.tickets.len(), 1);
        assert_eq!(uploads.begin(1, [254; 32], now), Err(NoUpload::Ticket));
        assert_eq!(uploads.begin(1, [255; 32], now), Ok(()));
        uploads.issue(1, [1; 32], later);
        assert_eq!(uploads.begin(1, [1; 32], now), Ok(()));
        uploads.issue(1, [2; 32], later);
        assert_eq!(uploads.begin(1, [2; 32], now), Err(NoUpload::Busy));
        uploads.running -= 1;
        assert_eq!(uploads.begin(1, [2; 32], now), Ok(()), "it was not used up");
    }
}
