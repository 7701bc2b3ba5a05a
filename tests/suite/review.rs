//! What organizers do with entries: measuring them again.

use sqlx::Acquire;
use upscore::{
    audit::{self, Actor},
    challenge::phase::Phase,
    evaluation::Measurement,
    ids::{RerunId, SubmissionId},
    problem::Problem,
    queue::{
        self, State,
        rerun::{self, Decision, RerunError, Which},
    },
    submission::quota,
};

use crate::support::app::{App, Plan, measurement};

/// A measurement of another time and PSNR.
fn measured(psnr: f64, ms: f64) -> Measurement {
    let mut m = measurement();
    m.fidelity.psnr = psnr;
    m.runtime.median_ms = ms;
    m.runtime.ci95_ms = [ms - 0.5, ms + 0.5];
    if let Some(baseline) = &mut m.runtime.baseline {
        (baseline.ratio, baseline.ratio_ci95) = (ms / 110.0, [ms / 111.0, ms / 109.0]);
    }
    m
}

async fn start(app: &App, phase: &Phase, which: Which<'_>) -> Result<(RerunId, Vec<SubmissionId>), RerunError> {
    let mut conn = app.conn().await;
    let mut tx = conn.begin().await.expect("begun");
    let made = rerun::start(&mut tx, (phase.challenge, phase.id), which, &Actor::Shell, "a new machine").await;
    if made.is_ok() {
        tx.commit().await.expect("committed");
    }
    made
}

async fn decide(app: &App, phase: &Phase, id: RerunId, decision: Decision) -> Result<bool, RerunError> {
    let mut conn = app.conn().await;
    let mut tx = conn.begin().await.expect("begun");
    let made = rerun::decide(&mut tx, phase.challenge, id, decision, &Actor::Shell, "looked at it").await;
    if made.is_ok() {
        tx.commit().await.expect("committed");
    }
    made
}

/// Team and time, in the order of ranks.
async fn ranked(app: &App, phase: &Phase) -> Vec<(String, f64)> {
    app.board(phase).await.ranked.into_iter().map(|row| (row.team, row.figures.runtime_ms)).collect()
}

fn row(team: &str, ms: f64) -> (String, f64) {
    (team.into(), ms)
}

#[tokio::test]
async fn a_rerun_counts_only_when_an_organizer_says_so() {
    let app = App::start().await;
    let phase = app.phase().await;
    let (a, b) = (app.team(&phase, "a").await, app.team(&phase, "b").await);
    let first = app.enter_as(&phase, a, measured(29.1, 40.0)).await;
    let second = app.enter_as(&phase, b, measured(29.1, 50.0)).await;
    app.drain_queue().await;
    let before = ranked(&app, &phase).await;
    assert_eq!(before, [row("a", 40.0), row("b", 50.0)]);
    let used = quota::usage(&mut *app.conn().await, phase.id, a.id, phase.limits).await.expect("a quota");

    app.evaluator.plan(&app.storage, first, Plan::Measures(Box::new(measured(29.1, 60.0))));
    let (batch, queued) = start(&app, &phase, Which::All).await.expect("queued");
    assert_eq!(queued, [first, second]);
    assert!(matches!(start(&app, &phase, Which::All).await, Err(RerunError::Nothing)), "both are in a batch");
    assert_eq!(app.state(first).await, State::Scored, "to its team it is what it was");
    assert_eq!(queue::cancel(&mut *app.conn().await, first).await.expect("asked"), None, "nor may its team cancel it");
    assert!(matches!(decide(&app, &phase, batch, Decision::Official).await, Err(RerunError::StillRunning(2))));
    assert_eq!(app.drain_queue().await, 2);
    assert_eq!(ranked(&app, &phase).await, before, "nobody has made it official");
    assert_eq!(app.evaluation(first).await.number, 1);

    assert!(decide(&app, &phase, batch, Decision::Official).await.expect("decided"));
    assert_eq!(ranked(&app, &phase).await, [row("b", 50.0), row("a", 60.0)]);
    assert_eq!(app.evaluation(first).await.number, 2);
    assert!(!decide(&app, &phase, batch, Decision::Official).await.expect("again"), "said twice, done once");
    let contrary = decide(&app, &phase, batch, Decision::Discarded).await;
    assert!(matches!(contrary, Err(RerunError::Decided(Decision::Official))));
    let now = quota::usage(&mut *app.conn().await, phase.id, a.id, phase.limits).await.expect("a quota");
    assert_eq!((now.daily_used, now.total_used, now.attempts_used), (used.daily_used, used.total_used, 0));

    // One that fails leaves the old score, whatever is said of it.
    app.evaluator.plan(&app.storage, second, Plan::Fails(Problem::new("onnx_runtime_error", "it failed")));
    let (failing, _) = start(&app, &phase, Which::These(&[second])).await.expect("queued");
    app.drain_queue().await;
    assert!(matches!(decide(&app, &phase, failing, Decision::Official).await, Err(RerunError::NothingScored)));
    assert_eq!(app.state(second).await, State::Scored);
    assert!(decide(&app, &phase, failing, Decision::Discarded).await.expect("discarded"));
    assert_eq!(ranked(&app, &phase).await, [row("b", 50.0), row("a", 60.0)]);

    // Discarding cancels what waits; a discarded score never counts, and the entry may be measured again.
    let (waiting, _) = start(&app, &phase, Which::These(&[second])).await.expect("queued");
    assert!(decide(&app, &phase, waiting, Decision::Discarded).await.expect("discarded"));
    assert_eq!(app.drain_queue().await, 0);
    let batches = rerun::of_phase(&mut *app.conn().await, phase.id, 10).await.expect("read");
    let words: Vec<_> = batches.iter().map(|b| (b.decision, b.total, b.live, b.scored)).collect();
    let (made, dropped) = (Some(Decision::Official), Some(Decision::Discarded));
    assert_eq!(words, [(dropped, 1, 0, 0), (dropped, 1, 0, 0), (made, 2, 0, 2)]);
    let noted = audit::list(&mut *app.conn().await, Some(phase.challenge), None, 10).await.expect("read");
    let acts: Vec<_> = noted.iter().rev().map(|e| e.action.as_str()).collect();
    let pair = |end| ["rerun.start", end];
    assert_eq!(acts, [pair("rerun.make_official"), pair("rerun.discard"), pair("rerun.discard")].concat());
}
