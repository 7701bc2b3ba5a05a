//! What organizers make from the shell: challenges out of folders, accounts, teams and tokens.

use std::{path::Path, sync::Arc};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use upscore::{
    challenge::{
        baseline,
        create::{self, NewChallenge, PhaseFiles},
        dataset,
        phase::{GateRule, Phase},
        protocol,
    },
    db,
    evaluation::{TimedInput, TimingSettings, Verdict, images::decode_png},
    ids::ProtocolId,
    problem::Problem,
    queue::{self, State},
    storage::BlobHash,
    submission,
    team::{
        self, Role, TeamError,
        account::{self, NewAccount},
        session,
        token::{self, Scope},
    },
    worker::{Measure, Settings, Step, Worker},
};

use crate::support::{
    app::{App, Plan},
    files::{png, tiny_model},
    models,
    web::Web,
};

fn new(slug: &str) -> NewChallenge {
    NewChallenge { slug: slug.into(), title: "Efficient SR".into(), description: String::new() }
}

fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    }
    folder
}

fn codes(problems: Vec<Problem>) -> Vec<String> {
    problems.into_iter().map(|p| p.code.into_owned()).collect()
}

async fn make(app: &App, slug: &str, files: &PhaseFiles) -> Result<create::Created, Vec<Problem>> {
    create::challenge(&app.pool, &app.storage, &new(slug), files).await.expect("no fault of ours")
}

fn phase(hr: &Path) -> PhaseFiles {
    PhaseFiles::new("validation", "Validation", hr, 4)
}

#[tokio::test]
async fn a_folder_of_hr_images_becomes_a_phase_with_lr_made() {
    let app = App::start().await;
    // One of a size that the scale does not divide.
    let hr = folder(&[("0901.png", png(96, 64, 1)), ("0902.PNG", png(99, 67, 2)), ("notes.txt", b"x".to_vec())]);
    let model = folder(&[("baseline.onnx", tiny_model())]);
    let mut files = phase(hr.path());
    files.gate_psnr = Some(29.0);
    files.baseline_model = Some(model.path().join("baseline.onnx"));
    let made = make(&app, "aim2020-esr", &files).await.expect("no problems");
    assert_eq!((made.protocol.as_str(), made.images), ("aim2020@1", 2));
    let stored = app.reload(made.phase).await;
    assert_eq!((stored.gate.stated, stored.baseline.model_bytes), (Some(29.0), Some(tiny_model().len() as u64)));
    let dataset = dataset::get(&mut *app.conn().await, stored.dataset).await.expect("read");
    assert_eq!(dataset.images.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["0901", "0902"]);
    let odd = &dataset.images[1];
    assert_eq!((odd.hr_size, odd.lr_size), ([96, 64], [24, 16]));
    for (hash, size) in [(&odd.hr, odd.hr_size), (&odd.lr, odd.lr_size)] {
        let image = decode_png(&std::fs::read(app.storage.path(hash)).expect("a blob"), "0902").expect("a PNG");
        assert_eq!([image.width, image.height], size);
    }
    // An untouched HR file is stored as it is.
    assert_eq!(std::fs::read(app.storage.path(&dataset.images[0].hr)).expect("a blob"), png(96, 64, 1));

    assert_eq!(codes(make(&app, "aim2020-esr", &files).await.expect_err("taken")), ["slug_taken"]);
    let test = PhaseFiles { slug: "test".into(), ..files.clone() };
    let second = create::phase(&app.pool, &app.storage, "aim2020-esr", &test).await.expect("made").expect("made");
    assert_eq!(app.reload(second.phase).await.position, 2);
    let again = create::phase(&app.pool, &app.storage, "aim2020-esr", &test).await.expect("asked");
    assert_eq!(codes(again.expect_err("taken")), ["slug_taken"]);
}

