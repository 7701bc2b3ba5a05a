//! Changing the rules of a phase: what would change is shown first, what is measured stands, what was done is noted.

use axum::http::{Method, StatusCode};
use serde_json::json;
use upscore::{
    audit,
    challenge::{
        phase::Visibility,
        protocol::{Preset, Rule},
    },
    evaluation::Measurement,
};

use crate::support::{app::measurement, web::Web};

fn entry(psnr: f64, ratio: f64, params: u64) -> Measurement {
    let mut m = measurement();
    m.fidelity.psnr = psnr;
    m.cost.params = params;
    let base = m.runtime.baseline.as_mut().expect("a baseline");
    (base.ratio, base.ratio_ci95) = (ratio, [ratio, ratio]);
    m
}

#[tokio::test]
async fn a_change_of_rules_is_previewed_saved_with_a_reason_and_keeps_every_score() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    for (team, psnr, ratio, params) in
        [("fast", 29.1, 0.2, 900_000), ("small", 29.2, 0.4, 100_000), ("low", 28.7, 0.1, 1)]
    {
        web.app.enter_as(&phase, web.app.team(&phase, team).await, entry(psnr, ratio, params)).await;
    }
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let page = format!("/organizer/{}/{}/protocol", phase.challenge_slug, phase.slug);
    let form = [
        ("gate", "28.50"),
        ("comparison", "exact"),
        ("ranking", "params"),
        ("sub_tracks", "sum | Both | rank(runtime) + rank(params)"),
        ("entry", "best"),
        ("flops", "kair"),
        ("device", "cpu"),
        ("input", "256x256"),
        ("images", "uploaded"),
        ("reproduction", "shown"),
        ("verification", "not-needed"),
        ("ties", "equal"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&form[..], more].concat();
    assert!(!olga.get(&page).await.text.contains("What would change"));
    let shown = olga.post(&page, &with(&[("act", "preview")])).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    assert!(shown.text.contains("2 of 3 teams would stand elsewhere"), "{}", shown.text);
    assert_eq!(web.app.board(&phase).await.protocol, phase.protocol.name, "nothing is saved yet");
    let refused = olga.post(&page, &with(&[("act", "save")])).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains("needs a reason"), "{}", refused.text);
    let saved = olga.post(&page, &with(&[("act", "save"), ("reason", "Small networks matter.")])).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text);
    let board = web.app.board(&phase).await;
    let order: Vec<_> = board.ranked.iter().map(|r| (r.rank, r.team.as_str())).collect();
    assert_eq!(order, [(1, "low"), (2, "small"), (3, "fast")]);
    assert_ne!(board.protocol, phase.protocol.name, "a new version");
    assert_eq!(board.ranked[0].tracks["sum"].rank, Some(1));
    let noted = audit::list(&mut *web.app.conn().await, Some(phase.challenge), None, 10).await.expect("the log");
    let act = noted.iter().find(|e| e.action == "phase.protocol").expect("it is noted");
    assert_eq!((act.reason.as_str(), act.actor.as_str()), ("Small networks matter.", "Olga Organizer"));
    assert_eq!(act.details["protocol"], json!([phase.protocol.name, board.protocol]));

    // By REST: another way of measuring cannot be foretold, and asks for new measurements.
    let api = format!("/api/v1/challenges/{}/phases/{}/protocol", phase.challenge_slug, phase.slug);
    let mut rules = Preset::named("ntire2024").expect("a preset").rules(4);
    rules.fidelity.border = 8;
    assert!(matches!(rules.ranking.rule, Rule::Score(_)));
    let ask = json!({"name": "ntire2024", "rules": rules, "gate_psnr": 28.0});
    let shown = olga.json(Method::POST, &format!("{api}/preview"), ask.clone()).await.json();
    assert_eq!((&shown["measured_alike"], &shown["measure_again"]), (&json!(false), &json!(3)), "{shown}");
    let decided =
        json!({"name": "ntire2024", "rules": rules, "gate_psnr": 28.0, "reason": "New season", "measure_again": true});
    let saved = olga.json(Method::PUT, &api, decided.clone()).await.json();
    assert_eq!(saved, json!({"protocol": "ntire2024@1", "measured_again": 3}));
    assert!(web.app.board(&phase).await.ranked.is_empty(), "until they are measured");
    assert_eq!(web.app.drain_queue().await, 3);
    assert_eq!(web.app.board(&phase).await.protocol, "ntire2024@1");
    let mut bad = decided;
    bad["rules"]["ranking"] = json!({"score": [], "entry": "best"});
    assert_eq!(olga.json(Method::PUT, &api, bad.clone()).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_hidden_phase_is_published_with_a_reason_and_hidden_again() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.visibility = Visibility::Hidden, |_| {}).await;
    web.app.enter(&phase, web.app.team(&phase, "Nearest").await).await;
    web.app.drain_queue().await;
    let board = format!("/api/v1/challenges/{}/phases/{}/leaderboard", phase.challenge_slug, phase.slug);
    let mut olga = web.organizer().await;
    let page = format!("/organizer/{}/{}/publish", phase.challenge_slug, phase.slug);
    assert!(olga.get(&format!("/organizer/{}", phase.challenge_slug)).await.text.contains(&page));
    assert_eq!(olga.post(&page, &[("act", "publish"), ("reason", " ")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(web.get(&board).await.code(), "not_published");
    assert_eq!(
        olga.post(&page, &[("act", "publish"), ("reason", "The test phase is over.")]).await.status.as_u16(),
        303
    );
    assert_eq!(web.get(&board).await.json()["ranked"][0]["team"], "Nearest");
    let api = format!("/api/v1/challenges/{}/phases/{}/unpublish", phase.challenge_slug, phase.slug);
    let reason = json!({"reason": "One entry is contested."});
    for changed in [true, false] {
        let told = olga.json(Method::POST, &api, reason.clone()).await.json();
        assert_eq!(told, json!({"published": false, "changed": changed}));
    }
    assert_eq!(web.get(&board).await.code(), "not_published");
    let noted = audit::list(&mut *web.app.conn().await, Some(phase.challenge), None, 10).await.expect("the log");
    let acts: Vec<_> = noted.iter().map(|e| (e.action.as_str(), e.reason.as_str())).collect();
    let expected = [("phase.unpublish", "One entry is contested."), ("phase.publish", "The test phase is over.")];
    assert_eq!(acts, expected, "what changes nothing is not noted");
    // What is noted stays as it is, whoever has the database's shell.
    for change in ["update audit set reason = ''", "delete from audit", "truncate audit"] {
        let error = sqlx::query(change).execute(&web.app.pool).await.expect_err(change);
        assert!(error.to_string().contains("append-only"), "{change}: {error}");
    }
}
