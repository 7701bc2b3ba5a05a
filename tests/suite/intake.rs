//! The only way in: what is accepted, what is charged, and that a rejection leaves no trace.

use std::{path::Path, sync::atomic::Ordering};

use chrono::{Duration, Utc};
use upscore::{
    challenge::phase::{Phase, QuotaLimits},
    ids::SubmissionId,
    problem::Problem,
    queue::{self, State},
    storage::{BlobHash, Storage, StorageError},
    submission::{
        self, Class, FactSheet, Rejection, files,
        intake::{self, Accepted, Upload},
        quota::{self, Bound},
    },
};

use crate::support::{
    app::{App, Plan, Team},
    files::{png, results, tiny_model, zipped},
};

impl App {
    async fn quota(&self, phase: &Phase, team: Team) -> quota::Quota {
        quota::usage(&mut *self.conn().await, phase.id, team.id, phase.limits).await.expect("counted")
    }

    async fn count(&self, table: &str) -> i64 {
        let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(query).fetch_one(&self.pool).await.expect("a count")
    }

    /// Files of the storage, temporary ones included.
    fn files(&self) -> usize {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(self.folder.path())
    }

    /// Nothing was stored and nothing written.
    async fn assert_untouched(&self) {
        assert_eq!((self.count("submission").await, self.count("evaluation").await, self.files()), (0, 0, 0));
    }
}

fn limits(daily: u32, total: Option<u32>, daily_attempts: u32) -> QuotaLimits {
    QuotaLimits { daily, total, daily_attempts }
}

fn codes(rejection: &Rejection) -> Vec<String> {
    rejection.problems().into_iter().map(|p| p.code.into_owned()).collect()
}

#[tokio::test]
async fn an_upload_becomes_a_queued_submission() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let accepted = app.submit(&phase, team, &results(1)).await.expect("accepted");
    assert!(!accepted.repeated);
    let stored = submission::get(&mut *app.conn().await, accepted.submission).await.expect("read").expect("stored");
    assert_eq!((stored.state, stored.team_name.as_str()), (State::Queued, "a"));
    assert_eq!(stored.results_sha256, BlobHash::of(&results(1)));
    assert_eq!(stored.model_sha256, BlobHash::of(&tiny_model()));
    assert_eq!(stored.fact_sheet["method"], "nearest");
    assert_eq!(std::fs::read(app.storage.path(&stored.results_sha256)).expect("a blob"), results(1));
    assert_eq!(app.files(), 2, "two blobs and nothing else");
    assert_eq!(app.drain_queue().await, 1);
    assert_eq!(app.state(accepted.submission).await, State::Scored);
}

#[tokio::test]
async fn a_model_that_comes_as_a_zip_is_stored_self_contained() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let upload = zipped(&[("model.onnx", &tiny_model())]);
    let first = app.submit_as(&phase, team, &results(1), &upload, None).await.expect("accepted");
    let stored = submission::get(&mut *app.conn().await, first.submission).await.expect("read").expect("stored");
    let bytes = std::fs::read(app.storage.path(&stored.model_sha256)).expect("a blob");
    assert!(upscore::evaluation::model::vet(bytes.clone()).is_ok());
    assert_eq!(stored.model_bytes, bytes.len() as u64);
    assert_eq!(app.files(), 2, "the upload itself is not kept");
    // Its repetition is known by the hash of what was uploaded.
    let again = app.submit_as(&phase, team, &results(1), &upload, None).await.expect("accepted");
    assert_eq!(again, Accepted { repeated: true, ..first });
}

#[tokio::test]
async fn the_phase_the_team_and_the_files_must_be_there() {
    let app = App::start().await;
    let hour = Duration::hours(1);
    let closed = app.phase_with(|new| new.closes_at = Some(Utc::now() - hour), |_| {}).await;
    let rejection = app.submit(&closed, app.team(&closed, "a").await, &results(1)).await.expect_err("closed");
    assert!(matches!(rejection, Rejection::PhaseClosed { .. }) && rejection.class().status() == 403);

    let upcoming = app.phase_with(|new| new.opens_at = Some(Utc::now() + hour), |_| {}).await;
    let rejection = app.submit(&upcoming, app.team(&upcoming, "a").await, &results(1)).await.expect_err("not open");
    assert!(matches!(rejection, Rejection::PhaseNotOpen { .. }));

    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let stranger = Team { account: app.team(&phase, "b").await.account, ..team };
    assert!(matches!(app.submit(&phase, stranger, &results(1)).await, Err(Rejection::NotAMember)));
    let other = app.team(&closed, "other challenge").await;
    assert!(matches!(app.submit(&phase, other, &results(1)).await, Err(Rejection::NotAMember)));

    let upload = Upload {
        phase: phase.id,
        team: team.id,
        account: team.account,
        results: Some(app.storage.stage(&results(1)).await.expect("staged")),
        model: None,
        fact_sheet: FactSheet::new(),
        idempotency_key: None,
    };
    let missing = intake::accept(&app.pool, &app.storage, upload).await.expect_err("no model");
    assert_eq!(codes(&missing), ["artifact_missing"]);
    app.assert_untouched().await;
}

