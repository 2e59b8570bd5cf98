use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::registry::{
    Claims, PathError, StreamPath, TokenAction as Signed, TokenError, TokenSigner, UnixMillis,
    random_bytes,
};

use super::{TokenAction, TokenArgs};

/// Bytes of the secret in a key file; there they are twice as many hexadecimal digits.
const SEED_LEN: usize = 32;

/// Why a key file is of no use or a token could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read the key file {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot make the key file {}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{} is no key file: 64 hexadecimal digits were expected", .0.display())]
    Content(PathBuf),
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] TokenError),
    /// The token was to be for something that is no stream.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The signer whose secret is in that file, which is made (readable by its owner only) when it
/// does not exist.
///
/// # Errors
/// [`KeyError`] names the file.
pub fn read_or_make_key(path: &Path) -> Result<TokenSigner, KeyError> {
    match read_key(path) {
        Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make_key(path)
        }
        result => result,
    }
}

/// The signer whose secret is in that file.
///
/// # Errors
/// [`KeyError`] names the file.
pub fn read_key(path: &Path) -> Result<TokenSigner, KeyError> {
    let text = fs::read_to_string(path).map_err(|source| KeyError::Read {
        path: path.to_owned(),
        source,
    })?;
    let seed = seed_of(text.trim()).ok_or_else(|| KeyError::Content(path.to_owned()))?;
    Ok(TokenSigner::from_seed(seed))
}

fn make_key(path: &Path) -> Result<TokenSigner, KeyError> {
    let seed = random_bytes::<SEED_LEN>()?;
    let text: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
        .open(path)
        .and_then(|mut file| writeln!(file, "{text}"))
        .map_err(|source| KeyError::Write {
            path: path.to_owned(),
            source,
        })?;
    Ok(TokenSigner::from_seed(seed))
}

fn seed_of(text: &str) -> Option<[u8; SEED_LEN]> {
    if text.len() != SEED_LEN * 2 || !text.is_ascii() {
        return None;
    }
    let mut seed = [0; SEED_LEN];
    for (at, byte) in seed.iter_mut().enumerate() {
        let digits = text.get(at * 2..at * 2 + 2)?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(seed)
}

/// Signs the token that was asked for.
///
/// # Errors
/// [`KeyError`] when the key cannot be read or the path is none.
pub fn sign_token(args: &TokenArgs) -> Result<String, KeyError> {
    let signer = read_key(&args.key)?;
    let path = StreamPath::parse(&args.path)?;
    let now = UnixMillis::system();
    let action = match args.action {
        TokenAction::Play => Signed::Play,
        TokenAction::Publish => Signed::Publish,
    };
    let subject = path
        .as_device()
        .map_or(path.as_str(), |(serial, _)| serial)
        .to_owned();
    let mut claims = Claims::new(path, action, subject, now, args.ttl.0.as_secs());
    if args.action == TokenAction::Publish {
        // A token that was made later supersedes.
        claims.generation = Some(now.0);
    }
    Ok(signer.sign(&claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_strictly() {
        assert_eq!(seed_of(&"0f".repeat(32)), Some([15; 32]));
        assert_eq!(seed_of(&"0f".repeat(31)), None);
        assert_eq!(seed_of(&"xx".repeat(32)), None);
        assert_eq!(seed_of(&"é".repeat(32)), None);
    }

    #[test]
    fn a_key_is_made_once_and_signs() {
        let folder = std::env::temp_dir().join(format!("easydarwin-key-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("key");
        let first = read_or_make_key(&file).unwrap().public_key();
        assert_eq!(read_or_make_key(&file).unwrap().public_key(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "others may not read it");
        }
        let token = sign_token(&TokenArgs {
            action: TokenAction::Publish,
            path: "/cam/1".into(),
            ttl: "1h".parse().unwrap(),
            key: file.clone(),
        })
        .unwrap();
        let verifier = crate::registry::TokenVerifier::new();
        verifier.set_keys([first.key.as_str()]).unwrap();
        let claims = verifier.verify(&token, UnixMillis::system()).unwrap();
        assert_eq!(claims.path.as_str(), "cam/1");
        assert!(claims.generation.is_some());
        fs::write(&file, "nonsense").unwrap();
        assert!(matches!(read_or_make_key(&file), Err(KeyError::Content(_))));
        fs::remove_dir_all(&folder).unwrap();
    }
}
