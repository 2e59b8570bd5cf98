//! The media server as a program; see `easydarwin --help`.

/// Asks the kernel for huge pages. The rings of many streams are more memory than the processor has
/// page translations for: copying 10 KB into 100 MB of it took 3 to 6 µs with pages of 4 KiB, 1.1
/// with huge ones (a virtual machine, where translations are dear).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    easydarwin_core::cli::main()
}
