//! Builds self-contained ONNX files in code, written the way PyTorch exports them: seeded or given weights in, bytes out.
//!
//! ```
//! use upscore_evaluation::onnx::build::{Conv, GraphBuilder};
//! let mut g = GraphBuilder::new(1);
//! let x = g.input();
//! let features = g.conv(x, Conv::new(48, 3));
//! let sr = g.depth_to_space(features, 4);
//! let onnx: Vec<u8> = g.build(sr);
//! ```

use prost::Message;

use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_proto::DataType,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// SplitMix64: the same numbers on every machine and under every version of every crate, so that a seed names a file.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `low..high`.
    pub fn within(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.bits() >> 40) as f32 / (1u64 << 24) as f32;
        low + (high - low) * unit
    }

    /// Uniform in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() >> 33) as usize % n.max(1)
    }
}

/// A tensor of the graph being built. `channels` is what a following convolution takes in; nodes that change it in ways
/// the builder does not follow are corrected with [`Value::with_channels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    index: usize,
    pub channels: usize,
}

impl Value {
    /// An optional input that is left out.
    pub const NONE: Value = Value { index: 0, channels: 0 };

    pub fn with_channels(self, channels: usize) -> Self {
        Value { channels, ..self }
    }
}

/// A square 2-D convolution; `new` pads so that the size stays the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv {
    pub out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub dilation: usize,
    pub groups: usize,
    pub bias: bool,
    /// Factor on the seeded weights; 1 keeps the variance of what goes in.
    pub gain: f32,
}

impl Conv {
    pub fn new(out: usize, kernel: usize) -> Self {
        Conv { out, kernel, stride: 1, pad: kernel / 2, dilation: 1, groups: 1, bias: true, gain: 1.0 }
    }

    pub fn stride(self, stride: usize) -> Self {
        Conv { stride, ..self }
    }

    pub fn pad(self, pad: usize) -> Self {
        Conv { pad, ..self }
    }

    pub fn dilation(self, dilation: usize) -> Self {
        Conv { dilation, ..self }
    }

    pub fn groups(self, groups: usize) -> Self {
        Conv { groups, ..self }
    }

    pub fn no_bias(self) -> Self {
        Conv { bias: false, ..self }
    }

    pub fn gain(self, gain: f32) -> Self {
        Conv { gain, ..self }
    }

    pub fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let pair = |n: usize| Attribute::Ints(vec![n as i64; 2]);
        vec![
            ("dilations", pair(self.dilation)),
            ("group", Attribute::Int(self.groups as i64)),
            ("kernel_shape", pair(self.kernel)),
            ("pads", Attribute::Ints(vec![self.pad as i64; 4])),
            ("strides", pair(self.stride)),
        ]
    }
}

/// How a Resize interpolates; coordinates as `torch.nn.functional.interpolate` has them without `align_corners`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interpolation {
    Nearest,
    Linear,
    /// The kernel's `a`: −0.75 in PyTorch, −0.5 in MATLAB.
    Cubic(f32),
}

impl Interpolation {
    fn attributes(self) -> Vec<(&'static str, Attribute)> {
        let (mode, coordinates, a) = match self {
            Interpolation::Nearest => ("nearest", "asymmetric", -0.75),
            Interpolation::Linear => ("linear", "half_pixel", -0.75),
            Interpolation::Cubic(a) => ("cubic", "half_pixel", a),
        };
        vec![
            ("coordinate_transformation_mode", Attribute::Text(coordinates)),
            ("cubic_coeff_a", Attribute::Float(a)),
            ("mode", Attribute::Text(mode)),
            ("nearest_mode", Attribute::Text("floor")),
        ]
    }
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    Int(i64),
    Float(f32),
    Text(&'static str),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    /// A stored tensor, as a Constant node holds it.
    Tensor(Box<TensorProto>),
}

/// A tensor of any element type; `raw` is row-major and little-endian.
pub fn tensor(dims: &[usize], kind: DataType, raw: Vec<u8>) -> TensorProto {
    TensorProto {
        dims: dims.iter().map(|&n| n as i64).collect(),
        data_type: kind as i32,
        raw_data: raw.into(),
        ..TensorProto::default()
    }
}

/// float32 values as a tensor stores them.
pub fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Collects nodes and weights; [`GraphBuilder::build`] turns them into a file.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: GraphProto,
    /// Name of each [`Value`]; the first is the empty name of a left-out input.
    names: Vec<String>,
    random: Random,
}

