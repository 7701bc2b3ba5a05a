//! Cost of a model from its graph and the shapes of one input size: parameters, convolutions, activations, the field's two
//! FLOP counts and all multiply-adds. What cannot be counted is an error that names the node, never a smaller number.
//!
//! Definitions: `docs/metrics.md`; they follow KAIR's `utils_modelsummary.py`, fvcore's `flop_count.py`, and count what
//! an ONNX file shows.

mod filters;
mod flow;
mod gates;
mod norms;
mod operators;
mod positions;
mod weights;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::Serialize;

use flow::{Class, Flow};

pub use gates::{LARGEST_WINDOW, find as size_gates};

use super::{
    Cost, Flops, OperatorCost,
    model::{Model, element_count, floats},
    onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto},
    runtime::Shapes,
};
use crate::problem::Problem;

/// What [`count`] found.
#[derive(Debug)]
pub struct Count {
    pub cost: Cost,
    /// Every node that computes on data, in the order of the graph.
    pub nodes: Vec<NodeCost>,
    /// What each node of the graph does that the output needs, in the order of the graph.
    pub work: Vec<Work>,
}

/// What one node does at one input size. Nothing for a node that nobody waits for, computes on constants alone, or passes the
/// same elements on: the runtime leaves those out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiply-adds.
    pub macs: u64,
    /// Arithmetic that no definition counts.
    pub uncounted: u64,
    /// Elements of all that it writes.
    pub written: u64,
}

/// One node's share of the cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeCost {
    /// What the author called it, with the local functions round it.
    pub name: String,
    /// ONNX operator name, e.g. `Conv`.
    pub op: String,
    /// Dimensions of the first output.
    pub output: Vec<u64>,
    pub macs: u64,
    pub params: u64,
    pub flops: Flops,
    /// Arithmetic that none of the definitions counts: elements computed by activations, gates, pools, table look-ups.
    pub uncounted: u64,
}

/// Counts `model` from the shapes that a run at 1×3×`height`×`width` had.
pub fn count(model: &Model, shapes: &Shapes, height: u32, width: u32) -> Result<Count, Problem> {
    let graph = &model.flat;
    let sizes = Sizes::new(graph, shapes, &model.input, height, width);
    let mut table: BTreeMap<&str, OperatorCost> = BTreeMap::new();
    let mut cost = Cost {
        input: [1, 3, u64::from(height), u64::from(width)],
        scale: 0,
        params: 0,
        convs: 0,
        activations: 0,
        flops: Flops { kair: 0, fvcore: 0 },
        macs: 0,
        operators: Vec::new(),
    };
    let output = sizes.dims(&model.output).and_then(|d| d.get(2).copied()).unwrap_or(0);
    cost.scale = u32::try_from(output / u64::from(height)).unwrap_or(0);
    let flow = Flow::of(model);
    let filters = filters::find(model, &sizes, &flow);
    let weights = weights::by_node(model, &sizes, &flow, &filters)?;
    let mut nodes = Vec::new();
    let mut work = vec![Work::default(); graph.node.len()];
    let needed = needed(model);
    for (i, (node, place)) in graph.node.iter().zip(&model.places).enumerate() {
        let op = node.op_type.as_str();
        let mut one = operators::cost(node, &sizes, filters.products.contains(&i)).map_err(|p| p.at(&place.label))?;
        one.fvcore += norms::fvcore(model, &sizes, &flow, node).map_err(|p| p.at(&place.label))?;
        cost.convs += u64::from(one.conv);
        cost.activations += if one.conv { one.output } else { 0 };
        cost.flops.kair += one.kair;
        cost.flops.fvcore += one.fvcore;
        cost.macs += one.macs;
        cost.params += weights[i];
        if op != "Constant" && op != "Identity" {
            let row = table.entry(op).or_insert_with(|| OperatorCost { op: op.to_owned(), ..OperatorCost::default() });
            row.calls += 1;
            row.macs += one.macs;
            row.params += weights[i];
            row.output_elements += one.output;
            if one.macs > 0 {
                row.weighted_calls += 1;
                row.weighted_elements += one.output;
            }
        }
        let from_table = node.input.first().is_none_or(|name| flow.class(name) != Some(Class::Data));
        let uncounted = if one.macs > 0 { 0 } else { operators::arithmetic(node, &sizes, from_table) };
        let constant = node.output.first().is_some_and(|name| matches!(flow.class(name), Some(Class::Constant(_))));
        if needed[i] && !constant && !operators::is_free(op) {
            let written = node.output.iter().filter_map(|name| sizes.elements(name)).sum();
            work[i] = Work { macs: one.macs, uncounted, written };
        }
        if flow.is_data(node) {
            nodes.push(NodeCost {
                name: place.label.clone(),
                op: op.to_owned(),
                output: node.output.first().and_then(|name| sizes.dims(name)).unwrap_or_default().to_vec(),
                macs: one.macs,
                params: weights[i],
                flops: Flops { kair: one.kair, fvcore: one.fvcore },
                uncounted,
            });
        }
    }
    cost.operators = table.into_values().collect();
    cost.operators.sort_by(|a, b| (b.macs, b.output_elements, &a.op).cmp(&(a.macs, a.output_elements, &b.op)));
    Ok(Count { cost, nodes, work })
}

