//! Golden counts: networks of the field and single operators, built here, counted through the model's own process.

use upscore_evaluation::{
    onnx::build::{Attribute, Conv, GraphBuilder, Interpolation, Value},
    onnx::networks,
};

use crate::support::models;

/// Figures of KAIR's and fvcore's own code under PyTorch at 1×3×256×256. `kair` of MSRResNet is the one that an ONNX
/// file shows: 16 of its ReLUs are functional, which the torch counter does not see (166,362,873,856).
struct Golden {
    name: &'static str,
    model: fn() -> Vec<u8>,
    params: u64,
    convs: u64,
    activations: u64,
    kair: u64,
    fvcore: u64,
    macs: u64,
}

const NETWORKS: [Golden; 3] = [
    Golden {
        name: "MSRResNet",
        model: networks::msrresnet,
        params: 1_517_571,
        convs: 37,
        activations: 292_552_704,
        kair: 166_429_982_720,
        fvcore: 166_220_267_520,
        macs: 166_207_684_608,
    },
    Golden {
        name: "IMDN",
        model: networks::imdn,
        params: 893_936,
        convs: 43,
        activations: 154_140_672,
        kair: 58_531_512_320,
        fvcore: 58_430_849_024,
        macs: 58_430_849_024,
    },
    Golden {
        name: "RFDN",
        model: networks::rfdn,
        params: 433_448,
        convs: 64,
        activations: 112_034_240,
        kair: 27_102_622_560,
        fvcore: 27_046_231_296,
        macs: 27_033_648_384,
    },
];

#[test]
fn published_networks_count_exactly() {
    let mut runner = models::runner();
    for golden in NETWORKS {
        let cost = models::count(&mut runner, (golden.model)()).expect(golden.name);
        let found = (cost.params, cost.convs, cost.activations, cost.flops.kair, cost.flops.fvcore, cost.macs);
        let Golden { params, convs, activations, kair, fvcore, macs, .. } = golden;
        assert_eq!(found, (params, convs, activations, kair, fvcore, macs), "{}", golden.name);
        assert_eq!(cost.scale, 4, "{}", golden.name);
    }
}

/// Seeded weights must not blow up: a model that is timed on infinities is timed wrong.
#[test]
fn seeded_networks_stay_finite() {
    let mut runner = models::runner();
    let all = [networks::tiny, networks::msrresnet, networks::imdn, networks::rfdn];
    for model in all {
        let output = models::run(&mut runner, &model(), (32, 24)).expect("the model runs");
        assert_eq!(output.dims, [1, 3, 128, 96]);
        let most = output.values.iter().fold(0f32, |most, v| most.max(v.abs()));
        assert!(most.is_finite() && most > 0.01 && most < 20.0, "largest output {most}");
    }
}

#[test]
fn equal_seeds_give_equal_files() {
    assert_eq!(networks::tiny(), networks::tiny());
}

