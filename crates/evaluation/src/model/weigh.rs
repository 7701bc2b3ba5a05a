//! What decoding a file would take, before it is decoded: two bytes of protobuf can become a node of hundreds in memory, so
//! that 100 MB of empty nodes would need 10 GB.

use std::mem::size_of;

use super::super::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, SparseTensorProto, StringStringEntryProto, TensorProto,
    TrainingInfoProto, TypeProto, ValueInfoProto, tensor_shape_proto::Dimension,
};

/// Depth that prost decodes to.
const MAX_DEPTH: usize = 100;

/// Memory for each byte of messages that no network needs, at most.
const RARE_BYTES: usize = 64;

/// What a field of a message holds, as far as it takes memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Function,
    Training,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// A message of texts and numbers only.
    Entry,
    /// A text or bytes of their own.
    Text,
    /// Packed numbers.
    Numbers,
    /// Messages that no network needs: taken for as large as they can be.
    Rare,
    /// Bytes that stay as long as they are.
    Bytes,
}

impl Kind {
    /// Of a length-delimited field of this message; the numbers are those of onnx.proto.
    fn field(self, number: u64) -> Kind {
        match (self, number) {
            (Kind::Model, 7) => Kind::Graph,
            (Kind::Model, 8 | 14) => Kind::Entry,
            (Kind::Model, 20) => Kind::Training,
            (Kind::Model, 25) => Kind::Function,
            (Kind::Model, 26) | (Kind::Node, 10) | (Kind::Graph, 14) | (Kind::Type, 4 | 5 | 9) => Kind::Rare,
            (Kind::Training, 1 | 2) => Kind::Graph,
            (Kind::Training, 3 | 4) => Kind::Entry,
            (Kind::Graph, 1) => Kind::Node,
            (Kind::Graph, 5) => Kind::Tensor,
            (Kind::Graph, 11..=13) => Kind::ValueInfo,
            (Kind::Graph, 16) => Kind::Entry,
            (Kind::Graph, 15) => Kind::Sparse,
            (Kind::Node, 1 | 2) => Kind::Text,
            (Kind::Node, 5) => Kind::Attribute,
            (Kind::Node, 9) => Kind::Entry,
            (Kind::Function, 4..=6) => Kind::Text,
            (Kind::Function, 7) => Kind::Node,
            (Kind::Function, 9 | 14) => Kind::Entry,
            (Kind::Function, 11) => Kind::Attribute,
            (Kind::Function, 12) => Kind::ValueInfo,
            (Kind::Attribute, 5 | 10) => Kind::Tensor,
            (Kind::Attribute, 6 | 11) => Kind::Graph,
            (Kind::Attribute, 8) => Kind::Numbers,
            (Kind::Attribute, 9) => Kind::Text,
            (Kind::Attribute, 14 | 15) => Kind::Type,
            (Kind::Attribute, 22 | 23) => Kind::Sparse,
            (Kind::Tensor, 1 | 5 | 7 | 11) => Kind::Numbers,
            (Kind::Tensor, 6) => Kind::Text,
            (Kind::Tensor, 13 | 16) => Kind::Entry,
            (Kind::Sparse, 1 | 2) => Kind::Tensor,
            (Kind::Sparse, 3) => Kind::Numbers,
            (Kind::ValueInfo, 2) => Kind::Type,
            (Kind::ValueInfo, 4) => Kind::Entry,
            (Kind::Type, 1 | 8) => Kind::TensorType,
            (Kind::TensorType, 2) => Kind::Shape,
            (Kind::Shape, 1) => Kind::Entry,
            _ => Kind::Bytes,
        }
    }

