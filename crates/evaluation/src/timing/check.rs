//! Whether what the timed passes made is the model's own answer.
//!
//! Passes are drawn at random while the clock is stopped. Each must give the same again in a fresh session, and be what the
//! model makes of the same pixels in larger pictures, of sizes drawn at random and of the largest image of the phase: a network
//! that takes a short cut at the timed shape, or holds a ready answer for it, cannot do both.
//!
//! How near is near? The model itself is asked, at larger sizes only. Where black in place of all that lies beyond the timed
//! pixels changes no bit of its answer away from the edges, nor the size more than rounding does, it is *local*, and the timed
//! output must equal that answer to rounding. Otherwise (attention, pools over the picture, maps resized to a size) it must be nearer than a bound.

use rand::RngExt;

use super::{
    super::{
        Agreement, Doubt,
        images::Rgb8,
        resize,
        runner::{Fault, Runner, Tensor},
    },
    inputs::{framed, pixels},
};
use crate::problem::Problem;

/// Passes of one run whose outputs are checked.
pub const CHECKED: usize = 3;
/// Largest difference between two passes on a GPU, as a share of the range; on CPU they are equal.
const GPU_TOLERANCE: f32 = 1e-3;
/// The same between two sizes on CPU, in grey levels: arithmetic in another order. Published networks without attention stay
/// within 0.001; half precision is 0.05 and more off.
const ROUNDING: f64 = 0.02;
/// A network that is not local may be so far from its answer elsewhere, in grey levels (54 dB), root of the mean square …
const SEES_MORE: f64 = 0.5;
/// … or this share of how far bicubic enlargement is; published networks with attention maps are at a tenth …
const OF_BICUBIC: f64 = 0.2;
/// … or so many times as far as its answers at two other sizes are from each other, as where numbers are rounded to a range
/// found in the picture. Beyond that the entry is held.
const OF_OWN: f64 = 2.0;
/// It is refused when its mean square is beyond this share of bicubic enlargement's (and not explained by its own answers
/// either), or of the answer's own variance …
const WRONG: f64 = 0.25;
/// … but not within a mean square of so many grey levels (48 dB).
const UNSEEN: f64 = 1.0;
/// LR pixels that windows which do not pad are multiples of.
const WINDOW: u32 = 64;

/// One timed pass.
pub struct Kept {
    pub image: Rgb8,
    pub output: Tensor,
}

/// Of a stream of passes each is equally likely to be among the [`CHECKED`] that are kept, and none knows.
pub struct Lottery(usize);

impl Lottery {
    pub fn new() -> Lottery {
        Lottery(0)
    }

    /// Where the next pass is kept, if it is drawn.
    pub fn draw(&mut self) -> Option<usize> {
        let place = match self.0 {
            n if n < CHECKED => n,
            n => rand::rng().random_range(0..=n),
        };
        self.0 += 1;
        (place < CHECKED).then_some(place)
    }
}

/// How outputs are to look.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub scale: u32,
    pub range: u32,
    /// Equal to the last bit, as on CPU.
    pub exact: bool,
}

impl Expected {
    /// Most that arithmetic in another order moves a sample, grey levels.
    fn rounding(self) -> f64 {
        if self.exact { ROUNDING } else { 255.0 * f64::from(GPU_TOLERANCE) }
    }
}

