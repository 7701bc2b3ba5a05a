//! Convolutions and matrix products in disguise: elementwise products with weights that are added up afterwards.
//!
//! Two ways to add up are told from what ordinary networks do:
//! - a **reduction** (ReduceSum, ReduceMean, CumSum, AveragePool …) of a product with a tensor of weights, or, for ReduceSum, of
//!   two tensors of data;
//! - a **sum of shifted copies**: an Add or Sub whose operands come from the same tensor, at least one of them shifted, cropped,
//!   regrouped or pooled on the way, and at least one of them scaled on the way by a factor that the other was not scaled by.
//!   Residual scaling, layer scale and affine norms are not of this kind: the branches they add have a convolution between
//!   them. Here a lone number as a factor is a weight too.
//!
//! A convolution with real weights between the parts starts afresh: it is counted itself.

use std::{collections::HashSet, rc::Rc};

use super::{
    Sizes, attribute,
    flow::{Class, Flow},
    norms,
};
use crate::{
    model::{Model, integers, is_view},
    onnx::proto::NodeProto,
};

/// What [`find`] found, by node.
#[derive(Debug, Default)]
pub struct Filters {
    /// Multiplies, and its products are added up: one multiply-add per output element.
    pub products: HashSet<usize>,
    /// Of these and of what is added to their sums: where a lone number is a weight.
    pub lone_weights: HashSet<usize>,
}

/// What a tensor of data has come through since the last weighted operators before it.
#[derive(Clone, Default)]
struct Reach {
    /// Weighted operators (or the picture) that it comes from as they left it, element by element.
    level: Bits,
    /// … and shifted, cropped, regrouped or pooled.
    moved: Bits,
    /// … and with some of their channels only, each where it was but for the number of the first.
    cropped: Bits,
    /// That number, or another for a crop whose place is not stored.
    from: u64,
    /// Factors on the way.
    factors: Bits,
    /// Factors of parts that now lie side by side in one tensor; a reduction would add them up.
    beside: Bits,
    /// Tensors of weights multiplied with it since the last operator that is not linear.
    tensors: Bits,
    /// Products of data with other data since then.
    dots: Bits,
}

impl Reach {
    fn roots(&self) -> Bits {
        self.level.or(&self.moved).or(&self.cropped)
    }

    /// Of the channels from `from` on.
    fn crop(&self, from: u64) -> Reach {
        let mut reach = self.clone();
        match (self.level.is_empty(), self.cropped.is_empty()) {
            (true, _) => reach.from = self.from.wrapping_add(from),
            (false, true) => (reach.cropped, reach.level, reach.from) = (self.level.clone(), Bits::default(), from),
            (false, false) => return self.shift(),
        }
        reach
    }

    /// Nothing where it was.
    fn shift(&self) -> Reach {
        Reach { level: Bits::default(), cropped: Bits::default(), moved: self.roots(), ..self.clone() }
    }

    /// With what was cropped where it was, or not.
    fn settle(&self, in_place: bool) -> Reach {
        let mut reach = Reach { cropped: Bits::default(), ..self.clone() };
        let to = if in_place { &mut reach.level } else { &mut reach.moved };
        *to = to.or(&self.cropped);
        reach
    }
}

