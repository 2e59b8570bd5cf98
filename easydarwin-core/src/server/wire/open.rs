use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpStream;

use super::tunnels::PostHalf;
use super::websocket::WebSocket;
use super::{Tunnel, Wire};
use crate::server::limits::Admitted;
use crate::server::shared::Shared;
use crate::wire::Channel;
use crate::wire::http::{self, HttpError, Upgrade};
use crate::wire::sniff::{Protocol, sniff};

/// The first bytes of a client are read in such pieces; with TLS more than a record has to fit.
const READ: usize = 20 * 1024;

/// By which listener a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Door {
    /// RTSP; TLS too, where there is a certificate.
    Rtsp,
    /// TLS alone.
    #[cfg(feature = "tls")]
    Rtsps,
}

/// A connection on which RTSP can be spoken.
#[derive(Debug)]
pub(in crate::server) struct Opened {
    pub(in crate::server) wire: Wire,
    /// What the client has said already.
    pub(in crate::server) early: Vec<u8>,
    /// The connection's place among all.
    pub(in crate::server) admitted: Admitted,
}

/// Why no RTSP can be spoken.
#[derive(Debug, Error)]
pub(in crate::server) enum OpenError {
    #[error("the peer closed it")]
    Closed,
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
    #[error("the peer did not say in time what it wants")]
    Silent,
    #[error("no tunnel, no WebSocket: {0}")]
    Http(#[from] HttpError),
    #[error("more came on the GET of a tunnel, which is ours to write on")]
    Spoke,
    #[cfg(feature = "tls")]
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    #[cfg(feature = "tls")]
    #[error("the TLS handshake was not done in time")]
    TlsTimeout,
    #[error("the peer does not speak TLS, or there is no certificate")]
    NotTls,
}

/// Finds out what the client speaks. `None`: it was the second half of a tunnel, which has it now.
pub(in crate::server) async fn open(
    shared: &Shared,
    socket: TcpStream,
    peer: SocketAddr,
    door: Door,
    admitted: Admitted,
) -> Result<Option<Opened>, OpenError> {
    let socket = Arc::new(socket);
    let mut early = Vec::new();
    let plain = Channel::Tcp(socket.clone());
    match first_protocol(shared, &plain, &mut early).await? {
        #[cfg(feature = "tls")]
        Protocol::Tls => {
            drop(plain);
            let channel = secure(shared, socket, &early).await?;
            let mut early = Vec::new();
            match first_protocol(shared, &channel, &mut early).await? {
                Protocol::Tls => Err(OpenError::NotTls),
                Protocol::Rtsp => Ok(Some(Opened {
                    wire: Wire::Tls(channel),
                    early,
                    admitted,
                })),
                Protocol::Http => upgrade(shared, channel, early, peer, admitted).await,
            }
        }
        #[cfg(not(feature = "tls"))]
        Protocol::Tls => Err(OpenError::NotTls),
        _ if door != Door::Rtsp => Err(OpenError::NotTls),
        Protocol::Rtsp => Ok(Some(Opened {
            wire: Wire::Plain(socket),
            early,
            admitted,
        })),
        Protocol::Http => upgrade(shared, plain, early, peer, admitted).await,
    }
}

async fn first_protocol(
    shared: &Shared,
    channel: &Channel,
    early: &mut Vec<u8>,
) -> Result<Protocol, OpenError> {
    let found = async {
        loop {
            if let Some(protocol) = sniff(early) {
                return Ok(protocol);
            }
            read_more(channel, early).await?;
        }
    };
    tokio::time::timeout(shared.rtsp.first_request_timeout, found)
        .await
        .unwrap_or(Err(OpenError::Silent))
}

/// Appends what comes next.
async fn read_more(channel: &Channel, bytes: &mut Vec<u8>) -> Result<(), OpenError> {
    loop {
        // First, not after waiting: TLS may have decrypted something already.
        let held = bytes.len();
        let read = {
            bytes.resize(held.saturating_add(READ), 0);
            let read = channel.try_read(bytes.get_mut(held..).unwrap_or_default());
            let count = read.as_ref().ok().copied().flatten().unwrap_or(0);
            bytes.truncate(held.saturating_add(count));
            read?
        };
        match read {
            Some(0) => return Err(OpenError::Closed),
            Some(_) => {
                bytes.shrink_to_fit();
                return Ok(());
            }
            None => {
                bytes.shrink_to_fit();
                channel.readable().await?;
            }
        }
    }
}

#[cfg(feature = "tls")]
async fn secure(
    shared: &Shared,
    socket: Arc<TcpStream>,
    first: &[u8],
) -> Result<Channel, OpenError> {
    let Some(tls) = &shared.tls else {
        return Err(OpenError::NotTls);
    };
    let socket = Arc::into_inner(socket).ok_or(OpenError::NotTls)?;
    tls.accept(socket, first).await
}

/// Answers the HTTP request.
async fn upgrade(
    shared: &Shared,
    channel: Channel,
    early: Vec<u8>,
    peer: SocketAddr,
    admitted: Admitted,
) -> Result<Option<Opened>, OpenError> {
    let asked = async {
        let (upgrade, early) = read_head(shared, &channel, early, peer).await?;
        match upgrade {
            Upgrade::WebSocket { accept } => {
                let response = http::websocket_response(&accept);
                channel.write_all(response.as_bytes()).await?;
                let socket = WebSocket::new(channel.clone());
                let mut early = early;
                let count = socket.decode(&mut early)?;
                early.truncate(count);
                let wire = Wire::WebSocket(Arc::new(socket));
                Ok(Some((wire, early, admitted)))
            }
            Upgrade::TunnelGet { cookie } => {
                if !early.is_empty() {
                    return Err(OpenError::Spoke);
                }
                let mut half = shared.tunnels.get(peer.ip(), cookie)?;
                let response = http::tunnel_response(&shared.rtsp.server);
                channel.write_all(response.as_bytes()).await?;
                let post = tokio::select! {
                    post = half.posts.recv() => post.ok_or(OpenError::Closed)?,
                    end = ended(&channel) => return Err(end),
                };
                let wire = Wire::Tunnel(Arc::new(Tunnel::new(channel.clone(), half, post)));
                Ok(Some((wire, Vec::new(), admitted)))
            }
            Upgrade::TunnelPost { cookie } => {
                let half = PostHalf {
                    channel: channel.clone(),
                    early,
                    _admitted: admitted,
                };
                match shared.tunnels.post(peer.ip(), cookie, half) {
                    Ok(()) => Ok(None),
                    Err((_, error)) => Err(error.into()),
                }
            }
        }
    };
    // The second half of a tunnel is awaited no longer than a first request.
    let opened = tokio::time::timeout(shared.rtsp.first_request_timeout, asked)
        .await
        .unwrap_or(Err(OpenError::Silent));
    if let Err(OpenError::Http(error)) = &opened {
        let answer = error.response();
        let answered = async {
            channel.write_all(answer.as_bytes()).await?;
            channel.close().await
        };
        // Whoever does not take it has lost nothing.
        let _ = tokio::time::timeout(shared.limits.write, answered).await;
    }
    Ok(opened?.map(|(wire, early, admitted)| Opened {
        wire,
        early,
        admitted,
    }))
}

async fn read_head(
    shared: &Shared,
    channel: &Channel,
    mut bytes: Vec<u8>,
    peer: SocketAddr,
) -> Result<(Upgrade, Vec<u8>), OpenError> {
    loop {
        if let Some((upgrade, length)) = http::parse(&bytes, peer.ip())? {
            return Ok((upgrade, bytes.split_off(length)));
        }
        if bytes.len() > shared.rtsp.limits.head {
            return Err(HttpError::Syntax.into());
        }
        read_more(channel, &mut bytes).await?;
    }
}

/// Resolves when the peer closes the half on which it has nothing to say, or says something.
async fn ended(channel: &Channel) -> OpenError {
    match read_more(channel, &mut Vec::new()).await {
        Ok(()) => OpenError::Spoke,
        Err(error) => error,
    }
}
