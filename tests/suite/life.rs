//! The whole life of a challenge, in a browser: from AIM2020's file to the table of the paper.

use std::path::Path;

use axum::http::{Method, StatusCode};
use chrono::{Duration, Utc};
use fantoccini::Locator;
use serde_json::json;
use upscore::{
    audit,
    challenge::{
        self, file,
        phase::{self, Phase},
    },
    evaluation::{
        Measurement, Verdict,
        onnx::build::{Conv, GraphBuilder},
    },
    ids::SubmissionId,
    submission,
};

use crate::{
    browser::{click, fill},
    challenge_file::{example, packed},
    leaderboard::typeset,
    support::{
        app::{Plan, measurement},
        browser::{Browser, DESKTOP, PHONE},
        files::results,
        web::{PASSWORD, Part, Web},
    },
};

/// A network of its own.
fn network(seed: u64) -> Vec<u8> {
    let mut g = GraphBuilder::new(seed);
    let x = g.input();
    let features = g.conv(x, Conv::new(48, 3));
    let sr = g.depth_to_space(features, 4);
    g.build(sr)
}

/// Team, PSNR dB, ms, params, verdict: in the manner of AIM2020's table.
type Row = (&'static str, f64, f64, u64, Verdict);

const TEAMS: [Row; 6] = [
    ("NJU_MCG", 28.75, 37.0, 433_448, Verdict::Reproduced),
    ("AiriA_CG", 28.70, 37.9, 687_087, Verdict::WithinRounding),
    ("UESTC-MediaLab", 28.70, 47.5, 461_180, Verdict::Reproduced),
    // Will leave the fact sheet incomplete.
    ("XPixel", 28.70, 71.3, 271_931, Verdict::Reproduced),
    ("MLVC", 28.41, 24.3, 84_000, Verdict::Reproduced),
    ("XMUlab", 28.78, 31.0, 691_000, Verdict::Differs),
];

fn measured(&(_, psnr, ms, params, verdict): &Row) -> Measurement {
    let mut m = measurement();
    m.fidelity.psnr = psnr;
    m.reproduction.verdict = verdict;
    m.reproduction.max_abs = if verdict == Verdict::Differs { 23 } else { 0 };
    m.runtime.median_ms = ms;
    m.runtime.ci95_ms = [ms * 0.99, ms * 1.01];
    if let Some(baseline) = &mut m.runtime.baseline {
        (baseline.ratio, baseline.ratio_ci95) = (ms / 110.0, [ms / 111.0, ms / 109.0]);
    }
    m.cost.params = params;
    m
}

/// Signs somebody in whom [`Web::person`] made.
pub async fn sign_in(url: &str, name: &str, browser: &Browser) {
    browser.goto(&format!("{url}/signin")).await;
    fill(browser, "#name", name).await;
    fill(browser, "#password", PASSWORD).await;
    click(browser, "main form button[type=submit]").await;
    browser.find(".hero").await;
}

/// Sets a field as its picker would.
async fn pick(browser: &Browser, css: &str, value: &str) {
    browser.find(css).await;
    browser.script(&format!("document.querySelector({css:?}).value = {value:?}; return true")).await;
}

async fn press(browser: &Browser, words: &str) {
    let xpath = format!("//main//button[normalize-space()='{words}']");
    browser
        .client
        .find(Locator::XPath(&xpath))
        .await
        .unwrap_or_else(|e| panic!("{words}: {e}"))
        .click()
        .await
        .expect("clicked");
}

/// Presses a button of a form whose answer is another page of the same address, and waits for it.
async fn press_and_wait(browser: &Browser, words: &str) {
    browser.script("document.body.dataset.old = 'yes'; return true").await;
    press(browser, words).await;
    if browser.client.get_alert_text().await.is_ok() {
        browser.client.accept_alert().await.expect("confirmed");
    }
    browser
        .until("the next page", async |b: &Browser| {
            b.script("return document.readyState === 'complete' && !document.body.dataset.old").await == true
        })
        .await;
    let refused = browser.texts("main .alert").await;
    assert_eq!(refused, Vec::<String>::new(), "{words}");
}

async fn test_phase(web: &Web) -> Phase {
    phase::by_slug(&mut *web.app.conn().await, "aim2020-esr", "test").await.expect("read").expect("the phase")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_lives_from_its_file_to_the_papers_table() {
    let web = Web::start().await;
    web.organizer().await;
    let url = web.listen().await;
    let olga = Browser::open(DESKTOP).await;
    sign_in(&url, "Olga Organizer", &olga).await;

    // Announced: from AIM2020's file, looked at before it is made.
    let (folder, from) = example();
    std::fs::write(folder.path().join("challenge.toml"), file::format::write(&from).expect("TOML")).expect("written");
    let zip = folder.path().with_extension("zip");
    std::fs::write(&zip, packed(folder.path(), "aim2020-esr/")).expect("written");
    olga.goto(&format!("{url}/organizer/new")).await;
    olga.picture("life-new").await;
    olga.is_accessible("a new challenge").await;
    olga.find("#file").await.send_keys(zip.to_str().expect("a path")).await.expect("chosen");
    let previews = "//form[.//input[@id='file']]//button";
    olga.client.find(Locator::XPath(previews)).await.expect("a button").click().await.expect("clicked");
    olga.find("#plan").await;
    assert!(olga.texts(".changes li").await.iter().any(|t| t.contains("phase test") && t.contains("gate 28.70 dB")));
    olga.picture("life-plan").await;
    olga.is_accessible("the plan").await;
    fill(&olga, "#file-reason", "the season begins").await;
    press(&olga, "Create").await;
    olga.find("#phases").await;
    std::fs::remove_file(&zip).expect("removed");

    // Opened, by the settings: the development is over, the test runs.
    olga.goto(&format!("{url}/organizer/aim2020-esr/settings")).await;
    let field = |at: chrono::DateTime<Utc>| at.format("%Y-%m-%dT%H:%M").to_string();
    pick(&olga, "#phase-2-opens", &field(Utc::now() - Duration::hours(1))).await;
    pick(&olga, "#phase-2-closes", &field(Utc::now() + Duration::days(7))).await;
    olga.picture("life-settings").await;
    olga.is_accessible("settings").await;
    press_and_wait(&olga, "Preview").await;
    let planned = olga.texts(".changes li").await;
    assert!(planned.len() == 2 && planned.iter().all(|t| t.contains("phase test")), "{planned:?}");
    press_and_wait(&olga, "Apply").await;
    let phase = test_phase(&web).await;
    assert_eq!(phase.state, phase::PhaseState::Open);

    // Six teams send in: the first by the form, the others by scripts.
    let terms = challenge::joining::get(&mut *web.app.conn().await, phase.challenge).await.expect("the terms");
    let terms = terms.terms_sha256().expect("terms");
    let mut people = Vec::new();
    let mut entries: Vec<SubmissionId> = Vec::new();
    for (seed, row) in (1u8..).zip(&TEAMS) {
        let name = format!("Of {}", row.0);
        let mut person = web.person(&name).await;
        let joined = person.post("/join/aim2020-esr", &[("name", row.0), ("terms", &terms)]).await;
        assert_eq!(joined.status, StatusCode::SEE_OTHER, "{}", joined.text);
        let (zip, model) = (results(seed), network(u64::from(seed)));
        if seed == 1 {
            entries.push(by_the_form(&url, &name, &zip, &model).await);
        } else {
            let token = person.post("/tokens", &[("name", "ci"), ("scope", "admin")]).await.text;
            let token = token.split("id=\"new-token\">upscore_").nth(1).expect("a token");
            let token = format!("upscore_{}", token.split(|c: char| !c.is_ascii_alphanumeric()).next().expect("it"));
            let parts = [
                Part("results", Some("results.zip"), &zip),
                Part("model", Some("model.onnx"), &model),
                Part("method", None, b"a network"),
                Part("members", None, name.as_bytes()),
                Part("extra_data", None, b"no"),
            ];
            let sent = web.submit(&token, &phase, &parts).await;
            assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", sent.text);
            entries.push(sent.json()["id"].as_str().expect("an id").parse().expect("an id"));
        }
        people.push(person);
        let entry = submission::get(&mut *web.app.conn().await, entries[entries.len() - 1]).await;
        let model = entry.expect("read").expect("the entry").model_sha256;
        web.app.evaluator.plan_model(&web.app.storage, &model, Plan::Measures(Box::new(measured(row))));
    }
    assert_eq!(web.app.drain_queue().await, 6);
    let board = "/challenges/aim2020-esr/test";
    assert!(!web.get(board).await.text.contains("28.75"), "hidden until published");

    // The organizers want the code too; five say it.
    olga.goto(&format!("{url}/organizer/aim2020-esr/settings")).await;
    let sheet = olga.find("#fact_sheet").await;
    let present = sheet.prop("value").await.expect("read").expect("its lines");
    let wanted = present
        .replace("training_code | Training code | text | optional", "training_code | Training code | text | required");
    assert_ne!(present, wanted);
    pick(&olga, "#fact_sheet", &wanted).await;
    fill(&olga, "#reason", "the report needs it").await;
    press_and_wait(&olga, "Apply").await;
    for ((person, row), id) in people.iter_mut().zip(&TEAMS).zip(&entries).filter(|((_, row), _)| row.0 != "XPixel") {
        let said = json!({ "fact_sheet": { "method": row.0, "members": row.0, "extra_data": "no", "training_code": "https://example.org" } });
        let amended = person.json(Method::PATCH, &format!("/api/v1/submissions/{id}"), said).await;
        assert_eq!(amended.status, StatusCode::OK, "{}", amended.text);
    }

    // Reviewed, each with its evidence.
    let review = format!("{url}/organizer/aim2020-esr/review");
    olga.goto(&format!("{review}?phase=test")).await;
    assert_eq!(olga.texts("table.review tbody tr").await.len(), 6);
    olga.picture("life-review").await;
    for (row, id) in TEAMS.iter().zip(&entries) {
        olga.goto(&format!("{review}/{id}")).await;
        olga.find("#reason").await;
        match row.4 {
            Verdict::Differs => {
                assert!(olga.texts(".entry-title").await[0].contains("held"), "its model does not make its images");
                fill(&olga, "#reason", "the images are not the model's").await;
                press_and_wait(&olga, "Disqualify").await;
                assert!(olga.texts(".entry-title").await[0].contains("disqualified"));
            }
            _ => {
                fill(&olga, "#reason", "looked at it").await;
                press_and_wait(&olga, "Mark as verified").await;
            }
        }
    }
    let mut xmu = people.pop().expect("the last");
    let told = xmu.get(&format!("/submissions/{}", entries[5])).await.text;
    assert!(told.contains("the images are not the model&#39;s"), "{told}");

    // Closed, by its date.
    olga.goto(&format!("{url}/organizer/aim2020-esr/settings")).await;
    pick(&olga, "#phase-2-closes", &field(Utc::now() - Duration::minutes(2))).await;
    press_and_wait(&olga, "Apply").await;
    assert_eq!(test_phase(&web).await.state, phase::PhaseState::Closed);

    // Published.
    olga.goto(&format!("{url}/organizer/aim2020-esr")).await;
    fill(&olga, "#why-test", "the results are final").await;
    press_and_wait(&olga, "Publish").await;
    let seen = Browser::open(PHONE).await;
    seen.goto(&format!("{url}{board}")).await;
    let mut ranked = seen.texts("tbody.ranked th.team").await;
    ranked.retain(|team| !team.starts_with("MSRResNet"));
    let expected = ["NJU_MCG", "AiriA_CG", "UESTC-MediaLab"];
    assert!(ranked.iter().zip(expected).all(|(team, name)| team.starts_with(name)) && ranked.len() == 3, "{ranked:?}");
    seen.picture("life-board").await;
    seen.is_accessible("the published board").await;
    let public = web.get("/api/v1/challenges/aim2020-esr/phases/test/leaderboard").await.json();
    let why: Vec<_> = public["unranked"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|u| (u["team"].clone(), u["reason"]["code"].clone()))
        .collect();
    for (team, code) in [("XPixel", "unverified"), ("MLVC", "below_baseline"), ("XMUlab", "disqualified")] {
        assert!(why.contains(&(team.into(), code.into())), "{team} {code}: {why:?}");
    }

    // Exported: the paper's table.
    olga.goto(&format!("{url}/organizer/aim2020-esr/exports")).await;
    let link = olga.client.find(Locator::Css("a[href*='/test/leaderboard?format=tex']")).await.expect("a link");
    let link = link.attr("href").await.expect("read").expect("its address");
    let table = web.get(&link).await.text;
    for words in ["NJU\\_MCG", "protocol aim2020-test@1", "Not ranked", "28.75"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    if let Some(pdf) = typeset(&table) {
        assert!(pdf.starts_with(b"%PDF"));
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots/life-table.pdf");
        std::fs::write(kept, pdf).expect("written");
    }
    let acts = audit::list(&mut *web.app.conn().await, Some(phase.challenge), None, 100).await.expect("the log");
    let acts: Vec<_> = acts.iter().rev().map(|act| act.action.as_str()).collect();
    assert_eq!(&acts[..3], ["challenge.create", "challenge.change", "challenge.change"]);
    assert_eq!(acts.last(), Some(&"phase.publish"), "{acts:?}");
    assert_eq!(acts.len(), 11, "{acts:?}");
    for browser in [olga, seen] {
        assert_eq!(browser.console().await, Vec::<String>::new());
        browser.close().await;
    }
}

/// Sends an entry as a person at a phone does.
async fn by_the_form(url: &str, name: &str, zip: &[u8], model: &[u8]) -> SubmissionId {
    let folder = tempfile::tempdir().expect("a folder");
    let browser = Browser::open(PHONE).await;
    sign_in(url, name, &browser).await;
    browser.goto(&format!("{url}/challenges/aim2020-esr/test/submit")).await;
    for (field, bytes, file) in [("#results", zip, "results.zip"), ("#model", model, "model.onnx")] {
        let path = folder.path().join(file);
        std::fs::write(&path, bytes).expect("written");
        browser.find(field).await.send_keys(path.to_str().expect("a path")).await.expect("chosen");
    }
    browser.until("both look right", async |b: &Browser| b.texts(".found .good").await.len() == 2).await;
    fill(&browser, "[name=method]", "a network").await;
    fill(&browser, "[name=members]", name).await;
    browser
        .find("[name=extra_data][value=no], [name=extra_data] option[value=no]")
        .await
        .click()
        .await
        .expect("chosen");
    click(&browser, "#upload button[type=submit]").await;
    browser.find("[data-live]").await;
    let id = browser.client.current_url().await.expect("an address");
    let id = id.path().rsplit('/').next().expect("an id").parse().expect("an id");
    browser.close().await;
    id
}
