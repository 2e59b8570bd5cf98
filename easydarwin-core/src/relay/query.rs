use std::time::Duration;

use thiserror::Error;

#[cfg(feature = "http")]
use super::TapOptions;
use super::{ReaderOptions, RelayConfig, Start, StartError};

/// Least lateness that a URL may ask for: below some pictures every wait would be a skip.
const LEAST_MAX_LAG: Duration = Duration::from_millis(200);

/// What the query of a URL asks for its reader: `start=key|live`, `max-lag=800ms`,
/// `audio=keep|skip`. What it does not ask for is as the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asked {
    start: Option<Start>,
    max_lag: Option<Duration>,
    keep_audio: Option<bool>,
}

/// A query that asks for what there is not. Refused, because whoever asked for it would wonder
/// why he does not get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum QueryError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("unknown max-lag: write for example max-lag=500ms or max-lag=2s")]
    MaxLag,
    #[error(
        "unknown audio: write audio=keep (sound goes on while pictures are skipped) or audio=skip"
    )]
    Audio,
}

impl Asked {
    pub(crate) fn in_query(query: Option<&str>) -> Result<Self, QueryError> {
        let value = |key: &str| {
            let mut pairs = query.into_iter().flat_map(|query| query.split('&'));
            pairs.find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        };
        Ok(Self {
            start: value("start").map(str::parse).transpose()?,
            max_lag: value("max-lag").map(span).transpose()?,
            keep_audio: match value("audio") {
                None => None,
                Some("keep") => Some(true),
                Some("skip") => Some(false),
                Some(_) => return Err(QueryError::Audio),
            },
        })
    }

    /// Takes from `before` what is not asked here.
    #[must_use]
    pub(crate) fn or(self, before: Self) -> Self {
        Self {
            start: self.start.or(before.start),
            max_lag: self.max_lag.or(before.max_lag),
            keep_audio: self.keep_audio.or(before.keep_audio),
        }
    }

    pub(crate) fn reader(self, options: &mut ReaderOptions, config: &RelayConfig) {
        options.start = self.start.unwrap_or(config.start);
        options.max_lag = self.max_lag(config);
        options.keep_audio = self.keep_audio.unwrap_or(options.keep_audio);
    }

    #[cfg(feature = "http")]
    pub(crate) fn tap(self, options: &mut TapOptions, config: &RelayConfig) {
        options.start = self.start.unwrap_or(config.start);
        options.max_lag = self.max_lag(config);
        options.keep_audio = self.keep_audio.unwrap_or(options.keep_audio);
    }

    /// Later than the server allows nobody may be: it costs the server's memory.
    fn max_lag(self, config: &RelayConfig) -> Option<Duration> {
        let asked = self.max_lag?.max(LEAST_MAX_LAG);
        Some(asked.min(config.max_lag))
    }
}

fn span(text: &str) -> Result<Duration, QueryError> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or(QueryError::MaxLag)?, 1_000),
    };
    let number: u64 = number.parse().map_err(|_| QueryError::MaxLag)?;
    Ok(Duration::from_millis(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let none = Asked::default();
        let all = Asked {
            start: Some(Start::Live),
            max_lag: Some(Duration::from_millis(800)),
            keep_audio: Some(true),
        };
        for (query, asked) in [
            (None, Ok(none)),
            (Some("token=x"), Ok(none)),
            (Some("restart=x&my-audio=y"), Ok(none)),
            (
                Some("a=b&start=live&max-lag=800ms&audio=keep&token=x"),
                Ok(all),
            ),
            (Some("start="), Err(QueryError::Start(StartError))),
            (Some("start=Live"), Err(QueryError::Start(StartError))),
            (Some("audio"), Ok(none)),
            (Some("audio=yes"), Err(QueryError::Audio)),
            (Some("max-lag=800"), Err(QueryError::MaxLag)),
            (Some("max-lag=-1s"), Err(QueryError::MaxLag)),
        ] {
            assert_eq!(Asked::in_query(query), asked, "{query:?}");
        }
        let key = Asked::in_query(Some("start=key")).unwrap();
        assert_eq!(key.or(all).start, Some(Start::Key));
        assert_eq!(key.or(all).max_lag, all.max_lag);
    }

    #[test]
    fn nobody_asks_for_more_than_the_server_allows() {
        let config = RelayConfig {
            max_lag: Duration::from_secs(3),
            start: Start::Live,
            ..RelayConfig::default()
        };
        for (query, max_lag) in [
            ("", None),
            ("max-lag=2s", Some(2_000)),
            ("max-lag=90s", Some(3_000)),
            ("max-lag=99999999999999999999s", None),
            ("max-lag=9999999999999999999s", Some(3_000)),
            ("max-lag=0s", Some(200)),
        ] {
            let mut options = ReaderOptions::new("test");
            let Ok(asked) = Asked::in_query(Some(query)) else {
                assert_eq!(max_lag, None, "{query}");
                continue;
            };
            asked.reader(&mut options, &config);
            assert_eq!(
                options.max_lag,
                max_lag.map(Duration::from_millis),
                "{query}"
            );
            assert_eq!((options.start, options.keep_audio), (Start::Live, false));
        }
    }
}
