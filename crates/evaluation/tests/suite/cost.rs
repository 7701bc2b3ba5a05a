//! Cost that cannot be hidden: one network whose first convolution is written, and its weights are stored, in every way that
//! we could think of; and networks that are cheap only at some sizes.

use upscore_evaluation::{
    Cost, Size, SizeGate, SizeMeans, cost, count_model, model,
    onnx::{
        build::{Attribute, Conv, GraphBuilder, Interpolation, Random, Value, little_endian, tensor},
        proto::{
            FunctionProto, ModelProto, NodeProto, OperatorSetIdProto, tensor_proto::DataType,
            tensor_shape_proto::dimension, type_proto,
        },
    },
    runner::Fault,
};

use prost::Message;

use crate::support::{models, shared};

/// Of conv 3→8, ReLU, conv 8→48, pixel shuffle, both 3×3, at 1×3×256×256.
const PARAMS: u64 = 3_728;
const MACS: u64 = 240_648_192;

/// The first convolution's weights, [8][3][3][3] and [8]; none near zero, so that quotients of them are tame.
fn layer() -> (Vec<f32>, Vec<f32>) {
    let mut random = Random::new(11);
    let mut weight = || {
        let w = random.within(0.05, 0.2);
        if random.below(2) == 0 { w } else { -w }
    };
    let weights = (0..216).map(|_| weight()).collect();
    (weights, (0..8).map(|_| weight()).collect())
}

type First = fn(&mut GraphBuilder, Value, &[f32], &[f32]) -> Value;

fn network(first: First) -> GraphAndOutput {
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let (weights, bias) = layer();
    let y = first(&mut g, x, &weights, &bias).with_channels(8);
    let y = g.relu(y);
    let y = g.conv(y, Conv::new(48, 3));
    let y = g.depth_to_space(y, 4);
    (g, y)
}

type GraphAndOutput = (GraphBuilder, Value);

fn file(first: First) -> Vec<u8> {
    let (g, y) = network(first);
    g.build(y)
}

fn plain(g: &mut GraphBuilder, x: Value, weights: &[f32], bias: &[f32]) -> Value {
    g.conv_with(x, Conv::new(8, 3), weights, bias)
}

/// The nine shifted copies of the padded picture, [1, 3, H, W] each, row by row of the kernel.
fn shifted(g: &mut GraphBuilder, x: Value) -> Vec<Value> {
    let pads = g.integers(&[0, 0, 1, 1, 0, 0, 1, 1]);
    let padded = g.node("Pad", &[x, pads], &[]);
    let axes = g.integers(&[2, 3]);
    let mut copies = Vec::new();
    for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
        let end = |d: i64| if d == 2 { i64::MAX } else { d - 2 };
        let (from, to) = (g.integers(&[dy, dx]), g.integers(&[end(dy), end(dx)]));
        copies.push(g.node("Slice", &[padded, from, to, axes], &[]));
    }
    copies
}

/// The 27 planes of the patches, [1, 1, H, W] each: plane 3·tap + channel.
fn planes(g: &mut GraphBuilder, x: Value) -> Vec<Value> {
    let copies = shifted(g, x);
    let ones = g.integers(&[1, 1, 1]);
    copies.into_iter().flat_map(|copy| g.node_with("Split", &[copy, ones], &[("axis", Attribute::Int(1))], 3)).collect()
}

/// Patches, [1, 27, H, W]: channel 3·tap + c.
fn patches(g: &mut GraphBuilder, x: Value) -> Value {
    let copies = shifted(g, x);
    g.concat(&copies)
}

/// Weight of output channel `o` on plane 3·tap + c.
fn on_plane(weights: &[f32], o: usize, plane: usize) -> f32 {
    weights[o * 27 + plane % 3 * 9 + plane / 3]
}

/// The weights as a matrix [8, 27] for [`patches`].
fn matrix(weights: &[f32]) -> Vec<f32> {
    (0..8).flat_map(|o| (0..27).map(move |plane| (o, plane))).map(|(o, p)| on_plane(weights, o, p)).collect()
}

/// Each plane's weights for the eight outputs.
fn columns(weights: &[f32]) -> Vec<Vec<f32>> {
    (0..27).map(|plane| (0..8).map(|o| on_plane(weights, o, plane)).collect()).collect()
}

fn with_bias(g: &mut GraphBuilder, x: Value, bias: &[f32]) -> Value {
    let bias = g.weights(&[8, 1, 1], bias);
    g.add(x, bias)
}

fn sum(g: &mut GraphBuilder, parts: &[Value]) -> Value {
    parts[1..].iter().fold(parts[0], |sum, &part| g.add(sum, part))
}

fn reduce(g: &mut GraphBuilder, op: &str, x: Value, axis: i64, keep: i64) -> Value {
    if op == "ReduceSum" {
        let axes = g.integers(&[axis]);
        return g.node(op, &[x, axes], &[("keepdims", Attribute::Int(keep))]);
    }
    g.node(op, &[x], &[("axes", Attribute::Ints(vec![axis])), ("keepdims", Attribute::Int(keep))])
}

fn matmul(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let patches = patches(g, x);
    let perm = |p: [i64; 4]| [("perm", Attribute::Ints(p.to_vec()))];
    let last = g.node("Transpose", &[patches], &perm([0, 2, 3, 1]));
    let matrix = matrix(w);
    let turned: Vec<f32> = (0..27).flat_map(|k| (0..8).map(move |o| (o, k))).map(|(o, k)| matrix[o * 27 + k]).collect();
    let weights = g.weights(&[27, 8], &turned);
    let product = g.node("MatMul", &[last, weights], &[]);
    let bias = g.weights(&[8], b);
    let product = g.add(product, bias);
    g.node("Transpose", &[product], &perm([0, 3, 1, 2]))
}

fn einsum(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let patches = patches(g, x);
    let weights = g.weights(&[8, 27], &matrix(w));
    let product = g.node("Einsum", &[weights, patches], &[("equation", Attribute::Text("ok,bkhw->bohw"))]);
    with_bias(g, product, b)
}

fn einsum_with_dots(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let patches = patches(g, x);
    let weights = g.weights(&[8, 27], &matrix(w));
    let product = g.node("Einsum", &[patches, weights], &[("equation", Attribute::Text("b k ..., ok -> bo..."))]);
    with_bias(g, product, b)
}

/// A broadcast product of the patches with factors [8, 27, 1, 1], [1, 8, 27, H, W].
fn products(g: &mut GraphBuilder, x: Value, factors: &[f32]) -> Value {
    let patches = patches(g, x);
    let axis = g.integers(&[1]);
    let patches = g.node("Unsqueeze", &[patches, axis], &[]);
    let weights = g.weights(&[8, 27, 1, 1], factors);
    g.mul(patches, weights)
}

fn mul_reducesum(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let products = products(g, x, &matrix(w));
    let sums = reduce(g, "ReduceSum", products, 2, 0);
    with_bias(g, sums, b)
}

fn div_reducemean(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let patches = patches(g, x);
    let axis = g.integers(&[1]);
    let patches = g.node("Unsqueeze", &[patches, axis], &[]);
    let divisors: Vec<f32> = matrix(w).iter().map(|w| 1.0 / (27.0 * w)).collect();
    let divisors = g.weights(&[8, 27, 1, 1], &divisors);
    let quotients = g.node("Div", &[patches, divisors], &[]);
    let means = reduce(g, "ReduceMean", quotients, 2, 0);
    with_bias(g, means, b)
}

/// Weights that pass for data: they are multiplied with a 1 made of the picture.
fn dynamic_weights(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let zero = g.scalar(0.0);
    let mean = g.node("ReduceMean", &[x], &[]);
    let nothing = g.mul(mean, zero);
    let one = g.node("Exp", &[nothing], &[]);
    let one = g.node("Squeeze", &[one], &[]);
    let weights = g.weights(&[8, 27, 1, 1], &matrix(w));
    let weights = g.mul(weights, one);
    let patches = patches(g, x);
    let axis = g.integers(&[1]);
    let patches = g.node("Unsqueeze", &[patches, axis], &[]);
    let products = g.mul(patches, weights);
    let sums = reduce(g, "ReduceSum", products, 2, 0);
    with_bias(g, sums, b)
}

