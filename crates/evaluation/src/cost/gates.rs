//! Arithmetic on the input's size whose result decides how much of the picture goes which way. A network needs little of it:
//! it resizes to a size, cuts what it padded, pads to a multiple. What compares a size with a number, looks it up or rounds
//! it coarsely could send the picture another way at the size that is counted and timed, so organizers see each such node.
//!
//! Found by reading the graph, so also where no size that was tried makes a difference.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    attribute,
    flow::{Class, Flow},
};
use crate::{
    measurement::{SizeGate, SizeMeans},
    model::{Model, floats, integers, is_view, size_inputs},
    onnx::proto::{NodeProto, TensorProto, tensor_proto::DataType},
    problem::printable,
};

/// The largest number that networks pad to a multiple of or divide a size by: windows and strides.
pub const LARGEST_WINDOW: u32 = 64;
/// Nodes that are listed, at most.
const MOST: usize = 64;
/// Nodes that are named as decided by one, at most.
const NAMED: usize = 4;
/// Readers of readers that are looked at in one graph, at most; what is left then is listed without what it decides.
const MOST_STEPS: usize = 1 << 20;
/// Nodes that a tensor of dimensions is put together by, at most.
const PARTS: usize = 64;
/// Views between a number and where it is used, at most.
const VIEWS_BETWEEN: usize = 16;

/// Every such node that decides the extent or the choice of something, in the order of the graph; those that may be more than
/// padding first.
pub fn find(model: &Model) -> Vec<SizeGate> {
    let nodes = &model.flat.node;
    let reader = Reader::of(model);
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            readers.entry(name).or_default().push(i);
        }
    }
    let deciding = reader.deciding();
    let mut found: Vec<SizeGate> = Vec::new();
    let mut steps = MOST_STEPS;
    for (i, node) in nodes.iter().enumerate() {
        if !reader.gates.contains(&i) || !node.output.iter().any(|name| deciding.contains(name.as_str())) {
            continue;
        }
        let mut decided: BTreeSet<usize> = BTreeSet::new();
        let (mut open, mut seen) = (vec![i], HashSet::from([i]));
        while let Some(at) = open.pop() {
            for name in &nodes[at].output {
                for &next in readers.get(name.as_str()).into_iter().flatten().take(steps) {
                    steps -= 1;
                    if decides(&nodes[next], &reader.flow).any(|read| read == name) {
                        decided.insert(next);
                    }
                    if reader.of_shape(&nodes[next]) && !measures(&nodes[next]) && seen.insert(next) {
                        open.push(next);
                    }
                }
            }
        }
        let pads = steps > 0 && decided.iter().all(|&next| nodes[next].op_type == "Pad");
        let called = |i: usize| format!("{} ({})", printable(&model.places[i].label), nodes[i].op_type);
        found.push(SizeGate {
            node: printable(&model.places[i].label),
            op: node.op_type.clone(),
            means: match (reader.window(node).filter(|_| pads), node.op_type.as_str()) {
                (Some(_), _) => SizeMeans::Padding,
                (None, "Div") if reader.divides_sizes(node) => SizeMeans::Ratio,
                _ => SizeMeans::Fork,
            },
            numbers: node.input.iter().filter_map(|name| reader.numbers(name)).flatten().take(NAMED).collect(),
            decides: decided.iter().take(NAMED).map(|&i| called(i)).collect(),
        });
    }
    // No number of others hides one that matters.
    found.sort_by_key(|gate| gate.means != SizeMeans::Fork);
    found.truncate(MOST);
    found
}

/// Names of a node's inputs that decide how much it writes, or which of its operands it takes.
fn decides<'a>(node: &'a NodeProto, flow: &Flow) -> impl Iterator<Item = &'a String> {
    let op = node.op_type.as_str();
    let data = flow.is_data(node);
    let which: &[usize] = match op {
        _ if !data => &[],
        "Gather" | "GatherElements" | "GatherND" | "ScatterElements" | "ScatterND" => &[1],
        "Where" => &[0],
        _ => &[],
    };
    size_inputs(op).iter().chain(which).filter_map(|&slot| node.input.get(slot)).filter(|name| !name.is_empty())
}

struct Reader<'a> {
    model: &'a Model,
    flow: Flow<'a>,
    tensors: HashMap<&'a str, &'a TensorProto>,
    /// Nodes that compute on sizes otherwise than by sums, products and moving.
    gates: HashSet<usize>,
}

impl<'a> Reader<'a> {
    fn of(model: &'a Model) -> Self {
        let graph = &model.flat;
        let stored = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
        let constants = graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(|node| {
            Some((node.output.first()?.as_str(), node.attribute.iter().find_map(|a| a.t.as_ref())?))
        });
        let tensors = stored.chain(constants).collect();
        let mut reader = Reader { model, flow: Flow::of(model), tensors, gates: HashSet::new() };
        // What a size has been divided by on its way: rounded, it tells no finer steps.
        let mut divided: HashMap<&str, f64> = HashMap::new();
        for (i, node) in graph.node.iter().enumerate().filter(|(_, node)| reader_of_shape(&reader.flow, node)) {
            let before = node.input.iter().filter_map(|name| divided.get(name.as_str()).copied()).fold(1.0, f64::max);
            let after = match node.op_type.as_str() {
                "Shape" | "Size" => 1.0,
                _ => before * reader.divides(node),
            };
            let gate = reader.is_gate(node, after);
            if gate {
                reader.gates.insert(i);
            }
            let after = if gate { 1.0 } else { after };
            divided.extend(node.output.iter().map(|name| (name.as_str(), after)));
        }
        reader
    }

