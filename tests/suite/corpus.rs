//! The hostile corpus and real networks through the HTTP API and a real worker: every file ends as its manifest says.
//!
//! Needs the pack of files that is not part of the repository; says so where it is absent.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::StatusCode;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use upscore::{
    challenge::{
        create::{self, NewChallenge, PhaseFiles},
        phase::{Phase, QuotaLimits},
    },
    evaluation::{TimedInput, TimingSettings, Tools},
    queue::State,
    worker::{Measure, Settings, Step, Worker},
};

use crate::{
    fidelity::shared,
    support::{
        app::{App, Team},
        models,
        web::{Part, Web},
    },
};

/// A phase of a folder of HR images, timed briefly.
async fn phase_of(app: &App, hr: &Path, lr: &Path, gate: Option<f64>) -> Phase {
    let new = NewChallenge { slug: "pack".into(), title: "Pack".into(), description: String::new() };
    let mut from = PhaseFiles::new("validation", "Validation", hr, 4);
    from.lr = Some(lr.to_owned());
    from.gate_psnr = gate;
    from.limits = QuotaLimits { daily: 1000, total: None, daily_attempts: 1000 };
    let input = TimedInput::Tile(32, 32);
    from.rules.timing =
        TimingSettings { warmup: 1, processes: 1, runs: 2, max_seconds: 1.0, input, ..TimingSettings::default() };
    let made = create::challenge(&app.pool, &app.storage, &new, &from).await.expect("made").expect("no problems");
    app.reload(made.phase).await
}

fn real_worker(app: &App) -> Worker {
    let tools = Tools { strict_sandbox: true, ..models::tools() };
    let settings = Settings { tools, ..App::settings_in(app.folder.path()) };
    let stop = CancellationToken::new();
    Worker::new(app.pool.clone(), app.storage.clone(), Arc::new(Measure), settings, stop).expect("a worker")
}

fn manifest(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a manifest")).expect("JSON")
}

/// The bytes of a case; some lie packed.
fn bytes(case: &Value, folder: &Path) -> Vec<u8> {
    let stored = std::fs::read(folder.join(case["file"].as_str().expect("a file"))).expect("the file");
    if case["stored_as"] != "gzip" {
        return stored;
    }
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(stored.as_slice()).read_to_end(&mut bytes).expect("packed by gzip");
    bytes
}

/// Every file below a folder, with its size: what a refused upload must leave as it was.
fn contents(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let (path, data) = (entry.path(), entry.metadata().expect("its size"));
        if data.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path, data.len());
        }
    }
    found
}

/// What became of one case: its class in the words of the manifest, the codes, the answer.
struct Ended {
    class: &'static str,
    codes: Vec<String>,
    detail: Value,
}

fn codes(answer: &Value) -> Vec<String> {
    let all = answer["errors"].as_array().cloned().unwrap_or_else(|| vec![answer["error"].clone()]);
    all.iter().map(|e| e["code"].as_str().unwrap_or("NO CODE").to_owned()).collect()
}