fn shift_and_add(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let planes = planes(g, x);
    let parts: Vec<Value> = planes
        .into_iter()
        .zip(columns(w))
        .map(|(plane, column)| {
            let weights = g.weights(&[8, 1, 1], &column);
            g.mul(plane, weights)
        })
        .collect();
    let total = sum(g, &parts);
    with_bias(g, total, b)
}

/// (((p₁·w₁/w₂ + p₂)·w₂/w₃ + p₃)·…)·w₂₇: every Add has one side that nothing scales.
fn horner(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let planes = planes(g, x);
    let columns = columns(w);
    let mut total = planes[0];
    for k in 0..27 {
        if k > 0 {
            total = g.add(total, planes[k]);
        }
        let next = columns.get(k + 1);
        let ratio: Vec<f32> = (0..8).map(|o| columns[k][o] / next.map_or(1.0, |n| n[o])).collect();
        let ratio = g.weights(&[8, 1, 1], &ratio);
        total = g.mul(total, ratio);
    }
    with_bias(g, total, b)
}

/// 216 lone numbers, and eight for the biases.
fn lone_numbers(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let planes = planes(g, x);
    let mut channels = Vec::new();
    for (o, &bias) in b.iter().enumerate() {
        let parts: Vec<Value> = (0..27)
            .map(|p| {
                let weight = g.scalar(on_plane(w, o, p));
                g.mul(planes[p], weight)
            })
            .collect();
        let total = sum(g, &parts);
        let bias = g.scalar(bias);
        channels.push(g.add(total, bias).with_channels(1));
    }
    g.concat(&channels)
}

/// The same, each product behind an activation that changes nothing, so that no two parts share a plain ancestor.
fn lone_numbers_behind_relu(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let planes = planes(g, x);
    let far = g.scalar(1e3);
    let mut channels = Vec::new();
    for (o, &bias) in b.iter().enumerate() {
        let parts: Vec<Value> = (0..27)
            .map(|p| {
                let weight = g.scalar(on_plane(w, o, p));
                let product = g.mul(planes[p], weight);
                let lifted = g.add(product, far);
                let kept = g.relu(lifted);
                g.node("Sub", &[kept, far], &[])
            })
            .collect();
        let total = sum(g, &parts);
        let bias = g.scalar(bias);
        channels.push(g.add(total, bias).with_channels(1));
    }
    g.concat(&channels)
}

fn mul_concat_reducesum(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let planes = planes(g, x);
    let mut channels = Vec::new();
    for o in 0..8 {
        let parts: Vec<Value> = (0..27)
            .map(|p| {
                let weight = g.scalar(on_plane(w, o, p));
                g.mul(planes[p], weight).with_channels(1)
            })
            .collect();
        let parts = g.concat(&parts);
        channels.push(reduce(g, "ReduceSum", parts, 1, 1).with_channels(1));
    }
    let total = g.concat(&channels);
    with_bias(g, total, b)
}

/// A batch normalisation with nothing but a scale is a product with weights.
fn batch_norm(g: &mut GraphBuilder, x: Value, w: &[f32], b: &[f32]) -> Value {
    let patches = patches(g, x);
    let copies = g.concat(&[patches; 8]);
    let scale = g.weights(&[216], &matrix(w));
    // The bias of a channel, once in 27.
    let shift: Vec<f32> = (0..216).map(|i| if i % 27 == 0 { b[i / 27] } else { 0.0 }).collect();
    let shift = g.weights(&[216], &shift);
    let [mean, variance] = [0.0, 1.0].map(|v| g.weights(&[216], &[v; 216]));
    let attributes = [("epsilon", Attribute::Float(0.0))];
    let scaled = g.node("BatchNormalization", &[copies, scale, shift, mean, variance], &attributes);
    let parts = g.split(scaled.with_channels(216), &[27; 8]);
    let sums: Vec<Value> = parts.into_iter().map(|part| reduce(g, "ReduceSum", part, 1, 1).with_channels(1)).collect();
    g.concat(&sums)
}

/// Each must compute what the plain network does, and cost the same.
#[test]
fn a_convolution_costs_the_same_however_it_is_written() {
    let mut runner = models::runner();
    let expected = models::run(&mut runner, &file(plain), (24, 16)).expect("the plain network runs").values;
    // The last factor of Horner's form scales a finished sum and is added to nothing.
    // The number that lifts products over ReLU's kink counts as a bias.
    let cases: [(&str, First, u64, u64); 11] = [
        ("Conv", plain, PARAMS, MACS),
        ("MatMul on patches", matmul, PARAMS, MACS),
        ("Einsum", einsum, PARAMS, MACS),
        ("Einsum with dots", einsum_with_dots, PARAMS, MACS),
        ("Mul and ReduceSum", mul_reducesum, PARAMS, MACS),
        ("Div and ReduceMean", div_reducemean, PARAMS, MACS),
        ("Mul and Add", shift_and_add, PARAMS, MACS),
        ("Mul and Add, Horner", horner, PARAMS, MACS - 8 * 65536),
        ("lone numbers", lone_numbers, PARAMS, MACS),
        ("lone numbers behind ReLU", lone_numbers_behind_relu, PARAMS + 1, MACS),
        ("Mul, Concat and ReduceSum", mul_concat_reducesum, PARAMS, MACS),
    ];
    for (name, first, params, macs) in cases {
        let made = models::run(&mut runner, &file(first), (24, 16)).unwrap_or_else(|e| panic!("{name}: {e:?}")).values;
        let apart = made.iter().zip(&expected).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(made.len() == expected.len() && apart < 1e-3, "{name}: computes something else, {apart} apart");
        let cost = models::count(&mut runner, file(first)).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!((cost.params, cost.macs), (params, macs), "{name}");
    }
    // With what it takes to disguise them.
    let cost = models::count(&mut runner, file(batch_norm)).expect("it runs");
    assert_eq!((cost.params, cost.macs), (PARAMS + 208, MACS), "a scale and a shift for each of 216 channels");
    let cost = models::count(&mut runner, file(dynamic_weights)).expect("it runs");
    assert_eq!(cost.params, PARAMS, "weights that pass for data");
    assert!((MACS..MACS + 1000).contains(&cost.macs), "weights that pass for data: {}", cost.macs);
}

/// Every published network of the pack, as old and new exporters write it, beside what KAIR's and fvcore's own code count.
#[test]
fn published_files_count_exactly() {
    let Some(pack) = shared("real") else { return };
    let text = std::fs::read_to_string(pack.join("reference.json")).expect("the pack is whole");
    let reference: serde_json::Value = serde_json::from_str(&text).expect("the pack is whole");
    let networks = reference["models"].as_object().expect("networks");
    assert!(networks.len() >= 20);
    let mut files: Vec<(String, &str)> =
        networks.keys().map(|name| (format!("models/{name}.onnx"), name.as_str())).collect();
    files.push(("models_new_exporter/rlfn_ntire_x4.onnx".into(), "rlfn_ntire_x4"));
    let odd = ["03_fp16_weights_fp32_io", "05_external/model", "10_rlfn_wrapped_0_1", "15_weights_as_constants"];
    let more = ["18_initializers_listed_as_inputs", "22_int8_dynamic", "01_fixed_256"];
    files.extend(odd.iter().chain(&more).map(|name| (format!("models_odd/{name}.onnx"), "rlfn_ntire_x4")));
    files.push(("models_odd/12_fmen_opset9.onnx".into(), "fmen_x4"));
    let mut runner = models::runner();
    for (file, name) in files {
        let model = model::load(&pack.join(&file), true).unwrap_or_else(|p| panic!("{file}: {p:?}"));
        // Other sizes take a while; they are tried where windows, strides and attention make them differ.
        let cost = match name {
            "ntire2022_team20" | "ntire2024_team23" | "bsrn_x4" => {
                count_model(&mut runner, &model, &[], &|_, _| ()).map(|count| count.cost)
            }
            _ => models::count_once(&mut runner, &model, (256, 256)),
        };
        let cost = cost.unwrap_or_else(|e| panic!("{file}: {e:?}"));
        let expected = &networks[name];
        let found = [
            ("params", cost.params),
            ("convs", cost.convs),
            ("activations", cost.activations),
            ("kair", cost.flops.kair),
            ("fvcore", cost.flops.fvcore),
        ];
        for (what, found) in found {
            let expected = if expected[what].is_null() { &expected["flops"][what] } else { &expected[what] };
            assert!(expected.is_null() || *expected == found, "{file}: {what} {found}, expected {expected}");
        }
        // Where a network is made of convolutions alone, they are all its multiply-adds.
        let matrices = cost.operators.iter().filter(|row| !row.op.contains("Conv") && row.macs > 0);
        let matrices: Vec<&str> = matrices.map(|row| row.op.as_str()).collect();
        assert!(matrices.iter().all(|op| matches!(*op, "MatMul" | "Gemm" | "Einsum")), "{file}: {matrices:?}");
    }
}

