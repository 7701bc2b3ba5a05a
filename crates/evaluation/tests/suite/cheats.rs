//! Networks that are cheaper where they are counted and timed than where they make images. Each class of attack that is known
//! from other benchmarks, as a file: it is refused, or what it does is listed for the organizers by node.

use upscore_evaluation::{
    Counted, Size, SizeGate, SizeMeans, cost, count_model, model,
    onnx::build::{Attribute, Conv, GraphBuilder, Interpolation, Value, tensor},
    onnx::proto::tensor_proto::DataType,
    problem::Problem,
    runner::{Fault, Runner},
};

use crate::support::{models, shared};

type Path = fn(&mut GraphBuilder, Value) -> Value;
/// A truth value of height and width.
type Asks = fn(&mut GraphBuilder, Value, Value) -> Value;

/// 1,296 multiply-adds a pixel.
fn dense(g: &mut GraphBuilder, x: Value) -> Value {
    let y = g.conv(x.with_channels(3), Conv::new(48, 3));
    g.depth_to_space(y, 4)
}

/// As many, which take another time.
fn transposed(g: &mut GraphBuilder, x: Value) -> Value {
    let y = g.conv_transpose(x.with_channels(3), Conv::new(48, 3));
    g.depth_to_space(y, 4)
}

/// A tenth of that, that nothing counts.
fn sharpened(g: &mut GraphBuilder, x: Value) -> Value {
    (0..6).fold(x, |x, _| {
        let window = [("kernel_shape", vec![3, 3]), ("pads", vec![1; 4]), ("strides", vec![1, 1])];
        let window = window.map(|(name, ints)| (name, Attribute::Ints(ints)));
        let soft = g.node("AveragePool", &[x], &window);
        g.node("Sub", &[x, soft], &[])
    })
}

/// As many, in half precision.
fn half(g: &mut GraphBuilder, x: Value) -> Value {
    let cast = |g: &mut GraphBuilder, x, to: DataType| g.node("Cast", &[x], &[("to", Attribute::Int(to as i64))]);
    let x = cast(g, x, DataType::Float16);
    let weights = g.stored(tensor(&[48, 3, 3, 3], DataType::Float16, [0x00, 0x2c].repeat(1296)));
    let y = g.node("Conv", &[x, weights], &[("pads", Attribute::Ints(vec![1; 4]))]);
    let y = cast(g, y, DataType::Float).with_channels(48);
    g.depth_to_space(y, 4)
}

/// No arithmetic at all.
fn turned(g: &mut GraphBuilder, x: Value) -> Value {
    let perm = [("perm", Attribute::Ints(vec![0, 1, 3, 2]))];
    (0..24).fold(x, |x, _| g.node("Transpose", &[x], &perm))
}

fn same(_: &mut GraphBuilder, x: Value) -> Value {
    x
}

fn dimension(g: &mut GraphBuilder, x: Value, axis: i64) -> Value {
    let shape = g.node("Shape", &[x], &[]);
    let (from, to, axes) = (g.integers(&[axis]), g.integers(&[axis + 1]), g.integers(&[0]));
    g.node("Slice", &[shape, from, to, axes], &[])
}

fn integer(g: &mut GraphBuilder, x: Value) -> Value {
    g.node("Cast", &[x], &[("to", Attribute::Int(DataType::Int64 as i64))])
}

fn with(g: &mut GraphBuilder, op: &str, x: Value, number: i64) -> Value {
    let number = g.integers(&[number]);
    g.node(op, &[x, number], &[])
}

/// All rows but one go through `cheap` where `asks` says 1, and all but one through `dear` where it says 0.
fn routed(asks: Asks, cheap: Path, dear: Path) -> Vec<u8> {
    routed_before(asks, cheap, dear, same)
}

