//! What the device can do at most, measured beside the entry with the same threads, so that a time below it is noticed on
//! a machine that nobody has seen before.

use std::time::Duration;

use prost::Message;

use super::super::{
    measurement::Throughput,
    onnx::{
        build::{Attribute, Conv, GraphBuilder, Value},
        proto::{ModelProto, tensor_proto::DataType},
    },
    runner::{Fault, Runner},
    runtime,
};

/// How far beyond the measured ceiling a figure must be to be held. Dense convolutions of friendly sizes are what the
/// libraries do best, so that no network of the field comes near the ceiling itself.
const MARGIN: f64 = 2.0;
/// Timed passes of each calibration; the fastest counts.
const PASSES: usize = 5;
/// Calibrations before an entry is held, and the pause between them.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// Channels of the 3×3 and of the 1×1 convolutions, and how many follow each other.
const SPATIAL: usize = 64;
const POINTWISE: usize = 256;
const DEPTH: usize = 4;

/// Number formats that a network computes in; each has its own ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Float32,
    Float16,
    Int8,
}

/// What one image asks of the device at least.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    pub macs: f64,
    /// Weights, input and output, each once.
    pub bytes: f64,
    /// Median time, s.
    pub seconds: f64,
}

/// Measures the ceilings of the formats that `model` uses, and of moving `output` (height, width) values of three channels.
pub fn throughput(
    runner: &mut Runner,
    device: &str,
    model: &[u8],
    output: (u32, u32),
    demand: Demand,
) -> Result<Throughput, Fault> {
    let side = if device.parse() == Ok(runtime::Device::Cpu) { 96 } else { 512 };
    let mut best = Throughput {
        macs_per_s: demand.macs / demand.seconds,
        ceiling_macs_per_s: 0.0,
        bytes_per_s: demand.bytes / demand.seconds,
        ceiling_bytes_per_s: 0.0,
        implausible: None,
    };
    let mut g = GraphBuilder::new(1);
    let one = g.scalar(1.0);
    let moved = g.add(g.input(), one);
    let addition = g.build(moved);
    for attempt in 0..ATTEMPTS {
        for format in formats(model) {
            for (channels, kernel) in [(SPATIAL, 3), (POINTWISE, 1)] {
                let macs = DEPTH * channels * channels * kernel * kernel * (side * side) as usize;
                let seconds = fastest(runner, &convolutions(format, channels, kernel), (side, side))?;
                best.ceiling_macs_per_s = best.ceiling_macs_per_s.max(macs as f64 / seconds);
            }
        }
        // Read once and written once.
        let bytes = 2.0 * 4.0 * 3.0 * f64::from(output.0) * f64::from(output.1);
        best.ceiling_bytes_per_s = best.ceiling_bytes_per_s.max(bytes / fastest(runner, &addition, output)?);
        best.implausible = implausible(&best);
        if best.implausible.is_none() || attempt + 1 == ATTEMPTS {
            break;
        }
        // Other work may have slowed the calibration alone.
        std::thread::sleep(PAUSE);
    }
    Ok(best)
}

/// Seconds of the fastest pass; infinite where this build of the runtime has no such kernel.
fn fastest(runner: &mut Runner, model: &[u8], size: (u32, u32)) -> Result<f64, Fault> {
    match runner.calibrate(model, size, PASSES) {
        Ok(times) => Ok(times.into_iter().fold(f64::INFINITY, f64::min) * 1e-3),
        Err(Fault::Model(problem)) if problem.code == "runtime_error" => Ok(f64::INFINITY),
        Err(Fault::Model(problem)) => Err(Fault::Ours(anyhow::anyhow!(problem).context("a calibration model"))),
        Err(ours) => Err(ours),
    }
}

/// The reason to hold an entry, if its rate is more than the margin beyond the ceiling.
fn implausible(found: &Throughput) -> Option<String> {
    let giga = |rate: f64| rate / 1e9;
    if found.macs_per_s > MARGIN * found.ceiling_macs_per_s && found.ceiling_macs_per_s > 0.0 {
        return Some(format!(
            "its time means {:.0} G multiply-adds a second, but dense convolutions reach {:.0} G on this device",
            giga(found.macs_per_s),
            giga(found.ceiling_macs_per_s)
        ));
    }
    if found.bytes_per_s > MARGIN * found.ceiling_bytes_per_s && found.ceiling_bytes_per_s > 0.0 {
        return Some(format!(
            "its time means {:.1} GB of weights, input and output a second, but this device moves {:.1} GB/s",
            giga(found.bytes_per_s),
            giga(found.ceiling_bytes_per_s)
        ));
    }
    None
}

