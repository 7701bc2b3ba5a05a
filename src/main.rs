use std::process::ExitCode;

fn main() -> ExitCode {
    upscore::cli::main()
}
