//! `upscore worker`: takes jobs from the queue and measures them, one at a time per device; run as many as there are
//! machines.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{
    Outcome,
    store::{self, Store},
};
use crate::{
    config::{Limits, find_onnxruntime},
    db,
    evaluation::{Tools, selftest},
    storage::Storage,
    worker::{self, Measure, Worker},
};

/// What a worker measures on.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceOptions {
    /// cpu or cuda:N.
    #[arg(long, env = "UPSCORE_DEVICE", default_value = "cpu", value_name = "DEVICE")]
    pub device: String,
    /// Go on where a protection of the sandbox is missing; the level is stored with each score.
    #[arg(long, env = "UPSCORE_ALLOW_WEAK_SANDBOX")]
    pub allow_weak_sandbox: bool,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceOptions,
    /// How long a job stays this worker's without a sign of life, seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    lease_seconds: u64,
    #[command(flatten)]
    store: store::Options,
}

pub fn run(args: &Args) -> Outcome {
    store::block_on(&args.store.log, async {
        let stop = worker::stop_signal()?;
        let limits = Limits { lease: Duration::from_secs(args.lease_seconds), ..Limits::default() };
        let store = Store::open(&args.store, &limits).await?;
        let worker = make(
            &args.device,
            &limits,
            db::pool(store.connect.clone(), limits.worker_connections),
            store.storage.clone(),
            &args.store.data.data_dir,
            stop,
        )?;
        tracing::info!(device = args.device.device, "the worker is up");
        worker.run().await?;
        store.close().await
    })?;
    Ok(Ok(()))
}

/// A worker of this process.
pub fn make(
    device: &DeviceOptions,
    limits: &Limits,
    pool: PgPool,
    storage: Storage,
    data_dir: &Path,
    stop: CancellationToken,
) -> anyhow::Result<Worker> {
    let runner = std::env::current_exe().context("finding our own program")?;
    let tools = Tools {
        onnxruntime: find_onnxruntime()?,
        runner,
        strict_sandbox: !device.allow_weak_sandbox,
        commit: crate::COMMIT.map(Into::into),
    };
    check_sandbox(&tools, &device.device)?;
    let settings = worker::Settings {
        lease: limits.lease,
        poll: limits.poll,
        max_attempts: limits.attempts,
        ..worker::Settings::new(&device.device, tools, data_dir)
    };
    Worker::new(pool, storage, Arc::new(Measure), settings, stop)
}

/// Refuses to work in a sandbox that lets something through, unless told otherwise.
fn check_sandbox(tools: &Tools, device: &str) -> anyhow::Result<()> {
    let report = selftest::run(tools, device).context("the self-test of the sandbox")?;
    let open: Vec<&str> = report.probes.iter().filter(|p| p.open).map(|p| p.escape.as_str()).collect();
    if open.is_empty() {
        let (escapes, threads) = (report.probes.len(), report.threads.len());
        tracing::info!(level = report.level, escapes, threads, "the sandbox holds");
        return Ok(());
    }
    let open = open.join("; ");
    anyhow::ensure!(
        !tools.strict_sandbox,
        "the sandbox ({}) does not hold, a model could: {open}. On a machine of your own, --allow-weak-sandbox goes on",
        report.level
    );
    tracing::warn!(level = report.level, open, "the sandbox does not hold; going on as told");
    Ok(())
}