fn formats(model: &[u8]) -> Vec<Format> {
    let mut formats = vec![Format::Float32];
    let Ok(model) = ModelProto::decode(model) else { return formats };
    let graph = model.graph.unwrap_or_default();
    let half = [DataType::Float16 as i32, DataType::Bfloat16 as i32];
    let nodes = || graph.node.iter().chain(model.functions.iter().flat_map(|f| &f.node));
    let casts = nodes()
        .filter(|n| n.op_type == "Cast")
        .flat_map(|n| &n.attribute)
        .any(|a| a.name == "to" && half.map(i64::from).contains(&a.i));
    if casts || graph.initializer.iter().any(|t| half.contains(&t.data_type)) {
        formats.push(Format::Float16);
    }
    let quantised = ["QLinear", "Quantize", "Dequantize", "DynamicQuantize", "ConvInteger", "MatMulInteger"];
    if nodes().any(|n| quantised.iter().any(|start| n.op_type.starts_with(start))) {
        formats.push(Format::Int8);
    }
    formats
}

/// Dense convolutions one after the other, out of the three channels of an image, down to one value. The first, which makes
/// the channels, is not counted.
fn convolutions(format: Format, channels: usize, kernel: usize) -> Vec<u8> {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let mut x = g.conv(x, Conv::new(channels, 1));
    let conv = Conv::new(channels, kernel).no_bias();
    let cast = |g: &mut GraphBuilder, x: Value, to: DataType| {
        g.node("Cast", &[x], &[("to", Attribute::Int(to as i64))]).with_channels(x.channels)
    };
    match format {
        Format::Float32 => {
            for _ in 0..DEPTH {
                x = g.conv(x, conv);
            }
        }
        Format::Float16 => {
            x = cast(&mut g, x, DataType::Float16);
            for _ in 0..DEPTH {
                let (weights, none) = g.layer(channels, conv);
                let weights = cast(&mut g, weights, DataType::Float16);
                x = g.apply(x, conv, (weights, none));
            }
            x = cast(&mut g, x, DataType::Float);
        }
        Format::Int8 => {
            let (scale, zero) = (g.scalar(0.02), g.scalar(0.0));
            let (zero_u8, zero_i8) = (cast(&mut g, zero, DataType::Uint8), cast(&mut g, zero, DataType::Int8));
            x = g.node("QuantizeLinear", &[x, scale, zero_u8], &[]).with_channels(channels);
            for _ in 0..DEPTH {
                let (weights, _) = g.layer(channels, conv);
                let weights = g.node("QuantizeLinear", &[weights, scale, zero_i8], &[]);
                let inputs = [x, scale, zero_u8, weights, scale, zero_i8, scale, zero_u8];
                x = g.node("QLinearConv", &inputs, &conv.attributes()).with_channels(channels);
            }
            x = g.node("DequantizeLinear", &[x, scale, zero_u8], &[]).with_channels(channels);
        }
    }
    let mean = g.node("ReduceMean", &[x], &[("keepdims", Attribute::Int(0))]);
    g.build(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_beyond_the_margin_is_named() {
        let found = Throughput {
            macs_per_s: 150e9,
            ceiling_macs_per_s: 100e9,
            bytes_per_s: 3e9,
            ceiling_bytes_per_s: 10e9,
            implausible: None,
        };
        assert_eq!(implausible(&found), None);
        let words = implausible(&Throughput { macs_per_s: 900e9, ..found.clone() }).expect("too fast");
        assert!(words.contains("900 G") && words.contains("100 G"), "{words}");
        let words = implausible(&Throughput { bytes_per_s: 30e9, ..found }).expect("too fast");
        assert!(words.contains("30.0 GB") && words.contains("10.0 GB/s"), "{words}");
    }

    #[test]
    fn the_formats_of_a_model_are_found() {
        assert_eq!(formats(&convolutions(Format::Float32, 8, 3)), [Format::Float32]);
        assert_eq!(formats(&convolutions(Format::Float16, 8, 3)), [Format::Float32, Format::Float16]);
        assert_eq!(formats(&convolutions(Format::Int8, 8, 3)), [Format::Float32, Format::Int8]);
    }
}
