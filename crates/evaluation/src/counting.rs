//! The count that ranks, at 1×3×256×256, and the proof that it is the cost of every other size too.

use anyhow::Result;
use rand::{RngExt, seq::SliceRandom};

use super::{
    Cost, EvalImage, SizeGate, SizeMeans,
    cost::{self, Count, LARGEST_WINDOW, NodeCost, Work},
    evaluate::header,
    model::Model,
    runner::{Fault, Runner},
    runtime::Shapes,
};
use crate::problem::{Problem, printable};

/// The field's input for every count, height and width.
const COUNTED: (u32, u32) = (256, 256);
/// How far a figure per pixel may differ between input sizes: windows and borders, not a short cut.
const COST_TOLERANCE: f64 = 0.05;
/// Sizes of a phase's images that are counted at: the smallest, the largest, and others by chance.
const PHASE_SIZES: usize = 4;
/// … of a model that decides by the size: whatever it decides by, these are the sizes that it is judged at.
const PHASE_SIZES_OF_FORKS: usize = 24;
/// How far from the timed size one is tried that is nearly the same, pixels on each side.
const NEARLY: i64 = 8;
/// Most arithmetic that no definition counts, as a share of the multiply-adds that are counted. Of 20 published networks
/// most stay below 0.02, and BSRN has 0.073.
const UNCOUNTED_SHARE: f64 = 0.25;
/// Taps of an output sample of a bicubic enlargement: as much is free, and as much again where there are no weights at all.
const BICUBIC: u64 = 16;

/// An input size, height and width, and the image that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    pub height: u32,
    pub width: u32,
    /// The phase's image of this size.
    pub image: Option<String>,
}

impl Size {
    fn tried(height: u32, width: u32) -> Size {
        Size { height, width, image: None }
    }
}

/// What counting found.
#[derive(Debug)]
pub struct Counted {
    /// At 1×3×256×256.
    pub cost: Cost,
    /// Every node that computes on data, in the order of the graph.
    pub nodes: Vec<NodeCost>,
    /// Heights and widths that it was counted at, 256×256 first.
    pub sizes: Vec<[u32; 2]>,
    /// Nodes that decide by the input's size.
    pub gates: Vec<SizeGate>,
}

/// Counts the model at 1×3×256×256, and at other sizes to see that it does the same work for each pixel there, by the same
/// nodes: a network that does little at the counted size and much elsewhere, or the reverse, or sends the picture another
/// way, is refused with both figures.
///
/// `used` are sizes that the model must take, those of the phase's images and of the timed input. Beside them go sizes that
/// a short cut could not foresee, odd and even, square and not, multiples of a window and not, one nearly the timed input, most
/// of them by chance; those at which the model does not run are left out.
pub fn count_model(
    runner: &mut Runner,
    model: &Model,
    used: &[Size],
    report: &dyn Fn(u32, u32),
) -> Result<Counted, Fault> {
    runner.flat(&model.flat_bytes())?;
    if let (Some(height), Some(width)) = model.size
        && (height, width) != (i64::from(COUNTED.0), i64::from(COUNTED.1))
    {
        let message = format!("the input is fixed at {height}×{width}, but the cost is defined at 256×256");
        return Err(Problem::new("onnx_fixed_shape", message).at(&model.input).into());
    }
    let tried = if model.size == (None, None) { sizes_to_try(used) } else { Vec::new() };
    let total = (1 + used.len() + tried.len()) as u32;
    report(0, total);
    let counted = shapes(runner, model, &Size::tried(COUNTED.0, COUNTED.1))?;
    let count = cost::count(model, &counted, COUNTED.0, COUNTED.1)?;
    drop(counted);
    let mut refusal = None;
    let mut sizes = vec![[COUNTED.0, COUNTED.1]];
    let mut paddings = Padding::all();
    for (i, size) in used.iter().chain(&tried).enumerate() {
        report(1 + i as u32, total);
        let here = match shapes(runner, model, size) {
            Ok(here) => here,
            Err(Fault::Model(problem)) if i >= used.len() && problem.code == "runtime_error" => {
                refusal = Some(problem);
                continue;
            }
            Err(fault) => return Err(fault),
        };
        sizes.push([size.height, size.width]);
        let here = cost::count(model, &here, size.height, size.width)?;
        same_cost_per_pixel(model, &count, &here, &mut paddings)?;
        same_work_per_pixel(model, &count, &here, &mut paddings)?;
        all_counted(&here, 1.0 + 2.0 * COST_TOLERANCE)?;
    }
    report(total, total);
    match refusal {
        Some(problem) if sizes.len() == 1 => {
            let message = format!("height and width are declared free, but only 256×256 runs; {}", problem.message);
            return Err(Problem::new("onnx_fixed_shape", message).at(problem.place.unwrap_or_default()).into());
        }
        _ => {}
    }
    all_counted(&count, 1.0)?;
    let Count { cost, nodes, .. } = count;
    Ok(Counted { cost, nodes, sizes, gates: cost::size_gates(model) })
}

