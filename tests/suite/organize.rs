//! What organizers make from the shell: challenges out of folders, accounts, teams and tokens.

use std::path::Path;

use upscore::{
    challenge::{
        create::{self, NewChallenge, PhaseFiles},
        dataset,
    },
    evaluation::images::decode_png,
    problem::Problem,
    team::{
        self, Role, TeamError,
        account::{self, NewAccount},
        session,
        token::{self, Scope},
    },
};

use crate::support::{
    app::App,
    files::{png, tiny_model},
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
