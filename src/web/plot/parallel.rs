//! Entries as lines over several figures.

use super::{Frame, LABEL, Scale, cut};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
