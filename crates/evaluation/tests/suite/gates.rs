//! Networks that are another where they are timed: the attack classes of kernel benchmarks and of MLPerf's rules, each as a file
//! built here, and what the timing makes of it.

use std::sync::{Arc, atomic::AtomicBool};

use upscore_evaluation::{
    Limits, Runtime, TimedInput, TimingRecord, TimingSettings,
    images::{self, Rgb8},
    model::{self, Model},
    onnx::{
        build::{Attribute, Conv, GraphBuilder, Interpolation, Random, Value},
        proto::tensor_proto::DataType,
    },
    runner::{Fault, Runner, Setup, Slot},
    timing::{self, Subject},
};

use crate::support::{files::tiny_model, models, shared};

const TILE: u32 = 64;

/// A soft picture with edges, other for every seed.
fn picture(height: u32, width: u32, seed: u32) -> Rgb8 {
    let at = |x: u32, y: u32, c: u32| {
        let wave = ((x * (seed + 1) + c) as f32 / 6.0).sin() * (y as f32 / 5.0).cos();
        let edge = if (x / 9 + y / 7).is_multiple_of(2) { 0.25 } else { -0.25 };
        (127.5 * (1.0 + 0.6 * wave + edge)).clamp(0.0, 255.0) as u8
    };
    let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| at(x, y, c)))).collect();
    Rgb8 { width, height, data }
}

/// Times a network at tiles of 64×64 cut from pictures of which the largest is beyond every size that is drawn.
fn timed(model: Vec<u8>) -> Result<Runtime, Fault> {
    let images = vec![picture(48, 56, 1), picture(80, 70, 2), picture(241, 250, 3)];
    // What the count makes of the gates is another test's: here the figures of an honest network stand for them.
    timed_on(&models::vetted(model), &models::vetted(honest()), (TILE, 1), images)
}

fn timed_on(model: &Model, counted: &Model, (tile, range): (u32, u32), images: Vec<Rgb8>) -> Result<Runtime, Fault> {
    let settings = TimingSettings {
        threads: 1,
        warmup: 1,
        processes: 2,
        runs: 4,
        max_seconds: 2.0,
        half_width: 0.05,
        input: TimedInput::Tile(tile, tile),
    };
    let tools = models::tools();
    let setup = Setup {
        program: tools.runner,
        onnxruntime: tools.onnxruntime,
        device: "cpu".into(),
        threads: 1,
        limits: Limits::default(),
        strict: false,
    };
    let cancel = Arc::new(AtomicBool::new(false));
    let mut runner = Runner::start(&setup, cancel.clone())?;
    let cost = models::count_once(&mut runner, counted, (tile, tile))?;
    runner.load(Slot::Entry, &model.flat_bytes())?;
    let subject = Subject { model, cost: &cost, range, baseline: None, images };
    Ok(timing::measure(&mut runner, &setup, &cancel, &settings, subject, &|_, _| ())?.0)
}

fn record(model: Vec<u8>) -> TimingRecord {
    timed(model).expect("timed").record
}

/// A small network, and what becomes of its answer: the image, a picture enlarged at no cost, and the answer.
fn network(twist: impl FnOnce(&mut GraphBuilder, Value, Value, Value) -> Value) -> Vec<u8> {
    let mut g = GraphBuilder::new(3);
    let x = g.input();
    let features = g.conv(x, Conv::new(16, 3));
    let features = g.relu(features);
    let features = g.conv(features, Conv::new(48, 3));
    let detail = g.depth_to_space(features, 4);
    let (share, soft) = (g.scalar(0.1), g.resize(x, 4.0, Interpolation::Cubic(-0.5)));
    let detail = g.mul(detail, share);
    let sr = g.add(soft, detail);
    let output = twist(&mut g, x, soft, sr);
    g.build(output)
}

fn honest() -> Vec<u8> {
    network(|_, _, _, sr| sr)
}

/// The input's size along `axis`, [1].
fn side(g: &mut GraphBuilder, x: Value, axis: i64) -> Value {
    let shape = g.node("Shape", &[x], &[]);
    let axis = g.integers(&[axis]);
    g.node("Gather", &[shape, axis], &[])
}

/// How a graph asks whether it is being timed.
type Gate = fn(&mut GraphBuilder, Value) -> Value;