/// … and then all of it through `after`.
fn routed_before(asks: Asks, cheap: Path, dear: Path, after: Path) -> Vec<u8> {
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let (height, width) = (dimension(&mut g, x, 2), dimension(&mut g, x, 3));
    let holds = asks(&mut g, height, width);
    let most = with(&mut g, "Sub", height, 2);
    let rows = g.mul(holds, most);
    let rows = with(&mut g, "Add", rows, 1);
    let (from, end, axis) = (g.integers(&[0]), g.integers(&[i64::from(i32::MAX)]), g.integers(&[2]));
    let top = g.node("Slice", &[x, from, rows, axis], &[]);
    let rest = g.node("Slice", &[x, rows, end, axis], &[]);
    let (top, rest) = (cheap(&mut g, top), dear(&mut g, rest));
    let y = g.node("Concat", &[top, rest], &[("axis", Attribute::Int(2))]);
    let y = after(&mut g, y);
    g.build(y)
}

fn compared(g: &mut GraphBuilder, op: &str, a: Value, b: Value) -> Value {
    let holds = g.node(op, &[a, b], &[]);
    integer(g, holds)
}

/// Each way to ask for the counted size, or for a kind of sizes that it is of; and the operator that is listed.
const ASKED: [(&str, &str, Asks); 19] = [
    ("exactly 256 high", "Equal", |g, h, _| {
        let equal = with(g, "Equal", h, 256);
        integer(g, equal)
    }),
    ("exactly 256×256", "And", |g, h, w| {
        let sides = [h, w].map(|side| with(g, "Equal", side, 256));
        compared(g, "And", sides[0], sides[1])
    }),
    ("above 200", "Greater", |g, h, _| {
        let above = with(g, "Greater", h, 200);
        integer(g, above)
    }),
    ("up to 256 and above 240, by bounds", "Clip", |g, h, _| {
        let [low, high] = [240, 241].map(|n| g.stored(tensor(&[], DataType::Int64, i64::to_le_bytes(n).to_vec())));
        let h = g.node("Clip", &[h, low, high], &[]);
        with(g, "Sub", h, 240)
    }),
    ("even", "Mod", |g, h, _| {
        let odd = with(g, "Mod", h, 2);
        let one = g.integers(&[1]);
        g.node("Sub", &[one, odd], &[])
    }),
    ("a multiple of 64", "Equal", |g, h, _| {
        let rest = with(g, "Mod", h, 64);
        let whole = with(g, "Equal", rest, 0);
        integer(g, whole)
    }),
    ("square", "Equal", |g, h, w| compared(g, "Equal", h, w)),
    ("not portrait", "LessOrEqual", |g, h, w| compared(g, "LessOrEqual", h, w)),
    ("by the area, a remainder", "Mod", |g, h, w| {
        let area = g.mul(h, w);
        let rest = with(g, "Mod", area, 7);
        let equal = with(g, "Equal", rest, 65536 % 7);
        integer(g, equal)
    }),
    ("a tile and no whole image, by area", "GreaterOrEqual", |g, h, w| {
        let area = g.mul(h, w);
        let large = with(g, "GreaterOrEqual", area, 60_000);
        integer(g, large)
    }),
    ("the larger of two", "Max", |g, h, _| {
        let least = g.integers(&[255]);
        let most = g.node("Max", &[h, least], &[]);
        let over = with(g, "Sub", most, 255);
        let one = g.integers(&[1]);
        g.node("Min", &[over, one], &[])
    }),
    ("whole times, rounded down", "Div", |g, h, _| {
        let (one, whole) = (g.integers(&[1]), with(g, "Div", h, 250));
        g.node("Min", &[whole, one], &[])
    }),
    ("a number by it, rounded down", "Div", |g, h, _| {
        let number = g.integers(&[256]);
        let whole = g.node("Div", &[number, h], &[]);
        let one = g.integers(&[1]);
        g.node("Min", &[whole, one], &[])
    }),
    ("by its sign", "Sign", |g, h, _| {
        let over = with(g, "Sub", h, 255);
        let sign = g.node("Sign", &[over], &[]);
        let none = g.integers(&[0]);
        g.node("Max", &[sign, none], &[])
    }),
    ("by a table of sizes", "Gather", |g, h, _| {
        let mut table = vec![0u8; 8 * 1024];
        table[8 * 256] = 1;
        let table = g.stored(tensor(&[1024], DataType::Int64, table));
        g.node("Gather", &[table, h], &[])
    }),
    ("by a narrow type that wraps round", "Cast", |g, h, _| {
        let narrow = g.node("Cast", &[h], &[("to", Attribute::Int(DataType::Uint8 as i64))]);
        let narrow = integer(g, narrow);
        let zero = with(g, "Equal", narrow, 0);
        integer(g, zero)
    }),
    ("by a truth value of a difference", "Cast", |g, h, _| {
        let other = with(g, "Sub", h, 256);
        let differs = g.node("Cast", &[other], &[("to", Attribute::Int(DataType::Bool as i64))]);
        let same = g.node("Not", &[differs], &[]);
        integer(g, same)
    }),
    ("by a choice", "Where", |g, h, _| {
        let equal = with(g, "Equal", h, 256);
        let (one, none) = (g.integers(&[1]), g.integers(&[0]));
        g.node("Where", &[equal, one, none], &[])
    }),
    ("by the place of the largest", "ArgMax", |g, h, _| {
        let other = g.integers(&[255]);
        let both = g.node("Concat", &[other, h], &[("axis", Attribute::Int(0))]);
        g.node("ArgMax", &[both], &[("axis", Attribute::Int(0))])
    }),
];

