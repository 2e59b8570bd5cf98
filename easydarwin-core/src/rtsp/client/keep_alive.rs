use serde::{Deserialize, Serialize};

use crate::rtsp::Method;

/// How a client keeps its session alive: a ladder from the request that RFC 2326 names (10.8)
/// down to what every server has to understand.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum KeepAlive {
    /// GET_PARAMETER without body.
    #[default]
    GetParameter,
    /// OPTIONS.
    Options,
    /// No request at all: receiver reports alone (RFC 2326, A.2 lets them count).
    Rtcp,
}

impl KeepAlive {
    /// The rung below; the last one stays.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::GetParameter => Self::Options,
            Self::Options | Self::Rtcp => Self::Rtcp,
        }
    }

    /// The request, if one is sent.
    pub fn method(self) -> Option<Method> {
        match self {
            Self::GetParameter => Some(Method::GetParameter),
            Self::Options => Some(Method::Options),
            Self::Rtcp => None,
        }
    }
}