#[tokio::test]
async fn what_does_not_pair_or_fit_is_said() {
    let app = App::start().await;
    let hr = folder(&[("0901.png", png(96, 64, 1)), ("0902.png", png(96, 64, 2))]);
    let given = |lr: &tempfile::TempDir| PhaseFiles { lr: Some(lr.path().to_owned()), ..phase(hr.path()) };

    let fits = folder(&[("0901x4.png", png(24, 16, 1)), ("0902x4.png", png(24, 16, 2))]);
    assert_eq!(make(&app, "fits", &given(&fits)).await.expect("no problems").images, 2);
    let unpaired = folder(&[("0901x4.png", png(24, 16, 1)), ("0903x4.png", png(24, 16, 2))]);
    let problems = make(&app, "a", &given(&unpaired)).await.expect_err("refused");
    assert_eq!(codes(problems), ["missing_lr", "unexpected_lr"]);
    let misfit = folder(&[("0901x4.png", png(24, 16, 1)), ("0902x4.png", png(25, 16, 2))]);
    let problems = make(&app, "a", &given(&misfit)).await.expect_err("refused");
    assert_eq!(problems[0].message, "the LR image is 25×16, expected 24×16: the HR image by 4");

    let empty = folder(&[]);
    assert_eq!(codes(make(&app, "a", &phase(empty.path())).await.expect_err("refused")), ["no_images"]);
    assert_eq!(codes(make(&app, "a", &phase(Path::new("/none"))).await.expect_err("refused")), ["no_such_folder"]);
    let broken = folder(&[("0901.png", b"no png".to_vec())]);
    let mut files = phase(broken.path());
    files.baseline_model = Some(broken.path().join("0901.png"));
    assert_eq!(codes(make(&app, "a", &files).await.expect_err("refused")).len(), 2, "both are said at once");
    assert_eq!(codes(make(&app, "Not A Slug", &phase(hr.path())).await.expect_err("refused")), ["bad_slug"]);
    let mut files = phase(hr.path());
    files.limits.daily_attempts = 1;
    assert_eq!(codes(make(&app, "a", &files).await.expect_err("refused")), ["bad_quota"]);
}

#[tokio::test]
async fn a_token_acts_for_its_account_until_it_ends() {
    let app = App::start().await;
    let mut conn = app.conn().await;
    let id =
        account::create(&mut conn, NewAccount { name: "ann".into(), ..NewAccount::default() }).await.expect("made");
    let (token, secret) = token::create(&mut conn, id, "ci", Scope::Submit, None).await.expect("made");
    let stored: String =
        sqlx::query_scalar("select token_sha256 from api_token").fetch_one(&mut *conn).await.expect("it");
    assert_ne!(stored, secret.expose(), "only the hash is kept");
    let (_, account, scope) = token::authenticate(&mut conn, secret.expose()).await.expect("asked").expect("known");
    assert_eq!((account.name.as_str(), scope), ("ann", Scope::Submit));
    let listed = token::list(&mut conn, id).await.expect("listed").remove(0);
    assert!(secret.expose().starts_with(&listed.prefix) && listed.last_used_at.is_some());

    assert!(token::authenticate(&mut conn, "upscore_0").await.expect("asked").is_none());
    assert!(token::revoke(&mut conn, id, token).await.expect("revoked"));
    assert!(token::authenticate(&mut conn, secret.expose()).await.expect("asked").is_none());
    let past = chrono::Utc::now() - chrono::Duration::seconds(1);
    let (_, expired) = token::create(&mut conn, id, "old", Scope::Read, Some(past)).await.expect("made");
    assert!(token::authenticate(&mut conn, expired.expose()).await.expect("asked").is_none());

    let (session, cookie) = session::create(&mut conn, id, None, Some("Firefox")).await.expect("made");
    assert!(session::authenticate(&mut conn, cookie.expose()).await.expect("asked").is_some());
    session::end(&mut conn, id, session).await.expect("ended");
    assert!(session::authenticate(&mut conn, cookie.expose()).await.expect("asked").is_none());
}

#[tokio::test]
async fn an_account_is_in_one_team_of_a_challenge() {
    let app = App::start().await;
    let (phase, other) = (app.phase().await, app.phase().await);
    let team = app.team(&phase, "a").await;
    let mut conn = app.conn().await;
    let again = team::create(&mut conn, phase.challenge, "b", team.account).await;
    assert!(matches!(again, Err(TeamError::InATeam)));
    let second = app.team(&phase, "c").await;
    let join = team::join(&mut conn, second.id, team.account, Role::Member).await;
    assert!(matches!(join, Err(TeamError::InATeam)));
    assert!(team::create(&mut conn, other.challenge, "a", team.account).await.is_ok(), "another challenge");
    let name = team::create(&mut conn, phase.challenge, "A", second.account).await;
    assert!(matches!(name, Err(TeamError::NameTaken)), "names are told apart without case");
    let mine = team::of_account(&mut conn, phase.challenge, team.account).await.expect("read").expect("a team");
    assert_eq!((mine.id, mine.name.as_str()), (team.id, "a"));
}

