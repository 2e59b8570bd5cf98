//! The CMS as a program; see `easydarwin-cms --help`.

fn main() -> std::process::ExitCode {
    easydarwin_cms::cli::main()
}