impl GraphBuilder {
    /// An empty graph; equal seeds give equal files.
    pub fn new(seed: u64) -> Self {
        let input = Some(value_info("input", ["1", "3", "height", "width"]));
        GraphBuilder {
            graph: GraphProto { name: "upscore".into(), input: input.into_iter().collect(), ..GraphProto::default() },
            names: vec![String::new(), "input".into()],
            random: Random::new(seed),
        }
    }

    /// The LR image, float32 [1, 3, height, width].
    pub fn input(&self) -> Value {
        Value { index: 1, channels: 3 }
    }

    /// Any operator with one output.
    pub fn node(&mut self, op: &str, inputs: &[Value], attributes: &[(&str, Attribute)]) -> Value {
        self.node_with(op, inputs, attributes, 1)[0]
    }

    /// Any operator with several outputs.
    pub fn node_with(
        &mut self,
        op: &str,
        inputs: &[Value],
        attributes: &[(&str, Attribute)],
        outputs: usize,
    ) -> Vec<Value> {
        let channels = inputs.first().map_or(0, |v| v.channels);
        let name = format!("/{op}_{}", self.graph.node.len());
        let outputs: Vec<Value> = (0..outputs).map(|i| self.named(format!("{name}_output_{i}"), channels)).collect();
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|v| self.names[v.index].clone()).collect(),
            output: outputs.iter().map(|v| self.names[v.index].clone()).collect(),
            name,
            op_type: op.into(),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            ..NodeProto::default()
        });
        outputs
    }

    /// Stored float32 weights; `values` are in row-major order of `dims`.
    pub fn weights(&mut self, dims: &[usize], values: &[f32]) -> Value {
        self.stored(tensor(dims, DataType::Float, little_endian(values)))
    }

    /// Stored int64 values: sizes, axes, indices.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.stored(tensor(&[values.len()], DataType::Int64, raw))
    }

    /// A lone float32 factor or summand.
    pub fn scalar(&mut self, value: f32) -> Value {
        self.weights(&[], &[value])
    }

    /// Seeded weights, uniform with variance `gain² / fan_in`, so that a layer keeps its input's scale.
    pub fn seeded(&mut self, dims: &[usize], fan_in: usize, gain: f32) -> Value {
        let bound = gain * (3.0 / fan_in.max(1) as f32).sqrt();
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| self.random.within(-bound, bound)).collect();
        self.weights(dims, &values)
    }

    /// Seeded weights and bias of one convolution, for layers that are called more than once.
    pub fn layer(&mut self, channels: usize, conv: Conv) -> (Value, Value) {
        let inner = channels / conv.groups;
        let weights =
            self.seeded(&[conv.out, inner, conv.kernel, conv.kernel], inner * conv.kernel * conv.kernel, conv.gain);
        let bias = if conv.bias { self.seeded(&[conv.out], 1, 0.01) } else { Value::NONE };
        (weights, bias)
    }

    /// A convolution with seeded weights.
    pub fn conv(&mut self, x: Value, conv: Conv) -> Value {
        let layer = self.layer(x.channels, conv);
        self.apply(x, conv, layer)
    }

    /// A convolution with `weights` `[out][in/groups][kernel][kernel]` and `bias` `[out]`, empty for none.
    pub fn conv_with(&mut self, x: Value, conv: Conv, weights: &[f32], bias: &[f32]) -> Value {
        let weights = self.weights(&[conv.out, x.channels / conv.groups, conv.kernel, conv.kernel], weights);
        let bias = if bias.is_empty() { Value::NONE } else { self.weights(&[conv.out], bias) };
        self.apply(x, conv, (weights, bias))
    }

    /// One call of a layer made with [`GraphBuilder::layer`].
    pub fn apply(&mut self, x: Value, conv: Conv, (weights, bias): (Value, Value)) -> Value {
        let inputs = [x, weights, bias];
        let given = if bias == Value::NONE { 2 } else { 3 };
        self.node("Conv", &inputs[..given], &conv.attributes()).with_channels(conv.out)
    }

    /// A transposed convolution with seeded weights; `stride` is how much it enlarges.
    pub fn conv_transpose(&mut self, x: Value, conv: Conv) -> Value {
        let out = conv.out / conv.groups;
        let taps = (conv.kernel * conv.kernel / (conv.stride * conv.stride)).max(1);
        let weights =
            self.seeded(&[x.channels, out, conv.kernel, conv.kernel], x.channels / conv.groups * taps, conv.gain);
        let bias = if conv.bias { self.seeded(&[conv.out], 1, 0.01) } else { Value::NONE };
        let inputs = [x, weights, bias];
        let given = if conv.bias { 3 } else { 2 };
        self.node("ConvTranspose", &inputs[..given], &conv.attributes()).with_channels(conv.out)
    }

    pub fn relu(&mut self, x: Value) -> Value {
        self.node("Relu", &[x], &[])
    }

    pub fn leaky_relu(&mut self, x: Value, slope: f32) -> Value {
        self.node("LeakyRelu", &[x], &[("alpha", Attribute::Float(slope))])
    }

    /// One slope a channel, 0.25 as PyTorch starts it.
    pub fn prelu(&mut self, x: Value) -> Value {
        let slopes = self.weights(&[x.channels, 1, 1], &vec![0.25; x.channels]);
        self.node("PRelu", &[x, slopes], &[])
    }

    pub fn sigmoid(&mut self, x: Value) -> Value {
        self.node("Sigmoid", &[x], &[])
    }

    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.node("Add", &[a, b], &[])
    }

    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.node("Mul", &[a, b], &[])
    }

    /// Concatenates channels.
    pub fn concat(&mut self, parts: &[Value]) -> Value {
        let channels = parts.iter().map(|v| v.channels).sum();
        self.node("Concat", parts, &[("axis", Attribute::Int(1))]).with_channels(channels)
    }

    /// Splits channels into parts of the given sizes.
    pub fn split(&mut self, x: Value, sizes: &[usize]) -> Vec<Value> {
        let given: Vec<i64> = sizes.iter().map(|&n| n as i64).collect();
        let given = self.integers(&given);
        let parts = self.node_with("Split", &[x, given], &[("axis", Attribute::Int(1))], sizes.len());
        parts.iter().zip(sizes).map(|(part, &n)| part.with_channels(n)).collect()
    }

    /// `torch.nn.PixelShuffle(block)`.
    pub fn depth_to_space(&mut self, x: Value, block: usize) -> Value {
        let attributes = [("blocksize", Attribute::Int(block as i64)), ("mode", Attribute::Text("CRD"))];
        self.node("DepthToSpace", &[x], &attributes).with_channels(x.channels / (block * block))
    }

    pub fn max_pool(&mut self, x: Value, kernel: usize, stride: usize) -> Value {
        let pair = |n: usize| Attribute::Ints(vec![n as i64; 2]);
        self.node("MaxPool", &[x], &[("kernel_shape", pair(kernel)), ("strides", pair(stride))])
    }

    /// [1, C, H, W] to [1, C, 1, 1].
    pub fn global_average_pool(&mut self, x: Value) -> Value {
        self.node("GlobalAveragePool", &[x], &[])
    }

    /// Repeats the edge `border` pixels outwards, as `padding_mode="replicate"` exports.
    pub fn pad_edge(&mut self, x: Value, border: i64) -> Value {
        let pads = self.integers(&[0, 0, border, border, 0, 0, border, border]);
        self.node("Pad", &[x, pads], &[("mode", Attribute::Text("edge"))])
    }

    /// Enlarges height and width by `factor`.
    pub fn resize(&mut self, x: Value, factor: f32, how: Interpolation) -> Value {
        let scales = self.weights(&[4], &[1.0, 1.0, factor, factor]);
        self.node("Resize", &[x, Value::NONE, scales], &how.attributes())
    }

    /// Resizes `x` to the height and width that `like` has, computed at run time as attention blocks (ESA) export it.
    pub fn resize_like(&mut self, x: Value, like: Value, how: Interpolation) -> Value {
        let outer = self.shape_part(x, 0, 2);
        let inner = self.shape_part(like, 2, 4);
        let sizes = self.node("Concat", &[outer, inner], &[("axis", Attribute::Int(0))]);
        self.node("Resize", &[x, Value::NONE, Value::NONE, sizes], &how.attributes()).with_channels(x.channels)
    }

    fn shape_part(&mut self, x: Value, from: i64, to: i64) -> Value {
        let shape = self.node("Shape", &[x], &[]);
        let [from, to, axis] = [from, to, 0].map(|n| self.integers(&[n]));
        self.node("Slice", &[shape, from, to, axis], &[])
    }

    /// The file's bytes, with `output` as the SR image.
    pub fn build(self, output: Value) -> Vec<u8> {
        self.model(output).encode_to_vec()
    }

    /// The same before it is encoded, for tests that spoil something first.
    pub fn model(mut self, output: Value) -> ModelProto {
        let last = self.node("Identity", &[output], &[]);
        let written = self.names[last.index].clone();
        for name in self.graph.node.iter_mut().flat_map(|n| &mut n.output).filter(|n| **n == written) {
            *name = "output".into();
        }
        self.graph.output = vec![value_info("output", ["1", "3", "out_height", "out_width"])];
        ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            producer_name: "upscore".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(self.graph),
            ..ModelProto::default()
        }
    }

    /// A stored tensor of any type.
    pub fn stored(&mut self, tensor: TensorProto) -> Value {
        let name = format!("weight_{}", self.graph.initializer.len());
        self.graph.initializer.push(TensorProto { name: name.clone(), ..tensor });
        self.named(name, 0)
    }

    fn named(&mut self, name: String, channels: usize) -> Value {
        self.names.push(name);
        Value { index: self.names.len() - 1, channels }
    }
}

