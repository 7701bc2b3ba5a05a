//! The queue and its worker: every job ends, once, whatever happens to who did it.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use tokio_util::sync::CancellationToken;
use upscore::{
    challenge::{
        phase::Phase,
        protocol::{DeviceClass, Rules},
    },
    db,
    problem::Problem,
    queue::{self, Beat, Claimed, Feed, MAX_ATTEMPTS, State, score},
    worker::{Step, presence},
};

use crate::support::app::{App, Plan, Team, measurement};

const LEASE: Duration = Duration::from_secs(30);
const CPU: (DeviceClass, &str) = (DeviceClass::Cpu, "a processor");
const H100: &str = "NVIDIA H100 80GB HBM3";

async fn claim(app: &App, lease: Duration) -> Option<Claimed> {
    queue::claim(&mut *app.conn().await, "test", CPU, lease).await.expect("a claim")
}

/// A lease that has run out by the time the next statement looks.
async fn claim_and_lose(app: &App) -> Claimed {
    let claimed = claim(app, Duration::ZERO).await.expect("a job");
    tokio::time::sleep(Duration::from_millis(5)).await;
    claimed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_claimers_share_500_jobs_without_a_double() {
    let app = App::start().await;
    let phase = app.phase().await;
    for n in 0..5 {
        let team = app.team(&phase, &format!("team {n}")).await;
        for _ in 0..100 {
            app.enter(&phase, team).await;
        }
    }
    let claimers = (0..16).map(|_| {
        let pool = app.pool.clone();
        tokio::spawn(async move {
            let mut got = Vec::new();
            let mut conn = pool.acquire().await.expect("a connection");
            while let Some(job) = queue::claim(&mut conn, "claimer", CPU, LEASE).await.expect("a claim") {
                let state = queue::finish(&mut conn, job.lease, &measurement()).await.expect("finished");
                assert_eq!(state, Some(State::Scored));
                got.push(job.submission);
            }
            got
        })
    });
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.expect("a claimer"));
    }
    assert_eq!(all.len(), 500);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 500);
    let scores: i64 = sqlx::query_scalar("select count(*) from score").fetch_one(&app.pool).await.expect("scores");
    assert_eq!(scores, 500);
}

#[tokio::test]
async fn a_late_result_is_refused() {
    let app = App::start().await;
    let phase = app.phase().await;
    let id = app.enter(&phase, app.team(&phase, "a").await).await;
    let zombie = claim_and_lose(&app).await;
    let mut conn = app.conn().await;
    assert_eq!(queue::requeue_lost(&mut conn, MAX_ATTEMPTS).await.expect("swept").requeued, 1);
    let second = claim(&app, LEASE).await.expect("the job again");
    assert_eq!((second.submission, second.attempt), (id, 2));

    assert_eq!(queue::heartbeat(&mut conn, zombie.lease, LEASE, None).await.expect("heard"), Beat::Lost);
    assert_eq!(queue::finish(&mut conn, zombie.lease, &measurement()).await.expect("refused"), None);
    assert_eq!(queue::fail(&mut conn, zombie.lease, &[]).await.expect("refused"), None);
    assert_eq!(queue::hand_back(&mut conn, zombie.lease).await.expect("refused"), None);
    assert_eq!(app.state(id).await, State::Running);

    assert_eq!(queue::finish(&mut conn, second.lease, &measurement()).await.expect("stored"), Some(State::Scored));
    assert_eq!(queue::finish(&mut conn, second.lease, &measurement()).await.expect("refused"), None);
    let stored = score::get(&mut conn, second.lease.evaluation).await.expect("read").expect("stored");
    assert_eq!(stored, measurement(), "every figure survives the way through the rows");
}

#[tokio::test]
async fn a_job_that_kills_its_worker_is_given_up_at_our_cost() {
    let app = App::start().await;
    let phase = app.phase().await;
    let id = app.enter(&phase, app.team(&phase, "a").await).await;
    for attempt in 1..=MAX_ATTEMPTS {
        assert_eq!(claim_and_lose(&app).await.attempt, attempt);
        queue::requeue_lost(&mut *app.conn().await, MAX_ATTEMPTS).await.expect("swept");
    }
    let evaluation = app.evaluation(id).await;
    assert_eq!(evaluation.state, State::Failed);
    assert_eq!(evaluation.fault, Some(queue::Fault::Ours));
    assert_eq!(evaluation.problems[0].code, "worker_crashed");
    assert!(claim(&app, LEASE).await.is_none());
}

