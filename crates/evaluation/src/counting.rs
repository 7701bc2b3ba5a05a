//! The count that ranks, at 1×3×256×256, and the proof that it is the cost of every other size too.

use anyhow::Result;
use rand::{RngExt, seq::SliceRandom};

use super::{
    Cost, EvalImage,
    cost::{self, Count},
    evaluate::header,
    model::Model,
    runner::{Fault, Runner},
    runtime::Shapes,
};
use crate::problem::{Problem, printable};

/// The field's input for every count, height and width.
const COUNTED: (u32, u32) = (256, 256);
/// Sides of the pictures that networks are exported with.
const EXAMPLES: [u32; 6] = [64, 128, 48, 32, 96, 224];
/// How far a figure per pixel may differ between input sizes: windows and borders, not a short cut.
const COST_TOLERANCE: f64 = 0.05;
/// Windows of attention networks pad the input to a multiple of one number, at most this.
const PADDING: u32 = 64;
/// Sizes of a phase's images that are counted at: the smallest, the largest, and others by chance.
const PHASE_SIZES: usize = 4;
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

/// Counts the model at 1×3×256×256, and at other sizes to see that its cost per pixel is the same there: a network that
/// does little work at the counted size and much elsewhere, or the reverse, is refused with both figures.
///
/// `used` are sizes that the model must take, those of the phase's images and of the timed input. Beside them go sizes that
/// a short cut could not foresee, odd and even, square and not, multiples of a window and not, three of them by chance; those
/// at which the model does not run are left out.
pub fn count_model(
    runner: &mut Runner,
    model: &Model,
    used: &[Size],
    report: &dyn Fn(u32, u32),
) -> Result<Count, Fault> {
    runner.flat(&model.flat_bytes())?;
    let fits = |side: Option<i64>, counted: u32| side.is_none_or(|side| side == i64::from(counted));
    if let Some(problem) = model.fixed("the cost is defined at 256×256")
        && !(fits(model.size.0, COUNTED.0) && fits(model.size.1, COUNTED.1))
    {
        return Err(problem.into());
    }
    let tried = if model.size == (None, None) { sizes_to_try(used.is_empty()) } else { Vec::new() };
    let total = (1 + used.len() + tried.len()) as u32;
    report(0, total);
    let counted = match shapes(runner, model, &Size::tried(COUNTED.0, COUNTED.1)) {
        Ok(counted) => counted,
        Err(Fault::Model(problem)) => return Err(runs_elsewhere(runner, model, problem)?.into()),
        Err(fault) => return Err(fault),
    };
    let count = cost::count(model, &counted, COUNTED.0, COUNTED.1)?;
    drop(counted);
    let mut refusal = None;
    let mut elsewhere = 0;
    let mut windows: Vec<u32> = (1..=PADDING).collect();
    for (i, size) in used.iter().chain(&tried).enumerate() {
        report(1 + i as u32, total);
        let here = match shapes(runner, model, size) {
            Ok(here) => here,
            Err(Fault::Model(problem)) if i >= used.len() && problem.code == "runtime_error" => {
                refusal = Some(problem);
                continue;
            }
            Err(Fault::Model(problem)) => return Err(frozen(model, problem, COUNTED, size).into()),
            Err(fault) => return Err(fault),
        };
        elsewhere += 1;
        let here = cost::count(model, &here, size.height, size.width)?;
        same_cost_per_pixel(&count.cost, &here.cost, &mut windows)?;
    }
    report(total, total);
    match refusal {
        Some(problem) if elsewhere == 0 => {
            let message = format!("height and width are declared free, but only 256×256 runs; {}", problem.message);
            return Err(Problem::new("onnx_fixed_shape", message).at(problem.place.unwrap_or_default()).into());
        }
        _ => {}
    }
    all_counted(&count)?;
    Ok(count)
}

/// What to say of a model that does not run at the counted size: whether it runs at one that examples of exporters have.
fn runs_elsewhere(runner: &mut Runner, model: &Model, problem: Problem) -> Result<Problem, Fault> {
    if problem.code != "runtime_error" || model.size != (None, None) {
        return Ok(problem);
    }
    for side in EXAMPLES {
        match shapes(runner, model, &Size::tried(side, side)) {
            Ok(_) => return Ok(frozen(model, problem, (side, side), &Size::tried(COUNTED.0, COUNTED.1))),
            Err(Fault::Model(other)) if other.code == "runtime_error" => {}
            // A limit was met: there is nobody left to ask.
            Err(Fault::Model(_)) => return Ok(problem),
            Err(ours) => return Err(ours),
        }
    }
    Ok(problem)
}

/// What a runtime's complaint of two sizes that do not fit is, where the model runs at another size.
fn frozen(model: &Model, problem: Problem, runs: (u32, u32), fails: &Size) -> Problem {
    const MEETS_SIZES: [&str; 14] = [
        "Add", "Concat", "Div", "Einsum", "Expand", "Gather", "MatMul", "Mul", "Reshape", "Resize", "Slice", "Sub",
        "Tile", "Where",
    ];
    let at = model.places.iter().position(|place| Some(printable(&place.label)) == problem.place);
    let op = at.map(|i| model.flat.node[i].op_type.as_str()).unwrap_or_default();
    if problem.code != "runtime_error" || !MEETS_SIZES.contains(&op) {
        return problem;
    }
    let message = format!(
        "the exporter froze a size at this {op}: the model runs at {}×{} and not at {}×{}",
        runs.0, runs.1, fails.height, fails.width
    );
    Problem::new("onnx_fixed_shape", message).at(problem.place.unwrap_or_default()).hint(
        "Compute sizes in forward() from the tensor's own shape, x.shape[2:], and export again with height and width free.",
    )
}