#[tokio::test]
async fn all_problems_of_both_files_are_listed_at_once_and_nothing_is_left() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let zip = zipped(&[("0901x4.png", &png(96, 60, 1))]);
    let rejection = app.submit_as(&phase, team, &zip, b"no model", None).await.expect_err("refused");
    assert_eq!(rejection.class(), Class::Unprocessable);
    assert_eq!(codes(&rejection), ["missing_image", "image_size", "onnx_malformed"]);
    assert_eq!(app.quota(&phase, team).await.daily_used, 0);
    drop(rejection);
    app.assert_untouched().await;
}

#[tokio::test]
async fn files_that_are_swapped_or_packed_oddly_are_known() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let rejection = app.submit_as(&phase, team, &tiny_model(), &results(1), None).await.expect_err("swapped");
    let told: Vec<String> = rejection.problems().into_iter().map(|p| p.message).collect();
    assert_eq!(told, ["an ONNX model, not a zip archive", "a zip of images, not an ONNX model"]);
    drop(rejection);
    app.assert_untouched().await;
    // A line end behind a zip, an editor's copies and a blank in a name leave one meaning.
    let odd = [
        zipped(&[
            ("0901x4.png ", &png(96, 64, 1)),
            ("out/0902.png", &png(96, 64, 2)),
            ("out/.ipynb_checkpoints/0902-checkpoint.png", &png(96, 64, 2)),
        ]),
        b"\r\n".to_vec(),
    ]
    .concat();
    let model = [zipped(&[("net\\model.onnx", &tiny_model()), ("net\\desktop.ini", b"x")]), b"\n".to_vec()].concat();
    app.submit_as(&phase, team, &odd, &model, None).await.expect("accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_on_a_quota_of_five_give_exactly_five() {
    let app = std::sync::Arc::new(App::start().await);
    let phase = app.phase_with(|new| new.limits = limits(5, None, 20), |_| {}).await;
    let team = app.team(&phase, "a").await;
    let uploads = (0..50).map(|n| {
        let (app, phase) = (app.clone(), phase.clone());
        tokio::spawn(async move { app.submit(&phase, team, &results(n * 2)).await })
    });
    let mut accepted = 0;
    for upload in futures::future::join_all(uploads).await {
        match upload.expect("joined") {
            Ok(accept) => {
                assert!(!accept.repeated);
                accepted += 1;
            }
            Err(Rejection::QuotaUsed { bound: Bound::Daily, used: 5, limit: 5, resets_at: Some(_) }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((accepted, app.count("submission").await), (5, 5));
    assert_eq!(app.files(), 5 + 1, "five results, one model, nothing of the rejected");
}

#[tokio::test]
async fn only_what_completes_or_fails_through_the_team_is_charged() {
    let app = App::start().await;
    let phase = app.phase_with(|new| new.limits = limits(2, Some(3), 2), |_| {}).await;
    let team = app.team(&phase, "a").await;
    let entry = async |plan: Option<Plan>| {
        let id = app.enter(&phase, team).await;
        if let Some(plan) = plan {
            app.evaluator.plan(&app.storage, id, plan);
        }
        id
    };
    entry(None).await;
    assert_eq!(app.quota(&phase, team).await.provisional, 1, "queued counts until it ends");
    entry(Some(Plan::Breaks)).await;
    entry(Some(Plan::Fails(Problem::new("output_shape", "x")))).await;
    let waiting = entry(None).await;
    queue::cancel(&mut *app.conn().await, waiting).await.expect("cancelled");
    app.drain_queue().await;
    let used = app.quota(&phase, team).await;
    assert_eq!((used.daily_used, used.total_used, used.attempts_used, used.provisional), (1, 1, 1, 0));
    assert!(used.check().is_ok());

    entry(Some(Plan::Fails(Problem::new("output_shape", "x")))).await;
    app.drain_queue().await;
    let Err(Rejection::QuotaUsed { bound, .. }) = app.submit(&phase, team, &results(1)).await else { panic!() };
    assert_eq!(bound, Bound::Attempts);

    // Another day: both start anew, the total does not.
    sqlx::query("update submission set created_at = created_at - interval '1 day'")
        .execute(&app.pool)
        .await
        .expect("aged");
    assert!(app.submit(&phase, team, &results(1)).await.is_ok());
    assert!(app.submit(&phase, team, &results(2)).await.is_ok());
    let rejection = app.submit(&phase, team, &results(3)).await.expect_err("used");
    assert!(matches!(rejection, Rejection::QuotaUsed { bound: Bound::Total, used: 3, resets_at: None, .. }));
    assert_eq!((rejection.class().status(), codes(&rejection)), (429, vec!["quota_used".into()]));
    let other = app.team(&phase, "b").await;
    assert!(app.submit(&phase, other, &results(3)).await.is_ok(), "a quota is a team's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_upload_gives_the_first_result_again() {
    let app = std::sync::Arc::new(App::start().await);
    let phase = app.phase_with(|new| new.limits = limits(1, None, 1), |_| {}).await;
    let team = app.team(&phase, "a").await;
    let model = tiny_model();
    // Ten tabs at once.
    let tabs = (0..10).map(|_| {
        let (app, phase, model) = (app.clone(), phase.clone(), model.clone());
        tokio::spawn(async move { app.submit_as(&phase, team, &results(1), &model, Some("k1")).await })
    });
    let answers = futures::future::join_all(tabs).await.into_iter().map(|a| a.expect("joined").expect("accepted"));
    let answers: Vec<Accepted> = answers.collect();
    let first = answers[0].submission;
    assert!(answers.iter().all(|a| a.submission == first));
    assert_eq!(answers.iter().filter(|a| !a.repeated).count(), 1);

    // Without a key, or with a new one, the files tell; also when the quota is used and the phase has closed.
    sqlx::query("update phase set closes_at = now()").execute(&app.pool).await.expect("closed");
    for key in [None, Some("k1"), Some("k2")] {
        let again = app.submit_as(&phase, team, &results(1), &model, key).await.expect("the first again");
        assert_eq!(again, Accepted { submission: first, repeated: true });
    }
    let reused = app.submit_as(&phase, team, &results(2), &model, Some("k1")).await.expect_err("another upload");
    assert!(matches!(reused, Rejection::KeyReused) && reused.class() == Class::Conflict);
    assert_eq!(app.count("submission").await, 1);
}

#[tokio::test]
async fn a_failed_upload_may_be_sent_again() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let first = app.submit(&phase, team, &results(1)).await.expect("accepted");
    sqlx::query("update evaluation set state = 'failed', fault = 'ours', finished_at = now()")
        .execute(&app.pool)
        .await
        .expect("failed");
    let second = app.submit(&phase, team, &results(1)).await.expect("accepted");
    assert!(!second.repeated && second.submission != first.submission);
    assert_eq!(app.files(), 2, "equal bytes are stored once");
}

#[tokio::test]
async fn storage_refuses_what_is_too_large_and_leaves_nothing() {
    let app = App::start().await;
    let mut writer = app.storage.writer(10).await.expect("a writer");
    writer.write(b"0123456789").await.expect("fits");
    assert!(matches!(writer.write(b"x").await, Err(StorageError::TooLarge { limit: 10 })));
    drop(writer);
    assert_eq!(app.files(), 0);

    let full = Storage::local(app.folder.path(), u64::MAX).expect("a storage");
    assert!(matches!(full.writer(10).await, Err(StorageError::Full)));
    assert_eq!(Rejection::from(StorageError::Full).class().status(), 507);
}

#[tokio::test]
async fn a_sweep_removes_only_uploads_whose_process_died() {
    let app = App::start().await;
    let alive = app.storage.stage(b"alive").await.expect("staged");
    let dead = app.folder.path().join("tmp/upload-dead");
    std::fs::write(&dead, b"half").expect("written");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for path in [alive.path(), dead.as_path()] {
        let file = std::fs::File::options().write(true).open(path).expect("opened");
        file.set_modified(old).expect("aged");
    }
    assert_eq!(app.storage.sweep().expect("swept"), 1);
    assert!(alive.path().exists() && !dead.exists());
}

#[tokio::test]
async fn a_worker_takes_nothing_while_the_disk_is_nearly_full() {
    let mut app = App::start().await;
    app.storage = Storage::local(app.folder.path(), u64::MAX).expect("a storage");
    let phase = app.phase().await;
    let id: SubmissionId = app.enter(&phase, app.team(&phase, "a").await).await;
    assert_eq!(app.drain_queue().await, 0);
    assert_eq!(app.state(id).await, State::Queued);
    assert_eq!(app.evaluator.calls.load(Ordering::SeqCst), 0);
}

/// Uploads that arrive before midnight and are vetted after it: by each one's own day there is no way round the quota.
#[tokio::test]
async fn an_upload_costs_the_day_on_which_it_arrived() {
    let app = App::start().await;
    let phase = app.phase_with(|new| new.limits = limits(2, None, 20), |_| {}).await;
    let team = app.team(&phase, "a").await;
    for seed in [1, 2] {
        app.submit(&phase, team, &results(seed)).await.expect("accepted");
    }
    let arrived = Utc::now();
    let at = async |at| {
        let mut conn = app.conn().await;
        quota::usage_at(&mut conn, phase.id, team.id, phase.limits, at).await.expect("counted")
    };
    assert_eq!(at(None).await.daily_used, 2);
    // They came yesterday, in the last second; the count that another such upload makes after midnight is yesterday's.
    let yesterday = arrived - Duration::days(1);
    sqlx::query("update submission set created_at = created_at - interval '1 day'")
        .execute(&app.pool)
        .await
        .expect("aged");
    let used = at(Some(yesterday)).await;
    assert_eq!((used.daily_used, used.check().is_err()), (2, true));
    assert_eq!(used.resets_at, used.resets_at.date_naive().and_time(chrono::NaiveTime::MIN).and_utc());
    assert!(used.resets_at > yesterday && used.resets_at - yesterday <= Duration::days(1));
    let used = at(None).await;
    assert_eq!((used.daily_used, used.unfinished), (0, 2), "today is another day");
    // What arrived later than the day that is asked for is not of it.
    assert_eq!(at(Some(arrived - Duration::days(2))).await.daily_used, 0);
}

/// While the files are vetted the world goes on: what was decided before is decided again.
#[tokio::test]
async fn what_changes_while_the_files_are_vetted_counts() {
    let app = App::start().await;
    let phase = app.phase_with(|new| new.closes_at = Some(Utc::now() + Duration::hours(1)), |_| {}).await;
    let team = app.team(&phase, "a").await;
    let model = tiny_model();
    // Whoever holds the team's row holds the intake between vetting and its transaction.
    let during = async |seed, change: &'static str| {
        let mut held = app.pool.begin().await.expect("begun");
        sqlx::query("select id from team where id = $1 for update")
            .bind(team.id)
            .execute(&mut *held)
            .await
            .expect("held");
        let zip = results(seed);
        let submitting = app.submit_as(&phase, team, &zip, &model, None);
        let changing = async {
            let waits = "select exists (select from pg_stat_activity
                                        where datname = current_database() and wait_event_type = 'Lock')";
            while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&app.pool).await.expect("asked") {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            sqlx::raw_sql(change).execute(&mut *held).await.expect("changed");
            held.commit().await.expect("let go");
        };
        tokio::join!(submitting, changing).0
    };
    let removed = during(1, "delete from membership").await.expect_err("removed meanwhile");
    assert!(matches!(removed, Rejection::NotAMember), "{removed:?}");
    sqlx::query("insert into membership (team_id, challenge_id, account_id, role) values ($1, $2, $3, 'owner')")
        .bind(team.id)
        .bind(phase.challenge)
        .bind(team.account)
        .execute(&app.pool)
        .await
        .expect("back");
    let shut = during(2, "update account set disabled_at = now()").await.expect_err("shut out meanwhile");
    assert!(matches!(shut, Rejection::NotAMember), "{shut:?}");
    sqlx::query("update account set disabled_at = null").execute(&app.pool).await.expect("let in");
    let closed = during(3, "update phase set closes_at = now() - interval '1 minute'").await.expect_err("closed");
    assert!(matches!(closed, Rejection::PhaseClosed { .. }), "{closed:?}");
    // It arrived before the end: that its files are vetted after it is nothing to the team.
    sqlx::query("update phase set closes_at = now() + interval '1 hour'").execute(&app.pool).await.expect("open");
    during(4, "update phase set closes_at = clock_timestamp()").await.expect("in time");
    assert_eq!(app.quota(&phase, team).await.daily_used, 1);
}

#[tokio::test]
async fn sending_in_and_cancelling_has_an_end_and_leaves_no_files() {
    let app = App::start().await;
    let phase = app.phase_with(|new| new.limits = limits(3, None, 5), |_| {}).await;
    let team = app.team(&phase, "a").await;
    let mut accepted = Vec::new();
    let stopped = loop {
        match app.submit(&phase, team, &results(accepted.len() as u8 * 2)).await {
            Ok(entry) => {
                queue::cancel(&mut *app.conn().await, entry.submission).await.expect("cancelled");
                accepted.push(entry.submission);
            }
            Err(stopped) => break stopped,
        }
        assert!(accepted.len() < 30, "no end");
    };
    assert!(matches!(stopped, Rejection::QuotaUsed { bound: Bound::Uploads, used: 8, limit: 8, resets_at: Some(_) }));
    assert_eq!((accepted.len(), stopped.class().status(), codes(&stopped)), (8, 429, vec!["uploads_used".into()]));
    // What failed through us is not held against the team.
    sqlx::query(
        "update evaluation set state = 'failed', fault = 'ours', started_at = now(), finished_at = now()
                 where submission_id = $1",
    )
    .bind(accepted[0])
    .execute(&app.pool)
    .await
    .expect("ours");
    let last = app.submit(&phase, team, &results(100)).await.expect("room again");

    // Nor do entries pile up that wait: those of yesterday count too.
    sqlx::query("update submission set created_at = created_at - interval '1 day'")
        .execute(&app.pool)
        .await
        .expect("aged");
    for seed in [102, 104] {
        app.submit(&phase, team, &results(seed)).await.expect("accepted");
    }
    let waiting = app.submit(&phase, team, &results(106)).await.expect_err("three wait");
    assert!(matches!(waiting, Rejection::QuotaUsed { bound: Bound::Unfinished, used: 3, limit: 3, .. }));
    assert_eq!((waiting.class().status(), codes(&waiting)), (429, vec!["too_many_unfinished".into()]));

    // Files of those that never ran go after a week; the model is still others', and so is one that somebody sent in again.
    let there = app.files();
    assert_eq!(files::sweep(&app.pool, &app.storage).await.expect("swept"), 0, "not yet");
    let age = "update evaluation set finished_at = finished_at - interval '8 days' where state = 'cancelled'";
    sqlx::query(age).execute(&app.pool).await.expect("aged");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 86_400);
    for path in blobs(app.folder.path()) {
        std::fs::File::open(path).expect("a blob").set_modified(old).expect("aged");
    }
    let again = app.team(&phase, "b").await;
    let shared = app.submit(&phase, again, &results(2)).await.expect("accepted").submission;
    assert_eq!(files::sweep(&app.pool, &app.storage).await.expect("swept"), 7);
    assert_eq!(app.files(), there - 6, "seven entries' results, one of them another's too");
    let gone = submission::get(&mut *app.conn().await, accepted[2]).await.expect("read").expect("the row stays");
    assert!(gone.files_removed_at.is_some() && !app.storage.path(&gone.results_sha256).exists());
    for id in [shared, last.submission, accepted[0]] {
        let kept = submission::get(&mut *app.conn().await, id).await.expect("read").expect("it");
        assert!(kept.files_removed_at.is_none() && app.storage.path(&kept.results_sha256).exists(), "{id}");
        assert!(app.storage.path(&kept.model_sha256).exists());
    }
    assert_eq!(files::sweep(&app.pool, &app.storage).await.expect("swept"), 0);
    // The same files may come again.
    assert!(!app.submit(&phase, again, &results(4)).await.expect("accepted").repeated);
}

fn blobs(folder: &Path) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(folder.join("blobs")).expect("a folder").map(|e| e.expect("an entry").path());
    folders.flat_map(|f| std::fs::read_dir(f).expect("a folder").map(|e| e.expect("an entry").path())).collect()
}
