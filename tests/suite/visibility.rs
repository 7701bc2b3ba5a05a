//! Who sees figures when: boards that stand still, and phases that show all when they end.

use axum::http::Method;
use chrono::{Duration, Utc};
use serde_json::{Value, json};
use upscore::{
    audit::Actor,
    challenge::{
        file::{self, Source},
        phase::Visibility,
        protocol::EntryRule,
    },
    evaluation::Measurement,
    ids::SubmissionId,
    queue::{
        self,
        rerun::{self, Decision, Which},
    },
};

use crate::{
    challenge_file::how,
    support::{
        app::{Plan, measurement},
        web::Web,
    },
};

fn with_psnr(psnr: f64) -> Measurement {
    let mut m = measurement();
    m.fidelity.psnr = psnr;
    m
}

#[tokio::test]
async fn a_frozen_board_stands_still_until_the_phase_ends() {
    let web = Web::start().await;
    let app = &web.app;
    let ends = Utc::now() + Duration::hours(2);
    let phase = app
        .phase_with(
            |new| {
                (new.visibility, new.closes_at) = (Visibility::Frozen, Some(ends));
                new.frozen_at = Some(ends - Duration::hours(1));
            },
            |rules| rules.ranking.entry = EntryRule::Chosen,
        )
        .await;
    let (anna, ben) = (app.team(&phase, "Anna").await, app.team(&phase, "Ben").await);
    let (anna_token, ben_token) = (web.token(anna).await, web.token(ben).await);
    let mut olga = web.organizer().await;
    let first = app.enter_as(&phase, anna, with_psnr(29.111_1)).await;
    let other = app.enter_as(&phase, anna, with_psnr(29.222_2)).await;
    let withdrawn = app.enter_as(&phase, ben, with_psnr(29.333_3)).await;
    app.drain_queue().await;
    let act = async |token: &str, id: SubmissionId, act: &str| {
        let done = web.call(axum::http::Method::POST, token, &format!("/api/v1/submissions/{id}/{act}")).await;
        assert!(done.status.is_success(), "{act}: {}", done.text);
    };
    act(&anna_token, first, "choose").await;
    let board = format!("/api/v1/challenges/{}/phases/{}/leaderboard", phase.challenge_slug, phase.slug);
    let page = format!("/challenges/{}/{}", phase.challenge_slug, phase.slug);
    let before = web.get(&board).await.json();
    assert_eq!(before["ranked"].as_array().map(Vec::len), Some(2));
    assert!(web.get(&page).await.text.contains("the board stands still until the phase closes"));

    sqlx::query("update phase set frozen_at = clock_timestamp()").execute(&app.pool).await.expect("frozen");
    // All that moves a board: a new entry, a withdrawal, another choice, a re-run that is made official.
    let new = app.enter_as(&phase, ben, with_psnr(29.444_4)).await;
    act(&ben_token, withdrawn, "withdraw").await;
    act(&anna_token, other, "choose").await;
    app.evaluator.plan(&app.storage, first, Plan::Measures(Box::new(with_psnr(29.555_5))));
    let mut conn = app.conn().await;
    let at = (phase.challenge, phase.id);
    let (batch, _) = rerun::start(&mut conn, at, Which::These(&[first]), &Actor::Shell, "again").await.expect("begun");
    app.drain_queue().await;
    rerun::decide(&mut conn, phase.challenge, batch, Decision::Official, &Actor::Shell, "again")
        .await
        .expect("decided");

    let stands = |board: &Value| -> Vec<(String, f64)> {
        let rows = board["ranked"].as_array().expect("rows").iter();
        rows.map(|r| (r["submission"].as_str().expect("an id").into(), r["psnr"].as_f64().expect("dB"))).collect()
    };
    for token in [None, Some(&anna_token), Some(&ben_token)] {
        let now = match token {
            None => web.get(&board).await.json(),
            Some(token) => web.get_as(token, &board).await.json(),
        };
        for part in ["ranked", "unranked", "baseline", "gate"] {
            assert_eq!(now[part], before[part], "{part}");
        }
        assert!(now["at"].is_string(), "it says of when it is");
    }
    let moved = olga.get(&board).await.json();
    assert_eq!(stands(&moved).into_iter().map(|s| s.0).collect::<Vec<_>>(), [other, new].map(|id| id.to_string()));
    let seen = web.get(&page).await.text;
    assert!(
        seen.contains("The board stands still since") && !olga.get(&page).await.text.contains("stands still since")
    );
    let overview = olga.get(&format!("/organizer/{}", phase.challenge_slug)).await.text;
    assert!(overview.contains("everybody, as of") && overview.contains("Publish"), "{overview}");

    // What was measured since is its team's alone; what stood is shown as it was measured then.
    let entry = |id| format!("/api/v1/submissions/{id}");
    let psnr = |told: Value| told["metrics"]["psnr"].clone();
    assert_eq!(psnr(web.get_as(&ben_token, &entry(new)).await.json()), json!(29.444_4));
    for foreign in [web.get(&entry(new)).await, web.get_as(&anna_token, &entry(new)).await] {
        assert_eq!(foreign.status.as_u16(), 404);
    }
    assert_eq!(psnr(web.get(&entry(first)).await.json()), json!(29.111_1));
    assert_eq!(psnr(web.get_as(&anna_token, &entry(first)).await.json()), json!(29.555_5));
    assert_eq!(psnr(web.get(&entry(withdrawn)).await.json()), json!(29.333_3));
    let later = format!("{board}?at={}", (Utc::now() + Duration::minutes(1)).format("%Y-%m-%dT%H:%M:%SZ"));
    assert_eq!(web.get(&later).await.json()["ranked"], before["ranked"], "of later there is nothing to see");
    let share = format!("{page}/embed");
    for path in [page.clone(), format!("{page}/study"), format!("{page}/compare"), share, "/".into(), board.clone()] {
        let text = web.get(&path).await.text;
        assert!(!text.contains("29.44") && !text.contains("29.55"), "{path}");
    }

    // Nor do an entry's own pages and its events tell what became of it since: a mark with its reason, a withdrawal, a choice,
    // an evaluation that runs.
    let marked = json!({ "word": "disqualify", "reason": "for the team", "public_reason": "for all" });
    let done = olga.json(Method::POST, &format!("{}/mark", entry(first)), marked).await;
    assert_eq!(done.status.as_u16(), 200, "{}", done.text);
    queue::enqueue(&mut *app.conn().await, first, 0).await.expect("queued");
    let asked = async |token: Option<&str>, path: &str| match token {
        None => web.get(path).await,
        Some(token) => web.get_as(token, path).await,
    };
    for (id, foreign) in [(first, &ben_token), (withdrawn, &anna_token)] {
        for token in [None, Some(foreign.as_str())] {
            let told = asked(token, &entry(id)).await.json();
            let seen = (
                &told["state"],
                &told["withdrawn_at"],
                &told["mark"]["status"],
                &told["mark"]["reason"],
                &told["queue"],
            );
            assert_eq!(seen, (&json!("scored"), &Value::Null, &json!("none"), &Value::Null, &Value::Null), "{told}");
            assert_eq!(told["chosen"], json!(id == first));
            assert!(told["rank"].is_number(), "{told}");
            let page = asked(token, &format!("/submissions/{id}")).await.text;
            for word in ["withdrawn", "for the team", "for all", "isqualified", "queued"] {
                assert!(!page.contains(word), "{word}: {page}");
            }
            let model = asked(token, &format!("/submissions/{id}/model")).await.text;
            assert!(model.contains(if id == first { "29.11" } else { "29.33" }), "{model}");
            let events = asked(token, &format!("{}/events", entry(id))).await.text;
            assert!(events.contains("\"state\":\"scored\"") && events.contains("\"final\":true"), "{events}");
            assert!(!events.contains("\"state\":\"queued\""), "{events}");
        }
    }
    let own = web.get_as(&anna_token, &entry(first)).await.json();
    assert_eq!(
        (&own["state"], &own["mark"]["reason"]),
        (&json!("queued"), &json!("for the team")),
        "its own team sees today's"
    );
    assert!(web.get_as(&ben_token, &entry(withdrawn)).await.json()["withdrawn_at"].is_string());
    app.drain_queue().await;
    let undo = json!({ "word": "accept", "reason": "cleared" });
    olga.json(Method::POST, &format!("{}/mark", entry(first)), undo).await;

    sqlx::query("update phase set closes_at = clock_timestamp()").execute(&app.pool).await.expect("closed");
    assert_eq!(stands(&web.get(&board).await.json()), stands(&moved));
    assert!(!web.get(&page).await.text.contains("stands still"));
}

