use crate::rtsp::uri::Target;
use crate::rtsp::{RequestUri, Status, Transport, TransportAnswer, TransportOffer};

use super::SessionRole;

/// The stream for which a request of this connection was answered with success.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) uri: RequestUri,
    pub(super) role: SessionRole,
    /// Control attributes that the publisher declared.
    pub(super) controls: Vec<Option<String>>,
    /// Number of tracks, where known.
    pub(super) tracks: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) streaming: bool,
    pub(super) tracks: Vec<SessionTrack>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SessionTrack {
    pub(super) track: usize,
    pub(super) transport: TransportAnswer,
}

impl Bound {
    pub(super) fn resolve(&self, uri: &RequestUri) -> Option<Target> {
        uri.resolve(&self.uri, &self.controls)
    }

    /// The track that a SETUP names; `None` where only the caller can tell.
    pub(super) fn setup_track(&self, uri: &RequestUri) -> Result<Option<usize>, Status> {
        match (self.resolve(uri), self.tracks) {
            (None, _) => Err(Status::NOT_FOUND),
            (Some(Target::Track(track)), Some(tracks)) if track >= tracks => Err(Status::NOT_FOUND),
            (Some(Target::Track(track)), _) => Ok(Some(track)),
            (Some(Target::Stream), Some(1)) => Ok(Some(0)),
            (Some(Target::Stream), Some(_)) => Err(Status::AGGREGATE_NOT_ALLOWED),
            (Some(Target::Stream), None) => Ok(None),
        }
    }
}

impl Session {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            streaming: false,
            tracks: Vec::new(),
        }
    }

    /// Whether a request that works on the whole session may carry this URI.
    pub(super) fn check_aggregate(&self, bound: &Bound, uri: &RequestUri) -> Result<(), Status> {
        if uri.raw() == "*" {
            return Ok(());
        }
        match bound.resolve(uri) {
            None => Err(Status::NOT_FOUND),
            Some(Target::Stream) => Ok(()),
            Some(Target::Track(track)) => match self.tracks.as_slice() {
                [only] if only.track == track => Ok(()),
                _ => Err(Status::ONLY_AGGREGATE),
            },
        }
    }

    /// The track of an interleaved channel and whether it is RTCP's.
    pub(super) fn channel(&self, channel: u8) -> Option<(usize, bool)> {
        self.tracks
            .iter()
            .find_map(|set_up| match set_up.transport {
                TransportAnswer::Tcp { rtp, .. } if rtp == channel => Some((set_up.track, false)),
                TransportAnswer::Tcp { rtcp, .. } if rtcp == channel => Some((set_up.track, true)),
                _ => None,
            })
    }
}

/// What of the client's wishes can be had, given what the session already uses.
/// `others` is set when an offer gets other channels than it asked for.
pub(super) fn usable_offers(
    asked: &[Transport],
    taken: &[SessionTrack],
    others: &mut bool,
) -> Vec<TransportOffer> {
    let tcp_only = taken
        .iter()
        .any(|t| matches!(t.transport, TransportAnswer::Tcp { .. }));
    let udp_only = taken
        .iter()
        .any(|t| matches!(t.transport, TransportAnswer::Udp { .. }));
    asked
        .iter()
        .filter(|transport| !transport.multicast)
        .filter_map(|transport| {
            if transport.tcp {
                let (rtp, rtcp) = free_channels(transport.interleaved, taken)?;
                let offer = (!udp_only).then_some(TransportOffer::Tcp { rtp, rtcp })?;
                *others |= transport.interleaved.is_some_and(|c| c != (rtp, rtcp));
                Some(offer)
            } else {
                let (rtp, rtcp) = transport.client_port?;
                (!tcp_only).then_some(TransportOffer::Udp { rtp, rtcp })
            }
        })
        .collect()
}

/// The asked channels, else the lowest free even pair.
fn free_channels(asked: Option<(u8, u8)>, taken: &[SessionTrack]) -> Option<(u8, u8)> {
    let is_free = |&(a, b): &(u8, u8)| {
        a != b
            && taken.iter().all(|set_up| match set_up.transport {
                TransportAnswer::Tcp { rtp, rtcp } => {
                    ![rtp, rtcp].iter().any(|c| *c == a || *c == b)
                }
                TransportAnswer::Udp { .. } => true,
            })
    };
    asked
        .filter(is_free)
        .or_else(|| (0..=127).map(|i| (i * 2, i * 2 + 1)).find(is_free))
}
