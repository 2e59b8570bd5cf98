//! C and C++ programs: compiled, linked with the static library, run under valgrind.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use easydarwin_test_support::process::{Process, Workdir};
use easydarwin_test_support::require;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The static library that belongs to this test.
pub(crate) fn library() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let path = exe.parent().unwrap().join("libedc.a");
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

/// A compiled program.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    variables: Vec<(String, String)>,
}

impl Program {
    pub(crate) fn c(source: &str) -> Self {
        Self::c_with("include", source)
    }

    /// The same with the header in this directory.
    pub(crate) fn c_with(header: &str, source: &str) -> Self {
        Self::compile("gcc", &["-std=gnu11"], header, source, &[])
    }

    /// A program in C that brings mbedTLS.
    pub(crate) fn with_mbedtls(source: &str) -> Self {
        let wraps = "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign";
        let wraps = source.ends_with("tls.c").then_some(wraps);
        let adapter = root().join("examples/tls_mbedtls.c");
        let mut more = vec![adapter.to_str().expect("a path in UTF-8")];
        more.extend(["-lmbedtls", "-lmbedx509", "-lmbedcrypto"]);
        more.extend(wraps);
        Self::compile(
            "gcc",
            &["-std=gnu11", "-DWITH_MBEDTLS"],
            "include",
            source,
            &more,
        )
    }

    pub(crate) fn cpp(source: &str) -> Self {
        let options = ["-std=c++11", "-static-libstdc++"];
        Self::compile("g++", &options, "include", source, &[])
    }

    /// `more`: sources and libraries beside ours.
    fn compile(
        compiler: &str,
        options: &[&str],
        header: &str,
        source: &str,
        more: &[&str],
    ) -> Self {
        require(&[compiler]);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let name = source.replace(['/', '.'], "-");
        // Tests run side by side, and some take the same program.
        let path = dir.join(format!("{name}-{:?}", std::thread::current().id()));
        let output = Command::new(compiler)
            .args(options)
            .args([
                "-g",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-static-libgcc",
                "-I",
            ])
            .arg(root().join(header))
            .arg(root().join(source))
            .args(more)
            .arg(library())
            .args(["-pthread", "-ldl", "-lm", "-o"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{compiler} {source}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self {
            path,
            variables: Vec::new(),
        }
    }

    /// Sets a variable of its environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it under valgrind, which looks for errors and definite leaks.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        workdir: &Workdir,
        args: impl IntoIterator<Item = S>,
    ) -> Running {
        require(&["valgrind"]);
        let report = workdir.file("valgrind.txt");
        let mut command = Command::new("valgrind");
        command
            .args([
                "--leak-check=full",
                "--errors-for-leak-kinds=definite",
                "--fair-sched=yes",
            ])
            .args(["--child-silent-after-fork=yes", "--error-exitcode=99"])
            .arg(format!("--log-file={}", report.display()))
            .arg(&self.path)
            .envs(self.variables.iter().cloned())
            .args(args);
        Running {
            process: Process::spawn(workdir, "program", command),
            report,
        }
    }
}

/// A program under valgrind.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    report: PathBuf,
}

impl Running {
    /// It ends well, and valgrind has nothing to say.
    pub(crate) fn expect_success(&mut self, limit: Duration) {
        let status = self.process.wait(limit);
        let report = std::fs::read_to_string(&self.report).unwrap_or_default();
        assert!(
            status.is_some_and(|status| status.success()),
            "{status:?}\n{}\n{report}",
            self.output()
        );
        assert!(report.contains("ERROR SUMMARY: 0 errors"), "{report}");
    }

    /// It says that it failed; valgrind has nothing to say.
    pub(crate) fn expect_failure(&mut self, limit: Duration) {
        let status = self.process.wait(limit);
        let report = std::fs::read_to_string(&self.report).unwrap_or_default();
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(1), "{}\n{report}", self.output());
    }

    /// It ends well, and neither the program nor the library has written anything.
    pub(crate) fn expect_silent_success(&mut self, limit: Duration) {
        self.expect_success(limit);
        assert_eq!(self.output(), "");
    }

    pub(crate) fn output(&self) -> String {
        self.process.log()
    }
}
