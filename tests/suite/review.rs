//! What organizers do with entries: looking, deciding, answering, measuring again.

use axum::http::{Method, StatusCode};
use prost::Message;
use serde_json::json;
use sqlx::Acquire;
use upscore::{
    audit::{self, Actor},
    challenge::{phase::Phase, protocol},
    evaluation::{
        Measurement, SizeGate, SizeMeans,
        images::{decode_png, encode_png},
        onnx::build::{Conv, GraphBuilder},
    },
    ids::{RerunId, SubmissionId},
    problem::Problem,
    queue::{
        self, State,
        rerun::{self, Decision, RerunError, Which},
    },
    submission::quota,
    team::token::Scope,
};

use crate::support::{
    app::{App, Plan, measurement},
    files::{png, results, zipped},
    web::{Web, request},
};

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

/// An organizer's browser, a team's, and an entry of the team with real files that was scored.
#[tokio::test]
async fn organizers_decide_the_team_reads_why_and_objects() {
    let web = Web::start().await;
    let phase = web.app.real_phase().await;
    let (team, rival) = (web.app.team(&phase, "a").await, web.app.team(&phase, "b").await);
    let (token, other) = (web.token(team).await, web.token(rival).await);
    let first = web.app.submit(&phase, team, &results(1)).await.expect("accepted").submission;
    // The same model, other images: a copy in all but the images.
    let copy = web.app.submit(&phase, rival, &results(9)).await.expect("accepted").submission;
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let api = format!("/api/v1/submissions/{first}");
    let page = format!("/organizer/real/review/{first}");

    let evidence = olga.get(&format!("{api}/review")).await.json();
    let alike = &evidence["duplicates"][0];
    assert_eq!((&alike["submission"], &alike["first"]), (&json!(copy), &json!(false)), "{evidence}");
    assert_eq!(alike["how"], json!(["model", "graph"]));
    let seen = evidence["marks"]["seen"].as_str().expect("a state").to_owned();
    let queue = olga.get("/api/v1/challenges/real/phases/validation/review?state=flagged").await.json();
    assert_eq!(queue["entries"].as_array().map(Vec::len), Some(2), "{queue}");

    // Held by one organizer, without a word to the public; another who read the page before is told so, and changes nothing.
    let held =
        olga.post(&format!("{page}/mark"), &[("word", "hold"), ("reason", "same file as b's"), ("seen", &seen)]).await;
    assert_eq!(held.status, StatusCode::SEE_OTHER, "{}", held.text);
    let act = json!({ "word": "disqualify", "reason": "a copy", "seen": seen });
    let late = olga.json(Method::POST, &format!("{api}/mark"), act).await;
    assert_eq!((late.status, late.code().as_str()), (StatusCode::CONFLICT, "mark_changed"));
    assert!(late.text.contains("it is held (“same file as b's”)"), "{}", late.text);
    let again = json!({ "word": "hold", "reason": "same file as b's", "seen": seen });
    assert_eq!(olga.json(Method::POST, &format!("{api}/mark"), again).await.status, StatusCode::OK, "done already");
    let empty = olga.json(Method::POST, &format!("{api}/mark"), json!({ "word": "hold", "reason": " " })).await;
    assert_eq!(empty.code(), "bad_reason");
    for stranger in [&token, &other] {
        assert_ne!(web.call(Method::POST, stranger, &format!("{api}/mark")).await.status, StatusCode::OK);
    }

    // The team reads the reason, objects once, and reads the answer.
    let own = web.get_as(&token, &format!("/submissions/{first}")).await.text;
    assert!(own.contains("same file as b&#39;s") && !own.contains("Olga"), "the reason, not the person");
    // Everybody else reads what was written for them, wherever a mark is shown.
    let public = [
        "/challenges/real/validation".to_owned(),
        "/api/v1/challenges/real/phases/validation/leaderboard".into(),
        "/api/v1/challenges/real/phases/validation/leaderboard?format=csv".into(),
        "/api/v1/challenges/real/phases/validation/leaderboard?format=md".into(),
        format!("/submissions/{first}"),
        api.clone(),
        format!("/teams/{}", team.id),
    ];
    for path in &public {
        for reply in [web.get(path).await, web.get_as(&other, path).await] {
            assert!(!reply.text.contains("same file"), "{path}: {}", reply.text);
        }
    }
    assert!(web.get(&public[1]).await.text.contains("Held for review"));
    let act = json!({ "word": "hold", "reason": "same file as b's", "public_reason": "under discussion" });
    let told = olga.json(Method::POST, &format!("{api}/mark"), act).await.json();
    assert_eq!((&told["reason"], &told["public_reason"]), (&json!("same file as b's"), &json!("under discussion")));
    assert!(web.get(&public[1]).await.text.contains("Held for review: under discussion"));
    assert_eq!(web.get(&api).await.json()["mark"]["reason"], "under discussion");
    assert_eq!(web.get_as(&token, &api).await.json()["mark"]["reason"], "same file as b's");
    let object = async |text: &str| {
        let head = request(Method::POST, &format!("/submissions/{first}/objections"), Some(&token))
            .header("content-type", "application/x-www-form-urlencoded");
        web.send(head.body(format!("text={text}").into()).expect("a request")).await
    };
    assert_eq!(object("We+were+first").await.status, StatusCode::SEE_OTHER);
    assert_eq!(object("And+again").await.status, StatusCode::CONFLICT);
    let words = web.get_as(&token, &format!("{api}/objections")).await.json();
    let id = words["objections"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(web.get_as(&other, &format!("{api}/objections")).await.status, StatusCode::NOT_FOUND);
    assert!(olga.get("/organizer/real/review?state=objection").await.text.contains(&first.to_string()));
    let answered = olga.post(&format!("{page}/objections/{id}"), &[("answer", "You were: b is disqualified")]).await;
    assert_eq!(answered.status, StatusCode::SEE_OTHER, "{}", answered.text);
    let accepted =
        olga.json(Method::POST, &format!("{api}/mark"), json!({ "word": "accept", "reason": "first" })).await;
    assert_eq!(accepted.json()["status"], "none", "{}", accepted.text);
    let verified =
        olga.json(Method::POST, &format!("{api}/mark"), json!({ "word": "verify", "reason": "code read" })).await;
    assert_eq!(verified.json()["verified"], true);
    let own = web.get_as(&token, &format!("/submissions/{first}")).await.text;
    assert!(own.contains("You were: b is disqualified") && own.contains("code read"));
    let history = olga.get(&format!("{api}/review")).await.json()["history"].clone();
    let acts: Vec<_> = history.as_array().expect("a list").iter().map(|e| e["action"].as_str().unwrap_or("")).collect();
    assert_eq!(
        acts,
        ["submission.verify", "submission.accept", "objection.answer", "submission.hold", "submission.hold"]
    );

    // The images, HR among them, to nobody else and into no cache.
    for file in ["hr.png", "sr.png", "lr.png", "diff.png"] {
        let path = format!("{page}/images/0901/{file}");
        let shown = olga.get(&path).await;
        assert_eq!((shown.status, shown.header("cache-control")), (StatusCode::OK, "private, no-store"), "{file}");
        assert_eq!(shown.header("content-type"), "image/png");
        assert_eq!(web.get(&path).await.status, StatusCode::UNAUTHORIZED, "{file}");
        for stranger in [team, rival] {
            let holder = web.token_that_may(stranger, Scope::Admin).await;
            assert_eq!(web.get_as(&holder, &path).await.status, StatusCode::NOT_FOUND, "{file}");
        }
    }
    assert_eq!(olga.get(&format!("{page}/images/0901/model.onnx")).await.status, StatusCode::NOT_FOUND);
    assert!(olga.get(&page).await.text.contains("You were: b is disqualified"));
}

/// A model that compares the input's size is flagged, with the node and what it decides; one that pads to a multiple is not.
#[tokio::test]
async fn organizers_see_what_goes_by_the_inputs_size() {
    let web = Web::start().await;
    let phase = web.app.real_phase().await;
    let gate = |node: &str, op: &str, number: f64, decides: &str, means| SizeGate {
        node: node.into(),
        op: op.into(),
        numbers: vec![number],
        decides: vec![decides.into()],
        means,
    };
    let (mut forked, mut padded) = (measured(29.0, 40.0), measured(29.0, 40.0));
    let pads = gate("body/mod", "Mod", 8.0, "body/pad (Pad)", SizeMeans::Padding);
    forked.provenance.size_gates = vec![gate("eq", "Equal", 256.0, "xf (Slice)", SizeMeans::Fork), pads.clone()];
    padded.provenance.size_gates = vec![pads];
    let (team, other) = (web.app.team(&phase, "a").await, web.app.team(&phase, "b").await);
    let suspect = web.app.enter_as(&phase, team, forked).await;
    let honest = web.app.enter_as(&phase, other, padded).await;
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let queue = olga.get("/api/v1/challenges/real/phases/validation/review").await.json();
    let flags = |id: SubmissionId| -> Vec<String> {
        let entries = queue["entries"].as_array().expect("entries");
        let entry = entries.iter().find(|e| e["submission"] == json!(id)).expect("the entry");
        let flags = entry["flags"].as_array().expect("flags").iter().filter(|flag| flag["code"] == "size_gate");
        flags.map(|flag| flag["message"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(flags(suspect), ["The model goes by the input's size: eq (Equal with 256)"]);
    assert!(flags(honest).is_empty(), "{queue}");
    let evidence = olga.get(&format!("/api/v1/submissions/{suspect}/review")).await.json();
    assert_eq!(evidence["size_gates"][0]["decides"], json!(["xf (Slice)"]), "{evidence}");
    let page = olga.get(&format!("/organizer/real/review/{suspect}")).await.text;
    assert!(page.contains("eq (Equal with 256)") && page.contains("decides xf (Slice)"), "{page}");
    let page = olga.get(&format!("/organizer/real/review/{honest}")).await.text;
    assert!(page.contains("pads to a multiple") && !page.contains("another way"), "{page}");
    // A model's nodes are its team's affair: the public record is without.
    let record = web.get(&format!("/api/v1/submissions/{suspect}/record")).await;
    assert!(record.status == StatusCode::OK && !record.text.contains("size_gates"), "{}", record.text);
    let token = web.token(team).await;
    let record = web.get_as(&token, &format!("/api/v1/submissions/{suspect}/record")).await;
    assert!(record.text.contains("size_gates") && record.text.contains("counted_at"), "{}", record.text);
}

/// A model of one convolution, its weights from `seed`, as wide as said; `name` makes it another file.
fn network(seed: u64, wide: usize, name: &str) -> Vec<u8> {
    let mut graph = GraphBuilder::new(seed);
    let input = graph.input();
    let features = graph.conv(input, Conv::new(wide, 3));
    let last = graph.conv(features, Conv::new(48, 3));
    let output = graph.depth_to_space(last, 4);
    let mut model = graph.model(output);
    model.producer_name = name.into();
    model.encode_to_vec()
}

/// Results as [`results`] makes them, one grey level off in every fiftieth sample: about 65 dB apart.
fn nearly(seed: u8) -> Vec<u8> {
    let image = |seed: u8| {
        let mut image = decode_png(&png(96, 64, seed), "an image").expect("a PNG");
        image.data.iter_mut().step_by(50).for_each(|value| *value = if *value < 255 { *value + 1 } else { 254 });
        encode_png(&image).expect("a PNG")
    };
    zipped(&[("0901x4.png", &image(seed)), ("0902x4.png", &image(seed.wrapping_add(1)))])
}

#[tokio::test]
async fn copies_and_near_copies_are_found_across_teams() {
    let web = Web::start().await;
    let phase = web.app.real_phase().await;
    let mut entries = Vec::new();
    for (team, images, model) in [
        ("first", results(1), network(1, 8, "a")),
        ("same file", results(40), network(1, 8, "a")),
        ("same weights", results(60), network(1, 8, "b")),
        ("same graph", results(80), network(2, 8, "a")),
        ("same images", results(1), network(3, 12, "a")),
        ("near images", nearly(1), network(4, 16, "a")),
        ("a stranger", results(120), network(5, 20, "a")),
    ] {
        let by = web.app.team(&phase, team).await;
        let sent = web.app.submit_as(&phase, by, &images, &model, None).await.expect("accepted");
        entries.push((team, by, sent.submission));
    }
    // A team's own second entry is no copy.
    let own = web.app.submit_as(&phase, entries[0].1, &results(1), &network(1, 8, "a"), None).await.expect("accepted");
    let mut olga = web.organizer().await;
    let queue = olga.get("/api/v1/challenges/real/phases/validation/review").await.json();
    let flag = |team: &str| {
        let listed = queue["entries"].as_array().expect("a list").iter().find(|entry| entry["team"] == team);
        let flags = listed.expect("listed")["flags"].as_array().expect("a list");
        let copy = flags.iter().find(|flag| flag["code"] == "duplicate");
        copy.map(|flag| flag["message"].as_str().expect("words").to_owned())
    };
    assert_eq!(
        flag("same file").as_deref().map(|words| words.contains("first (same model file, same weights")),
        Some(true)
    );
    assert!(flag("same weights").is_some_and(|words| words.contains("first (same weights")));
    assert!(flag("same images").is_some_and(|words| words.contains("first (same images, first)")), "{queue}");
    assert!(flag("near images").is_some_and(|words| words.contains("nearly the same images")), "{queue}");
    assert_eq!((flag("same graph"), flag("a stranger")), (None, None), "the same graph alone speaks against nobody");

    let evidence = olga.get(&format!("/api/v1/submissions/{}/review", entries[0].2)).await.json();
    let found: Vec<_> = evidence["duplicates"].as_array().expect("a list").iter().collect();
    let told: Vec<_> = found.iter().map(|d| (d["team"].as_str().expect("a team"), d["how"].to_string())).collect();
    let expected = [
        ("same file", r#"["model","weights","graph"]"#),
        ("same weights", r#"["weights","graph"]"#),
        ("same graph", r#"["graph"]"#),
        ("same images", r#"["outputs"]"#),
        ("near images", r#"["near"]"#),
    ];
    assert_eq!(told, expected.map(|(team, how)| (team, how.to_owned())));
    assert!(found.iter().all(|d| d["first"] == false && d["submission"] != json!(own.submission)));
    let near = found[4]["psnr"].as_f64().expect("dB");
    assert!((64.0..67.0).contains(&near), "{near}");
}

#[tokio::test]
async fn an_official_batch_keeps_what_it_did_to_the_ranks() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let (a, b) = (web.app.team(&phase, "a").await, web.app.team(&phase, "b").await);
    let first = web.app.enter_as(&phase, a, measured(29.1, 40.0)).await;
    web.app.enter_as(&phase, b, measured(29.1, 50.0)).await;
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let base = format!("/api/v1/challenges/{}/phases/validation/reruns", phase.challenge_slug);
    let mut again = async |ms: f64, decision: &str| {
        web.app.evaluator.plan(&web.app.storage, first, Plan::Measures(Box::new(measured(29.1, ms))));
        let asked = json!({ "submissions": [first], "reason": "a new machine" });
        let begun = olga.json(Method::POST, &base, asked).await;
        let id = begun.json()["id"].as_str().unwrap_or_else(|| panic!("{}", begun.text)).to_owned();
        web.app.drain_queue().await;
        let before = olga.get(&format!("{base}/{id}")).await.json();
        let done = json!({ "decision": decision, "reason": "looked at it" });
        let decided = olga.json(Method::POST, &format!("{base}/{id}"), done).await;
        assert_eq!(decided.status, StatusCode::OK, "{}", decided.text);
        (id, before)
    };
    let (slower, supposed) = again(60.0, "official").await;
    let (faster, _) = again(30.0, "official").await;
    let (dropped, _) = again(90.0, "discarded").await;
    let moves = |report: &serde_json::Value| {
        let of = |row: &serde_json::Value| (row["team"].clone(), row["rank"].clone(), row["rank_then"].clone());
        let rows = report["rows"].as_array().expect("rows").iter().chain(report["others"].as_array().expect("others"));
        rows.map(of).collect::<Vec<_>>()
    };
    let down = vec![(json!("a"), json!(1), json!(2)), (json!("b"), json!(2), json!(1))];
    assert_eq!(moves(&supposed), down);
    // As it was then, although the ranks have moved again since.
    assert_eq!(moves(&olga.get(&format!("{base}/{slower}")).await.json()), down);
    let up = vec![(json!("a"), json!(2), json!(1)), (json!("b"), json!(1), json!(2))];
    assert_eq!(moves(&olga.get(&format!("{base}/{faster}")).await.json()), up);
    assert_eq!(moves(&olga.get(&format!("{base}/{dropped}")).await.json()), [(json!("a"), json!(1), json!(1))]);
    let page = olga.get(&format!("/organizer/{}/validation/reruns/{slower}", phase.challenge_slug)).await.text;
    assert!(page.contains("1 → 2") && page.contains("Other entries whose rank changed"), "{page}");
}

#[tokio::test]
async fn the_queue_shows_scores_by_the_present_rules_alone() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "a").await;
    web.app.enter_as(&phase, team, measured(29.1, 40.0)).await;
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let path = format!("/api/v1/challenges/{}/phases/validation/review", phase.challenge_slug);
    let entry = olga.get(&path).await.json()["entries"][0].clone();
    assert_eq!((&entry["psnr"], &entry["rank"]), (&json!(29.1), &json!(1)));
    // Other rules of measuring: the score stays stored, and is none of the board's.
    let mut rules = phase.protocol.rules.clone();
    rules.fidelity.border += 2;
    let other = protocol::ensure(&mut *web.app.conn().await, "aim2020", &rules).await.expect("a protocol");
    sqlx::query("update phase set protocol_id = $2 where id = $1")
        .bind(phase.id)
        .bind(other.id)
        .execute(&web.app.pool)
        .await
        .expect("changed");
    let entry = olga.get(&path).await.json()["entries"][0].clone();
    assert_eq!((&entry["psnr"], &entry["rank"], &entry["state"]), (&json!(null), &json!(null), &json!("scored")));
    queue::measure_again(&mut *web.app.conn().await, phase.id).await.expect("queued");
    web.app.drain_queue().await;
    assert_eq!(olga.get(&path).await.json()["entries"][0]["psnr"], 29.1);
}

#[tokio::test]
async fn an_entry_becomes_the_baseline_by_a_noted_word() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.gate_psnr = None, |_| {}).await;
    let (ours, rival) = (web.app.team(&phase, "organizers").await, web.app.team(&phase, "a").await);
    let base = web.app.enter_as(&phase, ours, measured(29.0, 110.0)).await;
    let other = web.app.enter_as(&phase, rival, measured(28.9, 40.0)).await;
    web.app.drain_queue().await;
    assert_eq!(ranked(&web.app, &phase).await.len(), 0, "the gate waits for its baseline");
    let mut olga = web.organizer().await;
    let mut say = async |entry: SubmissionId, word: &str| {
        let act = json!({ "word": word, "reason": "MSRResNet, trained by us" });
        let said = olga.json(Method::POST, &format!("/api/v1/submissions/{entry}/mark"), act).await;
        assert_eq!(said.status, StatusCode::OK, "{}", said.text);
        said.json()["baseline"].clone()
    };
    assert_eq!(say(base, "baseline").await, true);
    assert_eq!(say(base, "baseline").await, true);
    let phase = web.app.reload(phase.id).await;
    assert_eq!((phase.baseline.submission, phase.gate.follows), (Some(base), Some(base)));
    assert_eq!(ranked(&web.app, &phase).await, [], "28.9 dB are below its 29.0");
    assert_eq!(say(other, "unbaseline").await, false, "it is none");
    assert_eq!(say(base, "unbaseline").await, false);
    assert_eq!(ranked(&web.app, &web.app.reload(phase.id).await).await.len(), 0, "and is not open without one");
    let noted = audit::list(&mut *web.app.conn().await, Some(phase.challenge), None, 10).await.expect("read");
    let acts: Vec<_> = noted.iter().rev().map(|e| (e.action.as_str(), e.details["baseline"].to_string())).collect();
    let expected = [("submission.baseline", "[false,true]"), ("submission.unbaseline", "[true,false]")];
    assert_eq!(acts, expected.map(|(action, details)| (action, details.to_owned())));
}

/// What the command line says in JSON.
fn shell(app: &App, args: &[&str]) -> serde_json::Value {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_upscore"));
    command.args(["admin", "--json"]).args(args);
    command.env("DATABASE_URL", app.database_url()).env("UPSCORE_DATA_DIR", app.folder.path());
    let done = command.output().expect("it runs");
    serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&done.stderr)))
}

#[tokio::test]
async fn the_shell_measures_again_and_decides() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    let entry = app.enter_as(&phase, team, measured(29.1, 40.0)).await;
    app.drain_queue().await;
    app.evaluator.plan(&app.storage, entry, Plan::Measures(Box::new(measured(29.1, 60.0))));
    let of = ["--challenge", phase.challenge_slug.as_str(), "--phase", "validation"];
    let with = |command: &'static str, rest: &[&'static str]| [&["rerun", command][..], &of, rest].concat();
    let begun = shell(&app, &with("start", &["--reason", "a new machine"]));
    assert_eq!(begun["queued"], json!([entry]), "{begun}");
    let id = begun["id"].as_str().expect("an id");
    let early = shell(&app, &[&with("make-official", &["--reason", "looked"])[..], &[id]].concat());
    assert_eq!(early["errors"][0]["code"], "rerun_running", "{early}");
    app.drain_queue().await;
    let report = shell(&app, &[&with("show", &[])[..], &[id]].concat());
    assert_eq!((&report["rows"][0]["team"], &report["rows"][0]["moved"]), (&json!("a"), &json!(true)), "{report}");
    let made = shell(&app, &[&with("make-official", &["--reason", "looked"])[..], &[id]].concat());
    assert_eq!((&made["decision"], &made["changed"]), (&json!("official"), &json!(true)), "{made}");
    assert_eq!(ranked(&app, &phase).await, [row("a", 60.0)]);
    assert_eq!(shell(&app, &with("list", &[]))[0]["decision"], "official");
}
