//! Timing through the model's own process: what it records, and models that answer otherwise where they are timed.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
};

use axum::http::Method;
use upscore::{
    config,
    evaluation::{
        Cost, Doubt, Limits, Memory, Runtime, SecondLook, SecretSize, TimedInput, TimingSettings, Whole,
        images::Rgb8,
        onnx::build::{Attribute, Conv, GraphBuilder, Interpolation, Value},
        runner::{Fault, Runner, Setup, Slot},
        timing::{self, Subject},
    },
    queue,
    submission::{self, OrganizerStatus},
};

use crate::support::{
    app::{App, measurement},
    models,
    web::Web,
};

/// A small network, and what becomes of its answer.
fn network(twist: impl FnOnce(&mut GraphBuilder, Value, Value) -> Value) -> Vec<u8> {
    let mut g = GraphBuilder::new(3);
    let x = g.input();
    let features = g.conv(x, Conv::new(16, 3));
    let features = g.relu(features);
    let features = g.conv(features, Conv::new(48, 3));
    let detail = g.depth_to_space(features, 4);
    let (share, soft) = (g.scalar(0.1), g.resize(x, 4.0, Interpolation::Cubic(-0.5)));
    let detail = g.mul(detail, share);
    let sr = g.add(soft, detail);
    let output = twist(&mut g, x, sr);
    g.build(output)
}

fn honest() -> Vec<u8> {
    network(|_, _, sr| sr)
}

/// Whether the input is `height` high: a tensor of one truth value.
fn is_high(g: &mut GraphBuilder, x: Value, height: i64) -> Value {
    let shape = g.node("Shape", &[x], &[]);
    let (axis, height) = (g.integers(&[2]), g.integers(&[height]));
    let here = g.node("Gather", &[shape, axis], &[]);
    g.node("Equal", &[here, height], &[])
}

fn settings(input: TimedInput) -> TimingSettings {
    TimingSettings { threads: 1, warmup: 1, processes: 2, runs: 4, max_seconds: 2.0, half_width: 0.05, input }
}

/// A soft picture with edges, other for every seed.
fn picture(width: u32, height: u32, seed: u32) -> Rgb8 {
    let at = |x: u32, y: u32, c: u32| {
        let wave = ((x * (seed + 1) + c) as f32 / 6.0).sin() * (y as f32 / 5.0).cos();
        (127.0 + 70.0 * wave + if (x / 9 + y / 7).is_multiple_of(2) { 30.0 } else { -30.0 }) as u8
    };
    let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| at(x, y, c)))).collect();
    Rgb8 { width, height, data }
}

fn measure(model: &[u8], baseline: Option<&[u8]>, settings: &TimingSettings) -> Result<(Runtime, Memory), Fault> {
    let setup = Setup {
        program: env!("CARGO_BIN_EXE_upscore").into(),
        onnxruntime: config::find_onnxruntime().expect("run `make setup` first"),
        device: "cpu".into(),
        threads: settings.threads,
        limits: Limits::default(),
        strict: false,
    };
    let cancel = Arc::new(AtomicBool::new(false));
    let mut runner = Runner::start(&setup, cancel.clone())?;
    let cost: Cost = models::count_at(&mut runner, honest(), (32, 32))?;
    let model = &models::vetted(model.to_vec());
    runner.load(Slot::Entry, &model.flat_bytes())?;
    let images = vec![picture(40, 36, 1), picture(40, 36, 2), picture(64, 48, 3)];
    let subject = Subject { model, cost: &cost, range: 1, baseline, images };
    timing::measure(&mut runner, &setup, &cancel, settings, subject, &|_, _| ())
}