/// The hostile files that must score, with the figures that hand-written formulas give.
#[test]
fn hostile_files_count_exactly() {
    let Some(pack) = shared("hostile") else { return };
    let text = std::fs::read_to_string(pack.join("manifest.json")).expect("the pack is whole");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("the pack is whole");
    let mut runner = models::runner();
    let mut counted = 0;
    for case in manifest["cases"].as_array().expect("cases") {
        let counts = &case["counts"];
        if case["kind"] != "onnx" || case["expected"] != "score_ok" || case["stored_as"] != "plain" || counts.is_null()
        {
            continue;
        }
        let file = pack.join(case["file"].as_str().expect("a name"));
        let model = model::load(&file, false).unwrap_or_else(|p| panic!("{file:?}: {p:?}"));
        let cost = count_model(&mut runner, &model, &[], &|_, _| ()).unwrap_or_else(|e| panic!("{file:?}: {e:?}")).cost;
        let found = [
            ("params", cost.params),
            ("conv_count", cost.convs),
            ("activations", cost.activations),
            ("macs", cost.macs),
            ("weighted_ops", cost.weighted_ops()),
            ("activations_all", cost.weighted_activations()),
        ];
        for (what, found) in found {
            assert_eq!(counts[what], found, "{file:?}: {what}");
        }
        counted += 1;
    }
    assert!(counted >= 15, "only {counted} files");
}

/// A convolution of the picture with `weights`, [8, 3, 3, 3] in whatever way they are stored, and a plain bias.
fn stored_as(g: &mut GraphBuilder, x: Value, weights: Value, b: &[f32]) -> Value {
    let bias = g.weights(&[8], b);
    let attributes = [("kernel_shape", Attribute::Ints(vec![3, 3])), ("pads", Attribute::Ints(vec![1; 4]))];
    g.node("Conv", &[x, weights, bias], &attributes)
}

fn int8(w: &[f32]) -> Vec<u8> {
    w.iter().map(|w| (w * 500.0).round() as i8 as u8).collect()
}

const STORED: [(&str, First); 12] = [
    ("Constant node", |g, x, w, b| {
        let held = tensor(&[8, 3, 3, 3], DataType::Float, little_endian(w));
        let weights = g.node("Constant", &[], &[("value", Attribute::Tensor(held.into()))]);
        stored_as(g, x, weights, b)
    }),
    ("Constant node of floats, reshaped", |g, x, w, b| {
        let flat = g.node("Constant", &[], &[("value_floats", Attribute::Floats(w.to_vec()))]);
        let dims = g.integers(&[8, 3, 3, 3]);
        let weights = g.node("Reshape", &[flat, dims], &[]);
        stored_as(g, x, weights, b)
    }),
    ("float16 and Cast", |g, x, w, b| {
        let half = g.stored(tensor(&[8, 3, 3, 3], DataType::Float16, w.iter().flat_map(|_| [0x00, 0x30]).collect()));
        let weights = g.node("Cast", &[half], &[("to", Attribute::Int(DataType::Float as i64))]);
        stored_as(g, x, weights, b)
    }),
    ("int8 and DequantizeLinear", |g, x, w, b| {
        let held = g.stored(tensor(&[8, 3, 3, 3], DataType::Int8, int8(w)));
        let scale = g.scalar(0.002);
        let weights = g.node("DequantizeLinear", &[held, scale], &[]);
        stored_as(g, x, weights, b)
    }),
    ("int8 and DequantizeLinear for each channel", |g, x, w, b| {
        let held = g.stored(tensor(&[8, 3, 3, 3], DataType::Int8, int8(w)));
        let (scale, zero) = (g.weights(&[8], &[0.002; 8]), g.stored(tensor(&[8], DataType::Int8, vec![0; 8])));
        let weights = g.node("DequantizeLinear", &[held, scale, zero], &[("axis", Attribute::Int(0))]);
        stored_as(g, x, weights, b)
    }),
    ("packed, eight in an int64", |g, x, w, b| {
        let packed = g.stored(tensor(&[27, 1], DataType::Int64, int8(w)));
        let steps: Vec<u8> = (0..8).flat_map(|i| (1i64 << (7 * i)).to_le_bytes()).collect();
        let steps = g.stored(tensor(&[8], DataType::Int64, steps));
        let shifted = g.node("Div", &[packed, steps], &[]);
        let base = g.stored(tensor(&[], DataType::Int64, 128i64.to_le_bytes().to_vec()));
        let digits = g.node("Mod", &[shifted, base], &[]);
        let real = g.node("Cast", &[digits], &[("to", Attribute::Int(DataType::Float as i64))]);
        let scale = g.scalar(0.001);
        let real = g.mul(real, scale);
        let dims = g.integers(&[8, 3, 3, 3]);
        let weights = g.node("Reshape", &[real, dims], &[]);
        stored_as(g, x, weights, b)
    }),
    ("made by sin(range)", |g, x, _, b| {
        let [from, to, step] = [0.0, 216.0, 1.0].map(|v| g.scalar(v));
        let range = g.node("Range", &[from, to, step], &[]);
        let waves = g.node("Sin", &[range], &[]);
        let dims = g.integers(&[8, 3, 3, 3]);
        let weights = g.node("Reshape", &[waves, dims], &[]);
        stored_as(g, x, weights, b)
    }),
    ("built by ScatterND", |g, x, w, b| {
        let dims = g.integers(&[216]);
        let empty = g.node("ConstantOfShape", &[dims], &[]);
        let places: Vec<u8> = (0..216i64).flat_map(i64::to_le_bytes).collect();
        let places = g.stored(tensor(&[216, 1], DataType::Int64, places));
        let values = g.weights(&[216], w);
        let filled = g.node("ScatterND", &[empty, places, values], &[]);
        let dims = g.integers(&[8, 3, 3, 3]);
        let weights = g.node("Reshape", &[filled, dims], &[]);
        stored_as(g, x, weights, b)
    }),
    ("a small tensor, repeated", |g, x, w, b| {
        let small = g.weights(&[1, 3, 3, 3], &w[..27]);
        let times = g.integers(&[8, 1, 1, 1]);
        let weights = g.node("Tile", &[small, times], &[]);
        stored_as(g, x, weights, b)
    }),
    ("one number, expanded", |g, x, _, b| {
        let (one, dims) = (g.scalar(0.1), g.integers(&[8, 3, 3, 3]));
        let weights = g.node("Expand", &[one, dims], &[]);
        stored_as(g, x, weights, b)
    }),
    ("looked up in a table", |g, x, w, b| {
        let table = g.weights(&[216], w);
        let order: Vec<u8> = (0..216i64).flat_map(i64::to_le_bytes).collect();
        let order = g.stored(tensor(&[8, 3, 3, 3], DataType::Int64, order));
        let weights = g.node("Gather", &[table, order], &[]);
        stored_as(g, x, weights, b)
    }),
    ("mixed with the input's shape", |g, x, w, b| {
        let held = g.weights(&[8, 3, 3, 3], w);
        let weights = add_nothing_of_shape(g, x, held);
        stored_as(g, x, weights, b)
    }),
];

