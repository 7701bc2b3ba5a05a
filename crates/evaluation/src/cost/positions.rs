//! Tables of attention that files hold unrolled. A window's position bias has one number for each offset between two places;
//! exporters store it for each pair of places. The mask of shifted windows says only where the shift cuts. Both are
//! recognised by every single element, so that no weight hides in them, and only where they are added to what goes into a
//! Softmax.

use std::{cell::Cell, collections::HashSet};

use super::{Sizes, attribute, flow::Flow};
use crate::{
    model::{Model, element_count, is_view},
    onnx::proto::{NodeProto, TensorProto, tensor_proto::DataType},
};

/// Elements that may be looked at in one count; tables beyond it count in full. HAT-L, the largest in use, takes a third.
const MOST_STEPS: u64 = 1 << 28;
/// Nodes between a stored table and where it is added, at most; exporters write six.
const NODES_BETWEEN: usize = 16;

pub struct Positions<'a> {
    model: &'a Model,
    sizes: &'a Sizes<'a>,
    flow: &'a Flow<'a>,
    /// Tensors that go into a Softmax and nowhere else.
    scores: HashSet<&'a str>,
    steps: Cell<u64>,
}

/// A constant tensor of which only equality matters: equal numbers are equal elements.
struct Table {
    dims: Vec<usize>,
    elements: Vec<u64>,
}

/// Height and width in places.
type Window = (usize, usize);

impl<'a> Positions<'a> {
    pub fn of(model: &'a Model, sizes: &'a Sizes<'a>, flow: &'a Flow<'a>) -> Self {
        Positions { model, sizes, flow, scores: scores(model), steps: Cell::new(MOST_STEPS) }
    }

    /// Numbers that a constant operand of a node takes, where that is fewer than it has elements.
    pub fn held(&self, node: &NodeProto, name: &str) -> Option<u64> {
        let added = node.op_type == "Add" && node.output.iter().all(|name| self.scores.contains(name.as_str()));
        let squares = |dims: &[u64]| matches!(dims, [.., rows, columns] if *rows > 1 && *columns > 1);
        if !added || !self.sizes.dims(name).is_some_and(squares) {
            return None;
        }
        let table = self.table(name, 0)?;
        let [.., rows, columns] = table.dims[..] else { return None };
        if rows == columns && self.stored_below(name).is_some_and(|low| self.is_shift_mask(&table, rows, low)) {
            return Some(0);
        }
        let pairs = windows(rows, columns);
        pairs.into_iter().find_map(|(one, other)| self.offsets(&table, one, other))
    }

    /// The table's values as far as equality goes, through views of it and look-ups in it.
    fn table(&self, name: &str, depth: usize) -> Option<Table> {
        if let Some(tensor) = self.sizes.stored(name) {
            let elements = self.spend(element_count(&tensor.dims)?).then(|| bits(tensor))??;
            return Some(Table { dims: tensor.dims.iter().map(|&d| d as usize).collect(), elements });
        }
        let node = &self.model.flat.node[self.flow.writer(name).filter(|_| depth < NODES_BETWEEN)?];
        let dims: Vec<usize> = self.sizes.dims(name)?.iter().map(|&d| d as usize).collect();
        let of = |slot: usize| self.table(node.input.get(slot)?, depth + 1);
        let table = match node.op_type.as_str() {
            "Transpose" => transposed(of(0)?, node)?,
            "Gather" | "GatherND" => self.looked_up(node, of(1)?)?,
            "Sigmoid" => of(0)?,
            "Mul" => {
                let lone = |slot: usize| node.input.get(slot).and_then(|name| self.sizes.elements(name)) == Some(1);
                if lone(1) { of(0)? } else { of(usize::from(lone(0)))? }
            }
            op if is_view(op) && !op.ends_with("Linear") => of(0)?,
            _ => return None,
        };
        (dims.iter().product::<usize>() == table.elements.len() && self.spend(table.elements.len() as u64))
            .then_some(Table { dims, ..table })
    }

