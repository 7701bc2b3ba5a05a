//! What each tensor of a graph depends on: nothing, the input's shape, or the input's pixels.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use prost::Message;

use crate::{
    model::{Model, is_view},
    onnx::proto::NodeProto,
};

/// What a tensor depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing: stored, or computed from what is stored. The number says which stored tensor or formula it is.
    Constant(u64),
    /// The input's shape only.
    Shape,
    /// The input's pixels.
    Data,
}

pub struct Flow<'a> {
    classes: HashMap<&'a str, Class>,
    /// Node that writes a tensor.
    writers: HashMap<&'a str, usize>,
}

impl<'a> Flow<'a> {
    pub fn of(model: &'a Model) -> Self {
        let graph = &model.flat;
        let mut flow = Flow { classes: HashMap::new(), writers: HashMap::new() };
        let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
        for tensor in graph.initializer.iter().chain(sparse) {
            flow.classes.insert(&tensor.name, Class::Constant(identity(("stored", &tensor.name))));
        }
        flow.classes.insert(&model.input, Class::Data);
        for (i, (node, place)) in graph.node.iter().zip(&model.places).enumerate() {
            let class = flow.written(node, place.origin);
            for (slot, name) in node.output.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
                let class = match class {
                    Class::Constant(id) if slot > 0 => Class::Constant(identity((id, slot))),
                    other => other,
                };
                flow.classes.insert(name, class);
                flow.writers.insert(name, i);
            }
        }
        flow
    }

    pub fn class(&self, name: &str) -> Option<Class> {
        self.classes.get(name).copied()
    }

    /// Whether a node computes on pixels.
    pub fn is_data(&self, node: &NodeProto) -> bool {
        node.output.iter().any(|name| self.class(name) == Some(Class::Data))
    }

    pub fn writer(&self, name: &str) -> Option<usize> {
        self.writers.get(name).copied()
    }

    /// Class of a node's first output.
    fn written(&self, node: &NodeProto, origin: usize) -> Class {
        let op = node.op_type.as_str();
        let inputs: Vec<Option<Class>> = node.input.iter().map(|name| self.class(name)).collect();
        let given = || inputs.iter().flatten();
        if given().all(|c| matches!(c, Class::Constant(_))) {
            let parts: Vec<u64> = given().map(|c| if let Class::Constant(id) = c { *id } else { 0 }).collect();
            return Class::Constant(match (is_view(op), parts.as_slice()) {
                // The same elements in another shape or order.
                (true, [id, ..]) if !is_lossy(op) => *id,
                // The same elements in another type: one tensor however often it is converted. But other bits of a packed
                // one, or other scales, are other weights.
                (true, parts) => identity(("as", op, attributes(node), parts)),
                (false, parts) => identity((origin, op, attributes(node), parts)),
            });
        }
        if matches!(op, "Shape" | "Size") || given().all(|c| *c != Class::Data) { Class::Shape } else { Class::Data }
    }
}

/// Views that can make other numbers of the same ones.
fn is_lossy(op: &str) -> bool {
    matches!(op, "Cast" | "CastLike" | "QuantizeLinear" | "DequantizeLinear")
}

fn attributes(node: &NodeProto) -> Vec<Vec<u8>> {
    node.attribute.iter().map(Message::encode_to_vec).collect()
}

pub fn identity(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