/// Which nodes the output needs.
fn needed(model: &Model) -> Vec<bool> {
    let nodes = &model.flat.node;
    let mut needed = vec![false; nodes.len()];
    let mut wanted = HashSet::from([model.output.as_str()]);
    for (i, node) in nodes.iter().enumerate().rev() {
        if node.output.iter().any(|name| wanted.contains(name.as_str())) {
            needed[i] = true;
            wanted.extend(node.input.iter().map(String::as_str));
        }
    }
    needed
}

/// Operators that ONNX defines by others too and whose output has the shape of their first input, and Cast.
const KEEP_SHAPE: [&str; 22] = [
    "Cast",
    "CastLike",
    "Celu",
    "Clip",
    "Elu",
    "Gelu",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "LayerNormalization",
    "LeakyRelu",
    "LogSoftmax",
    "MeanVarianceNormalization",
    "Mish",
    "PRelu",
    "RMSNormalization",
    "Relu",
    "Selu",
    "Softmax",
    "Softplus",
    "Softsign",
    "Swish",
];

/// Dimensions of every tensor of a graph at one input size.
pub struct Sizes<'a> {
    known: HashMap<&'a str, Vec<u64>>,
    tensors: HashMap<&'a str, &'a TensorProto>,
    /// Values of stored scalars.
    scalars: HashMap<&'a str, f32>,
    /// The type and bits of each stored lone number, hashed.
    lone: HashMap<&'a str, u64>,
}

impl<'a> Sizes<'a> {
    fn new(graph: &'a GraphProto, shapes: &'a Shapes, input: &'a str, height: u32, width: u32) -> Self {
        let mut known: HashMap<&str, Vec<u64>> =
            shapes.iter().map(|(name, dims)| (name.as_str(), dims.clone())).collect();
        let unsigned = |dims: &[i64]| dims.iter().map(|&d| d.max(0) as u64).collect::<Vec<_>>();
        for tensor in &graph.initializer {
            known.insert(&tensor.name, unsigned(&tensor.dims));
        }
        for sparse in &graph.sparse_initializer {
            if let Some(values) = &sparse.values {
                known.insert(&values.name, unsigned(&sparse.dims));
            }
        }
        for node in graph.node.iter().filter(|n| n.op_type == "Constant") {
            if let (Some(name), Some(dims)) = (node.output.first(), constant_dims(node)) {
                known.insert(name, unsigned(&dims));
            }
        }
        known.insert(input, vec![1, 3, u64::from(height), u64::from(width)]);
        // Without a kernel for the element type, float16 on a CPU, the runtime takes an operator apart, and its rows are of the
        // parts.
        for node in graph.node.iter().filter(|node| KEEP_SHAPE.contains(&node.op_type.as_str())) {
            let (Some(read), Some(written)) = (node.input.first(), node.output.first()) else { continue };
            if let (Some(dims), false) = (known.get(read.as_str()).cloned(), known.contains_key(written.as_str())) {
                known.insert(written, dims);
            }
        }
        let stored = graph.initializer.iter().map(|t| (t.name.as_str(), t));
        let constants =
            graph.node.iter().filter_map(|n| Some((n.output.first()?.as_str(), n.attribute.first()?.t.as_ref()?)));
        let tensors: Vec<(&str, &TensorProto)> = stored.chain(constants).collect();
        let scalars = tensors.iter().filter_map(|(name, tensor)| Some((*name, scalar(tensor)?))).collect();
        let lone = tensors.iter().filter_map(|(name, tensor)| Some((*name, lone_value(tensor)?))).collect();
        Sizes { known, tensors: tensors.into_iter().collect(), scalars, lone }
    }