/// The tensor plus 0 × the input's height.
fn add_nothing_of_shape(g: &mut GraphBuilder, x: Value, tensor: Value) -> Value {
    let height = dimension(g, x, 2);
    let height = g.node("Cast", &[height], &[("to", Attribute::Int(DataType::Float as i64))]);
    let zero = g.scalar(0.0);
    let nothing = g.mul(height, zero);
    g.add(tensor, nothing)
}

/// A dimension of `x`, [1].
fn dimension(g: &mut GraphBuilder, x: Value, axis: i64) -> Value {
    let shape = g.node("Shape", &[x], &[]);
    let axis = g.integers(&[axis]);
    g.node("Gather", &[shape, axis], &[])
}

#[test]
fn weights_count_the_same_however_they_are_stored() {
    let mut runner = models::runner();
    for (name, first) in STORED {
        let cost = models::count(&mut runner, file(first)).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!((cost.params, cost.macs, cost.convs), (PARAMS, MACS, 2), "{name}");
    }
    let (g, y) = network(|g, x, w, b| {
        g.weights(&[5000], &[0.5; 5000]);
        plain(g, x, w, b)
    });
    assert_eq!(models::count(&mut runner, g.build(y)).expect("it runs").params, PARAMS, "what nothing reads");
}

/// Quantised forms; scales are no parameters.
#[test]
fn quantised_convolutions_count_like_others() {
    type Layer<'a> = dyn Fn(&mut GraphBuilder, Value, &[f32], &[f32]) -> Value + 'a;
    let mut runner = models::runner();
    let to_bytes = |g: &mut GraphBuilder, x: Value| {
        let (scale, zero) = (g.scalar(1.0 / 255.0), g.stored(tensor(&[], DataType::Uint8, vec![0])));
        (g.node("QuantizeLinear", &[x, scale, zero], &[]), scale, zero)
    };
    let shape = [("kernel_shape", Attribute::Ints(vec![3, 3])), ("pads", Attribute::Ints(vec![1; 4]))];
    let mut build = |name: &str, first: &Layer<'_>| {
        let mut g = GraphBuilder::new(5);
        let x = g.input();
        let (weights, bias) = layer();
        let y = first(&mut g, x, &weights, &bias).with_channels(8);
        let y = g.relu(y);
        let y = g.conv(y, Conv::new(48, 3));
        let y = g.depth_to_space(y, 4);
        let cost = models::count(&mut runner, g.build(y)).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!((cost.params, cost.macs, cost.convs), (PARAMS, MACS, 2), "{name}");
    };
    build("ConvInteger", &|g, x, w, b| {
        let (bytes, _, zero) = to_bytes(g, x);
        let held = g.stored(tensor(&[8, 3, 3, 3], DataType::Int8, int8(w)));
        let product = g.node("ConvInteger", &[bytes, held, zero], &shape);
        let real = g.node("Cast", &[product], &[("to", Attribute::Int(DataType::Float as i64))]);
        let scales = g.weights(&[8, 1, 1], &[0.002 / 255.0; 8]);
        let real = g.mul(real, scales);
        with_bias(g, real, b)
    });
    build("dynamic ConvInteger", &|g, x, w, b| {
        let parts = g.node_with("DynamicQuantizeLinear", &[x], &[], 3);
        let held = g.stored(tensor(&[8, 3, 3, 3], DataType::Int8, int8(w)));
        let product = g.node("ConvInteger", &[parts[0], held, parts[2]], &shape);
        let real = g.node("Cast", &[product], &[("to", Attribute::Int(DataType::Float as i64))]);
        let scale = g.scalar(0.002);
        let scale = g.mul(parts[1], scale);
        let real = g.mul(real, scale);
        with_bias(g, real, b)
    });
    build("QLinearConv", &|g, x, w, _| {
        let (bytes, scale, zero) = to_bytes(g, x);
        let held = g.stored(tensor(&[8, 3, 3, 3], DataType::Int8, int8(w)));
        let (scales, zeros) = (g.weights(&[8], &[0.002; 8]), g.stored(tensor(&[8], DataType::Int8, vec![0; 8])));
        let bias = g.stored(tensor(&[8], DataType::Int32, vec![1; 32]));
        let inputs = [bytes, scale, zero, held, scales, zeros, scale, zero, bias];
        let product = g.node("QLinearConv", &inputs, &shape);
        g.node("DequantizeLinear", &[product, scale, zero], &[])
    });
    // A scale for each small block of weights takes operator set 21.
    let (g, y) = network(|g, x, w, b| {
        let held = g.stored(tensor(&[8, 3, 3, 3], DataType::Int8, int8(w)));
        let scales = g.weights(&[4, 3, 3, 3], &[0.002; 108]);
        let blocks = [("axis", Attribute::Int(0)), ("block_size", Attribute::Int(2))];
        let weights = g.node("DequantizeLinear", &[held, scales], &blocks);
        stored_as(g, x, weights, b)
    });
    let mut blocked = g.model(y);
    (blocked.ir_version, blocked.opset_import[0].version) = (10, 21);
    let cost = models::count(&mut runner, blocked.encode_to_vec()).expect("it runs");
    assert_eq!((cost.params, cost.macs), (PARAMS, MACS), "blocks");
}

/// Weights that hide where nothing that we know of counts them.
#[test]
fn weights_do_not_hide_in_what_is_not_counted() {
    let mut runner = models::runner();
    let mut params = |first: First| models::count(&mut runner, file(first)).expect("it runs").params;
    // The scales of one stored tensor of ones, once for each of two layers.
    let scales = params(|g, x, w, b| {
        let ones = g.stored(tensor(&[8, 3, 3, 3], DataType::Int8, vec![1; 216]));
        let held = |g: &mut GraphBuilder, factor: f32| {
            let w: Vec<f32> = w[..8].iter().map(|w| w * factor).collect();
            let scale = g.weights(&[8], &w);
            g.node("DequantizeLinear", &[ones, scale], &[("axis", Attribute::Int(0))])
        };
        let (one, other) = (held(g, 1.0), held(g, 2.0));
        let (one, other) = (stored_as(g, x, one, b), stored_as(g, x, other, b));
        g.add(one, other)
    });
    assert_eq!(scales, PARAMS + 216 + 8, "scales");
    // Low and high bits of one packed tensor.
    let bits = params(|g, x, _, b| {
        let packed = g.stored(tensor(&[8, 3, 3, 3], DataType::Int32, vec![3; 864]));
        let cast = |g: &mut GraphBuilder, x, to: DataType| g.node("Cast", &[x], &[("to", Attribute::Int(to as i64))]);
        let low = cast(g, packed, DataType::Int8);
        let (low, all) = (cast(g, low, DataType::Float), cast(g, packed, DataType::Float));
        let (low, all) = (stored_as(g, x, low, b), stored_as(g, x, all, b));
        g.add(low, all)
    });
    assert_eq!(bits, PARAMS + 216 + 8, "bits");
    // The variances of two normalisations that share a scale and a shift.
    let variances = params(|g, x, w, b| {
        let x = plain(g, x, w, b);
        let [scale, shift, mean, one, other] = [1.0, 0.0, 0.0, 2.0, 3.0].map(|v| g.weights(&[8], &[v; 8]));
        let x = g.node("BatchNormalization", &[x, scale, shift, mean, one], &[]);
        g.node("BatchNormalization", &[x, scale, shift, mean, other], &[])
    });
    assert_eq!(variances, PARAMS + 16 + 8, "variances; the shift and mean are the same twice");
    // A table of which the input's shape says what part is used.
    let cropped = params(|g, x, w, b| {
        let y = plain(g, x, w, b);
        let table = g.weights(&[8, 400, 400], &vec![0.1; 8 * 400 * 400]);
        let (height, width, from, axes) =
            (dimension(g, x, 2), dimension(g, x, 3), g.integers(&[0, 0]), g.integers(&[1, 2]));
        let to = g.node("Concat", &[height, width], &[("axis", Attribute::Int(0))]);
        let part = g.node("Slice", &[table, from, to, axes], &[]);
        g.add(y, part)
    });
    assert_eq!(cropped, PARAMS + 8 * 400 * 400, "a cropped table");
    // A table that pixels index.
    let lookup = params(|g, x, w, b| {
        let (steps, table) = (g.scalar(255.0), g.weights(&[256], &[0.5; 256]));
        let steps = g.mul(x, steps);
        let index = g.node("Cast", &[steps], &[("to", Attribute::Int(DataType::Int64 as i64))]);
        let looked = g.node("Gather", &[table, index], &[]);
        plain(g, looked.with_channels(3), w, b)
    });
    assert_eq!(lookup, PARAMS + 256, "a table of grey levels");
    // Of data, a scale for each channel.
    let channels = params(|g, x, w, b| {
        let x = plain(g, x, w, b);
        let (unit, zero) = (g.scalar(0.05), g.stored(tensor(&[], DataType::Int8, vec![0])));
        let bytes = g.node("QuantizeLinear", &[x, unit, zero], &[]);
        let scale = g.weights(&[8], &[0.05; 8]);
        g.node("DequantizeLinear", &[bytes, scale], &[("axis", Attribute::Int(1))])
    });
    assert_eq!(channels, PARAMS + 8, "scales of channels");
    // Many lone numbers, none of them in a sum.
    let lone = params(|g, x, w, b| {
        let x = plain(g, x, w, b);
        (0..100).fold(x, |x, i| {
            let least = g.scalar(i as f32 / 1e4);
            g.node("Max", &[x, least], &[])
        })
    });
    assert_eq!(lone, PARAMS + 100, "lone numbers");
}