fn compared(g: &mut GraphBuilder, x: Value, op: &str, to: i64) -> Value {
    let (height, to) = (side(g, x, 2), g.integers(&[to]));
    g.node(op, &[height, to], &[])
}

const AT_THE_TILE: Gate = |g, x| compared(g, x, "Equal", TILE.into());

/// A file that gives the picture enlarged by interpolation wherever it thinks that it is timed, and the network's answer elsewhere
/// passes for an answer as good as bicubic, but is not its own.
#[test]
fn a_path_of_its_own_for_what_is_timed_is_seen_in_the_output() {
    let gates: [(&str, Gate); 6] = [
        ("equality", AT_THE_TILE),
        ("range", |g, x| compared(g, x, "Less", 70)),
        ("all but whole images", |g, x| compared(g, x, "Less", 230)),
        ("parity", |g, x| {
            let (height, two) = (side(g, x, 2), g.integers(&[2]));
            let rest = g.node("Mod", &[height, two], &[]);
            let none = g.integers(&[0]);
            g.node("Equal", &[rest, none], &[])
        }),
        ("a multiple of a window", |g, x| {
            let (width, window) = (side(g, x, 3), g.integers(&[16]));
            let rest = g.node("Mod", &[width, window], &[]);
            let none = g.integers(&[0]);
            g.node("Equal", &[rest, none], &[])
        }),
        ("aspect", |g, x| {
            let (height, width) = (side(g, x, 2), side(g, x, 3));
            g.node("Equal", &[height, width], &[])
        }),
    ];
    for (name, gate) in gates {
        let model = network(|g, x, soft, sr| {
            let here = gate(g, x);
            g.node("Where", &[here, soft, sr], &[])
        });
        match timed(model) {
            Err(Fault::Model(problem)) => {
                assert_eq!(problem.code, "timed_output_wrong", "{name}: {problem:?}");
                assert!(problem.message.contains("larger image"), "{name}: {problem:?}");
            }
            other => panic!("{name}: not refused: {other:?}"),
        }
    }
}