#[tokio::test]
async fn figures_of_an_after_end_phase_are_shown_when_it_ends() {
    let web = Web::start().await;
    let app = &web.app;
    let ends = Some(Utc::now() + Duration::hours(1));
    let phase = app.phase_with(|new| (new.visibility, new.closes_at) = (Visibility::AfterEnd, ends), |_| {}).await;
    let team = app.team(&phase, "Anna").await;
    let token = web.token(team).await;
    let entry = app.enter(&phase, team).await;
    app.drain_queue().await;
    let board = format!("/api/v1/challenges/{}/phases/{}/leaderboard", phase.challenge_slug, phase.slug);
    let told = async || web.get_as(&token, &format!("/api/v1/submissions/{entry}")).await.json()["metrics"].clone();
    assert_eq!((web.get_as(&token, &board).await.code().as_str(), told().await), ("not_published", Value::Null));
    let page = web.get_as(&token, &format!("/submissions/{entry}")).await.text;
    assert!(page.contains("everybody sees the figures when this phase closes"), "{page}");
    sqlx::query("update phase set closes_at = clock_timestamp()").execute(&app.pool).await.expect("closed");
    assert_eq!(web.get(&board).await.json()["ranked"][0]["team"], "Anna");
    assert!(told().await["psnr"].is_number());
}

