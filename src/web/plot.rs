//! Plots as plain numbers: the templates draw SVG from them, with classes and no inline style.

use super::lang::{say, t, told};
use crate::evaluation::Runtime;

/// A point to be plotted.
#[derive(Debug, Clone)]
pub struct Point {
    /// Above 0, as the axis may be logarithmic; what is not is left out.
    pub x: f64,
    pub y: f64,
    /// What the mark's area shows; `None`: all are alike.
    pub size: Option<f64>,
    pub label: String,
    /// Where a click leads.
    pub href: Option<String>,
    /// Names it to scripts.
    pub id: String,
    pub kind: Kind,
}

/// Of the horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    #[default]
    Log,
    Linear,
}

impl Scale {
    fn of(self, x: f64) -> f64 {
        match self {
            Scale::Log => x.log10(),
            Scale::Linear => x,
        }
    }

    /// The value whose place on a line this is.
    fn back(self, place: f64) -> f64 {
        match self {
            Scale::Log => 10f64.powf(place),
            Scale::Linear => place,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ranked,
    Unranked,
    Baseline,
}

impl Kind {
    pub fn class(&self) -> &'static str {
        match self {
            Kind::Ranked => "ranked",
            Kind::Unranked => "unranked",
            Kind::Baseline => "baseline",
        }
    }
}

/// A point in the picture's own coordinates.
#[derive(Debug, Clone)]
pub struct Mark {
    pub x: f64,
    pub y: f64,
    pub radius: f64,
    pub id: String,
    /// Whole; the label is cut, or empty where there is no room for it.
    pub name: String,
    /// What it stands for, in the axes' units; it may be drawn elsewhere where it lies beyond the frame.
    pub at: [f64; 2],
    pub label: String,
    pub label_x: f64,
    pub label_y: f64,
    /// `start` or `end`.
    pub anchor: &'static str,
    pub title: String,
    pub href: Option<String>,
    pub kind: Kind,
    pub on_front: bool,
}

#[derive(Debug, Clone)]
pub struct Tick {
    pub at: f64,
    pub text: String,
}

impl Tick {
    fn new(at: f64, text: String) -> Tick {
        Tick { at: hundredths(at), text }
    }
}

/// Of a pixel: what is finer nobody sees, and a page of hundreds of marks need not carry it.
fn hundredths(place: f64) -> f64 {
    (place * 100.0).round() / 100.0
}

/// Digits that count: enough for a mark in a picture that is enlarged 32 times.
fn nine_digits(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

/// What the edges of a plot's frame stand for, so that a script can draw a part of it larger.
#[derive(Debug, Clone, Copy)]
pub struct Axes {
    /// Left and right, in the axis's unit; seconds where it is time.
    pub x: [f64; 2],
    /// Bottom and top.
    pub y: [f64; 2],
    /// Of the horizontal axis: `log`, `linear` or `time`.
    pub kind: &'static str,
}

#[derive(Debug, Clone)]
pub struct Scatter {
    pub marks: Vec<Mark>,
    pub axes: Axes,
    pub x_ticks: Vec<Tick>,
    pub y_ticks: Vec<Tick>,
    /// `x,y x,y …` of the Pareto front's steps.
    pub front: String,
    /// `x,y x,y …` round what the front beats.
    pub beaten: String,
    /// The baseline's place, for its cross-hair.
    pub cross: Option<(f64, f64)>,
    pub frame: Frame,
}

#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub width: f64,
    pub height: f64,
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

pub const FRAME: Frame = Frame { width: 760.0, height: 420.0, left: 58.0, right: 744.0, top: 18.0, bottom: 372.0 };

/// Characters of a label; the tooltip has the whole name.
const LABEL: usize = 20;

/// Points of a plot at most, the front apart: more hide one another.
const MOST: usize = 200;

/// The front, the baseline, and of the others the first up to [`MOST`].
pub fn few(points: &[Point]) -> Vec<Point> {
    let mut others = 0;
    let kept = points.iter().zip(front(points)).filter(|(p, on_front)| {
        others += usize::from(!on_front);
        *on_front || p.kind == Kind::Baseline || others <= MOST
    });
    kept.map(|(p, _)| p.clone()).collect()
}

/// For each point, whether none that is ranked beats it: less cost and no less height, or more height at no more cost. What is
/// not ranked beats nobody and is on no front.
pub fn front(points: &[Point]) -> Vec<bool> {
    let counts = |p: &Point| p.kind != Kind::Unranked && p.x > 0.0 && p.x.is_finite() && p.y.is_finite();
    let mut order: Vec<usize> = (0..points.len()).filter(|&i| counts(&points[i])).collect();
    order.sort_by(|&a, &b| points[a].x.total_cmp(&points[b].x).then(points[b].y.total_cmp(&points[a].y)));
    let mut on = vec![false; points.len()];
    let mut best: Option<(f64, f64)> = None;
    for i in order {
        let p = (points[i].x, points[i].y);
        on[i] = best.is_none_or(|best| p.1 > best.1 || p == best);
        if on[i] {
            best = Some(p);
        }
    }
    on
}

/// `None`: nothing to show. The axes are made for what competes: an entry far below it is drawn at the edge, with an arrow
/// and its figure, so that it does not squeeze the rest into a line.
pub fn scatter(points: &[Point], frame: Frame, scale: Scale, describe: impl Fn(&Point) -> String) -> Option<Scatter> {
    let on_front = front(points);
    let drawable = |p: &Point| p.x > 0.0 && p.x.is_finite() && p.y.is_finite();
    let (points, on_front): (Vec<&Point>, Vec<bool>) = points.iter().zip(on_front).filter(|(p, _)| drawable(p)).unzip();
    let competes = |p: &Point| p.kind != Kind::Unranked;
    // As little room as the digits of the figures need: 1 dB of PSNR, a hundredth of SSIM.
    let least = if points.iter().all(|p| p.y <= 1.0) { 0.01 } else { 0.2 };
    let floor =
        bounds(points.iter().filter(|p| competes(p)).map(|p| p.y), 1.2, 5.0 * least).map_or(f64::MIN, |(low, _)| low);
    let shown = |p: &Point| p.y >= floor;
    let (x_low, x_high) = {
        let values = points.iter().filter(|p| shown(p)).map(|p| scale.of(p.x));
        match scale {
            Scale::Log => bounds(values, 0.08, 0.15)?,
            // A cost is never below nothing.
            Scale::Linear => (0.0, bounds(values, 0.08, f64::MIN_POSITIVE)?.1),
        }
    };
    let (y_low, y_high) = bounds(points.iter().filter(|p| shown(p)).map(|p| p.y), 0.12, least)?;
    let to_x = |x: f64| frame.left + (scale.of(x) - x_low) / (x_high - x_low) * (frame.right - frame.left);
    let to_y = |y: f64| frame.bottom - (y - y_low) / (y_high - y_low) * (frame.bottom - frame.top);
    let largest = points.iter().filter_map(|p| p.size).filter(|s| s.is_finite()).fold(0.0, f64::max);
    // The area is in proportion; what is smallest can still be hit.
    let radius = |p: &Point| match p.size {
        Some(size) if largest > 0.0 => (LARGEST * (size / largest).sqrt()).clamp(SMALLEST, LARGEST),
        _ => MARK,
    };
    let mut marks: Vec<Mark> = points
        .iter()
        .zip(&on_front)
        .map(|(p, on_front)| Mark {
            x: hundredths(to_x(p.x).clamp(frame.left + 6.0, frame.right - 6.0)),
            y: hundredths(to_y(p.y).min(frame.bottom - 8.0)),
            radius: hundredths(radius(p)),
            id: p.id.clone(),
            name: p.label.clone(),
            at: [nine_digits(p.x), nine_digits(p.y)],
            label: label(p, shown(p)),
            label_x: 0.0,
            label_y: 0.0,
            anchor: "start",
            title: describe(p),
            href: p.href.clone(),
            kind: p.kind,
            on_front: *on_front,
        })
        .collect();
    // Small ones on top of large ones.
    marks.sort_by(|a, b| b.radius.total_cmp(&a.radius));
    place_labels(&mut marks, frame);

    let mut front: Vec<(f64, f64)> = marks.iter().filter(|m| m.on_front).map(|m| (m.x, m.y)).collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut steps = Vec::new();
    for (i, &(x, y)) in front.iter().enumerate() {
        if let Some(&(_, before)) = i.checked_sub(1).and_then(|i| front.get(i)) {
            steps.push(format!("{x:.1},{before:.1}"));
        }
        steps.push(format!("{x:.1},{y:.1}"));
    }
    if let Some(&(_, y)) = front.last() {
        steps.push(format!("{:.1},{y:.1}", frame.right));
    }
    let steps = steps.join(" ");
    let beaten = front.first().map(|&(x, _)| {
        let (right, bottom) = (frame.right, frame.bottom);
        format!("{steps} {right:.1},{bottom:.1} {x:.1},{bottom:.1}")
    });
    let baseline = points.iter().find(|p| p.kind == Kind::Baseline);
    let x_ticks = match scale {
        Scale::Log => log_ticks(x_low, x_high).into_iter().map(|x| Tick::new(to_x(x), short(x))).collect(),
        Scale::Linear => linear_ticks(x_low, x_high, 6).into_iter().map(|(x, text)| Tick::new(to_x(x), text)).collect(),
    };
    let kind = match scale {
        Scale::Log => "log",
        Scale::Linear => "linear",
    };
    Some(Scatter {
        axes: Axes { x: [scale.back(x_low), scale.back(x_high)], y: [y_low, y_high], kind },
        x_ticks,
        y_ticks: linear_ticks(y_low, y_high, 5).into_iter().map(|(y, text)| Tick::new(to_y(y), text)).collect(),
        front: steps,
        beaten: beaten.unwrap_or_default(),
        cross: baseline.map(|b| (hundredths(to_x(b.x)), hundredths(to_y(b.y)))),
        marks,
        frame,
    })
}

/// Radius of a mark; of the smallest and the largest bubble.
const MARK: f64 = 5.0;
const SMALLEST: f64 = 3.5;
const LARGEST: f64 = 17.0;

fn label(point: &Point, shown: bool) -> String {
    let label = cut(&point.label, LABEL);
    if shown { label } else { format!("{label} ↓ {:.2}", point.y) }
}

/// One line of values, as a strip of marks.
#[derive(Debug, Clone)]
pub struct Strip {
    /// Place and tooltip.
    pub marks: Vec<(f64, String)>,
    pub ticks: Vec<Tick>,
    pub mean: f64,
    pub width: f64,
}

pub fn strip(values: &[(String, f64)], mean: f64) -> Option<Strip> {
    const WIDTH: f64 = 760.0;
    const MARGIN: f64 = 20.0;
    let finite = values.iter().filter(|(_, v)| v.is_finite());
    let (low, high) = bounds(finite.clone().map(|(_, v)| *v), 0.04, 0.2)?;
    let at = |v: f64| MARGIN + (v - low) / (high - low) * (WIDTH - 2.0 * MARGIN);
    Some(Strip {
        marks: finite.map(|(name, v)| (at(*v), format!("{name}: {v:.2} dB"))).collect(),
        ticks: linear_ticks(low, high, 7).into_iter().map(|(v, text)| Tick::new(at(v), text)).collect(),
        mean: at(mean).clamp(MARGIN, WIDTH - MARGIN),
        width: WIDTH,
    })
}

/// The timed passes of an entry and of its baseline in the order they ran, each as how far it is from the median of its own.
#[derive(Debug, Clone)]
pub struct Passes {
    pub dots: Vec<Pass>,
    /// Per cent.
    pub ticks: Vec<Tick>,
    pub frame: Frame,
    pub has_baseline: bool,
}

#[derive(Debug, Clone)]
pub struct Pass {
    pub x: f64,
    pub y: f64,
    pub title: String,
    /// `entry` or `baseline`, and `disturbed` where it was.
    pub class: &'static str,
}

/// `None`: there is nothing to be drawn.
pub fn passes(runtime: &Runtime) -> Option<Passes> {
    let frame = PROGRESS;
    let blocks = &runtime.record.blocks;
    // Which block, ms, of the baseline, what disturbed it.
    let mut all: Vec<(usize, f64, bool, Option<&str>)> = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        let why = block.disturbed.as_deref();
        let [first, last] = block.entry_ms;
        let between = block.baseline_ms.into_iter().flatten();
        all.push((i, first, false, why));
        all.extend(between.map(|ms| (i, ms, true, why)));
        all.push((i, last, false, why));
    }
    if blocks.is_empty() {
        all.extend(runtime.samples_ms.iter().enumerate().map(|(i, &ms)| (i, ms, false, None)));
    }
    let middle = |baseline: bool| {
        let mut of: Vec<f64> = all.iter().filter(|pass| pass.2 == baseline).map(|pass| pass.1).collect();
        of.sort_by(f64::total_cmp);
        of.get(of.len() / 2).copied().filter(|ms| *ms > 0.0)
    };
    let (entry, baseline) = (middle(false)?, middle(true));
    let off =
        |ms: f64, of_baseline: bool| 100.0 * (ms / if of_baseline { baseline.unwrap_or(ms) } else { entry } - 1.0);
    let (low, high) = bounds(all.iter().map(|pass| off(pass.1, pass.2)), 0.12, 2.0)?;
    let to_y = |value: f64| frame.bottom - (value - low) / (high - low) * (frame.bottom - frame.top);
    let step = (frame.right - frame.left - 24.0) / all.len().saturating_sub(1).max(1) as f64;
    let dots = all.iter().enumerate().map(|(i, &(block, ms, of_baseline, why))| {
        let whose = if of_baseline { t("baseline") } else { t("entry") };
        let cause = why.map_or_else(String::new, |why| say("; disturbed: %{why}").with("why", told(why)).into());
        Pass {
            x: frame.left + 12.0 + i as f64 * step,
            y: to_y(off(ms, of_baseline)),
            title: say("%{whose}, block %{n}: %{time}")
                .with("whose", whose)
                .with("n", block + 1)
                .with("time", format!("{ms:.3} ms, {:+.1} %{cause}", off(ms, of_baseline)))
                .into(),
            class: match (of_baseline, why) {
                (false, None) => "entry",
                (false, Some(_)) => "entry disturbed",
                (true, None) => "baseline",
                (true, Some(_)) => "baseline disturbed",
            },
        }
    });
    Some(Passes {
        dots: dots.collect(),
        ticks: linear_ticks(low, high, 4).into_iter().map(|(v, text)| Tick::new(to_y(v), text)).collect(),
        frame,
        has_baseline: baseline.is_some(),
    })
}

/// Lowest and highest with some room around, never of no width.
fn bounds(values: impl Iterator<Item = f64>, room: f64, least: f64) -> Option<(f64, f64)> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if !low.is_finite() || !high.is_finite() {
        return None;
    }
    let margin = ((high - low) * room).max(least / 2.0);
    Some((low - margin, high + margin))
}

