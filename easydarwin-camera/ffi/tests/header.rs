//! The header that is delivered is the one that the sources make, and C sees the structs as Rust
//! lays them out.
#![allow(clippy::unwrap_used)]

mod made;

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;

use edc::{edc_event, edc_frame, edc_part, edc_stats, edc_tls};
use made::{generate, root};

const HEADER: &str = "include/easydarwin_camera.h";

#[test]
fn the_header_is_what_the_sources_make() {
    let made = generate();
    let path = root().join(HEADER);
    if std::env::var_os("EDC_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "{HEADER} is not what the sources make; write it anew with\n    \
         EDC_WRITE_HEADER=1 cargo test -p easydarwin-camera-ffi --test header"
    );
}

/// Sizes and offsets, as `name number` lines.
macro_rules! layout {
    ($table:ident, $type:ident: $($field:ident)+) => {
        writeln!($table, "{} {}", stringify!($type), size_of::<$type>()).unwrap();
        $(writeln!(
            $table, "{}.{} {}", stringify!($type), stringify!($field), offset_of!($type, $field)
        ).unwrap();)+
    };
}

#[test]
fn c_lays_the_structs_out_as_rust_does() {
    let mut table = String::new();
    layout!(table, edc_part: data length);
    layout!(table, edc_frame: size flags pts_us parts part_count);
    layout!(table, edc_event: size kind channel lost command value stream text detail argument
        data data_length);
    layout!(table, edc_stats: size faults pushed sent dropped_not_wanted dropped_not_connected
        dropped_queue dropped_waits dropped_late dropped_push_ended dropped_size dropped_format
        dropped_closed events_lost dropped_not_selected);
    layout!(table, edc_tls: size open handshake read write close describe);

    let mut program = String::from(
        "#include \"easydarwin_camera.h\"\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n",
    );
    for line in table.lines() {
        let (name, _) = line.split_once(' ').unwrap();
        let value = match name.split_once('.') {
            None => format!("sizeof({name})"),
            Some((of, field)) => format!("offsetof({of}, {field})"),
        };
        writeln!(program, "    printf(\"{name} %zu\\n\", {value});").unwrap();
    }
    program.push_str("    return 0;\n}\n");

    for (compiler, extension, standard) in [("gcc", "c", "-std=c99"), ("g++", "cc", "-std=c++11")] {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = dir.join(format!("layout.{extension}"));
        let binary = dir.join(format!("layout-{extension}"));
        std::fs::write(&source, &program).unwrap();
        let compiled = Command::new(compiler)
            .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
            .arg(root().join("include"))
            .args([&source, Path::new("-o"), &binary])
            .output()
            .unwrap();
        assert!(
            compiled.status.success(),
            "{compiler}: {}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        let said = Command::new(&binary).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), table, "{compiler}");
    }
}
