//! Models whose input, output or element types are not what a challenge takes: told by the file alone, before any runtime.

use prost::Message;
use upscore_evaluation::{
    Size, count_model, model,
    onnx::{
        build::{Attribute, Conv, GraphBuilder, Interpolation, Value, tensor},
        proto::{ModelProto, TypeProto, tensor_proto::DataType, tensor_shape_proto::Dimension, type_proto},
    },
    problem::Problem,
    runner::Fault,
};

use crate::support::{files::tiny_model, models, shared};

fn vet(model: &ModelProto) -> Vec<Problem> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), model.encode_to_vec()).expect("written");
    model::load_entry(file.path(), false).err().unwrap_or_default()
}

/// The tiny model with another declaration of its input (`true`) or output.
fn declared(input: bool, kind: i32, dims: &[i64]) -> ModelProto {
    let mut model = ModelProto::decode(tiny_model().as_slice()).expect("a model");
    let graph = model.graph.as_mut().expect("a graph");
    let value = if input { &mut graph.input[0] } else { &mut graph.output[0] };
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_mut().and_then(|t| t.value.as_mut()) else {
        panic!("a tensor")
    };
    tensor.elem_type = kind;
    let dim = |&n: &i64| match n {
        0 => Dimension::default(),
        n => Dimension {
            value: Some(upscore_evaluation::onnx::proto::tensor_shape_proto::dimension::Value::DimValue(n)),
            ..Dimension::default()
        },
    };
    tensor.shape.as_mut().expect("a shape").dim = dims.iter().map(dim).collect();
    model
}

/// Every input and output that is none, by its words; 0 is any size.
#[test]
fn inputs_and_outputs_are_judged_by_the_file() {
    let cases: [(bool, i32, &[i64], &str, &str); 15] = [
        (true, 1, &[1, 0, 0, 3], "onnx_bad_io", "the input has its channels last, [1, ?, ?, 3]"),
        (true, 1, &[0, 0, 0, 3], "onnx_bad_io", "tf2onnx does with --inputs-as-nchw"),
        (true, 1, &[1, 1, 0, 0], "onnx_bad_io", "the input has 1 channels, [1, 1, ?, ?]; expected are 3"),
        (true, 1, &[4, 3, 0, 0], "onnx_bad_io", "fixed at 4 images at once"),
        (true, 1, &[3, 0, 0], "onnx_bad_io", "the input is float32 [3, ?, ?]"),
        (true, 1, &[1, 3, 0, 64], "onnx_fixed_shape", "the input is fixed at a width of 64"),
        (true, 1, &[1, 3, 48, 0], "onnx_fixed_shape", "the input is fixed at a height of 48"),
        (true, 1, &[1, 3, 64, 48], "onnx_fixed_shape", "the input is fixed at 64×48"),
        (true, 2, &[1, 0, 0, 3], "onnx_bad_io", "the input is uint8 [1, ?, ?, 3], expected is float32"),
        (true, 7, &[1, 3, 0, 0], "onnx_bad_io", "the input is int64 [1, 3, ?, ?]"),
        (true, 10, &[1, 3, 0, 0], "onnx_bad_io", "keep_io_types=True"),
        (true, 11, &[1, 3, 0, 0], "onnx_bad_io", "the input is double"),
        (true, 16, &[1, 3, 0, 0], "onnx_bad_io", "the input is bfloat16"),
        (false, 1, &[1, 0, 0, 3], "onnx_bad_io", "the output has its channels last"),
        (false, 10, &[1, 3, 0, 0], "onnx_bad_io", "the output is float16"),
    ];
    for (input, kind, dims, code, words) in cases {
        let problems = vet(&declared(input, kind, dims));
        let [problem] = problems.as_slice() else { panic!("{words}: {problems:?}") };
        let told = format!("{problem} {}", problem.hint.as_deref().unwrap_or_default());
        assert!(problem.code == code && told.contains(words), "{told}, not {words}");
    }
    for dims in [&[0, 0, 0, 0][..], &[0, 3, 0, 0], &[1, 3, -1, -1]] {
        assert_eq!(vet(&declared(true, 1, dims)), [], "{dims:?}");
    }
    let mut untyped = declared(true, 1, &[1, 3, 0, 0]);
    untyped.graph.as_mut().expect("a graph").input[0].r#type = Some(TypeProto::default());
    assert_eq!(vet(&untyped)[0].message, "the input is declared without a type, expected is float32");
    let sequence =
        TypeProto { value: Some(type_proto::Value::SequenceType(Default::default())), ..TypeProto::default() };
    untyped.graph.as_mut().expect("a graph").input[0].r#type = Some(sequence);
    assert_eq!(vet(&untyped)[0].message, "the input is a sequence, expected is float32");
}

