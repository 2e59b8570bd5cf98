use std::future::Future;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::key::{KeyError, read_or_make_key, sign_token};
use super::process::{DEFAULT_LOG_FILTER, LogFilterError, log_to_stderr, shutdown_signal};
use super::settings::{DEFAULT_HTTP_PORT, DEFAULT_RTSP_PORT, Settings, SettingsError};
use super::users::{UsersFileError, auth_config, user_entry, users_of};
use super::{Cli, Command};
use crate::forward::{ForwardConfig, ForwardError};
use crate::http::HttpConfig;
use crate::pull::{PullConfig, PullError, SourceFile};
use crate::registry::{
    AllowAll, Authorizer, CmsClock, GrantTable, TokenAuthorizer, TokenVerifier, UserAuthorizer,
    random_bytes,
};
use crate::rtsp;
use crate::server::{Limits, MediaServer, NodeAgent, NodeConfig, ServerError, ServerHandle};
use crate::tls::{TlsConfig, TlsError, TlsTrust};

/// Why the program ended with an error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// See [`SettingsError`].
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// See [`LogFilterError`].
    #[error(transparent)]
    Log(#[from] LogFilterError),
    /// See [`KeyError`].
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The join key's file cannot be read.
    #[error("cannot read the join key from {}: {source}", path.display())]
    JoinKey {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A CMS without a key to join it.
    #[error("--cms needs the CMS's join key: give --join-key-file or --join-key")]
    NoJoinKey,
    /// A join key without a CMS.
    #[error("a join key was given but no CMS: give --cms")]
    NoCms,
    /// See [`UsersFileError`].
    #[error(transparent)]
    Users(#[from] UsersFileError),
    /// A certificate without key, a key without certificate, or an address for TLS without both.
    #[error("TLS needs both --tls-cert and --tls-key")]
    TlsPair,
    /// Two ways at once to say whom TLS believes.
    #[error("tls-ca and tls-pin exclude each other: keep one of them")]
    TlsTrust,
    /// See [`TlsError`].
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// See [`ServerError`].
    #[error(transparent)]
    Server(#[from] ServerError),
    /// See [`PullError`].
    #[error(transparent)]
    Pull(#[from] PullError),
    /// See [`ForwardError`].
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The runtime, the signal handlers or stdout failed.
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
    /// No random bytes.
    #[error("the system gives no random numbers")]
    Random,
}

/// The whole program: reads flags, environment and file, and does what they say.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to report that stderr is gone.
            let _ = writeln!(io::stderr(), "easydarwin: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), RunError> {
    match &cli.command {
        Some(Command::Token(args)) => {
            let token = sign_token(args)?;
            writeln!(io::stdout(), "{token}")?;
            return Ok(());
        }
        Some(Command::User(args)) => {
            write!(io::stdout(), "{}", user_entry(args)?)?;
            return Ok(());
        }
        None => {}
    }
    let settings = match &cli.config {
        Some(file) => cli.settings.or(Settings::read(file)?),
        None => cli.settings,
    };
    log_to_stderr(settings.log.as_deref().unwrap_or(DEFAULT_LOG_FILTER))?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), RunError> {
    let shutdown = shutdown_signal()?;
    let node = Node::build(settings).await?;
    let handle = node.handle();
    let mut ready = format!("easydarwin ready: rtsp={}", handle.rtsp_addr());
    if let Some(rtsps) = handle.rtsps_addr() {
        ready.push_str(&format!(" rtsps={rtsps}"));
    }
    if let Some(http) = handle.http_addr() {
        ready.push_str(&format!(" http={http}"));
    }
    writeln!(io::stdout(), "{ready}")?;
    let stopped = async {
        #[cfg(unix)]
        if handle.tls_stats().is_some() {
            match super::process::hangups() {
                Ok(hangups) => {
                    tokio::spawn(reload_at(hangups, handle.clone()));
                }
                Err(error) => tracing::warn!(%error, "SIGHUP will not reload the certificate"),
            }
        }
        shutdown.await;
        tracing::info!("asked to end");
    };
    node.run(stopped).await
}

/// Reads the certificate anew whenever the process is told to.
#[cfg(unix)]
async fn reload_at(mut hangups: tokio::signal::unix::Signal, handle: ServerHandle) {
    while hangups.recv().await.is_some() {
        match handle.reload_certificates() {
            Ok(()) => tracing::info!("TLS certificate read anew"),
            Err(error) => tracing::error!(%error, "TLS certificate stays as it was"),
        }
    }
}

/// A media server with its link to the CMS, if it has one: what the settings describe.
#[derive(Debug)]
pub struct Node {
    server: MediaServer,
    agent: Option<NodeAgent>,
}

impl Node {
    /// Binds the sockets.
    ///
    /// # Errors
    /// [`RunError`] says which setting cannot be met.
    pub async fn build(settings: Settings) -> Result<Self, RunError> {
        let local_key = match &settings.key {
            Some(file) => Some(read_or_make_key(file)?.public_key().key),
            None => None,
        };
        let agent = agent_of(&settings, local_key.clone())?;
        let anonymous = settings.anonymous == Some(true);
        let auth = auth_config(&settings);
        let users = users_of(&settings, &auth.realm)?;
        if agent.is_none() && local_key.is_none() && users.is_none() && !anonymous {
            tracing::warn!(
                "nobody can publish here: give --anonymous, --key FILE, --users FILE or --cms ADDR"
            );
        }
        let mut authorizer = match &agent {
            Some(agent) => agent.authorizer(),
            None => local_authorizer(local_key.as_deref())?,
        };
        for cidr in settings.play_from.iter().flatten() {
            authorizer = authorizer.play_from([cidr.0]);
        }
        let everybody: Option<Arc<dyn Authorizer>> = match anonymous {
            true => Some(Arc::new(AllowAll)),
            false => None,
        };
        let others: Option<Arc<dyn Authorizer>> = match (users, everybody) {
            (Some(users), everybody) => {
                let mut users = UserAuthorizer::new(Arc::new(users));
                if let Some(everybody) = everybody {
                    users = users.otherwise(everybody);
                }
                Some(Arc::new(users))
            }
            (None, everybody) => everybody,
        };
        if let Some(others) = others {
            authorizer = authorizer.otherwise(others);
        }
        let mut limits = Limits::default();
        if let Some(connections) = settings.max_connections {
            limits.connections = connections;
        }
        if let Some(connections) = settings.max_connections_per_address {
            limits.connections_per_address = connections;
        }
        let mut http = HttpConfig::default();
        let keys = settings.api_key.iter().flatten();
        http.api_tokens = keys.map(|key| key.0.as_str().into()).collect();
        let strict = settings.strict == Some(true);
        let rtsp = rtsp::ServerConfig {
            strict,
            ..rtsp::ServerConfig::default()
        };
        let (pull, forward) = links_of(&settings, strict)?;
        let tls = tls_of(&settings)?;
        let mut builder = MediaServer::builder()
            .rtsp(settings.rtsp.unwrap_or(everywhere(DEFAULT_RTSP_PORT)))
            .http(settings.http.unwrap_or(everywhere(DEFAULT_HTTP_PORT)))
            .http_config(http)
            .limits(limits)
            .relay(settings.relay())
            .rtsp_config(rtsp)
            .pull(pull)
            .forward(forward)
            .auth(auth)
            .authorizer(authorizer);
        if let Some(tls) = tls {
            builder = match settings.rtsps {
                Some(address) => builder.rtsps(address, tls),
                None => builder.tls(tls),
            };
        }
        if let Some(range) = &settings.udp_ports {
            builder = builder.udp_ports(range.0.clone());
        }
        if let Some(agent) = &agent {
            builder = builder.on_demand(agent.clone());
        }
        if let Some(file) = &settings.sources {
            builder = builder.source_store(SourceFile::new(file));
        }
        let server = builder.build().await?;
        let handle = server.handle();
        for source in settings.pulls() {
            handle.pulls().add_configured(source)?;
        }
        for forward in settings.forward.into_iter().flatten() {
            handle.forwards().add_configured(forward)?;
        }
        Ok(Self { server, agent })
    }

    /// For those who need the server while it runs.
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    /// Serves until `shutdown` resolves.
    ///
    /// # Errors
    /// When a listener fails for good.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        let link = self
            .agent
            .map(|agent| tokio::spawn(agent.run(self.server.handle(), stop.clone())));
        let result = self.server.run(shutdown).await;
        stop.cancel();
        if let Some(link) = link {
            // It ends at its token; a panic in it would have been shown by the runtime.
            let _ = link.await;
        }
        Ok(result?)
    }
}

fn tls_of(settings: &Settings) -> Result<Option<TlsConfig>, RunError> {
    match (&settings.tls_cert, &settings.tls_key, settings.rtsps) {
        (Some(certificate), Some(key), _) => Ok(Some(TlsConfig::from_pem_files(certificate, key)?)),
        (None, None, None) => Ok(None),
        _ => Err(RunError::TlsPair),
    }
}

/// What holds for all sources and for all forwards.
fn links_of(settings: &Settings, strict: bool) -> Result<(PullConfig, ForwardConfig), RunError> {
    let trust = trust_of(settings)?;
    let pull = PullConfig {
        strict,
        tls: trust.clone(),
        ..PullConfig::default()
    };
    let forward = ForwardConfig {
        tls: trust,
        ..ForwardConfig::default()
    };
    Ok((pull, forward))
}

/// Whom sources and forwards over TLS are believed by, if not the public authorities.
fn trust_of(settings: &Settings) -> Result<Option<TlsTrust>, RunError> {
    match (&settings.tls_ca, &settings.tls_pin) {
        (None, None) => Ok(None),
        (Some(file), None) => Ok(Some(TlsTrust::ca_file(file)?)),
        (None, Some(pins)) => Ok(Some(TlsTrust::pinned(pins.iter().map(|pin| pin.0))?)),
        (Some(_), Some(_)) => Err(RunError::TlsTrust),
    }
}

/// All addresses of this machine: IPv6 takes IPv4 too, where the kernel has it.
fn everywhere(port: u16) -> SocketAddr {
    let v6 = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None);
    match v6 {
        Ok(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        Err(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    }
}

fn agent_of(settings: &Settings, local_key: Option<String>) -> Result<Option<NodeAgent>, RunError> {
    let join_key = match (&settings.join_key, &settings.join_key_file) {
        (Some(key), _) => Some(key.0.clone()),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).map_err(|source| RunError::JoinKey {
                path: path.clone(),
                source,
            })?;
            Some(text.trim().to_owned())
        }
        (None, None) => None,
    };
    let (cms, join_key) = match (&settings.cms, join_key) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(RunError::NoCms),
        (Some(_), None) => return Err(RunError::NoJoinKey),
        (Some(cms), Some(join_key)) => (cms, join_key),
    };
    let node_id = match &settings.node_id {
        Some(id) => id.clone(),
        None => random_node_id()?,
    };
    let mut config = NodeConfig::new(cms.as_str(), join_key, node_id);
    config.advertise = settings.advertise.clone();
    config.local_keys.extend(local_key);
    if let Some(seconds) = settings.idle {
        config.idle = Duration::from_secs(seconds);
    }
    Ok(Some(NodeAgent::new(config)))
}

fn random_node_id() -> Result<String, RunError> {
    let random = random_bytes::<6>().map_err(|_| RunError::Random)?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("node-{digits}"))
}

fn local_authorizer(key: Option<&str>) -> Result<TokenAuthorizer, RunError> {
    let verifier = TokenVerifier::new();
    verifier.set_keys(key).map_err(KeyError::from)?;
    Ok(TokenAuthorizer::new(
        Arc::new(verifier),
        Arc::new(GrantTable::new()),
        Arc::new(CmsClock::new()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_setting_of_sources_does_not_undo_another() {
        let settings = Settings {
            tls_pin: Some(vec!["ab".repeat(32).parse().unwrap()]),
            ..Settings::default()
        };
        let (pull, forward) = links_of(&settings, true).unwrap();
        assert!(pull.strict && pull.tls.is_some() && forward.tls.is_some());
        let (pull, forward) = links_of(&Settings::default(), false).unwrap();
        assert!(!pull.strict && pull.tls.is_none() && forward.tls.is_none());
        let both = Settings {
            tls_ca: Some("ca.pem".into()),
            ..settings
        };
        assert!(matches!(links_of(&both, false), Err(RunError::TlsTrust)));
    }
}