/// name, params, convolutions, activations, FLOPs kair, FLOPs fvcore, what is built; input 1×3×16×16.
type Micro = (&'static str, u64, u64, u64, u64, u64, fn(&mut GraphBuilder, Value) -> Value);

/// Single operators, named as in the golden file. Left out: what an ONNX file cannot tell from its neighbour (a
/// functional ReLU or convolution). A Linear layer counts 0 in `kair`, by our definition: the torch counter multiplies
/// the wrong dimensions there.
const MICRO: [Micro; 27] = [
    ("conv3x3 3->8 pad1 bias", 224, 1, 2048, 55296, 55296, |g, x| g.conv(x, Conv::new(8, 3))),
    ("conv3x3 3->8 nobias", 216, 1, 2048, 55296, 55296, |g, x| g.conv(x, Conv::new(8, 3).no_bias())),
    ("conv3x3 8->8 groups=4", 152, 1, 2048, 36864, 36864, |g, x| on_eight(g, x, Conv::new(8, 3).groups(4))),
    ("depthwise 8", 80, 1, 2048, 18432, 18432, |g, x| on_eight(g, x, Conv::new(8, 3).groups(8))),
    ("conv dilation2 8->8 pad2", 584, 1, 2048, 147_456, 147_456, |g, x| {
        on_eight(g, x, Conv::new(8, 3).dilation(2).pad(2))
    }),
    ("conv stride2 8->8 k3 pad0", 584, 1, 392, 28224, 28224, |g, x| on_eight(g, x, Conv::new(8, 3).stride(2).pad(0))),
    ("same conv called 3x", 584, 3, 6144, 442_368, 442_368, |g, x| {
        let x = models::eight(g, x);
        let conv = Conv::new(8, 3);
        let layer = g.layer(8, conv);
        (0..3).fold(x, |x, _| g.apply(x, conv, layer))
    }),
    ("ConvTranspose 8->4 k4 s2 p1", 516, 1, 4096, 524_288, 131_072, |g, x| {
        let x = models::eight(g, x);
        g.conv_transpose(x, Conv::new(4, 4).stride(2).pad(1))
    }),
    ("BN2d affine 8", 16, 0, 0, 4096, 4096, |g, x| {
        let x = models::eight(g, x);
        let [scale, bias, mean, variance] = [1.0, 0.5, 0.0, 1.0].map(|v| g.weights(&[8], &[v; 8]));
        g.node("BatchNormalization", &[x, scale, bias, mean, variance], &[])
    }),
    ("LayerNorm", 32, 0, 0, 0, 10240, |g, x| {
        let x = models::eight(g, x);
        let [scale, bias] = [1.0, 0.5].map(|v| g.weights(&[16], &[v; 16]));
        g.node("LayerNormalization", &[x, scale, bias], &[("axis", Attribute::Int(-1))])
    }),
    ("ReLU module", 0, 0, 0, 2048, 0, |g, x| {
        let x = models::eight(g, x);
        g.relu(x)
    }),
    ("LeakyReLU", 0, 0, 0, 2048, 0, |g, x| {
        let x = models::eight(g, x);
        g.leaky_relu(x, 0.05)
    }),
    ("PReLU(8)", 8, 0, 0, 2048, 0, |g, x| {
        let x = models::eight(g, x);
        g.prelu(x)
    }),
    ("GELU", 0, 0, 0, 0, 0, |g, x| {
        let x = models::eight(g, x);
        let [root, one, half] = [std::f32::consts::SQRT_2, 1.0, 0.5].map(|v| g.scalar(v));
        let scaled = g.node("Div", &[x, root], &[]);
        let erf = g.node("Erf", &[scaled], &[]);
        let gate = g.add(erf, one);
        let product = g.mul(x, gate);
        g.mul(product, half)
    }),
    ("SiLU", 0, 0, 0, 0, 0, |g, x| {
        let x = models::eight(g, x);
        let gate = g.sigmoid(x);
        g.mul(x, gate)
    }),
    ("Sigmoid", 0, 0, 0, 0, 0, |g, x| {
        let x = models::eight(g, x);
        g.sigmoid(x)
    }),
    ("MaxPool2", 0, 0, 0, 0, 0, |g, x| {
        let x = models::eight(g, x);
        g.max_pool(x, 2, 2)
    }),
    ("AdaptiveAvgPool1", 0, 0, 0, 0, 2048, |g, x| {
        let x = models::eight(g, x);
        g.global_average_pool(x)
    }),
    ("interpolate nearest x2", 0, 0, 0, 0, 8192, |g, x| doubled(g, x, Interpolation::Nearest)),
    ("interpolate bilinear x2", 0, 0, 0, 0, 32768, |g, x| doubled(g, x, Interpolation::Linear)),
    ("interpolate bicubic x2", 0, 0, 0, 0, 0, |g, x| doubled(g, x, Interpolation::Cubic(-0.75))),
    ("PixelShuffle2", 0, 0, 0, 0, 0, |g, x| {
        let x = models::eight(g, x);
        g.depth_to_space(x, 2)
    }),
    ("add+mul elementwise", 0, 0, 0, 0, 0, |g, x| {
        let x = models::eight(g, x);
        let sum = g.add(x, x);
        g.mul(sum, x)
    }),
    ("Linear 32->10 on (1,32)", 330, 0, 0, 0, 320, |g, x| {
        let x = models::part(g, x, 1, 2);
        let x = models::part(g, x, 2, 4);
        let x = models::part(g, x, 3, 4);
        let row = g.node("Flatten", &[x], &[]);
        let (weights, bias) = (g.seeded(&[10, 32], 32, 1.0), g.seeded(&[10], 1, 0.1));
        g.node("Gemm", &[row, weights, bias], &[("transB", Attribute::Int(1))])
    }),
    ("Linear 8->10 on (1,256,8) tokens", 90, 0, 0, 0, 20480, |g, x| {
        let tokens = tokens(g, x);
        let (weights, bias) = (g.seeded(&[8, 10], 8, 1.0), g.seeded(&[10], 1, 0.1));
        let product = g.node("MatMul", &[tokens, weights], &[]);
        g.add(product, bias)
    }),
    ("matmul q@k^T tokens 256x8", 0, 0, 0, 0, 524_288, |g, x| {
        let tokens = tokens(g, x);
        let turned = g.node("Transpose", &[tokens], &[("perm", Attribute::Ints(vec![0, 2, 1]))]);
        g.node("MatMul", &[tokens, turned], &[])
    }),
    ("Conv1d 8->8 k3", 200, 0, 0, 0, 49152, |g, x| {
        let x = models::eight(g, x);
        let line = rows(g, x);
        let (weights, bias) = (g.seeded(&[8, 8, 3], 24, 1.0), g.seeded(&[8], 1, 0.1));
        g.node("Conv", &[line, weights, bias], &[("pads", Attribute::Ints(vec![1, 1]))])
    }),
];

fn on_eight(g: &mut GraphBuilder, x: Value, conv: Conv) -> Value {
    let x = models::eight(g, x);
    g.conv(x, conv)
}

fn doubled(g: &mut GraphBuilder, x: Value, how: Interpolation) -> Value {
    let x = models::eight(g, x);
    g.resize(x, 2.0, how)
}

/// [1, 8, H, W] to [1, 8, H·W].
fn rows(g: &mut GraphBuilder, x: Value) -> Value {
    let to = g.integers(&[1, 8, -1]);
    g.node("Reshape", &[x, to], &[])
}

/// The image's eight channels as [1, H·W, 8] tokens.
fn tokens(g: &mut GraphBuilder, x: Value) -> Value {
    let x = models::eight(g, x);
    let flat = rows(g, x);
    g.node("Transpose", &[flat], &[("perm", Attribute::Ints(vec![0, 2, 1]))])
}

#[test]
fn single_operators_count_exactly() {
    let mut runner = models::runner();
    for (name, params, convs, activations, kair, fvcore, inner) in MICRO {
        let cost = models::count_at(&mut runner, models::around(inner), (16, 16)).expect(name);
        let found = (cost.params, cost.convs, cost.activations, cost.flops.kair, cost.flops.fvcore);
        assert_eq!(found, (params, convs, activations, kair, fvcore), "{name}");
    }
}