/// PyTorch's exporters write some norms and pools in other operators, or fill in weights that a network has not: they count as
/// what they are.
#[test]
fn norms_and_pools_count_as_what_they_were() {
    fn last(g: &mut GraphBuilder, x: Value, norm: fn(&mut GraphBuilder, Value) -> Value) -> Value {
        let perm = |p: [i64; 4]| [("perm", Attribute::Ints(p.to_vec()))];
        let x = g.node("Transpose", &[x], &perm([0, 2, 3, 1]));
        let y = norm(g, x);
        g.node("Transpose", &[y], &perm([0, 3, 1, 2])).with_channels(8)
    }
    fn affine(g: &mut GraphBuilder, y: Value, dims: &[usize]) -> Value {
        let (scale, shift) = (g.seeded(dims, 1, 1.0), g.seeded(dims, 1, 1.0));
        let y = g.mul(y, scale);
        g.add(y, shift)
    }
    fn one_operator(g: &mut GraphBuilder, x: Value) -> Value {
        let (scale, shift) = (g.seeded(&[8], 1, 1.0), g.seeded(&[8], 1, 1.0));
        g.node("LayerNormalization", &[x, scale, shift], &[])
    }
    fn written_out(g: &mut GraphBuilder, x: Value) -> Value {
        let over_last = [("axes", Attribute::Ints(vec![-1]))];
        let mean = g.node("ReduceMean", &[x], &over_last);
        let centred = g.node("Sub", &[x, mean], &[]);
        let (two, small) = (g.scalar(2.0), g.scalar(1e-5));
        let squares = g.node("Pow", &[centred, two], &[]);
        let variance = g.node("ReduceMean", &[squares], &over_last);
        let variance = g.add(variance, small);
        let deviation = g.node("Sqrt", &[variance], &[]);
        let y = g.node("Div", &[centred, deviation], &[]);
        affine(g, y, &[8])
    }
    fn of_groups(g: &mut GraphBuilder, x: Value) -> Value {
        let (rows, whole) = (g.integers(&[0, 2, -1]), g.node("Shape", &[x], &[]));
        let y = g.node("Reshape", &[x, rows], &[]);
        let (ones, zeros) = (g.weights(&[2], &[1.0; 2]), g.weights(&[2], &[0.0; 2]));
        let y = g.node("InstanceNormalization", &[y, ones, zeros], &[]);
        let y = g.node("Reshape", &[y, whole], &[]);
        affine(g, y, &[8, 1, 1]).with_channels(8)
    }
    fn of_channels(g: &mut GraphBuilder, x: Value) -> Value {
        let (ones, zeros) = (g.weights(&[8], &[1.0; 8]), g.weights(&[8], &[0.0; 8]));
        g.node("InstanceNormalization", &[x, ones, zeros], &[]).with_channels(8)
    }
    fn pooled(g: &mut GraphBuilder, x: Value, axes: [i64; 2]) -> Value {
        let mean = g.node("ReduceMean", &[x], &[("axes", Attribute::Ints(axes.to_vec()))]);
        g.mul(x, mean).with_channels(8)
    }
    // What is added: parameters, and fvcore's FLOPs per element.
    let cases: [(&str, u64, u64, First); 6] = [
        ("LayerNormalization", 16, 5, |g, x, w, b| {
            let y = plain(g, x, w, b);
            last(g, y, one_operator)
        }),
        ("a layer norm written out", 16, 5, |g, x, w, b| {
            let y = plain(g, x, w, b);
            last(g, y, written_out)
        }),
        ("a group norm", 16, 5, |g, x, w, b| {
            let y = plain(g, x, w, b);
            of_groups(g, y)
        }),
        ("an instance norm without weights", 0, 4, |g, x, w, b| {
            let y = plain(g, x, w, b);
            of_channels(g, y)
        }),
        ("a pool", 0, 1, |g, x, w, b| {
            let y = plain(g, x, w, b);
            pooled(g, y, [-1, -2])
        }),
        ("a mean", 0, 0, |g, x, w, b| {
            let y = plain(g, x, w, b);
            pooled(g, y, [2, 3])
        }),
    ];
    let mut runner = models::runner();
    for (name, params, each, first) in cases {
        let cost = models::count(&mut runner, file(first)).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!((cost.params, cost.macs), (PARAMS + params, MACS), "{name}");
        assert_eq!(cost.flops.fvcore, MACS + each * 8 * 65536, "{name}");
    }
}

/// The plain network, in which `table`, [heads, rows, columns], is added to scores of attention.
fn attending(table: fn(&mut GraphBuilder) -> Value, op: &str) -> Vec<u8> {
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let (w, b) = layer();
    let y = plain(&mut g, x, &w, &b).with_channels(8);
    let table = table(&mut g);
    // As many heads, rows and columns of the picture as the table has.
    let (ends, from, axes) = (g.node("Shape", &[table], &[]), g.integers(&[0, 0, 0]), g.integers(&[1, 2, 3]));
    let part = g.node("Slice", &[y, from, ends, axes], &[]);
    let scores = g.add(part, table);
    let weights = g.node(op, &[scores], &[]);
    let mean = g.node("ReduceMean", &[weights], &[("keepdims", Attribute::Int(0))]);
    let y = g.add(y, mean).with_channels(8);
    let y = g.relu(y);
    let y = g.conv(y, Conv::new(48, 3));
    let y = g.depth_to_space(y, 4);
    g.build(y)
}

/// For each pair of places of two windows, height and width each: the offset between them, as a number.
fn offsets((h1, w1): (usize, usize), (h2, w2): (usize, usize)) -> Vec<usize> {
    let pairs = (0..h1 * w1).flat_map(|i| (0..h2 * w2).map(move |j| (i, j)));
    pairs.map(|(i, j)| (i / w1 + h2 - 1 - j / w2) * (w1 + w2 - 1) + i % w1 + w2 - 1 - j % w2).collect()
}

