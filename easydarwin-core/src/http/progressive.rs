use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::mpsc::{self, error::SendTimeoutError};

use super::error::HttpError;
use super::feed::{Feed, FeedEvent};
use super::fmp4::poster;
use super::state::Shared;
use crate::media::MediaKind;
use crate::registry::Permit;
use crate::relay::{Asked, Stream, TapEvent, TapOptions};

/// Fragments between the feed and a client that is about to take them.
const QUEUE: usize = 4;

/// An endless MP4. Ends with the stream, with the right to it, when the client takes nothing for
/// `write_timeout`, and when the stream's parameters change (a plain file cannot change them).
pub(crate) fn live(
    shared: &Shared,
    stream: &Stream,
    peer: std::net::SocketAddr,
    asked: Asked,
    permit: Permit,
) -> Result<Response, HttpError> {
    let write_timeout = shared.config.write_timeout;
    let feed = Feed::new(shared, stream, &format!("mp4 {peer}"), asked)?;
    let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = serve(feed, sender, write_timeout) => {}
            // Also while a client takes nothing.
            () = permit.revoked() => {}
        }
    });
    let body = futures::stream::poll_fn(move |cx| {
        receiver
            .poll_recv(cx)
            .map(|bytes| bytes.map(Ok::<_, std::convert::Infallible>))
    });
    Ok(mp4(Body::from_stream(body)))
}

async fn serve(mut feed: Feed, sender: mpsc::Sender<Bytes>, write_timeout: Duration) {
    let mut has_init = false;
    loop {
        let event = tokio::select! {
            event = feed.next() => event,
            () = sender.closed() => return,
        };
        let bytes = match event {
            Ok(FeedEvent::Init(init)) if !has_init => {
                has_init = true;
                init.bytes.clone()
            }
            Ok(FeedEvent::Fragment(bytes)) => bytes,
            Ok(FeedEvent::Init(_) | FeedEvent::End(_)) | Err(_) => return,
        };
        match sender.send_timeout(bytes, write_timeout).await {
            Ok(()) => {}
            Err(SendTimeoutError::Timeout(_)) => return feed.stalled(write_timeout),
            Err(SendTimeoutError::Closed(_)) => return,
        }
    }
}

/// The last key frame as a one-picture MP4; waits up to `patience` for one.
pub(crate) async fn last_picture(
    stream: &Stream,
    patience: Duration,
) -> Result<Response, HttpError> {
    let description = stream.description();
    let mut video = description
        .tracks
        .iter()
        .enumerate()
        .filter(|(_, track)| track.kind == MediaKind::Video);
    let (index, _) = video.next().ok_or(HttpError::NoPoster)?;
    let mut options = TapOptions::new("poster");
    options.viewer = false;
    options.tracks = Some(vec![index]);
    let mut tap = stream.tap(options);
    let search = async {
        let mut description = description;
        loop {
            match tap.recv().await? {
                TapEvent::Unit(unit) if unit.key && !unit.lossy => {
                    let track = description.tracks.get(index)?;
                    match poster(track, &unit) {
                        Ok(None) => {}
                        Ok(Some(bytes)) => return Some(Ok(bytes)),
                        Err(error) => return Some(Err(error)),
                    }
                }
                TapEvent::ParamsChanged(new) => description = new,
                TapEvent::End(_) => return None,
                _ => {}
            }
        }
    };
    let bytes = tokio::time::timeout(patience, search)
        .await
        .ok()
        .flatten()
        .ok_or(HttpError::NoPoster)??;
    Ok(mp4(bytes.into()))
}

fn mp4(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "video/mp4"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}