pub fn find(model: &Model, sizes: &Sizes, flow: &Flow) -> Filters {
    let mut found = Marks::default();
    let mut reaches: std::collections::HashMap<&str, Rc<Reach>> = std::collections::HashMap::new();
    let picture = Reach { level: Bits::of(0), ..Reach::default() };
    reaches.insert(&model.input, Rc::new(picture));
    // What reaches each factor, by its number.
    let mut sources: Vec<(usize, Bits)> = Vec::new();
    let mut roots = 1;
    for (i, node) in model.flat.node.iter().enumerate().filter(|(_, n)| flow.is_data(n)) {
        let op = node.op_type.as_str();
        let read: Vec<(usize, Rc<Reach>)> = (node.input.iter().enumerate())
            .filter_map(|(slot, name)| Some((slot, reaches.get(name.as_str()).cloned()?)))
            .collect();
        let operands = match norms::normalised(model, flow, node).and_then(|name| reaches.get(name)) {
            Some(one) => vec![one.clone()],
            None => settled(node, sizes, &read),
        };
        let crops = crops(node, i, sizes);
        let reach = if is_weighted(op) {
            roots += 1;
            Rc::new(Reach { level: Bits::of(roots - 1), ..Reach::default() })
        } else if let ([one], true, None) = (operands.as_slice(), is_linear(node, flow), factor(node, sizes, flow)) {
            match moves(op) && crops.is_none() {
                true => Rc::new(one.shift()),
                false => one.clone(),
            }
        } else {
            let mut reach = union(&operands);
            let apart = match joins_channels(node, sizes) {
                // Side by side, a part of the channels is another tensor than the others.
                true => apart(&read.iter().map(|(_, one)| Rc::new(one.settle(false))).collect::<Vec<_>>(), &sources),
                false => apart(&operands, &sources),
            };
            match op {
                "Add" | "Sub" | "Sum" | "Mean" => found.factors = found.factors.or(&apart),
                "Mul" | "Div" | "Pow" | "PRelu" => {}
                _ if adds_up_writes(node) => found.factors = found.factors.or(&apart),
                _ => reach.beside = reach.beside.or(&apart),
            }
            if is_reduction(op) && !pools_globally(node, sizes) {
                found.factors = found.factors.or(&reach.beside);
                found.tensors = found.tensors.or(&reach.tensors);
                if op == "ReduceSum" && !along_the_picture(node, sizes) {
                    found.tensors = found.tensors.or(&reach.dots);
                }
                reach.beside = Bits::default();
            }
            if moves(op) && !joins_channels(node, sizes) {
                reach = reach.shift();
            }
            if !is_linear(node, flow) {
                (reach.tensors, reach.dots) = (Bits::default(), Bits::default());
            }
            if let Some(factor) = factor(node, sizes, flow) {
                let number = sources.len();
                sources.push((i, reach.roots()));
                match factor {
                    Factor::Lone => reach.factors.set(number),
                    Factor::Tensor => {
                        reach.factors.set(number);
                        reach.tensors.set(number);
                    }
                    Factor::Data => reach.dots.set(number),
                }
            }
            Rc::new(reach)
        };
        for (slot, name) in node.output.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
            let statistic = sizes.dims(name).is_some_and(is_statistic);
            let part = crops.as_ref().and_then(|crops| crops.get(slot)).map(|&from| Rc::new(reach.crop(from)));
            reaches.insert(name, if statistic { Rc::default() } else { part.unwrap_or_else(|| reach.clone()) });
        }
    }
    let mut filters = Filters::default();
    for (number, (node, _)) in sources.iter().enumerate() {
        if found.factors.has(number) || found.tensors.has(number) {
            filters.products.insert(*node);
        }
        if found.factors.has(number) {
            filters.lone_weights.insert(*node);
        }
    }
    // A lone number added to such a sum is its bias.
    for (i, node) in model.flat.node.iter().enumerate().filter(|(_, n)| matches!(n.op_type.as_str(), "Add" | "Sub")) {
        let data = node.input.iter().filter_map(|name| reaches.get(name.as_str()));
        if data.clone().count() == 1 && data.clone().any(|reach| reach.factors.meets(&found.factors)) {
            filters.lone_weights.insert(i);
        }
    }
    filters
}

/// Whether a node puts pictures side by side as channels of one.
fn joins_channels(node: &NodeProto, sizes: &Sizes) -> bool {
    let axis = attribute(node, "axis").map(|a| a.i);
    let pictures = node.output.first().and_then(|name| sizes.dims(name)).is_some_and(|dims| dims.len() == 4);
    node.op_type == "Concat" && pictures && matches!(axis, Some(1 | -3))
}