/// The bias of two heads, unrolled, with one number for each offset.
fn unrolled(one: (usize, usize), other: (usize, usize)) -> Vec<f32> {
    let offsets = offsets(one, other);
    (0..2)
        .flat_map(|head| offsets.iter().map(move |&i| ((i * 7 + head * 3) as f32).sin()).collect::<Vec<_>>())
        .collect()
}

/// The bias of two heads of 4×4 windows, looked up in a table of 49 offsets by these rows.
fn looked_up(g: &mut GraphBuilder, rows: &[usize]) -> Value {
    let table = g.seeded(&[49, 2], 1, 1.0);
    let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let (rows, dims) = (g.integers(&rows), g.integers(&[16, 16, 2]));
    let bias = g.node("Gather", &[table, rows], &[]);
    let bias = g.node("Reshape", &[bias, dims], &[]);
    g.node("Transpose", &[bias], &[("perm", Attribute::Ints(vec![2, 0, 1]))])
}

/// The mask of 2×3 windows of 4×4 places, shifted by 2, hidden pairs at `low`: the windows at the bottom and at the right hold
/// places of both edges of the picture.
fn shift_mask(low: f32) -> Vec<f32> {
    let part = |window: usize, i: usize| (window >= 3 && i / 4 >= 2, window % 3 == 2 && i % 4 >= 2);
    let pairs = |window| (0..256).map(move |ij| part(window, ij / 16) == part(window, ij % 16));
    (0..6).flat_map(pairs).map(|seen| if seen { 0.0 } else { low }).collect()
}

/// Exporters store a position bias for every pair of places, and masks that hold nothing that was learned. Whatever else is
/// in such a table counts in full.
#[test]
fn tables_of_attention_count_what_they_hold() {
    type Table = fn(&mut GraphBuilder) -> Value;
    let cases: [(&str, u64, &str, Table); 14] = [
        ("a bias", 2 * 49, "Softmax", |g| g.weights(&[2, 16, 16], &unrolled((4, 4), (4, 4)))),
        ("a bias of stripes", 2 * 45, "Softmax", |g| g.weights(&[2, 16, 16], &unrolled((2, 8), (2, 8)))),
        ("a bias between windows", 2 * 81, "Softmax", |g| g.weights(&[2, 16, 36], &unrolled((4, 4), (6, 6)))),
        ("a bias looked up", 2 * 49, "Softmax", |g| looked_up(g, &offsets((4, 4), (4, 4)))),
        ("a bias with one number of its own", 512, "Softmax", |g| {
            let mut bias = unrolled((4, 4), (4, 4));
            bias[511 - 17] += 0.1;
            g.weights(&[2, 16, 16], &bias)
        }),
        ("a look-up by rows of its own", 512, "Softmax", |g| {
            let mut rows = offsets((4, 4), (4, 4));
            rows[99] = (rows[99] + 1) % 49;
            looked_up(g, &rows)
        }),
        ("a bias of no attention", 512, "Relu", |g| g.weights(&[2, 16, 16], &unrolled((4, 4), (4, 4)))),
        ("a mask", 0, "Softmax", |g| g.weights(&[6, 16, 16], &shift_mask(-100.0))),
        ("a mask of infinity", 0, "Softmax", |g| g.weights(&[6, 16, 16], &shift_mask(f32::NEG_INFINITY))),
        ("a mask of no attention", 1536, "Relu", |g| g.weights(&[6, 16, 16], &shift_mask(-100.0))),
        ("a mask that does not hide", 1536, "Softmax", |g| g.weights(&[6, 16, 16], &shift_mask(-1.0))),
        ("a mask of two numbers", 1536, "Softmax", |g| {
            let mut mask = shift_mask(-100.0);
            mask.iter_mut().rev().find(|m| **m < 0.0).into_iter().for_each(|m| *m = -101.0);
            g.weights(&[6, 16, 16], &mask)
        }),
        ("a mask with a pair of its own", 1536, "Softmax", |g| {
            let mut mask = shift_mask(-100.0);
            mask[3] = -100.0;
            g.weights(&[6, 16, 16], &mask)
        }),
        ("a mask with a window of its own", 1536, "Softmax", |g| {
            let mut mask = shift_mask(-100.0);
            mask.rotate_left(256);
            g.weights(&[6, 16, 16], &mask)
        }),
    ];
    let mut runner = models::runner();
    for (name, params, op, table) in cases {
        let cost = models::count(&mut runner, attending(table, op)).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!((cost.params, cost.macs), (PARAMS + params, MACS), "{name}");
    }
}

/// What ordinary networks do with lone factors and gates is neither a parameter nor a multiply-add.
#[test]
fn scales_gates_and_norms_are_no_convolutions() {
    let mut runner = models::runner();
    let cost = models::count(
        &mut runner,
        file(|g, x, w, b| {
            let first = plain(g, x, w, b).with_channels(8);
            // Residual scaling, a gate, a channel's attention, a normalisation written out.
            let deeper = g.conv(first, Conv::new(8, 3));
            let fifth = g.scalar(0.2);
            let scaled = g.mul(deeper, fifth);
            let y = g.add(scaled, first);
            let gate = g.conv(y, Conv::new(8, 1));
            let gate = g.sigmoid(gate);
            let gated = g.mul(y, gate);
            let y = g.add(gated, y);
            let mean = g.node("ReduceMean", &[y], &[("axes", Attribute::Ints(vec![1]))]);
            let centred = g.node("Sub", &[y, mean], &[]);
            let squares = g.mul(centred, centred);
            let variance = g.node("ReduceMean", &[squares], &[("axes", Attribute::Ints(vec![1]))]);
            let small = g.scalar(1e-6);
            let variance = g.add(variance, small);
            let deviation = g.node("Sqrt", &[variance], &[]);
            g.node("Div", &[centred, deviation], &[])
        }),
    )
    .expect("it runs");
    assert_eq!((cost.params, cost.macs), (PARAMS + 584 + 72, MACS + (576 + 64) * 65536));
    assert_eq!((cost.weighted_ops(), cost.weighted_activations()), (4, 72 * 65536));
}

