//! What is the same in copies of an entry: its weights, its graph, its images, each as one hash; and samples of the images,
//! for those that are nearly the same.
//!
//! The samples are single pixels at places that depend on nothing but the image's number and size. (Means of blocks would
//! not do: every good network gives nearly the same ones, as networks differ in the fine structure only.)

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::{
    images::Rgb8,
    model::Model,
    onnx::proto::{AttributeProto, NodeProto, TensorProto, tensor_proto::DataType},
};
use crate::evaluate::hex;

/// Of this method; stored with what it made.
pub const VERSION: i16 = 1;
/// Pixels that are sampled of all images together: 24 KiB, and a PSNR of 60 dB to within 0.2 dB.
const PIXELS: usize = 8192;
/// Pixels of one image, at least and at most.
const OF_AN_IMAGE: (usize, usize) = (16, 1024);
/// A tensor of fewer elements is a setting of an operator, as the scales of a Resize, and nothing learnt.
const LEARNT: u64 = 16;

/// Of a model and the images uploaded with it. Hashes in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    pub weights_sha256: Option<String>,
    pub graph_sha256: String,
    pub outputs_sha256: String,
    pub samples: Vec<u8>,
}

impl Fingerprint {
    /// `None`: an image was not seen.
    pub fn new(model: &Model, outputs: Outputs) -> Option<Fingerprint> {
        let (weights_sha256, graph_sha256) = of_model(model);
        let (outputs_sha256, samples) = outputs.finish()?;
        Some(Fingerprint { weights_sha256, graph_sha256, outputs_sha256, samples })
    }
}

/// Of the uploaded images, seen in any order and from any thread.
pub struct Outputs(Mutex<Vec<Option<Seen>>>);

/// One image: the hash of its pixels, and its samples.
#[derive(Clone)]
struct Seen(Digested, Vec<u8>);

type Digested = [u8; 32];

impl Outputs {
    pub fn new(images: usize) -> Outputs {
        Outputs(Mutex::new(vec![None; images]))
    }

    /// Takes note of the image at `index` of the dataset.
    pub fn see(&self, index: usize, image: &Rgb8) {
        let count = {
            let images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (PIXELS / images.len().max(1)).clamp(OF_AN_IMAGE.0, OF_AN_IMAGE.1)
        };
        let digest = Sha256::digest(&image.data).into();
        let pixels = image.data.len() / 3;
        let samples = (0..count)
            .flat_map(|k| {
                let at = place(index, k) % pixels.max(1) as u64;
                image.data.iter().skip(3 * at as usize).take(3).copied()
            })
            .collect();
        if let Some(seen) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *seen = Some(Seen(digest, samples));
        }
    }

    fn finish(self) -> Option<(String, Vec<u8>)> {
        let images: Vec<Seen> =
            self.0.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect::<Option<_>>()?;
        let mut whole = Sha256::new();
        let mut samples = Vec::new();
        for Seen(digest, of_image) in images {
            whole.update(digest);
            samples.extend(of_image);
        }
        Some((hex(&whole.finalize()), samples))
    }
}

/// SplitMix64 of the image's and the sample's number.
fn place(image: usize, sample: usize) -> u64 {
    let mut z = ((image as u64) << 32 | sample as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// PSNR in dB between two entries' samples; infinite where they are equal, `None` where they are of other images.
pub fn psnr(a: &[u8], b: &[u8]) -> Option<f64> {
    if a.len() != b.len() || a.is_empty() {
        return None;
    }
    let squares: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    let mse = squares as f64 / a.len() as f64;
    Some(20.0 * (255.0 / mse.sqrt()).log10())
}

/// The hash of the learnt weights and that of the graph, of what the output depends on only.
fn of_model(model: &Model) -> (Option<String>, String) {
    let graph = &model.flat;
    let mut wanted: HashSet<&str> = HashSet::from([model.output.as_str()]);
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|name| wanted.contains(name.as_str())) {
            wanted.extend(node.input.iter().map(String::as_str));
        }
    }

    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    let mut weights: Vec<Digested> = Vec::new();
    let mut known: HashMap<&str, Digested> = HashMap::from([(model.input.as_str(), digest([b"image"]))]);
    for tensor in graph.initializer.iter().chain(sparse).filter(|t| wanted.contains(t.name.as_str())) {
        known.insert(&tensor.name, of_shape(tensor));
        weights.extend(of_content(tensor));
    }
    let nodes = graph.node.iter().filter(|n| n.output.iter().any(|name| wanted.contains(name.as_str())));
    for node in nodes {
        weights.extend(node.attribute.iter().filter_map(|a| of_content(a.t.as_ref()?)));
        let of_node = of_node(node, &known);
        for (slot, name) in node.output.iter().enumerate() {
            known.insert(name, digest([&of_node[..], &(slot as u64).to_le_bytes()]));
        }
    }
    weights.sort_unstable();
    let learnt = (!weights.is_empty()).then(|| hex(&digest(weights.iter().map(|w| &w[..]))));
    (learnt, hex(known.get(model.output.as_str()).map_or(&[], |of_output| &of_output[..])))
}

/// An operator with its settings, and what its inputs are made of.
fn of_node(node: &NodeProto, known: &HashMap<&str, Digested>) -> Digested {
    let mut settings: Vec<(&str, Digested)> = node.attribute.iter().map(|a| (a.name.as_str(), of_setting(a))).collect();
    settings.sort_unstable();
    let mut hasher = Sha256::new();
    hasher.update(&node.op_type);
    for (name, value) in settings {
        hasher.update(name);
        hasher.update(value);
    }
    for input in &node.input {
        // An input that is left out has an empty name.
        hasher.update(known.get(input.as_str()).map_or(&[0][..], |of_input| &of_input[..]));
    }
    hasher.finalize().into()
}

