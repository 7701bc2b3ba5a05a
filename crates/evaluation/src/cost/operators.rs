//! What one call of an operator costs, by each of the definitions.

use super::{Sizes, attribute};
use crate::{
    problem::Problem,
    {model::is_view, onnx::proto::NodeProto},
};

/// One call's cost. A multiply-add counts as one, biases as nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct One {
    /// A two-dimensional convolution: the only kind that the field's counters see.
    pub conv: bool,
    pub kair: u64,
    pub fvcore: u64,
    pub macs: u64,
    /// Elements of the first output; 0 where nobody needs it and the shape is unknown.
    pub output: u64,
}

/// `product`: it multiplies elementwise, and the products are added up.
pub fn cost(node: &NodeProto, sizes: &Sizes, product: bool) -> Result<One, Problem> {
    let written = || sizes.output(node).map(elements);
    let read = |i| sizes.input(node, i).map(elements);
    let mut one =
        One { output: node.output.first().and_then(|name| sizes.elements(name)).unwrap_or(0), ..One::default() };
    match node.op_type.as_str() {
        "Conv" | "ConvInteger" | "QLinearConv" => {
            let weight = sizes.input(node, if node.op_type == "QLinearConv" { 3 } else { 1 })?;
            // Weights are [out, in/groups, kernel…]: each output element takes in/groups × kernel multiply-adds.
            one.macs = written()? * elements(&weight[1.min(weight.len())..]);
            one.fvcore = one.macs;
            one.conv = weight.len() == 4;
            one.kair = if one.conv { one.macs } else { 0 };
        }
        "ConvTranspose" => {
            let weight = sizes.input(node, 1)?;
            // Weights are [in, out/groups, kernel…]: each input element is spread over out/groups × kernel.
            one.macs = read(0)? * elements(&weight[1.min(weight.len())..]);
            one.fvcore = one.macs;
            one.conv = weight.len() == 4;
            if one.conv {
                // KAIR counts in/groups × kernel at every output element, as if it were a plain convolution.
                let groups = attribute(node, "group").map_or(1, |a| a.i.max(1) as u64);
                one.kair = written()? * (weight[0] / groups) * elements(&weight[2..]);
            }
        }
        "MatMul" | "MatMulInteger" | "QLinearMatMul" => {
            let inner = sizes.input(node, 0)?.last().copied().unwrap_or(1);
            one.macs = written()? * inner;
            one.fvcore = one.macs;
        }
        "Gemm" => {
            let left = sizes.input(node, 0)?;
            let transposed = attribute(node, "transA").is_some_and(|a| a.i != 0);
            let inner = if transposed { left.first() } else { left.last() };
            one.macs = written()? * inner.copied().unwrap_or(1);
            one.fvcore = one.macs;
        }
        "Einsum" => {
            one.macs = einsum(node, sizes)?;
            one.fvcore = one.macs;
        }
        "Relu" | "LeakyRelu" | "PRelu" | "Elu" => one.kair = written()?,
        "Clip" if is_relu6(node, sizes) => one.kair = written()?,
        "BatchNormalization" => (one.kair, one.fvcore) = (2 * read(0)?, 2 * read(0)?),
        "Resize" | "Upsample" => {
            let mode = attribute(node, "mode").map(|a| a.s.as_slice()).unwrap_or(b"nearest");
            one.fvcore = match mode {
                b"linear" | b"bilinear" => 4 * written()?,
                b"nearest" => written()?,
                _ => 0,
            };
        }
        "GridSample" => {
            let mode = attribute(node, "mode").map(|a| a.s.as_slice()).unwrap_or(b"linear");
            one.fvcore = if matches!(mode, b"linear" | b"bilinear") { 4 * written()? } else { 0 };
        }
        "GlobalAveragePool" => one.fvcore = read(0)?,
        _ => {}
    }
    if product && one.macs == 0 {
        one.macs = written()?;
    }
    Ok(one)
}

