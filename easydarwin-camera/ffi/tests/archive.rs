//! What vendors get: an archive that shows edc_* only, is found by pkg-config, needs libc only, and can be
//! linked beside another library that is written in Rust.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use easydarwin_test_support::process::Workdir;
use easydarwin_test_support::require;

/// Another vendor's library, with a standard library, an allocator and panics of its own.
const OTHER: &str = r#"
#[unsafe(no_mangle)]
pub extern "C" fn other_catches() -> i32 {
    std::panic::set_hook(Box::new(|_| {}));
    let text = format!("{:?}", std::thread::spawn(|| panic!("here")).join().is_err());
    i32::from(text == "true")
}
"#;

const MAIN: &str = r#"
#include <easydarwin_camera.h>
#include <stdio.h>
int other_catches(void);
int main(void)
{
    edc_config *config = edc_config_new();
    edc_camera camera = 0;
    int32_t code;
    edc_config_set_serial(config, "test");
    edc_config_set_push_to(config, "rtsp://127.0.0.1:9/nowhere");
    edc_config_add_stream(config, 1, EDC_CODEC_H264);
    code = edc_start(config, &camera);
    edc_config_free(config);
    if (code == EDC_OK)
        code = edc_destroy(camera);
    printf("%d %d\n", (int)code, other_catches());
    return 0;
}
"#;

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program can be started");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Where this test and the library's files lie.
fn deps() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().to_path_buf()
}

fn lines_with<'a>(text: &'a str, part: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter(move |line| line.contains(part))
}

#[test]
fn the_archive_links_beside_another_rust_library() {
    require(&["gcc", "ld", "objcopy", "nm", "pkg-config"]);
    let workdir = Workdir::new("ffi-archive");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sdk = workdir.file("sdk");
    run(Command::new(root.join("scripts/firmware-archive"))
        .arg("--library")
        .arg(deps().join("libedc.a"))
        .arg(&sdk));

    let archive = sdk.join("lib/libedc.a");
    let symbols = run(Command::new("nm")
        .args(["-g", "--defined-only"])
        .arg(&archive));
    let others: Vec<_> = lines_with(&symbols, " ")
        .filter(|line| !line.contains(" T edc_"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(symbols.contains(" T edc_push_frame"), "{symbols}");

    let (source, other) = (workdir.file("main.c"), workdir.file("other.rs"));
    std::fs::write(&source, MAIN).unwrap();
    std::fs::write(&other, OTHER).unwrap();
    let other_archive = workdir.file("libother.a");
    run(Command::new("rustc")
        .args(["--edition=2024", "--crate-type=staticlib", "-o"])
        .arg(&other_archive)
        .arg(&other));

    let flags = run(Command::new("pkg-config")
        .args(["--static", "--cflags", "--libs", "edc"])
        .env("PKG_CONFIG_PATH", sdk.join("lib/pkgconfig")));
    let program = workdir.file("main");
    run(Command::new("gcc")
        .args(["-Wall", "-Werror"])
        .arg(&source)
        .arg(&other_archive)
        .args(flags.split_whitespace())
        .arg("-o")
        .arg(&program));
    assert_eq!(run(&mut Command::new(&program)), "0 1\n");

    let silent = workdir.file("silent");
    run(Command::new("gcc")
        .args(["-std=gnu11", "-Wall", "-Werror"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/archive.c"))
        .args(flags.split_whitespace())
        .arg("-o")
        .arg(&silent));
    let output = Command::new(&silent).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {printed}", output.status);
    assert_eq!(printed, "", "the standard library prints");

    let dynamic = run(Command::new("readelf").arg("-d").arg(&program));
    for needed in lines_with(&dynamic, "NEEDED") {
        let libc = [
            "[libc.so",
            "[libm.so",
            "[libdl.so",
            "[libpthread.so",
            "[ld-linux",
        ];
        assert!(libc.iter().any(|name| needed.contains(name)), "{needed}");
    }
}

#[test]
fn the_shared_library_is_named_by_its_abi() {
    require(&["readelf"]);
    let dynamic = run(Command::new("readelf")
        .arg("-d")
        .arg(deps().join("libedc.so")));
    let name = format!("[libedc.so.{}]", edc::EDC_ABI_VERSION);
    assert!(
        lines_with(&dynamic, "SONAME").any(|line| line.contains(&name)),
        "{dynamic}"
    );
}
