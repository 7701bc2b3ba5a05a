//! An application on a fresh database, in the user's words: `team.submit(…)`, `app.drain_queue()`.
//!
//! [`App::enter`] puts an entry straight into the queue, for tests of what comes after the intake; the evaluator is a
//! [`Fake`] unless a test brings the real one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{PgPool, pool::PoolConnection};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use upscore::{
    challenge::{
        self,
        create::{self, NewChallenge, PhaseFiles},
        dataset::{self, Image},
        phase::{self, NewPhase, Phase, QuotaLimits, Visibility},
        protocol::{self, Rules},
    },
    evaluation::{
        BlockRecord, Cost, DatasetHashes, Db, Fidelity, Flops, Host, ImageReproduction, ImageScore, Job, Measurement,
        Memory, OperatorCost, Progress, Provenance, Provider, RankedImages, Reproduction, Runtime, RuntimeRatio,
        Step as Stage, StepTime, Throughput, TimedInput, TimingRecord, TimingSettings, Tools, Verdict,
    },
    ids::{AccountId, PhaseId, SubmissionId, TeamId},
    leaderboard::{self, Board},
    problem::Problem,
    queue::{self, State},
    storage::{BlobHash, Storage},
    submission::{
        self, FactSheet, Rejection,
        intake::{self, Accepted, Upload},
    },
    team::{
        self,
        account::{self, NewAccount},
    },
    worker::{Evaluator, Settings, Step, Worker},
};

use super::{files, scratch::fresh_database};

pub struct App {
    pub pool: PgPool,
    pub storage: Storage,
    pub folder: TempDir,
    pub evaluator: Arc<Fake>,
}

/// A team of one.
#[derive(Debug, Clone, Copy)]
pub struct Team {
    pub id: TeamId,
    pub account: AccountId,
}

impl App {
    pub async fn start() -> App {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let storage = Storage::local(folder.path(), 0).expect("a storage");
        App { pool: fresh_database().await, storage, folder, evaluator: Arc::new(Fake::default()) }
    }

    pub async fn conn(&self) -> PoolConnection<sqlx::Postgres> {
        self.pool.acquire().await.expect("a connection")
    }

    /// For another process. (sqlx's own `to_url_lossy` panics for a socket.)
    pub fn database_url(&self) -> String {
        let options = self.pool.connect_options();
        let socket = options.get_socket().map(|path| path.display().to_string());
        let host = socket.as_deref().unwrap_or(options.get_host());
        let (user, port) = (options.get_username(), options.get_port());
        let name = options.get_database().unwrap_or(user);
        format!("postgres:///{name}?host={host}&port={port}&user={user}")
    }

    /// An open phase with a gate at 29.00 dB and two images, whose files do not exist.
    pub async fn phase(&self) -> Phase {
        self.phase_with(|_| {}, |_| {}).await
    }

    pub async fn phase_with(&self, edit: impl FnOnce(&mut NewPhase), rules: impl FnOnce(&mut Rules)) -> Phase {
        let mut conn = self.conn().await;
        let slug = format!("c{}", uuid::Uuid::now_v7().simple());
        let challenge = challenge::insert(&mut conn, &slug, "Efficient SR", "").await.expect("a challenge");
        let image = |name: &str| Image {
            name: name.into(),
            hr_size: [96, 64],
            lr_size: [24, 16],
            hr: BlobHash::of(b"hr"),
            lr: BlobHash::of(b"lr"),
            lr_bytes: 2,
        };
        let dataset = dataset::ensure(&mut conn, &slug, 4, &[image("0901"), image("0902")]).await.expect("a dataset");
        let mut written = Rules::aim2020(4);
        rules(&mut written);
        let protocol = protocol::ensure(&mut conn, "aim2020", &written).await.expect("a protocol");
        let mut new = NewPhase {
            challenge,
            slug: "validation".into(),
            title: "Validation".into(),
            dataset,
            protocol: protocol.id,
            opens_at: None,
            closes_at: None,
            limits: QuotaLimits { daily: 1000, total: None, daily_attempts: 1000 },
            visibility: Visibility::Live,
            frozen_at: None,
            gate_psnr: Some(29.0),
            baseline_name: "MSRResNet".into(),
            baseline_model: Some((BlobHash::of(b"baseline"), 8)),
        };
        edit(&mut new);
        let id = phase::insert(&mut conn, &new).await.expect("a phase");
        self.reload(id).await
    }

