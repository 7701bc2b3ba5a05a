//! Local functions expanded into one flat graph, counted on the call graph first: 29 functions that each call the next
//! twice are 17 KB on disk and 2²⁸ nodes here.

use std::collections::HashMap;

use prost::Message;

use super::{MAX_NODES, vet};
use crate::{
    onnx::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto},
    problem::Problem,
};

/// Most that calls of local functions may copy, bytes: a megabyte's name or tensor in a function of 20,000 calls is 20 GB.
const MAX_COPIED: u64 = 64 << 20;

type Key<'a> = (&'a str, &'a str, &'a str);

fn key(node: &NodeProto) -> Key<'_> {
    (&node.domain, &node.op_type, &node.overload)
}

/// Where a node of the flat graph came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the author called it, with the functions round it.
    pub label: String,
    /// The node as written: two calls of one function share the origins of its nodes, and so its weights.
    pub origin: usize,
}

/// The graph with every call expanded and every node named `n{i}`, and the [`Place`] of each node.
pub fn flatten(model: &ModelProto) -> Result<(GraphProto, Vec<Place>), Problem> {
    let graph = model.graph.clone().unwrap_or_default();
    let functions: HashMap<Key, &FunctionProto> =
        model.functions.iter().map(|f| ((f.domain.as_str(), f.name.as_str(), f.overload.as_str()), f)).collect();
    let mut sizes = HashMap::new();
    let total =
        graph.node.iter().try_fold(0u64, |n, node| Ok(n.saturating_add(size(node, &functions, &mut sizes, 0)?)))?;
    if total > MAX_NODES {
        return Err(vet::too_many(total));
    }
    // Origins: the graph's own nodes first, then the functions', one function after the other.
    let mut bases = HashMap::new();
    let mut next = graph.node.len();
    for function in &model.functions {
        bases.insert(std::ptr::from_ref(function), next);
        next += function.node.len();
    }
    let mut flat = Flat { functions: &functions, bases, nodes: Vec::new(), places: Vec::new(), calls: 0, copied: 0 };
    for (origin, node) in graph.node.iter().enumerate() {
        flat.push(node.clone(), "", origin)?;
    }
    let Flat { mut nodes, places, .. } = flat;
    for (i, node) in nodes.iter_mut().enumerate() {
        node.name = format!("n{i}");
        node.doc_string.clear();
        node.metadata_props.clear();
    }
    Ok((GraphProto { node: nodes, doc_string: String::new(), value_info: Vec::new(), ..graph }, places))
}

/// Nodes that one node becomes; a function that reaches itself is an error.
fn size<'a>(
    node: &'a NodeProto,
    functions: &HashMap<Key<'a>, &'a FunctionProto>,
    sizes: &mut HashMap<Key<'a>, Option<u64>>,
    depth: usize,
) -> Result<u64, Problem> {
    let Some(function) = functions.get(&key(node)) else { return Ok(1) };
    let recursive = || Problem::new("onnx_invalid_graph", "a local function calls itself").at(&function.name);
    match sizes.get(&key(node)) {
        Some(Some(known)) => return Ok(*known),
        Some(None) => return Err(recursive()),
        None => {}
    }
    // Deeper than any exporter nests, and well above our own stack's end.
    if depth > 64 {
        return Err(Problem::new("onnx_too_many_nodes", "local functions nest more than 64 deep").at(&function.name));
    }
    sizes.insert(key(node), None);
    let mut total = 0u64;
    for inner in &function.node {
        total = total.saturating_add(size(inner, functions, sizes, depth + 1)?);
    }
    sizes.insert(key(node), Some(total));
    Ok(total)
}

struct Flat<'a> {
    functions: &'a HashMap<Key<'a>, &'a FunctionProto>,
    bases: HashMap<*const FunctionProto, usize>,
    nodes: Vec<NodeProto>,
    places: Vec<Place>,
    calls: usize,
    /// Bytes of names and attributes that calls made copies of.
    copied: u64,
}

impl Flat<'_> {
    fn push(&mut self, node: NodeProto, caller: &str, origin: usize) -> Result<(), Problem> {
        let label = vet::label(&node);
        let label = if caller.is_empty() { label } else { format!("{caller}/{label}") };
        let Some(function) = self.functions.get(&key(&node)).copied() else {
            self.nodes.push(node);
            self.places.push(Place { label, origin });
            return Ok(());
        };
        self.calls += 1;
        let prefix = format!("call{}/", self.calls);
        // Formal names become the caller's actual ones; everything else inside gets the call's own prefix.
        let mut names: HashMap<&str, String> = HashMap::new();
        for (i, formal) in function.input.iter().enumerate() {
            names.insert(formal, node.input.get(i).cloned().unwrap_or_default());
        }
        for (formal, actual) in function.output.iter().zip(&node.output) {
            if !actual.is_empty() {
                names.insert(formal, actual.clone());
            }
        }
        let rename = |name: &String| match names.get(name.as_str()) {
            Some(actual) => actual.clone(),
            None if name.is_empty() => String::new(),
            None => format!("{prefix}{name}"),
        };
        let base = self.bases.get(&std::ptr::from_ref(function)).copied().unwrap_or_default();
        for (i, inner) in function.node.iter().enumerate() {
            let mut inner = inner.clone();
            inner.input = inner.input.iter().map(rename).collect();
            inner.output = inner.output.iter().map(rename).collect();
            inner.attribute = inner.attribute.iter().filter_map(|a| bind(a, &node, function)).collect();
            self.copied += (inner.encoded_len() + label.len()) as u64;
            if self.copied > MAX_COPIED {
                let message = format!("calls of local functions copy more than {} MiB", MAX_COPIED >> 20);
                return Err(Problem::new("onnx_too_large", message).at(&function.name).hint(
                    "Keep weights in the graph's initializers and hand them to the function: then they are stored once.",
                ));
            }
            self.push(inner, &label, base + i)?;
        }
        Ok(())
    }
}

/// An attribute of a function's node: its own value, the caller's where it refers to one, or the function's default.
fn bind(attribute: &AttributeProto, call: &NodeProto, function: &FunctionProto) -> Option<AttributeProto> {
    if attribute.ref_attr_name.is_empty() {
        return Some(attribute.clone());
    }
    let given = call.attribute.iter().find(|a| a.name == attribute.ref_attr_name);
    let default = || function.attribute_proto.iter().find(|a| a.name == attribute.ref_attr_name);
    given.or_else(default).map(|value| AttributeProto { name: attribute.name.clone(), ..value.clone() })
}
