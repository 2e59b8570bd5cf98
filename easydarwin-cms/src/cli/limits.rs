//! What the system allows this process, against what the configuration wants of it.

use std::fmt;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::CmsConfig;
use crate::conn::BACKLOG;

/// Descriptors for everything that is no connection: listener, database, logs, the runtime.
const OWN_FILES: u64 = 64;

/// The kernel's bound on every listener's queue.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// Something that the configuration wants and the system does not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Fewer files may be open than connections are wanted.
    OpenFiles { allowed: u64, needed: u64 },
    /// The kernel keeps fewer connections waiting than a herd brings.
    Backlog { allowed: u64, wanted: u64 },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenFiles { allowed, needed } => write!(
                f,
                "{allowed} files may be open and max-connections needs {needed}: raise the hard limit \
                 (LimitNOFILE={needed} in the systemd unit, or ulimit -Hn), or lower max-connections"
            ),
            Self::Backlog { allowed, wanted } => write!(
                f,
                "the kernel keeps {allowed} connections waiting, {wanted} are wanted for the case that all \
                 devices come back at once: sysctl -w net.core.somaxconn={wanted}"
            ),
        }
    }
}

/// Raises the number of files that this process may open to the most that it may give itself.
///
/// # Errors
/// The system's, when it refuses.
pub(crate) fn raise_open_files() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        tracing::debug!(soft, hard, "limit of open files raised");
    }
    Ok(())
}

/// What is short, once [`raise_open_files`] has done what it can. Empty: all fits.
///
/// # Errors
/// The limit of open files cannot be read.
pub(crate) fn check(config: &CmsConfig) -> io::Result<Vec<Shortage>> {
    let (_, files) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Only Linux has it, and only there it is known to bound us.
    let backlog = std::fs::read_to_string(SOMAXCONN)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Ok(shortages(config.max_connections, files, backlog))
}

fn shortages(connections: usize, files: u64, backlog: Option<u64>) -> Vec<Shortage> {
    let mut short = Vec::new();
    let needed = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(OWN_FILES);
    if files < needed {
        short.push(Shortage::OpenFiles {
            allowed: files,
            needed,
        });
    }
    let wanted = u64::from(BACKLOG.unsigned_abs());
    if let Some(allowed) = backlog.filter(|allowed| *allowed < wanted) {
        short.push(Shortage::Backlog { allowed, wanted });
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named_with_the_remedy() {
        assert_eq!(shortages(30_000, 40_000, Some(4096)), []);
        assert_eq!(shortages(30_000, 40_000, None), []);
        let short = shortages(30_000, 20_000, Some(128));
        let texts: Vec<String> = short.iter().map(ToString::to_string).collect();
        assert!(texts[0].contains("LimitNOFILE=30064"), "{texts:?}");
        assert!(texts[1].contains("net.core.somaxconn=4096"), "{texts:?}");
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        raise_open_files().unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
