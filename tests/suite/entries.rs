//! What a team does with its entries, and what nobody may learn from them.

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use chrono::{Duration, Utc};
use serde_json::json;
use upscore::{
    challenge::protocol::EntryRule,
    evaluation::{Db, ImageReproduction, ImageScore},
    problem::Problem,
    storage::BlobHash,
    team::token::Scope,
};

use crate::support::{
    app::{Plan, measurement},
    files::{png, results, tiny_model, zipped},
    web::{Part, Reply, Web, request},
};

impl Web {
    async fn patch(&self, token: &str, path: &str, body: &serde_json::Value) -> Reply {
        let ask = request(Method::PATCH, path, Some(token)).header(header::CONTENT_TYPE, "application/json");
        self.send(ask.body(Body::from(body.to_string())).expect("a request")).await
    }

    async fn form(&self, token: &str, path: &str, body: &'static str) -> Reply {
        let ask = request(Method::POST, path, Some(token));
        let ask = ask.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(ask.body(Body::from(body)).expect("a request")).await
    }
}

#[tokio::test]
async fn a_team_chooses_and_withdraws_its_entries() {
    let web = Web::start().await;
    let app = &web.app;
    let phase = app.phase_with(|_| {}, |rules| rules.ranking.entry = EntryRule::Chosen).await;
    let (team, other) = (app.team(&phase, "a").await, app.team(&phase, "b").await);
    let (token, foreign) = (web.token(team).await, web.token(other).await);
    let mut slow = measurement();
    slow.runtime.baseline.as_mut().expect("a baseline").ratio = 0.9;
    let (fast, chosen) = (app.enter(&phase, team).await, app.enter_as(&phase, team, slow).await);
    app.drain_queue().await;
    let stands = async || app.board(&phase).await.ranked.iter().map(|r| r.submission).collect::<Vec<_>>();
    assert_eq!(stands().await, [fast], "without a choice the best");
    let act = async |token: &str, id, act: &str| {
        web.call(Method::POST, token, &format!("/api/v1/submissions/{id}/{act}")).await
    };
    assert_eq!(act(&token, chosen, "choose").await.json(), json!({ "id": chosen, "chosen": true }));
    assert_eq!(stands().await, [chosen]);
    let page = web.get_as(&token, &format!("/submissions/{chosen}")).await.text;
    assert!(page.contains("chosen for the board") && page.contains("progress-plot") && page.contains("× 0.90"));
    assert!(web.get_as(&token, &format!("/submissions/{fast}")).await.text.contains("Let this entry stand"));
    // By the page's own form; and not others'.
    assert_eq!(web.form(&token, &format!("/submissions/{fast}/choose"), "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(stands().await, [fast]);
    for (what, path) in [("choose", chosen), ("withdraw", fast), ("cancel", fast)] {
        assert_eq!(act(&foreign, path, what).await.status, StatusCode::NOT_FOUND, "{what}");
    }
    assert_eq!(act(&token, fast, "withdraw").await.json()["withdrawn"], true);
    assert_eq!(stands().await, [chosen]);
    assert_eq!(act(&token, fast, "choose").await.code(), "not_choosable");
    sqlx::query("update phase set closes_at = now()").execute(&app.pool).await.expect("closed");
    for what in ["choose", "withdraw", "cancel"] {
        assert_eq!(act(&token, chosen, what).await.code(), "phase_closed", "{what}");
    }
    let form = web.form(&token, &format!("/submissions/{chosen}/withdraw"), "").await;
    assert_eq!(form.status, StatusCode::FORBIDDEN);
    assert!(!web.get_as(&token, &format!("/submissions/{chosen}")).await.text.contains("Withdraw"));
    assert_eq!(stands().await, [chosen], "what stood at the end stands");
    let best = app.phase().await;
    let member = app.team(&best, "c").await;
    let entry = app.enter(&best, member).await;
    app.drain_queue().await;
    assert_eq!(act(&web.token(member).await, entry, "choose").await.code(), "no_choice");
}

#[tokio::test]
async fn the_fact_sheet_is_amended_until_the_phase_ends() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.closes_at = Some(Utc::now() + Duration::hours(1)), |_| {}).await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let foreign = web.token(web.app.team(&phase, "b").await).await;
    let readme =
        b"Runtime per image [s] : 0.1\nExtra Data [1] / No Extra Data [0] : 1\nOther description : From the zip";
    let zip = zipped(&[("0901.png", &png(96, 64, 1)), ("0902.png", &png(96, 64, 2)), ("readme.txt", readme)]);
    let model = tiny_model();
    let [results_part, model_part] = [Part("results", Some("r.zip"), &zip), Part("model", Some("m.onnx"), &model)];
    let wrong = web.submit(&token, &phase, &[Part("extra_data", None, b"perhaps"), results_part, model_part]).await;
    assert_eq!((wrong.status.as_u16(), wrong.code().as_str()), (422, "fact_invalid"));
    let made = web.submit(&token, &phase, &[Part("method", None, b" RFDN "), results_part, model_part]).await;
    assert_eq!(made.status, StatusCode::ACCEPTED, "{}", made.text);
    assert_eq!((made.header("ratelimit-limit"), made.header("ratelimit-remaining")), ("1000", "999"));
    let path = format!("/api/v1/submissions/{}", made.json()["id"].as_str().expect("an id"));
    let sheet = async || web.get_as(&token, &path).await.json()["fact_sheet"].clone();
    assert_eq!(sheet().await, json!({ "method": "RFDN", "extra_data": "yes", "description": "From the zip" }));

    let amended = web.patch(&token, &path, &json!({ "fact_sheet": { "paper": "arXiv:1", "description": "" } })).await;
    assert_eq!(amended.json()["fact_sheet"], json!({ "method": "RFDN", "extra_data": "yes", "paper": "arXiv:1" }));
    let page = format!("{}/fact-sheet", path.trim_start_matches("/api/v1"));
    let saved = web.form(&token, &page, "method=RFDN2&extra_data=no&paper=").await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text);
    assert_eq!(sheet().await, json!({ "method": "RFDN2", "extra_data": "no" }));

    for (body, status) in [
        (json!({ "fact_sheet": { "extra_data": "perhaps" } }), 422),
        (json!({ "fact_sheet": {}, "score": 40 }), 422),
        (json!({ "fact_sheet": { "method": 3 } }), 422),
        (json!({ "fact_sheet": { "method": "\0" } }), 422),
        (json!({ "fact_sheet": { "method": "x".repeat(30_000) } }), 422),
    ] {
        assert_eq!(web.patch(&token, &path, &body).await.status.as_u16(), status, "{body:.60}");
    }
    assert_eq!(web.patch(&foreign, &path, &json!({ "fact_sheet": {} })).await.status, StatusCode::NOT_FOUND);
    sqlx::query("update phase set closes_at = now()").execute(&web.app.pool).await.expect("closed");
    assert_eq!(web.patch(&token, &path, &json!({ "fact_sheet": { "method": "late" } })).await.code(), "phase_closed");
}

