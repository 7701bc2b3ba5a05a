//! Height against cost, with the front, what it beats and the baseline's cross-hair.

use super::{
    Axes, Frame, Kind, LABEL, MARK, MOST, Mark, Scale, Tick, bounds, cut, hundredths, linear_ticks, log_ticks,
    nine_digits,
};

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

pub const FRAME: Frame = Frame { width: 760.0, height: 420.0, left: 58.0, right: 744.0, top: 18.0, bottom: 372.0 };

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

const SMALLEST: f64 = 3.5;

const LARGEST: f64 = 17.0;

fn label(point: &Point, shown: bool) -> String {
    let label = cut(&point.label, LABEL);
    if shown { label } else { format!("{label} ↓ {:.2}", point.y) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::plot::frame_fits;

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
}
