//! The operators a model may use, and which of their inputs are weights, which only say shapes, axes, indices or scales.
//!
//! The list holds every deterministic standard operator met in 126 real networks and their near relatives. Control flow,
//! random operators, sequences and foreign domains are not on it: they can hide cost, or never end.

/// Allowed operators of the standard domain, sorted. Printed by `upscore profile --operators`.
pub const ALLOWED: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Cos",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "DynamicQuantizeLinear",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "EyeLike",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "GridSample",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "RMSNormalization",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Upsample",
    "Where",
    "Xor",
];

/// Inputs that only say a shape, an axis, an index, a bound or a quantisation scale: what stands there is no parameter.
pub fn structural_inputs(op: &str) -> &'static [usize] {
    match op {
        "Reshape" | "Expand" | "Tile" | "Split" | "Squeeze" | "Unsqueeze" | "TopK" | "CumSum" | "Trilu" | "Gather"
        | "GatherElements" | "GatherND" | "ScatterElements" | "ScatterND" => &[1],
        "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2"
        | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare" => &[1],
        "Resize" | "Pad" => &[1, 2, 3],
        "Upsample" => &[1],
        "Slice" => &[1, 2, 3, 4],
        "Clip" | "Dropout" | "OneHot" | "QuantizeLinear" | "DequantizeLinear" => &[1, 2],
        "Range" | "ConstantOfShape" => &[0, 1, 2],
        "ConvInteger" | "MatMulInteger" => &[2, 3],
        "QLinearConv" | "QLinearMatMul" => &[1, 2, 4, 5, 6, 7],
        // The running mean and variance are buffers, not parameters.
        "BatchNormalization" => &[3, 4],
        _ => &[],
    }
}

/// Inputs that decide how large the output is. None may depend on the input's pixels: the cost would too.
pub fn size_inputs(op: &str) -> &'static [usize] {
    match op {
        "Reshape" | "Expand" | "Tile" | "Split" | "Squeeze" | "Unsqueeze" | "TopK" | "Upsample" | "OneHot" => &[1],
        op if op.starts_with("Reduce") => &[1],
        "Resize" => &[1, 2, 3],
        "Pad" => &[1, 3],
        "Slice" => &[1, 2, 3, 4],
        "Range" => &[0, 1, 2],
        "ConstantOfShape" => &[0],
        _ => &[],
    }
}

/// Inputs whose one-element tensors count too: a bias of one channel, the single slope of a PReLU. Elsewhere a lone
/// constant is a factor such as 1/255.
pub fn weight_inputs(op: &str) -> &'static [usize] {
    match op {
        "Conv" | "ConvTranspose" | "Gemm" => &[1, 2],
        "ConvInteger" | "PRelu" => &[1],
        "QLinearConv" => &[3, 8],
        "QLinearMatMul" => &[3],
        "BatchNormalization"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "GroupNormalization"
        | "RMSNormalization" => &[1, 2],
        _ => &[],
    }
}

/// Operators that pass the same elements on, in another shape, order or type.
pub fn is_view(op: &str) -> bool {
    const VIEWS: &[&str] = &[
        "Identity",
        "Cast",
        "CastLike",
        "Transpose",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "QuantizeLinear",
        "DequantizeLinear",
    ];
    VIEWS.contains(&op)
}