#[tokio::test]
async fn a_file_states_visibility_and_its_times() {
    let app = crate::support::app::App::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("hr")).expect("a folder");
    std::fs::write(folder.path().join("hr/0901.png"), crate::support::files::png(96, 64, 1)).expect("an image");
    let apply = async |lines: &str| {
        let text = format!("slug = \"c\"\ntitle = \"C\"\n[[phase]]\nslug = \"dev\"\nhr = \"hr\"\n{lines}");
        let file = file::parse(&text).expect("a file");
        let source = Source::shell(folder.path());
        let done = file::apply(&app.pool, &app.storage, &file, &source, how(&Actor::Shell)).await;
        done.expect("no fault of ours")
            .map_err(|found| found.into_iter().map(|p| p.code.into_owned()).collect::<Vec<_>>())
    };
    for wrong in ["visibility = \"frozen\"", "frozen_at = 2030-01-01T00:00:00Z", "visibility = \"after-end\""] {
        assert_eq!(apply(wrong).await.expect_err("refused"), ["bad_visibility"], "{wrong}");
    }
    let late = "visibility = \"frozen\"\nfrozen_at = 2030-01-02T00:00:00Z\ncloses = 2030-01-01T00:00:00Z";
    assert_eq!(apply(late).await.expect_err("refused"), ["bad_times"]);
    let frozen = "visibility = \"frozen\"\nfrozen_at = 2030-01-01T00:00:00Z\ncloses = 2030-01-02T00:00:00Z";
    apply(frozen).await.expect("made");
    assert_eq!(apply(frozen).await.expect("applied").changes, []);
    let changed = apply("visibility = \"after-end\"\ncloses = 2030-01-02T00:00:00Z").await.expect("changed");
    let words: Vec<_> = changed.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "phase dev: visibility: figures live, board standing still before the end → figures hidden until the phase closes",
            "phase dev: board stands still from: 2030-01-01T00:00:00Z → never",
        ]
    );
    let found = upscore::challenge::by_slug(&mut *app.conn().await, "c").await.expect("read").expect("it");
    let exported = file::export(&mut *app.conn().await, &found, false).await.expect("exported");
    assert!(exported.toml.contains("visibility = \"after-end\""), "{}", exported.toml);
}
