//! Programs that were built before go on: what the header says is what it said when programs were
//! built with it, and more at most.
//!
//! `abi/N` belongs to version N of the interface: `record.txt` holds what programs were compiled
//! into, on 64-bit machines, `easydarwin_camera.h` is the header as it was first given away.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod made;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use made::{generate, root};

const RECORD: &str = "\
# What programs rely on that were built with this version, on 64-bit machines. Lines may be added, at the
# end of structs too; none may change or go while EDC_ABI_VERSION stays the same. Written by
#     EDC_WRITE_ABI=1 cargo test -p easydarwin-camera-ffi --test abi
";

/// Everything in the header that a program is compiled into, by its name.
type Interface = BTreeMap<String, String>;

/// Reads a header. Offsets and sizes are the compiler's.
fn read(header: &str) -> Interface {
    let mut interface = Interface::new();
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").expect("comments end").1;
    }
    code.push_str(rest);
    let (mut statements, mut skipping) = (String::new(), false);
    for line in code.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        match word {
            // What only C++ sees.
            "#ifdef" => skipping = true,
            "#endif" | "#else" => skipping = false,
            "#define" => {
                let mut words = line.split_whitespace().skip(1);
                let (name, value) = (words.next().unwrap(), words.collect::<Vec<_>>().join(" "));
                if name.starts_with("EDC_") && !name.contains('(') {
                    interface.insert(format!("constant {name}"), value);
                }
            }
            _ if skipping || word.starts_with('#') => {}
            _ => {
                statements.push_str(line);
                statements.push('\n');
            }
        }
    }
    let mut depth = 0;
    let statements = statements.split_inclusive(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ';' && depth == 0
    });
    for statement in statements {
        let words = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = words.trim_end_matches(';').trim();
        if let Some((head, body)) = text.split_once('{') {
            let name = head.trim().trim_start_matches("typedef struct ").to_owned();
            let (fields, _) = body.split_once('}').expect("structs end");
            for field in fields.split(';').map(str::trim).filter(|f| !f.is_empty()) {
                let (field, kind) = match function_pointer(field) {
                    Some(field_name) => (field_name, field),
                    None => {
                        let at = field.rfind([' ', '*']).expect("type and name") + 1;
                        (&field[at..], field[..at].trim())
                    }
                };
                interface.insert(format!("field {name}.{field}"), kind.to_owned());
            }
            interface.insert(format!("struct {name}"), String::new());
        } else if let Some(kind) = text.strip_prefix("typedef ") {
            let last = || kind.rsplit(' ').next().expect("a name");
            let name = function_pointer(kind).unwrap_or_else(last);
            interface.insert(format!("type {name}"), kind.to_owned());
        } else if let Some((head, _)) = text.split_once('(') {
            let name = head.rsplit([' ', '*']).next().expect("a name");
            interface.insert(format!("function {name}"), text.to_owned());
        }
    }
    measure(header, &mut interface);
    interface
}

/// The name that is declared as a pointer to a function.
fn function_pointer(declaration: &str) -> Option<&str> {
    let (_, name) = declaration.split_once("(*")?;
    Some(name.split_once(')')?.0)
}

/// Puts size and offsets in front of what is known of structs and their fields.
fn measure(header: &str, interface: &mut Interface) {
    let mut program =
        format!("{header}\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {{\n");
    let mut asked = Vec::new();
    for name in interface.keys() {
        let value = match name.split_once(' ') {
            Some(("struct", name)) => format!("sizeof({name})"),
            Some(("field", path)) => format!("offsetof({})", path.replace('.', ", ")),
            _ => continue,
        };
        asked.push(name.clone());
        writeln!(program, "    printf(\"%zu\\n\", {value});").unwrap();
    }
    program.push_str("    return 0;\n}\n");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let stem = format!("abi-{:?}", std::thread::current().id());
    let (source, binary) = (dir.join(format!("{stem}.c")), dir.join(&stem));
    std::fs::write(&source, program).unwrap();
    let compiled = Command::new("gcc")
        .arg(&source)
        .arg("-o")
        .arg(&binary)
        .output();
    let compiled = compiled.expect("gcc is needed");
    let errors = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{errors}");
    let said = Command::new(&binary).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    for (name, number) in asked.into_iter().zip(said.lines()) {
        let known = interface.get_mut(&name).unwrap();
        *known = format!("{number} {known}").trim().to_owned();
    }
}

fn number(text: &str) -> u64 {
    text.split(' ').next().unwrap().parse().unwrap()
}

/// What would break programs that were built when the interface was `before`.
fn broken(before: &Interface, now: &Interface) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, was) in before {
        // The caller says how large it is.
        let sized = |name: &str| before.contains_key(&format!("field {name}.size"));
        match (now.get(name), name.strip_prefix("struct ")) {
            (None, _) => faults.push(format!("{name} is gone")),
            (Some(is), Some(of)) if sized(of) && number(is) >= number(was) => {}
            (Some(is), _) if is == was => {}
            (Some(is), _) => faults.push(format!("{name} was {was:?} and is {is:?}")),
        }
    }
    for (name, is) in now {
        let Some((of, _)) = name
            .strip_prefix("field ")
            .and_then(|path| path.split_once('.'))
        else {
            continue;
        };
        let known = before.get(&format!("struct {of}"));
        if let Some(size) = known.filter(|_| !before.contains_key(name))
            && number(is) < number(size)
        {
            // Older programs end there, and have anything in what was padding.
            faults.push(format!("{name} is new and not at the end"));
        }
    }
    faults
}

