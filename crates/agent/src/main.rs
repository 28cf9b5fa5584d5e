//! The sidecar's entry point.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Gives back what a burst took, page by page, which the C library's allocator does not where something that lasts lies in between.
/// The image sets what it needs for that (`MIMALLOC_PURGE_DELAY`) and for a small beginning (`MIMALLOC_ARENA_EAGER_COMMIT`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    agent::cli::run(std::env::args_os().collect())
}