    /// A tensor that the file holds, as initializer or in a Constant node.
    fn stored(&self, name: &str) -> Option<&TensorProto> {
        self.tensors.get(name).copied()
    }

    /// The same number for equal stored lone values; `None`: it is computed.
    fn scalar_key(&self, name: &str) -> Option<u64> {
        self.lone.get(name).copied()
    }

    /// Value of a node's input where it is a stored float scalar.
    fn scalar(&self, node: &NodeProto, index: usize) -> Option<f32> {
        self.scalars.get(node.input.get(index)?.as_str()).copied()
    }

    fn dims(&self, name: &str) -> Option<&[u64]> {
        self.known.get(name).map(Vec::as_slice)
    }

    /// Dimensions of a node's input; an unknown shape is an error, never 0.
    fn input(&self, node: &NodeProto, index: usize) -> Result<&[u64], Problem> {
        let name = node.input.get(index).map(String::as_str).unwrap_or_default();
        self.dims(name).ok_or_else(|| unknown(node, name))
    }

    fn output(&self, node: &NodeProto) -> Result<&[u64], Problem> {
        let name = node.output.first().map(String::as_str).unwrap_or_default();
        self.dims(name).ok_or_else(|| unknown(node, name))
    }

    /// Elements of a tensor, when its shape is known.
    fn elements(&self, name: &str) -> Option<u64> {
        self.dims(name).map(|d| d.iter().product())
    }
}

fn scalar(tensor: &TensorProto) -> Option<f32> {
    if element_count(&tensor.dims) == Some(1) { floats(tensor)?.next() } else { None }
}

fn lone_value(tensor: &TensorProto) -> Option<u64> {
    if element_count(&tensor.dims) != Some(1) {
        return None;
    }
    let floats: Vec<u32> = tensor.float_data.iter().map(|f| f.to_bits()).collect();
    let doubles: Vec<u64> = tensor.double_data.iter().map(|f| f.to_bits()).collect();
    let bytes = if floats.is_empty() { tensor.raw_data.to_vec() } else { floats[0].to_le_bytes().to_vec() };
    let mut hasher = DefaultHasher::new();
    (tensor.data_type, bytes, doubles, &tensor.int32_data, &tensor.int64_data, &tensor.uint64_data).hash(&mut hasher);
    Some(hasher.finish())
}

fn unknown(node: &NodeProto, name: &str) -> Problem {
    Problem::new("cost_unknown", format!("the shape of {name:?} at this {} is unknown, so its cost is", node.op_type))
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// Dimensions of a Constant node's value, in any of the ways it can be written.
fn constant_dims(node: &NodeProto) -> Option<Vec<i64>> {
    let value = node.attribute.first()?;
    match value.name.as_str() {
        "value" => value.t.as_ref().map(|t: &TensorProto| t.dims.clone()),
        "sparse_value" => value.sparse_tensor.as_ref().map(|s| s.dims.clone()),
        "value_floats" => Some(vec![value.floats.len() as i64]),
        "value_ints" => Some(vec![value.ints.len() as i64]),
        "value_float" | "value_int" => Some(vec![]),
        _ => None,
    }
    .filter(|dims| element_count(dims).is_some())
}