/// 1, 2, 5 of each decade in between; only 1 where that would be many.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = if high - low > 2.2 {
        &[1.0]
    } else if high - low > 0.9 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    };
    let decades = low.floor() as i32..=high.ceil() as i32;
    let all = decades.flat_map(|d| steps.iter().map(move |s| s * 10f64.powi(d)));
    all.filter(|v| (low..=high).contains(&v.log10())).collect()
}

fn linear_ticks(low: f64, high: f64, about: u32) -> Vec<(f64, String)> {
    let rough = (high - low) / f64::from(about);
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|s| s * decade).find(|s| *s >= rough).unwrap_or(decade);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|v| *v <= high).map(|v| (v, format!("{v:.decimals$}"))).collect()
}

fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e9 => (v / 1e9, " G"),
        v if v >= 1e6 => (v / 1e6, " M"),
        v if v >= 1e3 => (v / 1e3, " k"),
        v => (v, ""),
    };
    let text = format!("{scaled:.6}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Right of the mark where there is room, else left, else above or below; what still collides keeps its tooltip only.
fn place_labels(marks: &mut [Mark], frame: Frame) {
    const LINE: f64 = 14.0;
    let box_of = |m: &Mark| {
        let r = m.radius + 1.0;
        [m.x - r, m.y - r, m.x + r, m.y + r]
    };
    let mut taken: Vec<[f64; 4]> = marks.iter().map(box_of).collect();
    let mut order: Vec<usize> = (0..marks.len()).collect();
    // The front and the baseline matter most.
    order.sort_by_key(|&i| (!(marks[i].on_front || marks[i].kind == Kind::Baseline), i));
    for i in order {
        let mark = &mut marks[i];
        let width = label_width(&mark.label) * if mark.on_front { 1.1 } else { 1.0 };
        let (beside, above) = (mark.radius + 5.0, mark.radius + 5.0);
        let candidates = [
            (mark.x + beside, mark.y + 4.0, "start"),
            (mark.x - beside, mark.y + 4.0, "end"),
            (mark.x + 8.0, mark.y - above, "start"),
            (mark.x + 8.0, mark.y + above + 8.0, "start"),
            (mark.x - 8.0, mark.y - above, "end"),
            (mark.x - 8.0, mark.y + above + 8.0, "end"),
        ];
        let free = candidates.into_iter().find_map(|(x, y, anchor)| {
            let left = if anchor == "end" { x - width } else { x };
            let area = [left, y - LINE + 3.0, left + width, y + 3.0];
            // Clear of the axis, whose figures stand to its left.
            let inside = area[0] >= frame.left + 4.0
                && area[2] <= frame.right + 8.0
                && area[1] >= frame.top - 2.0
                && area[3] <= frame.bottom;
            let own = i;
            let hits = taken.iter().enumerate().any(|(j, other)| j != own && overlap(&area, other));
            (inside && !hits).then_some((x, y, anchor, area))
        });
        match free {
            Some((x, y, anchor, area)) => {
                (mark.label_x, mark.label_y, mark.anchor) = (hundredths(x), hundredths(y), anchor);
                taken.push(area);
            }
            None => mark.label.clear(),
        }
    }
}

/// Pixels of 12 px type, rather too many than too few: what a browser sets wider than thought runs into its neighbour.
fn label_width(label: &str) -> f64 {
    let glyph = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '!' | ' ' | '\'' => 4.2,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '&' => 11.5,
        c if c.is_uppercase() => 8.8,
        // Han, kana, hangul, emoji: a square.
        c if u32::from(c) >= 0x1100 => 12.5,
        _ => 7.4,
    };
    label.chars().map(glyph).sum()
}

