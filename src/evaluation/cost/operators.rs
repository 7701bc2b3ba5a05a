//! What one call of an operator costs, by each of the definitions.

use super::{Sizes, attribute};
use crate::{evaluation::onnx::proto::NodeProto, problem::Problem};

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

pub fn cost(node: &NodeProto, sizes: &Sizes, summed: bool) -> Result<One, Problem> {
    let written = || sizes.output(node).map(product);
    let read = |i| sizes.input(node, i).map(product);
    let mut one =
        One { output: node.output.first().and_then(|name| sizes.elements(name)).unwrap_or(0), ..One::default() };
    match node.op_type.as_str() {
        "Conv" | "ConvInteger" | "QLinearConv" => {
            let weight = sizes.input(node, if node.op_type == "QLinearConv" { 3 } else { 1 })?;
            // Weights are [out, in/groups, kernel…]: each output element takes in/groups × kernel multiply-adds.
            one.macs = written()? * product(&weight[1.min(weight.len())..]);
            one.fvcore = one.macs;
            one.conv = weight.len() == 4;
            one.kair = if one.conv { one.macs } else { 0 };
        }
        "ConvTranspose" => {
            let weight = sizes.input(node, 1)?;
            // Weights are [in, out/groups, kernel…]: each input element is spread over out/groups × kernel.
            one.macs = read(0)? * product(&weight[1.min(weight.len())..]);
            one.fvcore = one.macs;
            one.conv = weight.len() == 4;
            if one.conv {
                // KAIR counts in/groups × kernel at every output element, as if it were a plain convolution.
                let groups = attribute(node, "group").map_or(1, |a| a.i.max(1) as u64);
                one.kair = written()? * (weight[0] / groups) * product(&weight[2..]);
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
        "Mul" if summed => one.macs = written()?,
        "Relu" | "LeakyRelu" | "PRelu" | "Elu" => one.kair = written()?,
        "Clip" if is_relu6(node, sizes) => one.kair = written()?,
        "BatchNormalization" => (one.kair, one.fvcore) = (2 * read(0)?, 2 * read(0)?),
        "InstanceNormalization" | "LayerNormalization" | "GroupNormalization" | "RMSNormalization" => {
            one.fvcore = 5 * read(0)?;
        }
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
    Ok(one)
}

/// torch exports ReLU6 as a clip to 0…6; the usual clamp of a picture to 0…1 is no activation.
fn is_relu6(node: &NodeProto, sizes: &Sizes) -> bool {
    let bound = |name, slot| attribute(node, name).map(|a| a.f).or_else(|| sizes.scalar(node, slot));
    bound("min", 1) == Some(0.0) && bound("max", 2) == Some(6.0)
}

fn product(dims: &[u64]) -> u64 {
    dims.iter().product()
}

/// Multiply-adds of an Einsum: the product of every index's size, less one factor where there is nothing to multiply.
fn einsum(node: &NodeProto, sizes: &Sizes) -> Result<u64, Problem> {
    let bad = || Problem::new("cost_unknown", "the equation of this Einsum cannot be counted");
    let equation =
        attribute(node, "equation").map(|a| String::from_utf8_lossy(&a.s).replace(' ', "")).ok_or_else(bad)?;
    if equation.contains('.') {
        return Err(bad());
    }
    let left = equation.split("->").next().unwrap_or_default();
    let mut indices: std::collections::BTreeMap<char, u64> = std::collections::BTreeMap::new();
    let terms: Vec<&str> = left.split(',').collect();
    for (i, term) in terms.iter().enumerate() {
        let dims = sizes.input(node, i)?;
        if term.chars().count() != dims.len() {
            return Err(bad());
        }
        for (index, &size) in term.chars().zip(dims) {
            let known = indices.entry(index).or_insert(size);
            *known = (*known).max(size);
        }
    }
    let all: u64 = indices.values().product();
    // A lone operand is a transposition or a sum: no multiplication. More than two multiply once more for each.
    Ok(all * (terms.len() as u64 - 1))
}