#[tokio::test]
async fn teams_take_turns() {
    let app = App::start().await;
    let phase = app.phase().await;
    let (big, small) = (app.team(&phase, "big").await, app.team(&phase, "small").await);
    for _ in 0..10 {
        app.enter(&phase, big).await;
    }
    let first = claim(&app, LEASE).await.expect("a job");
    let late = app.enter(&phase, small).await;
    let position = queue::position(&mut *app.conn().await, late).await.expect("read").expect("queued");
    assert_eq!((position.position, position.of), (1, 10));
    assert_eq!(claim(&app, LEASE).await.expect("a job").submission, late);
    queue::finish(&mut *app.conn().await, first.lease, &measurement()).await.expect("finished");
    // And one that is urgent overtakes all.
    let urgent = app.enter(&phase, big).await;
    sqlx::query("update evaluation set priority = 9 where submission_id = $1")
        .bind(urgent)
        .execute(&app.pool)
        .await
        .expect("raised");
    assert_eq!(claim(&app, LEASE).await.expect("a job").submission, urgent);
}

#[tokio::test]
async fn a_worker_takes_only_jobs_for_its_kind_of_device() {
    let app = App::start().await;
    let phase = app.phase_with(|_| {}, |rules| rules.device = DeviceClass::Cuda).await;
    app.enter(&phase, app.team(&phase, "a").await).await;
    assert!(claim(&app, LEASE).await.is_none());
    let cuda = queue::claim(&mut *app.conn().await, "gpu", (DeviceClass::Cuda, H100), LEASE).await.expect("a claim");
    assert!(cuda.is_some());
}

#[tokio::test]
async fn a_protocol_that_names_its_device_is_measured_on_no_other() {
    let app = App::start().await;
    let named = |rules: &mut Rules| (rules.device, rules.device_name) = (DeviceClass::Cuda, Some(H100.into()));
    let phase = app.phase_with(|_| {}, named).await;
    let entry = app.enter(&phase, app.team(&phase, "a").await).await;
    let any = app.phase_with(|_| {}, |rules| rules.device = DeviceClass::Cuda).await;
    let other = app.enter(&any, app.team(&any, "b").await).await;
    let mut conn = app.conn().await;
    assert_eq!(queue::position(&mut conn, entry).await.expect("read").map(|p| (p.position, p.of)), Some((1, 1)));
    let waits = presence::queues(&mut conn).await.expect("read");
    let of_name =
        |name: Option<&str>| waits.iter().find(|q| q.class == DeviceClass::Cuda && q.device_name.as_deref() == name);
    assert!(of_name(Some(H100)).is_some_and(|q| (q.queued, q.phases) == (1, 1) && q.lacks_workers()), "{waits:?}");
    assert!(of_name(None).is_some_and(|q| (q.queued, q.phases) == (1, 1)), "{waits:?}");
    let a100 = (DeviceClass::Cuda, "NVIDIA A100-SXM4-80GB");
    let taken = queue::claim(&mut conn, "gpu", a100, LEASE).await.expect("a claim").expect("a job");
    assert_eq!(taken.submission, other);
    assert!(queue::claim(&mut conn, "gpu", a100, LEASE).await.expect("a claim").is_none());
    let taken =
        queue::claim(&mut conn, "gpu", (DeviceClass::Cuda, H100), LEASE).await.expect("a claim").expect("a job");
    assert_eq!(taken.submission, entry);
    let rules = |phase: &Phase| phase.protocol.rules.clone();
    assert!(!rules(&phase).measure_as(&rules(&any)));
    assert_ne!(phase.protocol.measuring_sha256, any.protocol.measuring_sha256, "another device measures anew");
}

#[tokio::test]
async fn every_outcome_ends_in_its_state() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let entries = [
        (app.enter(&phase, team).await, None, State::Scored),
        (app.enter(&phase, team).await, Some(Plan::Fails(Problem::new("output_shape", "x"))), State::Failed),
        (app.enter(&phase, team).await, Some(Plan::Breaks), State::Failed),
        (app.enter(&phase, team).await, Some(Plan::Panics), State::Failed),
    ];
    for (id, plan, _) in &entries {
        if let Some(plan) = plan {
            app.evaluator.plan(&app.storage, *id, plan.clone());
        }
    }
    assert_eq!(app.drain_queue().await, 2 + 2 * MAX_ATTEMPTS as usize);
    for (id, plan, state) in entries {
        let evaluation = app.evaluation(id).await;
        assert_eq!(evaluation.state, state, "{plan:?}");
        match plan {
            Some(Plan::Fails(problem)) => assert_eq!(evaluation.problems, [problem]),
            Some(_) => assert_eq!(evaluation.problems[0].code, "evaluation_error"),
            None => assert_eq!(evaluation.problems, []),
        }
    }
}