/// With every dimension free the first convolution tells.
#[test]
fn the_first_convolution_tells_what_the_input_is() {
    let free = |g: GraphBuilder, y: Value| {
        let mut model = g.model(y);
        let graph = model.graph.as_mut().expect("a graph");
        for value in [&mut graph.input[0], &mut graph.output[0]] {
            let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_mut().and_then(|t| t.value.as_mut())
            else {
                panic!("a tensor")
            };
            tensor.shape.as_mut().expect("a shape").dim = vec![Dimension::default(); 4];
        }
        vet(&model)
    };
    let network = |prepare: &dyn Fn(&mut GraphBuilder, Value) -> Value| {
        let mut g = GraphBuilder::new(1);
        let x = g.input();
        let x = prepare(&mut g, x);
        let y = g.conv(x, Conv::new(48, 3));
        let y = g.depth_to_space(y, 4);
        free(g, y)
    };
    let transposed = |g: &mut GraphBuilder, x, perm: [i64; 4]| {
        g.node("Transpose", &[x], &[("perm", Attribute::Ints(perm.to_vec()))]).with_channels(3)
    };
    let last = network(&|g, x| transposed(g, x, [0, 3, 1, 2]));
    assert_eq!((last[0].code.as_ref(), last.len()), ("onnx_bad_io", 1), "{last:?}");
    assert!(last[0].message.contains("last axis for its channels"), "{last:?}");
    let one = network(&|_, x| x.with_channels(1));
    assert_eq!(one[0].message, "the first convolution reads 1 channels, the picture has 3");
    assert_eq!(network(&|_, x| x), []);
    let there_and_back = network(&|g, x| {
        let x = transposed(g, x, [0, 2, 3, 1]);
        transposed(g, x, [0, 3, 1, 2])
    });
    assert_eq!(there_and_back, []);
}

fn cast(g: &mut GraphBuilder, x: Value, to: DataType) -> Value {
    g.node("Cast", &[x], &[("to", Attribute::Int(to as i64))]).with_channels(x.channels)
}

#[test]
fn accidents_of_converters_are_told_as_that() {
    let told = |build: &dyn Fn(&mut GraphBuilder, Value) -> Value| {
        let mut g = GraphBuilder::new(1);
        let x = g.input();
        let y = build(&mut g, x);
        vet(&g.model(y))
            .into_iter()
            .next()
            .map(|p| format!("{p} {}", p.hint.clone().unwrap_or_default()))
            .unwrap_or_default()
    };
    let half = [0x00, 0x3c];
    let scales = told(&|g, x| {
        let x = cast(g, x, DataType::Float16);
        let scales = g.stored(tensor(&[4], DataType::Float16, half.repeat(4)));
        let y = g.node("Resize", &[x, Value::NONE, scales], &[("mode", Attribute::Text("nearest"))]);
        cast(g, y, DataType::Float)
    });
    assert!(scales.contains("scales of this Resize are float16") && scales.contains("half precision"), "{scales}");
    let mixed = told(&|g, x| {
        let y = cast(g, x, DataType::Float16);
        let y = g.add(x, y);
        g.resize(y, 4.0, Interpolation::Nearest)
    });
    assert!(mixed.contains("this Add gets float32 and float16") && mixed.contains("op_block_list"), "{mixed}");
    let brain = told(&|g, x| {
        let y = cast(g, x, DataType::Bfloat16);
        let weights = g.stored(tensor(&[48, 3, 1, 1], DataType::Bfloat16, vec![0; 288]));
        let y = g.node("Conv", &[y, weights], &[]).with_channels(48);
        let y = cast(g, y, DataType::Float);
        g.depth_to_space(y, 4)
    });
    assert!(brain.contains("this Conv computes in bfloat16"), "{brain}");
    let output = told(&|g, x| {
        let y = g.resize(x, 4.0, Interpolation::Nearest);
        cast(g, y, DataType::Float16)
    });
    assert!(output.contains("declared float32, and the graph gives float16"), "{output}");
}

/// Dropout takes part in training where its input says so, not where it has one.
#[test]
fn a_dropout_that_is_off_is_none() {
    let network = |on: Option<u8>| {
        let mut g = GraphBuilder::new(1);
        let x = g.input();
        let y = g.conv(x, Conv::new(48, 3));
        let ratio = g.scalar(0.5);
        let mode = match on {
            Some(on) => g.stored(tensor(&[], DataType::Bool, vec![on])),
            None => {
                let shape = g.node("Shape", &[x], &[]);
                g.node("Cast", &[shape], &[("to", Attribute::Int(DataType::Bool as i64))])
            }
        };
        let y = g.node("Dropout", &[y, ratio, mode], &[]).with_channels(48);
        let y = g.depth_to_space(y, 4);
        g.model(y)
    };
    assert_eq!(vet(&network(Some(0))), []);
    let cost = models::count(&mut models::runner(), network(Some(0)).encode_to_vec()).expect("it runs");
    assert_eq!((cost.params, cost.macs), (48 * 28, 48 * 27 * 65536));
    for on in [Some(1), None] {
        let problems = vet(&network(on));
        assert_eq!(problems[0].message, "the operator Dropout in training mode is not allowed (used 1×)");
    }
}

