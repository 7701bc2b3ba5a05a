//! Element types through the graph, as far as the accidents of converters go: two types where one operator takes one, a type
//! for which the runtime has no operator.

use std::collections::HashMap;

use super::{Place, io};
use crate::{
    onnx::proto::{GraphProto, NodeProto, tensor_proto::DataType},
    problem::Problem,
};

/// Most of these problems that are told: a converter makes the same mistake everywhere.
const TOLD: usize = 3;

const CONVERTER: &str = "Accident of a converter to half precision: leave this operator in float32 (op_block_list), or round the \
                         weights only.";

/// What ONNX Runtime would refuse for its types, of a graph whose names are all known.
pub fn check(graph: &GraphProto, places: &[Place], opset: i64) -> Vec<Problem> {
    let mut types: HashMap<&str, DataType> = HashMap::new();
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    for tensor in graph.initializer.iter().chain(sparse) {
        types.extend(DataType::try_from(tensor.data_type).ok().map(|kind| (tensor.name.as_str(), kind)));
    }
    for input in io::fed_inputs(graph) {
        types.insert(&input.name, DataType::Float);
    }
    let mut problems = Vec::new();
    for (node, place) in graph.node.iter().zip(places) {
        let of = |slot: usize| node.input.get(slot).and_then(|name| types.get(name.as_str())).copied();
        if problems.len() < TOLD {
            problems.extend(refused(node, &of, opset).map(|problem| problem.at(&place.label)));
        }
        let outputs = node.output.iter().enumerate().filter(|(_, name)| !name.is_empty());
        let known: Vec<_> =
            outputs.filter_map(|(slot, name)| Some((name.as_str(), written(node, slot, &of)?))).collect();
        types.extend(known);
    }
    let output = graph.output.first().map(|output| output.name.as_str()).unwrap_or_default();
    match types.get(output) {
        Some(kind) if *kind != DataType::Float && problems.is_empty() => {
            let message = format!("the output is declared float32, and the graph gives {}", name(*kind));
            problems.push(
                Problem::new("onnx_bad_io", message)
                    .at(output)
                    .hint("Keep float32 at both ends: converters to half precision do with keep_io_types=True."),
            );
        }
        _ => {}
    }
    problems
}

fn name(kind: DataType) -> String {
    match kind {
        DataType::Float => "float32".into(),
        kind => kind.as_str_name().to_ascii_lowercase(),
    }
}

fn is_half(kind: DataType) -> bool {
    matches!(kind, DataType::Float16 | DataType::Bfloat16)
}

fn refused(node: &NodeProto, of: &dyn Fn(usize) -> Option<DataType>, opset: i64) -> Option<Problem> {
    let op = node.op_type.as_str();
    // Scales of a picture are float32 whatever the picture is.
    let scales = match op {
        "Resize" if opset > 10 => Some(2),
        "Resize" | "Upsample" => Some(1),
        _ => None,
    };
    if let Some(kind) = scales.and_then(of).filter(|kind| *kind != DataType::Float) {
        let message = format!("the scales of this {op} are {}, ONNX takes float32", name(kind));
        let problem = Problem::new("onnx_invalid_graph", message);
        return Some(if is_half(kind) { problem.hint(CONVERTER) } else { problem });
    }
    let slots: Vec<usize> = match op {
        "Where" => vec![1, 2],
        "Pad" | "ScatterND" | "ScatterElements" => vec![0, 2],
        "Add"
        | "Sub"
        | "Mul"
        | "Div"
        | "PRelu"
        | "Conv"
        | "ConvTranspose"
        | "MatMul"
        | "Gemm"
        | "Einsum"
        | "Max"
        | "Min"
        | "Sum"
        | "Mean"
        | "Concat"
        | "InstanceNormalization"
        | "LayerNormalization" => (0..node.input.len()).collect(),
        _ => Vec::new(),
    };
    let mut found = slots.into_iter().filter_map(of);
    let first = found.next()?;
    if let Some(other) = found.find(|kind| *kind != first) {
        let message = format!("this {op} gets {} and {}, ONNX takes one type", name(first), name(other));
        let problem = Problem::new("onnx_invalid_graph", message);
        return Some(if is_half(first) || is_half(other) { problem.hint(CONVERTER) } else { problem });
    }
    if first == DataType::Bfloat16 && matches!(op, "Conv" | "ConvTranspose") {
        let message = format!("this {op} computes in bfloat16, and ONNX Runtime has none that does");
        return Some(Problem::new("onnx_op_not_allowed", message).hint("Export in float32, or in float16."));
    }
    None
}

/// Type of what a node writes, where it is certain.
fn written(node: &NodeProto, slot: usize, of: &dyn Fn(usize) -> Option<DataType>) -> Option<DataType> {
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
    let stored = |kind: i32| DataType::try_from(kind).ok().filter(|kind| *kind != DataType::Undefined);
    match (node.op_type.as_str(), slot) {
        ("Constant", _) => {
            let value = node.attribute.first()?;
            match value.name.as_str() {
                "value" => stored(value.t.as_ref()?.data_type),
                "value_float" | "value_floats" => Some(DataType::Float),
                "value_int" | "value_ints" => Some(DataType::Int64),
                _ => None,
            }
        }
        ("Cast", _) => stored(i32::try_from(attribute("to")?.i).ok()?),
        ("CastLike", _) | ("Where", _) => of(1),
        ("Shape" | "Size" | "ArgMax" | "ArgMin", _) | ("TopK" | "MaxPool", 1) => Some(DataType::Int64),
        ("Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" | "Not", _) => {
            Some(DataType::Bool)
        }
        ("ConstantOfShape", _) => match attribute("value") {
            Some(value) => stored(value.t.as_ref()?.data_type),
            None => Some(DataType::Float),
        },
        ("EyeLike", _) => match attribute("dtype") {
            Some(kind) => stored(i32::try_from(kind.i).ok()?),
            None => of(0),
        },
        ("OneHot", _) => of(2),
        ("Split", _) => of(0),
        // Their types have rules of their own.
        (
            "ConvInteger"
            | "MatMulInteger"
            | "QLinearConv"
            | "QLinearMatMul"
            | "QuantizeLinear"
            | "DequantizeLinear"
            | "DynamicQuantizeLinear"
            | "BatchNormalization",
            _,
        ) => None,
        (_, 0) => of(0),
        _ => None,
    }
}