/// Arithmetic of a node that is no multiply-add with weights: what is left when the weighted operators are counted. Moving
/// elements is none; looking them up in a table of weights is. `table`: the first input holds no data.
pub fn arithmetic(node: &NodeProto, sizes: &Sizes, table: bool) -> u64 {
    let written = node.output.first().and_then(|name| sizes.elements(name)).unwrap_or(0);
    let read = node.input.first().and_then(|name| sizes.elements(name)).unwrap_or(0);
    let taps = |linear: u64, cubic: u64| match attribute(node, "mode").map(|a| a.s.as_slice()) {
        Some(b"linear" | b"bilinear") => linear * written,
        Some(b"cubic" | b"bicubic") => cubic * written,
        None if node.op_type == "GridSample" => linear * written,
        _ => 0,
    };
    match node.op_type.as_str() {
        op if is_view(op) && !op.ends_with("Linear") => 0,
        "Constant" | "Shape" | "Size" | "Slice" | "Split" | "Concat" | "Pad" | "Tile" | "Expand" | "DepthToSpace"
        | "SpaceToDepth" | "Dropout" | "Range" | "ConstantOfShape" | "EyeLike" | "Trilu" => 0,
        "Gather" | "GatherElements" | "GatherND" => {
            if table {
                written
            } else {
                0
            }
        }
        "ScatterND" | "ScatterElements" => {
            let adds = attribute(node, "reduction").is_some_and(|a| a.s != b"none");
            if adds { node.input.get(2).and_then(|name| sizes.elements(name)).unwrap_or(0) } else { 0 }
        }
        "Resize" | "Upsample" | "GridSample" => taps(4, 16),
        "AveragePool" | "MaxPool" => {
            let window = attribute(node, "kernel_shape").map(|a| a.ints.as_slice()).unwrap_or_default();
            window.iter().fold(written, |n, &k| n.saturating_mul(k.max(1) as u64))
        }
        "LRN" => written.saturating_mul(attribute(node, "size").map_or(1, |a| a.i.max(1) as u64)),
        _ => written.max(read),
    }
}

/// Only names the same memory otherwise.
pub fn is_free(op: &str) -> bool {
    matches!(op, "Constant" | "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Dropout")
}

/// torch exports ReLU6 as a clip to 0…6; the usual clamp of a picture to 0…1 is no activation.
fn is_relu6(node: &NodeProto, sizes: &Sizes) -> bool {
    let bound = |name, slot| attribute(node, name).map(|a| a.f).or_else(|| sizes.scalar(node, slot));
    bound("min", 1) == Some(0.0) && bound("max", 2) == Some(6.0)
}

fn elements(dims: &[u64]) -> u64 {
    dims.iter().product()
}

/// Multiply-adds of an Einsum: the product of every index's size, less one factor where there is nothing to multiply.
fn einsum(node: &NodeProto, sizes: &Sizes) -> Result<u64, Problem> {
    let bad = || Problem::new("cost_unknown", "the equation of this Einsum cannot be counted");
    let equation =
        attribute(node, "equation").map(|a| String::from_utf8_lossy(&a.s).replace(' ', "")).ok_or_else(bad)?;
    let left = equation.split("->").next().unwrap_or_default();
    let mut indices: std::collections::BTreeMap<(char, usize), u64> = std::collections::BTreeMap::new();
    let terms: Vec<&str> = left.split(',').collect();
    for (i, term) in terms.iter().enumerate() {
        let dims = sizes.input(node, i)?;
        let (before, after) = term.split_once("...").map_or((*term, None), |(before, after)| (before, Some(after)));
        let named = |text: &str| text.chars().map(|c| (c, 0)).collect::<Vec<_>>();
        let (before, behind) = (named(before), named(after.unwrap_or_default()));
        let left_out = dims.len().checked_sub(before.len() + behind.len()).filter(|&n| n == 0 || after.is_some());
        // What the dots stand for broadcasts: it is told apart by its place from the right.
        let dots = (0..left_out.ok_or_else(bad)?).rev().map(|place| ('.', place));
        for (index, &size) in before.into_iter().chain(dots).chain(behind).zip(dims) {
            let known = indices.entry(index).or_insert(size);
            *known = (*known).max(size);
        }
    }
    let all: u64 = indices.values().product();
    // A lone operand is a transposition or a sum: no multiplication. More than two multiply once more for each.
    Ok(all * (terms.len() as u64 - 1))
}