    fn of_shape(&self, node: &NodeProto) -> bool {
        reader_of_shape(&self.flow, node)
    }

    fn constant(&self, name: &str) -> bool {
        name.is_empty() || matches!(self.flow.class(name), Some(Class::Constant(_)))
    }

    /// Names of tensors of sizes that decide something in the end.
    fn deciding(&self) -> HashSet<&'a str> {
        let mut deciding: HashSet<&str> = HashSet::new();
        for node in self.model.flat.node.iter().rev() {
            deciding.extend(decides(node, &self.flow).map(String::as_str));
            if self.of_shape(node) && node.output.iter().any(|name| deciding.contains(name.as_str())) {
                deciding.extend(node.input.iter().map(String::as_str).filter(|_| !measures(node)));
            }
        }
        deciding
    }

    /// Whether a Div is of one size by another.
    fn divides_sizes(&self, node: &NodeProto) -> bool {
        node.input.iter().all(|name| !self.constant(name))
    }

    /// By how much a node divides a size.
    fn divides(&self, node: &NodeProto) -> f64 {
        let by = |slot: usize| -> Option<f64> {
            let numbers = self.numbers(node.input.get(slot)?)?;
            numbers.into_iter().map(f64::abs).filter(|n| *n > 0.0).reduce(f64::max)
        };
        match node.op_type.as_str() {
            // By a size: at one input nothing is left of it, at another much.
            "Div" => by(1).unwrap_or(f64::INFINITY).max(1.0),
            "Mul" => by(0).or_else(|| by(1)).map_or(1.0, |factor| (1.0 / factor).max(1.0)),
            _ => 1.0,
        }
    }

    /// Whether a node on sizes does more than add, multiply and move them. `divided`: what they have been divided by since they
    /// were sizes.
    fn is_gate(&self, node: &NodeProto, divided: f64) -> bool {
        let coarse = divided > f64::from(LARGEST_WINDOW);
        match node.op_type.as_str() {
            "Constant" | "Shape" | "Size" | "Concat" | "Split" | "Neg" | "Expand" | "Tile" | "Range" | "Mul"
            | "ConstantOfShape" | "ReduceProd" | "ReduceSum" | "Sum" | "Dropout" => false,
            // Of real numbers it is a ratio; what rounds it follows.
            "Div" => coarse && !self.is_real(node.input.first(), 0),
            // A narrow type wraps round, and a truth value tells nothing but zero.
            "Cast" => match attribute(node, "to").and_then(|to| DataType::try_from(i32::try_from(to.i).ok()?).ok()) {
                Some(DataType::Int64 | DataType::Int32) => coarse && self.is_real(node.input.first(), 0),
                Some(to) => !is_real_type(to as i32),
                None => true,
            },
            "CastLike" | "QuantizeLinear" | "DequantizeLinear" => true,
            "Floor" | "Ceil" | "Round" => coarse,
            op if is_view(op) => false,
            // A comparison, where what follows cuts off below zero.
            "Add" | "Sub" => node
                .input
                .iter()
                .filter_map(|name| self.numbers(name))
                .flatten()
                .any(|number| number.abs() >= f64::from(LARGEST_WINDOW) && number.abs() < f64::from(i32::MAX)),
            // A table's entry, by a size.
            "Slice" | "Gather" | "GatherElements" | "GatherND" => {
                node.input.iter().skip(1).any(|name| !self.constant(name))
            }
            "Equal" => !self.is_never_equal(node),
            "Where" => {
                let asked = node.input.first().and_then(|name| self.flow.writer(name));
                let asked = asked.map(|i| &self.model.flat.node[i]).filter(|node| node.op_type == "Equal");
                !asked.is_some_and(|node| self.is_never_equal(node))
            }
            _ => true,
        }
    }

    /// How PyTorch's exporter writes `expand`: dimensions beside a tensor of -1, which none of them is.
    fn is_never_equal(&self, node: &NodeProto) -> bool {
        let writer = |name: &String| self.flow.writer(name).map(|i| &self.model.flat.node[i]);
        let negative = |name: &String| {
            let stored =
                |name: &String| self.numbers(name).is_some_and(|all| !all.is_empty() && all.iter().all(|&n| n < 0.0));
            let ones = |name: &String| {
                let filled = writer(name).filter(|node| node.op_type == "ConstantOfShape");
                let value = filled.map(|node| attribute(node, "value").and_then(|a| a.t.as_ref()).and_then(numbers));
                value.is_some_and(|value| value.is_some_and(|all| all.iter().all(|&n| n > 0.0)))
            };
            let product = writer(name).filter(|node| node.op_type == "Mul");
            stored(name) || product.is_some_and(|node| node.input.iter().any(stored) && node.input.iter().any(ones))
        };
        let [one, other] = node.input.as_slice() else { return false };
        negative(one) && self.is_dimensions(other, &mut 0) || negative(other) && self.is_dimensions(one, &mut 0)
    }

    /// Whether a tensor holds dimensions and stored numbers, nothing computed from them.
    fn is_dimensions(&self, name: &str, seen: &mut usize) -> bool {
        let Some(node) = self.flow.writer(name).map(|i| &self.model.flat.node[i]) else { return self.constant(name) };
        *seen += 1;
        match node.op_type.as_str() {
            _ if *seen > PARTS => false,
            "Shape" | "Size" | "Constant" => true,
            "Concat" => node.input.iter().all(|name| self.is_dimensions(name, seen)),
            "Gather" | "Slice" => {
                let by_constants = node.input.iter().skip(1).all(|name| self.constant(name));
                by_constants && node.input.first().is_some_and(|name| self.is_dimensions(name, seen))
            }
            op if is_view(op) && !op.ends_with("Linear") => {
                node.input.first().is_some_and(|name| self.is_dimensions(name, seen))
            }
            _ => false,
        }
    }

    /// Whether a tensor of sizes holds real numbers.
    fn is_real(&self, name: Option<&String>, depth: usize) -> bool {
        let Some(name) = name else { return false };
        if let Some(tensor) = self.tensors.get(name.as_str()) {
            return is_real_type(tensor.data_type);
        }
        let Some(node) = self.flow.writer(name).map(|i| &self.model.flat.node[i]) else { return false };
        match node.op_type.as_str() {
            _ if depth > VIEWS_BETWEEN => false,
            "Cast" => attribute(node, "to").and_then(|to| i32::try_from(to.i).ok()).is_some_and(is_real_type),
            "Shape" | "Size" => false,
            _ => self.is_real(node.input.first(), depth + 1),
        }
    }

    /// The number that a node pads to a multiple of, where it takes a remainder of a window's size.
    fn window(&self, node: &NodeProto) -> Option<u64> {
        let whole = |n: f64| n.fract() == 0.0 && (1.0..=f64::from(LARGEST_WINDOW)).contains(&n);
        match (node.op_type.as_str(), self.numbers(node.input.get(1)?)?.as_slice()) {
            ("Mod", [number, rest @ ..]) if whole(*number) && rest.iter().all(|n| n == number) => Some(*number as u64),
            _ => None,
        }
    }

    /// A stored tensor's few numbers, through views.
    fn numbers(&self, name: &str) -> Option<Vec<f64>> {
        let mut name = name;
        for _ in 0..VIEWS_BETWEEN {
            if let Some(tensor) = self.tensors.get(name) {
                return numbers(tensor);
            }
            let node = &self.model.flat.node[self.flow.writer(name)?];
            if node.op_type == "Constant" {
                let value = node.attribute.first()?;
                return match value.name.as_str() {
                    "value_int" => Some(vec![value.i as f64]),
                    "value_float" => Some(vec![f64::from(value.f)]),
                    "value_ints" => Some(value.ints.iter().take(NAMED).map(|&n| n as f64).collect()),
                    "value_floats" => Some(value.floats.iter().take(NAMED).map(|&n| f64::from(n)).collect()),
                    _ => None,
                };
            }
            name = node.input.first().filter(|_| is_view(&node.op_type))?;
        }
        None
    }
}

