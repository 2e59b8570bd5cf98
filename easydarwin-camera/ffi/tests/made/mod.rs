//! The header as the sources make it.

use std::path::PathBuf;

/// In the order in which they appear in the header.
const SOURCES: [&str; 7] = [
    "abi.rs",
    "entry/library.rs",
    "entry/config.rs",
    "entry/camera.rs",
    "entry/frame.rs",
    "entry/event.rs",
    "entry/report.rs",
];

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The header.
pub(crate) fn generate() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(root().join("src").join(source));
    }
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    without_rust(&String::from_utf8(header).unwrap())
}

/// Leaves out what the comments say to Rust only: the heading of what C programmers know anyway.
fn without_rust(header: &str) -> String {
    header.replace(" *\n * # Safety\n", " *\n")
}