#[test]
fn every_pass_is_on_record_beside_the_baselines() {
    let settings = settings(TimedInput::Tile(32, 32));
    let (runtime, memory) = measure(&honest(), Some(&honest()), &settings).expect("timed");
    let baseline = runtime.baseline.expect("a baseline");
    let record = &runtime.record;
    assert_eq!((runtime.input.as_str(), runtime.threads), ("1x3x32x32", 1));
    assert_eq!((runtime.samples_ms.len(), baseline.samples_ms.len()), (runtime.runs, runtime.runs));
    // On a busy machine disturbed blocks are tried again, or all count: six times, and the last process to its end.
    assert!((2..=8).contains(&record.blocks.len()), "{record:?}");
    let processes: BTreeSet<usize> = record.blocks.iter().map(|b| b.process).collect();
    assert!(processes.len() >= 2 && (1..=processes.len()).contains(&record.processes), "{record:?}");
    let counted = record.blocks.len() - record.discarded;
    assert_eq!(2 * counted, runtime.runs);
    let disturbed = record.blocks.iter().filter(|b| b.disturbed.is_some()).count();
    assert!(record.noisy || record.discarded == disturbed, "{record:?}");
    assert_eq!((record.checked, record.half_width_asked), (record.blocks.len().min(3), 0.05));
    let throughput = record.throughput.as_ref().expect("a throughput");
    assert!(throughput.ceiling_macs_per_s > 0.0 && throughput.ceiling_bytes_per_s > 0.0);
    let [low, high] = baseline.ratio_ci95;
    assert!(low <= baseline.ratio && baseline.ratio <= high && low > 0.0);
    assert_eq!(memory.ratio(), Some(1.0), "the same model: {memory:?}");
    assert!(memory.method.contains("CPU arena") && memory.process_bytes.is_none());
}

#[test]
fn whole_images_are_timed_each_at_its_size() {
    let (runtime, memory) = measure(&honest(), None, &settings(TimedInput::Whole(Whole::LrImages))).expect("timed");
    assert_eq!(runtime.input, "3 LR images, at most 1x3x48x64");
    let inputs: Vec<(u32, u32)> = runtime.record.blocks.iter().map(|b| b.input).collect();
    assert!(inputs.contains(&(36, 40)) && inputs.contains(&(48, 64)), "{inputs:?}");
    assert!(memory.method.contains("1x3x48x64"), "{}", memory.method);
}

#[test]
fn a_short_cut_where_it_is_timed_fails() {
    let black = network(|g, x, sr| {
        let here = is_high(g, x, 32);
        let elsewhere = g.node("Not", &[here], &[]);
        let factor = g.node("Cast", &[elsewhere], &[("to", Attribute::Int(1))]);
        g.mul(sr, factor)
    });
    let nearest = network(|g, x, sr| {
        let here = is_high(g, x, 32);
        let short = g.resize(x, 4.0, Interpolation::Nearest);
        g.node("Where", &[here, short, sr], &[])
    });
    let infinite = network(|g, x, sr| {
        let here = is_high(g, x, 32);
        let there = g.node("Cast", &[here], &[("to", Attribute::Int(1))]);
        let (one, zero) = (g.scalar(1.0), g.scalar(0.0));
        let elsewhere = g.node("Sub", &[one, there], &[]);
        let hole = g.node("Div", &[zero, elsewhere], &[]);
        g.add(sr, hole)
    });
    for (model, says) in [(black, "larger image"), (nearest, "larger image"), (infinite, "not finite")] {
        match measure(&model, None, &settings(TimedInput::Tile(32, 32))) {
            Err(Fault::Model(problem)) => {
                assert_eq!(problem.code, "timed_output_wrong", "{problem:?}");
                assert!(problem.message.contains(says), "{problem:?}");
            }
            other => panic!("not refused: {other:?}"),
        }
        // It is an ordinary network at any other size.
        measure(&model, None, &settings(TimedInput::Tile(40, 40))).expect("timed");
    }
}

#[tokio::test]
async fn an_implausible_time_is_held_until_an_organizer_decides() {
    let app = App::start().await;
    let phase = app.phase().await;
    let mut m = measurement();
    let throughput = m.runtime.record.throughput.as_mut().expect("a throughput");
    throughput.implausible = Some("its time means 900 G multiply-adds a second".into());
    let fast = app.enter_as(&phase, app.team(&phase, "fast").await, m.clone()).await;
    let banned = app.enter_as(&phase, app.team(&phase, "banned").await, m).await;
    submission::mark(
        &mut *app.conn().await,
        banned,
        OrganizerStatus::Disqualified,
        "your logs",
        Some("trained on test images"),
    )
    .await
    .expect("marked");
    app.drain_queue().await;
    let board = app.board(&phase).await;
    assert!(board.ranked.is_empty());
    let reason = |team: &str| {
        let row = board.unranked.iter().find(|r| r.team == team).expect("on the board");
        (row.reason.code.to_string(), row.reason.message.clone())
    };
    let (code, message) = reason("fast");
    assert_eq!(code, "held");
    assert!(message.contains("900 G multiply-adds"), "{message}");
    assert_eq!(reason("banned").1, "Disqualified: trained on test images");
    // Released, it stays so, whatever is measured again.
    let mut conn = app.conn().await;
    submission::mark(&mut conn, fast, OrganizerStatus::None, "", None).await.expect("released");
    queue::enqueue(&mut conn, fast, 0).await.expect("queued");
    app.drain_queue().await;
    assert_eq!(app.board(&phase).await.ranked.len(), 1);
}

