//! The checks of a decoded model, each with a stable code. All of them run, so that a team sees every fault at once.

use std::collections::{HashMap, HashSet};

use super::{IR_VERSIONS, MAX_NODES, OPSETS, Place, operators, tensors};
use crate::{
    onnx::proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto, tensor_proto::DataType,
        tensor_shape_proto::dimension, type_proto,
    },
    problem::{Problem, printable},
};

/// An empty file decodes as a valid, empty protobuf: ask for the parts that make it a model.
pub fn header(model: &ModelProto) -> Result<(), Problem> {
    if model.graph.is_none() || model.ir_version <= 0 {
        return Err(Problem::new("onnx_malformed", "the file holds no ONNX graph"));
    }
    if !IR_VERSIONS.contains(&model.ir_version) {
        return Err(version(format!("IR version {}", model.ir_version)));
    }
    let newest = opset(model);
    if let Some(other) = model.opset_import.iter().find(|o| standard(&o.domain) && o.version != newest) {
        return Err(version(format!("operator sets {} and {newest} at once", other.version)));
    }
    match opset(model) {
        0 => Err(Problem::new("onnx_malformed", "the file names no operator set")),
        found if !OPSETS.contains(&found) => Err(version(format!("operator set {found}"))),
        _ => Ok(()),
    }
}

fn version(found: String) -> Problem {
    let (ops, irs) = (OPSETS, IR_VERSIONS);
    Problem::new(
        "onnx_version",
        format!(
            "{found}: supported are operator sets {} to {} and IR versions {} to {}",
            ops.start(),
            ops.end(),
            irs.start(),
            irs.end()
        ),
    )
}

/// Version of the standard operator set; 0 when none is named.
pub fn opset(model: &ModelProto) -> i64 {
    model.opset_import.iter().filter(|o| standard(&o.domain)).map(|o| o.version).max().unwrap_or(0)
}

/// `ai.onnx` is the long name of the standard domain.
pub fn standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// Everything that can be said of the model before its functions are expanded.
pub fn check(model: &ModelProto) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(graph) = &model.graph else { return problems };
    let functions: HashSet<(&str, &str)> =
        model.functions.iter().map(|f| (f.domain.as_str(), f.name.as_str())).collect();
    if !model.training_info.is_empty() {
        problems.push(Problem::new("onnx_op_not_allowed", "the model carries a training graph"));
    }
    problems.extend(graph.initializer.iter().filter_map(tensors::check));
    problems.extend(graph.sparse_initializer.iter().flat_map(tensors::check_sparse));
    check_nodes(&graph.node, &functions, &mut problems);
    let mut defined = HashSet::new();
    for function in &model.functions {
        if !defined.insert((function.domain.as_str(), function.name.as_str(), function.overload.as_str())) {
            problems.push(Problem::new("onnx_invalid_graph", "a local function is defined twice").at(&function.name));
        }
        if standard(&function.domain) {
            problems.push(
                Problem::new("onnx_op_not_allowed", "a local function takes the place of a standard operator")
                    .at(&function.name),
            );
        }
        let foreign = function.opset_import.iter().find(|o| standard(&o.domain) && o.version != opset(model));
        if let Some(other) = foreign {
            let message = format!("a local function uses operator set {}, the model {}", other.version, opset(model));
            problems.push(Problem::new("onnx_version", message).at(&function.name));
        }
        check_nodes(&function.node, &functions, &mut problems);
    }
    problems.extend(check_io(graph));
    problems
}

fn check_nodes(nodes: &[NodeProto], functions: &HashSet<(&str, &str)>, problems: &mut Vec<Problem>) {
    let mut refused: HashMap<String, (usize, &NodeProto)> = HashMap::new();
    for node in nodes {
        let local = functions.contains(&(node.domain.as_str(), node.op_type.as_str()));
        let known = standard(&node.domain) && operators::ALLOWED.binary_search(&node.op_type.as_str()).is_ok();
        let mut named = HashSet::new();
        if let Some(twice) = node.attribute.iter().find(|a| !named.insert(a.name.as_str())) {
            let message = format!("the attribute {} is given twice", printable(&twice.name));
            problems.push(Problem::new("onnx_invalid_graph", message).at(label(node)));
        }
        let subgraph = node.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty());
        if (!local && !known) || subgraph || trains(node) {
            let name = if trains(node) {
                format!("{} in training mode", node.op_type)
            } else if standard(&node.domain) {
                node.op_type.clone()
            } else {
                format!("{}::{}", node.domain, node.op_type)
            };
            refused.entry(name).or_insert((0, node)).0 += 1;
        }
        problems.extend(node.attribute.iter().flat_map(check_attribute));
    }
    let mut refused: Vec<_> = refused.into_iter().collect();
    refused.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, (times, node)) in refused {
        let message = format!("the operator {} is not allowed (used {times}×)", printable(&name));
        problems.push(Problem::new("onnx_op_not_allowed", message).at(label(node)).hint(hint_for(node)));
    }
}

fn hint_for(node: &NodeProto) -> &'static str {
    if node.domain.starts_with("com.microsoft") {
        "This file was saved by ONNX Runtime's optimiser: upload the model as exported, before optimisation."
    } else if trains(node) {
        "Call model.eval() before torch.onnx.export, and do not pass `training`."
    } else {
        "`upscore profile --operators` prints what is allowed; control flow, random and custom operators are not."
    }
}

/// Operators that behave as in training: random, or with statistics of the batch.
fn trains(node: &NodeProto) -> bool {
    let flag = |name: &str| node.attribute.iter().any(|a| a.name == name && a.i != 0);
    match node.op_type.as_str() {
        "Dropout" => node.input.get(2).is_some_and(|i| !i.is_empty()),
        "BatchNormalization" => flag("training_mode"),
        _ => false,
    }
}