#[tokio::test]
async fn a_team_lists_its_entries_by_the_page_and_downloads_its_files() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let (team, other) = (web.app.team(&phase, "a").await, web.app.team(&phase, "b").await);
    let (token, foreign) = (web.token(team).await, web.token(other).await);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(web.app.enter(&phase, team).await);
        web.app.enter(&phase, other).await;
    }
    let path = format!("/api/v1/challenges/{}/phases/validation/submissions", phase.challenge_slug);
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = web.get_as(&token, &format!("{path}{query}")).await.json();
        seen.extend(page["submissions"].as_array().expect("a list").iter().map(|s| s["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=2&cursor={next}");
    }
    ids.reverse();
    assert_eq!(seen, ids.iter().map(|id| json!(id)).collect::<Vec<_>>(), "its own, newest first, each once");
    for bad in ["?limit=0", "?limit=101", "?limit=-1", "?cursor=x", "?limit=%00"] {
        assert_eq!(web.get_as(&token, &format!("{path}{bad}")).await.code(), "bad_query", "{bad}");
    }
    assert_eq!(web.get(&path).await.code(), "token_needed");
    let organizer = web.app.team(&phase, "o").await;
    sqlx::query("update account set is_organizer = true where id = $1")
        .bind(organizer.account)
        .execute(&web.app.pool)
        .await
        .expect("an organizer");
    let all = web.get_as(&web.token_that_may(organizer, Scope::Admin).await, &path).await.json();
    assert_eq!(all["submissions"].as_array().map(Vec::len), Some(10));
    let own = web.get_as(&web.token(organizer).await, &path).await.json();
    assert_eq!(own["submissions"], json!([]), "a token that may only submit is its team's");

    let zip = results(1);
    let made =
        web.submit(&token, &phase, &[Part("results", Some("r"), &zip), Part("model", Some("m"), &tiny_model())]).await;
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    for (file, bytes) in [("results", zip), ("model", tiny_model())] {
        let path = format!("/api/v1/submissions/{id}/{file}");
        let ask = request(Method::GET, &path, Some(&token)).body(Body::empty()).expect("a request");
        let answer = tower::ServiceExt::oneshot(web.router.clone(), ask).await.expect("an answer");
        let head = answer.headers().clone();
        let got = axum::body::to_bytes(answer.into_body(), 64 << 20).await.expect("a body");
        assert!(got == bytes, "{file}");
        assert!(head[header::CONTENT_DISPOSITION].to_str().expect("text").starts_with("attachment; filename="));
        assert_eq!(head[header::CONTENT_SECURITY_POLICY], "sandbox; default-src 'none'");
        assert_eq!(head["x-content-type-options"], "nosniff");
        let missing = web.get_as(&foreign, &format!("/api/v1/submissions/{}/{file}", uuid::Uuid::now_v7())).await;
        for reply in [web.get_as(&foreign, &path).await, web.get(&path).await] {
            assert_eq!((reply.status.as_u16(), &reply.text), (404, &missing.text), "{file}");
        }
    }
    // Also once it stands on a public board.
    web.app.drain_queue().await;
    assert_eq!(web.get(&format!("/api/v1/submissions/{id}/model")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_on_a_quota_of_five_are_five() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.limits.daily = 5, |_| {}).await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let model = tiny_model();
    // Files of their own each: equal ones would be one.
    let zips: Vec<_> = (0..50u8).map(|n| results(n * 5)).collect();
    let all = futures::future::join_all(zips.iter().map(|zip| {
        let parts = [Part("results", Some("r.zip"), zip), Part("model", Some("m.onnx"), &model)];
        let (web, token, phase) = (&web, &token, &phase);
        async move { web.submit(token, phase, &parts).await }
    }))
    .await;
    let count = |status| all.iter().filter(|r| r.status == status).count();
    assert_eq!((count(StatusCode::ACCEPTED), count(StatusCode::TOO_MANY_REQUESTS)), (5, 45));
    let refused = all.iter().find(|r| r.status == StatusCode::TOO_MANY_REQUESTS).expect("one");
    assert_eq!((refused.header("ratelimit-limit"), refused.header("ratelimit-remaining")), ("5", "0"));
    assert!(refused.header("ratelimit-reset").parse::<u32>().is_ok_and(|s| s <= 86_400));
    let rows: i64 =
        sqlx::query_scalar("select count(*) from submission").fetch_one(&web.app.pool).await.expect("a count");
    assert_eq!(rows, 5);
}

/// Everything that a hidden phase has to hide, in every form that it might be written in.
struct Secrets {
    /// Figures as pages and exports round them.
    rounded: Vec<String>,
    /// Figures as they are, to as many digits as no other number shares, and hashes.
    exact: Vec<String>,
    bytes: Vec<Vec<u8>>,
}

impl Secrets {
    /// `/metrics` rounds nothing, and its durations would now and then share a rounded figure's digits.
    fn found(&self, path: &str, body: &[u8]) -> Option<String> {
        let has = |needle: &[u8]| body.windows(needle.len()).any(|w| w == needle);
        let rounded = self.rounded.iter().filter(|_| path != "/metrics");
        let text = self.exact.iter().chain(rounded).find(|text| has(text.as_bytes())).cloned();
        text.or_else(|| self.bytes.iter().position(|b| has(b)).map(|i| format!("HR bytes {i}")))
    }
}

#[tokio::test]
async fn nothing_that_a_participant_can_get_holds_a_hidden_figure_or_a_byte_of_hr() {
    let web = Web::start().await;
    let phase = web.app.real_phase().await;
    sqlx::query("update phase set visibility = 'hidden'").execute(&web.app.pool).await.expect("hidden");
    let phase = web.app.reload(phase.id).await;
    let (team, other) = (web.app.team(&phase, "a").await, web.app.team(&phase, "b").await);
    let (token, foreign) = (web.token(team).await, web.token(other).await);
    let mut m = measurement();
    // Beyond 60, so that no second of a time reads like one.
    (m.fidelity.psnr, m.fidelity.ssim) = (81.739_152, 0.876_543);
    let image = |name: &str, psnr, ssim| ImageScore { name: name.into(), psnr: Db(psnr), ssim };
    m.fidelity.images = vec![image("0901", 83.517_46, 0.912_87), image("0902", 79.960_84, 0.840_21)];
    m.reproduction.model_psnr = Some(81.728_46);
    m.reproduction.images = vec![ImageReproduction { name: "0901".into(), max_abs: 1, psnr_between: Db(71.283_94) }];
    web.app.evaluator.plan_model(&web.app.storage, &BlobHash::of(&tiny_model()), Plan::Measures(Box::new(m)));
    let submit = async |seed| {
        let zip = results(seed);
        let parts = [Part("results", Some("r.zip"), &zip), Part("model", Some("m.onnx"), &tiny_model())];
        web.submit(&token, &phase, &parts).await.json()["id"].as_str().expect("an id").to_owned()
    };
    let scored = submit(1).await;
    web.app.drain_queue().await;
    // One that failed, as its problem is shown too.
    let problem = Problem::new("onnx_runtime_error", "the model failed while it ran");
    web.app.evaluator.plan_model(&web.app.storage, &BlobHash::of(&tiny_model()), Plan::Fails(problem));
    let failed = submit(3).await;
    web.app.drain_queue().await;

    let figures = [81.739_152, 0.876_543, 83.517_46, 0.912_87, 79.960_84, 0.840_21, 81.728_46, 71.283_94];
    let exact: Vec<String> = figures.iter().map(|f: &f64| format!("{f}")).collect();
    // As pages and exports write them, rounded or cut: dB with two decimals or more, SSIM with three or more.
    let mut rounded: Vec<String> = figures
        .iter()
        .flat_map(|&f| {
            let (places, half) = if f < 1.0 { (3, 0.0005) } else { (2, 0.005) };
            [format!("{f:.places$}"), format!("{:.places$}", f - half), format!("{f:.0$}", places + 1)]
        })
        .collect();
    rounded.extend(rounded.clone().iter().map(|t| t.replace('.', ",")));
    let hashes: Vec<String> =
        sqlx::query_scalar("select hr_sha256 from dataset_image").fetch_all(&web.app.pool).await.expect("hashes");
    let files: Vec<Vec<u8>> = hashes
        .iter()
        .map(|h| std::fs::read(web.app.storage.path(&h.parse().expect("a hash"))).expect("an HR image"))
        .collect();
    // A stretch from the middle of each file, and one of its pixels.
    let mut bytes: Vec<Vec<u8>> = files.iter().map(|f| f[f.len() / 2..f.len() / 2 + 48].to_vec()).collect();
    for seed in [1u8, 2] {
        bytes.push((0..96u32).map(|i| (i as u8).wrapping_mul(7).wrapping_add(seed)).collect());
    }
    let exact = exact.into_iter().chain(hashes).collect();
    let secrets = Secrets { rounded, exact, bytes };

    let slug = &phase.challenge_slug;
    let api = format!("/api/v1/challenges/{slug}/phases/{}", phase.slug);
    let page = format!("/challenges/{slug}/{}", phase.slug);
    let mut paths = vec![
        "/".into(),
        format!("/challenges/{slug}"),
        page.clone(),
        format!("{page}?cost=params"),
        format!("{page}/submit"),
        format!("{page}/lr.zip"),
        format!("{page}/sample.zip"),
        "/metrics".into(),
        "/healthz".into(),
        "/readyz".into(),
        "/api/docs".into(),
        "/api/v1/openapi.json".into(),
    ];
    paths.extend(["json", "csv", "md", "tex"].map(|format| format!("{api}/leaderboard?format={format}")));
    for id in [&scored, &failed] {
        paths.push(format!("/submissions/{id}"));
    }
    // Codabench's routes, whose numbers begin with 1.
    paths.extend(["/api/competitions/", "/api/submissions/"].map(str::to_owned));
    for number in 1..=2 {
        for (before, after) in [
            ("competitions", ""),
            ("submissions", ""),
            ("submissions", "get_details/"),
            ("leaderboards", ""),
            ("phases", "get_leaderboard/"),
        ] {
            paths.push(format!("/api/{before}/{number}/{after}"));
        }
    }
    // Every GET of the API, whoever adds it.
    let document = web.get("/api/v1/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().expect("paths") {
        if item["get"].is_object() {
            for id in [&scored, &failed] {
                paths.push(path.replace("{slug}", slug).replace("{phase}", &phase.slug).replace("{id}", id));
            }
        }
    }
    let leaks = async |asker: Option<&str>| {
        let mut leaks = Vec::new();
        for path in &paths {
            let ask = request(Method::GET, path, asker).body(Body::empty()).expect("a request");
            let answer = tower::ServiceExt::oneshot(web.router.clone(), ask).await.expect("an answer");
            let body = axum::body::to_bytes(answer.into_body(), 64 << 20).await.expect("a body");
            // The team's own files hold what it put in, which in this test is HR's own pattern.
            let own_file = path.ends_with("/results") || path.ends_with("/model");
            if let Some(found) = secrets.found(path, &body).filter(|_| !own_file) {
                leaks.push(format!("{path}: {found}"));
            }
        }
        leaks
    };
    // And whether the team sees its own.
    for (visibility, own) in [("hidden", false), ("after-end", false), ("own", true), ("frozen", true)] {
        let set = "update phase set visibility = $1, closes_at = now() + interval '1 hour',
                       frozen_at = case $1 when 'frozen' then now() - interval '1 day' end";
        sqlx::query(set).bind(visibility).execute(&web.app.pool).await.expect("set");
        for (asker, who) in [(Some(&*token), "the team"), (Some(&*foreign), "another team"), (None, "anybody")] {
            let leaks = leaks(asker).await;
            assert_eq!(leaks.is_empty(), !(own && who == "the team"), "{visibility}, {who}: {leaks:?}");
            assert!(
                !leaks.iter().any(|l| l.contains("HR bytes") || l.contains("leaderboard")),
                "{visibility}: {leaks:?}"
            );
        }
    }
    let set = "update phase set visibility = 'hidden', closes_at = null, frozen_at = null";
    sqlx::query(set).execute(&web.app.pool).await.expect("hidden");
    let seen = web.get_as(&token, &format!("/submissions/{scored}")).await.text;
    assert!(seen.contains("Accepted and measured"), "the team is told that it is measured");
    let board = web.get_as(&token, &format!("{api}/leaderboard?format=csv")).await;
    assert_eq!((board.status.as_u16(), board.code().as_str()), (403, "not_published"));
    // Published, they are found: the search can find.
    sqlx::query("update phase set published_at = now()").execute(&web.app.pool).await.expect("published");
    let shown = leaks(Some(&token)).await;
    for path in ["leaderboard?format=csv", "/api/leaderboards/1/", "/api/submissions/1/"] {
        assert!(shown.iter().any(|l| l.contains(path)), "{path}: {shown:?}");
    }
    assert!(!shown.iter().any(|l| l.contains("HR bytes")), "but never HR: {shown:?}");
}

/// The image figures of a team's own entries say nothing of a single hidden sample, wherever they are told.
#[tokio::test]
async fn a_team_learns_no_figure_that_tells_a_hidden_sample() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "a").await;
    let token = web.token(team).await;
    let mut m = measurement();
    (m.fidelity.psnr, m.fidelity.ssim) = (29.123_456_789_012, 0.876_543_210_987);
    let image = |name: &str, psnr, ssim| ImageScore { name: name.into(), psnr: Db(psnr), ssim };
    m.fidelity.images =
        vec![image("0901", 33.517_461_234_5, 0.912_871_234_5), image("0902", 29.960_841_234_5, 0.840_211_234_5)];
    (m.reproduction.model_psnr, m.reproduction.uploaded_psnr) = (Some(29.123_456_789_012), Some(28.987_654_321_098));
    let id = web.app.enter_as(&phase, team, m.clone()).await;
    let mut other = m.clone();
    other.fidelity.images[0].psnr = Db(33.527_461_234_5);
    let rival = web.app.team(&phase, "b").await;
    let second = web.app.enter_as(&phase, rival, other).await;
    web.app.drain_queue().await;
    let api = format!("/api/v1/submissions/{id}");
    let told = web.get_as(&token, &api).await.json();
    assert_eq!(told["images"][0]["psnr"], 33.52);
    assert_eq!(told["images"][1]["ssim"], 0.8402);
    assert_eq!((&told["metrics"]["psnr"], &told["metrics"]["ssim"]), (&json!(29.123_457), &json!(0.876_543)));

    let at = format!("/challenges/{}/phases/validation", phase.challenge_slug);
    let page = format!("/challenges/{}/validation", phase.challenge_slug);
    let record = format!("{api}/record");
    let mut paths = vec![api, record, format!("/submissions/{id}"), page.clone(), format!("{page}/study")];
    paths.extend(["json", "csv", "md", "tex"].map(|f| format!("/api/v1{at}/leaderboard?format={f}")));
    paths.extend(
        ["study".into(), format!("compare?a={id}&b={second}")].map(|rest: String| format!("/api/v1{at}/{rest}")),
    );
    paths.extend([
        format!("{page}/compare?a={id}&b={second}"),
        "/api/submissions/1/".into(),
        "/api/leaderboards/1/".into(),
    ]);
    // More decimals than are told.
    let exact = ["33.5174", "33.5274", "29.9608", "0.91287", "0.84021", "29.1234567", "28.9876543", "0.8765432"];
    let leaks = async |token: Option<&str>| {
        let mut leaks = Vec::new();
        for path in &paths {
            let reply = match token {
                Some(token) => web.get_as(token, path).await,
                None => web.get(path).await,
            };
            leaks.extend(exact.iter().filter(|f| reply.text.contains(**f)).map(|f| format!("{path}: {f}")));
        }
        leaks
    };
    for token in [None, Some(&*token)] {
        let found = leaks(token).await;
        assert!(found.is_empty(), "{found:#?}");
    }
    // Nor once the phase is closed, when everybody sees the figures of all images.
    sqlx::query("update phase set closes_at = now()").execute(&web.app.pool).await.expect("closed");
    let compared = web.get(&format!("/api/v1{at}/compare?a={id}&b={second}")).await.json();
    assert_eq!(compared["images"][0]["psnr"], json!([33.52, 33.53]));
    let found = leaks(Some(&*token)).await;
    assert!(found.is_empty(), "{found:#?}");
    // To organizers they are what was measured: the search can find.
    let olga = web.app.team(&phase, "o").await;
    sqlx::query("update account set is_organizer = true where id = $1")
        .bind(olga.account)
        .execute(&web.app.pool)
        .await
        .expect("set");
    let found = leaks(Some(&web.token_that_may(olga, Scope::Admin).await)).await;
    assert!(found.iter().any(|f| f.contains("33.5174")), "{found:#?}");
}

