//! What the end-to-end tests share: our programs as separate processes, media made once, foreign
//! players and publishers, a proxy that records what passes, and the comparison of what was
//! received with what was published.
//!
//! Everything here panics with a full account when something is wrong: it runs in tests only.

pub mod api;
pub mod gst_server;
pub mod media;
pub mod parts;
pub mod peers;
pub mod process;
pub mod proxy;
pub mod tls;
pub mod units;
pub mod webdriver;

use std::path::PathBuf;

/// `target/`, however the build was told to name it.
pub fn target_dir() -> PathBuf {
    // target/<profile>/deps/<this test>
    let exe = std::env::current_exe().expect("a running program has a path");
    let profile = exe
        .ancestors()
        .find(|dir| dir.join("deps").is_dir())
        .expect("tests run from target/<profile>/deps");
    profile
        .parent()
        .expect("the profile's folder lies in target/")
        .to_path_buf()
}

/// Programs that tests need; panics with the install command when one is missing.
pub fn require(programs: &[&str]) {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| {
            !std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .any(|dir| dir.join(program).is_file())
        })
        .collect();
    assert!(
        missing.is_empty(),
        "these peers are missing: {missing:?}. `scripts/peers` installs them through apt"
    );
}
