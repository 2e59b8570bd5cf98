//! One connection to another server: announced, recorded, fed by the relay.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{ForwardConfig, ForwardMode, ForwardSpec};
use crate::client::{ClientError, ClientOptions, Handover, Publisher};
use crate::pull::Failure;
use crate::relay::{ReaderEnd, ReaderHandle, ReaderInfo, ReaderOptions, Stream, TrackChannels};
use crate::rtsp::Method;

/// How long is waited for parameter sets that the stream's description lacks.
const PARAMETER_SETS_PATIENCE: Duration = Duration::from_secs(1);

/// Where the counters of the running reader are seen.
pub(super) type Seen = Arc<Mutex<Option<ReaderHandle>>>;

/// Connects and pushes until it ends; `recording` is called when the server takes media.
pub(super) async fn push(
    stream: Stream,
    spec: ForwardSpec,
    config: ForwardConfig,
    seen: Seen,
    stop: CancellationToken,
    recording: impl FnOnce() + Send,
) -> Failure {
    let connecting = async {
        if !stream.has_parameter_sets() {
            // Without them many servers take it all the same: they come in the stream.
            let _ = tokio::time::timeout(PARAMETER_SETS_PATIENCE, stream.parameter_sets()).await;
        }
        let options = ClientOptions {
            login: spec.login(),
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            stall_timeout: config.stall_timeout,
            redirects: config.redirects,
            plain_basic: spec.plain_basic,
            #[cfg(feature = "tls")]
            tls: config.tls.clone(),
            ..ClientOptions::default()
        };
        let description = stream.description().as_ref().clone();
        Publisher::connect(spec.url.expose(), description, options).await
    };
    let publisher = tokio::select! {
        connected = connecting => connected,
        () = stop.cancelled() => return Failure::Stopped,
    };
    let mut handover = match publisher.map(Publisher::hand_over) {
        Ok(Some(handover)) => handover,
        Ok(None) => return Failure::BadAnswer("it takes media by datagram only".to_owned()),
        Err(error) => return failure_of(&error),
    };
    recording();
    let mut options = ReaderOptions::new(format!("forward to {}", spec.url));
    options.viewer = spec.mode == ForwardMode::Permanent;
    options.stall_timeout = Some(config.stall_timeout);
    let channels = handover.channels().iter().enumerate();
    let channels = channels.map(|(track, (rtp, rtcp))| TrackChannels {
        track,
        rtp: *rtp,
        rtcp: *rtcp,
    });
    options.tracks = Some(channels.collect());
    let handle = stream.prepare(options).start(handover.sink());
    let ended = handle.ended();
    *seen.lock() = Some(handle);
    let failure = run(&mut handover, &seen, ended, &stop).await;
    let handle = seen.lock().take();
    if let Some(handle) = handle {
        leave(handover, handle).await;
    }
    failure
}

/// Keep-alives between the media, until something ends.
async fn run(
    handover: &mut Handover,
    seen: &Seen,
    ended: impl Future<Output = ReaderEnd>,
    stop: &CancellationToken,
) -> Failure {
    tokio::pin!(ended);
    loop {
        tokio::select! {
            unsent = handover.next() => match unsent {
                Ok(bytes) => {
                    let taken = seen.lock().as_ref().map(|handle| handle.control(bytes));
                    if !matches!(taken, Some(Ok(()))) {
                        return Failure::Closed;
                    }
                }
                Err(error) => return failure_of(&error),
            },
            end = &mut ended => return match end {
                ReaderEnd::Stream(_) => Failure::Stopped,
                ReaderEnd::Stalled(seconds) => Failure::Stalled(Duration::from_secs(seconds)),
                _ => Failure::Closed,
            },
            () = stop.cancelled() => return Failure::Stopped,
        }
    }
}

/// The rest of a packet that was begun, and TEARDOWN: an orderly end.
async fn leave(handover: Handover, handle: ReaderHandle) {
    let stopped = handle.stop().await;
    if let Err(error) = handover.close(&stopped.pending).await {
        tracing::debug!(%error, "TEARDOWN of a forward not delivered");
    }
}

fn failure_of(error: &ClientError) -> Failure {
    match error {
        ClientError::Refused {
            method,
            status,
            reason,
        } => Failure::refused(method.clone(), *status, reason.clone()),
        ClientError::NoAnswer { method, after } => Failure::NoAnswer {
            method: method.clone(),
            after: *after,
        },
        ClientError::Login { error, .. } => Failure::Login(*error),
        ClientError::Redirect(error) => Failure::Redirect(*error),
        ClientError::Protocol(error) => Failure::Protocol(*error),
        ClientError::Stalled { after } => Failure::Stalled(*after),
        ClientError::Closed => Failure::Closed,
        ClientError::Resolve { .. }
        | ClientError::Connect { .. }
        | ClientError::ConnectTimeout { .. }
        | ClientError::Io(_) => Failure::Unreachable(crate::pull::in_words(error)),
        error => Failure::BadAnswer(error.to_string()),
    }
}

/// A stream that cannot be had.
pub(super) fn not_had(error: &crate::server::DemandError) -> Failure {
    match error {
        crate::server::DemandError::NotFound => Failure::NotFound,
        error => Failure::Refused {
            method: Method::Describe,
            status: crate::rtsp::Status::UNAVAILABLE,
            reason: error.to_string(),
        },
    }
}

/// Counters of the reader that runs now.
pub(super) fn reader_info(seen: &Seen) -> Option<ReaderInfo> {
    seen.lock().as_ref().map(ReaderHandle::info)
}