    /// One with real images, timed briefly.
    pub async fn real_phase(&self) -> Phase {
        let hr = tempfile::tempdir().expect("a folder");
        for (name, seed) in [("0901", 1), ("0902", 2)] {
            std::fs::write(hr.path().join(format!("{name}.png")), files::png(96, 64, seed)).expect("an image");
        }
        let new = NewChallenge { slug: "real".into(), title: "Real".into(), description: String::new() };
        let mut from = PhaseFiles::new("validation", "Validation", hr.path(), 4);
        from.limits = QuotaLimits { daily: 1000, total: None, daily_attempts: 1000 };
        from.rules.timing = TimingSettings {
            warmup: 1,
            processes: 1,
            runs: 2,
            max_seconds: 2.0,
            input: TimedInput::Tile(32, 32),
            ..TimingSettings::default()
        };
        let made = create::challenge(&self.pool, &self.storage, &new, &from).await.expect("made").expect("no problems");
        self.reload(made.phase).await
    }

    /// Streams both files in and asks for acceptance, as page and API do.
    pub async fn submit(&self, phase: &Phase, team: Team, results: &[u8]) -> Result<Accepted, Rejection> {
        self.submit_as(phase, team, results, &files::tiny_model(), None).await
    }

    pub async fn submit_as(
        &self,
        phase: &Phase,
        team: Team,
        results: &[u8],
        model: &[u8],
        key: Option<&str>,
    ) -> Result<Accepted, Rejection> {
        let upload = Upload {
            phase: phase.id,
            team: team.id,
            account: team.account,
            results: Some(self.storage.stage(results).await?),
            model: Some(self.storage.stage(model).await?),
            fact_sheet: FactSheet::from([("method".into(), "nearest".into())]),
            idempotency_key: key.map(str::to_owned),
        };
        intake::accept(&self.pool, &self.storage, upload).await
    }

    pub async fn reload(&self, id: PhaseId) -> Phase {
        phase::get(&mut *self.conn().await, id).await.expect("the phase").expect("the phase")
    }

    pub async fn team(&self, phase: &Phase, name: &str) -> Team {
        let mut conn = self.conn().await;
        let login = format!("u{}", uuid::Uuid::now_v7().simple());
        let account = account::create(&mut conn, NewAccount { name: login, ..NewAccount::default() }).await;
        let account = account.expect("an account");
        let id = team::create(&mut conn, phase.challenge, name, account).await.expect("a team");
        Team { id, account }
    }