/// Checks kept passes; the problem is the team's. `images`: sizes of the phase's images. `None`: the model runs at no other size.
pub fn outputs(
    runner: &mut Runner,
    kept: &[Kept],
    images: &[(u32, u32)],
    expected: Expected,
) -> Result<Option<Agreement>, Fault> {
    let mut found: Option<Agreement> = None;
    // Whether the network is local in all that is compared, or only farther from the edges.
    let mut whole = false;
    for (i, pass) in kept.iter().enumerate() {
        is_repeated(runner, pass, expected)?;
        let Some(elsewhere) = Elsewhere::look(runner, &pass.image, images, expected, i == 0)? else { continue };
        let timed = middle(&pass.output, &pass.image, expected);
        // Farther from the edges more networks are local.
        let corner = |grey: &[f64]| corner(grey, &pass.image, expected.scale);
        let bicubic = enlarged(&pass.image, expected.scale);
        for other in elsewhere.answers() {
            let bad = other.grey.iter().filter(|value| !value.is_finite()).count();
            if bad > 0 {
                let what =
                    format!("at {}×{} {bad} values are not finite (NaN or infinite)", other.size.0, other.size.1);
                return Err(Problem::new("output_not_finite", what).into());
            }
            let (max_abs, rms) = apart(&timed, &other.grey);
            let (_, far) = apart(&bicubic, &other.grey);
            let own = found.as_ref().map_or_else(|| elsewhere.own_rms(), |found| found.own_rms);
            let bound = (WRONG * far.powi(2)).max((OF_OWN * own).powi(2)).min(far.powi(2));
            if rms.powi(2) > bound.min(WRONG * variance(&other.grey)).max(UNSEEN) {
                return Err(wrong(
                    pass,
                    format!(
                        "is {:.1} dB from what the model makes of the same pixels in a larger image; bicubic enlargement is \
                         {:.1} dB from that",
                        db(rms),
                        db(far)
                    ),
                ));
            }
            if found.is_none() {
                whole = elsewhere.is_local(expected, &|grey| grey.to_vec());
            }
            let agreement = found.get_or_insert_with(|| Agreement {
                inputs: Vec::new(),
                local: whole || elsewhere.is_local(expected, &corner),
                max_abs: 0.0,
                rms: 0.0,
                most: 0.0,
                own_rms: own,
                bicubic_rms: 0.0,
            });
            agreement.inputs.push(other.size);
            agreement.max_abs = agreement.max_abs.max(max_abs);
            // The comparison with the least room decides.
            // Where less of the picture is seen, what is taken from all of it is farther off.
            let seen = f64::from(pass.image.width.min(pass.image.height)).max(1.0);
            let share = OF_BICUBIC * (super::secret::SMALL / seen).max(1.0);
            let most = SEES_MORE.max(share * far).max(OF_OWN * agreement.own_rms);
            if agreement.most == 0.0 || rms / most > agreement.rms / agreement.most {
                (agreement.rms, agreement.most, agreement.bicubic_rms) = (rms, most, far);
            }
            let inner = if whole { max_abs } else { apart(&corner(&timed), &corner(&other.grey)).0 };
            if agreement.local && inner > expected.rounding() {
                return Err(wrong(
                    pass,
                    format!(
                        "is up to {inner:.2} grey levels from what the model makes of the same pixels in a larger image of \
                         {}×{}, though nothing beyond them changes that",
                        other.size.0, other.size.1
                    ),
                ));
            }
        }
    }
    Ok(found)
}

/// Why the entry is held, if its answers are too far from each other.
pub fn doubt(found: &Agreement) -> Option<Doubt> {
    (found.rms > found.most).then(|| Doubt {
        code: "timed_output_differs".into(),
        message: format!(
            "its timed output is {:.1} dB from what the model makes of the same pixels in a larger image, where {:.1} dB would be \
             no doubt and bicubic enlargement has {:.1} dB",
            db(found.rms),
            db(found.most),
            db(found.bicubic_rms)
        ),
    })
}

fn wrong(pass: &Kept, what: String) -> Fault {
    let message = format!("the output of a timed pass at {}×{} {what}", pass.image.height, pass.image.width);
    Fault::Model(Problem::new("timed_output_wrong", message).hint(
        "What is timed must be the network's answer to fresh pixels; it may not depend on the input's size or on \
         earlier passes.",
    ))
}

/// The form of a pass's output, and that a fresh session makes the same.
fn is_repeated(runner: &mut Runner, pass: &Kept, Expected { scale, range, exact }: Expected) -> Result<(), Fault> {
    let (height, width) = (pass.image.height, pass.image.width);
    let dims = [1, 3, i64::from(height * scale), i64::from(width * scale)];
    if pass.output.dims != dims {
        return Err(wrong(pass, format!("has the shape {:?}, expected is {dims:?}", pass.output.dims)));
    }
    let bad = pass.output.values.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        return Err(wrong(pass, format!("has {bad} values that are not finite (NaN or infinite)")));
    }
    let most = 2 * pass.output.values.len() as u64;
    let again = runner.run_fresh(&pixels(&pass.image, range), (height, width), most)?;
    let tolerance = if exact { 0.0 } else { GPU_TOLERANCE * range as f32 };
    let apart = largest_difference(&pass.output.values, &again.values);
    if again.dims != dims || apart > tolerance {
        return Err(wrong(pass, format!("is not what a fresh session makes of the same pixels: up to {apart} apart")));
    }
    Ok(())
}

/// Infinite where the lengths differ or a value is NaN.
fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |most, d| if d.is_nan() { f32::INFINITY } else { most.max(d) })
}

/// What the model makes of the same pixels at another size, in the middle of the timed picture.
struct Answer {
    size: (u32, u32),
    grey: Vec<f64>,
}

