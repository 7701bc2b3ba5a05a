//! The step and the loop round it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinHandle, time};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Step, Worker, device::DeviceLock, own_images, references};
use crate::{
    db,
    evaluation::{Job, Measurement, Progress},
    ids::SubmissionId,
    problem::Problem,
    queue::{self, Beat, Claimed, Lease, State, Wakeups},
};

/// Between looks at a device that another worker uses.
const BUSY: Duration = Duration::from_millis(200);
/// First and longest pause between tries to reach the database.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));
/// Between clean-ups of abandoned temporary files.
const STORAGE_SWEEP: Duration = Duration::from_secs(3600);

type Outcome = anyhow::Result<Result<Measurement, Vec<Problem>>>;

/// Why a run was ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Cancelled,
    LeaseLost,
    /// The worker is to stop and the grace is over.
    Stopped,
}

/// Cancelled by SIGTERM or SIGINT.
pub fn stop_signal() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
        info!("told to stop: no more jobs are taken");
        stop.cancel();
    });
    Ok(token)
}

impl Worker {
    /// Works until it is told to stop. Waits for a database that is away; takes nothing while the disk is nearly full.
    pub async fn run(&self) -> anyhow::Result<()> {
        info!(worker = %self.name, "worker started");
        tokio::select! {
            () = self.be_present() => {}
            () = self.work() => {}
        }
        self.say_goodbye().await;
        info!(worker = %self.name, "worker stopped");
        Ok(())
    }