    /// Puts an entry with made-up files into the queue, past the intake.
    pub async fn enter(&self, phase: &Phase, team: Team) -> SubmissionId {
        let id = SubmissionId::new();
        let hash = BlobHash::of(id.to_string().as_bytes());
        let mut conn = self.conn().await;
        sqlx::query(
            "insert into submission (id, phase_id, team_id, account_id, results_sha256, results_bytes, model_sha256,
                 model_bytes, uploaded_model_sha256) values ($1, $2, $3, $4, $5, 1, $5, 1, $5)",
        )
        .bind(id)
        .bind(phase.id)
        .bind(team.id)
        .bind(team.account)
        .bind(hash.as_str())
        .execute(&mut *conn)
        .await
        .expect("a submission");
        queue::enqueue(&mut conn, id, 0).await.expect("an evaluation");
        id
    }

    /// An entry that is to measure as `measurement`.
    pub async fn enter_as(&self, phase: &Phase, team: Team, measurement: Measurement) -> SubmissionId {
        let id = self.enter(phase, team).await;
        self.evaluator.plan(&self.storage, id, Plan::Measures(Box::new(measurement)));
        id
    }

    /// Makes an entry the baseline of its phase, under this name.
    pub async fn set_baseline(&self, phase: &Phase, entry: SubmissionId, name: &str) {
        sqlx::query("update phase set baseline_name = $2 where id = $1")
            .bind(phase.id)
            .bind(name)
            .execute(&self.pool)
            .await
            .expect("named");
        phase::set_baseline_entry(&mut *self.conn().await, entry, true).await.expect("set");
    }

    pub fn settings(&self) -> Settings {
        App::settings_in(self.folder.path())
    }

    pub fn settings_in(folder: &std::path::Path) -> Settings {
        let tools = Tools { onnxruntime: "none".into(), runner: "none".into(), strict_sandbox: false, commit: None };
        Settings {
            lease: Duration::from_secs(5),
            beat: Duration::from_millis(50),
            poll: Duration::from_millis(200),
            grace: Duration::from_millis(500),
            retry_pause: Duration::ZERO,
            ..Settings::new("cpu", tools, folder)
        }
    }

    pub fn worker(&self, stop: &CancellationToken) -> Worker {
        self.worker_with(stop, self.settings())
    }

    pub fn worker_with(&self, stop: &CancellationToken, settings: Settings) -> Worker {
        let evaluator = self.evaluator.clone();
        Worker::new(self.pool.clone(), self.storage.clone(), evaluator, settings, stop.clone()).expect("a worker")
    }

    /// Works until nothing is queued; returns how many jobs it took.
    pub async fn drain_queue(&self) -> usize {
        let worker = self.worker(&CancellationToken::new());
        let (mut jobs, mut busy) = (0, 0);
        loop {
            match worker.step().await.expect("a step") {
                Step::Done(..) => jobs += 1,
                Step::Empty => return jobs,
                // A process that another test is just starting holds the device's lock until it has become a program.
                Step::Busy if busy < 100 => {
                    busy += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Step::Busy => return jobs,
            }
        }
    }

    pub async fn state(&self, id: SubmissionId) -> State {
        submission::get(&mut *self.conn().await, id).await.expect("it").expect("it").state
    }

    pub async fn evaluation(&self, id: SubmissionId) -> queue::Evaluation {
        submission::evaluations(&mut *self.conn().await, id).await.expect("its evaluations").remove(0)
    }

    pub async fn board(&self, phase: &Phase) -> Board {
        let phase = self.reload(phase.id).await;
        leaderboard::ranking(&mut *self.conn().await, &phase).await.expect("a board")
    }
}

/// What the fake evaluator does with an entry.
#[derive(Debug, Clone)]
pub enum Plan {
    Measures(Box<Measurement>),
    /// The team's fault.
    Fails(Problem),
    /// Ours.
    Breaks,
    Panics,
    /// Until it is cancelled.
    Hangs,
    /// As usual, after so long.
    Takes(Duration),
}

/// Measures nothing and does as planned; entries without a plan measure alike.
#[derive(Default)]
pub struct Fake {
    /// By the model's path.
    plans: Mutex<HashMap<std::path::PathBuf, Plan>>,
    pub calls: AtomicUsize,
    pub running: AtomicBool,
}

impl Fake {
    /// For an entry that was uploaded.
    pub fn plan_model(&self, storage: &Storage, model: &BlobHash, plan: Plan) {
        self.plans.lock().expect("plans").insert(storage.path(model), plan);
    }

    pub fn forget(&self, storage: &Storage, model: &BlobHash) {
        self.plans.lock().expect("plans").remove(&storage.path(model));
    }

    pub fn plan(&self, storage: &Storage, id: SubmissionId, plan: Plan) {
        let model = storage.path(&BlobHash::of(id.to_string().as_bytes()));
        self.plans.lock().expect("plans").insert(model, plan);
    }
}

impl Evaluator for Fake {
    fn evaluate(
        &self,
        job: &Job,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: Arc<AtomicBool>,
    ) -> anyhow::Result<Result<Measurement, Vec<Problem>>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let plan = self.plans.lock().expect("plans").get(&job.model).cloned();
        progress(Progress { step: Stage::Scoring, done: 1, total: 2 });
        match plan {
            None => Ok(Ok(measurement())),
            Some(Plan::Measures(measurement)) => Ok(Ok(*measurement)),
            Some(Plan::Fails(problem)) => Ok(Err(vec![problem])),
            Some(Plan::Takes(time)) => {
                std::thread::sleep(time);
                Ok(Ok(measurement()))
            }
            Some(Plan::Breaks) => anyhow::bail!("the fake is broken"),
            Some(Plan::Panics) => panic!("the fake panics, as planned"),
            Some(Plan::Hangs) => {
                self.running.store(true, Ordering::SeqCst);
                while !cancel.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                self.running.store(false, Ordering::SeqCst);
                anyhow::bail!("cancelled")
            }
        }
    }
}

