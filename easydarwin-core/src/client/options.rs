use std::time::Duration;

use crate::rtsp::{Limits, Login, RedirectPolicy};

/// How a client connects. All durations are upper bounds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How media travels. Default TCP.
    pub transport: ClientTransport,
    /// How the client proves its right. Default: user and password of the URL, if any.
    pub login: Login,
    /// Whether the password may go unencrypted over the network when the server offers nothing
    /// better than Basic, as some old cameras do. Default no.
    pub plain_basic: bool,
    /// Which redirections are followed. Default: five in a row, never from RTSPS to RTSP, and
    /// without the login to other servers.
    pub redirects: RedirectPolicy,
    /// The interface that all connections and datagrams go through, for example `eth1`, whatever the routes say
    /// (`SO_BINDTODEVICE`, Linux only). Names of hosts are still looked up as the system does it. Default: as the
    /// routes say.
    pub interface: Option<String>,
    /// For a TCP connection, name resolution included. Default 5 s.
    pub connect_timeout: Duration,
    /// For the answer to one request. Default 10 s (a server may fetch the stream first).
    pub request_timeout: Duration,
    /// Sending: how long the server may take no data. Default 10 s.
    pub stall_timeout: Duration,
    /// Playing: how long no media may come. Default 10 s.
    pub silence_timeout: Duration,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// Whom `rtsps://` believes. Default: [`TlsTrust::public`](crate::tls::TlsTrust::public).
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::TlsTrust>,
    /// What time the certificates of `rtsps://` are judged by. Default: the system's.
    #[cfg(feature = "tls")]
    pub tls_clock: crate::tls::TlsClock,
    /// TLS of the embedder, which is used instead of ours. Default: none.
    pub tls_stack: Option<super::ForeignTls>,
    /// Limits for what the server sends.
    pub limits: Limits,
    /// Playing: a description that would have to be repaired is an error
    /// ([`SdpError::Faulty`](crate::media::sdp::SdpError::Faulty)). Default no.
    pub strict: bool,
}

/// How media travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ClientTransport {
    /// Interleaved into the RTSP connection.
    #[default]
    Tcp,
    /// Datagrams only.
    Udp,
    /// Datagrams; TCP if the server refuses them with 461.
    UdpThenTcp,
    /// Interleaved into RTSP over two HTTP connections, to get through proxies.
    #[cfg(feature = "tunnel")]
    Tunnel,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            transport: ClientTransport::default(),
            login: Login::default(),
            plain_basic: false,
            redirects: RedirectPolicy::default(),
            interface: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(10),
            user_agent: concat!("EasyDarwin/", env!("CARGO_PKG_VERSION")).to_owned(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            tls_clock: crate::tls::TlsClock::default(),
            tls_stack: None,
            limits: Limits::default(),
            strict: false,
        }
    }
}