fn write(interface: &Interface) -> String {
    let lines = interface
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"));
    RECORD.to_owned() + &lines.collect::<String>()
}

fn parse(record: &str) -> Interface {
    let lines = record.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once(" = ").expect("name = value");
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

#[cfg(target_pointer_width = "64")]
#[test]
fn programs_of_this_version_go_on() {
    let now = read(&generate());
    let version = &now["constant EDC_ABI_VERSION"];
    let path = root().join(format!("abi/{version}/record.txt"));
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let before = parse(&kept);
    let faults = broken(&before, &now);
    assert!(
        faults.is_empty(),
        "programs built with version {version} would break; undo this, or raise EDC_ABI_VERSION and \
         keep the header in abi/: {faults:#?}"
    );
    if std::env::var_os("EDC_WRITE_ABI").is_some() {
        std::fs::write(&path, write(&now)).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        recorded == write(&now),
        "{} does not hold what was added; write it anew with\n    \
         EDC_WRITE_ABI=1 cargo test -p easydarwin-camera-ffi --test abi",
        path.display()
    );
    let first = read(&std::fs::read_to_string(path.with_file_name("easydarwin_camera.h")).unwrap());
    let faults = broken(&first, &now);
    assert!(faults.is_empty(), "of the first header: {faults:#?}");
}

/// A header with one struct of `fields` and more text behind it.
fn header(fields: &str, more: &str) -> Interface {
    read(&format!(
        "#include <stdint.h>\n/* it's; a {{comment */\n#define EDC_A 1\ntypedef uint64_t edc_h;\n\
         typedef struct s {{\n  /* x */\n  uint32_t size;\n{fields}}} s;\nint32_t edc_f(edc_h h,\n  s *s);\n{more}"
    ))
}

#[test]
fn what_breaks_programs_is_seen() {
    let before = header("  const char *text;\n  uint32_t last;\n", "");
    assert_eq!(before["constant EDC_A"], "1");
    assert_eq!(before["function edc_f"], "int32_t edc_f(edc_h h, s *s)");
    assert_eq!(before["type edc_h"], "uint64_t edc_h");
    let same = |fields: &str, more: &str| broken(&before, &header(fields, more));
    let fields = "  const char *text;\n  uint32_t last;\n";
    let none: [&str; 0] = [];
    assert_eq!(same(fields, "#define EDC_B 2\nvoid edc_g(void);\n"), none);
    assert_eq!(same(&format!("{fields}  uint64_t more;\n"), ""), none);
    for (fields, fault) in [
        ("  const char *text;\n", "field s.last is gone"),
        ("  uint64_t text;\n  uint32_t last;\n", "field s.text was"),
        (
            "  const char *text;\n  uint32_t new;\n  uint32_t last;\n",
            "field s.last was",
        ),
        // In the padding.
        (
            "  const char *text;\n  uint32_t last;\n  uint32_t new;\n",
            "new and not at the end",
        ),
    ] {
        let faults = same(fields, "");
        assert!(
            faults.iter().any(|f| f.contains(fault)),
            "{fault}: {faults:?}"
        );
    }
    for (from, to, fault) in [
        ("EDC_A 1", "EDC_A 2", "constant EDC_A was"),
        ("#define EDC_A 1\n", "", "constant EDC_A is gone"),
        ("uint64_t edc_h", "uint32_t edc_h", "type edc_h was"),
        (
            "int32_t edc_f(edc_h",
            "int32_t edc_f(int32_t",
            "function edc_f was",
        ),
        ("edc_f(", "edc_other(", "function edc_f is gone"),
    ] {
        let text = "#include <stdint.h>\n#define EDC_A 1\ntypedef uint64_t edc_h;\n\
             typedef struct s { uint32_t size; const char *text; uint32_t last; } s;\n\
             int32_t edc_f(edc_h h, s *s);\n";
        assert_eq!(broken(&before, &read(text)), none);
        let faults = broken(&before, &read(&text.replace(from, to)));
        assert!(
            faults.iter().any(|f| f.contains(fault)),
            "{fault}: {faults:?}"
        );
    }
    let calls = read("typedef struct f { int size; void *(*open)(void *user, int fd); } f;\n");
    assert_eq!(calls["field f.open"], "8 void *(*open)(void *user, int fd)");
    // Elements of an array cannot grow.
    let part = |more: &str| {
        read(&format!(
            "#include <stdint.h>\ntypedef struct part {{ uint64_t a; {more}}} part;\n"
        ))
    };
    assert!(!broken(&part(""), &part("uint64_t b; ")).is_empty());
}