/// What a node reads, each by its slot, with crops of channels taken for what they are here: where they were, when a Concat puts
/// them there; shifted, when they meet other channels of the same tensor; else crops still.
fn settled(node: &NodeProto, sizes: &Sizes, read: &[(usize, Rc<Reach>)]) -> Vec<Rc<Reach>> {
    if joins_channels(node, sizes) {
        let first = |slot: usize| {
            let before = node.input[..slot].iter().map(|name| sizes.dims(name).and_then(|dims| dims.get(1)).copied());
            before.sum::<Option<u64>>()
        };
        let settle = |(slot, one): &(usize, Rc<Reach>)| {
            let own = if one.cropped.is_empty() { 0 } else { one.from };
            let in_place = first(*slot) == Some(own) && (one.level.is_empty() || own == 0);
            Rc::new(if in_place { one.settle(true) } else { one.shift() })
        };
        return read.iter().map(settle).collect();
    }
    let crops: Vec<&Reach> = read.iter().map(|(_, one)| one.as_ref()).filter(|one| !one.cropped.is_empty()).collect();
    let still = crops.iter().all(|crop| {
        crop.from == crops[0].from && read.iter().all(|(_, one)| !one.level.or(&one.moved).meets(&crop.cropped))
    });
    let settle = |(_, one): &(usize, Rc<Reach>)| match still || read.len() < 2 {
        true => one.clone(),
        false => Rc::new(one.settle(false)),
    };
    read.iter().map(settle).collect()
}

/// The first channel of each of a node's outputs, where it only takes some of a picture's channels.
fn crops(node: &NodeProto, index: usize, sizes: &Sizes) -> Option<Vec<u64>> {
    let whole = sizes.dims(node.input.first()?)?;
    let parts: Vec<&[u64]> = node.output.iter().map(|name| sizes.dims(name)).collect::<Option<_>>()?;
    let stored = |slot: usize, name: &str| -> Option<Vec<i64>> {
        match node.input.get(slot) {
            Some(given) => Some(integers(sizes.stored(given)?)?.take(4).collect()),
            None => Some(attribute(node, name)?.ints.clone()),
        }
    };
    let axes = match node.op_type.as_str() {
        "Split" => vec![attribute(node, "axis").map_or(0, |a| a.i)],
        "Slice" => stored(3, "axes")?,
        _ => return None,
    };
    let steps = node.op_type == "Slice" && node.input.get(4).is_some_and(|s| !s.is_empty());
    if whole.len() != 4 || !matches!(axes.as_slice(), [1 | -3]) || steps && stored(4, "steps")? != [1] {
        return None;
    }
    if node.op_type == "Split" {
        let mut next = 0u64;
        let mut first = |dims: &[u64]| {
            let from = next;
            next = next.saturating_add(dims.get(1).copied().unwrap_or(0));
            from
        };
        return Some(parts.into_iter().map(&mut first).collect());
    }
    let first = stored(1, "starts").and_then(|starts| starts.first().copied());
    let from = first.map(|first| if first < 0 { whole[1].saturating_add_signed(first) } else { first as u64 });
    Some(vec![from.unwrap_or(u64::MAX - index as u64)])
}

/// Factors whose products are added up.
#[derive(Default)]
struct Marks {
    factors: Bits,
    tensors: Bits,
}

/// How a node multiplies data elementwise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Factor {
    /// By one number.
    Lone,
    /// By a tensor that holds no data.
    Tensor,
    /// By other data.
    Data,
}

