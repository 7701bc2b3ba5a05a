//! The checks of a decoded model, each with a stable code. All of them run, so that a team sees every fault at once.

use std::collections::{HashMap, HashSet};

use super::{IR_VERSIONS, MAX_NODES, OPSETS, Place, io, operators, tensors};
use crate::{
    onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataType},
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
    problems.extend(io::check(graph));
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
        if (!local && !known) || subgraph {
            let name = if standard(&node.domain) {
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
    } else if node.op_type.contains("Attention") {
        "Its products are not counted: export with opset_version=17, where attention is MatMul, Softmax and MatMul."
    } else {
        "`upscore profile --operators` prints what is allowed; control flow, random and custom operators are not."
    }
}

/// Operators that behave as in training, random or with statistics of the batch: of a graph whose names are all known, since
/// what an input holds decides and not that it is there.
fn training(graph: &GraphProto, places: &[Place]) -> Vec<Problem> {
    let stored = io::stored(graph);
    let writers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    let trains = |node: &NodeProto| match node.op_type.as_str() {
        "Dropout" => node.input.get(2).is_some_and(|mode| {
            let mut name = mode.as_str();
            while let Some(node) = writers.get(name).filter(|node| matches!(node.op_type.as_str(), "Identity" | "Cast"))
            {
                name = node.input.first().map(String::as_str).unwrap_or_default();
            }
            !name.is_empty() && stored.get(name).and_then(|tensor| truth(tensor)) != Some(false)
        }),
        "BatchNormalization" => node.attribute.iter().any(|a| a.name == "training_mode" && a.i != 0),
        _ => false,
    };
    let mut found: Vec<(&str, usize, &str)> = Vec::new();
    for (node, place) in graph.node.iter().zip(places).filter(|(node, _)| trains(node)) {
        match found.iter_mut().find(|(op, _, _)| *op == node.op_type) {
            Some((_, times, _)) => *times += 1,
            None => found.push((&node.op_type, 1, &place.label)),
        }
    }
    let told = |(op, times, place): (&str, usize, &str)| {
        let message = format!("the operator {op} in training mode is not allowed (used {times}×)");
        Problem::new("onnx_op_not_allowed", message)
            .at(place)
            .hint("Call model.eval() before torch.onnx.export, and do not pass `training`.")
    };
    found.into_iter().map(told).collect()
}

/// The truth value, or number, of a stored tensor of one element.
fn truth(tensor: &TensorProto) -> Option<bool> {
    match DataType::try_from(tensor.data_type) {
        Ok(DataType::Bool | DataType::Uint8 | DataType::Int8) => {
            let value = tensor.raw_data.first().map(|&byte| i32::from(byte)).or(tensor.int32_data.first().copied());
            value.map(|value| value != 0)
        }
        _ => match tensors::integers(tensor) {
            Some(mut numbers) => numbers.next().map(|value| value != 0),
            None => tensors::floats(tensor)?.next().map(|value| value != 0.0),
        },
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
    for input in io::fed_inputs(graph) {
        known.insert(&input.name, true);
    }
    if graph.node.len() as u64 > MAX_NODES {
        return vec![too_many(graph.node.len() as u64)];
    }
    problems.extend(training(graph, places));
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