/// Sizes whose choice nobody can know beforehand. Without `used` there are no images that say how large inputs get.
fn sizes_to_try(used: &[Size]) -> Vec<Size> {
    let mut rng = rand::rng();
    let odd = |n: u32| 2 * n + 1;
    let (tall, wide) = (odd(rng.random_range(24..48)), odd(rng.random_range(60..104)));
    let windows = [(64, 128), (128, 64), (64, 192), (192, 128), (128, 192)][rng.random_range(0..5)];
    let any = (rng.random_range(48..=208), rng.random_range(48..=208));
    // Always one that is wider than high and one that is higher than wide.
    let [odd, even] = if rng.random() { [(tall, wide), (128, 96)] } else { [(wide, tall), (96, 128)] };
    let timed = used.iter().find(|size| size.image.is_none()).map_or(COUNTED, |size| (size.height, size.width));
    let mut near = |side: u32| {
        let by = rng.random_range(1..=NEARLY) * if rng.random() { 1 } else { -1 };
        u32::try_from(i64::from(side) + by).unwrap_or(side).max(1)
    };
    let near = (near(timed.0), near(timed.1));
    let mut sizes = vec![odd, even, (64, 64), windows, any, near];
    if used.is_empty() {
        sizes.push((rng.random_range(257..=320), rng.random_range(257..=320)));
    }
    sizes.into_iter().map(|(height, width)| Size::tried(height, width)).collect()
}

/// Refuses a network whose work is mostly in operators that no definition counts: arithmetic on elements, norms, pools and
/// table look-ups can be made to compute what a convolution does. `slack`: a factor on what is allowed.
fn all_counted(Count { cost, nodes, .. }: &Count, slack: f64) -> Result<(), Problem> {
    if cost.macs == 0 && cost.params > 0 {
        let message = format!("its {} parameters take part in no multiply-add that can be counted", cost.params);
        return Err(Problem::new("cost_depends_on_shape", message));
    }
    let samples = cost.input.iter().product::<u64>() * u64::from(cost.scale).pow(2);
    let enlarging = nodes.iter().filter(|node| node.op == "Resize" || node.op == "Upsample").map(|node| node.uncounted);
    let free = enlarging.sum::<u64>().min(BICUBIC * samples);
    let uncounted = nodes.iter().map(|node| node.uncounted).sum::<u64>() - free;
    let allowed = match cost.macs {
        0 => BICUBIC * samples,
        macs => (slack * UNCOUNTED_SHARE * macs as f64) as u64,
    };
    if uncounted <= allowed {
        return Ok(());
    }
    let per_pixel = |n: u64| n / (cost.input[2] * cost.input[3]);
    let heaviest = nodes.iter().max_by_key(|node| node.uncounted);
    let (name, op) = heaviest.map(|node| (node.name.as_str(), node.op.as_str())).unwrap_or_default();
    let message = format!(
        "{} steps of arithmetic per input pixel are in operators that count nothing, beside {} multiply-adds that count, at \
         {}×{}; the most are in this {op}",
        per_pixel(uncounted),
        per_pixel(cost.macs),
        cost.input[2],
        cost.input[3]
    );
    Err(Problem::new("cost_uncounted", message)
        .at(name)
        .hint("Write convolutions as Conv, matrix products as MatMul: their cost is what is compared."))
}

/// Shapes at one size; a node at fault gets the name its author gave it.
fn shapes(runner: &mut Runner, model: &Model, size: &Size) -> Result<Shapes, Fault> {
    let Size { height, width, image } = size;
    runner.shapes(*height, *width).map_err(|fault| match named(model, fault) {
        Fault::Model(mut problem) => {
            let what = image.as_ref().map_or("an input".into(), |name| format!("image {name}, an input"));
            problem.message = format!("at {what} of {height}×{width}: {}", problem.message);
            Fault::Model(problem)
        }
        ours => ours,
    })
}

