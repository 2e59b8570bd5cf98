use thiserror::Error;

/// A request URI, taken apart: stream, query, track.
///
/// Players put `trackID=N` behind the path or behind the query and slashes anywhere; all of that
/// is gone from [`path`](Self::path) and [`query`](Self::query).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestUri {
    raw: String,
    scheme: String,
    authority: String,
    path: String,
    query: Option<String>,
    track: Option<usize>,
}

/// Why a text is no request URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// Nothing there.
    #[error("the request URI is empty")]
    Empty,
    /// A blank or control character.
    #[error("the request URI holds a blank or control character")]
    Forbidden,
}

impl RequestUri {
    /// Takes a request URI apart. `authority` (host and port) stands in when the client sent only
    /// a path.
    ///
    /// # Errors
    /// [`UriError`] for what cannot be echoed to the client.
    pub fn parse(raw: &str, authority: &str) -> Result<Self, UriError> {
        let _ = (raw, authority);
        todo!()
    }

    /// As the client sent it.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The stream's path: percent-decoded, without track, without slashes at either end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query without track, as the client wrote it.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Path and query, as `StreamPath::parse` takes them.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The track that the URI names by one of the usual forms (`trackID=N`, `streamid=N`,
    /// `stream=N`).
    pub fn track(&self) -> Option<usize> {
        self.track
    }

    /// The value of `token=` in the query.
    pub fn token(&self) -> Option<&str> {
        self.query
            .as_deref()?
            .split('&')
            .find_map(|pair| pair.strip_prefix("token="))
    }

    /// The absolute control URL of a track, for `a=control` and `RTP-Info`: the only form that
    /// all players send back with path and query intact.
    pub fn track_control(&self, track: usize) -> String {
        let _ = track;
        todo!()
    }

    /// The `Content-Base` of a DESCRIBE answer, also the URL of the whole presentation.
    pub fn content_base(&self) -> String {
        let _ = (&self.scheme, &self.authority);
        todo!()
    }
}
