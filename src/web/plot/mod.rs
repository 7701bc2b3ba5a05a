//! Plots as plain numbers: the templates draw SVG from them, with classes and no inline style.

mod over_time;
mod parallel;
mod scatter;
mod spread;

pub use over_time::{Event, FLAT, Passes, Progress, Timeline, passes, progress, timeline};
pub use parallel::{Axis, Parallel, parallel};
pub use scatter::{FRAME, Point, Scatter, few, front, scatter};
pub use spread::{BOXES, Boxes, Strip, boxes, strip};

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

#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub width: f64,
    pub height: f64,
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

/// Characters of a label; the tooltip has the whole name.
const LABEL: usize = 20;

/// Points of a plot at most, the front apart: more hide one another.
const MOST: usize = 200;

/// Radius of a mark; of the smallest and the largest bubble.
const MARK: f64 = 5.0;

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

/// A name as a plot has room for.
fn cut(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    let short: String = name.chars().take(letters).collect();
    format!("{}…", short.trim_end())
}

/// What a script reads from the axes is where the marks are.
#[cfg(test)]
fn frame_fits(axes: &Axes, frame: Frame, marks: &[Mark]) {
    let of = |v: f64| if axes.kind == "log" { v.log10() } else { v };
    let share = |v: f64, [low, high]: [f64; 2]| (of(v) - of(low)) / (of(high) - of(low));
    for mark in marks {
        let x = frame.left + share(mark.at[0], axes.x) * (frame.right - frame.left);
        let y = frame.bottom - (mark.at[1] - axes.y[0]) / (axes.y[1] - axes.y[0]) * (frame.bottom - frame.top);
        assert!((x - mark.x).abs() < 0.01 && (y - mark.y).abs() < 0.01, "{x} {y} {mark:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(log_ticks(-0.8, 0.4), [0.2, 0.5, 1.0, 2.0]);
        let texts: Vec<String> = linear_ticks(26.31, 27.02, 5).into_iter().map(|(_, t)| t).collect();
        assert_eq!(texts, ["26.4", "26.6", "26.8", "27.0"]);
    }
}