    /// Rows of a table by stored indices: a row's elements are told apart by where they are, whatever their values.
    fn looked_up(&self, node: &NodeProto, rows: Table) -> Option<Table> {
        let row = self.sizes.dims(node.input.first()?)?.get(1..)?.iter().product::<u64>();
        let by_rows = match node.op_type.as_str() {
            "Gather" => attribute(node, "axis").is_none_or(|axis| axis.i == 0),
            _ => attribute(node, "batch_dims").is_none_or(|dims| dims.i == 0) && rows.dims.last() == Some(&1),
        };
        if !by_rows || !self.spend(row * rows.elements.len() as u64) {
            return None;
        }
        let elements = |index: &u64| (0..row).map(move |i| index.wrapping_mul(row).wrapping_add(i)).collect::<Vec<_>>();
        Some(Table { dims: Vec::new(), elements: rows.elements.iter().flat_map(elements).collect() })
    }

    /// Numbers that the table holds, if each depends only on its head and on the offset between a place of one window and a
    /// place of the other.
    fn offsets(&self, table: &Table, (h1, w1): Window, (h2, w2): Window) -> Option<u64> {
        let (high, wide) = (h1 + h2 - 1, w1 + w2 - 1);
        let mut heads = 0;
        for head in table.elements.chunks(h1 * w1 * h2 * w2) {
            if !self.spend(head.len() as u64) {
                return None;
            }
            let mut known: Vec<Option<u64>> = vec![None; high * wide];
            for (i, row) in head.chunks(h2 * w2).enumerate() {
                let (y, x) = (i / w1 + h2 - 1, i % w1 + w2 - 1);
                for (j, &element) in row.iter().enumerate() {
                    if *known[(y - j / w2) * wide + x - j % w2].get_or_insert(element) != element {
                        return None;
                    }
                }
            }
            heads += 1;
        }
        Some(heads * (high * wide) as u64)
    }

    /// Whether a stored tensor, seen through views, may be a mask; and what of its elements hides.
    fn stored_below(&self, name: &str) -> Option<fn(u64) -> Option<bool>> {
        let mut name = name;
        for _ in 0..NODES_BETWEEN {
            if let Some(tensor) = self.sizes.stored(name) {
                return hides(tensor);
            }
            let node = &self.model.flat.node[self.flow.writer(name)?];
            name = node.input.first().filter(|_| is_view(&node.op_type) && !node.op_type.ends_with("Linear"))?;
        }
        None
    }

    /// Whether it is the mask of windows that a shift moves over the picture's edge: in the last row and the last column of
    /// windows, places on both sides of one cut do not see each other.
    fn is_shift_mask(&self, table: &Table, places: usize, hides: fn(u64) -> Option<bool>) -> bool {
        let low = table.elements.iter().find(|&&element| hides(element) == Some(true));
        let two_values = |&element: &u64| hides(element) == Some(false) || Some(&element) == low;
        if !self.spend(table.elements.len() as u64) || !table.elements.iter().all(two_values) {
            return false;
        }
        let sees = |window: &[u64], i: usize, j: usize| Some(&window[i * places + j]) != low;
        let cut_as = |(h, w): Window| -> Option<Vec<(usize, usize)>> {
            let mut cuts = Vec::new();
            for window in table.elements.chunks(places * places) {
                // What the first place sees of its own column and row.
                let (y, x) = (
                    (0..h).take_while(|y| sees(window, 0, y * w)).count(),
                    (0..w).take_while(|&x| sees(window, 0, x)).count(),
                );
                let side = |i: usize| (i / w < y, i % w < x);
                let whole = (0..places).all(|i| (0..places).all(|j| sees(window, i, j) == (side(i) == side(j))));
                if !self.spend(window.len() as u64) || !whole {
                    return None;
                }
                cuts.push((if y < h { y } else { 0 }, if x < w { x } else { 0 }));
            }
            Some(cuts)
        };
        low.is_some()
            && windows(places, places).into_iter().filter_map(|(one, _)| cut_as(one)).any(|cuts| is_grid(&cuts))
    }