/// The runtime knows the nodes as `n0`, `n1` … and what it made of them as `n0_nchwc`: at the place that it names, says what
/// the author called that node.
pub(super) fn named(model: &Model, fault: Fault) -> Fault {
    let Fault::Model(problem) = fault else { return fault };
    let number = problem.place.as_deref().and_then(|place| place.strip_prefix('n')?.split('_').next());
    let index = number.and_then(|number| number.parse::<usize>().ok());
    Fault::Model(match index.and_then(|i| model.places.get(i)) {
        Some(place) => problem.at(&place.label),
        None => problem,
    })
}

/// A way to pad the picture that explains the cost of every size so far: to a multiple of a window, all of the network or a
/// part of it. 256 is no multiple of 12 or 22, so padding may cost more here or at the counted size.
struct Padding {
    window: u64,
    /// A whole window is added where the size is a multiple already.
    always: bool,
    /// What share of each figure is of padded nodes: least and most.
    shares: [(f64, f64); FIGURES],
}

/// Figures per pixel that are compared.
const FIGURES: usize = 4;

impl Padding {
    fn all() -> Vec<Padding> {
        let windows = (1..=u64::from(LARGEST_WINDOW)).flat_map(|window| [(window, false), (window, true)]);
        windows.map(|(window, always)| Padding { window, always, shares: [(0.0, 1.0); FIGURES] }).collect()
    }

    /// How many times the pixels per pixel of the reference a padded node sees here.
    fn more(&self, reference: &Cost, here: &Cost) -> f64 {
        let padded = |cost: &Cost| {
            let side = |n: u64| ((n + if self.always { 1 } else { 0 }).div_ceil(self.window) * self.window) as f64;
            side(cost.input[2]) * side(cost.input[3]) / pixels(cost)
        };
        padded(here) / padded(reference)
    }

    /// Whether one share of padded nodes explains that a figure is `ratio` times that at the counted size, here and everywhere.
    fn explains(&mut self, figure: usize, more: f64, ratio: f64) -> bool {
        let (least, most) = (ratio - 1.0 - COST_TOLERANCE, ratio - 1.0 + COST_TOLERANCE);
        if (more - 1.0).abs() < 1e-9 {
            return least <= 0.0 && most >= 0.0;
        }
        let (one, other) = (least / (more - 1.0), most / (more - 1.0));
        let (low, high) = self.shares[figure];
        self.shares[figure] = (low.max(one.min(other)), high.min(one.max(other)));
        self.shares[figure].0 <= self.shares[figure].1
    }
}

/// Refuses another cost per pixel than at the counted size, but for what one of `paddings` adds.
fn same_cost_per_pixel(
    model: &Model,
    reference: &Count,
    here: &Count,
    paddings: &mut Vec<Padding>,
) -> Result<(), Problem> {
    let figures = |Count { cost, .. }: &Count| -> [(&str, u64); FIGURES] {
        [
            ("multiply-adds", cost.macs),
            ("FLOPs (kair)", cost.flops.kair),
            ("FLOPs (fvcore)", cost.flops.fvcore),
            ("activations", cost.activations),
        ]
    };
    for (figure, ((what, expected), (_, found))) in figures(reference).into_iter().zip(figures(here)).enumerate() {
        let (expected, found) = (expected as f64 / pixels(&reference.cost), found as f64 / pixels(&here.cost));
        let ratio = if expected == found { 1.0 } else { found / expected };
        paddings.retain_mut(|padding| {
            let more = padding.more(&reference.cost, &here.cost);
            padding.explains(figure, more, ratio)
        });
        if !paddings.is_empty() {
            continue;
        }
        let (at, there) = (size(&reference.cost), size(&here.cost));
        let message = format!("{expected:.0} {what} per input pixel at {at}, but {found:.0} at {there}");
        let (most, least) = furthest(&per_pixel(reference, steps), &per_pixel(here, steps));
        let place = if found > expected { most } else { least };
        return Err(Problem::new("cost_depends_on_shape", message)
            .at(label(model, place))
            .hint("The cost that is ranked is counted at 256×256; it must be that of every size."));
    }
    Ok(())
}

