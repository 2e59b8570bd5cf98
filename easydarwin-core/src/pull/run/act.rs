//! What the supervisor asks for is done here.

use std::time::Instant;

use super::Task;
use crate::client::{ClientOptions, ClientTransport, Link, UdpPair};
use crate::media::SessionDescription;
use crate::pull::{FailureKind, SourceOutput};
use crate::registry::Principal;
use crate::relay::EndReason;
use crate::rtsp::ClientUrl;

impl Task {
    pub(super) fn act(&mut self, output: SourceOutput, now: Instant) {
        let path = &self.source.path;
        match output {
            SourceOutput::Connect {
                attempt,
                url,
                tunnel,
            } => self.dial(attempt, url, tunnel),
            SourceOutput::Close { attempt } => {
                if self
                    .connection
                    .as_ref()
                    .is_some_and(|c| c.attempt == attempt)
                {
                    self.connection = None;
                }
                self.dialing = None;
                self.sockets.clear();
                self.ends = None;
            }
            SourceOutput::Bind { socket } => {
                let ports = self.bind(socket);
                self.source.engine.lock().bound(socket, ports, now);
            }
            SourceOutput::Peer {
                socket,
                source,
                ports,
            } => {
                if let Some((_, pair)) = self.sockets.iter_mut().find(|(n, _)| *n == socket) {
                    pair.set_peer(source.as_deref(), ports);
                    pair.punch();
                }
            }
            SourceOutput::Report { socket, packet } => {
                if let Some((_, pair)) = self.sockets.iter().find(|(n, _)| *n == socket) {
                    pair.send_rtcp(&packet);
                }
            }
            SourceOutput::Publish(description) => self.publish_stream(description, now),
            SourceOutput::Offline(kind) => {
                if let Some((publisher, _)) = self.publisher.take() {
                    publisher.end(end_reason(kind));
                }
            }
            SourceOutput::Failed(failure, wait) => {
                tracing::warn!(%path, %failure, wait_ms = wait.as_millis(), "source lost; trying again");
            }
            SourceOutput::Quirk(quirk) => {
                if !self.told.contains(&quirk) {
                    self.told.push(quirk);
                    tracing::info!(%path, "source: {}", quirk.text());
                }
            }
            SourceOutput::Remember(_) => self.pulls.remember(&self.source),
            SourceOutput::Changed => {
                let info = self.source.engine.lock().info(now);
                self.source.publish_status(&info);
            }
        }
    }

    fn dial(&mut self, attempt: u64, url: ClientUrl, tunnel: bool) {
        let config = self.pulls.config();
        let options = ClientOptions {
            connect_timeout: config.connect_timeout,
            transport: if tunnel {
                ClientTransport::Tunnel
            } else {
                ClientTransport::Tcp
            },
            user_agent: config.user_agent.clone(),
            limits: config.limits.clone(),
            #[cfg(feature = "tls")]
            tls: config.tls.clone(),
            ..ClientOptions::default()
        };
        self.told.clear();
        self.connection = None;
        let dial = async move { Link::dial(&url, &options).await };
        self.dialing = Some((attempt, Box::pin(dial)));
    }

    fn bind(&mut self, socket: usize) -> Option<(u16, u16)> {
        let (local, peer) = self.ends?;
        match UdpPair::bind(local, peer) {
            Ok(pair) => {
                let ports = pair.ports;
                self.sockets.push((socket, pair));
                Some(ports)
            }
            Err(error) => {
                tracing::warn!(path = %self.source.path, %error, "no UDP ports for a source");
                None
            }
        }
    }

    fn publish_stream(&mut self, description: SessionDescription, now: Instant) {
        let path = &self.source.path;
        let principal = Principal::Named(format!("pull {path}").into());
        match self.pulls.hub().publish(path, description, principal) {
            Ok(mut publisher) => {
                let config = self.pulls.config();
                publisher.set_offline_grace(config.offline_grace);
                publisher.watch_faults(format!("pull {path}"), config.strict);
                let repairs = self.source.engine.lock().repairs();
                for (repair, _) in repairs.iter() {
                    tracing::warn!(%path, ?repair, "source repaired: {}", repair.text());
                }
                publisher.count_repairs(&repairs);
                self.pulls.hub().count_repairs(&repairs);
                let closed = Box::pin(publisher.closed());
                self.publisher = Some((publisher, closed));
            }
            Err(error) => {
                let mut engine = self.source.engine.lock();
                engine.publish_refused(&error.to_string(), now);
            }
        }
    }
}

/// What the stream's readers are told.
fn end_reason(kind: FailureKind) -> EndReason {
    match kind {
        FailureKind::Silent => EndReason::Silent,
        FailureKind::Stopped => EndReason::Closed,
        _ => EndReason::PublisherLeft,
    }
}