/// A float32 value; a dimension is a number or the name of a free one.
fn value_info(name: &str, dims: [&str; 4]) -> ValueInfoProto {
    let dim = dims.map(|d| {
        let value = d.parse().map_or_else(|_| dimension::Value::DimParam(d.into()), dimension::Value::DimValue);
        Dimension { value: Some(value), ..Dimension::default() }
    });
    let tensor =
        type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim: dim.into() }) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..ValueInfoProto::default() }
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut made = AttributeProto { name: name.into(), ..AttributeProto::default() };
    made.r#type = match value {
        Attribute::Int(_) => AttributeType::Int,
        Attribute::Float(_) => AttributeType::Float,
        Attribute::Text(_) => AttributeType::String,
        Attribute::Ints(_) => AttributeType::Ints,
        Attribute::Floats(_) => AttributeType::Floats,
        Attribute::Tensor(_) => AttributeType::Tensor,
    } as i32;
    match value {
        Attribute::Int(i) => made.i = *i,
        Attribute::Float(f) => made.f = *f,
        Attribute::Text(s) => made.s = s.as_bytes().to_vec(),
        Attribute::Ints(ints) => made.ints.clone_from(ints),
        Attribute::Floats(floats) => made.floats.clone_from(floats),
        Attribute::Tensor(tensor) => made.t = Some((**tensor).clone()),
    }
    made
}