/// A convolution of the largest cost that needs nothing that counts: each of these is refused, and says where.
#[test]
fn arithmetic_that_nothing_counts_does_not_replace_convolutions() {
    let mut runner = models::runner();
    let head = |g: &mut GraphBuilder, x: Value| {
        let y = g.conv(x.with_channels(3), Conv::new(48, 1));
        g.depth_to_space(y, 4)
    };
    type Body = fn(&mut GraphBuilder, Value) -> Value;
    let bodies: [(&str, Body); 6] = [
        ("exp of sums of logarithms", |g, x| {
            let (w, _) = layer();
            let least = g.scalar(1e-3);
            let x = g.node("Max", &[x, least], &[]);
            let patches = patches(g, x);
            let logs = g.node("Log", &[patches], &[]);
            let channels: Vec<Value> = (0..3)
                .map(|o| {
                    let factors: Vec<f32> = (0..27).map(|p| on_plane(&w, o, p).abs().ln()).collect();
                    let factors = g.weights(&[27, 1, 1], &factors);
                    let sums = g.add(logs, factors);
                    let products = g.node("Exp", &[sums], &[]);
                    reduce(g, "ReduceSum", products, 1, 1).with_channels(1)
                })
                .collect();
            g.concat(&channels)
        }),
        ("running sums", |g, x| {
            let axes = [2, 3].map(|axis| g.integers(&[axis]));
            (0..20).fold(x, |x, i| {
                let sums = g.node("CumSum", &[x, axes[i % 2]], &[]);
                let small = g.scalar(0.01);
                g.mul(sums, small)
            })
        }),
        ("box filters", |g, x| {
            let window = [("kernel_shape", Attribute::Ints(vec![9, 9])), ("pads", Attribute::Ints(vec![4; 4]))];
            g.node(
                "AveragePool",
                &[x],
                &[("strides", Attribute::Ints(vec![1, 1])), window[0].clone(), window[1].clone()],
            )
        }),
        ("slopes", |g, x| {
            (0..60).fold(x, |x, i| {
                let x = g.node("Neg", &[x], &[]);
                g.leaky_relu(x, 0.5 + i as f32 / 100.0)
            })
        }),
        ("powers", |g, x| {
            let least = g.scalar(1e-3);
            (0..60).fold(x, |x, i| {
                let x = g.node("Max", &[x, least], &[]);
                let exponent = g.weights(&[1, 3, 1, 1], &[0.9 + i as f32 / 1000.0; 3]);
                g.node("Pow", &[x, exponent], &[])
            })
        }),
        ("enlarging and shrinking", |g, x| {
            (0..6).fold(x, |x, _| {
                let large = g.resize(x, 2.0, Interpolation::Cubic(-0.5));
                g.resize(large, 0.5, Interpolation::Cubic(-0.5))
            })
        }),
    ];
    for (name, body) in bodies {
        let mut g = GraphBuilder::new(5);
        let x = g.input();
        let y = body(&mut g, x);
        let y = head(&mut g, y);
        let problem = refused(models::count(&mut runner, g.build(y)), name);
        assert_eq!(problem.code, "cost_uncounted", "{name}: {problem:?}");
        assert!(problem.place.is_some(), "{name} names no node: {problem:?}");
    }
    // A plain enlargement has no weights, and needs none.
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let y = g.resize(x, 4.0, Interpolation::Cubic(-0.5));
    let cost = models::count(&mut runner, g.build(y)).expect("it runs");
    assert_eq!((cost.params, cost.macs), (0, 0));
}

fn refused(outcome: Result<Cost, Fault>, what: &str) -> upscore_evaluation::problem::Problem {
    match outcome {
        Err(Fault::Model(problem)) => problem,
        Err(Fault::Ours(error)) => panic!("{what}: our fault: {error:#}"),
        Ok(cost) => panic!("{what}: counted as {} parameters, {} multiply-adds", cost.params, cost.macs),
    }
}

/// Operators that could hide cost or never end are refused by name, before anything runs.
#[test]
fn operators_off_the_list_are_refused_by_name() {
    let off = [
        "If",
        "Loop",
        "Scan",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "LSTM",
        "GRU",
        "RNN",
        "Attention",
        "DFT",
        "STFT",
        "BitShift",
        "BitwiseAnd",
        "NonZero",
        "Compress",
        "Unique",
        "SequenceAt",
        "Optional",
        "StringConcat",
        "NonMaxSuppression",
        "RoiAlign",
        "DeformConv",
        "MatMulNBits",
    ];
    for op in off {
        let (mut g, y) = network(plain);
        let odd = g.node(op, &[y], &[]);
        let problems = model::vet(g.build(odd)).expect_err(op);
        let found = problems.iter().any(|p| {
            p.code == "onnx_op_not_allowed"
                && p.message.contains(op)
                && p.place.as_deref().is_some_and(|n| n.contains(op))
        });
        assert!(found, "{op}: {problems:?}");
    }
    // As in training: statistics of the picture, or chance.
    let (mut g, y) = network(plain);
    let numbers = g.weights(&[3], &[1.0; 3]);
    let training = [("training_mode", Attribute::Int(1))];
    let odd = g.node("BatchNormalization", &[y, numbers, numbers, numbers, numbers], &training);
    let problems = model::vet(g.build(odd)).expect_err("a network in training");
    assert!(problems[0].message.contains("BatchNormalization in training mode"), "{problems:?}");
    // A protocol may allow less.
    let few = model::Operators(["Conv", "DepthToSpace", "Identity"].map(str::to_owned).into());
    let problems = models::vetted(file(plain)).keeps_to(&few).expect_err("it has a ReLU");
    assert!(problems.len() == 1 && problems[0].code == "onnx_op_not_allowed", "{problems:?}");
    assert!(problems[0].message.contains("Relu") && problems[0].place.is_some(), "{problems:?}");
    assert!(models::vetted(file(plain)).keeps_to(&model::Operators::default()).is_ok());
    assert!(model::ALLOWED_OPERATORS.is_sorted() && off.iter().all(|op| !model::ALLOWED_OPERATORS.contains(op)));
}

/// What a size is computed from must not be pixels: the cost would depend on the picture.
#[test]
fn sizes_that_depend_on_pixels_are_refused() {
    let (mut g, y) = network(plain);
    let x = g.input();
    let brightest = g.node("ReduceMax", &[x], &[("keepdims", Attribute::Int(0))]);
    let scale = g.scalar(64.0);
    let size = g.mul(brightest, scale);
    let size = g.node("Cast", &[size], &[("to", Attribute::Int(DataType::Int64 as i64))]);
    let axis = g.integers(&[0]);
    let size = g.node("Unsqueeze", &[size, axis], &[]);
    let (from, axis) = (g.integers(&[0]), g.integers(&[2]));
    let cut = g.node("Slice", &[y, from, size, axis], &[]);
    let problems = model::vet(g.build(cut)).expect_err("a crop as bright as the picture");
    assert_eq!(problems[0].code, "cost_depends_on_pixels", "{problems:?}");
    assert!(problems[0].place.as_deref().is_some_and(|place| place.contains("Slice")), "{problems:?}");
}

/// A network that works on a corner of 8×8 pixels wherever `cheap` holds for its input, and on all of it elsewhere.
fn forked(cheap: fn(&mut GraphBuilder, Value, Value) -> Value) -> Vec<u8> {
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let (height, width) = (dimension(&mut g, x, 2), dimension(&mut g, x, 3));
    let holds = cheap(&mut g, height, width);
    let (eight, from, axes) = (g.integers(&[8]), g.integers(&[0, 0]), g.integers(&[2, 3]));
    let ends = [height, width].map(|size| g.node("Where", &[holds, eight, size], &[]));
    let ends = g.node("Concat", &ends, &[("axis", Attribute::Int(0))]);
    let corner = g.node("Slice", &[x, from, ends, axes], &[]);
    let y = g.conv(corner.with_channels(3), Conv::new(8, 3));
    let y = g.relu(y);
    let y = g.conv(y, Conv::new(48, 3));
    let y = g.depth_to_space(y, 4);
    let four = g.resize(x, 4.0, Interpolation::Nearest);
    let y = g.resize_like(y, four, Interpolation::Nearest);
    g.build(y)
}

fn equals(g: &mut GraphBuilder, size: Value, to: i64) -> Value {
    let to = g.integers(&[to]);
    g.node("Equal", &[size, to], &[])
}

fn above(g: &mut GraphBuilder, size: Value, than: i64) -> Value {
    let than = g.integers(&[than]);
    g.node("Greater", &[size, than], &[])
}

fn multiple(g: &mut GraphBuilder, size: Value, of: i64) -> Value {
    let of = g.integers(&[of]);
    let rest = g.node("Mod", &[size, of], &[]);
    equals(g, rest, 0)
}

fn both(g: &mut GraphBuilder, a: Value, b: Value) -> Value {
    g.node("And", &[a, b], &[])
}