/// Its answers at larger sizes.
struct Elsewhere {
    drawn: Answer,
    /// What the network itself is like; looked at once.
    surveyed: Option<Survey>,
}

struct Survey {
    /// At a second size that was drawn, and at that of the phase's largest image.
    others: Vec<Answer>,
    /// At the first size, with black beyond the timed pixels.
    black: Vec<f64>,
}

impl Elsewhere {
    /// `None`: it runs at no other size.
    fn look(
        runner: &mut Runner,
        image: &Rgb8,
        images: &[(u32, u32)],
        expected: Expected,
        survey: bool,
    ) -> Result<Option<Elsewhere>, Fault> {
        // Windows of attention networks that do not pad take multiples only.
        let (first, second) = ([drawn(image), windows(image, 2, 1)], [drawn(image), windows(image, 1, 2)]);
        // Of the phase's sizes the largest: who is cheap below some limit loses the more images the higher it is.
        let larger = |&(height, width): &(u32, u32)| height > image.height && width > image.width;
        let pixels = |&(height, width): &(u32, u32)| u64::from(height) * u64::from(width);
        let of_phase: Vec<(u32, u32)> = images.iter().copied().filter(larger).max_by_key(pixels).into_iter().collect();
        // What runs at no size but those that it knows is compared there.
        let first = [&first[..], &of_phase].concat();
        let plain = |size| framed(image, size);
        let Some(larger) = answer(runner, image, &first, &plain, expected)? else { return Ok(None) };
        if !survey {
            return Ok(Some(Elsewhere { drawn: larger, surveyed: None }));
        }
        let mut others = Vec::new();
        for sizes in [&second[..], &of_phase[..]] {
            others.extend(answer(runner, image, sizes, &plain, expected)?);
        }
        let blackened = |size| blackened(image, size);
        let black = answer(runner, image, &[larger.size], &blackened, expected)?;
        let surveyed = black.map(|black| Survey { others, black: black.grey });
        Ok(Some(Elsewhere { drawn: larger, surveyed }))
    }

    fn answers(&self) -> impl Iterator<Item = &Answer> {
        std::iter::once(&self.drawn).chain(self.surveyed.iter().flat_map(|survey| &survey.others))
    }

    /// Whether all its answers are the same in the part of them that `cut` leaves.
    fn is_local(&self, expected: Expected, cut: &dyn Fn(&[f64]) -> Vec<f64>) -> bool {
        self.surveyed.as_ref().is_some_and(|survey| {
            let here = cut(&self.drawn.grey);
            // At one size the arithmetic is in one order. What reaches so far at all may reach farther from a picture's edge, whose
            // padding is no black.
            let reached = apart(&cut(&survey.black), &here).0 > 0.0;
            let mut others = survey.others.iter().map(|other| apart(&cut(&other.grey), &here).0);
            !reached && !survey.others.is_empty() && others.all(|most| most <= expected.rounding())
        })
    }

    /// The least distance between two of its answers: of three, two are by one path of a network that has two.
    fn own_rms(&self) -> f64 {
        let all: Vec<&Answer> = self.answers().collect();
        let pairs = all.iter().enumerate().flat_map(|(i, a)| all[i + 1..].iter().map(move |b| (a, b)));
        pairs.map(|(a, b)| apart(&a.grey, &b.grey).1).reduce(f64::min).unwrap_or(0.0)
    }
}

/// A larger size: of other parity in both directions, not square.
fn drawn(image: &Rgb8) -> (u32, u32) {
    let mut rng = rand::rng();
    let mut more = |side: u32| side + 2 * rng.random_range(40..75) + 1;
    let (height, width) = (more(image.height), more(image.width));
    if height == width { (height, width + 2) } else { (height, width) }
}

fn windows(image: &Rgb8, down: u32, across: u32) -> (u32, u32) {
    (image.height + down * WINDOW, image.width + across * WINDOW)
}

