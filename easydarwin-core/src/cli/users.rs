use std::collections::HashSet;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::settings::Secret;
use super::{Settings, UserArgs};
use crate::registry::{MemoryUsers, PathPattern, User};
use crate::rtsp::auth::{Algorithm, AuthConfig, SecretError, UserSecret};

/// A user as it stands in a settings or users file, under `[[user]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct UserEntry {
    /// User name.
    pub name: String,
    /// The password itself; better is `ha1`.
    pub password: Option<Secret>,
    /// HA1 for MD5, as `easydarwin user` prints it.
    pub ha1: Option<Secret>,
    /// HA1 for SHA-256.
    pub ha1_sha256: Option<Secret>,
    /// Streams that may be played: `hall/1`, `hall/*`, `**`.
    #[serde(default)]
    pub play: Vec<PatternText>,
    /// Streams that may be published.
    #[serde(default)]
    pub publish: Vec<PatternText>,
}

/// A [`PathPattern`] as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PatternText(pub PathPattern);

impl TryFrom<String> for PatternText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|error| format!("`{text}`: {error}"))
    }
}

/// Which hashes are offered to those who log in with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DigestChoice {
    /// MD5: what all players and cameras know.
    Md5,
    /// Both; players that know only MD5 have to look for it.
    Both,
    /// SHA-256 alone: ffmpeg, VLC and GStreamer are shut out.
    #[value(name = "sha-256")]
    #[serde(rename = "sha-256")]
    Sha256,
}

impl DigestChoice {
    /// The algorithms.
    pub fn algorithms(self) -> Vec<Algorithm> {
        match self {
            Self::Md5 => vec![Algorithm::Md5],
            Self::Both => vec![Algorithm::Sha256, Algorithm::Md5],
            Self::Sha256 => vec![Algorithm::Sha256],
        }
    }
}

/// Why the users cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UsersFileError {
    /// The file cannot be read.
    #[error("cannot read the users file {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be; the text names line and key.
    #[error("the users file {} is wrong in line {line}: {what}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Which line. It is not shown: it might hold a password.
        line: usize,
        /// What was expected.
        what: String,
    },
    /// A name that cannot stand in a digest.
    #[error("a user name may not be empty nor hold `:`, quotes, backslashes or control characters")]
    Name,
    /// Two users of one name.
    #[error("user {0:?} is there twice")]
    Twice(String),
    /// Nothing to check a password against, or too much.
    #[error(
        "user {0:?} needs either `password` or `ha1` (or `ha1-sha256`); `easydarwin user` makes the latter"
    )]
    Secret(String),
    /// An HA1 that is none.
    #[error("user {name:?}: {source}")]
    Ha1 {
        /// Whose.
        name: String,
        /// What is wrong.
        source: SecretError,
    },
    /// No password to make an entry of.
    #[error("no password: write it to standard input, one line")]
    NoPassword,
    /// Standard input cannot be read.
    #[error("cannot read the password: {0}")]
    Input(io::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    #[serde(default)]
    user: Vec<UserEntry>,
}

/// How passwords are asked for.
pub(super) fn auth_config(settings: &Settings) -> AuthConfig {
    let mut config = AuthConfig::default();
    if let Some(realm) = &settings.realm {
        config.realm.clone_from(realm);
    }
    if let Some(choice) = settings.digest {
        config.digest = choice.algorithms();
    }
    config
}

/// The users of settings and users file; `None` when none are configured.
pub(super) fn users_of(
    settings: &Settings,
    realm: &str,
) -> Result<Option<MemoryUsers>, UsersFileError> {
    if settings.user.is_none() && settings.users.is_none() {
        return Ok(None);
    }
    let mut entries = settings.user.clone().unwrap_or_default();
    if let Some(path) = &settings.users {
        entries.extend(read_users(path)?);
    }
    let users = MemoryUsers::new();
    let mut names = HashSet::new();
    for entry in entries {
        if !names.insert(entry.name.clone()) {
            return Err(UsersFileError::Twice(entry.name));
        }
        let (name, user) = entry.into_user(realm)?;
        users.insert(name, user);
    }
    Ok(Some(users))
}

fn read_users(path: &Path) -> Result<Vec<UserEntry>, UsersFileError> {
    let read = |source| UsersFileError::Read {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(read)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path).map_err(read)?.permissions().mode();
        if mode & 0o044 != 0 {
            tracing::warn!(file = %path.display(), "others may read the users file, and an HA1 is as good as a password: chmod 600");
        }
    }
    let file: UsersFile = toml::from_str(&text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        UsersFileError::Parse {
            path: path.to_owned(),
            line: before.unwrap_or_default().matches('\n').count() + 1,
            what: error.message().to_owned(),
        }
    })?;
    Ok(file.user)
}

