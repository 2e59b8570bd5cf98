use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A random number for sources, first sequence numbers and digests' client nonces. They have to
/// differ, not to be secret; so the standard library's seed suffices and no dependency is needed.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

pub(super) fn random_u32() -> u32 {
    let [a, b, c, d, ..] = random().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

pub(super) fn random_u16() -> u16 {
    let [a, b, ..] = random().to_be_bytes();
    u16::from_be_bytes([a, b])
}
