//! Parameters: the elements of every input-independent tensor at the point where it meets data that depends on the input,
//! wherever and however the graph holds them. Packing weights into integers, generating them from a formula, cropping them
//! by the input's shape or moving them into Constant nodes changes nothing; shapes, axes, indices, quantisation scales and
//! lone factors do not count, nor do the mean and deviation of the picture's three channels that some networks take off
//! first and put back last.

use std::collections::{BTreeMap, HashSet};

use super::{
    Sizes,
    filters::Filters,
    flow::{Class, Flow, identity},
    norms,
    positions::Positions,
};
use crate::{
    problem::Problem,
    {
        model::{Model, is_view, structural_inputs, weight_inputs},
        onnx::proto::NodeProto,
    },
};

/// Different lone numbers that a network may meet its data with before they count as parameters: constants of activation
/// functions, the range of the picture, residual scales. Of 40 published networks none has more than 12.
const LONE_NUMBERS: usize = 64;

/// Views between a quantised product and its scales that are looked through; exporters write one Cast.
const VIEWS_BETWEEN: usize = 16;

/// Tensors of three numbers that are not counted at the picture's side: a mean and a deviation at either end.
const PICTURE_CONSTANTS: usize = 4;

/// Parameters by the node where they meet data; a tensor that meets it twice counts once.
pub fn by_node(model: &Model, sizes: &Sizes, flow: &Flow, filters: &Filters) -> Result<Vec<u64>, Problem> {
    let graph = &model.flat;
    let pictures = picture_side(model);
    let mut weights = vec![0u64; graph.node.len()];
    let mut counted: HashSet<u64> = HashSet::new();
    let positions = Positions::of(model, sizes, flow);
    let mut free = PICTURE_CONSTANTS;
    // Lone numbers by value, each with the node that it first meets data at.
    let mut lone: BTreeMap<u64, usize> = BTreeMap::new();
    let mut walked: HashSet<usize> = HashSet::new();
    for (i, (node, place)) in graph.node.iter().zip(&model.places).enumerate().filter(|(_, (n, _))| flow.is_data(n)) {
        let op = node.op_type.as_str();
        for (slot, name) in node.input.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            if structural_inputs(op).contains(&slot) && !scales_channels(node, slot, sizes)
                || rescales_integers(model, flow, node)
                || slot > 0 && norms::is_filled(model, sizes, flow, node)
            {
                continue;
            }
            let always = weight_inputs(op).contains(&slot);
            let id = match flow.class(name) {
                Some(Class::Constant(id)) => normalisation(node, slot, id, flow),
                // Weights computed from a shape are weights all the same.
                Some(Class::Shape) if always => identity(("shape", name)),
                Some(Class::Shape) => {
                    weights[i] += behind_shape(model, sizes, flow, name, &mut counted, &mut walked);
                    continue;
                }
                _ => continue,
            };
            let elements =
                sizes.input(node, slot).map(|d| d.iter().product::<u64>()).map_err(|p| p.at(&place.label))?;
            let plain = matches!(op, "Add" | "Sub" | "Mul" | "Div") && !filters.products.contains(&i);
            if elements == 3 && free > 0 && plain && pictures.contains(&i) {
                free -= 1;
                continue;
            }
            let held = if counted.contains(&id) { None } else { positions.held(node, name) };
            if let Some(held) = held {
                // Nothing of a mask: elsewhere it would count.
                weights[i] += if held > 0 && counted.insert(id) { held.min(elements) } else { 0 };
            } else if elements > 1 || always || filters.lone_weights.contains(&i) {
                weights[i] += if counted.insert(id) { elements } else { 0 };
            } else if elements == 1 {
                lone.entry(sizes.scalar_key(name).unwrap_or(id)).or_insert(i);
            }
        }
    }
    if lone.len() > LONE_NUMBERS {
        lone.values().for_each(|&i| weights[i] += 1);
    }
    Ok(weights)
}