/// The values of a picture in half precision are not seen by eye.
#[test]
fn low_precision_where_it_is_timed_is_seen_in_the_output() {
    let model = network(|g, x, _, sr| {
        let here = AT_THE_TILE(g, x);
        let half = g.node("Cast", &[sr], &[("to", Attribute::Int(DataType::Float16 as i64))]);
        let back = g.node("Cast", &[half], &[("to", Attribute::Int(DataType::Float as i64))]);
        g.node("Where", &[here, back, sr], &[])
    });
    match timed(model) {
        Err(Fault::Model(problem)) => {
            assert_eq!(problem.code, "timed_output_wrong", "{problem:?}");
            assert!(problem.message.contains("grey levels"), "{problem:?}");
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Behind a global pool a network is no longer local; then it is held, and an organizer decides.
#[test]
fn a_network_that_sees_the_whole_picture_is_held_for_another_answer() {
    let pooled = |g: &mut GraphBuilder, x: Value, sr: Value| {
        let mean = g.global_average_pool(x);
        let little = g.scalar(0.01);
        let mean = g.mul(mean, little);
        g.add(sr, mean)
    };
    let found = record(network(|g, x, _, sr| pooled(g, x, sr)));
    let agreement = found.agreement.as_ref().expect("compared");
    assert!(!agreement.local && found.doubts.is_empty(), "{found:?}");
    let found = record(network(|g, x, _, sr| {
        let here = AT_THE_TILE(g, x);
        let offset = g.node("Cast", &[here], &[("to", Attribute::Int(DataType::Float as i64))]);
        let share = g.scalar(2.0 / 255.0);
        let offset = g.mul(offset, share);
        let other = g.add(sr, offset);
        pooled(g, x, other)
    }));
    let codes: Vec<&str> = found.doubts.iter().map(|doubt| doubt.code.as_str()).collect();
    assert_eq!(codes, ["timed_output_differs"], "{found:?}");
    assert!(found.agreement.is_some_and(|agreement| agreement.rms > agreement.most));
}

/// Work that leaves nothing in the output, on `rows` of the picture (given as where they end).
fn burn(g: &mut GraphBuilder, x: Value, end: Value) -> Value {
    let features = g.conv(x, Conv::new(24, 1));
    let (from, axis) = (g.integers(&[0]), g.integers(&[2]));
    let mut rows = g.node("Slice", &[features, from, end, axis], &[]);
    for _ in 0..80 {
        rows = g.node("Tanh", &[rows], &[]);
    }
    let mean = g.node("ReduceMean", &[rows], &[("keepdims", Attribute::Int(0))]);
    let nothing = g.scalar(0.0);
    g.mul(mean, nothing)
}

/// Where the gate is open one row goes down the dear path, else all of them; the output is the same everywhere.
fn cheap_where(gate: Gate) -> Vec<u8> {
    let mut g = GraphBuilder::new(3);
    let x = g.input();
    let features = g.conv(x, Conv::new(48, 3));
    let sr = g.depth_to_space(features, 4);
    let here = gate(&mut g, x);
    let (height, one) = (side(&mut g, x, 2), g.integers(&[1]));
    let end = g.node("Where", &[here, one, height], &[]);
    let nothing = burn(&mut g, x, end);
    let output = g.add(sr, nothing);
    g.build(output)
}

#[test]
fn less_work_at_the_timed_size_alone_is_seen_in_the_time() {
    let gates: [(&str, Gate); 3] = [
        ("equality", AT_THE_TILE),
        ("aspect", |g, x| {
            let (height, width) = (side(g, x, 2), side(g, x, 3));
            g.node("Equal", &[height, width], &[])
        }),
        ("a multiple of a window", |g, x| {
            let (height, window) = (side(g, x, 2), g.integers(&[64]));
            let rest = g.node("Mod", &[height, window], &[]);
            let none = g.integers(&[0]);
            g.node("Equal", &[rest, none], &[])
        }),
    ];
    for (name, gate) in gates {
        let found = record(cheap_where(gate));
        let [doubt] = &found.doubts[..] else { panic!("{name}: {found:?}") };
        assert_eq!(doubt.code, "slower_elsewhere", "{name}: {found:?}");
        let secret = found.secret.iter().find(|secret| secret.again.is_some()).expect("looked at again");
        let again = secret.again.as_ref().expect("a second look");
        assert!(again.low > again.most && again.growth >= again.low && again.counted == 1.0, "{name}: {again:?}");
        let named = format!("{}×{}", secret.input.0, secret.input.1);
        assert!(doubt.message.contains(&named) && doubt.message.contains("64×64"), "{name}: {doubt:?}");
    }
    // The gate that asks for the batch is open everywhere: that network is cheap, and nothing is held.
    let found = record(cheap_where(|g, x| {
        let (batch, one) = (side(g, x, 0), g.integers(&[1]));
        g.node("Equal", &[batch, one], &[])
    }));
    assert!(found.doubts.is_empty(), "{found:?}");
}

/// Layers as Conv where it is timed and as ConvTranspose elsewhere: the counts are the same, and the values.
#[test]
fn a_slower_operator_of_the_same_count_is_seen_in_the_time() {
    const CHANNELS: usize = 64;
    let mut g = GraphBuilder::new(3);
    let x = g.input();
    let here = AT_THE_TILE(&mut g, x);
    let (height, one, none, axis) = (side(&mut g, x, 2), g.integers(&[1]), g.integers(&[0]), g.integers(&[2]));
    let most = g.node("Sub", &[height, one], &[]);
    let seam = g.node("Where", &[here, most, one], &[]);
    let features = g.conv(x, Conv::new(CHANNELS, 1));
    let mut rows = |from, to| g.node("Slice", &[features, from, to, axis], &[]).with_channels(CHANNELS);
    let (mut fast, mut slow) = (rows(none, seam), rows(seam, height));
    let (mut random, layer) = (Random::new(9), Conv::new(CHANNELS, 1));
    for _ in 0..16 {
        let weights: Vec<f32> = (0..CHANNELS * CHANNELS).map(|_| random.within(-0.2, 0.2)).collect();
        // ConvTranspose has them by input, then output.
        let turned: Vec<f32> =
            (0..CHANNELS * CHANNELS).map(|i| weights[i % CHANNELS * CHANNELS + i / CHANNELS]).collect();
        fast = g.conv_with(fast, layer, &weights, &[]);
        let turned = g.weights(&[CHANNELS, CHANNELS, 1, 1], &turned);
        slow = g.node("ConvTranspose", &[slow, turned], &layer.attributes()).with_channels(CHANNELS);
    }
    let joined = g.node("Concat", &[fast, slow], &[("axis", Attribute::Int(2))]).with_channels(CHANNELS);
    let wide = g.conv(joined, Conv::new(48, 1));
    let sr = g.depth_to_space(wide, 4);
    let found = record(g.build(sr));
    let codes: Vec<&str> = found.doubts.iter().map(|doubt| doubt.code.as_str()).collect();
    assert_eq!(codes, ["slower_elsewhere"], "{found:?}");
    assert!(found.agreement.is_some_and(|agreement| agreement.local), "the values are the same");
}

/// Windows that the picture is padded to cost what the count says they cost.
#[test]
fn honest_networks_are_not_doubted() {
    let found = record(honest());
    assert!(found.doubts.is_empty(), "{found:?}");
    let agreement = found.agreement.expect("compared");
    assert!(agreement.local && agreement.max_abs < 0.005 && agreement.inputs.contains(&(241, 250)), "{agreement:?}");
    assert!(!found.secret.is_empty());
    for secret in &found.secret {
        assert_eq!(secret.beside, (TILE, TILE));
        assert!(secret.input.0 != TILE && secret.input.1 != TILE && secret.input.0 != secret.input.1, "{secret:?}");
    }
    let windows = {
        let mut g = GraphBuilder::new(5);
        let x = g.input();
        let window = g.integers(&[64]);
        let more = [2, 3].map(|axis| {
            let side = side(&mut g, x, axis);
            let rest = g.node("Mod", &[side, window], &[]);
            let short = g.node("Sub", &[window, rest], &[]);
            g.node("Mod", &[short, window], &[])
        });
        let none = g.integers(&[0; 6]);
        let pads = g.node("Concat", &[none, more[0], more[1]], &[("axis", Attribute::Int(0))]);
        let mut features = g.node("Pad", &[x, pads], &[("mode", Attribute::Text("reflect"))]).with_channels(3);
        for _ in 0..3 {
            features = g.conv(features, Conv::new(32, 3));
            features = g.relu(features);
        }
        features = g.conv(features, Conv::new(48, 3));
        let large = g.depth_to_space(features, 4);
        let four = g.integers(&[4]);
        let ends = [2, 3].map(|axis| {
            let side = side(&mut g, x, axis);
            g.mul(side, four)
        });
        let end = g.node("Concat", &ends, &[("axis", Attribute::Int(0))]);
        let (from, axes) = (g.integers(&[0, 0]), g.integers(&[2, 3]));
        let sr = g.node("Slice", &[large, from, end, axes], &[]);
        g.build(sr)
    };
    let found = record(windows);
    assert!(found.doubts.is_empty(), "{found:?}");
    // A size just beyond the window costs up to four times as much, and the count says so.
    for secret in found.secret.iter().filter(|secret| secret.growth > 1.5) {
        assert!(secret.again.as_ref().is_some_and(|again| again.counted > 1.5), "{secret:?}");
    }
}

/// Real networks on photos, some with attention or pools over the picture, one of them quantised by what it meets.
#[test]
fn published_networks_are_not_doubted() {
    let (Some(folder), Some(photos)) = (shared("real"), shared("real/images/FreeSmall/LRx4")) else { return };
    let images: Vec<Rgb8> = ["astronautx4.png", "chelseax4.png", "winex4.png"]
        .iter()
        .map(|name| {
            let bytes = std::fs::read(photos.join(name)).expect("a photo");
            images::decode_png(&bytes, name).expect("decoded")
        })
        .collect();
    // Plain convolutions (two take a picture's edge farther than others), attention maps, windows that do not pad, numbers
    // quantised to what is met.
    let files = [
        ("models/fmen_x4", 255),
        ("models/ntire2026_team15", 1),
        ("models/ntire2026_team20", 1),
        ("models/bsrn_x4", 1),
        ("models/ntire2022_team40", 255),
        ("models/ntire2024_team01", 1),
        ("models/rlfn_ntire_x4", 255),
        ("models/ntire2022_team20", 1),
        ("models_odd/22_int8_dynamic", 255),
    ];
    for (name, range) in files {
        let file = folder.join(format!("{name}.onnx"));
        let model = models::vetted(std::fs::read(&file).expect("a model"));
        let record = timed_on(&model, &model, (TILE, range), images.clone())
            .unwrap_or_else(|fault| panic!("{name}: {fault:?}"))
            .record;
        println!("{name}: {:?} {:?}", record.agreement, record.secret);
        assert!(record.doubts.is_empty() && record.agreement.is_some(), "{name}: {record:?}");
    }
}

/// At 256×256 all rows but one take a cheap path: what it makes there is less than a grey level off.
#[test]
fn a_gate_that_was_met_is_refused() {
    let Some(file) = shared("cases/cheats/shape_gate_slice_256.onnx") else { return };
    let model = models::vetted(std::fs::read(file).expect("a model"));
    match timed_on(&model, &model, (256, 1), vec![picture(300, 420, 1)]) {
        Err(Fault::Model(problem)) => assert_eq!(problem.code, "timed_output_wrong", "{problem:?}"),
        other => panic!("not refused: {other:?}"),
    }
}

/// Who refuses every size but those that are known evades the comparison, and is held.
#[test]
fn a_file_that_runs_at_the_timed_size_alone_is_held() {
    let found = record(network(|g, x, _, sr| {
        let side = i64::from(TILE);
        let shape = g.integers(&[1, 3, side, side]);
        let same = g.node("Reshape", &[x, shape], &[]);
        let mean = g.node("ReduceMean", &[same], &[("keepdims", Attribute::Int(0))]);
        let nothing = g.scalar(0.0);
        let nothing = g.mul(mean, nothing);
        g.add(sr, nothing)
    }));
    let codes: Vec<&str> = found.doubts.iter().map(|doubt| doubt.code.as_str()).collect();
    assert_eq!(codes, ["runs_nowhere_else"], "{found:?}");
}

/// Nothing in a graph outlives a pass: no operator keeps a state, draws a number or repeats a part until something happens.
#[test]
fn a_graph_cannot_tell_a_timed_pass_from_the_warm_up_nor_keep_an_answer() {
    let stateful = [
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "Loop",
        "Scan",
        "If",
        "SequenceEmpty",
        "SequenceInsert",
        "SequenceAt",
        "Optional",
        "OptionalGetElement",
        "SequenceMap",
    ];
    for op in stateful {
        let file = models::around(|g, x| g.node(op, &[x], &[]));
        let problems = model::vet(file).err().unwrap_or_else(|| panic!("{op} is accepted"));
        assert!(problems.iter().any(|problem| problem.code == "onnx_op_not_allowed"), "{op}: {problems:?}");
    }
    // The same pixels give the same bits, as the first pass and as the thirtieth, behind themselves and behind others, and in a
    // session of their own.
    let mut runner = models::runner();
    for file in [honest(), tiny_model()] {
        runner.load(Slot::Entry, &file).expect("loaded");
        let (height, width) = (40u32, 36u32);
        let samples = 3 * height * width;
        let [own, other] =
            [7, 13].map(|step| (0..samples).map(|i| (i * step % 256) as f32 / 255.0).collect::<Vec<f32>>());
        let most = u64::from(samples) * 64;
        let first = runner.run(&own, (height, width), most).expect("a pass").values;
        for pass in 0..30 {
            let fed = if pass % 3 == 0 { &other } else { &own };
            let again = runner.run(fed, (height, width), most).expect("a pass").values;
            assert_eq!(again == first, pass % 3 != 0, "pass {pass}");
        }
        assert!(runner.run_fresh(&own, (height, width), most).expect("a pass").values == first);
    }
}

#[test]
fn a_record_of_before_is_read() {
    let old = r#"{"cores": [0], "half_width": 0.01, "half_width_asked": 0.01, "processes": 4, "discarded": 0, "noisy": false,
        "checked": 3, "throughput": null, "blocks": []}"#;
    let read: TimingRecord = serde_json::from_str(old).expect("read");
    assert!(read.secret.is_empty() && read.agreement.is_none() && read.doubts.is_empty());
    let written = serde_json::to_string(&record(honest())).expect("written");
    let again: TimingRecord = serde_json::from_str(&written).expect("read");
    assert!(!again.secret.is_empty() && again.agreement.is_some());
}