/// What the timing finds at other sizes takes an entry off the ranking; team and organizer read the figures, and the organizer's
/// word is the last.
#[tokio::test]
async fn a_doubt_of_the_timing_is_held_with_its_figures_until_an_organizer_accepts() {
    let web = Web::start().await;
    let phase = web.app.real_phase().await;
    let team = web.app.team(&phase, "fast").await;
    let mut m = measurement();
    let record = &mut m.runtime.record;
    let pairs = vec![[37.0, 75.0]; 8];
    let again =
        SecondLook { pairs_ms: pairs.clone(), growth: 1.99, low: 1.97, counted: 1.0, baseline: Some(1.01), most: 1.16 };
    record.secret = vec![SecretSize {
        process: 0,
        input: (251, 267),
        beside: (256, 256),
        pairs_ms: pairs,
        growth: 1.98,
        again: Some(again),
    }];
    let message = "a pixel takes 1.99 times as long at 251×267, a size that the file could not know, as at the timed 256×256: \
                   with 95 % confidence at least 1.97 times, where 1.16 would be no doubt";
    record.doubts = vec![Doubt { code: "slower_elsewhere".into(), message: message.into() }];
    let entry = web.app.enter_as(&phase, team, m).await;
    web.app.drain_queue().await;
    let board = web.app.board(&phase).await;
    let [row] = &board.unranked[..] else { panic!("on the board, not ranked: {board:?}") };
    assert_eq!(row.reason.code, "held");
    assert!(row.reason.message.contains("1.99 times as long at 251×267"), "{}", row.reason.message);

    let token = web.token(team).await;
    let own = web.get_as(&token, &format!("/api/v1/submissions/{entry}")).await.json();
    assert_eq!(own["runtime"]["record"]["doubts"][0]["code"], "slower_elsewhere", "{own}");
    assert_eq!(own["runtime"]["record"]["secret"][0]["input"], serde_json::json!([251, 267]));
    let page = web.get_as(&token, &format!("/submissions/{entry}")).await.text;
    assert!(page.contains("1.980 times as long per pixel at 251×267") && page.contains("1.97 times"), "{page}");
    let path = format!("/submissions/{entry}?lang=zh-CN");
    let page = web.get_as(&token, &path).await.text;
    assert!(page.contains("在文件无法预知的尺寸 251×267 下"), "the reason in Chinese: {page}");

    let mut olga = web.organizer().await;
    let queue = olga.get("/api/v1/challenges/real/phases/validation/review?state=flagged").await.json();
    let flags = queue["entries"][0]["flags"].as_array().expect("flags");
    let codes: Vec<_> = flags.iter().filter_map(|flag| flag["code"].as_str()).collect();
    assert!(codes.contains(&"held") && codes.contains(&"timing"), "{queue}");
    let evidence = olga.get(&format!("/organizer/real/review/{entry}")).await.text;
    for figure in ["75.000 ms at 251×267", "at least 1.970, where 1.160", "slower_elsewhere", "the baseline has 1.010"]
    {
        assert!(evidence.contains(figure), "{figure}: {evidence}");
    }
    let accept = serde_json::json!({ "word": "accept", "reason": "a window of 64" });
    let accepted = olga.json(Method::POST, &format!("/api/v1/submissions/{entry}/mark"), accept).await;
    assert_eq!(accepted.json()["status"], "none", "{}", accepted.text);
    queue::enqueue(&mut *web.app.conn().await, entry, 0).await.expect("queued");
    web.app.drain_queue().await;
    assert_eq!(web.app.board(&phase).await.ranked.len(), 1, "found again, it stays accepted");
}

#[test]
fn an_older_protocol_is_read() {
    let old = r#"{"threads": 4, "warmup": 3, "runs": 40, "max_seconds": 30.0, "input": [256, 256]}"#;
    let read: TimingSettings = serde_json::from_str(old).expect("read");
    let now = TimingSettings::default();
    assert_eq!((read.threads, read.runs, read.half_width), (4, 40, now.half_width));
    assert_eq!((read.processes, now.processes), (1, 4), "it was measured in one");
    assert_eq!(read.input, TimedInput::Tile(256, 256));
    let whole: TimedInput = serde_json::from_str("\"lr-images\"").expect("read");
    assert_eq!(whole, TimedInput::Whole(Whole::LrImages));
}