    /// Whether so many more elements may be looked at.
    fn spend(&self, steps: u64) -> bool {
        let left = self.steps.get().checked_sub(steps);
        self.steps.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// Whether windows in rows are cut at one height in the last row and at one width in the last column, and nowhere else.
fn is_grid(cuts: &[(usize, usize)]) -> bool {
    let (Some(y), Some(x)) = (cuts.iter().map(|cut| cut.0).max(), cuts.iter().map(|cut| cut.1).max()) else {
        return false;
    };
    let last_row = cuts.iter().filter(|cut| cut.0 > 0).count();
    let columns = match cuts.iter().position(|cut| cut.1 > 0) {
        Some(first) => first + 1,
        None => last_row,
    };
    let expected = |i: usize| {
        (if i + last_row >= cuts.len() { y } else { 0 }, if (i + 1).is_multiple_of(columns) { x } else { 0 })
    };
    columns > 0 && (last_row == 0 || last_row == columns) && cuts.iter().enumerate().all(|(i, cut)| *cut == expected(i))
}

/// Two windows of so many places that a table may be about, the squarest first: equal ones, or two squares.
fn windows(rows: usize, columns: usize) -> Vec<(Window, Window)> {
    if rows != columns {
        let square = |n: usize| Some((n.isqrt(), n.isqrt())).filter(|side| side.0 * side.1 == n);
        return square(rows).zip(square(columns)).into_iter().collect();
    }
    let mut all: Vec<Window> = (1..=rows).filter(|h| rows.is_multiple_of(*h)).map(|h| (h, rows / h)).collect();
    all.sort_by_key(|(h, w)| h.abs_diff(*w));
    all.into_iter().map(|window| (window, window)).collect()
}

fn transposed(table: Table, node: &NodeProto) -> Option<Table> {
    let rank = table.dims.len();
    let order: Vec<usize> = match attribute(node, "perm") {
        Some(perm) => perm.ints.iter().map(|&axis| axis as usize).collect(),
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return None;
    }
    let mut strides = vec![1; rank];
    for axis in (1..rank).rev() {
        strides[axis - 1] = strides[axis] * table.dims[axis];
    }
    // From the last axis on: where each element of the result lies in the table.
    let mut places = vec![0];
    for &axis in order.iter() {
        let steps = 0..table.dims[axis];
        places = places
            .iter()
            .flat_map(|place| steps.clone().map(move |i| (place, i)))
            .map(|(place, i)| place + i * strides[axis])
            .collect();
    }
    Some(Table { dims: Vec::new(), elements: places.into_iter().map(|place| table.elements[place]).collect() })
}

/// Tensors that go into a Softmax and nowhere else, in another shape or with something added.
fn scores(model: &Model) -> HashSet<&str> {
    let mut scores: HashSet<&str> = HashSet::new();
    let mut elsewhere: HashSet<&str> = HashSet::from([model.output.as_str()]);
    for node in model.flat.node.iter().rev() {
        let written = node.output.first().map(String::as_str).unwrap_or_default();
        let op = node.op_type.as_str();
        let passes = (op == "Add" || is_view(op)) && scores.contains(written) && !elsewhere.contains(written);
        let set = if op == "Softmax" || passes { &mut scores } else { &mut elsewhere };
        set.extend(node.input.iter().map(String::as_str));
    }
    scores.retain(|name| !elsewhere.contains(name));
    scores
}

/// Elements of a stored tensor as their bits.
fn bits(tensor: &TensorProto) -> Option<Vec<u64>> {
    let kind = DataType::try_from(tensor.data_type).ok()?;
    let size = match kind {
        DataType::Float | DataType::Int32 => 4,
        DataType::Float16 => 2,
        DataType::Int64 => 8,
        _ => return None,
    };
    let one = |bytes: &[u8]| bytes.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
    Some(match (kind, tensor.raw_data.is_empty()) {
        (_, false) => tensor.raw_data.chunks_exact(size).map(one).collect(),
        (DataType::Float, _) => tensor.float_data.iter().map(|value| u64::from(value.to_bits())).collect(),
        (DataType::Int64, _) => tensor.int64_data.iter().map(|&value| value as u64).collect(),
        _ => tensor.int32_data.iter().map(|&value| value as u32 as u64).collect(),
    })
}

/// Says of a mask's element whether it hides a place (−100 or less), shows it (0), or is of no mask.
fn hides(tensor: &TensorProto) -> Option<fn(u64) -> Option<bool>> {
    match DataType::try_from(tensor.data_type).ok()? {
        DataType::Float => Some(|bits| match bits as u32 {
            0 => Some(false),
            low if f32::from_bits(low) <= -100.0 => Some(true),
            _ => None,
        }),
        // −100 is 0xd640, −∞ is 0xfc00.
        DataType::Float16 => Some(|bits| match bits {
            0 => Some(false),
            0xd640..=0xfc00 => Some(true),
            _ => None,
        }),
        _ => None,
    }
}