/// What the model makes of `image` in a picture of the first of `sizes` at which it runs.
fn answer(
    runner: &mut Runner,
    image: &Rgb8,
    sizes: &[(u32, u32)],
    picture: &dyn Fn((u32, u32)) -> Rgb8,
    expected: Expected,
) -> Result<Option<Answer>, Fault> {
    for &size in sizes {
        let samples = u64::from(size.0) * u64::from(size.1) * 3 * u64::from(expected.scale).pow(2);
        match runner.run(&pixels(&picture(size), expected.range), size, 2 * samples) {
            Ok(made) => {
                let dims = [1, 3, i64::from(size.0 * expected.scale), i64::from(size.1 * expected.scale)];
                if made.dims == dims {
                    return Ok(Some(Answer { size, grey: middle(&made, image, expected) }));
                }
            }
            Err(Fault::Model(problem)) if is_of_the_size(&problem) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(None)
}

/// What a model may say of a size that nobody promised it: that it does not run there, or takes more memory than there is.
pub fn is_of_the_size(problem: &Problem) -> bool {
    problem.code == "runtime_error" || problem.code == "memory_limit"
}

/// The image with black beyond it.
fn blackened(image: &Rgb8, (height, width): (u32, u32)) -> Rgb8 {
    let mut data = vec![0; 3 * height as usize * width as usize];
    let row = 3 * image.width as usize;
    for (to, from) in data.chunks_exact_mut(3 * width as usize).zip(image.data.chunks_exact(row)) {
        to[..row].copy_from_slice(from);
    }
    Rgb8 { width, height, data }
}

/// Height and width of the part that is compared: the edges on the right and below, a quarter of each side, see other
/// surroundings. Above and on the left the picture ends where the larger ones do.
fn part(image: &Rgb8, scale: u32) -> (usize, usize) {
    let part = |side: u32| (scale * (side - side / 4)) as usize;
    (part(image.height), part(image.width))
}

/// That part of an output in grey levels, plane by plane.
fn middle(output: &Tensor, image: &Rgb8, Expected { scale, range, .. }: Expected) -> Vec<f64> {
    let (height, width) = part(image, scale);
    let factor = 255.0 / f64::from(range);
    // The caller has compared its dimensions.
    let full = output.dims.last().map_or(1, |&w| w.max(1) as usize);
    let plane = (output.values.len() / 3).max(1);
    let rows = output.values.chunks_exact(plane).flat_map(|plane| plane.chunks_exact(full).take(height));
    rows.flat_map(|row| &row[..width]).map(|&value| (f64::from(value) * factor).clamp(0.0, 255.0)).collect()
}

/// Of that part, given by its planes, the half of the picture's height and width at the upper left.
fn corner(grey: &[f64], image: &Rgb8, scale: u32) -> Vec<f64> {
    let (height, width) = part(image, scale);
    let half = |side: u32| (scale * side.div_ceil(2)) as usize;
    let (rows, columns) = (half(image.height), half(image.width));
    let planes = grey.chunks_exact((height * width).max(1));
    planes.flat_map(|plane| plane.chunks_exact(width).take(rows)).flat_map(|row| &row[..columns]).copied().collect()
}

/// The same part of a bicubic enlargement.
fn enlarged(image: &Rgb8, scale: u32) -> Vec<f64> {
    let (height, width) = part(image, scale);
    let (_, _, values) = resize::resize_unrounded(image, f64::from(scale));
    let row = 3 * (image.width * scale) as usize;
    let at =
        |c: usize| values.chunks_exact(row).take(height).flat_map(move |row| row.iter().skip(c).step_by(3).take(width));
    (0..3).flat_map(at).map(|value| value.clamp(0.0, 255.0)).collect()
}

/// The largest difference of two samples, and the root of the mean square; both infinite where something is not a number.
fn apart(a: &[f64], b: &[f64]) -> (f64, f64) {
    let (mut most, mut squares) = (0.0f64, 0.0);
    for (a, b) in a.iter().zip(b) {
        let difference = (a - b).abs();
        most = if difference.is_nan() { f64::INFINITY } else { most.max(difference) };
        squares += difference.powi(2);
    }
    let rms = (squares / a.len().max(1) as f64).sqrt();
    (most, if rms.is_nan() { f64::INFINITY } else { rms })
}

fn variance(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n
}

/// Of a root of a mean square, grey levels.
fn db(rms: f64) -> f64 {
    20.0 * (255.0 / rms.max(1e-3)).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_may_be_drawn() {
        let mut last = [0usize; CHECKED];
        for _ in 0..200 {
            let mut lottery = Lottery::new();
            for pass in 0..12 {
                if let Some(place) = lottery.draw() {
                    last[place] = pass;
                }
            }
            assert!(last.iter().all(|&pass| pass < 12));
        }
        let mut first = Lottery::new();
        assert_eq!([first.draw(), first.draw(), first.draw()], [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn a_difference_is_seen_through_nan_and_length() {
        assert_eq!(largest_difference(&[1.0, 2.0], &[1.0, 2.5]), 0.5);
        assert_eq!(largest_difference(&[f32::NAN, 1.0], &[1.0, 1.0]), f32::INFINITY);
        assert_eq!(largest_difference(&[1.0], &[1.0, 2.0]), f32::INFINITY);
    }
}
