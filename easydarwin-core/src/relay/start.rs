use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where a reader starts. As text `key` or `live`, as in the query `?start=live` of all URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the last key frame: a picture at once, up to a picture group behind.
    #[default]
    Key,
    /// At the next key frame: no delay, no picture until then.
    Live,
}

/// A text that names no [`Start`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "unknown start: write start=key (a picture at once) or start=live (no delay, picture at the next key frame)"
)]
pub struct StartError;

impl FromStr for Start {
    type Err = StartError;

    fn from_str(text: &str) -> Result<Self, StartError> {
        match text {
            "key" => Ok(Self::Key),
            "live" => Ok(Self::Live),
            _ => Err(StartError),
        }
    }
}