fn counted(runner: &mut Runner, file: Vec<u8>, used: &[Size], what: &str) -> Result<Counted, Problem> {
    match count_model(runner, &models::vetted(file), used, &|_, _| ()) {
        Ok(counted) => Ok(counted),
        Err(Fault::Model(problem)) => Err(problem),
        Err(Fault::Ours(error)) => panic!("{what}: our fault: {error:#}"),
    }
}

fn forks(file: Vec<u8>) -> Vec<SizeGate> {
    let gates = cost::size_gates(&models::vetted(file));
    gates.into_iter().filter(|gate| gate.means == SizeMeans::Fork).collect()
}

/// Both ways cost the same in the count: only which nodes do the work tells.
#[test]
fn a_way_round_of_the_same_cost_is_refused_however_it_asks_for_the_size() {
    let mut runner = models::runner();
    for (what, op, asks) in ASKED {
        let file = routed(asks, dense, transposed);
        let problem = counted(&mut runner, file.clone(), &[], what).expect_err(what);
        assert_eq!(problem.code, "cost_depends_on_shape", "{what}: {problem:?}");
        let names = problem.message.contains("256×256") && problem.place.is_some();
        assert!(names && problem.message.contains("ConvTranspose"), "{what}: {problem:?}");
        let listed = forks(file);
        let decides = |gate: &SizeGate| gate.decides.iter().any(|node| node.contains("Slice"));
        assert!(listed.iter().any(|gate| gate.op == op && decides(gate)), "{what}: {listed:?}");
    }
}

#[test]
fn whatever_is_done_at_other_sizes_only_is_found() {
    let mut runner = models::runner();
    let exactly = ASKED[0].2;
    let dear = [
        ("arithmetic that nothing counts", "AveragePool", routed_before(exactly, same, sharpened, dense)),
        ("moving the picture about", "Transpose", routed_before(exactly, same, turned, dense)),
        ("the same convolution with other weights", "Conv", routed(exactly, dense, dense)),
        ("low precision at the timed size", "Conv", routed(exactly, half, dense)),
    ];
    for (what, op, file) in dear {
        let problem = counted(&mut runner, file, &[], what).expect_err(what);
        assert_eq!(problem.code, "cost_depends_on_shape", "{what}: {problem:?}");
        assert!(problem.message.contains("other nodes do the work"), "{what}: {problem:?}");
        assert!(problem.message.contains(&format!(" in {op} ")), "{what}: {problem:?}");
    }
    // At every size alike there is nothing to say.
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let y = sharpened(&mut g, x);
    let y = turned(&mut g, y);
    let y = dense(&mut g, y);
    assert!(counted(&mut runner, g.build(y), &[], "alike").is_ok());
}

