//! What a race leaves open: entries whose intervals overlap are not told apart by the measurement.

use super::{Board, RankedRow};
use crate::challenge::protocol::Ties;

impl Board {
    /// Ranks by interval in every track that runtime orders, where the protocol has such ties. Of the whole board, once.
    pub(super) fn share_ranks(&mut self) {
        if self.ranking.ties == Ties::Interval {
            let best: Vec<u32> = self.open_ranks(&self.ranked).into_iter().map(|[best, _]| best).collect();
            if self.ranking.rule.is_race() {
                self.ranked.iter_mut().zip(best).for_each(|(row, best)| row.rank = best);
                // Stable: of one rank the faster stays first.
                self.ranked.sort_by_key(|row| row.rank);
            }
            for track in self.ranking.sub_tracks.iter().filter(|t| t.rule.is_race()) {
                let placed = |row: &RankedRow| row.tracks.get(&track.slug).is_some_and(|p| p.rank.is_some());
                let rows: Vec<usize> = (0..self.ranked.len()).filter(|&i| placed(&self.ranked[i])).collect();
                let intervals: Vec<_> = rows.iter().map(|&i| self.interval(&self.ranked[i])).collect();
                for (i, [best, _]) in rows.into_iter().zip(open(&intervals)) {
                    if let Some(place) = self.ranked[i].tracks.get_mut(&track.slug) {
                        place.rank = Some(best);
                    }
                }
            }
        }
        self.tell_open_ranks();
    }

    /// `rank_ci95` of every row, in this track.
    pub(super) fn tell_open_ranks(&mut self) {
        let open = match self.rule().is_race() {
            true => self.open_ranks(&self.ranked).into_iter().map(Some).collect(),
            false => vec![None; self.ranked.len()],
        };
        self.ranked.iter_mut().zip(open).for_each(|(row, open)| row.rank_ci95 = open);
    }

    fn open_ranks(&self, rows: &[RankedRow]) -> Vec<[u32; 2]> {
        open(&rows.iter().map(|row| self.interval(row)).collect::<Vec<_>>())
    }

    /// Of the runtime as it orders; a value without an interval is its own.
    fn interval(&self, row: &RankedRow) -> [f64; 2] {
        let f = &row.figures;
        match f.runtime_ratio.filter(|_| self.by_ratio) {
            Some(ratio) => f.runtime_ratio_ci95.unwrap_or([ratio, ratio]),
            None => f.runtime_ci95_ms,
        }
    }
}

/// Of each interval the best and the worst rank that it may have.
fn open(intervals: &[[f64; 2]]) -> Vec<[u32; 2]> {
    let sorted = |end: usize| {
        let mut ends: Vec<f64> = intervals.iter().map(|interval| interval[end]).collect();
        ends.sort_by(f64::total_cmp);
        ends
    };
    let (lows, highs) = (sorted(0), sorted(1));
    let rank = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let of = |&[low, high]: &[f64; 2]| {
        let faster = highs.partition_point(|other| *other < low);
        let slower = lows.len() - lows.partition_point(|other| *other <= high);
        [rank(1 + faster), rank(intervals.len() - slower)]
    };
    intervals.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::open;

    #[test]
    fn overlapping_intervals_leave_ranks_open() {
        // A chain: the first and the last are told apart, the one between from neither.
        assert_eq!(open(&[[1.0, 2.0], [1.9, 3.1], [3.0, 4.0], [5.0, 5.0]]), [[1, 2], [1, 3], [2, 3], [4, 4]]);
        // Touching ends overlap; equal points too.
        assert_eq!(open(&[[1.0, 2.0], [2.0, 3.0], [7.0, 7.0], [7.0, 7.0]]), [[1, 2], [1, 2], [3, 4], [3, 4]]);
        assert!(open(&[]).is_empty());
    }
}
