//! Workers killed with `kill -9` at random moments: every submission ends, none is scored twice.
//!
//! The worker processes are this test binary started again, so that the kills hit between any two statements of the real
//! worker while its evaluator takes tenths of a second; the last test does the same to `upscore worker`.

use std::{
    collections::HashMap,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use upscore::{
    db,
    evaluation::{Job, Measurement, Progress},
    ids::SubmissionId,
    problem::Problem,
    queue::{Fault, Feed, State},
    storage::Storage,
    worker::{self, Evaluator, Settings, Worker},
};

use crate::support::{
    app::{App, measurement},
    files,
};

const WORKERS: usize = 3;
const KILLS: usize = 24;
const DATABASE: &str = "UPSCORE_TEST_WORKER_DATABASE";
const FOLDER: &str = "UPSCORE_TEST_WORKER_FOLDER";

/// Not a test: the body of a worker process, which only [`killed_workers_lose_and_double_nothing`] starts.
#[tokio::test]
#[ignore = "started by killed_workers_lose_and_double_nothing"]
async fn worker_process() {
    let (Ok(database), Ok(folder)) = (std::env::var(DATABASE), std::env::var(FOLDER)) else { return };
    let pool = db::pool(database.parse().expect("a URL"), 4);
    let storage = Storage::local(&folder, 0).expect("a storage");
    // Any device name but the lock's: these processes are to run side by side.
    let settings = Settings {
        device: format!("cpu:{}", std::process::id()),
        lease: Duration::from_millis(800),
        beat: Duration::from_millis(100),
        poll: Duration::from_millis(100),
        max_attempts: 10,
        ..App::settings_in(folder.as_ref())
    };
    let stop = worker::stop_signal().expect("signals");
    let worker = Worker::new(pool, storage, Arc::new(Slow), settings, stop).expect("a worker");
    worker.run().await.expect("a clean end");
}

/// Takes up to 0.8 s, so that most kills hit a job, and always measures the same.
struct Slow;

impl Evaluator for Slow {
    fn evaluate(
        &self,
        _: &Job,
        _: &(dyn Fn(Progress) + Sync),
        _: Arc<AtomicBool>,
    ) -> anyhow::Result<Result<Measurement, Vec<Problem>>> {
        std::thread::sleep(Duration::from_millis(rand::random_range(0..800)));
        Ok(Ok(measurement()))
    }

    fn make_results(
        &self,
        _: &Job,
        _: &Path,
        _: &(dyn Fn(Progress) + Sync),
        _: Arc<AtomicBool>,
    ) -> anyhow::Result<Result<(), Vec<Problem>>> {
        anyhow::bail!("no entry here has images of its own")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_workers_lose_and_double_nothing() {
    let app = App::start().await;
    let phase = app.phase().await;
    let mut entries = Vec::new();
    for n in 0..5 {
        let team = app.team(&phase, &format!("team {n}")).await;
        for _ in 0..6 {
            entries.push(app.enter(&phase, team).await);
        }
    }
    let database = app.database_url();
    let folder = app.folder.path().to_owned();
    let spawn = move || {
        Command::new(std::env::current_exe().expect("this binary"))
            .args(["crash::worker_process", "--exact", "--ignored"])
            .env(DATABASE, &database)
            .env(FOLDER, &folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("a worker process")
    };
    kill_until_done(&app, &entries, spawn, 20..250).await;
}

/// The real thing: `upscore worker` with ONNX Runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_real_workers_lose_and_double_nothing() {
    let app = App::start().await;
    let phase = app.real_phase().await;
    let mut entries = Vec::new();
    for n in 0..5 {
        let team = app.team(&phase, &format!("team {n}")).await;
        for m in 0..6 {
            let results = files::results(n * 20 + m * 3);
            entries.push(app.submit(&phase, team, &results).await.expect("accepted").submission);
        }
    }
    let database = app.database_url();
    let folder = app.folder.path().to_owned();
    let spawn = move || {
        Command::new(env!("CARGO_BIN_EXE_upscore"))
            .args(["worker", "--device", "cpu", "--lease-seconds", "3"])
            .env("DATABASE_URL", &database)
            .env("UPSCORE_DATA_DIR", &folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("a worker process")
    };
    kill_until_done(&app, &entries, spawn, 100..400).await;
}

/// Workers at work, ended with the test whatever its outcome.
struct Crew(Vec<Child>);

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

/// Which of the crew has a job, as soon as one has; `None`: no job is left. Where a job takes milliseconds and a start
/// takes longer, kills at random could hit none.
async fn busy(app: &App, crew: &Crew) -> Option<usize> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let live: Vec<(String, Option<String>)> =
            sqlx::query_as("select state, worker from evaluation where state in ('queued', 'running')")
                .fetch_all(&app.pool)
                .await
                .expect("the jobs");
        if live.is_empty() {
            return None;
        }
        let running = live.iter().filter(|(state, _)| state == "running").filter_map(|(_, worker)| worker.as_deref());
        let names: Vec<&str> = running.collect();
        let has_job = |child: &Child| names.iter().any(|name| name.contains(&format!(" {} ", child.id())));
        if let Some(found) = crew.0.iter().position(has_job) {
            return Some(found);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("no worker takes a job");
}

/// Kills a worker every so many milliseconds and starts another, then lets them finish, then checks the history. Every
/// other kill waits for a worker that has a job; the rest hit wherever they hit, between two jobs too.
async fn kill_until_done(app: &App, entries: &[SubmissionId], spawn: impl Fn() -> Child, pause: std::ops::Range<u64>) {
    let feed = Feed::start(app.pool.clone());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut events = feed.subscribe();
    let mut crew = Crew((0..WORKERS).map(|_| spawn()).collect());
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(rand::random_range(pause.clone()))).await;
        let victim = match kill % 2 {
            0 => busy(app, &crew).await.unwrap_or(0),
            _ => rand::random_range(0..WORKERS),
        };
        // Child::kill is SIGKILL.
        crew.0[victim].kill().expect("killed");
        crew.0[victim].wait().expect("gone");
        crew.0[victim] = spawn();
    }
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let live: i64 = sqlx::query_scalar("select count(*) from evaluation where state in ('queued', 'running')")
            .fetch_one(&app.pool)
            .await
            .expect("a count");
        if live == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{live} submissions have not ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for worker in &mut crew.0 {
        let id = i32::try_from(worker.id()).expect("a process id");
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(id, libc::SIGTERM) };
        assert!(worker.wait().expect("gone").success(), "a stopped worker exits with 0");
    }

    let mut scored: HashMap<SubmissionId, usize> = HashMap::new();
    while let Ok(event) = events.try_recv() {
        if event.state == State::Scored {
            *scored.entry(event.submission).or_default() += 1;
        }
    }
    for id in entries {
        let evaluations = upscore::submission::evaluations(&mut *app.conn().await, *id).await.expect("read");
        let [only] = &evaluations[..] else { panic!("{id} has {} evaluations", evaluations.len()) };
        match only.state {
            State::Scored => assert_eq!(scored.get(id), Some(&1), "{id} is scored once"),
            // By chance all its attempts were killed: given up, and said to be ours.
            State::Failed => assert_eq!((only.fault, scored.get(id)), (Some(Fault::Ours), None), "{only:?}"),
            other => panic!("{id} is {other:?}"),
        }
    }
    let attempts: i64 =
        sqlx::query_scalar("select sum(attempt) from evaluation").fetch_one(&app.pool).await.expect("a sum");
    assert!(attempts as usize > entries.len(), "no kill hit a job: the test proves nothing");
    let scores: i64 = sqlx::query_scalar("select count(*) from score").fetch_one(&app.pool).await.expect("a count");
    assert_eq!(scores as usize, scored.len());
}
