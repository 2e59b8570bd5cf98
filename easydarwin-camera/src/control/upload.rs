//! Snapshots on their way to the CMS: beside the connection where the CMS takes them so, else in
//! messages.

use std::time::{Duration, Instant};

use bytes::Bytes;
use easydarwin_core::media::base64;
use easydarwin_core::protocol::{Envelope, ErrorNum, Snapshot, UploadRequest, UploadTicket};

use super::put::{Upload, UploadError};
use super::{ControlEngine, ControlEvent};
use crate::civil::Civil;

/// Largest snapshot in bytes: as base64 it still fits what a CMS takes.
pub const MAX_SNAPSHOT: usize = 1_000_000;
/// With more bytes that wait no further picture is taken.
const MAX_PICTURES: usize = 2 << 20;
/// How long a CMS may take to give a ticket.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a snapshot may take, the connection for it included: a CMS takes no longer either.
const UPLOAD: Duration = Duration::from_secs(30);
/// Longest life of a ticket that is believed, in seconds.
const MAX_TTL: u64 = 3600;

/// Snapshots that are put. One at a time: all share one uplink, with speech and live pictures.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    /// The CMS takes them so.
    offered: bool,
    /// What came with the last wish for a snapshot: of which channel, and until when it counts.
    ticket: Option<(u32, UploadTicket, Instant)>,
    /// The newest of each channel.
    waiting: Vec<(u32, Bytes)>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// A ticket was asked for, for the first that waits.
    Asked { cseq: u32, until: Instant },
    /// The shell is at it. The picture may have to go another way.
    Running {
        channel: u32,
        jpeg: Bytes,
        until: Instant,
    },
}

impl Uploads {
    pub(super) fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Idle => None,
            Stage::Asked { until, .. } | Stage::Running { until, .. } => Some(until),
        }
    }

    /// Keeps a picture, in the place of an older one of the channel.
    fn wait(&mut self, channel: u32, jpeg: &[u8]) -> bool {
        let others = self.waiting.iter().filter(|(other, _)| *other != channel);
        let bytes: usize = others.map(|(_, jpeg)| jpeg.len()).sum();
        if bytes + jpeg.len() > MAX_PICTURES {
            return false;
        }
        let jpeg = Bytes::copy_from_slice(jpeg);
        match self.waiting.iter_mut().find(|(c, _)| *c == channel) {
            Some((_, older)) => *older = jpeg,
            None => self.waiting.push((channel, jpeg)),
        }
        true
    }

    fn next(&mut self) -> Option<(u32, Bytes)> {
        (!self.waiting.is_empty()).then(|| self.waiting.remove(0))
    }
}

impl ControlEngine {
    /// A JPEG of a channel for the CMS; false when it was not sent, because it is larger than
    /// [`MAX_SNAPSHOT`], nobody is there, or others wait already for a slow uplink.
    ///
    /// It goes by HTTP PUT if the CMS takes it so and [`uploads`](super::ControlConfig::uploads)
    /// is set, else in a message. What became of it comes as
    /// [`SnapshotAnswered`](ControlEvent::SnapshotAnswered) or
    /// [`SnapshotFailed`](ControlEvent::SnapshotFailed).
    pub fn snapshot(&mut self, channel: u32, jpeg: &[u8], now: Instant) -> bool {
        if !self.is_registered() || jpeg.len() > MAX_SNAPSHOT {
            return false;
        }
        if !self.uploads.offered {
            return self.post(channel, jpeg, now);
        }
        let waits = self.uploads.wait(channel, jpeg);
        self.next_upload(now);
        waits
    }

    /// How the [`Upload`] ended that was asked for last.
    pub fn uploaded(&mut self, result: Result<(), UploadError>, now: Instant) {
        if !matches!(self.uploads.stage, Stage::Running { .. }) {
            return;
        }
        let stage = std::mem::take(&mut self.uploads.stage);
        let Stage::Running { channel, jpeg, .. } = stage else {
            return;
        };
        match result {
            Ok(()) => self.events.push_back(ControlEvent::SnapshotAnswered {
                channel,
                error: ErrorNum::OK,
            }),
            // Something stands in between that knows no PUT: from now on in messages.
            Err(UploadError::Refused(404 | 405)) => {
                self.uploads.offered = false;
                self.post(channel, &jpeg, now);
                while let Some((channel, jpeg)) = self.uploads.next() {
                    self.post(channel, &jpeg, now);
                }
            }
            Err(error) => self
                .events
                .push_back(ControlEvent::SnapshotFailed { channel, error }),
        }
        self.next_upload(now);
    }

