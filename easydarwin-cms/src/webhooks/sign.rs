//! Signatures as Standard Webhooks has them, so that receivers verify them with what they have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easydarwin_core::registry::{TokenError, random_bytes};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What secrets begin with.
const PREFIX: &str = "whsec_";

/// A new secret: 256 random bits.
pub(crate) fn new_secret() -> Result<String, TokenError> {
    let random: [u8; 32] = random_bytes()?;
    Ok(format!("{PREFIX}{}", STANDARD.encode(random)))
}

/// The header `webhook-signature`. `None` if the secret is none.
pub(super) fn signature(secret: &str, id: &str, seconds: u64, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    Some(format!(
        "v1,{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        let signed = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed.as_deref(), Some(expected));
        assert_eq!(signature("no secret", "a", 1, ""), None);
        assert!(new_secret().unwrap() != new_secret().unwrap());
    }
}