/// A challenge with a baseline's model and no figure of a gate, whose images are real.
async fn with_model(web: &Web, gate_rule: Option<GateRule>) -> Phase {
    let hr = folder(&[("0901.png", png(96, 64, 1)), ("0902.png", png(96, 64, 2))]);
    let model = folder(&[("baseline.onnx", tiny_model())]);
    let mut files = phase(hr.path());
    files.baseline_model = Some(model.path().join("baseline.onnx"));
    files.baseline_name = "MSRResNet".into();
    files.gate_rule = gate_rule;
    files.rules.timing = TimingSettings {
        warmup: 1,
        processes: 1,
        runs: 2,
        max_seconds: 1.0,
        input: TimedInput::Tile(32, 32),
        ..TimingSettings::default()
    };
    let made = make(&web.app, "gated", &files).await.expect("no problems");
    web.app.reload(made.phase).await
}

#[tokio::test]
async fn a_baseline_model_without_a_figure_is_measured_and_nobody_is_ranked_before() {
    let web = Web::start().await;
    let phase = with_model(&web, None).await;
    let baseline = phase.baseline.submission.expect("its entry is there");
    assert_eq!(web.app.state(baseline).await, State::Queued);
    let model = BlobHash::of(&tiny_model());
    let broken = Problem::new("model_failed", "the baseline does not run");
    web.app.evaluator.plan_model(&web.app.storage, &model, Plan::Fails(broken));
    let entry = web.app.enter(&phase, web.app.team(&phase, "a").await).await;
    let mut olga = web.organizer().await;
    let overview = "/organizer/gated";
    let waits = olga.get(overview).await.text;
    assert!(waits.contains("Nobody is ranked until MSRResNet is measured"), "{waits}");

    // It fails: the organizer hears why, and the board is no more open than before.
    assert_eq!(web.app.drain_queue().await, 2);
    assert_eq!((web.app.state(baseline).await, web.app.state(entry).await), (State::Failed, State::Scored));
    let board = web.app.board(&phase).await;
    assert_eq!((board.ranked.len(), board.unranked.len()), (0, 1));
    assert_eq!(board.unranked[0].reason.code, "gate_pending");
    let told = web.get("/api/v1/challenges/gated/phases/validation/leaderboard").await.json();
    assert_eq!((&told["gate"]["psnr"], &told["gate"]["follows_baseline"]), (&json!(null), &json!(true)), "{told}");
    let page = web.get("/challenges/gated/validation").await.text;
    assert!(
        page.contains("The gate is the PSNR of MSRResNet, which is not measured yet: nobody is ranked until it is."),
        "{page}"
    );
    let home = web.get("/").await.text;
    assert!(home.contains("<dd>not measured yet</dd>"), "{home}");
    let failed = olga.get(overview).await.text;
    assert!(failed.contains("measuring it failed") && failed.contains("the baseline does not run"), "{failed}");

    // Asked again, it is measured, by images that the model makes of the phase's own.
    web.app.evaluator.forget(&web.app.storage, &model);
    assert_eq!(queue::measure_again(&mut *web.app.conn().await, phase.id).await.expect("queued"), 1);
    assert_eq!(web.app.drain_queue().await, 1);
    assert_eq!(web.app.evaluator.makes.lock().expect("makes").as_slice(), [["0901", "0902"], ["0901", "0902"]]);
    let board = web.app.board(&phase).await;
    assert_eq!((board.ranked.len(), board.gate.and_then(|gate| gate.psnr)), (1, Some(29.04)));
    assert_eq!(board.baseline.expect("a row").submission, Some(baseline));
    assert!(!olga.get(overview).await.text.contains("Nobody is ranked"));
    let mut conn = web.app.conn().await;
    assert_eq!(
        team::count(&mut conn, phase.challenge).await.expect("a count"),
        1,
        "the organizers' is no team of the challenge"
    );
    let made = submission::get(&mut conn, baseline).await.expect("read").expect("it");
    assert_eq!(std::fs::read(web.app.storage.path(&made.results_sha256)).expect("kept"), b"made by the model");
    assert_eq!(made.account, None);

    // Other images are measured at once: the old figure is no gate of theirs.
    sqlx::query("update phase set protocol_id = $1")
        .bind(other_runs(&web, &phase).await)
        .execute(&mut *conn)
        .await
        .expect("set");
    assert_eq!(baseline::ensure(&mut conn, phase.id).await.expect("looked"), Some(baseline));
    assert_eq!(baseline::ensure(&mut conn, phase.id).await.expect("looked"), None, "once");
    assert_eq!(web.app.board(&phase).await.ranked.len(), 0);
}

