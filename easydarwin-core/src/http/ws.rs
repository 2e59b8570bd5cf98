use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use serde_json::json;

use super::error::HttpError;
use super::feed::{Feed, FeedEvent};
use super::fmp4::Init;
use super::state::Shared;
use crate::registry::Permit;
use crate::relay::{Asked, Stream};

/// Players send nothing; what they may send is only read to be thrown away.
const MAX_CLIENT_MESSAGE: usize = 4 << 10;
/// Outgoing bytes that may wait inside the WebSocket before a write waits for the socket.
const MAX_WRITE_BUFFER: usize = 8 << 20;
/// A ping at this interval finds out about peers that vanished while the stream is silent.
const PING: Duration = Duration::from_secs(20);
/// How long a client may take to be told that its right was taken back.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Answers the upgrade and feeds the socket until one side goes.
pub(crate) fn upgrade(
    shared: &Shared,
    upgrade: WebSocketUpgrade,
    stream: &Stream,
    peer: std::net::SocketAddr,
    asked: Asked,
    permit: Permit,
) -> Result<Response, HttpError> {
    let feed = Feed::new(shared, stream, &format!("ws {peer}"), asked)?;
    let write_timeout = shared.config.write_timeout;
    let path = stream.path().clone();
    Ok(upgrade
        .max_message_size(MAX_CLIENT_MESSAGE)
        .max_frame_size(MAX_CLIENT_MESSAGE)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .on_upgrade(move |socket| async move {
            let end = Session {
                socket,
                feed,
                write_timeout,
            }
            .run(permit)
            .await;
            tracing::debug!(%path, %peer, ?end, "WebSocket viewer left");
        }))
}

/// Why a session ended, for the log.
#[derive(Debug)]
enum End {
    Stream,
    Client,
    TooSlow,
    Mp4,
    Revoked,
}

struct Session {
    socket: WebSocket,
    feed: Feed,
    write_timeout: Duration,
}

impl Session {
    async fn run(mut self, permit: Permit) -> End {
        let end = tokio::select! {
            end = self.serve() => end,
            // Also while a client takes nothing.
            () = permit.revoked() => End::Revoked,
        };
        match end {
            End::TooSlow => self.feed.stalled(self.write_timeout),
            End::Revoked => {
                // It is no viewer any more while it is told so.
                drop(self.feed);
                let frame = close_frame(close_code::POLICY, "the right to watch was taken back");
                let _ = tokio::time::timeout(LAST_WORD, self.socket.send(frame)).await;
            }
            _ => {}
        }
        end
    }

    async fn serve(&mut self) -> End {
        let mut ping = tokio::time::interval(PING);
        ping.reset();
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let messages = tokio::select! {
                event = self.feed.next() => match event {
                    Ok(FeedEvent::Init(init)) => self.describe(&init),
                    Ok(FeedEvent::Fragment(bytes)) => vec![Message::Binary(bytes)],
                    Ok(FeedEvent::End(reason)) => {
                        let text = reason.to_string();
                        return self.close(close_code::AWAY, &text, End::Stream).await;
                    }
                    Err(error) => {
                        let text = error.to_string();
                        return self.close(close_code::ERROR, &text, End::Mp4).await;
                    }
                },
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Client,
                    Some(Ok(_)) => continue,
                },
                _ = ping.tick() => vec![Message::Ping(bytes::Bytes::new())],
            };
            for message in messages {
                if let Err(end) = self.send(message).await {
                    return end;
                }
            }
        }
    }

    /// The JSON that precedes each init segment: all that a page needs to make a `SourceBuffer`.
    fn describe(&self, init: &Arc<Init>) -> Vec<Message> {
        let (width, height) = init.dimensions.unzip();
        let text = json!({
            "type": "init",
            "mime": init.mime(),
            "codecs": init.codecs,
            "width": width,
            "height": height,
            "left_out": self.feed.left_out(),
        });
        vec![
            Message::Text(text.to_string().into()),
            Message::Binary(init.bytes.clone()),
        ]
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match tokio::time::timeout(self.write_timeout, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Client),
            Err(_) => Err(End::TooSlow),
        }
    }

    /// Says why, then ends.
    async fn close(&mut self, code: u16, reason: &str, end: End) -> End {
        match self.send(close_frame(code, reason)).await {
            Ok(()) => end,
            Err(end) => end,
        }
    }
}

/// A control frame holds 123 bytes of text (RFC 6455, 5.5).
fn close_frame(code: u16, reason: &str) -> Message {
    let mut reason = reason.to_owned();
    while reason.len() > 123 {
        reason.pop();
    }
    let reason = Utf8Bytes::from(reason);
    Message::Close(Some(CloseFrame { code, reason }))
}