/// A worker in its loop, with a job that does not end by itself.
async fn hanging(app: &App, team: Team, phase: &upscore::challenge::phase::Phase) -> upscore::ids::SubmissionId {
    let id = app.enter(phase, team).await;
    app.evaluator.plan(&app.storage, id, Plan::Hangs);
    id
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 4 s: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_stops_within_two_seconds_and_shows_live_progress() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let feed = Feed::start(app.pool.clone());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut events = feed.subscribe();
    let id = hanging(&app, team, &phase).await;
    let queued = app.enter(&phase, team).await;
    let stop = CancellationToken::new();
    let worker = app.worker(&stop);
    let running = tokio::spawn(async move { worker.run().await });
    until("the run starts", async || app.evaluator.running.load(Ordering::SeqCst)).await;
    let step = app.evaluation(id).await;
    until("progress is stored", async || app.evaluation(id).await.progress.is_some()).await;
    assert_eq!(step.state, State::Running);

    let mut conn = app.conn().await;
    assert_eq!(queue::cancel(&mut conn, queued).await.expect("cancelled"), Some(State::Cancelled));
    assert_eq!(queue::cancel(&mut conn, id).await.expect("asked"), Some(State::Running));
    until("the run is cancelled", async || app.state(id).await == State::Cancelled).await;
    assert!(!app.evaluator.running.load(Ordering::SeqCst));
    assert_eq!(queue::cancel(&mut conn, id).await.expect("nothing"), None);

    // A new job wakes the idle worker.
    let next = app.enter(&phase, team).await;
    until("the next is scored", async || app.state(next).await == State::Scored).await;
    stop.cancel();
    running.await.expect("joined").expect("a clean end");
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        if event.submission == id {
            seen.push((event.state, event.progress.is_some()));
        }
    }
    seen.dedup();
    let [queued, started, .., ended] = seen[..] else { panic!("too few events: {seen:?}") };
    assert_eq!((queued.0, started.0, ended.0), (State::Queued, State::Running, State::Cancelled), "{seen:?}");
    assert!(seen.contains(&(State::Running, true)), "progress is told: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_worker_hands_its_job_back_uncounted() {
    let app = App::start().await;
    let phase = app.phase().await;
    let id = hanging(&app, app.team(&phase, "a").await, &phase).await;
    let stop = CancellationToken::new();
    let worker = app.worker(&stop);
    let running = tokio::spawn(async move { worker.run().await });
    until("the run starts", async || app.evaluator.running.load(Ordering::SeqCst)).await;
    stop.cancel();
    running.await.expect("joined").expect("a clean end");
    let evaluation = app.evaluation(id).await;
    assert_eq!((evaluation.state, evaluation.attempt), (State::Queued, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_lost_its_lease_drops_its_result() {
    let app = App::start().await;
    let phase = app.phase().await;
    let id = hanging(&app, app.team(&phase, "a").await, &phase).await;
    let stop = CancellationToken::new();
    let worker = app.worker(&stop);
    let running = tokio::spawn(async move { worker.step().await });
    until("the run starts", async || app.evaluator.running.load(Ordering::SeqCst)).await;
    // As if it had been paused past its lease and another had taken over.
    sqlx::query("update evaluation set lease_token = gen_random_uuid()").execute(&app.pool).await.expect("taken");
    assert_eq!(running.await.expect("joined").expect("a step"), Step::Done(id, None));
    assert_eq!(app.state(id).await, State::Running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_never_use_a_device_at_once() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let id = hanging(&app, team, &phase).await;
    app.enter(&phase, team).await;
    let stop = CancellationToken::new();
    let (first, second) = (app.worker(&stop), app.worker(&stop));
    let running = tokio::spawn(async move { first.step().await });
    until("the run starts", async || app.evaluator.running.load(Ordering::SeqCst)).await;
    assert_eq!(second.step().await.expect("a step"), Step::Busy);
    queue::cancel(&mut *app.conn().await, id).await.expect("asked");
    running.await.expect("joined").expect("a step");
    assert!(matches!(second.step().await.expect("a step"), Step::Done(_, Some(State::Scored))));
}

#[tokio::test]
async fn a_rerun_is_a_new_evaluation_and_history_stays() {
    let app = App::start().await;
    let phase = app.phase().await;
    let id = app.enter(&phase, app.team(&phase, "a").await).await;
    let mut conn = app.conn().await;
    assert!(matches!(queue::enqueue(&mut conn, id, 0).await, Err(queue::EnqueueError::AlreadyLive)));
    app.drain_queue().await;
    queue::enqueue(&mut conn, id, 5).await.expect("queued again");
    assert_eq!(app.board(&phase).await.ranked.len(), 1, "the old result stands meanwhile");
    app.drain_queue().await;
    let evaluations = upscore::submission::evaluations(&mut conn, id).await.expect("read");
    assert_eq!(
        evaluations.iter().map(|e| (e.number, e.state)).collect::<Vec<_>>(),
        [(2, State::Scored), (1, State::Scored)]
    );
    assert_eq!(app.board(&phase).await.ranked.len(), 1);
}

#[tokio::test]
async fn migrations_go_down_and_up_again_on_data() {
    let app = App::start().await;
    let phase = app.phase().await;
    app.enter(&phase, app.team(&phase, "a").await).await;
    app.drain_queue().await;
    db::MIGRATOR.undo(&app.pool, 0).await.expect("down");
    let tables: i64 = sqlx::query_scalar(
        "select count(*) from information_schema.tables where table_schema = 'public' and table_name <> '_sqlx_migrations'",
    )
    .fetch_one(&app.pool)
    .await
    .expect("a count");
    assert_eq!(tables, 0);
    db::migrate(&app.pool).await.expect("up");
    let phase = app.phase().await;
    app.enter(&phase, app.team(&phase, "a").await).await;
    assert_eq!(app.drain_queue().await, 1);
}

#[tokio::test]
async fn a_protocol_cannot_be_changed() {
    let app = App::start().await;
    let phase = app.phase().await;
    assert_eq!(phase.protocol.name, "aim2020@1");
    for statement in ["update protocol set rules = '{}'", "delete from protocol"] {
        let error = sqlx::query(statement).execute(&app.pool).await.expect_err("refused").to_string();
        assert!(error.contains("protocol aim2020@1 is immutable"), "{error}");
    }
    let changed = app.phase_with(|_| {}, |rules| rules.timing.runs += 1).await;
    assert_eq!(changed.protocol.name, "aim2020@2");
    assert_eq!(app.phase().await.protocol.name, "aim2020@1", "equal rules share a version");
}

/// A way to the database that can be cut, as a restart of the server cuts it.
struct Wire {
    folder: tempfile::TempDir,
    away: std::sync::Arc<tokio::sync::watch::Sender<bool>>,
}

impl Wire {
    async fn to(app: &App) -> Wire {
        let folder = tempfile::tempdir().expect("a folder");
        let server = app.pool.connect_options().get_socket().expect("a socket").join(".s.PGSQL.5432");
        let listener = tokio::net::UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
        let away = std::sync::Arc::new(tokio::sync::watch::Sender::new(false));
        let cut = away.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut cut, server) = (cut.subscribe(), server.clone());
                tokio::spawn(async move {
                    let mut server = tokio::net::UnixStream::connect(server).await.expect("the server");
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.wait_for(|away| *away) => {}
                    }
                });
            }
        });
        Wire { folder, away }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_kept_while_the_database_is_away() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let id = app.enter(&phase, team).await;
    app.evaluator.plan(&app.storage, id, Plan::Takes(Duration::from_millis(800)));
    let wire = Wire::to(&app).await;
    let options = app.pool.connect_options().as_ref().clone().socket(wire.folder.path());
    let stop = CancellationToken::new();
    let (storage, evaluator) = (app.storage.clone(), app.evaluator.clone());
    let worker = upscore::worker::Worker::new(db::pool(options, 4), storage, evaluator, app.settings(), stop.clone());
    let worker = worker.expect("a worker");
    let running = tokio::spawn(async move { worker.run().await });
    until("the run starts", async || app.evaluator.calls.load(Ordering::SeqCst) == 1).await;
    wire.away.send_replace(true);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(app.state(id).await, State::Running, "the result is made, and cannot be told");
    wire.away.send_replace(false);
    until("the kept result is stored", async || app.state(id).await == State::Scored).await;
    assert_eq!((app.evaluator.calls.load(Ordering::SeqCst), app.evaluation(id).await.attempt), (1, 1));
    // And it works on.
    let next = app.enter(&phase, team).await;
    until("the next is scored", async || app.state(next).await == State::Scored).await;
    stop.cancel();
    running.await.expect("joined").expect("a clean end");
}