/// Uploads a pair of files and works until it has ended.
async fn outcome(web: &Web, worker: &Worker, phase: &Phase, team: Team, zip: &[u8], model: &[u8]) -> Ended {
    let token = web.token(team).await;
    let before = contents(web.app.folder.path());
    let parts = [Part("results", Some("results.zip"), zip), Part("model", Some("model.onnx"), model)];
    let answer = web.submit(&token, phase, &parts).await;
    if answer.status != StatusCode::ACCEPTED {
        assert!(answer.status.is_client_error(), "{}: {}", answer.status, answer.text);
        assert_eq!(contents(web.app.folder.path()), before, "a refused upload left something");
        let mine = upscore::submission::of_team(&mut *web.app.conn().await, team.id, None, 1).await.expect("read");
        assert!(mine.is_empty(), "a refused upload left a row");
        return Ended { class: "reject_at_upload", codes: codes(&answer.json()), detail: answer.json() };
    }
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let Step::Done(done, state) = worker.step().await.expect("the worker lives") else { panic!("nothing was queued") };
    assert_eq!(done.to_string(), id);
    let detail = web.get_as(&token, &format!("/api/v1/submissions/{id}")).await.json();
    match state {
        Some(State::Scored) => Ended { class: "score_ok", codes: Vec::new(), detail },
        Some(State::Failed) => {
            let fault: String = sqlx::query_scalar("select fault from evaluation where submission_id = $1")
                .bind(done)
                .fetch_one(&web.app.pool)
                .await
                .expect("whose fault");
            assert_eq!(fault, "team", "{detail}");
            Ended { class: "fail_with_clear_error", codes: codes(&detail), detail }
        }
        other => panic!("it ended {other:?}: {detail}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_files_end_as_their_manifest_says() {
    let Some(hostile) = shared("hostile") else { return };
    let manifest = manifest(&hostile.join("manifest.json"));
    let web = Web::start().await;
    let phase = phase_of(&web.app, &hostile.join("images/HR"), &hostile.join("images/LR"), None).await;
    let worker = real_worker(&web.app);
    let file = |name: &str| std::fs::read(hostile.join(name)).expect(name);
    let (good_zip, good_model) = (file("zip/model_output_valid_base.zip"), file("onnx/valid_base.onnx"));
    let mut wrong = Vec::new();
    for (i, case) in manifest["cases"].as_array().expect("cases").iter().enumerate() {
        let name = case["name"].as_str().expect("a name");
        let team = web.app.team(&phase, &format!("team {i}")).await;
        let bytes = bytes(case, &hostile);
        let ended = match case["kind"] == "onnx" {
            true => outcome(&web, &worker, &phase, team, &good_zip, &bytes).await,
            false => outcome(&web, &worker, &phase, team, &bytes, &good_model).await,
        };
        println!("{name}: {} {:?}", ended.class, ended.codes);
        let acceptable = case["acceptable"].as_array().expect("classes");
        if !acceptable.iter().any(|class| class == ended.class) {
            wrong.push(format!(
                "{name}: {} {:?}, acceptable {acceptable:?}: {}",
                ended.class, ended.codes, ended.detail
            ));
        }
        if ended.class == case["expected"].as_str().expect("a class")
            && let Some(code) = case["code"].as_str()
            && !ended.codes.iter().any(|c| c == code)
        {
            wrong.push(format!("{name}: {:?}, suggested is {code}", ended.codes));
        }
        if ended.class == "score_ok" {
            wrong.extend(differences(case, &ended.detail).into_iter().map(|d| format!("{name}: {d}")));
        }
    }
    assert!(wrong.is_empty(), "{} of the cases went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where the figures of a scored case differ from the manifest's.
fn differences(case: &Value, found: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, found: &Value, expected: &Value| {
        if !expected.is_null() && found != expected {
            differences.push(format!("{what} {found}, expected {expected}"));
        }
    };
    let counts = &case["counts"];
    let cost = &found["cost"];
    compare("params", &cost["params"], &counts["params"]);
    compare("convs", &cost["convs"], &counts["conv_count"]);
    compare("macs", &cost["macs"], &counts["macs"]);
    compare("activations", &cost["activations"], &counts["activations"]);
    // The manifest adds disguised convolutions to its FLOPs; the field's counter sees none of them, and `macs` all.
    if counts["weighted_ops"] == counts["conv_count"] {
        compare("flops", &cost["flops"]["kair"], &counts["flops_ntire"]);
    }
    let psnr = match case["kind"] == "onnx" {
        true => &found["reproduction"]["model_psnr"],
        false => &found["metrics"]["psnr"],
    };
    if let Some(expected) = case["metrics"]["psnr_rgb_border4"].as_f64() {
        match psnr.as_f64() {
            Some(psnr) if (psnr - expected).abs() <= 1e-4 => {}
            other => differences.push(format!("PSNR {other:?}, expected {expected}")),
        }
    }
    differences
}

/// Published networks with real photos: scored as the field's own tools score them, ranked by runtime, those below the gate
/// left out with the reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_networks_make_a_board() {
    const GATE: f64 = 30.6;
    let Some(real) = shared("real") else { return };
    let reference = manifest(&real.join("reference.json"));
    let web = Web::start().await;
    let images = real.join("images/FreeTiny");
    let phase = phase_of(&web.app, &images.join("HR"), &images.join("LRx4"), Some(GATE)).await;
    let worker = real_worker(&web.app);
    let zips = reference["zips"].as_object().expect("zips").iter();
    let names = zips.filter_map(|(path, zip)| Some((path.strip_prefix("FreeTiny/")?.strip_suffix(".zip")?, zip)));
    let mut below = Vec::new();
    for (name, zip) in names {
        let file = |path: String| std::fs::read(real.join(&path)).expect(&path);
        let team = web.app.team(&phase, name).await;
        let (results, model) = (file(format!("submissions/FreeTiny/{name}.zip")), file(format!("models/{name}.onnx")));
        let ended = outcome(&web, &worker, &phase, team, &results, &model).await;
        assert_eq!(ended.class, "score_ok", "{name}: {}", ended.detail);
        let close = |what: &str, expected: &Value| {
            let (found, expected) = (ended.detail["metrics"][what].as_f64(), expected.as_f64().expect("a figure"));
            assert!(
                found.is_some_and(|found| (found - expected).abs() <= 1e-6),
                "{name} {what}: {found:?}, {expected}"
            );
        };
        close("psnr", &zip["psnr"]);
        close("ssim", &zip["ssim"]);
        let (cost, model) = (&ended.detail["cost"], &reference["models"][name]);
        let counts = ["params", "convs", "activations"].map(|key| (&cost[key], &model[key]));
        let flops = ["kair", "fvcore"].map(|key| (&cost["flops"][key], &model["flops"][key]));
        for (found, expected) in counts.into_iter().chain(flops).filter(|(_, expected)| !expected.is_null()) {
            assert_eq!(found, expected, "{name}");
        }
        let verdict = &ended.detail["reproduction"]["verdict"];
        assert!(verdict == "reproduced" || verdict == "within-rounding", "{name}: {}", ended.detail["reproduction"]);
        println!("{name}: {}", ended.detail["metrics"]);
        if zip["psnr"].as_f64() < Some(GATE) {
            below.push(name);
        }
    }
    let copies = contents(&web.app.folder.path().join("decoded"));
    assert_eq!(copies.len(), 5, "HR is decoded once and scored from there: {copies:?}");
    let board = web.app.board(&phase).await;
    assert!(board.ranked.len() > 5 && below.len() > 2, "{board:?}");
    assert!(board.ranked.is_sorted_by(|a, b| a.figures.runtime_ms <= b.figures.runtime_ms), "{board:?}");
    let mut unranked: Vec<&str> = board.unranked.iter().map(|row| row.team.as_str()).collect();
    unranked.sort_unstable();
    assert_eq!(unranked, below, "{:?}", board.unranked.iter().map(|row| &row.reason).collect::<Vec<_>>());
    for row in board.unranked {
        assert_eq!(row.reason.code, "below_baseline");
        assert!(row.reason.message.ends_with("below the baseline's 30.60"), "{}", row.reason.message);
    }
}