/// A plausible one, above the gate of 29.00.
pub fn measurement() -> Measurement {
    let image = |name: &str, psnr| ImageScore { name: name.into(), psnr: Db(psnr), ssim: 0.82 };
    Measurement {
        fidelity: Fidelity { psnr: 29.04, ssim: 0.82, images: vec![image("0901", f64::INFINITY), image("0902", 28.5)] },
        reproduction: Reproduction {
            verdict: Verdict::Reproduced,
            max_abs: 0,
            identical_fraction: 1.0,
            input_range: 1,
            ranked: RankedImages::Uploaded,
            model_psnr: Some(29.04),
            uploaded_psnr: Some(29.04),
            images: vec![ImageReproduction { name: "0901".into(), max_abs: 0, psnr_between: Db(f64::INFINITY) }],
        },
        cost: Cost {
            input: [1, 3, 256, 256],
            scale: 4,
            params: 433_448,
            convs: 64,
            activations: 112_034_240,
            flops: Flops { kair: 27_102_622_560, fvcore: 27_046_231_296 },
            macs: 27_033_648_384,
            operators: vec![OperatorCost {
                op: "Conv".into(),
                calls: 64,
                macs: 27_033_648_384,
                params: 433_448,
                output_elements: 112_034_240,
                ..OperatorCost::default()
            }],
        },
        runtime: Runtime {
            device: "cpu".into(),
            input: "1x3x256x256".into(),
            threads: 2,
            median_ms: 37.0,
            ci95_ms: [36.5, 37.5],
            runs: 3,
            baseline: Some(RuntimeRatio {
                median_ms: 110.0,
                ratio: 0.336,
                ratio_ci95: [0.33, 0.34],
                samples_ms: vec![110.0, 111.0, 109.0],
            }),
            samples_ms: vec![37.0, 36.5, 37.5],
            record: TimingRecord {
                cores: vec![1, 0],
                half_width: 0.015,
                half_width_asked: 0.01,
                discarded: 1,
                noisy: false,
                checked: 3,
                throughput: Some(Throughput {
                    macs_per_s: 730e9,
                    ceiling_macs_per_s: 900e9,
                    bytes_per_s: 0.5e9,
                    ceiling_bytes_per_s: 20e9,
                    implausible: None,
                }),
                processes: 1,
                blocks: vec![BlockRecord {
                    process: 0,
                    input: (256, 256),
                    entry_ms: [37.0, 36.5],
                    baseline_ms: Some([110.0, 111.0]),
                    disturbed: None,
                }],
            },
        },
        memory: Memory {
            peak_bytes: 200 << 20,
            method: "arena".into(),
            baseline_peak_bytes: Some(610 << 20),
            process_bytes: Some(700 << 20),
            baseline_process_bytes: None,
        },
        provenance: Provenance {
            upscore: "0.1.0".into(),
            onnxruntime: "1.31.1".into(),
            device_name: "a CPU".into(),
            threads: 2,
            os: "Linux".into(),
            model_sha256: "00".repeat(32),
            results_sha256: "11".repeat(32),
            sandbox: "none".into(),
            commit: Some("22".repeat(20)),
            protocol: Some("aim2020@1".into()),
            providers: vec![Provider { name: "CPUExecutionProvider".into(), nodes: 130 }],
            driver: None,
            cuda: None,
            cudnn: None,
            device_id: Some("GenuineIntel 6-143-8".into()),
            host: Host { governor: Some("performance".into()), turbo: Some(false), ..Host::default() },
            baseline_sha256: Some("33".repeat(32)),
            dataset: Some(DatasetHashes { lr_sha256: "44".repeat(32), hr_sha256: "55".repeat(32) }),
            steps: vec![StepTime { step: Stage::Scoring, seconds: 1.5 }],
            counted_at: vec![[256, 256], [259, 251]],
            size_gates: Vec::new(),
        },
    }
}
