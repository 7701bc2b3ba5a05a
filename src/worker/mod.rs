//! The worker: queued evaluations in, stored results out. [`Worker::step`] does one job, [`Worker::run`] is a loop round
//! it; tests call the step until the queue is empty.
//!
//! A job reads: claim → load → measure off the runtime → store. Running it twice is harmless, since only the holder of
//! the lease stores. Faults of ours (database away, disk full, evaluator broken) put the job back; only what the evaluator
//! calls the team's fault fails it.

mod device;
mod job;
mod own_images;
pub mod presence;
mod references;
mod run;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, Instant},
};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use run::stop_signal;

use crate::{
    challenge::protocol::DeviceClass,
    evaluation::{self, Job, Measurement, Progress, Tools, machine},
    ids::SubmissionId,
    problem::Problem,
    queue::{self, State},
    storage::Storage,
};

/// What measures a job. In production [`Measure`]; the tests of the queue need no model.
pub trait Evaluator: Send + Sync {
    /// As [`evaluation::evaluate`]: `Ok(Err(_))` is the team's fault, `Err` ours; returns soon after `cancel` is set.
    fn evaluate(
        &self,
        job: &Job,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: Arc<AtomicBool>,
    ) -> anyhow::Result<Result<Measurement, Vec<Problem>>>;

    /// As [`evaluation::make_results`].
    fn make_results(
        &self,
        job: &Job,
        to: &Path,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: Arc<AtomicBool>,
    ) -> anyhow::Result<Result<(), Vec<Problem>>>;
}

/// The real one.
pub struct Measure;

impl Evaluator for Measure {
    fn evaluate(
        &self,
        job: &Job,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: Arc<AtomicBool>,
    ) -> anyhow::Result<Result<Measurement, Vec<Problem>>> {
        evaluation::evaluate(job, progress, cancel)
    }

    fn make_results(
        &self,
        job: &Job,
        to: &Path,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: Arc<AtomicBool>,
    ) -> anyhow::Result<Result<(), Vec<Problem>>> {
        evaluation::make_results(job, to, progress, cancel)
    }
}

/// A worker's knobs. Times are wall time of this process; leases are by the database's clock.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// What an evaluation runs with.
    pub tools: Tools,
    /// Folder of the locks that let one worker at a time use a device; shared by all workers of this machine.
    pub locks: PathBuf,
    /// Folder of decoded copies of HR images, hidden as these are.
    pub decoded: PathBuf,
    /// How long a job stays ours without a heartbeat: a killed worker's job waits so long.
    pub lease: Duration,
    /// Between heartbeats: how soon a cancellation is seen, and how live the progress is.
    pub beat: Duration,
    /// Between looks at the queue when nothing wakes us, and between sweeps for lost jobs.
    pub poll: Duration,
    /// How long a running job may go on after the stop signal before it is handed back.
    pub grace: Duration,
    /// Before a job that failed through us is tried again.
    pub retry_pause: Duration,
    /// Claims of one job before it is given up.
    pub max_attempts: i32,
}

impl Settings {
    /// For `device`, with its locks in `data_dir`.
    pub fn new(device: &str, tools: Tools, data_dir: &Path) -> Settings {
        Settings {
            device: device.to_owned(),
            tools,
            locks: data_dir.join("locks"),
            decoded: data_dir.join("decoded"),
            lease: Duration::from_secs(30),
            beat: Duration::from_secs(1),
            poll: Duration::from_secs(5),
            grace: Duration::from_secs(20),
            retry_pause: Duration::from_secs(10),
            max_attempts: queue::MAX_ATTEMPTS,
        }
    }
}

pub struct Worker {
    pool: PgPool,
    storage: Storage,
    evaluator: Arc<dyn Evaluator>,
    settings: Settings,
    class: DeviceClass,
    /// What the machine calls it: `NVIDIA H100 80GB HBM3`.
    device_name: String,
    /// `host 4711 cpu`: shown to organizers beside the job.
    name: String,
    stop: CancellationToken,
    begun: Instant,
    /// Jobs that it ended.
    jobs: AtomicU64,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Took a job. The state it left it in; `None`: the lease was lost, another worker has the job.
    Done(SubmissionId, Option<State>),
    /// Nothing to do.
    Empty,
    /// Another worker uses the device, or the disk is nearly full.
    Busy,
}

impl Worker {
    /// A worker that stops when `stop` is cancelled. Fails for a device that is neither `cpu` nor `cuda:N`.
    pub fn new(
        pool: PgPool,
        storage: Storage,
        evaluator: Arc<dyn Evaluator>,
        settings: Settings,
        stop: CancellationToken,
    ) -> anyhow::Result<Worker> {
        let class = DeviceClass::of(&settings.device)
            .ok_or_else(|| anyhow::anyhow!("no such device: {:?} (cpu or cuda:N)", settings.device))?;
        std::fs::create_dir_all(&settings.locks)?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "host".into());
        let name = format!("{} {} {}", host.trim(), std::process::id(), settings.device);
        let device_name = machine::device(&settings.device).name;
        let (begun, jobs) = (Instant::now(), AtomicU64::new(0));
        Ok(Worker { pool, storage, evaluator, settings, class, device_name, name, stop, begun, jobs })
    }
}