/// The case as it was found, byte by byte.
#[test]
fn the_known_gate_is_refused_with_both_ways_named() {
    let Some(cheats) = shared("cases/cheats") else { return };
    let mut runner = models::runner();
    let file = |name: &str| std::fs::read(cheats.join(name)).expect(name);
    let problem = counted(&mut runner, file("shape_gate_slice_256.onnx"), &[], "gate").expect_err("gate");
    assert_eq!(problem.code, "cost_depends_on_shape", "{problem:?}");
    assert!(problem.message.contains("Conv f") && problem.message.contains("256×256"), "{problem:?}");
    let gates = forks(file("shape_gate_slice_256.onnx"));
    let equal = gates.iter().find(|gate| gate.op == "Equal").unwrap_or_else(|| panic!("{gates:?}"));
    assert_eq!((equal.node.as_str(), &equal.numbers), ("eq", &vec![256.0, 256.0]));
    assert_eq!(equal.decides, ["xf (Slice)", "xg (Slice)"]);
    let problem = counted(&mut runner, file("honest_uncounted.onnx"), &[], "plain").expect_err("uncounted");
    assert_eq!(problem.code, "cost_uncounted", "{problem:?}");
}

/// What no size that is tried shows is listed, and a phase's size refuses it.
#[test]
fn a_gate_beyond_every_size_that_is_tried_is_listed() {
    let mut runner = models::runner();
    let file = routed(
        |g, h, _| {
            let small = with(g, "Less", h, 400);
            integer(g, small)
        },
        dense,
        transposed,
    );
    let found = counted(&mut runner, file.clone(), &[], "small").expect("nothing is that large");
    let less = found.gates.iter().find(|gate| gate.op == "Less").unwrap_or_else(|| panic!("{:?}", found.gates));
    assert!(less.means == SizeMeans::Fork && less.numbers == [400.0] && less.decides.len() == 2, "{less:?}");
    assert!(found.sizes.len() > 6 && found.sizes[0] == [256, 256], "{:?}", found.sizes);
    let image = Size { height: 410, width: 32, image: Some("0801".into()) };
    let problem = counted(&mut runner, file, &[image], "a phase").expect_err("a phase's size");
    assert!(problem.code == "cost_depends_on_shape" && problem.message.contains("410×32"), "{problem:?}");
    // The batch is always one: nothing to gain, but listed.
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let batch = dimension(&mut g, x, 0);
    let one = with(&mut g, "Equal", batch, 1);
    let one = integer(&mut g, one);
    let height = dimension(&mut g, x, 2);
    let rows = g.mul(one, height);
    let (from, axis) = (g.integers(&[0]), g.integers(&[2]));
    let cut = g.node("Slice", &[x, from, rows, axis], &[]);
    let y = dense(&mut g, cut);
    assert!(forks(g.build(y)).iter().any(|gate| gate.op == "Equal"), "a gate by the batch");
}

