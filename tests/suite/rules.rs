//! Changing the rules of a phase: what would change is shown first, what is measured stands, what was done is noted.

use axum::http::{Method, StatusCode};
use serde_json::json;
use upscore::{
    audit,
    challenge::{
        dataset::{self, Image},
        phase::{NewPhase, Visibility},
        protocol::{Preset, Rule},
    },
    evaluation::Measurement,
    storage::BlobHash,
};

use crate::support::{
    app::measurement,
    html::fields,
    web::{Visitor, Web},
};

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
    assert!(shown.text.contains("2 of 3 ranked teams would stand elsewhere"), "{}", shown.text);
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
    assert_eq!((&saved["protocol"], &saved["measured_again"]), (&json!("ntire2024@1"), &json!(3)), "{saved}");
    assert!(saved["baseline"].is_string(), "a score compares with the baseline, which is measured for it: {saved}");
    assert!(web.app.board(&phase).await.ranked.is_empty(), "until they are measured");
    assert_eq!(web.app.drain_queue().await, 4);
    let board = web.app.board(&phase).await;
    assert_eq!((board.protocol.as_str(), board.ranked.len()), ("ntire2024@1", 3));
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

#[tokio::test]
async fn a_preview_counts_who_is_ranked_and_rules_are_bounded() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    for (team, psnr) in [("high", 29.5), ("low", 28.0), ("lower", 27.0)] {
        web.app.enter_as(&phase, web.app.team(&phase, team).await, entry(psnr, 0.4, 1000)).await;
    }
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let page = format!("/organizer/{}/{}/protocol", phase.challenge_slug, phase.slug);
    let mut form = fields(&olga.get(&page).await.text, "protocol");
    let put = |form: &mut Vec<(String, String)>, name: &str, value: &str| {
        form.iter_mut().find(|(field, _)| field == name).expect(name).1 = value.to_owned();
    };
    // Both that are not ranked hear of another shortfall; neither has a place that moves.
    put(&mut form, "gate", "29.20");
    let press = async |olga: &mut Visitor<'_>, form: &[(String, String)], act: &str| {
        let mut fields: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        fields.push(("act", act));
        olga.post(&page, &fields).await
    };
    let shown = press(&mut olga, &form, "preview").await;
    assert!(shown.text.contains("Every ranked team keeps its place."), "{}", shown.text);
    // An edition's figure was for its own images.
    put(&mut form, "preset", "ntire2024");
    let filled = press(&mut olga, &form, "fill").await.text;
    assert!(
        filled.contains("name=\"gate\" type=\"text\" inputmode=\"decimal\" autocomplete=\"off\" value=\"29.00\""),
        "{filled}"
    );

    let api = format!("/api/v1/challenges/{}/phases/{}/protocol", phase.challenge_slug, phase.slug);
    let good = serde_json::to_value(&phase.protocol.rules).expect("JSON");
    for (place, value) in [
        ("/timing/input", json!([100_000, 100_000])),
        ("/timing/max_seconds", json!(1e300)),
        ("/timing/processes", json!(0)),
        ("/limits/seconds", json!(1)),
        ("/limits/memory_bytes", json!(1)),
        ("/fidelity/border", json!(40)),
    ] {
        let mut rules = good.clone();
        *rules.pointer_mut(place).expect(place) = value;
        let refused =
            olga.json(Method::POST, &format!("{api}/preview"), json!({"rules": rules, "gate_psnr": 29.0})).await;
        let expected = (StatusCode::UNPROCESSABLE_ENTITY, "bad_rules".to_owned());
        assert_eq!((refused.status, refused.code()), expected, "{place}: {}", refused.text);
        let named = format!("rules{}", place.replace('/', "."));
        assert!(refused.text.contains(&named), "{named}: {}", refused.text);
    }
    let both = json!({"rules": good, "gate_psnr": 29.0, "gate": "none"});
    assert_eq!(olga.json(Method::POST, &format!("{api}/preview"), both).await.code(), "bad_gate");
    let open = json!({"rules": good, "gate_psnr": null, "gate": "none", "reason": "an open season"});
    assert_eq!(olga.json(Method::PUT, &api, open).await.status, StatusCode::OK);
    let board = web.app.board(&phase).await;
    assert_eq!((board.ranked.len(), board.gate), (3, None));
}

/// What was sent in for other images is not measured on the present ones: it would fail as the team's fault.
#[tokio::test]
async fn measuring_again_leaves_out_what_is_of_other_images() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let old = web.app.enter(&phase, web.app.team(&phase, "old").await).await;
    web.app.drain_queue().await;
    let image = |name: &str, height| Image {
        name: name.into(),
        hr_size: [96, height],
        lr_size: [24, height / 4],
        hr: BlobHash::of(b"hr2"),
        lr: BlobHash::of(b"lr2"),
        lr_bytes: 2,
    };
    let images = [image("0901", 64), image("0902", 128)];
    let dataset = dataset::ensure(&mut *web.app.conn().await, "other", 4, &images).await.expect("a dataset");
    sqlx::query("update phase set dataset_id = $1").bind(dataset).execute(&web.app.pool).await.expect("set");
    let new = web.app.enter(&phase, web.app.team(&phase, "new").await).await;
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let api = format!("/api/v1/challenges/{}/phases/{}/protocol", phase.challenge_slug, phase.slug);
    let mut rules = serde_json::to_value(&phase.protocol.rules).expect("JSON");
    rules["timing"]["runs"] = json!(7);
    let ask = json!({"rules": rules, "gate_psnr": 29.0});
    let shown = olga.json(Method::POST, &format!("{api}/preview"), ask).await.json();
    assert_eq!(shown["measure_again"], 1, "{shown}");
    let decided = json!({"rules": rules, "gate_psnr": 29.0, "reason": "fewer runs", "measure_again": true});
    assert_eq!(olga.json(Method::PUT, &api, decided).await.json()["measured_again"], 1);
    assert_eq!(web.app.drain_queue().await, 1);
    let numbers = (web.app.evaluation(old).await.number, web.app.evaluation(new).await.number);
    assert_eq!(numbers, (1, 2));
}

#[tokio::test]
async fn publishing_an_open_phase_says_what_it_does_by_name() {
    let web = Web::start().await;
    let hidden = |new: &mut NewPhase| {
        new.visibility = Visibility::Hidden;
        new.title = "Final".into();
        new.closes_at = Some(chrono::Utc::now() + chrono::Duration::days(3));
    };
    let phase = web.app.phase_with(hidden, |_| {}).await;
    for team in ["a", "b"] {
        web.app.enter(&phase, web.app.team(&phase, team).await).await;
    }
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let overview = format!("/organizer/{}", phase.challenge_slug);
    let page = olga.get(&overview).await.text;
    for words in [
        "Everybody sees the board of Final at once, with the figures of 2 measured entries of 2 teams.",
        "Final is still open, until ",
        "data-confirm=\"Publish Final?",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let publish = format!("{overview}/{}/publish", phase.slug);
    assert_eq!(olga.post(&publish, &[("act", "publish"), ("reason", "early")]).await.status, StatusCode::SEE_OTHER);
    assert!(olga.get(&overview).await.text.contains("The figures of Final are seen by organizers only from then on."));
}