async fn other_runs(web: &Web, phase: &Phase) -> ProtocolId {
    let mut rules = phase.protocol.rules.clone();
    rules.timing.runs += 1;
    protocol::ensure(&mut *web.app.conn().await, "aim2020", &rules).await.expect("a protocol").id
}

#[tokio::test]
async fn without_a_gate_everybody_is_ranked_only_where_an_organizer_said_so() {
    let web = Web::start().await;
    let phase = with_model(&web, Some(GateRule::None)).await;
    assert_eq!(phase.baseline.submission, None);
    web.app.enter(&phase, web.app.team(&phase, "a").await).await;
    web.app.drain_queue().await;
    let board = web.app.board(&phase).await;
    assert_eq!((board.ranked.len(), board.gate), (1, None));
}

/// The real thing: the model makes the images here, and reproduces them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_images_of_a_baseline_are_its_models_own() {
    let web = Web::start().await;
    let phase = with_model(&web, None).await;
    let settings = Settings { tools: models::tools(), ..web.app.settings() };
    let (pool, storage) = (web.app.pool.clone(), web.app.storage.clone());
    let worker = Worker::new(pool, storage, Arc::new(Measure), settings, CancellationToken::new()).expect("a worker");
    let baseline = phase.baseline.submission.expect("its entry");
    let done = loop {
        match worker.step().await.expect("a step") {
            Step::Done(id, state) => break (id, state),
            Step::Busy => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            Step::Empty => panic!("nothing was queued"),
        }
    };
    let evaluation = web.app.evaluation(baseline).await;
    assert_eq!(done, (baseline, Some(State::Scored)), "{:?}", evaluation.problems);
    let score = queue::score::get(&mut *web.app.conn().await, evaluation.id).await.expect("read").expect("a score");
    assert_eq!(score.reproduction.verdict, Verdict::Reproduced);
    assert_eq!(score.reproduction.model_psnr, Some(score.fidelity.psnr));
    let gate = web.app.board(&phase).await.gate.expect("a gate");
    // As it is told: to a millionth.
    let told = gate.psnr.expect("a figure");
    assert!((told - score.fidelity.psnr).abs() <= 5e-7, "{told} {}", score.fidelity.psnr);
}

/// Phases of before go on as they were: what was ranked without a gate stays ranked.
#[tokio::test]
async fn phases_of_before_keep_their_open_gate_and_a_made_baseline_goes_with_the_way_back() {
    let web = Web::start().await;
    let phase = with_model(&web, None).await;
    web.app.enter(&phase, web.app.team(&phase, "a").await).await;
    web.app.drain_queue().await;
    assert_eq!(web.app.board(&phase).await.ranked.len(), 1);
    let before = 41;
    db::MIGRATOR.undo(&web.app.pool, before).await.expect("down");
    let left: i64 =
        sqlx::query_scalar("select count(*) from submission").fetch_one(&web.app.pool).await.expect("a count");
    assert_eq!(left, 1, "the team's");
    db::migrate(&web.app.pool).await.expect("up");
    let again = web.app.reload(phase.id).await;
    assert_eq!((again.gate.rule, again.baseline.submission), (Some(GateRule::None), None));
    assert_eq!(web.app.board(&again).await.ranked.len(), 1);
}
