//! What commands print: `outln!` and `out!` to stdout, `errln!` and `err!` to stderr.
//!
//! `println!` ends the program with a panic where whoever read it has gone, as behind `| head`. To us that means that they have
//! read enough: the command goes on and ends as it would have. That stdout is full is a failure of the command.

use std::{
    fmt::Arguments,
    io::{self, ErrorKind, Write},
    sync::OnceLock,
};

/// The first failure that mattered.
static FAILED: OnceLock<String> = OnceLock::new();

pub fn to_stdout(words: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(words).and_then(|()| stdout.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = FAILED.set(error.to_string());
    }
}

/// Nothing is left to say it to where this fails.
pub fn to_stderr(words: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(words);
}

/// Whether all that was printed got out.
pub fn check() -> anyhow::Result<()> {
    match FAILED.get() {
        None => Ok(()),
        Some(error) => Err(anyhow::anyhow!("writing to stdout: {error}")),
    }
}

macro_rules! out {
    ($($words:tt)*) => { $crate::cli::output::to_stdout(format_args!($($words)*)) };
}

macro_rules! outln {
    ($($words:tt)*) => { $crate::cli::output::to_stdout(format_args!("{}\n", format_args!($($words)*))) };
}

macro_rules! err {
    ($($words:tt)*) => { $crate::cli::output::to_stderr(format_args!($($words)*)) };
}

macro_rules! errln {
    ($($words:tt)*) => { $crate::cli::output::to_stderr(format_args!("{}\n", format_args!($($words)*))) };
}

pub(crate) use {err, errln, out, outln};