    /// Bytes that one takes in memory beside what its fields take.
    fn bytes(self, content: &[u8]) -> u64 {
        let own = match self {
            Kind::Graph => size_of::<GraphProto>(),
            Kind::Node => size_of::<NodeProto>(),
            Kind::Function => size_of::<FunctionProto>(),
            Kind::Training => size_of::<TrainingInfoProto>(),
            Kind::Attribute => size_of::<AttributeProto>(),
            Kind::Tensor => size_of::<TensorProto>(),
            Kind::Sparse => size_of::<SparseTensorProto>(),
            Kind::ValueInfo => size_of::<ValueInfoProto>(),
            Kind::Type | Kind::TensorType => size_of::<TypeProto>(),
            Kind::Entry => size_of::<StringStringEntryProto>().max(size_of::<Dimension>()),
            Kind::Text => size_of::<String>(),
            Kind::Numbers => size_of::<u64>() * content.iter().filter(|&&byte| byte < 0x80).count(),
            Kind::Rare => (2 + content.len()).saturating_mul(RARE_BYTES),
            Kind::Model | Kind::Shape | Kind::Bytes => 0,
        };
        own as u64
    }
}

/// Whether a file's messages, lists and texts take at most `most` bytes when decoded; the bytes of raw tensors do not count.
/// `None`: it has a group, which no ONNX file has, and behind which nothing was looked at. What is no protobuf otherwise passes
/// as far as it goes: decoding it stops there too.
pub fn fits(file: &[u8], most: u64) -> Option<bool> {
    let mut room = most;
    match walk(file, Kind::Model, 0, &mut room) {
        Ok(()) | Err(Stop::Malformed) => Some(true),
        Err(Stop::Full) => Some(false),
        Err(Stop::Group) => None,
    }
}

/// Bytes that are here, and that there are at least, of a model whose last part ends behind the file.
pub fn cut_short(file: &[u8]) -> Option<(u64, u64)> {
    let mut rest = file;
    while !rest.is_empty() {
        let key = varint(&mut rest).ok()?;
        let known = matches!(key >> 3, 1..=8 | 14 | 20 | 25 | 26);
        match key & 7 {
            0 if known => _ = varint(&mut rest).ok()?,
            2 if known => {
                let length = varint(&mut rest).ok()?;
                let behind = (file.len() - rest.len()) as u64;
                // Twice the largest model: no length that anybody meant.
                if length > rest.len() as u64 && length <= super::MAX_MODEL_BYTES * 2 {
                    return Some((file.len() as u64, behind + length));
                }
                skip(&mut rest, length).ok()?;
            }
            _ => return None,
        }
    }
    None
}

/// Why a walk ends early.
enum Stop {
    Full,
    Group,
    /// Nothing that can be decoded.
    Malformed,
}

fn walk(mut bytes: &[u8], kind: Kind, depth: usize, room: &mut u64) -> Result<(), Stop> {
    if depth > MAX_DEPTH {
        return Err(Stop::Malformed);
    }
    let mut take = |amount: u64| match room.checked_sub(amount) {
        Some(rest) => {
            *room = rest;
            Ok(())
        }
        None => Err(Stop::Full),
    };
    let mut inner = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            // A list of numbers need not be packed.
            0 => {
                varint(&mut bytes)?;
                take(8)?;
            }
            1 => {
                skip(&mut bytes, 8)?;
                take(8)?;
            }
            5 => {
                skip(&mut bytes, 4)?;
                take(4)?;
            }
            2 => {
                let length = varint(&mut bytes)?;
                let content = skip(&mut bytes, length)?;
                let field = kind.field(key >> 3);
                take(field.bytes(content))?;
                if !matches!(field, Kind::Text | Kind::Numbers | Kind::Rare | Kind::Entry | Kind::Bytes) {
                    inner.push((content, field));
                }
            }
            3 | 4 => return Err(Stop::Group),
            _ => return Err(Stop::Malformed),
        }
    }
    inner.into_iter().try_for_each(|(content, field)| walk(content, field, depth + 1, room))
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Stop> {
    let mut value = 0;
    for place in 0..10 {
        let (&byte, rest) = bytes.split_first().ok_or(Stop::Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Stop::Malformed)
}

fn skip<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], Stop> {
    let length = usize::try_from(length).ok().filter(|&n| n <= bytes.len()).ok_or(Stop::Malformed)?;
    let (content, rest) = bytes.split_at(length);
    *bytes = rest;
    Ok(content)
}