fn factor(node: &NodeProto, sizes: &Sizes, flow: &Flow) -> Option<Factor> {
    let is_data = |slot: usize| node.input.get(slot).map(|name| flow.class(name) == Some(Class::Data));
    let by = |slot: usize| match node.input.get(slot).and_then(|name| sizes.elements(name)) {
        Some(1) => Factor::Lone,
        _ => Factor::Tensor,
    };
    match node.op_type.as_str() {
        "Mul" => match (is_data(0)?, is_data(1)?) {
            (true, false) => Some(by(1)),
            (false, true) => Some(by(0)),
            // A square is a norm, no product with anything.
            (true, true) => (node.input[0] != node.input[1]).then_some(Factor::Data),
            (false, false) => None,
        },
        "Div" if is_data(0)? && !is_data(1)? => Some(by(1)),
        "PRelu" if is_data(0)? => Some(by(1)),
        // Linear on one side of zero, whatever is added to stay there.
        "LeakyRelu" | "HardSigmoid" => Some(Factor::Lone),
        "QuantizeLinear" | "DequantizeLinear" => match by(1) {
            Factor::Lone => None,
            tensor => Some(tensor),
        },
        "BatchNormalization"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "GroupNormalization"
        | "RMSNormalization" => Some(Factor::Tensor),
        _ => None,
    }
}

/// Counted themselves: multiply-adds with all that they read.
fn is_weighted(op: &str) -> bool {
    matches!(
        op,
        "Conv"
            | "ConvInteger"
            | "QLinearConv"
            | "ConvTranspose"
            | "MatMul"
            | "MatMulInteger"
            | "QLinearMatMul"
            | "Gemm"
            | "Einsum"
    )
}

/// Adds up elements of one tensor, or norms that are sums.
fn is_reduction(op: &str) -> bool {
    matches!(
        op,
        "ReduceSum"
            | "ReduceMean"
            | "ReduceL1"
            | "ReduceL2"
            | "ReduceSumSquare"
            | "ReduceLogSum"
            | "ReduceLogSumExp"
            | "CumSum"
            | "AveragePool"
            | "GlobalAveragePool"
            | "LpNormalization"
    )
}

/// One number, or one for each channel: what is said of the picture as a whole takes no part in a convolution.
fn is_statistic(dims: &[u64]) -> bool {
    matches!(dims, [.., 1, 1]) || dims.iter().product::<u64>() == 1
}

/// Adds up over the whole picture, as a channel's attention does.
fn pools_globally(node: &NodeProto, sizes: &Sizes) -> bool {
    const CHANNELS: u64 = 4096;
    let read = node.input.first().and_then(|name| sizes.dims(name));
    let written = node.output.first().and_then(|name| sizes.elements(name));
    matches!((read, written), (Some([1, channels, _, _]), Some(n)) if *channels <= CHANNELS && n <= *channels)
}

/// Adds up a row, a column or all of a picture: channel attention after a gate does, a dot product does not.
fn along_the_picture(node: &NodeProto, sizes: &Sizes) -> bool {
    let read = node.input.first().and_then(|name| sizes.dims(name));
    let written = node.output.first().and_then(|name| sizes.elements(name));
    let (Some(&[n, channels, height, width]), Some(written)) = (read, written) else { return false };
    let outer = n * channels;
    [outer, outer * height, outer * width].contains(&written)
}

fn adds_up_writes(node: &NodeProto) -> bool {
    matches!(node.op_type.as_str(), "ScatterND" | "ScatterElements")
        && attribute(node, "reduction").is_some_and(|a| a.s != b"none")
}

/// Leaves no element where it was.
fn moves(op: &str) -> bool {
    const STAYS: &[&str] = &[
        "Identity",
        "Cast",
        "CastLike",
        "Squeeze",
        "Unsqueeze",
        "QuantizeLinear",
        "DequantizeLinear",
        "Dropout",
        "Abs",
        "Neg",
        "Sign",
        "Floor",
        "Ceil",
        "Round",
        "Reciprocal",
        "Sqrt",
        "Exp",
        "Log",
        "Pow",
        "Sin",
        "Cos",
        "Tan",
        "Tanh",
        "Erf",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Swish",
        "Mish",
        "Gelu",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Celu",
        "Selu",
        "ThresholdedRelu",
        "Softplus",
        "Softsign",
        "Clip",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Mod",
        "Min",
        "Max",
        "Mean",
        "Sum",
        "Where",
        "Equal",
        "Less",
        "LessOrEqual",
        "Greater",
        "GreaterOrEqual",
        "And",
        "Or",
        "Xor",
        "Not",
        "BatchNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "GroupNormalization",
        "RMSNormalization",
        "Softmax",
        "LogSoftmax",
        "DynamicQuantizeLinear",
    ];
    !STAYS.contains(&op)
}