/// Refuses a network whose nodes share the work otherwise than at the counted size, if the sum is the same: it sends the
/// picture another way there. What all nodes do more or less than padding explains may be a small share of the multiply-adds,
/// and what they write more or less of what the multiply-adds write: borders and strides, which hit what works at a fraction
/// of the size.
fn same_work_per_pixel(
    model: &Model,
    reference: &Count,
    here: &Count,
    paddings: &mut Vec<Padding>,
) -> Result<(), Problem> {
    let kinds: [(&str, Figure); 2] = [("steps of arithmetic", steps), ("elements", |work| work.written)];
    for (what, of) in kinds {
        // Of what must run: what the runtime leaves out, as a factor of 1, would widen the tolerance for nothing.
        let weighted = reference.work.iter().filter(|work| work.macs > 0).map(of).sum::<u64>();
        let all = if weighted > 0 { weighted } else { reference.work.iter().map(of).sum() };
        let allowed = COST_TOLERANCE * all as f64 / pixels(&reference.cost);
        let (expected, found) = (per_pixel(reference, of), per_pixel(here, of));
        paddings.retain(|padding| {
            let more = padding.more(&reference.cost, &here.cost);
            let (least, most) = (more.min(1.0), more.max(1.0));
            let nodes = expected.iter().zip(&found);
            let unexplained = nodes.map(|(one, other)| (other - one * most).max(one * least - other).max(0.0));
            unexplained.sum::<f64>() <= allowed
        });
        if !paddings.is_empty() {
            continue;
        }
        let (most, least) = furthest(&expected, &found);
        let (at, there) = (size(&reference.cost), size(&here.cost));
        let told = |i: usize| {
            let (name, op) = (printable(label(model, i)), model.flat.node.get(i).map_or("", |node| &node.op_type));
            format!("{:.1} in {op} {name} but {:.1} at {there}", expected[i], found[i])
        };
        let place = if found[most] - expected[most] > expected[least] - found[least] { most } else { least };
        let (most, least) = (told(most), told(least));
        let message = format!("other nodes do the work: {what} per input pixel at {at} are {most}, and {least}");
        return Err(Problem::new("cost_depends_on_shape", message)
            .at(label(model, place))
            .hint("What is counted and timed must be what runs at every size: no way round by the input's size."));
    }
    Ok(())
}

/// Something that a node does.
type Figure = fn(&Work) -> u64;

fn steps(work: &Work) -> u64 {
    work.macs + work.uncounted
}

fn per_pixel(count: &Count, of: Figure) -> Vec<f64> {
    count.work.iter().map(|work| of(work) as f64 / pixels(&count.cost)).collect()
}

/// The nodes that do most more, and most less, than expected.
fn furthest(expected: &[f64], found: &[f64]) -> (usize, usize) {
    let more = |&i: &usize| found[i] - expected[i];
    let nodes = 0..expected.len();
    let most = nodes.clone().max_by(|a, b| more(a).total_cmp(&more(b)));
    (most.unwrap_or_default(), nodes.min_by(|a, b| more(a).total_cmp(&more(b))).unwrap_or_default())
}

fn label(model: &Model, node: usize) -> &str {
    model.places.get(node).map_or("", |place| &place.label)
}

fn size(cost: &Cost) -> String {
    format!("{}×{}", cost.input[2], cost.input[3])
}

fn pixels(cost: &Cost) -> f64 {
    (cost.input[2] * cost.input[3]) as f64
}

/// Sizes that the model meets in a phase: the smallest and the largest LR image, others by chance, the timed
/// input; of a model that decides by the size nearly all.
pub(super) fn sizes_used(model: &Model, images: &[EvalImage], timed: Option<(u32, u32)>) -> Result<Vec<Size>> {
    let forks = cost::size_gates(model).iter().any(|gate| gate.means == SizeMeans::Fork);
    let most = if forks { PHASE_SIZES_OF_FORKS } else { PHASE_SIZES };
    let mut sizes: Vec<Size> = Vec::new();
    for image in images {
        let header = header(&image.lr, &image.name)?;
        sizes.push(Size { height: header.height, width: header.width, image: Some(image.name.clone()) });
    }
    sizes.sort_by_key(|size| (u64::from(size.height) * u64::from(size.width), size.height));
    sizes.dedup_by_key(|size| (size.height, size.width));
    if sizes.len() > most {
        let last = sizes.len() - 1;
        sizes[1..last].shuffle(&mut rand::rng());
        sizes.swap(most - 1, last);
        sizes.truncate(most);
    }
    let known = |(height, width): &(u32, u32)| sizes.iter().any(|s| (s.height, s.width) == (*height, *width));
    let timed = timed.filter(|size| *size != COUNTED && !known(size));
    sizes.extend(timed.map(|(height, width)| Size::tried(height, width)));
    Ok(sizes)
}
