//! Normalisations and pools as PyTorch's exporters write them, where the operator set has none of their own or asks for weights
//! that the network has not.

use super::{Sizes, attribute, flow::Flow};
use crate::{
    problem::Problem,
    {
        model::{Model, floats, integers},
        onnx::proto::NodeProto,
    },
};

/// What fvcore counts for each element of layer, group and instance normalisation, with weights and without.
const WITH_WEIGHTS: u64 = 5;
const WITHOUT: u64 = 4;

/// What fvcore counts for a node as a normalisation or a pool.
pub fn fvcore(model: &Model, sizes: &Sizes, flow: &Flow, node: &NodeProto) -> Result<u64, Problem> {
    let read = || sizes.input(node, 0);
    let elements = |dims: &[u64]| dims.iter().product::<u64>();
    Ok(match node.op_type.as_str() {
        "InstanceNormalization" | "LayerNormalization" | "GroupNormalization" | "RMSNormalization" => {
            let dims = read()?;
            // The rows are groups, whose weights follow.
            let of_groups = node.op_type == "InstanceNormalization" && dims.len() == 3;
            let each = if is_filled(model, sizes, flow, node) && !of_groups { WITHOUT } else { WITH_WEIGHTS };
            each * elements(dims)
        }
        "Div" if ends_layer_norm(model, flow, node) => WITH_WEIGHTS * elements(read()?),
        "ReduceMean" if is_pool(sizes, node) => elements(read()?),
        _ => 0,
    })
}

/// A normalisation whose ones and zeros only fill the operator's form: an InstanceNormalization that stands for one without
/// weights, or for the first half of a group normalisation; a LayerNormalization without weights, which has no shift.
pub fn is_filled(model: &Model, sizes: &Sizes, flow: &Flow, node: &NodeProto) -> bool {
    let shift = node.input.get(2).filter(|name| !name.is_empty());
    node.input.get(1).is_some_and(|scale| holds_only(model, sizes, flow, scale, 1.0))
        && match node.op_type.as_str() {
            "InstanceNormalization" => shift.is_some_and(|shift| holds_only(model, sizes, flow, shift, 0.0)),
            "LayerNormalization" => shift.is_none(),
            _ => false,
        }
}

/// Whether a Div ends a layer normalisation, as PyTorch's exporter writes it for operator sets before 17:
/// (x − mean) / √(mean of (x − mean)² + ε), with means over the last dimensions and one and the same x − mean.
fn ends_layer_norm(model: &Model, flow: &Flow, node: &NodeProto) -> bool {
    let nodes = &model.flat.node;
    let writer = |name: &String, op: &str| flow.writer(name).map(|i| &nodes[i]).filter(|node| node.op_type == op);
    let over_last = |node: &NodeProto| attribute(node, "axes").is_some_and(|axes| axes.ints.contains(&-1));
    let ends = || -> Option<bool> {
        let (centred, deviation) = (node.input.first()?, node.input.get(1)?);
        let difference = writer(centred, "Sub")?;
        let mean = writer(difference.input.get(1)?, "ReduceMean")?;
        let shifted = writer(writer(deviation, "Sqrt")?.input.first()?, "Add")?;
        let variance = shifted.input.iter().find_map(|name| writer(name, "ReduceMean"))?;
        let square = writer(variance.input.first()?, "Pow")?;
        let same = square.input.first()? == centred && mean.input.first()? == difference.input.first()?;
        Some(same && over_last(mean) && over_last(variance))
    };
    ends() == Some(true)
}

/// What a node normalises, where it ends a normalisation that is written out: (x − mean) / √(variance + ε), over whatever axes.
/// Like an operator of its own it leaves every element where it was, though means take part.
pub fn normalised<'a>(model: &'a Model, flow: &Flow, node: &'a NodeProto) -> Option<&'a str> {
    let nodes = &model.flat.node;
    let writer = |name: &str| flow.writer(name).map(|i| &nodes[i]);
    // The x of an x − mean(x).
    let centred = |name: &str| {
        let difference = writer(name).filter(|node| node.op_type == "Sub")?;
        let [x, mean] = difference.input.as_slice() else { return None };
        let mean = writer(mean).filter(|node| node.op_type == "ReduceMean")?;
        (mean.input.first() == Some(x)).then_some(x.as_str())
    };
    let square = |name: &str| {
        let node = writer(name)?;
        let same = node.op_type == "Pow" || node.op_type == "Mul" && node.input.first() == node.input.get(1);
        centred(node.input.first().filter(|_| same)?)
    };
    let deviation = match node.op_type.as_str() {
        "Div" => writer(node.input.get(1)?)?,
        "Mul" => {
            let inverse =
                node.input.iter().filter_map(|name| writer(name)).find(|node| node.op_type == "Reciprocal")?;
            writer(inverse.input.first()?)?
        }
        _ => return None,
    };
    let shifted = writer(deviation.input.first().filter(|_| deviation.op_type == "Sqrt")?)?;
    let variance = shifted.input.iter().filter(|_| shifted.op_type == "Add").find_map(|name| {
        let mut node = writer(name)?;
        // That of a sample is scaled, by a number of elements and by one less.
        while let ("Mul" | "Div", Some(before)) =
            (node.op_type.as_str(), node.input.first().and_then(|name| writer(name)))
        {
            node = before;
        }
        (node.op_type == "ReduceMean").then_some(node)
    })?;
    let x = square(variance.input.first()?)?;
    node.input.iter().any(|name| centred(name) == Some(x)).then_some(x)
}

/// Whether a ReduceMean is an average over the picture as PyTorch's new exporter writes AdaptiveAvgPool2d(1): over the axes -1
/// and -2, in this order. A mean that a network takes itself, which fvcore counts nothing for, names them otherwise.
fn is_pool(sizes: &Sizes, node: &NodeProto) -> bool {
    let stored = node.input.get(1).and_then(|name| sizes.stored(name)).and_then(integers);
    let by_input = stored.is_some_and(|axes| axes.take(3).eq([-1, -2]));
    by_input || attribute(node, "axes").is_some_and(|axes| axes.ints == [-1, -2])
}

/// Whether every element of a stored tensor, or of one number spread over a shape, is `value`.
fn holds_only(model: &Model, sizes: &Sizes, flow: &Flow, name: &str, value: f32) -> bool {
    let spread = flow.writer(name).map(|i| &model.flat.node[i]).filter(|node| node.op_type == "Expand");
    let name = spread.and_then(|node| node.input.first()).map_or(name, String::as_str);
    sizes.stored(name).and_then(floats).is_some_and(|mut found| found.all(|found| found == value))
}
