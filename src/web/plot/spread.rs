//! Values on one line: of an entry's images, and as boxes side by side.

use super::{LABEL, Tick, bounds, cut, hundredths, linear_ticks};

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
