//! The media server as a program; see `easydarwin --help`.

fn main() -> std::process::ExitCode {
    easydarwin_core::cli::main()
}