fn check_attribute(attribute: &AttributeProto) -> Vec<Problem> {
    let mut problems: Vec<Problem> = attribute.t.iter().chain(&attribute.tensors).filter_map(tensors::check).collect();
    problems.extend(attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors).flat_map(tensors::check_sparse));
    problems
}

/// How a node is called in messages: by its name, else by its operator and first output.
pub fn label(node: &NodeProto) -> String {
    if node.name.is_empty() {
        format!("{} → {}", node.op_type, node.output.first().map(String::as_str).unwrap_or("?"))
    } else {
        node.name.clone()
    }
}

/// The graph's inputs that are fed: old exporters list the initializers as inputs too.
fn fed_inputs(graph: &GraphProto) -> Vec<&ValueInfoProto> {
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

fn check_io(graph: &GraphProto) -> Vec<Problem> {
    let inputs = fed_inputs(graph);
    let bad = |message: String| {
        Problem::new("onnx_bad_io", message).hint(
            "Expected is one input, float32 [N, 3, H, W] with free H and W, and one output, float32 [N, 3, s·H, s·W].",
        )
    };
    let mut problems = Vec::new();
    for (what, found) in [("input", &inputs), ("output", &graph.output.iter().collect())] {
        let [value] = found.as_slice() else {
            let names: Vec<String> = found.iter().take(5).map(|v| printable(&v.name)).collect();
            problems.push(bad(format!("{} {what}s instead of one: {}", found.len(), names.join(", "))));
            continue;
        };
        match describe(value.r#type.as_ref()) {
            Err(found) => problems.push(bad(format!("the {what} is {found}, expected is float32")).at(&value.name)),
            Ok(None) => {}
            Ok(Some(dims)) if dims.len() != 4 || dims[1].is_some_and(|c| c != 3) || dims[0].is_some_and(|n| n != 1) => {
                let message = format!("the {what} is float32 {}, expected is [N, 3, H, W]", shape_text(&dims));
                problems.push(bad(message).at(&value.name));
            }
            Ok(Some(_)) => {}
        }
    }
    problems
}

/// Height and width of the input, where the file fixes them.
pub fn fixed_size(graph: &GraphProto) -> (Option<i64>, Option<i64>) {
    let dims = fed_inputs(graph).first().and_then(|i| describe(i.r#type.as_ref()).ok().flatten());
    match dims.as_deref() {
        Some([_, _, height, width]) => (*height, *width),
        _ => (None, None),
    }
}

type Dims = Vec<Option<i64>>;

/// The dimensions of a float32 tensor (`None`: undeclared); anything else as words.
fn describe(kind: Option<&TypeProto>) -> Result<Option<Dims>, String> {
    let Some(value) = kind.and_then(|k| k.value.as_ref()) else { return Ok(None) };
    let type_proto::Value::TensorType(tensor) = value else { return Err("no tensor".into()) };
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

/// The walk over the expanded graph: every name is written once and before it is read, and the output depends on the
/// input's pixels.
pub fn flow(graph: &GraphProto, places: &[Place]) -> Vec<Problem> {
    let invalid = |message: String, place: &str| Problem::new("onnx_invalid_graph", message).at(place);
    let mut problems = Vec::new();
    // Name → whether it depends on the input's pixels (its mere shape does not count).
    let mut known: HashMap<&str, bool> = HashMap::new();
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    for tensor in graph.initializer.iter().chain(sparse) {
        if known.insert(&tensor.name, false).is_some() {
            problems.push(invalid("stored twice".into(), &tensor.name));
        }
    }
    for input in fed_inputs(graph) {
        known.insert(&input.name, true);
    }
    if graph.node.len() as u64 > MAX_NODES {
        return vec![too_many(graph.node.len() as u64)];
    }
    for (node, Place { label: place, .. }) in graph.node.iter().zip(places) {
        let mut depends = false;
        for name in node.input.iter().filter(|n| !n.is_empty()) {
            match known.get(name.as_str()) {
                Some(data) => depends |= data,
                None => problems.push(invalid(format!("{} is read before anything writes it", printable(name)), place)),
            }
        }
        let sizes = operators::size_inputs(&node.op_type).iter().filter_map(|&slot| node.input.get(slot));
        if let Some(name) = sizes.into_iter().find(|name| known.get(name.as_str()) == Some(&true)) {
            let message = format!(
                "the size of what this {} writes depends on the input's pixels ({})",
                node.op_type,
                printable(name)
            );
            problems.push(Problem::new("cost_depends_on_pixels", message).at(place).hint(
                "Sizes may be computed from the input's shape; then the cost is the same for every picture of a size.",
            ));
        }
        let data = depends && !matches!(node.op_type.as_str(), "Shape" | "Size");
        for name in node.output.iter().filter(|n| !n.is_empty()) {
            if known.insert(name, data).is_some() {
                problems.push(invalid(format!("{} is written twice", printable(name)), place));
            }
        }
    }
    for output in &graph.output {
        match known.get(output.name.as_str()) {
            None => problems.push(invalid("nothing writes the output".into(), &output.name)),
            // After a fault above, what depends on what is no longer known.
            Some(false) if !problems.is_empty() => {}
            Some(false) => problems.push(
                Problem::new("output_ignores_input", "the output does not depend on the input's pixels")
                    .at(&output.name),
            ),
            Some(true) => {}
        }
    }
    problems
}

pub fn too_many(nodes: u64) -> Problem {
    let found = if nodes == u64::MAX { "more than can be counted".into() } else { nodes.to_string() };
    Problem::new(
        "onnx_too_many_nodes",
        format!("{found} nodes after functions are expanded, at most {MAX_NODES} allowed"),
    )
}
