use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::algorithm::hex;
use super::secret::same;

/// Hexadecimal digits of time, counter and signature.
const TIME: usize = 16;
const COUNTER: usize = 8;
const SIGNATURE: usize = 32;

/// Makes nonces and recognises its own.
///
/// A nonce is its time of birth and a counter, signed together with the address of the client by
/// a key of this process. Nothing is kept about it: whoever asks for nonces without end costs no
/// memory, and there is no table that could be filled to push other people's nonces out. The
/// price is that a response which was overheard can be used again, for its method and stream, as
/// long as its nonce lives, but only from the same address. Who can do that sits in the
/// connection already and gets the pictures anyway; against him only TLS helps.
pub(super) struct Nonces {
    key: [u8; 32],
    start: Instant,
    lifetime: Duration,
    counter: AtomicU32,
}

impl Nonces {
    pub(super) fn new(key: [u8; 32], lifetime: Duration, now: Instant) -> Self {
        Self {
            key,
            start: now,
            lifetime,
            counter: AtomicU32::new(0),
        }
    }

    pub(super) fn make(&self, peer: IpAddr, now: Instant) -> String {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let front = format!("{:016x}{counter:08x}", self.millis(now));
        let signature = self.sign(&front, peer);
        front + &signature
    }

    /// Whether it was made here for this address and is not too old.
    pub(super) fn accepts(&self, nonce: &str, peer: IpAddr, now: Instant) -> bool {
        let Some((front, signature)) = nonce.split_at_checked(TIME + COUNTER) else {
            return false;
        };
        let Some(born) = front
            .get(..TIME)
            .and_then(|time| u64::from_str_radix(time, 16).ok())
        else {
            return false;
        };
        if !bool::from(same(&self.sign(front, peer), signature)) {
            return false;
        }
        let age = self.millis(now).saturating_sub(born);
        Duration::from_millis(age) < self.lifetime
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn sign(&self, front: &str, peer: IpAddr) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            // HMAC takes keys of any length.
            return String::new();
        };
        mac.update(b"nonce");
        match peer.to_canonical() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(front.as_bytes());
        let mut signature = hex(&mac.finalize().into_bytes());
        signature.truncate(SIGNATURE);
        signature
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_its_time_and_address_only() {
        let start = Instant::now();
        let nonces = Nonces::new([7; 32], Duration::from_secs(60), start);
        let (one, two) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let born = start + Duration::from_secs(5);
        let nonce = nonces.make(one, born);
        assert_ne!(nonce, nonces.make(one, born), "no two are the same");
        assert!(nonces.accepts(&nonce, one, born + Duration::from_secs(59)));
        assert!(!nonces.accepts(&nonce, one, born + Duration::from_secs(60)));
        assert!(!nonces.accepts(&nonce, two, born));
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert!(nonces.accepts(&nonce, mapped, born));
        let others = Nonces::new([8; 32], Duration::from_secs(60), start);
        assert!(!others.accepts(&nonce, one, born));
    }

    #[test]
    fn what_was_changed_or_never_ours_is_refused() {
        let now = Instant::now();
        let nonces = Nonces::new([7; 32], Duration::from_secs(60), now);
        let ip = [10, 0, 0, 1].into();
        let nonce = nonces.make(ip, now);
        for at in 0..nonce.len() {
            let mut other = nonce.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert!(!nonces.accepts(std::str::from_utf8(&other).unwrap(), ip, now));
        }
        for text in ["", "0", &"0".repeat(24), &"é".repeat(40), &(nonce + "0")] {
            assert!(!nonces.accepts(text, ip, now), "{text}");
        }
    }
}