fn overlap(a: &[f64; 4], b: &[f64; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// A team's entries over time.
#[derive(Debug, Clone)]
pub struct Progress {
    pub dots: Vec<Dot>,
    /// `x,y x,y …`: the best so far.
    pub best: String,
    pub ticks: Vec<Tick>,
    pub frame: Frame,
}

#[derive(Debug, Clone)]
pub struct Dot {
    pub x: f64,
    pub y: f64,
    pub title: String,
    pub href: String,
    /// The entry whose page this is.
    pub here: bool,
}

/// Class and frame of a picture of few values on a wide page, and on a narrow one, where the wide one's words would be too small
/// to read.
pub const FLAT: [(&str, Frame); 2] = [
    ("large", PROGRESS),
    ("small", Frame { width: 360.0, height: 220.0, left: 48.0, right: 350.0, top: 14.0, bottom: 196.0 }),
];

const PROGRESS: Frame = Frame { width: 760.0, height: 180.0, left: 58.0, right: 744.0, top: 14.0, bottom: 160.0 };

/// Values in the order of time, higher is better, each with its title, address and whether it is this page's. `None`: one
/// entry shows no progress.
pub fn progress(entries: &[(f64, String, String, bool)], frame: Frame) -> Option<Progress> {
    if entries.len() < 2 {
        return None;
    }
    let (low, high) = bounds(entries.iter().map(|e| e.0).filter(|v| v.is_finite()), 0.15, 0.15)?;
    let step = (frame.right - frame.left - 24.0) / (entries.len() - 1) as f64;
    let to_y = |value: f64| frame.bottom - (value - low) / (high - low) * (frame.bottom - frame.top);
    let (mut dots, mut best, mut top) = (Vec::new(), Vec::new(), f64::NEG_INFINITY);
    for (i, (value, title, href, here)) in entries.iter().enumerate() {
        let x = frame.left + 12.0 + i as f64 * step;
        if *value > top {
            if i > 0 {
                best.push(format!("{x:.1},{:.1}", to_y(top)));
            }
            top = *value;
        }
        best.push(format!("{x:.1},{:.1}", to_y(top)));
        dots.push(Dot { x, y: to_y(*value), title: title.clone(), href: href.clone(), here: *here });
    }
    let ticks = linear_ticks(low, high, 4).into_iter().map(|(v, text)| Tick::new(to_y(v), text));
    Some(Progress { dots, best: best.join(" "), ticks: ticks.collect(), frame })
}

/// The best of a phase over time.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Those that were the best so far are on the front.
    pub marks: Vec<Mark>,
    pub axes: Axes,
    /// `x,y x,y …`: the best so far.
    pub front: String,
    pub ticks: Vec<Tick>,
    pub frame: Frame,
}

/// An entry at the time it came, seconds, with its value.
#[derive(Debug, Clone)]
pub struct Event {
    pub at: i64,
    pub value: f64,
    pub team: String,
    pub title: String,
    pub href: String,
    /// Names it to scripts.
    pub id: String,
}

/// Events in the order of time; `falls`: lower is better. `None`: fewer than two.
pub fn timeline(events: &[Event], falls: bool, frame: Frame) -> Option<Timeline> {
    const INSET: f64 = 12.0;
    let events: Vec<&Event> = events.iter().filter(|e| e.value.is_finite()).collect();
    let (first, last) = (events.first()?, events.last()?);
    if events.len() < 2 {
        return None;
    }
    let (low, high) = bounds(events.iter().map(|e| e.value), 0.15, f64::MIN_POSITIVE.max(first.value.abs() * 1e-3))?;
    let span = (last.at - first.at).max(1) as f64;
    let inside = frame.right - frame.left - 2.0 * INSET;
    let to_x = |at: i64| hundredths(frame.left + INSET + (at - first.at) as f64 / span * inside);
    let to_y = |value: f64| hundredths(frame.bottom - (value - low) / (high - low) * (frame.bottom - frame.top));
    let (mut marks, mut front, mut top): (Vec<Mark>, Vec<String>, Option<f64>) = (Vec::new(), Vec::new(), None);
    let mut others = 0;
    for event in &events {
        let (x, y) = (to_x(event.at), to_y(event.value));
        let leads = top.is_none_or(|top| if falls { event.value < top } else { event.value > top });
        if leads {
            front.extend(top.map(|before| format!("{x:.1},{:.1}", to_y(before))));
            front.push(format!("{x:.1},{y:.1}"));
            top = Some(event.value);
        }
        others += usize::from(!leads);
        if leads || others <= MOST {
            marks.push(Mark {
                x,
                y,
                radius: MARK,
                id: event.id.clone(),
                name: event.team.clone(),
                at: [event.at as f64, nine_digits(event.value)],
                label: String::new(),
                label_x: 0.0,
                label_y: 0.0,
                anchor: "start",
                title: event.title.clone(),
                href: Some(event.href.clone()),
                kind: Kind::Ranked,
                on_front: leads,
            });
        }
    }
    front.extend(top.map(|top| format!("{:.1},{:.1}", frame.right, to_y(top))));
    let edge = INSET / inside * span;
    let axes = Axes { x: [first.at as f64 - edge, last.at as f64 + edge], y: [low, high], kind: "time" };
    let ticks = linear_ticks(low, high, 4).into_iter().map(|(v, text)| Tick::new(to_y(v), text)).collect();
    Some(Timeline { marks, axes, front: front.join(" "), ticks, frame })
}

/// Rows of a box plot: where each box and its whiskers lie on a common axis.
#[derive(Debug, Clone)]
pub struct Boxes {
    /// Name, and the five places of least, quartiles and most.
    pub rows: Vec<(String, [f64; 5])>,
    pub ticks: Vec<Tick>,
    pub width: f64,
    pub height: f64,
    /// Where the rows begin.
    pub left: f64,
}

/// Class, width, where the rows begin and letters of a name: of a box plot on a wide page, and on a narrow one.
pub const BOXES: [(&str, f64, f64, usize); 2] = [("large", 760.0, 170.0, LABEL), ("small", 360.0, 112.0, 12)];

/// Of spreads as least, lower quartile, median, upper quartile, most.
pub fn boxes(spreads: &[(String, [f64; 5])], width: f64, left: f64, letters: usize) -> Option<Boxes> {
    let (low, high) = bounds(spreads.iter().flat_map(|(_, five)| *five).filter(|v| v.is_finite()), 0.03, 0.2)?;
    let at = |v: f64| hundredths(left + (v - low) / (high - low) * (width - left - 14.0));
    let about = if width > 500.0 { 7 } else { 4 };
    Some(Boxes {
        rows: spreads.iter().map(|(name, five)| (cut(name, letters), five.map(at))).collect(),
        ticks: linear_ticks(low, high, about).into_iter().map(|(v, text)| Tick::new(at(v), text)).collect(),
        width,
        height: spreads.len() as f64 * 24.0 + 30.0,
        left,
    })
}

/// Entries as lines over several figures, each axis from its worst at the bottom to its best at the top.
#[derive(Debug, Clone)]
pub struct Parallel {
    /// Place, name, best and worst in words.
    pub axes: Vec<(f64, &'static str, String, String)>,
    /// Name and `x,y x,y …`, with its end for the label.
    pub lines: Vec<(String, String, f64)>,
    pub frame: Frame,
}

/// A figure of every line, and the two ends of its axis.
pub struct Axis {
    pub name: &'static str,
    /// `None`: that entry has no such figure.
    pub values: Vec<Option<f64>>,
    pub worst: f64,
    pub best: f64,
    /// Decimals of its words.
    pub decimals: usize,
    pub scale: Scale,
}

const PARALLEL: Frame = Frame { width: 760.0, height: 300.0, left: 40.0, right: 600.0, top: 40.0, bottom: 262.0 };

/// `None`: no two figures.
pub fn parallel(names: &[String], axes: &[Axis]) -> Option<Parallel> {
    let frame = PARALLEL;
    if axes.len() < 2 || names.is_empty() {
        return None;
    }
    let step = (frame.right - frame.left) / (axes.len() - 1) as f64;
    let to_y = |axis: &Axis, value: f64| {
        let (worst, best) = (axis.scale.of(axis.worst), axis.scale.of(axis.best));
        let share = if best == worst { 0.5 } else { (axis.scale.of(value) - worst) / (best - worst) };
        frame.bottom - share.clamp(0.0, 1.0) * (frame.bottom - frame.top)
    };
    let words = |axis: &Axis, value: f64| format!("{value:.*}", axis.decimals);
    let mut ends: Vec<f64> = Vec::new();
    let line = |(i, name): (usize, &String)| {
        let points: Vec<(f64, f64)> = axes
            .iter()
            .enumerate()
            .filter_map(|(at, axis)| Some((frame.left + at as f64 * step, to_y(axis, (*axis.values.get(i)?)?))))
            .collect();
        let mut end = points.last().map_or(frame.bottom, |p| p.1);
        // Two that end at one place are written below each other.
        while ends.iter().any(|other| (other - end).abs() < 14.0) {
            end += 14.0;
        }
        ends.push(end);
        let path = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
        (cut(name, LABEL), path, end)
    };
    let lines = names.iter().enumerate().map(line).collect();
    let axes = axes
        .iter()
        .enumerate()
        .map(|(at, axis)| (frame.left + at as f64 * step, axis.name, words(axis, axis.best), words(axis, axis.worst)));
    Some(Parallel { axes: axes.collect(), lines, frame })
}

/// A name as a plot has room for.
fn cut(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    let short: String = name.chars().take(letters).collect();
    format!("{}…", short.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: f64, kind: Kind) -> Point {
        Point { x, y, size: None, label: format!("{x}"), href: None, id: String::new(), kind }
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let points = [point(0.5, 29.0, Kind::Ranked), point(1.0, 29.2, Kind::Baseline), point(2.0, 29.1, Kind::Ranked)];
        let plot = scatter(&points, FRAME, Scale::Log, |p| p.label.clone()).unwrap();
        let front: Vec<bool> = plot.marks.iter().map(|m| m.on_front).collect();
        assert_eq!(front, [true, true, false]);
        assert!(plot.marks[0].x < plot.marks[1].x && plot.marks[0].y > plot.marks[1].y);
        // What is not ranked neither stands on the front nor sets the scale.
        let low = [&points[..], &[point(0.1, 20.0, Kind::Unranked)]].concat();
        let plot = scatter(&low, FRAME, Scale::Log, |p| p.label.clone()).unwrap();
        assert_eq!(plot.marks.iter().map(|m| m.on_front).collect::<Vec<_>>(), [true, true, false, false]);
        assert_eq!((plot.marks[3].y, plot.marks[3].label.as_str()), (FRAME.bottom - 8.0, "0.1 ↓ 20.00"));
        assert!(scatter(&[], FRAME, Scale::Log, |p| p.label.clone()).is_none());
    }

    #[test]
    fn labels_stay_off_the_axis_and_bubbles_show_sizes() {
        // Crowded at the left edge: what has no room to its right has no label rather than one over the axis.
        let crowd: Vec<Point> = (0..30)
            .map(|i| Point {
                label: format!("WIDE MIM TEAM {i}"),
                size: Some(f64::from(i)),
                ..point(1.0 + f64::from(i) / 30.0, 29.0 + f64::from(i % 5) / 50.0, Kind::Ranked)
            })
            .collect();
        for scale in [Scale::Log, Scale::Linear] {
            let plot = scatter(&crowd, FRAME, scale, |p| p.label.clone()).unwrap();
            for mark in plot.marks.iter().filter(|m| !m.label.is_empty()) {
                let left = if mark.anchor == "end" { mark.label_x - label_width(&mark.label) } else { mark.label_x };
                assert!(left >= FRAME.left, "{}", mark.label);
            }
            assert!(plot.marks.iter().any(|m| !m.label.is_empty()));
            let (large, small) = (plot.marks[0].radius, plot.marks[29].radius);
            assert!(large == LARGEST && small == SMALLEST, "the large ones are drawn first: {large} {small}");
            assert!(plot.beaten.starts_with(&plot.front) && plot.cross.is_none());
        }
    }

    /// What a script reads from the axes is where the marks are.
    fn frame_fits(axes: &Axes, frame: Frame, marks: &[Mark]) {
        let of = |v: f64| if axes.kind == "log" { v.log10() } else { v };
        let share = |v: f64, [low, high]: [f64; 2]| (of(v) - of(low)) / (of(high) - of(low));
        for mark in marks {
            let x = frame.left + share(mark.at[0], axes.x) * (frame.right - frame.left);
            let y = frame.bottom - (mark.at[1] - axes.y[0]) / (axes.y[1] - axes.y[0]) * (frame.bottom - frame.top);
            assert!((x - mark.x).abs() < 0.01 && (y - mark.y).abs() < 0.01, "{x} {y} {mark:?}");
        }
    }

    #[test]
    fn marks_stand_where_the_axes_say() {
        let points: Vec<Point> =
            (1..20).map(|i| point(f64::from(i) / 7.0, 29.0 + f64::from(i).sqrt(), Kind::Ranked)).collect();
        for scale in [Scale::Log, Scale::Linear] {
            let plot = scatter(&points, FRAME, scale, |p| p.label.clone()).unwrap();
            frame_fits(&plot.axes, FRAME, &plot.marks);
        }
        assert_eq!((nine_digits(1.0 / 3.0), nine_digits(29.04)), (0.333333333, 29.04));
    }

    #[test]
    fn a_crowd_is_thinned_but_for_the_front() {
        let mut crowd: Vec<Point> = (0..500).map(|i| point(10.0 + f64::from(i), 20.0, Kind::Ranked)).collect();
        // A front of 300 behind them.
        crowd.extend((0..300).map(|i| point(1.0 + f64::from(i) / 100.0, 21.0 + f64::from(i), Kind::Ranked)));
        let few = few(&crowd);
        assert_eq!(few.len(), 200 + 300);
        assert_eq!(front(&few).iter().filter(|on| **on).count(), 300);
    }

    #[test]
    fn a_timeline_follows_the_best_whichever_way_is_better() {
        let event = |at, value| Event {
            at,
            value,
            team: String::new(),
            title: String::new(),
            href: String::new(),
            id: String::new(),
        };
        let events = [event(0, 0.5), event(10, 0.7), event(20, 0.4)];
        for (falls, leads) in [(true, [true, false, true]), (false, [true, true, false])] {
            let plot = timeline(&events, falls, PROGRESS).unwrap();
            assert_eq!(plot.marks.iter().map(|m| m.on_front).collect::<Vec<_>>(), leads);
            assert!(plot.marks[0].y < plot.marks[2].y && plot.marks[0].y > plot.marks[1].y, "up is more");
            frame_fits(&plot.axes, PROGRESS, &plot.marks);
        }
        assert!(timeline(&events[..1], true, PROGRESS).is_none());
    }

    #[test]
    fn lines_over_figures_have_the_best_on_top() {
        let axis = |name, values: [Option<f64>; 2], worst, best, scale| Axis {
            name,
            values: values.to_vec(),
            worst,
            best,
            decimals: 2,
            scale,
        };
        let axes = [
            axis("PSNR", [Some(29.0), Some(29.5)], 29.0, 29.5, Scale::Linear),
            axis("Params", [Some(0.1), Some(10.0)], 10.0, 0.1, Scale::Log),
            axis("Ratio", [None, Some(1.0)], 1.0, 1.0, Scale::Log),
        ];
        let plot = parallel(&["a".into(), "b".into()], &axes).unwrap();
        let (top, bottom) = (format!("{:.1}", PARALLEL.top), format!("{:.1}", PARALLEL.bottom));
        assert_eq!(plot.lines[0].1, format!("40.0,{bottom} 320.0,{top}"), "what it lacks is left out");
        assert!(plot.lines[1].1.starts_with(&format!("40.0,{top} 320.0,{bottom} 600.0,")));
        assert_eq!((plot.axes[1].2.as_str(), plot.axes[1].3.as_str()), ("0.10", "10.00"));
    }

    #[test]
    fn progress_keeps_the_best() {
        let entry = |value: f64| (value, String::new(), String::new(), false);
        let plot = progress(&[entry(28.0), entry(29.0), entry(28.5)], PROGRESS).unwrap();
        let ys: Vec<f64> = plot.dots.iter().map(|d| d.y).collect();
        assert!(ys[1] < ys[2] && ys[2] < ys[0], "higher is better: {ys:?}");
        assert!(plot.best.ends_with(&format!("{:.1}", ys[1])), "{}", plot.best);
        assert!(progress(&[entry(28.0)], PROGRESS).is_none());
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(log_ticks(-0.8, 0.4), [0.2, 0.5, 1.0, 2.0]);
        let texts: Vec<String> = linear_ticks(26.31, 27.02, 5).into_iter().map(|(_, t)| t).collect();
        assert_eq!(texts, ["26.4", "26.6", "26.8", "27.0"]);
    }
}
