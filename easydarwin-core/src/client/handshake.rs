use crate::rtsp::{ClientEvent, ClientUrl, Method, Redirects, Status, Transport};

use super::connection::Connection;
use super::udp::UdpPair;
use super::{ClientError, ClientOptions, ClientTransport};

/// How one track travels.
#[derive(Debug)]
pub(super) enum Path {
    /// On these channels.
    Tcp { rtp: u8, rtcp: u8 },
    /// Through these sockets.
    Udp(Box<UdpPair>),
}

/// What is asked first, again after every redirection.
pub(super) trait FirstRequest {
    fn make(&self, connection: &mut Connection);
    fn method(&self) -> Method;
}

/// Connects, asks the first request and follows redirections.
pub(super) async fn open(
    url: &str,
    options: &ClientOptions,
    first: &impl FirstRequest,
) -> Result<(Connection, ClientEvent), ClientError> {
    let url = ClientUrl::parse(url)?;
    let mut way = Redirects::new(url, options.login.clone(), options.redirects);
    loop {
        let mut connection = Connection::open(way.url(), way.login().clone(), options).await?;
        first.make(&mut connection);
        match connection.answer(first.method()).await? {
            ClientEvent::Redirected { location } => way.follow(&location)?,
            event => return Ok((connection, event)),
        }
    }
}

/// Sets one track up. `transport` is what was agreed on so far and becomes what is agreed on now.
pub(super) async fn set_up(
    connection: &mut Connection,
    index: usize,
    control: Option<&str>,
    transport: &mut ClientTransport,
    record: bool,
) -> Result<Path, ClientError> {
    if matches!(
        transport,
        ClientTransport::Udp | ClientTransport::UdpThenTcp
    ) {
        match set_up_udp(connection, control, record).await {
            Ok(path) => {
                *transport = match path {
                    Path::Udp(_) => ClientTransport::Udp,
                    Path::Tcp { .. } => ClientTransport::Tcp,
                };
                return Ok(path);
            }
            Err(error)
                if *transport == ClientTransport::UdpThenTcp
                    && error.status() == Some(Status::UNSUPPORTED_TRANSPORT) =>
            {
                *transport = ClientTransport::Tcp;
            }
            Err(error) => return Err(error),
        }
    }
    let first = u8::try_from(index.saturating_mul(2))
        .ok()
        .filter(|channel| *channel < u8::MAX)
        .ok_or(ClientError::NoSuchTrack(index))?;
    let asked = Transport {
        tcp: true,
        interleaved: Some((first, first + 1)),
        record,
        ..Transport::default()
    };
    let answer = ask(connection, control, &asked).await?;
    let (rtp, rtcp) = answer.interleaved.unwrap_or((first, first + 1));
    Ok(Path::Tcp { rtp, rtcp })
}

async fn set_up_udp(
    connection: &mut Connection,
    control: Option<&str>,
    record: bool,
) -> Result<Path, ClientError> {
    let (local, peer) = (connection.local.ip(), connection.peer.ip());
    let mut pair = UdpPair::bind_on(local, peer, connection.interface.as_deref())?;
    let asked = Transport {
        client_port: Some(pair.ports),
        record,
        ..Transport::default()
    };
    let answer = ask(connection, control, &asked).await?;
    if answer.tcp {
        // Asked for datagrams, some servers answer with channels.
        let (rtp, rtcp) = answer.interleaved.ok_or_else(|| ClientError::BadAnswer {
            method: Method::Setup,
            what: "TCP without channels where UDP was asked for".to_owned(),
        })?;
        return Ok(Path::Tcp { rtp, rtcp });
    }
    if record && answer.server_port.is_none() {
        return Err(ClientError::BadAnswer {
            method: Method::Setup,
            what: "no server_port to send to".to_owned(),
        });
    }
    pair.set_peer(answer.source.as_deref(), answer.server_port);
    Ok(Path::Udp(Box::new(pair)))
}

async fn ask(
    connection: &mut Connection,
    control: Option<&str>,
    asked: &Transport,
) -> Result<Transport, ClientError> {
    connection.session.setup(control, asked);
    match connection.answer(Method::Setup).await? {
        ClientEvent::SetUp { transport } => Ok(transport),
        other => Err(unexpected(Method::Setup, &other)),
    }
}

pub(super) fn unexpected(method: Method, event: &ClientEvent) -> ClientError {
    ClientError::BadAnswer {
        method,
        what: match event {
            // Its target may hold a token.
            ClientEvent::Redirected { .. } => "a redirection came instead".to_owned(),
            event => format!("{event:?} came instead"),
        },
    }
}

impl Path {
    /// The channel of RTP; over UDP the one that TCP would have.
    pub(super) fn channel(&self, index: usize) -> u8 {
        match self {
            Self::Tcp { rtp, .. } => *rtp,
            Self::Udp(_) => u8::try_from(index.saturating_mul(2)).unwrap_or(u8::MAX),
        }
    }

    pub(super) fn send_rtcp(&self, connection: &mut Connection, packet: &[u8]) {
        match self {
            Self::Tcp { rtcp, .. } => {
                let mut run = crate::rtp::PacketRun::new();
                if run.push_packet(*rtcp, packet) {
                    connection.queue(run.interleaved());
                }
            }
            Self::Udp(pair) => pair.send_rtcp(packet),
        }
    }
}