fn of_setting(attribute: &AttributeProto) -> Digested {
    let AttributeProto { f, i, s, t, floats, ints, strings, .. } = attribute;
    let mut hasher = Sha256::new();
    hasher.update(f.to_le_bytes());
    hasher.update(i.to_le_bytes());
    hasher.update(s);
    for value in floats {
        hasher.update(value.to_le_bytes());
    }
    for value in ints {
        hasher.update(value.to_le_bytes());
    }
    for value in strings {
        hasher.update(value);
    }
    if let Some(tensor) = t {
        hasher.update(of_shape(tensor));
    }
    hasher.finalize().into()
}

/// A stored tensor without what it holds.
fn of_shape(tensor: &TensorProto) -> Digested {
    let mut hasher = Sha256::new();
    hasher.update(b"stored");
    hasher.update(tensor.data_type.to_le_bytes());
    for n in &tensor.dims {
        hasher.update(n.to_le_bytes());
    }
    hasher.finalize().into()
}

/// What a learnt tensor holds, whatever its shape and however the file writes it; `None`: nothing learnt.
fn of_content(tensor: &TensorProto) -> Option<Digested> {
    let elements = super::model::element_count(&tensor.dims)?;
    if elements < LEARNT {
        return None;
    }
    let kind = DataType::try_from(tensor.data_type).ok()?;
    let bytes: Vec<u8> = match kind {
        DataType::Float
        | DataType::Double
        | DataType::Float16
        | DataType::Bfloat16
        | DataType::Int8
        | DataType::Uint8
            if !tensor.raw_data.is_empty() =>
        {
            return Some(digest([&tensor.raw_data[..]]));
        }
        DataType::Float => tensor.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DataType::Double => tensor.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        // Two bytes a value, and one, of the four that hold it.
        DataType::Float16 | DataType::Bfloat16 => {
            tensor.int32_data.iter().flat_map(|v| v.to_le_bytes().into_iter().take(2)).collect()
        }
        DataType::Int8 | DataType::Uint8 => tensor.int32_data.iter().map(|v| v.to_le_bytes()[0]).collect(),
        // Shapes, axes and indices.
        _ => return None,
    };
    Some(digest([&bytes[..]]))
}

fn digest<'a, B: AsRef<[u8]> + ?Sized + 'a>(parts: impl IntoIterator<Item = &'a B>) -> Digested {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        model,
        onnx::{
            build::{Conv, GraphBuilder},
            proto::ModelProto,
        },
    };

    fn print(bytes: Vec<u8>) -> (Option<String>, String) {
        of_model(&model::vet(bytes).expect("a model"))
    }

    fn network(seed: u64, kernel: usize) -> Vec<u8> {
        let mut net = GraphBuilder::new(seed);
        let x = net.input();
        let x = net.conv(x, Conv::new(8, kernel).pad(kernel / 2));
        let x = net.relu(x);
        let x = net.conv(x, Conv::new(48, 3).pad(1));
        let x = net.depth_to_space(x, 4);
        net.build(x)
    }

    #[test]
    fn names_and_the_way_of_writing_do_not_matter() {
        let original = network(1, 3);
        let mut copy = ModelProto::decode(&original[..]).expect("a model");
        let graph = copy.graph.as_mut().expect("a graph");
        graph.name = "ours".into();
        let mut renamed = HashMap::new();
        for tensor in &mut graph.initializer {
            renamed.insert(tensor.name.clone(), format!("renamed_{}", tensor.name));
            tensor.name = format!("renamed_{}", tensor.name);
            // From raw bytes to a list of floats.
            let raw = std::mem::take(&mut tensor.raw_data);
            tensor.float_data =
                raw.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
        }
        graph.initializer.reverse();
        for node in &mut graph.node {
            node.name = "layer".into();
            for input in &mut node.input {
                if let Some(name) = renamed.get(input) {
                    *input = name.clone();
                }
            }
        }
        let (weights, graph) = print(original);
        assert!(weights.is_some());
        assert_eq!(print(copy.encode_to_vec()), (weights.clone(), graph.clone()));
        // Trained anew: the same graph. Another kernel: another graph.
        let anew = print(network(2, 3));
        assert_eq!((anew.1 == graph, anew.0 == weights), (true, false));
        assert_ne!(print(network(1, 5)).1, graph);
    }

    #[test]
    fn samples_tell_how_near_two_uploads_are() {
        let image = |off: u8, every: usize| Rgb8 {
            width: 96,
            height: 64,
            data: (0..96 * 64 * 3).map(|i| (i * 31 % 200) as u8 + if i % every == 0 { off } else { 0 }).collect(),
        };
        let of = |images: [&Rgb8; 2]| {
            let outputs = Outputs::new(2);
            for (i, image) in images.into_iter().enumerate().rev() {
                outputs.see(i, image);
            }
            outputs.finish().expect("both were seen")
        };
        let (hash, samples) = of([&image(0, 1), &image(0, 1)]);
        assert_eq!(of([&image(0, 1), &image(0, 1)]), (hash.clone(), samples.clone()));
        assert_eq!(psnr(&samples, &samples), Some(f64::INFINITY));
        // One grey level in a twentieth of the samples is 61.1 dB.
        let (near_hash, near) = of([&image(1, 20), &image(1, 20)]);
        let between = psnr(&samples, &near).expect("of the same images");
        assert!(near_hash != hash && (between - 61.14).abs() < 0.6, "{between}");
        assert_eq!(psnr(&samples, &samples[1..]), None);
        let half = Outputs::new(2);
        half.see(1, &image(0, 1));
        assert!(half.finish().is_none(), "an image was not seen");
    }
}