/// On data, a scale for each channel is a weight and no property of the number format.
fn scales_channels(node: &NodeProto, slot: usize, sizes: &Sizes) -> bool {
    let quantises = matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear");
    quantises && slot == 1 && node.input.get(1).and_then(|name| sizes.elements(name)).is_some_and(|n| n > 1)
}

/// Takes the integers of a quantised product back to real numbers: what it multiplies with are the scales of its operands.
fn rescales_integers(model: &Model, flow: &Flow, node: &NodeProto) -> bool {
    let quantised = |name: &String| {
        let mut name = name.as_str();
        for _ in 0..VIEWS_BETWEEN {
            let Some(node) = flow.writer(name).map(|i| &model.flat.node[i]) else { return false };
            match node.op_type.as_str() {
                "ConvInteger" | "MatMulInteger" => return true,
                "DynamicQuantizeLinear" => return node.output.get(1).is_some_and(|scale| scale == name),
                op if is_view(op) => name = node.input.first().map(String::as_str).unwrap_or_default(),
                _ => return false,
            }
        }
        false
    };
    node.op_type == "Mul" && node.input.iter().any(quantised)
}

/// Of batch normalisation the exporter may store equal scales once; the statistics, which do not count, tell the layers
/// apart.
fn normalisation(node: &NodeProto, slot: usize, id: u64, flow: &Flow) -> u64 {
    let statistic = match (node.op_type.as_str(), slot) {
        ("BatchNormalization", 1) => node.input.get(4),
        ("BatchNormalization", 2) => node.input.get(3),
        _ => None,
    };
    match statistic.and_then(|name| flow.class(name)) {
        Some(Class::Constant(other)) => identity((id, other)),
        _ => id,
    }
}

/// Elements of the stored tensors that a tensor was computed from together with the input's shape: a table cropped to the
/// image's size holds weights like any other.
fn behind_shape(
    model: &Model,
    sizes: &Sizes,
    flow: &Flow,
    name: &str,
    counted: &mut HashSet<u64>,
    walked: &mut HashSet<usize>,
) -> u64 {
    let mut found = 0;
    let mut open: Vec<usize> = flow.writer(name).into_iter().collect();
    while let Some(i) = open.pop() {
        if !walked.insert(i) {
            continue;
        }
        let node = &model.flat.node[i];
        let structural = structural_inputs(&node.op_type);
        for (_, name) in node.input.iter().enumerate().filter(|(slot, _)| !structural.contains(slot)) {
            match flow.class(name) {
                Some(Class::Constant(id)) => {
                    let elements = sizes.elements(name).unwrap_or(0);
                    found += if elements > 1 && counted.insert(id) { elements } else { 0 };
                }
                Some(Class::Shape) if node.op_type != "Shape" && node.op_type != "Size" => {
                    open.extend(flow.writer(name))
                }
                _ => {}
            }
        }
    }
    found
}

/// Nodes that see the picture itself, before the first operator that mixes pixels or after the last.
fn picture_side(model: &Model) -> HashSet<usize> {
    let pixelwise = |op: &str| is_view(op) || matches!(op, "Add" | "Sub" | "Mul" | "Div" | "Clip" | "Pad" | "Slice");
    let nodes = &model.flat.node;
    let mut side = HashSet::new();
    let mut seen = HashSet::from([model.input.as_str()]);
    for (i, node) in nodes.iter().enumerate().filter(|(_, n)| pixelwise(&n.op_type)) {
        if node.input.iter().any(|name| seen.contains(name.as_str())) {
            side.insert(i);
            seen.extend(node.output.iter().map(String::as_str));
        }
    }
    let mut wanted = HashSet::from([model.output.as_str()]);
    for (i, node) in nodes.iter().enumerate().rev().filter(|(_, n)| pixelwise(&n.op_type)) {
        if node.output.iter().any(|name| wanted.contains(name.as_str())) {
            side.insert(i);
            wanted.extend(node.input.iter().map(String::as_str));
        }
    }
    side
}
