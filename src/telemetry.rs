//! The log: to stderr, so that stdout holds results only.

use std::io;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::LogOptions;

/// Lines for people, or a JSON object a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Starts logging, for the whole process; a second call changes nothing.
pub fn init(options: &LogOptions) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.filter)
        .with_context(|| format!("the log filter {:?} (--log, UPSCORE_LOG)", options.filter))?;
    // Whoever read the log may be gone: that a line was not written must not end who wrote it.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    // An error means that a subscriber is set already, as in tests.
    let _ = match options.format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    Ok(())
}