/// Sizes whose choice nobody can know beforehand. `alone`: there are no images that say how large inputs get.
fn sizes_to_try(alone: bool) -> Vec<Size> {
    let mut rng = rand::rng();
    let odd = |n: u32| 2 * n + 1;
    let (tall, wide) = (odd(rng.random_range(24..48)), odd(rng.random_range(60..104)));
    let windows = [(64, 128), (128, 64), (64, 192), (192, 128), (128, 192)][rng.random_range(0..5)];
    let any = (rng.random_range(48..=208), rng.random_range(48..=208));
    // Always one that is wider than high and one that is higher than wide.
    let [odd, even] = if rng.random() { [(tall, wide), (128, 96)] } else { [(wide, tall), (96, 128)] };
    let mut sizes = vec![odd, even, (64, 64), windows, any];
    if alone {
        sizes.push((rng.random_range(257..=320), rng.random_range(257..=320)));
    }
    sizes.into_iter().map(|(height, width)| Size::tried(height, width)).collect()
}

/// Refuses a network whose work is mostly in operators that no definition counts: arithmetic on elements, norms, pools and
/// table look-ups can be made to compute what a convolution does.
fn all_counted(Count { cost, nodes }: &Count) -> Result<(), Problem> {
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
        macs => (UNCOUNTED_SHARE * macs as f64) as u64,
    };
    if uncounted <= allowed {
        return Ok(());
    }
    let per_pixel = |n: u64| n / (cost.input[2] * cost.input[3]);
    let heaviest = nodes.iter().max_by_key(|node| node.uncounted);
    let (name, op) = heaviest.map(|node| (node.name.as_str(), node.op.as_str())).unwrap_or_default();
    let message = format!(
        "{} steps of arithmetic per input pixel are in operators that count nothing, beside {} multiply-adds that count; the \
         most are in this {op}",
        per_pixel(uncounted),
        per_pixel(cost.macs)
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

/// Refuses another cost per pixel than at the counted size. `windows` are those that explain every size so far: a network that
/// pads the picture to a multiple of one costs more by up to what that adds, here or at the counted size (256 is no multiple
/// of 12 or 22).
fn same_cost_per_pixel(reference: &Cost, here: &Cost, windows: &mut Vec<u32>) -> Result<(), Problem> {
    let figures = |cost: &Cost| {
        [
            ("multiply-adds", cost.macs),
            ("FLOPs (kair)", cost.flops.kair),
            ("FLOPs (fvcore)", cost.flops.fvcore),
            ("activations", cost.activations),
        ]
    };
    let pixels = |cost: &Cost| (cost.input[2] * cost.input[3]) as f64;
    let padded = |cost: &Cost, window: u32| {
        let side = |n: u64| (n.div_ceil(u64::from(window)) * u64::from(window)) as f64;
        side(cost.input[2]) * side(cost.input[3]) / pixels(cost)
    };
    for ((what, expected), (_, found)) in figures(reference).into_iter().zip(figures(here)) {
        let (expected, found) = (expected as f64 / pixels(reference), found as f64 / pixels(here));
        windows.retain(|&window| {
            let more = padded(here, window) / padded(reference, window);
            let (least, most) = ((1.0 - COST_TOLERANCE) * more.min(1.0), (1.0 + COST_TOLERANCE) * more.max(1.0));
            found >= expected * least && found <= expected * most
        });
        if !windows.is_empty() {
            continue;
        }
        let size = |cost: &Cost| format!("{}×{}", cost.input[2], cost.input[3]);
        let message =
            format!("{expected:.0} {what} per input pixel at {}, but {found:.0} at {}", size(reference), size(here));
        return Err(Problem::new("cost_depends_on_shape", message)
            .hint("The cost that is ranked is counted at 256×256; it must be that of every size."));
    }
    Ok(())
}

/// Sizes that the model meets in a phase: the smallest and the largest LR image, others by chance, the timed input.
pub(super) fn sizes_used(images: &[EvalImage], timed: Option<(u32, u32)>) -> Result<Vec<Size>> {
    let mut sizes: Vec<Size> = Vec::new();
    for image in images {
        let header = header(&image.lr, &image.name)?;
        sizes.push(Size { height: header.height, width: header.width, image: Some(image.name.clone()) });
    }
    sizes.sort_by_key(|size| (u64::from(size.height) * u64::from(size.width), size.height));
    sizes.dedup_by_key(|size| (size.height, size.width));
    if sizes.len() > PHASE_SIZES {
        let last = sizes.len() - 1;
        sizes[1..last].shuffle(&mut rand::rng());
        sizes.swap(PHASE_SIZES - 1, last);
        sizes.truncate(PHASE_SIZES);
    }
    let known = |(height, width): &(u32, u32)| sizes.iter().any(|s| (s.height, s.width) == (*height, *width));
    let timed = timed.filter(|size| *size != COUNTED && !known(size));
    sizes.extend(timed.map(|(height, width)| Size::tried(height, width)));
    Ok(sizes)
}