/// Says how large a tensor is: its numbers decide nothing.
fn measures(node: &NodeProto) -> bool {
    matches!(node.op_type.as_str(), "Shape" | "Size")
}

fn reader_of_shape(flow: &Flow, node: &NodeProto) -> bool {
    node.output.first().is_some_and(|name| flow.class(name) == Some(Class::Shape))
}

fn is_real_type(kind: i32) -> bool {
    [DataType::Float, DataType::Double, DataType::Float16, DataType::Bfloat16]
        .into_iter()
        .any(|real| real as i32 == kind)
}

/// The first numbers of a stored tensor.
fn numbers(tensor: &TensorProto) -> Option<Vec<f64>> {
    let small = |bytes: usize| tensor.raw_data.chunks_exact(bytes).take(NAMED);
    Some(match DataType::try_from(tensor.data_type).ok()? {
        DataType::Int64 => integers(tensor)?.take(NAMED).map(|n| n as f64).collect(),
        DataType::Float => floats(tensor)?.take(NAMED).map(f64::from).collect(),
        DataType::Int32 if tensor.raw_data.is_empty() => {
            tensor.int32_data.iter().take(NAMED).map(|&n| f64::from(n)).collect()
        }
        DataType::Int32 => {
            small(4).filter_map(|bytes| Some(f64::from(i32::from_le_bytes(bytes.try_into().ok()?)))).collect()
        }
        DataType::Double if tensor.raw_data.is_empty() => tensor.double_data.iter().take(NAMED).copied().collect(),
        DataType::Double => small(8).filter_map(|bytes| Some(f64::from_le_bytes(bytes.try_into().ok()?))).collect(),
        _ => return None,
    })
}