#[tokio::test]
async fn a_text_with_a_nul_is_refused_and_never_our_fault() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let mut olga = web.organizer().await;
    let slug = &phase.challenge_slug;
    for (path, status) in [
        ("/challenges/a%00b".to_owned(), 404),
        (format!("/challenges/{slug}/val%00"), 404),
        ("/api/v1/challenges/%00/phases/x/leaderboard".into(), 404),
        ("/static/a%00".into(), 404),
        (format!("/organizer/{slug}/review/%00"), 404),
        // A page shows what it can of an odd link.
        (format!("/challenges/{slug}/validation?q=%00"), 200),
        (format!("/api/v1/challenges/{slug}/participants?q=a%00"), 422),
        (format!("/api/v1/challenges/{slug}/participants?after=%00"), 422),
        (format!("/api/v1/challenges/{slug}/audit?actor=%00"), 422),
        ("/reset?key=%00".into(), 404),
        ("/api/competitions/?search=%00".into(), 200),
    ] {
        assert_eq!(olga.get(&path).await.status.as_u16(), status, "{path}");
    }
    let forms: &[(&str, &[(&str, &str)])] = &[
        ("/signin", &[("name", "a\0"), ("password", "x")]),
        ("/signup", &[("name", "a\0b"), ("password", "a long passphrase")]),
        ("/account/email", &[("email", "a\0@example.org")]),
        ("/organizer/reset", &[("name", "\0")]),
        ("/tokens", &[("name", "\0"), ("scope", "read")]),
        ("/forgotten", &[("email", "\0")]),
        ("/invitation", &[("key", "\0")]),
        ("/organizer/new", &[("title", "\0")]),
    ];
    for (path, fields) in forms {
        let reply = olga.post(path, fields).await;
        assert!(matches!(reply.status.as_u16(), 400 | 404 | 422), "{path}: {}", reply.status);
    }
    let challenge = format!("/api/v1/challenges/{slug}");
    for (method, path, body) in [
        (Method::POST, "/api/v1/account".to_owned(), json!({ "name": "a\0", "password": "a long passphrase" })),
        (Method::POST, "/api/v1/session".into(), json!({ "name": "a\0", "password": "x" })),
        (Method::POST, "/api/v1/tokens".into(), json!({ "name": "a\0", "scope": "read" })),
        (Method::POST, "/api/v1/reset-links".into(), json!({ "name": "\0" })),
        (Method::POST, format!("{challenge}/join"), json!({ "name": "\0" })),
        (Method::POST, format!("{challenge}/announcements"), json!({ "title": "\0", "body": "x" })),
        (Method::POST, format!("{challenge}/organizers"), json!({ "name": "\0" })),
        (Method::PUT, format!("{challenge}/webhook"), json!({ "url": "https://example.org/\0" })),
        (Method::POST, "/api/api-token-auth/".into(), json!({ "username": "\0", "password": "\0" })),
        (
            Method::POST,
            "/api/datasets/".into(),
            json!({ "type": "submission", "file_size": 1, "request_sassy_file_name": "\0" }),
        ),
    ] {
        let reply = olga.json(method, &path, body).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (422, "bad_text"), "{path}: {}", reply.text);
    }
    // What only looks like one is a text as any.
    let body = json!({ "title": "\\u0000", "body": "%00" });
    assert_eq!(olga.json(Method::POST, &format!("{challenge}/announcements"), body).await.status, StatusCode::CREATED);
}