/// A network that was exported at one size without saying so.
#[test]
fn a_frozen_size_is_told_where_it_is() {
    let network = |sizes: [i64; 4]| {
        let mut g = GraphBuilder::new(1);
        let x = g.input();
        let y = g.conv(x, Conv::new(48, 3));
        let one = g.node("ReduceMean", &[y], &[("axes", Attribute::Ints(vec![2, 3]))]);
        let sizes = g.integers(&sizes);
        let wide = g.node("Expand", &[one, sizes], &[]);
        let y = g.add(y, wide).with_channels(48);
        let y = g.depth_to_space(y, 4);
        models::vetted(g.build(y))
    };
    let problem = |model, used: &[Size]| match count_model(&mut models::runner(), &model, used, &|_, _| ()) {
        Err(Fault::Model(problem)) => problem,
        other => panic!("{other:?}"),
    };
    let frozen = problem(network([1, 48, 64, 64]), &[]);
    assert_eq!(frozen.code, "onnx_fixed_shape");
    assert_eq!(frozen.message, "the exporter froze a size at this Add: the model runs at 64×64 and not at 256×256");
    assert!(frozen.place.is_some_and(|place| place.contains("Add")), "the node is named");
    // Frozen at the counted size: the phase's images tell.
    let image = Size { height: 40, width: 56, image: Some("0901".into()) };
    let frozen = problem(network([1, 48, 256, 256]), &[image]);
    assert!(frozen.message.ends_with("the model runs at 256×256 and not at 40×56"), "{frozen}");
    let Some(folder) = shared("real/exporters") else { return };
    let real = model::load_entry(&folder.join("plainusr_ultra_x4__ts.onnx"), false).expect("it declares free sizes");
    let frozen = problem(real, &[]);
    assert!(frozen.code == "onnx_fixed_shape" && frozen.message.contains("froze a size at this Expand"), "{frozen}");
    assert_eq!(frozen.place.as_deref(), Some("/block1/body/body.0/Expand_1"));
}

/// A norm over channels written by hand, some channels through a convolution, the others as they are, and the sum with what went
/// in: nothing was moved, so nothing of it is a filter.
#[test]
fn a_slice_along_channels_moves_nothing() {
    const CHANNELS: usize = 36;
    const BLOCKS: u64 = 7;
    let network = |split: bool| {
        let mut g = GraphBuilder::new(1);
        let x = g.input();
        let mut y = g.conv(x, Conv::new(CHANNELS, 3));
        for _ in 0..BLOCKS {
            let axes = || [("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(1))];
            let mean = g.node("ReduceMean", &[y], &axes());
            let centred = g.node("Sub", &[y, mean], &[]);
            let two = g.scalar(2.0);
            let square = g.node("Pow", &[centred, two], &[]);
            let variance = g.node("ReduceMean", &[square], &axes());
            let epsilon = g.scalar(1e-6);
            let shifted = g.add(variance, epsilon);
            let deviation = g.node("Sqrt", &[shifted], &[]);
            // PyTorch's exporter writes the difference once for each use.
            let mean = g.node("ReduceMean", &[y], &axes());
            let centred = g.node("Sub", &[y, mean], &[]);
            let norm = g.node("Div", &[centred, deviation], &[]);
            let [scale, shift] = [1.5, 0.5].map(|v| g.weights(&[CHANNELS, 1, 1], &[v; CHANNELS]));
            let norm = g.mul(norm, scale);
            let norm = g.add(norm, shift);
            let parts = match split {
                true => g.split(norm, &[9, 27]),
                false => {
                    let part = |g: &mut GraphBuilder, from: i64, to: i64| {
                        let [from, to, axis] = [from, to, 1].map(|n| g.integers(&[n]));
                        g.node("Slice", &[norm, from, to, axis], &[])
                    };
                    vec![part(&mut g, 0, 9), part(&mut g, 9, 36)]
                }
            };
            let first = g.conv(parts[0].with_channels(9), Conv::new(9, 3));
            let joined = g.concat(&[first, parts[1].with_channels(27)]);
            y = g.add(y, joined).with_channels(CHANNELS);
        }
        let y = g.conv(y, Conv::new(48, 3));
        let y = g.depth_to_space(y, 4);
        g.build(y)
    };
    let (inner, ends) = (BLOCKS * 9 * 9 * 9, (36 * 27 + 48 * 36 * 9) as u64);
    let params = inner + BLOCKS * (9 + 2 * 36) + ends + 36 + 48;
    let mut runner = models::runner();
    for split in [true, false] {
        let cost = models::count(&mut runner, network(split)).expect("it runs");
        assert_eq!((cost.params, cost.macs), (params, (inner + ends) * 65536), "split: {split}");
    }
    // The same slices added up with weights of their own are a convolution all the same.
    let mixed = models::around(|g, x| {
        let y = models::eight(g, x);
        let parts = g.split(y, &[4, 4]);
        let [a, b] = [0.5, 0.25].map(|v| g.weights(&[4, 1, 1], &[v; 4]));
        let (first, second) = (g.mul(parts[0], a), g.mul(parts[1], b));
        g.add(first, second)
    });
    let cost = models::count_at(&mut runner, mixed, (16, 16)).expect("it runs");
    assert_eq!(cost.macs, 2 * 4 * 256);
}