/// Ways other than a slice to give little of the picture to the dear way.
#[test]
fn gates_through_resizing_padding_and_broadcasting_are_found() {
    let mut runner = models::runner();
    type Cut = fn(&mut GraphBuilder, Value, Value) -> Value;
    let cuts: [(&str, &str, Cut); 4] = [
        ("a resize", "Resize", |g, x, rows| {
            let (outer, width) = (g.integers(&[1, 3]), dimension(g, x, 3));
            let sizes = g.node("Concat", &[outer, rows, width], &[("axis", Attribute::Int(0))]);
            let nearest = [("mode", Attribute::Text("nearest"))];
            g.node("Resize", &[x, Value::NONE, Value::NONE, sizes], &nearest)
        }),
        ("a pad that cuts", "Pad", |g, x, rows| {
            let height = dimension(g, x, 2);
            let less = g.node("Sub", &[rows, height], &[]);
            let (before, after) = (g.integers(&[0; 6]), g.integers(&[0]));
            let pads = g.node("Concat", &[before, less, after], &[("axis", Attribute::Int(0))]);
            g.node("Pad", &[x, pads], &[])
        }),
        ("rows that are looked up", "Gather", |g, x, rows| {
            let [none, one] = [0i64, 1].map(|n| g.stored(tensor(&[], DataType::Int64, n.to_le_bytes().to_vec())));
            let axis = g.integers(&[0]);
            let rows = g.node("Squeeze", &[rows, axis], &[]);
            let rows = g.node("Range", &[none, rows, one], &[]);
            g.node("Gather", &[x, rows], &[("axis", Attribute::Int(2))])
        }),
        ("a split", "Split", |g, x, rows| {
            let height = dimension(g, x, 2);
            let rest = g.node("Sub", &[height, rows], &[]);
            let parts = g.node("Concat", &[rows, rest], &[("axis", Attribute::Int(0))]);
            g.node_with("Split", &[x, parts], &[("axis", Attribute::Int(2))], 2)[0]
        }),
    ];
    for (what, op, cut) in cuts {
        let mut g = GraphBuilder::new(5);
        let x = g.input();
        let height = dimension(&mut g, x, 2);
        let holds = with(&mut g, "Equal", height, 256);
        let holds = integer(&mut g, holds);
        let most = with(&mut g, "Sub", height, 9);
        let less = g.mul(holds, most);
        let rows = g.node("Sub", &[height, less], &[]);
        let one = with(&mut g, "Sub", rows, 1);
        let part = cut(&mut g, x, one);
        let y = transposed(&mut g, part);
        let four = g.resize(x, 4.0, Interpolation::Nearest);
        let y = g.resize_like(y, four, Interpolation::Nearest);
        let base = dense(&mut g, x);
        let y = g.add(base, y);
        let file = g.build(y);
        let problem = counted(&mut runner, file.clone(), &[], what).expect_err(what);
        assert_eq!(problem.code, "cost_depends_on_shape", "{what}: {problem:?}");
        let gates = forks(file);
        let equal = gates.iter().find(|gate| gate.op == "Equal").unwrap_or_else(|| panic!("{what}: {gates:?}"));
        assert!(equal.decides.iter().any(|node| node.contains(op) || node.contains("Range")), "{what}: {equal:?}");
    }
}

/// How much is done must not depend on what is in the picture: a bright pixel, its mean, its largest.
#[test]
fn gates_by_what_the_picture_shows_are_refused() {
    type Sized = fn(&mut GraphBuilder, Value, Value) -> Value;
    let users: [(&str, Sized); 6] = [
        ("Slice", |g, x, n| {
            let (from, axis) = (g.integers(&[0]), g.integers(&[2]));
            g.node("Slice", &[x, from, n, axis], &[])
        }),
        ("TopK", |g, x, n| g.node_with("TopK", &[x, n], &[("axis", Attribute::Int(2))], 2)[0]),
        ("Tile", |g, x, n| {
            let three = g.integers(&[1, 1, 1]);
            let times = g.node("Concat", &[three, n], &[("axis", Attribute::Int(0))]);
            g.node("Tile", &[x, times], &[])
        }),
        ("Pad", |g, x, n| {
            let seven = g.integers(&[0; 7]);
            let pads = g.node("Concat", &[seven, n], &[("axis", Attribute::Int(0))]);
            g.node("Pad", &[x, pads], &[])
        }),
        ("Expand", |g, x, n| {
            let three = g.integers(&[1, 1, 1]);
            let to = g.node("Concat", &[three, n], &[("axis", Attribute::Int(0))]);
            g.node("Expand", &[x, to], &[])
        }),
        ("ConstantOfShape", |g, x, n| {
            let none = g.node("ConstantOfShape", &[n], &[]);
            g.add(x, none)
        }),
    ];
    for (op, sized) in users {
        for shows in ["ReduceMax", "ReduceMean"] {
            let mut g = GraphBuilder::new(5);
            let x = g.input();
            let found = g.node(shows, &[x], &[("keepdims", Attribute::Int(0))]);
            let bright = g.scalar(0.99);
            let holds = g.node("Greater", &[found, bright], &[]);
            let n = integer(&mut g, holds);
            let axis = g.integers(&[0]);
            let n = g.node("Unsqueeze", &[n, axis], &[]);
            let y = sized(&mut g, x, n);
            let y = dense(&mut g, y);
            let problems = model::vet(g.build(y)).expect_err(op);
            assert_eq!(problems[0].code, "cost_depends_on_pixels", "{op}: {problems:?}");
            assert!(problems[0].place.as_deref().is_some_and(|place| place.contains(op)), "{op}: {problems:?}");
        }
    }
}

