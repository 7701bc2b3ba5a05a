//! Pareto fronts: who is beaten by nobody in PSNR and one cost at once.

/// An entry as a point: lower cost and higher PSNR are better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub cost: f64,
    /// dB.
    pub psnr: f64,
}

/// For each point, whether no other is at least as good in both and better in one. Equal points stand on it together.
pub fn members(points: &[Point]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    // Cheapest first, of equal cost the best first: a point is beaten exactly by one that was seen before it.
    order.sort_by(|&a, &b| {
        let (a, b) = (points[a], points[b]);
        a.cost.total_cmp(&b.cost).then(b.psnr.total_cmp(&a.psnr))
    });
    let mut on = vec![false; points.len()];
    let mut best: Option<Point> = None;
    for i in order {
        let point = points[i];
        on[i] = best.is_none_or(|best| point.psnr > best.psnr || point == best);
        if on[i] {
            best = Some(point);
        }
    }
    on
}

/// The area that the points dominate, from `corner` (the worst that counts) inwards: (share of the corner's cost saved) ×
/// (dB above the corner), the front's steps added up. 0 where nothing is better than the corner in both.
pub fn hypervolume(points: &[Point], corner: Point) -> f64 {
    let mut inside: Vec<Point> =
        points.iter().copied().filter(|p| p.cost < corner.cost && p.psnr > corner.psnr).collect();
    inside.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    let (mut area, mut reached) = (0.0, corner.psnr);
    for point in inside {
        if point.psnr > reached {
            area += (1.0 - point.cost / corner.cost) * (point.psnr - reached);
            reached = point.psnr;
        }
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(of: &[(f64, f64)]) -> Vec<Point> {
        of.iter().map(|&(cost, psnr)| Point { cost, psnr }).collect()
    }

    #[test]
    fn only_what_nobody_beats_stands_on_the_front() {
        let set = points(&[(2.0, 29.0), (1.0, 28.5), (1.0, 28.4), (3.0, 29.0), (2.0, 29.0), (4.0, 29.5)]);
        assert_eq!(members(&set), [true, true, false, false, true, true]);
        assert_eq!(members(&[]), [false; 0]);
    }

    #[test]
    fn the_volume_is_the_area_of_the_steps() {
        let corner = Point { cost: 4.0, psnr: 28.0 };
        // Half of the cost saved at +1 dB, a quarter at +2 dB: ½·1 + ¼·1.
        let set = points(&[(2.0, 29.0), (3.0, 30.0), (3.5, 29.5), (5.0, 31.0), (1.0, 27.0)]);
        assert!((hypervolume(&set, corner) - 0.75).abs() < 1e-12);
        assert_eq!(hypervolume(&points(&[(4.0, 28.0)]), corner), 0.0);
    }
}
