//! The end of a stream that nobody watches.

use easydarwin_core::protocol::node::Close;
use easydarwin_core::protocol::{ErrorNum, StopRequest, StreamRef};
use easydarwin_core::registry::StreamPath;

use crate::state::State;

/// Asks the node to close the stream if nobody watches there, then the device to stop. The node
/// decides: it alone counts viewers, and one may have come at this moment.
///
/// `generation`: that of the push which has no viewers; a newer push is left alone. So is a stream
/// that is just being brought for somebody.
pub(crate) async fn release(state: &State, stream: &StreamRef, generation: Option<u64>) {
    if !state.operations.is_running(stream) {
        release_now(state, stream, generation).await;
    }
}

/// Ends a stream, whoever watches or waits for it.
pub(crate) async fn force(state: &State, stream: &StreamRef) {
    state.operations.withdraw_from(stream, None);
    end(state, stream, None, false).await;
}

pub(super) async fn release_now(state: &State, stream: &StreamRef, generation: Option<u64>) {
    end(state, stream, generation, true).await;
}

async fn end(state: &State, stream: &StreamRef, generation: Option<u64>, if_idle: bool) {
    let Ok(path) = StreamPath::device(&stream.serial, stream.channel) else {
        return;
    };
    let location = state.directory.locate(&path).await.ok().flatten();
    if let Some(location) = location {
        if generation.is_some_and(|g| g < location.generation) {
            return;
        }
        let Some(node) = state.nodes.get(&location.node) else {
            return;
        };
        let closed = node
            .ask(state.config.node_ack, |cseq| {
                Close::new(path.as_str(), location.generation, if_idle).to_envelope(cseq)
            })
            .await;
        match closed {
            Ok(error) if error.is_success() || error == ErrorNum::NOT_FOUND => {}
            Ok(_) => {
                tracing::debug!(%stream, "somebody still watches");
                return;
            }
            Err(error) => {
                tracing::warn!(%stream, node = %node.id, %error, "the stream could not be closed");
                return;
            }
        }
    }
    stop_device(state, stream);
}

fn stop_device(state: &State, stream: &StreamRef) {
    let Some(session) = state.sessions.get(&stream.serial) else {
        return;
    };
    let mut stop = StopRequest::new(stream.serial.as_str(), stream.channel);
    stop.route = session.route(
        state.via.clone(),
        state.connection_id(session.link.id),
        &state.via,
    );
    match session.notify(|cseq| stop.to_envelope(cseq)) {
        Ok(_) => tracing::info!(%stream, "device asked to stop"),
        Err(error) => tracing::debug!(%stream, %error, "device could not be asked to stop"),
    }
}
