use std::sync::Arc;
use std::time::Duration;

/// Limits and settings of the HTTP side; every one has a default that suits a small node.
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Bearer tokens that open `/api/v1/…`; empty (the default) closes it to everybody.
    pub api_tokens: Vec<Arc<str>>,
    /// Web origins (`https://cms.example`) whose pages may use streams without a token and the
    /// API; pages on the node's own host name are always allowed. See [`super`].
    pub allowed_origins: Vec<String>,
    /// Length that an HLS segment should have; it ends at the first key frame after that.
    pub hls_segment: Duration,
    /// Segments listed in a playlist.
    pub hls_window: usize,
    /// Most bytes of segments kept for one stream, listed or not; oldest go first.
    pub hls_max_bytes: usize,
    /// Most streams that are cut into segments at one time; above it clients get 503.
    pub hls_max_streams: usize,
    /// How long a playlist request waits for a stream's first segment.
    pub hls_start_timeout: Duration,
    /// How long a request waits for a stream that has to be started first.
    pub start_timeout: Duration,
    /// How long one message may take to be taken by a client before the connection is closed.
    pub write_timeout: Duration,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// Most open connections of [`serve`](super::serve); further ones wait to be accepted.
    pub max_connections: usize,
    /// Most endless answers (`live.ws`, `live.mp4`) at one time; above it clients get 503.
    pub max_viewers: usize,
    /// Port of the RTSP server in the URLs that `getrtsplivesessions` lists; `None`: the default
    /// port of the scheme.
    pub rtsp_port: Option<u16>,
    /// What `getserverinfo` calls this server.
    pub server_name: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            api_tokens: Vec::new(),
            allowed_origins: Vec::new(),
            hls_segment: Duration::from_secs(2),
            hls_window: 6,
            hls_max_bytes: 64 << 20,
            hls_max_streams: 64,
            hls_start_timeout: Duration::from_secs(15),
            start_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            max_connections: 4096,
            max_viewers: 4096,
            rtsp_port: None,
            server_name: concat!("EasyDarwin/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl std::fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpConfig")
            .field("api_tokens", &self.api_tokens.len())
            .field("allowed_origins", &self.allowed_origins)
            .field("hls_segment", &self.hls_segment)
            .field("hls_window", &self.hls_window)
            .field("hls_max_bytes", &self.hls_max_bytes)
            .field("hls_max_streams", &self.hls_max_streams)
            .field("hls_start_timeout", &self.hls_start_timeout)
            .field("start_timeout", &self.start_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("head_timeout", &self.head_timeout)
            .field("max_connections", &self.max_connections)
            .field("max_viewers", &self.max_viewers)
            .field("rtsp_port", &self.rtsp_port)
            .field("server_name", &self.server_name)
            .finish()
    }
}