    async fn work(&self) {
        let mut pause = Backoff::new();
        let mut swept: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            // Listening before looking: what is queued in between wakes us.
            let connected = async {
                let mut wakeups = Wakeups::listen(&self.pool, self.class).await?;
                pause.reset();
                self.until_trouble(&mut wakeups, &mut swept).await
            };
            if let Err(error) = connected.await {
                warn!(%error, "the worker cannot work at the moment and tries again");
                self.sleep(pause.next()).await;
            }
        }
    }

    async fn until_trouble(&self, wakeups: &mut Wakeups, swept: &mut Option<Instant>) -> anyhow::Result<()> {
        let mut last_sweep: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            if last_sweep.is_none_or(|at| at.elapsed() >= self.settings.poll) {
                self.sweep(swept).await?;
                last_sweep = Some(Instant::now());
            }
            let wait = match self.step().await? {
                Step::Done(..) => continue,
                Step::Empty => self.settings.poll,
                Step::Busy => BUSY,
            };
            tokio::select! {
                woken = wakeups.next() => woken?,
                () = self.sleep(wait) => {}
            }
        }
        Ok(())
    }

    /// Puts lost jobs back, and now and then removes abandoned uploads.
    async fn sweep(&self, storage_swept: &mut Option<Instant>) -> anyhow::Result<()> {
        let mut conn = self.pool.acquire().await?;
        let swept = queue::requeue_lost(&mut conn, self.settings.max_attempts).await?;
        if swept.requeued > 0 {
            warn!(jobs = swept.requeued, "a worker was lost; its jobs are queued again");
        }
        if swept.failed > 0 {
            error!(jobs = swept.failed, "jobs were given up: their worker was lost each time");
        }
        if storage_swept.is_none_or(|at| at.elapsed() >= STORAGE_SWEEP) {
            let storage = self.storage.clone();
            let removed = tokio::task::spawn_blocking(move || storage.sweep()).await??;
            if removed > 0 {
                info!(files = removed, "removed abandoned uploads");
            }
            *storage_swept = Some(Instant::now());
        }
        Ok(())
    }

    /// Does one job, if there is one. An error means that the database is away and no job was taken.
    pub async fn step(&self) -> anyhow::Result<Step> {
        if let Err(error) = self.storage.check_space() {
            warn!(%error, "no job is taken");
            return Ok(Step::Busy);
        }
        // Before the claim, so that no lease runs while we wait for the device.
        let Some(device) = DeviceLock::try_take(&self.settings.locks, &self.settings.device)? else {
            return Ok(Step::Busy);
        };
        let claimed = {
            let mut conn = self.pool.acquire().await?;
            queue::claim(&mut conn, &self.name, (self.class, &self.device_name), self.settings.lease).await?
        };
        let Some(claimed) = claimed else { return Ok(Step::Empty) };
        let Claimed { lease, submission, attempt } = claimed;
        let started = Instant::now();
        info!(%submission, evaluation = %lease.evaluation, attempt, "evaluation starts");
        let loaded = async { self.load(&mut *self.pool.acquire().await?, lease.evaluation).await };
        let (outcome, ended) = match loaded.await {
            Ok((job, of_its_own)) => self.measure(job, of_its_own, lease).await,
            Err(error) => (Err(error), None),
        };
        drop(device);
        let state = self.store(lease, outcome, ended).await;
        self.jobs.fetch_add(1, Ordering::Relaxed);
        let seconds = started.elapsed().as_secs_f64();
        match state {
            Some(state) => info!(%submission, state = state.as_str(), seconds, "evaluation ended"),
            None => warn!(%submission, seconds, "the lease was lost; the result is dropped"),
        }
        Ok(Step::Done(submission, state))
    }

    /// Runs the evaluator on a thread of its own, with a heartbeat beside it.
    /// `of_its_own`: the entry whose results its own model makes first.
    async fn measure(&self, job: Job, of_its_own: Option<SubmissionId>, lease: Lease) -> (Outcome, Option<Ended>) {
        let cancel = Arc::new(AtomicBool::new(false));
        let (report, progress) = watch::channel(None::<Progress>);
        let (evaluator, flag) = (self.evaluator.clone(), cancel.clone());
        let (decoded, storage) = (self.settings.decoded.clone(), self.storage.clone());
        let (pool, runtime) = (self.pool.clone(), tokio::runtime::Handle::current());
        let mut run: JoinHandle<Outcome> = tokio::task::spawn_blocking(move || {
            let mut job = references::decoded(job, &decoded, &storage);
            let progress = |p| {
                let _ = report.send_replace(Some(p));
            };
            if let Some(entry) = of_its_own {
                let folder = storage.scratch()?;
                let made = folder.path().join("results.zip");
                if let Err(problems) = evaluator.make_results(&job, &made, &progress, flag.clone())? {
                    return Ok(Err(problems));
                }
                job.results = runtime.block_on(own_images::keep(&pool, &storage, entry, made))?;
            }
            evaluator.evaluate(&job, &progress, flag)
        });
        let watching = async {
            tokio::select! {
                ended = self.heartbeats(lease, progress) => ended,
                () = self.grace_over() => Ended::Stopped,
            }
        };
        tokio::select! {
            outcome = &mut run => (joined(outcome), None),
            ended = watching => {
                cancel.store(true, Ordering::SeqCst);
                (joined(run.await), Some(ended))
            }
        }
    }

    /// Keeps the lease until there is a reason to end the run.
    async fn heartbeats(&self, lease: Lease, progress: watch::Receiver<Option<Progress>>) -> Ended {
        let mut beat = time::interval(self.settings.beat);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let now = *progress.borrow();
            let heard =
                async { queue::heartbeat(&mut *self.pool.acquire().await?, lease, self.settings.lease, now).await };
            match heard.await {
                Ok(Beat::GoOn) => {}
                Ok(Beat::Cancel) => return Ended::Cancelled,
                Ok(Beat::Lost) => return Ended::LeaseLost,
                // The database may be back before the lease is over; if not, the token decides.
                Err(error) => warn!(%error, "a heartbeat was not heard"),
            }
        }
    }

    async fn grace_over(&self) {
        self.stop.cancelled().await;
        time::sleep(self.settings.grace).await;
    }

    /// Stores how a run ended, and keeps trying while the database is away: the result took minutes to make. `None`: the
    /// lease was lost, or we stop before the database is back.
    async fn store(&self, lease: Lease, outcome: Outcome, ended: Option<Ended>) -> Option<State> {
        let mut pause = Backoff::new();
        let mut refused = false;
        loop {
            let stored = async {
                let mut conn = self.pool.acquire().await?;
                let conn = &mut *conn;
                let retry = self.settings.retry_pause;
                let state = match (&outcome, ended) {
                    _ if refused => queue::retry(conn, lease, retry, self.settings.max_attempts).await?,
                    (_, Some(Ended::LeaseLost)) => None,
                    // It finished while it was told to stop: the result counts.
                    (Ok(Ok(measurement)), _) => queue::finish(conn, lease, measurement).await?,
                    (_, Some(Ended::Cancelled)) => queue::cancelled(conn, lease).await?,
                    (_, Some(Ended::Stopped)) => queue::hand_back(conn, lease).await?,
                    (Ok(Err(problems)), None) => queue::fail(conn, lease, problems).await?,
                    (Err(error), None) => {
                        error!(evaluation = %lease.evaluation, error = format!("{error:#}"), "a fault of ours");
                        queue::retry(conn, lease, retry, self.settings.max_attempts).await?
                    }
                };
                anyhow::Ok(state)
            };
            match stored.await {
                Ok(state) => return state,
                Err(error) if db::is_away(&error) => {
                    let pause = pause.next();
                    warn!(%error, "the database is away; the result is kept, next try in {pause:?}");
                    tokio::select! {
                        () = time::sleep(pause) => {}
                        () = self.grace_over() => return None,
                    }
                }
                Err(error) if !refused => {
                    error!(evaluation = %lease.evaluation, error = format!("{error:#}"), "the result cannot be stored");
                    refused = true;
                }
                Err(error) => {
                    error!(evaluation = %lease.evaluation, error = format!("{error:#}"), "the job is left to the sweep");
                    return None;
                }
            }
        }
    }

    /// Sleeps, but no longer than until the stop.
    async fn sleep(&self, duration: Duration) {
        tokio::select! { () = time::sleep(duration) => {} () = self.stop.cancelled() => {} }
    }
}

/// A panic in the evaluator is a fault of ours like any other.
fn joined(outcome: Result<Outcome, tokio::task::JoinError>) -> Outcome {
    outcome.unwrap_or_else(|error| Err(anyhow::anyhow!("the evaluator panicked: {error}")))
}

/// Doubling pauses.
struct Backoff(Duration);

impl Backoff {
    fn new() -> Backoff {
        Backoff(BACKOFF.0)
    }

    fn reset(&mut self) {
        self.0 = BACKOFF.0;
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(BACKOFF.1);
        pause
    }
}
