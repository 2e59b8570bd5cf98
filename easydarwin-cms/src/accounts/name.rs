//! Names of people and keys.

use crate::error::CmsError;

/// Longest name.
const MAX_NAME: usize = 64;

/// Names stand in logs, in tokens and on command lines: `[A-Za-z0-9._@-]{1,64}`.
///
/// # Errors
/// [`CmsError::Config`].
pub fn check_name(name: &str) -> Result<(), CmsError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    if !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(fits) {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_NAME).collect();
    Err(CmsError::Config(format!(
        "{shown:?} is no name: 1 to {MAX_NAME} letters, digits, `.`, `_`, `@` or `-`"
    )))
}