/// Passes products on as they are: shifted, regrouped, negated, with a constant added, or scaled as a whole.
fn is_linear(node: &NodeProto, flow: &Flow) -> bool {
    let op = node.op_type.as_str();
    let data = node.input.iter().filter(|name| flow.class(name) == Some(Class::Data)).count();
    match op {
        "Slice" | "Split" | "Pad" | "Concat" | "Gather" | "GatherND" | "GatherElements" | "DepthToSpace"
        | "SpaceToDepth" | "Tile" | "Expand" | "Neg" | "Dropout" => true,
        "Add" | "Sub" | "Mul" | "Div" => data == 1,
        _ => is_view(op),
    }
}

fn union(operands: &[Rc<Reach>]) -> Reach {
    let mut all = Reach::default();
    for one in operands {
        all.level = all.level.or(&one.level);
        all.moved = all.moved.or(&one.moved);
        if !one.cropped.is_empty() {
            (all.cropped, all.from) = (all.cropped.or(&one.cropped), one.from);
        }
        all.factors = all.factors.or(&one.factors);
        all.beside = all.beside.or(&one.beside);
        all.tensors = all.tensors.or(&one.tensors);
        all.dots = all.dots.or(&one.dots);
    }
    all
}

/// Factors that some but not all of the operands went through since a root that two of them share and that at least one
/// has left its place of.
fn apart(operands: &[Rc<Reach>], sources: &[(usize, Bits)]) -> Bits {
    let [first, rest @ ..] = operands else { return Bits::default() };
    if rest.is_empty() {
        return Bits::default();
    }
    let (mut seen, mut shared) = (first.roots(), Bits::default());
    let (mut moved, mut all, mut any) = (first.moved.clone(), first.factors.clone(), first.factors.clone());
    for one in rest {
        let roots = one.roots();
        shared = shared.or(&seen.and(&roots));
        seen = seen.or(&roots);
        moved = moved.or(&one.moved);
        all = all.and(&one.factors);
        any = any.or(&one.factors);
    }
    let shared = shared.and(&moved);
    let mut apart = Bits::default();
    if shared.is_empty() {
        return apart;
    }
    for number in any.without(&all).ones() {
        if sources[number].1.meets(&shared) {
            apart.set(number);
        }
    }
    apart
}

/// A set of small numbers. Short for ordinary networks: they have few roots and factors between two convolutions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bits(Vec<u64>);

impl Bits {
    fn of(number: usize) -> Bits {
        let mut bits = Bits::default();
        bits.set(number);
        bits
    }

    fn set(&mut self, number: usize) {
        if self.0.len() <= number / 64 {
            self.0.resize(number / 64 + 1, 0);
        }
        self.0[number / 64] |= 1 << (number % 64);
    }

    fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn or(&self, other: &Bits) -> Bits {
        let (long, short) = if self.0.len() >= other.0.len() { (self, other) } else { (other, self) };
        let mut words = long.0.clone();
        words.iter_mut().zip(&short.0).for_each(|(a, b)| *a |= b);
        Bits(words)
    }

    fn and(&self, other: &Bits) -> Bits {
        Bits(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    fn without(&self, other: &Bits) -> Bits {
        let mut words = self.0.clone();
        words.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= !b);
        Bits(words)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    fn meets(&self, other: &Bits) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    fn ones(&self) -> impl Iterator<Item = usize> + '_ {
        let bits = |(i, &word): (usize, &u64)| (0..64).filter(move |b| word >> b & 1 == 1).map(move |b| 64 * i + b);
        self.0.iter().enumerate().flat_map(bits)
    }
}
