//! What goes in and what comes out: one float32 image each, channels first, of any height and width. Judged by the file alone, so
//! that nobody has to read what a runtime says of it.

use std::collections::{HashMap, HashSet};

use super::Place;
use crate::{
    onnx::proto::{
        GraphProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, tensor_proto::DataType,
        tensor_shape_proto::dimension, type_proto,
    },
    problem::{Problem, printable},
};

/// The graph's inputs that are fed: old exporters list the initializers as inputs too.
pub fn fed_inputs(graph: &GraphProto) -> Vec<&ValueInfoProto> {
    let stored: HashSet<&str> = graph
        .initializer
        .iter()
        .map(|t| t.name.as_str())
        .chain(graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref()).map(|v| v.name.as_str()))
        .collect();
    graph.input.iter().filter(|i| !stored.contains(i.name.as_str())).collect()
}

/// Names of the image input and output of a vetted graph.
pub fn io_names(graph: &GraphProto) -> (String, String) {
    let name = |v: Option<&ValueInfoProto>| v.map(|v| v.name.clone()).unwrap_or_default();
    (name(fed_inputs(graph).first().copied()), name(graph.output.first()))
}

fn bad(message: String) -> Problem {
    Problem::new("onnx_bad_io", message).hint(
        "Expected is one input, float32 [N, 3, H, W] with free H and W, and one output, float32 [N, 3, s·H, s·W].",
    )
}

fn channels_last(problem: Problem) -> Problem {
    problem.hint("Export with channels first; tf2onnx does with --inputs-as-nchw NAME --outputs-as-nchw NAME.")
}

/// What is wrong with the declared input and output.
pub fn check(graph: &GraphProto) -> Vec<Problem> {
    let inputs = fed_inputs(graph);
    let mut problems = Vec::new();
    for (what, found) in [("input", &inputs), ("output", &graph.output.iter().collect())] {
        let [value] = found.as_slice() else {
            let names: Vec<String> = found.iter().take(5).map(|v| printable(&v.name)).collect();
            problems.push(bad(format!("{} {what}s instead of one: {}", found.len(), names.join(", "))));
            continue;
        };
        // An output's type follows from what writes it.
        let declared = value.r#type.as_ref().is_some_and(|kind| kind.value.is_some());
        if !declared && what == "input" {
            problems.push(bad("the input is declared without a type, expected is float32".into()).at(&value.name));
            continue;
        }
        match describe(value.r#type.as_ref()) {
            Err(found) => problems.push(of_another_type(what, &found).at(&value.name)),
            Ok(None) => {}
            Ok(Some(dims)) => problems.extend(misshapen(what, &dims).map(|problem| problem.at(&value.name))),
        }
    }
    problems
}

fn of_another_type(what: &str, found: &str) -> Problem {
    let problem = bad(format!("the {what} is {found}, expected is float32"));
    match ["float16", "bfloat16", "double"].iter().any(|half| found.starts_with(half)) {
        true => problem.hint("Keep float32 at both ends: converters to half precision do with keep_io_types=True."),
        false => problem,
    }
}

fn misshapen(what: &str, dims: &Dims) -> Option<Problem> {
    let found = shape_text(dims);
    match dims.as_slice() {
        [_, channels, _, Some(3)] if *channels != Some(3) => {
            Some(channels_last(bad(format!("the {what} has its channels last, {found}; expected is [N, 3, H, W]"))))
        }
        [_, Some(channels), _, _] if *channels != 3 => {
            Some(bad(format!("the {what} has {channels} channels, {found}; expected are 3, [N, 3, H, W]")))
        }
        [Some(images), _, _, _] if *images != 1 => {
            Some(bad(format!("the {what} is fixed at {images} images at once, {found}; expected is [N, 3, H, W]")))
        }
        [_, _, _, _] => None,
        _ => Some(bad(format!("the {what} is float32 {found}, expected is [N, 3, H, W]"))),
    }
}