#[test]
fn a_short_cut_at_some_sizes_is_found() {
    let mut runner = models::runner();
    type Cheap = fn(&mut GraphBuilder, Value, Value) -> Value;
    let forks: [(&str, Cheap); 10] = [
        ("exactly 256×256", |g, h, w| {
            let (h, w) = (equals(g, h, 256), equals(g, w, 256));
            both(g, h, w)
        }),
        ("anywhere but 256×256", |g, h, w| {
            let (h, w) = (equals(g, h, 256), equals(g, w, 256));
            let there = both(g, h, w);
            g.node("Not", &[there], &[])
        }),
        ("above 128", |g, h, _| above(g, h, 128)),
        ("up to 255", |g, h, _| {
            let above = above(g, h, 255);
            g.node("Not", &[above], &[])
        }),
        ("above 256", |g, h, _| above(g, h, 256)),
        ("squares", |g, h, w| g.node("Equal", &[h, w], &[])),
        ("landscape", |g, h, w| g.node("Less", &[h, w], &[])),
        ("portrait", |g, h, w| g.node("Greater", &[h, w], &[])),
        ("even sizes", |g, h, w| {
            let (h, w) = (multiple(g, h, 2), multiple(g, w, 2));
            both(g, h, w)
        }),
        ("multiples of 64", |g, h, w| {
            let (h, w) = (multiple(g, h, 64), multiple(g, w, 64));
            both(g, h, w)
        }),
    ];
    for (name, cheap) in forks {
        let problem = refused(models::count(&mut runner, forked(cheap)), name);
        assert_eq!(problem.code, "cost_depends_on_shape", "{name}: {problem:?}");
        assert!(problem.message.contains("256×256"), "{name}: {}", problem.message);
    }
    // Beyond every size tried unasked: the sizes of a phase are.
    let beyond = model::vet(forked(|g, h, _| above(g, h, 400))).expect("it is well-formed");
    assert!(count_model(&mut runner, &beyond, &[], &|_, _| ()).is_ok(), "nothing is that large");
    let image = Size { height: 410, width: 32, image: Some("0801".into()) };
    let found = count_model(&mut runner, &beyond, &[image], &|_, _| ()).map(|count| count.cost);
    assert_eq!(refused(found, "a phase's size").code, "cost_depends_on_shape");
}

/// Windows: the picture is padded to a multiple of 64, or of another number as 256 is not, and cut again. That is no short cut.
#[test]
fn padding_to_windows_is_no_short_cut() {
    let mut runner = models::runner();
    for (window, counted) in [(64, 256), (22, 264), (12, 264), (48, 288)] {
        let model = models::vetted(padded_to(window));
        let gates = cost::size_gates(&model);
        let pads = |gate: &SizeGate| gate.means == SizeMeans::Padding && gate.numbers == [window as f64];
        assert!(gates.len() == 2 && gates.iter().all(pads), "{window}: {gates:?}");
        // Whole windows of 22 in both directions: nothing is padded here.
        let whole = Size { height: 88, width: 132, image: None };
        for _ in 0..3 {
            let count = count_model(&mut runner, &model, std::slice::from_ref(&whole), &|_, _| ());
            let cost = count.unwrap_or_else(|e| panic!("{window}: {e:?}")).cost;
            assert_eq!((cost.params, cost.macs), (PARAMS, MACS / 256 / 256 * counted * counted), "{window}");
        }
    }
}

fn padded_to(window: i64) -> Vec<u8> {
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let window = g.integers(&[window]);
    let mut pads = Vec::new();
    let mut ends = Vec::new();
    for axis in [2, 3] {
        let size = dimension(&mut g, x, axis);
        let negative = g.node("Neg", &[size], &[]);
        pads.push(g.node("Mod", &[negative, window], &[]));
        let four = g.integers(&[4]);
        ends.push(g.mul(size, four));
    }
    let zeros = g.integers(&[0, 0, 0, 0, 0, 0]);
    let pads = g.node("Concat", &[zeros, pads[0], pads[1]], &[("axis", Attribute::Int(0))]);
    let padded = g.node("Pad", &[x, pads], &[("mode", Attribute::Text("reflect"))]);
    let y = g.conv(padded.with_channels(3), Conv::new(8, 3));
    let y = g.relu(y);
    let y = g.conv(y, Conv::new(48, 3));
    let y = g.depth_to_space(y, 4);
    let ends = g.node("Concat", &ends, &[("axis", Attribute::Int(0))]);
    let (from, axes) = (g.integers(&[0, 0]), g.integers(&[2, 3]));
    let y = g.node("Slice", &[y, from, ends, axes], &[]);
    g.build(y)
}

/// Exports with weights and activations of 16 bits, image in and out of 32: ONNX Runtime takes some of their operators apart.
#[test]
fn half_precision_counts_the_same() {
    let cast = |g: &mut GraphBuilder, x, to: DataType| g.node("Cast", &[x], &[("to", Attribute::Int(to as i64))]);
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let mut y = cast(&mut g, x, DataType::Float16);
    for (channels, read) in [(8, 3), (48, 8)] {
        let [weights, bias] = [vec![channels, read, 3, 3], vec![channels]].map(|dims| {
            let bytes = [0x00, 0x2c].repeat(dims.iter().product());
            g.stored(tensor(&dims, DataType::Float16, bytes))
        });
        y = g.node("Conv", &[y, weights, bias], &[("pads", Attribute::Ints(vec![1; 4]))]).with_channels(channels);
        y = g.leaky_relu(y, 0.1);
    }
    let y = cast(&mut g, y, DataType::Float).with_channels(48);
    let y = g.depth_to_space(y, 4);
    let cost = models::count(&mut models::runner(), g.build(y)).expect("it runs");
    assert_eq!((cost.params, cost.macs, cost.flops.kair), (PARAMS, MACS, MACS + (8 + 48) * 65536));
}

/// -1, which some tools write for the height and the width, is any size; a size of its own is none.
#[test]
fn a_size_of_minus_one_is_free() {
    let (g, y) = network(plain);
    let mut file: ModelProto = g.model(y);
    let mut sized = |n: i64| {
        let input = file.graph.as_mut().and_then(|g| g.input[0].r#type.as_mut()).and_then(|t| t.value.as_mut());
        let Some(type_proto::Value::TensorType(tensor)) = input else { panic!("a tensor") };
        for dim in &mut tensor.shape.as_mut().expect("a shape").dim[2..] {
            dim.value = Some(dimension::Value::DimValue(n));
        }
        models::vetted(file.encode_to_vec())
    };
    assert_eq!(sized(64).size, (Some(64), Some(64)));
    let free = sized(-1);
    assert_eq!(free.size, (None, None));
    let cost = count_model(&mut models::runner(), &free, &[], &|_, _| ()).expect("it runs at every size").cost;
    assert_eq!((cost.params, cost.macs), (PARAMS, MACS));
}

/// A file that two readers could read in two ways is refused; the graph that is counted is the one that runs.
#[test]
fn ambiguous_files_are_refused() {
    let (g, y) = network(plain);
    let file: ModelProto = g.model(y);
    let check = |what: &str, code: &str, spoil: &dyn Fn(&mut ModelProto)| {
        let mut spoilt = file.clone();
        spoil(&mut spoilt);
        let problems = model::vet(spoilt.encode_to_vec()).expect_err(what);
        assert!(problems.iter().any(|p| p.code == code), "{what}: {problems:?}");
    };
    let function = |kernel: i64| FunctionProto {
        domain: "local".into(),
        name: "Block".into(),
        input: vec!["x".into()],
        output: vec!["y".into()],
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        node: vec![NodeProto {
            op_type: if kernel == 1 { "Identity".into() } else { "Relu".into() },
            input: vec!["x".into()],
            output: vec!["y".into()],
            ..NodeProto::default()
        }],
        ..FunctionProto::default()
    };
    check("a function defined twice", "onnx_invalid_graph", &|m| m.functions = vec![function(1), function(3)]);
    check("an attribute given twice", "onnx_invalid_graph", &|m| {
        for node in m.graph.iter_mut().flat_map(|g| &mut g.node).filter(|n| n.op_type == "Conv") {
            let again = node.attribute[0].clone();
            node.attribute.push(again);
        }
    });
    check("a tensor stored twice", "onnx_invalid_graph", &|m| {
        if let Some(graph) = &mut m.graph {
            let again = graph.initializer[0].clone();
            graph.initializer.push(again);
        }
    });
    check("two operator sets", "onnx_version", &|m| {
        m.opset_import.push(OperatorSetIdProto { domain: "ai.onnx".into(), version: 13 });
    });
}
