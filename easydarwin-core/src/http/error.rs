use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;

use super::hls::HlsError;
use crate::forward::ForwardError;
use crate::pull::PullError;
use crate::registry::{Denied, PathError};
use crate::relay::{CloseError, QueryError};
use crate::server::DemandError;

/// Why a request is not served; becomes a status and a JSON body that says so.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    #[error("nothing is served under this path")]
    NoRoute,
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(
        "pages of {0} may not use streams here without a token; allow the origin in the settings, or use a URL with a token"
    )]
    ForeignOrigin(String),
    #[error("the API needs `Authorization: Bearer` with a token that this node was given")]
    ApiUnauthorized,
    #[error("no such stream")]
    NoStream,
    #[error("the stream did not become ready in time")]
    NotReady,
    #[error(transparent)]
    Demand(#[from] DemandError),
    #[error(transparent)]
    Hls(#[from] HlsError),
    #[error("this node has its greatest number of HTTP viewers; try again later")]
    TooManyViewers,
    #[error("the segment is no longer kept, or does not exist yet")]
    NoSegment,
    #[error("the stream has no track that MP4 can carry ({0})")]
    NoTracks(String),
    #[error("the stream has no key frame that could be a poster")]
    NoPoster,
    #[error("this path is a WebSocket; connect with `Upgrade: websocket`")]
    NoUpgrade,
    #[error("there is no source under this path")]
    NoSource,
    #[error("this node has neither sources nor forwards")]
    NoSources,
    #[error("the body cannot be used: {0}")]
    Body(String),
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error(transparent)]
    Close(#[from] CloseError),
    #[error("MP4 cannot be written: {0}")]
    Mp4(#[from] super::fmp4::boxes::BoxError),
}

impl HttpError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute
            | Self::NoStream
            | Self::NoSegment
            | Self::NoSource
            | Self::NoSources
            | Self::Pull(PullError::NotFound(_))
            | Self::Forward(ForwardError::NotFound(_))
            | Self::Demand(DemandError::NotFound)
            | Self::Close(CloseError::NotFound) => StatusCode::NOT_FOUND,
            Self::Path(_) | Self::Query(_) | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::Pull(PullError::Exists(_)) | Self::Forward(ForwardError::Exists(_)) => {
                StatusCode::CONFLICT
            }
            Self::Pull(PullError::Store(_)) | Self::Forward(ForwardError::Store(_)) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Denied(Denied::Unauthorized | Denied::Stale) | Self::ApiUnauthorized => {
                StatusCode::UNAUTHORIZED
            }
            Self::Denied(Denied::Throttled) => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied(Denied::Forbidden) | Self::ForeignOrigin(_) => StatusCode::FORBIDDEN,
            Self::NotReady | Self::NoPoster | Self::Demand(DemandError::Failed(_)) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::NoTracks(_) | Self::Hls(HlsError::NoTracks(_)) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::NoUpgrade => StatusCode::UPGRADE_REQUIRED,
            // Players over HTTP cannot be sent to an RTSP URL.
            Self::Demand(DemandError::Redirect(_)) => StatusCode::MISDIRECTED_REQUEST,
            Self::Close(_) => StatusCode::CONFLICT,
            Self::Mp4(_) => StatusCode::INTERNAL_SERVER_ERROR,
            // Later variants of other rooms' errors mean "not now" until they are told apart.
            Self::Pull(_)
            | Self::Forward(_)
            | Self::TooManyViewers
            | Self::Denied(_)
            | Self::Demand(_)
            | Self::Hls(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = json!({ "error": { "status": status.as_u16(), "message": self.to_string() } });
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}