    /// A CMS has let us in and said whether snapshots are put.
    pub(super) fn offers_uploads(&mut self, offers: bool) {
        self.uploads.offered = offers && self.config.uploads;
    }

    /// A ticket that came with the wish for a snapshot.
    pub(super) fn keep_ticket(&mut self, channel: u32, ticket: UploadTicket, now: Instant) {
        if self.uploads.offered {
            let until = now + Duration::from_secs(ticket.ttl_s.min(MAX_TTL));
            self.uploads.ticket = Some((channel, ticket, until));
        }
    }

    /// The CMS's answer to the question for a ticket.
    pub(super) fn upload_ack(&mut self, message: &Envelope, now: Instant) {
        let Stage::Asked { cseq, .. } = self.uploads.stage else {
            return;
        };
        if message.cseq_number() != Some(cseq) {
            return;
        }
        let error = message.error().unwrap_or(ErrorNum::BAD_REQUEST);
        self.uploads.stage = Stage::Idle;
        match UploadTicket::read(&message.body) {
            Some(ticket) if error.is_success() => self.upload(&ticket, now),
            _ => {
                if let Some((channel, _)) = self.uploads.next() {
                    let error = UploadError::NoTicket(error);
                    self.events
                        .push_back(ControlEvent::SnapshotFailed { channel, error });
                }
            }
        }
        self.next_upload(now);
    }

    /// Gives up what takes too long.
    pub(super) fn expire_upload(&mut self, now: Instant) {
        if self.uploads.due().is_none_or(|until| now < until) {
            return;
        }
        if matches!(self.uploads.stage, Stage::Running { .. }) {
            self.events.push_back(ControlEvent::CancelUpload);
            self.uploaded(Err(UploadError::Timeout), now);
            return;
        }
        self.uploads.stage = Stage::Idle;
        if let Some((channel, _)) = self.uploads.next() {
            let error = UploadError::Timeout;
            self.events
                .push_back(ControlEvent::SnapshotFailed { channel, error });
        }
        self.next_upload(now);
    }

    /// Tickets end with the connection; the next one begins with new pictures.
    pub(super) fn end_uploads(&mut self) {
        if matches!(self.uploads.stage, Stage::Running { .. }) {
            self.events.push_back(ControlEvent::CancelUpload);
        }
        self.uploads = Uploads::default();
    }

    /// Begins with the next one, if there is one and none under way.
    fn next_upload(&mut self, now: Instant) {
        let Some(&(channel, _)) = self.uploads.waiting.first() else {
            return;
        };
        if !matches!(self.uploads.stage, Stage::Idle) {
            return;
        }
        let brought = self.uploads.ticket.take_if(|(other, ..)| *other == channel);
        if let Some((_, ticket, until)) = brought
            && now < until
        {
            self.upload(&ticket, now);
            return;
        }
        let request = UploadRequest {
            serial: self.config.serial.clone(),
            channel,
        };
        let cseq = self.next_cseq();
        self.send(&request.to_envelope(cseq));
        let until = now + ANSWER;
        self.uploads.stage = Stage::Asked { cseq, until };
    }

    /// The first that waits goes with this ticket.
    fn upload(&mut self, ticket: &UploadTicket, now: Instant) {
        let Some(address) = self.dial.address().cloned() else {
            return;
        };
        let Some((channel, jpeg)) = self.uploads.next() else {
            return;
        };
        let upload = Upload::new(channel, address, ticket, jpeg.clone());
        self.events
            .push_back(ControlEvent::Upload(Box::new(upload)));
        let until = now + UPLOAD;
        self.uploads.stage = Stage::Running {
            channel,
            jpeg,
            until,
        };
    }

    /// In a message of the control connection.
    fn post(&mut self, channel: u32, jpeg: &[u8], now: Instant) -> bool {
        if self.output_len > MAX_PICTURES {
            return false;
        }
        let mut image = String::new();
        base64::encode(jpeg, &mut image);
        let mut snapshot = Snapshot::jpeg(self.config.serial.as_str(), channel, image);
        if let Some(wall) = self.wall_clock(now) {
            let at = Civil::of(wall);
            snapshot.time = (at.date() + &at.time()).replace(['-', ':'], "");
        }
        let cseq = self.next_cseq();
        let bytes = snapshot.to_envelope(cseq).to_request(crate::USER_AGENT);
        self.output_len += bytes.len();
        self.pictures.push_back(bytes);
        true
    }
}