/// Headers that come in time and a body that comes late: what was true when the request began is asked again.
#[tokio::test]
async fn a_slow_body_is_no_way_round_a_deadline_or_a_removal() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.closes_at = Some(Utc::now() + Duration::hours(1)), |_| {}).await;
    let team = web.app.team(&phase, "a").await;
    let (token, id) = (web.token(team).await, web.app.enter(&phase, team).await);
    web.app.drain_queue().await;
    // The body arrives after `meanwhile` was done.
    let late = async |meanwhile: &'static str, path: &str, body: &'static str| {
        let pool = web.app.pool.clone();
        let chunk = async move {
            sqlx::raw_sql(meanwhile).execute(&pool).await.expect("done");
            Ok::<_, std::io::Error>(body.as_bytes())
        };
        let method = if path.ends_with("objections") { Method::POST } else { Method::PATCH };
        let ask = request(method, path, Some(&token)).header(header::CONTENT_TYPE, "application/json");
        web.send(ask.body(Body::from_stream(futures::stream::once(chunk))).expect("a request")).await
    };
    let path = format!("/api/v1/submissions/{id}");
    let sheet = r#"{"fact_sheet":{"method":"late"}}"#;
    let closed = late("update phase set closes_at = clock_timestamp()", &path, sheet).await;
    assert_eq!((closed.status, closed.code().as_str()), (StatusCode::FORBIDDEN, "phase_closed"));
    sqlx::query("update phase set closes_at = null").execute(&web.app.pool).await.expect("open");
    for (path, body) in [(path.clone(), sheet), (format!("{path}/objections"), r#"{"text":"no"}"#)] {
        let removed = late("delete from membership", &path, body).await;
        assert_eq!(removed.status, StatusCode::NOT_FOUND, "{path}: {}", removed.text);
        upscore::team::join(&mut *web.app.conn().await, team.id, team.account, upscore::team::Role::Owner)
            .await
            .expect("back");
    }
    let told = web.get_as(&token, &path).await.json();
    assert!(told["fact_sheet"]["method"].is_null(), "{told}");
    // Nor does who has handed a team over go on ruling it.
    let (heir, admin) =
        (web.app.team(&web.app.phase().await, "x").await.account, web.token_that_may(team, Scope::Admin).await);
    upscore::team::join(&mut *web.app.conn().await, team.id, heir, upscore::team::Role::Member).await.expect("in");
    let hand_over = "update membership set role = case role when 'owner' then 'member' else 'owner' end";
    let pool = web.app.pool.clone();
    let chunk = async move {
        sqlx::raw_sql(hand_over).execute(&pool).await.expect("done");
        Ok::<_, std::io::Error>(br#"{"name":"Mine again"}"#.as_slice())
    };
    let ask = request(Method::PATCH, &format!("/api/v1/teams/{}", team.id), Some(&admin));
    let ask = ask.header(header::CONTENT_TYPE, "application/json");
    let refused = web.send(ask.body(Body::from_stream(futures::stream::once(chunk))).expect("a request")).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "owners_only"), "{}", refused.text);
}