/// What is computed of stored numbers alone is folded before any pass is timed: it is counted nevertheless. And padding that no
/// window explains is no padding.
#[test]
fn work_does_not_hide_in_constants_or_padding() {
    let mut runner = models::runner();
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let stored = g.seeded(&[1, 3, 64, 64], 1, 1.0).with_channels(3);
    let folded = dense(&mut g, stored);
    let like = g.resize(x, 4.0, Interpolation::Nearest);
    let folded = g.resize_like(folded, like, Interpolation::Nearest);
    let y = dense(&mut g, x);
    let y = g.add(y, folded);
    let problem = counted(&mut runner, g.build(y), &[], "folded").expect_err("folded");
    assert_eq!(problem.code, "cost_depends_on_shape", "{problem:?}");

    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let (height, width) = (dimension(&mut g, x, 2), dimension(&mut g, x, 3));
    let negative = g.node("Neg", &[height], &[]);
    let more = with(&mut g, "Mod", negative, 256);
    let (before, after) = (g.integers(&[0; 6]), g.integers(&[0]));
    let pads = g.node("Concat", &[before, more, after], &[("axis", Attribute::Int(0))]);
    let padded = g.node("Pad", &[x, pads], &[]);
    let y = dense(&mut g, padded);
    let ends = [height, width].map(|side| with(&mut g, "Mul", side, 4));
    let ends = g.node("Concat", &ends, &[("axis", Attribute::Int(0))]);
    let (from, axes) = (g.integers(&[0, 0]), g.integers(&[2, 3]));
    let y = g.node("Slice", &[y, from, ends, axes], &[]);
    let file = g.build(y);
    let problem = counted(&mut runner, file.clone(), &[], "padded").expect_err("padded");
    assert_eq!(problem.code, "cost_depends_on_shape", "{problem:?}");
    assert!(forks(file).iter().any(|gate| gate.op == "Mod"), "no window is as large");
}

/// What is listed takes no time that grows with the square of a graph: 18,000 bounds one behind the other.
#[test]
fn a_long_chain_of_gates_is_listed_at_once() {
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let mut size = dimension(&mut g, x, 2);
    for _ in 0..18_000 {
        size = g.node("Max", &[size, size], &[]);
    }
    let (from, axis) = (g.integers(&[0]), g.integers(&[2]));
    let y = g.node("Slice", &[x, from, size, axis], &[]);
    let y = dense(&mut g, y);
    let model = models::vetted(g.build(y));
    let start = std::time::Instant::now();
    let gates = cost::size_gates(&model);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert!(gates.len() == 64 && gates.iter().all(|gate| gate.means == SizeMeans::Fork), "{}", gates.len());
}

/// Published networks, as two exporters write them: they count, and nothing of them speaks against their authors.
#[test]
fn published_networks_do_the_same_work_at_every_size() {
    let Some(real) = shared("real") else { return };
    let mut files = Vec::new();
    for folder in ["models", "exporters"] {
        for entry in std::fs::read_dir(real.join(folder)).expect("a folder") {
            files.push(entry.expect("an entry").path());
        }
    }
    files.push(real.join("models_new_exporter/rlfn_ntire_x4.onnx"));
    files.extend(
        ["13_rlfn_opset9.onnx", "22_int8_dynamic.onnx", "24_ort_extended.onnx"]
            .map(|n| real.join("models_odd").join(n)),
    );
    let mut runner = models::runner();
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "onnx")) {
        let name = path.display();
        // Those that an exporter froze are refused before anything is counted, or do not run.
        let Ok(model) = model::load_entry(&path, true) else { continue };
        match count_model(&mut runner, &model, &[], &|_, _| ()) {
            Ok(counted) if counted.gates.iter().all(|gate| gate.means != SizeMeans::Fork) => seen += 1,
            Ok(counted) => wrong.push(format!("{name}: {:?}", counted.gates)),
            Err(Fault::Model(problem)) if !problem.code.starts_with("cost_") => {}
            Err(fault) => wrong.push(format!("{name}: {fault:?}")),
        }
    }
    assert!(wrong.is_empty() && seen >= 22, "{seen} networks; {}", wrong.join("\n"));
}