/// Height and width of the input, where the file fixes them.
pub fn fixed_size(graph: &GraphProto) -> (Option<i64>, Option<i64>) {
    let dims = fed_inputs(graph).first().and_then(|i| describe(i.r#type.as_ref()).ok().flatten());
    match dims.as_deref() {
        Some([_, _, height, width]) => (*height, *width),
        _ => (None, None),
    }
}

/// Dimensions, `None` where any size goes.
type Dims = Vec<Option<i64>>;

/// The dimensions of a float32 tensor (`None`: undeclared); anything else as words.
fn describe(kind: Option<&TypeProto>) -> Result<Option<Dims>, String> {
    let Some(value) = kind.and_then(|k| k.value.as_ref()) else { return Ok(None) };
    let tensor = match value {
        type_proto::Value::TensorType(tensor) => tensor,
        type_proto::Value::SequenceType(_) => return Err("a sequence".into()),
        type_proto::Value::OptionalType(_) => return Err("an optional value".into()),
        type_proto::Value::MapType(_) => return Err("a map".into()),
        _ => return Err("no tensor".into()),
    };
    let dims = tensor.shape.as_ref().map(|s| {
        s.dim
            .iter()
            .map(|d| match &d.value {
                // Some tools write -1 where they mean any size, and ONNX Runtime takes it so.
                Some(dimension::Value::DimValue(n)) if *n >= 0 => Some(*n),
                _ => None,
            })
            .collect::<Dims>()
    });
    if tensor.elem_type != DataType::Float as i32 {
        let name = DataType::try_from(tensor.elem_type).map_or("unknown", |t| t.as_str_name()).to_ascii_lowercase();
        return Err(format!("{name} {}", dims.map(|d| shape_text(&d)).unwrap_or_default()).trim_end().to_owned());
    }
    Ok(dims)
}

fn shape_text(dims: &[Option<i64>]) -> String {
    let dims: Vec<String> = dims.iter().map(|d| d.map_or("?".into(), |n| n.to_string())).collect();
    format!("[{}]", dims.join(", "))
}

/// Which axis of the picture the first convolutions take for its channels, and how many they read, whatever is declared: where
/// every dimension is free, the declaration says nothing.
pub fn read_by_convolutions(graph: &GraphProto, places: &[Place]) -> Option<Problem> {
    let (input, _) = io_names(graph);
    let stored = stored(graph);
    // Tensors that are the picture with its axes in another order.
    let mut pictures: HashMap<&str, [usize; 4]> = HashMap::from([(input.as_str(), [0, 1, 2, 3])]);
    for (node, place) in graph.node.iter().zip(places) {
        let Some(axes) = node.input.iter().find_map(|name| pictures.get(name.as_str())).copied() else { continue };
        let written = node.output.first().map(String::as_str).unwrap_or_default();
        match node.op_type.as_str() {
            "Transpose" => {
                let perm = node.attribute.iter().find(|a| a.name == "perm").map(|a| a.ints.as_slice());
                let moved: Option<Vec<usize>> = match perm {
                    Some(perm) => perm.iter().map(|&p| axes.get(usize::try_from(p).ok()?).copied()).collect(),
                    None => Some(axes.iter().rev().copied().collect()),
                };
                if let Some(Ok(moved)) = moved.map(<[usize; 4]>::try_from) {
                    pictures.insert(written, moved);
                }
            }
            "Identity" | "Cast" | "Add" | "Sub" | "Mul" | "Div" | "Neg" | "Clip" | "Pad" => {
                pictures.insert(written, axes);
            }
            "Conv" if node.input.first().is_some_and(|name| pictures.contains_key(name.as_str())) => {
                let channels = node.input.get(1).and_then(|name| stored.get(name.as_str())).and_then(|weights| {
                    let groups = node.attribute.iter().find(|a| a.name == "group").map_or(1, |a| a.i.max(1));
                    weights.dims.get(1)?.checked_mul(groups)
                });
                match (axes[1], channels) {
                    (2 | 3, _) => {
                        let message = "the first convolution takes the picture's last axis for its channels";
                        return Some(channels_last(bad(message.into())).at(&place.label));
                    }
                    (1, Some(channels)) if channels != 3 => {
                        let message = format!("the first convolution reads {channels} channels, the picture has 3");
                        return Some(bad(message).at(&place.label));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    None
}

/// Tensors that the file holds, in initializers and Constant nodes, by name.
pub fn stored(graph: &GraphProto) -> HashMap<&str, &TensorProto> {
    let constants = graph.node.iter().filter(|node| node.op_type == "Constant");
    let held = constants.filter_map(|n| Some((n.output.first()?.as_str(), n.attribute.first()?.t.as_ref()?)));
    graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).chain(held).collect()
}

/// The first node that asks for a fixed height and width, as an exporter leaves one that took the example's size for the only
/// one: its index, and the shape that it asks for.
pub fn frozen_at(graph: &GraphProto, (height, width): (Option<i64>, Option<i64>)) -> Option<(usize, Vec<i64>)> {
    let stored = stored(graph);
    let asks = |node: &NodeProto| {
        let slot = match node.op_type.as_str() {
            "Reshape" | "Expand" => 1,
            "Resize" => 3,
            _ => return None,
        };
        let shape: Vec<i64> = super::integers(stored.get(node.input.get(slot)?.as_str())?)?.take(8).collect();
        let sides = [height, width].into_iter().flatten().filter(|&side| side > 1);
        shape.iter().rev().take(2).any(|n| sides.clone().any(|side| side == *n)).then_some(shape)
    };
    graph.node.iter().enumerate().find_map(|(i, node)| Some((i, asks(node)?)))
}