impl UserEntry {
    fn into_user(self, realm: &str) -> Result<(String, User), UsersFileError> {
        check_name(&self.name)?;
        let ha1s = [&self.ha1, &self.ha1_sha256];
        let mut ha1s = ha1s.into_iter().flatten();
        let wrong = |source| UsersFileError::Ha1 {
            name: self.name.clone(),
            source,
        };
        let secret = match (&self.password, ha1s.next(), ha1s.next()) {
            (Some(password), None, None) => {
                UserSecret::from_password(&self.name, realm, &password.0)
            }
            (None, Some(one), None) => UserSecret::from_ha1(&one.0).map_err(wrong)?,
            (None, Some(one), Some(other)) => UserSecret::from_ha1(&one.0)
                .and_then(|secret| secret.with_ha1(&other.0))
                .map_err(wrong)?,
            _ => return Err(UsersFileError::Secret(self.name)),
        };
        let mut user = User::new(secret);
        user.play = self.play.into_iter().map(|text| text.0).collect();
        user.publish = self.publish.into_iter().map(|text| text.0).collect();
        Ok((self.name, user))
    }
}

fn check_name(name: &str) -> Result<(), UsersFileError> {
    let possible = !name.is_empty()
        && !name
            .chars()
            .any(|c| c.is_control() || [':', '"', '\\'].contains(&c));
    possible.then_some(()).ok_or(UsersFileError::Name)
}

/// The entry of a users file that was asked for, made of a password from standard input.
///
/// # Errors
/// [`UsersFileError`] when there is no password, or the name is impossible.
pub fn user_entry(args: &UserArgs) -> Result<String, UsersFileError> {
    check_name(&args.name)?;
    let mut password = String::new();
    io::stdin()
        .lock()
        .read_line(&mut password)
        .map_err(UsersFileError::Input)?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(UsersFileError::NoPassword);
    }
    Ok(entry_text(args, password))
}

fn entry_text(args: &UserArgs, password: &str) -> String {
    let realm = args.realm.as_deref().unwrap_or(AuthConfig::REALM);
    let secret = UserSecret::from_password(&args.name, realm, password);
    let list = |patterns: &[PathPattern]| {
        let texts: Vec<String> = patterns.iter().map(|p| format!("\"{p}\"")).collect();
        texts.join(", ")
    };
    format!(
        "[[user]]\nname = \"{}\"\nha1 = \"{}\"\nha1-sha256 = \"{}\"\nplay = [{}]\npublish = [{}]\n",
        args.name,
        secret.md5_hex().unwrap_or_default(),
        secret.sha256_hex().unwrap_or_default(),
        list(&args.play),
        list(&args.publish),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Action, StreamPath, Users as _};

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    fn args() -> UserArgs {
        UserArgs {
            name: "anna".to_owned(),
            play: vec![PathPattern::all()],
            publish: vec!["hall/*".parse().unwrap()],
            realm: None,
        }
    }

    #[tokio::test]
    async fn what_the_command_prints_is_what_the_server_reads() {
        let text = entry_text(&args(), "p \"w\"");
        assert!(!text.contains("p \"w\""));
        let users = users_of(&settings(&text), AuthConfig::REALM)
            .unwrap()
            .unwrap();
        let anna = users.find("anna").await.unwrap().unwrap();
        let made = UserSecret::from_password("anna", AuthConfig::REALM, "p \"w\"");
        assert_eq!(anna.secret.md5_hex(), made.md5_hex());
        assert_eq!(anna.secret.sha256_hex(), made.sha256_hex());
        let path = |text| StreamPath::parse(text).unwrap();
        assert!(anna.may(Action::Publish, &path("hall/1")));
        assert!(!anna.may(Action::Publish, &path("yard/1")));
        assert!(anna.may(Action::Play, &path("yard/1")));
    }

    #[test]
    fn wrong_users_are_named_and_secrets_not() {
        let ha1 = "0".repeat(32);
        for (entry, needle) in [
            ("name = \"anna\"".to_owned(), "needs either"),
            (
                format!("name = \"anna\"\npassword = \"hush\"\nha1 = \"{ha1}\""),
                "needs either",
            ),
            (
                "name = \"anna\"\nha1 = \"hush\"".to_owned(),
                "32 hexadecimal",
            ),
            ("name = \"a:b\"\npassword = \"hush\"".to_owned(), "may not"),
            (
                format!(
                    "name = \"anna\"\nha1 = \"{ha1}\"\n[[user]]\nname = \"anna\"\nha1 = \"{ha1}\""
                ),
                "twice",
            ),
        ] {
            let settings = settings(&format!("[[user]]\n{entry}"));
            assert!(!format!("{settings:?}").contains("hush"));
            let error = users_of(&settings, "r").unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_users_file_adds_to_the_settings() {
        let file = std::env::temp_dir().join(format!("easydarwin-users-{}", std::process::id()));
        std::fs::write(&file, entry_text(&args(), "pw")).unwrap();
        let mut settings = settings("[[user]]\nname = \"otto\"\npassword = \"x\"\nplay = [\"**\"]");
        settings.users = Some(file.clone());
        let users = users_of(&settings, "r").unwrap().unwrap();
        assert_eq!(users.len(), 2);
        std::fs::write(&file, "[[user]]\nname = 1\npassword = \"hush\"").unwrap();
        let error = users_of(&settings, "r").unwrap_err().to_string();
        assert!(
            error.contains("line 2") && !error.contains("hush"),
            "{error}"
        );
        std::fs::remove_file(&file).unwrap();
        let error = users_of(&settings, "r").unwrap_err().to_string();
        assert!(error.contains("cannot read"), "{error}");
        assert!(users_of(&Settings::default(), "r").unwrap().is_none());
    }
}
