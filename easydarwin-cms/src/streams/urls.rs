//! Where a live stream can be played.

use easydarwin_core::protocol::StreamRef;
use easydarwin_core::registry::{StreamPath, TokenAction};

use crate::nodes::{Asker, Reach, reach};
use crate::state::State;

/// In which way a client wants to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlayProtocol {
    Rtsp,
    Rtsps,
    Hls,
    WebSocket,
    Fmp4,
    Poster,
}

impl PlayProtocol {
    pub(crate) const ALL: [Self; 6] = [
        Self::Rtsp,
        Self::Rtsps,
        Self::Hls,
        Self::WebSocket,
        Self::Fmp4,
        Self::Poster,
    ];

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "RTSP" => Some(Self::Rtsp),
            "RTSPS" => Some(Self::Rtsps),
            "HLS" => Some(Self::Hls),
            "WS" | "WEBSOCKET" => Some(Self::WebSocket),
            "FMP4" | "MP4" => Some(Self::Fmp4),
            "POSTER" => Some(Self::Poster),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Rtsp => "RTSP",
            Self::Rtsps => "RTSPS",
            Self::Hls => "HLS",
            Self::WebSocket => "WS",
            Self::Fmp4 => "FMP4",
            Self::Poster => "POSTER",
        }
    }
}

/// URLs of a stream at a node, for one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlayUrl {
    pub(crate) url: String,
    /// The page's player, which the node serves.
    pub(crate) player: Option<String>,
    /// The last key frame as a picture.
    pub(crate) poster: Option<String>,
}

/// The signed URL of a stream for this subject; `None` when the node does not serve this protocol.
pub(crate) async fn play_url(
    state: &State,
    stream: &StreamRef,
    node: &str,
    protocol: PlayProtocol,
    asker: Asker,
    who: &str,
) -> Option<PlayUrl> {
    let path = StreamPath::device(&stream.serial, stream.channel).ok()?;
    let reach = node_reach(state, node, asker).await?;
    // An HLS player shows its token with every request.
    let ttl = match protocol {
        PlayProtocol::Hls => state.config.long_token_ttl,
        _ => state.config.token_ttl,
    };
    let claims = state.claims(path, TokenAction::Play, who, ttl);
    let token = state.signer.sign(&claims);
    let web = reach.http_authority();
    let file = |scheme: &str, name: &str| {
        let authority = web.as_deref()?;
        Some(format!("{scheme}://{authority}/t/{token}/{stream}/{name}"))
    };
    let url = match protocol {
        PlayProtocol::Rtsp => Some(format!(
            "rtsp://{}/{stream}?token={token}",
            reach.rtsp_authority()
        )),
        PlayProtocol::Rtsps => reach
            .rtsps_authority()
            .map(|authority| format!("rtsps://{authority}/{stream}?token={token}")),
        PlayProtocol::Hls => file("http", "index.m3u8"),
        PlayProtocol::WebSocket => file("ws", "live.ws"),
        PlayProtocol::Fmp4 => file("http", "live.mp4"),
        PlayProtocol::Poster => file("http", "poster.mp4"),
    }?;
    Some(PlayUrl {
        url,
        player: web
            .as_deref()
            .map(|host| format!("http://{host}/player.js")),
        poster: file("http", "poster.mp4"),
    })
}

async fn node_reach(state: &State, node: &str, asker: Asker) -> Option<Reach> {
    let link = state.nodes.get(node)?;
    let nodes = state.directory.nodes().await.ok()?;
    let status = nodes.iter().find(|status| status.info.id == node)?;
    reach(&status.info.endpoints, link.link.peer.ip(), asker)
}
