//! The model's process and nothing else, for who uses this crate by itself; `upscore runner` is the same.

use std::process::ExitCode;

fn main() -> ExitCode {
    upscore_evaluation::runner::main()
}
