//! Parameters: the elements of every input-independent tensor at the point where it meets data that depends on the input,
//! wherever and however the graph holds them. Packing weights into integers, generating them from a formula or moving them
//! into Constant nodes changes nothing; shapes, axes, indices, quantisation scales and lone factors do not count, nor do the
//! mean and deviation of the picture's three channels that some networks take off first and put back last.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use prost::Message;

use super::Sizes;
use crate::{
    evaluation::model::{Model, is_view, structural_inputs, weight_inputs},
    problem::Problem,
};

/// The parameters of a graph, by the node where they meet data.
pub struct Weights {
    /// Elements first met at each node; a tensor met twice counts once.
    pub by_node: Vec<u64>,
    /// Nodes that multiply data with weights elementwise.
    pub multipliers: HashSet<usize>,
}

/// What a tensor depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Nothing: stored, or computed from what is stored. The number says which stored tensor or formula it is.
    Constant(u64),
    /// The input's shape only.
    Shape,
    /// The input's pixels.
    Data,
}

pub fn weight_elements(model: &Model, sizes: &Sizes) -> Result<Weights, Problem> {
    let graph = &model.flat;
    let mut classes: HashMap<&str, Class> = HashMap::new();
    for tensor in &graph.initializer {
        classes.insert(&tensor.name, Class::Constant(identity(("stored", &tensor.name))));
    }
    for values in graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref()) {
        classes.insert(&values.name, Class::Constant(identity(("stored", &values.name))));
    }
    classes.insert(&model.input, Class::Data);
    let pictures = picture_side(model);
    let mut weights = Weights { by_node: vec![0; graph.node.len()], multipliers: HashSet::new() };
    let mut counted: HashSet<u64> = HashSet::new();
    for (i, (node, place)) in graph.node.iter().zip(&model.places).enumerate() {
        let op = node.op_type.as_str();
        let inputs: Vec<Option<Class>> = node.input.iter().map(|name| classes.get(name.as_str()).copied()).collect();
        let given = || inputs.iter().flatten();
        let class = if given().all(|c| matches!(c, Class::Constant(_))) {
            Class::Constant(match (is_view(op), inputs.first().copied().flatten()) {
                (true, Some(Class::Constant(id))) => id,
                _ => {
                    let attributes: Vec<Vec<u8>> = node.attribute.iter().map(Message::encode_to_vec).collect();
                    let parts: Vec<u64> = given().map(|c| if let Class::Constant(id) = c { *id } else { 0 }).collect();
                    identity((place.origin, op, attributes, parts))
                }
            })
        } else if matches!(op, "Shape" | "Size") || given().all(|c| *c != Class::Data) {
            Class::Shape
        } else {
            Class::Data
        };
        if class == Class::Data {
            let structural = structural_inputs(op);
            for (slot, found) in inputs.iter().enumerate() {
                let always = weight_inputs(op).contains(&slot);
                let id = match found {
                    _ if structural.contains(&slot) => continue,
                    Some(Class::Constant(id)) => *id,
                    // Weights computed from a shape are weights all the same.
                    Some(Class::Shape) if always => identity(("shape", &node.input[slot])),
                    _ => continue,
                };
                let elements =
                    sizes.input(node, slot).map(|d| d.iter().product::<u64>()).map_err(|p| p.at(&place.label))?;
                if elements == 3 && pictures.contains(&i) && matches!(op, "Add" | "Sub" | "Mul" | "Div") {
                    continue;
                }
                if elements > 1 && op == "Mul" {
                    weights.multipliers.insert(i);
                }
                if (elements > 1 || always) && counted.insert(id) {
                    weights.by_node[i] += elements;
                }
            }
        }
        for (slot, name) in node.output.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
            let class = match class {
                Class::Constant(id) if slot > 0 => Class::Constant(identity((id, slot))),
                other => other,
            };
            classes.insert(name, class);
        }
    }
    Ok(weights)
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

fn identity(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
