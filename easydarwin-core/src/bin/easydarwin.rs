//! The media server as a program; see `easydarwin --help`.

/// Asks the kernel for huge pages. The rings of many streams are more memory than the processor has
/// page translations for, and with 4 KiB pages each picture paid for a dozen of them: half of the
/// CPU time at 150 streams on a virtual machine.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    easydarwin_core::cli::main()
}
