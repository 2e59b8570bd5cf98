//! The one place where errors of other rooms become RTSP statuses.

use crate::media::sdp::SdpError;
use crate::registry::PathError;
use crate::relay::PublishError;
use crate::rtsp::{Reply, Status};
use crate::server::{DemandError, LookupError};

pub(super) fn bad_path(error: PathError) -> Reply {
    Reply::error_with(Status::BAD_REQUEST, error.to_string())
}

pub(super) fn not_found(error: &LookupError) -> Reply {
    match error {
        LookupError::Demand(DemandError::NotFound) => Reply::error(Status::NOT_FOUND),
        LookupError::Demand(DemandError::Redirect(url)) => Reply::Redirect {
            location: url.expose().to_owned(),
        },
        LookupError::Demand(DemandError::Unavailable(_)) => {
            Reply::error_with(Status::UNAVAILABLE, error.to_string())
        }
        LookupError::Demand(DemandError::Failed(_)) | LookupError::TimedOut(_) => {
            Reply::error_with(Status::GATEWAY_TIMEOUT, error.to_string())
        }
    }
}

pub(super) fn bad_sdp(error: &SdpError) -> Reply {
    let status = match error {
        SdpError::TooLong(_) => Status::ENTITY_TOO_LARGE,
        SdpError::NoTracks
        | SdpError::TooManyTracks(_)
        | SdpError::Syntax(_)
        | SdpError::Faulty { .. } => Status::BAD_REQUEST,
    };
    Reply::error_with(status, error.to_string())
}

pub(super) fn not_published(error: &PublishError) -> Reply {
    let status = match error {
        PublishError::Busy(_) | PublishError::TooManyTracks(_) => Status::NOT_ACCEPTABLE,
        PublishError::Stale { .. } => Status::FORBIDDEN,
        PublishError::NoTracks | PublishError::NoClockRate(_) => Status::BAD_REQUEST,
        PublishError::TooManyStreams => Status::NOT_ENOUGH_BANDWIDTH,
    };
    Reply::error_with(status, error.to_string())
}
