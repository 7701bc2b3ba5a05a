//! The study of a phase that the challenge reports made by hand: what runtime goes with, who is beaten by nobody, how much
//! of the ranking is chance, which images decide.
//!
//! Pure but for [`images_of`]: a [`Board`] and the PSNR of each image in, a [`Study`] out. Deterministic: the draws are
//! seeded, so that everybody sees the same figures.

mod correlation;
mod front;
mod paired;
mod stability;

use std::collections::HashMap;

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

pub use correlation::{Coefficient, FEWEST, kendall, spearman};
pub use paired::{Paired, paired};

use crate::{
    challenge::{
        phase::Phase,
        protocol::{Metric, Rule},
    },
    figures,
    ids::SubmissionId,
    leaderboard::{Board, Figures, RankedRow},
    scoring::{Gate, GateState},
};
use front::Point;
use stability::{Bar, Entry, Key, Order};

/// A cost that entries are compared by; lower is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
// Under another name than the cost of a model, which the document holds too.
#[schema(as = ComparedCost)]
pub enum Cost {
    /// Ratio to the baseline where all entries have one, else ms.
    Runtime,
    Params,
    Flops,
    Activations,
    Memory,
    Convs,
}

impl Cost {
    pub const ALL: [Cost; 6] = [Cost::Runtime, Cost::Params, Cost::Flops, Cost::Activations, Cost::Memory, Cost::Convs];

    pub fn of(self, figures: &Figures, ratios: bool) -> f64 {
        match self {
            Cost::Runtime if ratios => figures.runtime_ratio.unwrap_or(figures.runtime_ms),
            Cost::Runtime => figures.runtime_ms,
            Cost::Params => figures.params as f64,
            Cost::Flops => figures.flops as f64,
            Cost::Activations => figures.activations as f64,
            Cost::Memory => figures.memory_mib,
            Cost::Convs => figures.convs as f64,
        }
    }
}

/// The study of one phase at one moment, over its ranked entries.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Study {
    /// `aim2020@1`.
    pub protocol: String,
    /// Ranked entries.
    pub entries: usize,
    /// Of runtime with each other cost.
    pub correlations: Vec<Correlation>,
    pub fronts: Vec<Front>,
    /// In the board's order; empty where per-image figures are missing, and where a score has no measured baseline.
    pub stability: Vec<Stability>,
    /// Those that decide most first.
    pub images: Vec<ImageWeight>,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Correlation {
    pub with: Cost,
    /// Spearman's ρ, the reports' SROCC; `null` with fewer than four entries, or where all are equal.
    pub spearman: Option<Coefficient>,
    /// Kendall's τ-b.
    pub kendall: Option<Coefficient>,
}

/// Who is beaten by nobody in PSNR and one cost.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Front {
    pub cost: Cost,
    /// From the cheapest.
    pub members: Vec<Member>,
    /// Area dominated beyond the baseline: (share of its cost saved) × (dB above it); `null` without a measured baseline.
    pub hypervolume: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Member {
    pub team: String,
    pub submission: SubmissionId,
}

/// How well a rank holds when the ranking is drawn again from its images and timings.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Stability {
    pub rank: u32,
    pub team: String,
    pub submission: SubmissionId,
    /// Share of draws in which it has this rank, 0…1.
    pub held: f64,
    /// Lowest and highest rank of the middle 95 % of draws in which it is ranked.
    pub ranks95: Option<[u32; 2]>,
    /// Share of draws in which it falls below the gate, 0…1: the baseline's PSNR over the images drawn, as far above or
    /// below as the gate is over the whole set. `null` without a measured baseline.
    pub below_gate: Option<f64>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ImageWeight {
    pub name: String,
    /// Standard deviation over the entries of this image's PSNR less the entry's mean, dB.
    pub spread_db: f64,
    /// Pairs of entries whose order by mean PSNR turns round when the image is left out.
    pub turned_pairs: usize,
}

/// PSNR of each image, dB, infinite ones at their cap; by entry, in the order of the names.
#[derive(Debug, Default)]
pub struct ImageTable {
    pub names: Vec<String>,
    pub psnr: HashMap<SubmissionId, Vec<f64>>,
}

/// The per-image figures behind a board's ranked entries and its baseline.
pub async fn images_of(conn: &mut PgConnection, phase: &Phase, board: &Board) -> sqlx::Result<ImageTable> {
    let baseline = board.baseline.iter().filter_map(|b| b.submission);
    let ids: Vec<_> = board.ranked.iter().map(|r| r.submission).chain(baseline).map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"select s.id as "id: SubmissionId", array_agg(i.name order by i.name) as "names!",
                  array_agg(least(i.psnr, 100) order by i.name) as "psnr!"
           from submission s
           cross join lateral
               (select id from evaluation where submission_id = s.id and official and state = 'scored'
                  and protocol_id in (select id from protocol where measuring_sha256 = $2)
                  and dataset_id = $3 and ($4::timestamptz is null or evaluation_counted_by(evaluation, $4)) order by number desc limit 1) e
           join image_score i on i.evaluation_id = e.id
           where s.id = any($1) group by s.id"#,
        &ids,
        phase.protocol.measuring_sha256,
        phase.dataset.0,
        phase.as_of
    )
    .fetch_all(conn)
    .await?;
    let mut table = ImageTable::default();
    for row in rows {
        table.names = row.names;
        table.psnr.insert(row.id, row.psnr);
    }
    Ok(table)
}

/// Blocking for up to a second with many entries: call it off the async runtime.
pub fn study(board: &Board, images: &ImageTable, gate: GateState) -> Study {
    let ranked = &board.ranked;
    let ratios = !ranked.is_empty() && ranked.iter().all(|r| r.figures.runtime_ratio.is_some());
    let values = |cost: Cost| -> Vec<f64> { ranked.iter().map(|r| cost.of(&r.figures, ratios)).collect() };
    let runtime = values(Cost::Runtime);
    let correlations = Cost::ALL.into_iter().filter(|cost| *cost != Cost::Runtime).map(|with| {
        let other = values(with);
        Correlation { with, spearman: spearman(&runtime, &other), kendall: kendall(&runtime, &other) }
    });
    let baseline = board.baseline.as_ref().and_then(|b| b.figures);
    let front = |cost: Cost| {
        let point = |figures: &Figures| Point { cost: cost.of(figures, ratios), psnr: figures.psnr };
        let points: Vec<Point> = ranked.iter().map(|r| point(&r.figures)).collect();
        let mut members: Vec<(&RankedRow, Point)> = ranked
            .iter()
            .zip(&points)
            .zip(front::members(&points))
            .filter(|(_, on)| *on)
            .map(|((r, p), _)| (r, *p))
            .collect();
        members.sort_by(|a, b| a.1.cost.total_cmp(&b.1.cost));
        Front {
            cost,
            members: members.iter().map(|(r, _)| Member { team: r.team.clone(), submission: r.submission }).collect(),
            hypervolume: baseline.map(|b| front::hypervolume(&points, point(&b))),
        }
    };
    let threshold = match gate {
        GateState::At(gate) => Some(Gate::threshold(gate)),
        GateState::None | GateState::Pending => None,
    };
    let bar = threshold.and_then(|threshold| {
        let (baseline, figures) = board.baseline.as_ref().and_then(|b| b.submission.zip(b.figures))?;
        Some(Bar { psnr: images.psnr.get(&baseline)?.clone(), margin: threshold - figures.psnr })
    });
    Study {
        protocol: board.protocol.clone(),
        entries: ranked.len(),
        correlations: correlations.collect(),
        fronts: Cost::ALL.into_iter().map(front).collect(),
        stability: stability_of(board, images, ratios, bar.as_ref()),
        images: weights_of(board, images),
    }
}

fn stability_of(board: &Board, images: &ImageTable, ratios: bool, bar: Option<&Bar>) -> Vec<Stability> {
    let rule = &board.ranking.rule;
    let key = |f: &Figures, metric: Metric| match metric {
        Metric::Runtime => match (f.runtime_ratio, f.runtime_ratio_ci95) {
            (Some(ratio), Some(interval)) if ratios => Key::timed(ratio, interval),
            _ => Key::timed(f.runtime_ms, f.runtime_ci95_ms),
        },
        Metric::Params => Key::Fixed(f.params as f64),
        Metric::Flops => Key::Fixed(f.flops as f64),
        Metric::Activations => Key::Fixed(f.activations as f64),
        Metric::Memory => Key::Fixed(f.memory_mib),
        Metric::Psnr => Key::Psnr,
        Metric::Ssim => Key::Fixed(-f.ssim),
    };
    let baseline = board.baseline.as_ref().and_then(|b| b.figures);
    // A score is of figures over the baseline's; a ratio is that already.
    let over = |f: &Figures, metric: Metric, baseline: &Figures| {
        let unit = match metric {
            Metric::Runtime if ratios => 1.0,
            Metric::Runtime => baseline.runtime_ms,
            Metric::Params => baseline.params as f64,
            Metric::Flops => baseline.flops as f64,
            Metric::Activations => baseline.activations as f64,
            Metric::Memory => baseline.memory_mib,
            Metric::Psnr | Metric::Ssim => 1.0,
        };
        key(f, metric).over(unit)
    };
    let (order, metrics) = match rule {
        Rule::Metric(metric) => (Order::One, vec![*metric]),
        Rule::RankSum(metrics) => (Order::RankSum, metrics.clone()),
        Rule::Score(terms) => {
            (Order::Score(terms.iter().map(|t| t.weight).collect()), terms.iter().map(|t| t.metric).collect())
        }
    };
    if matches!(order, Order::Score(_)) && baseline.is_none() {
        return Vec::new();
    }
    let keys = |f: &Figures| -> Vec<Key> {
        let of = |metric: &Metric| match (&order, &baseline) {
            (Order::Score(_), Some(baseline)) => over(f, *metric, baseline),
            _ => key(f, *metric),
        };
        metrics.iter().map(of).collect()
    };
    let entry = |r: &RankedRow| Entry {
        psnr: images.psnr.get(&r.submission).cloned().unwrap_or_default(),
        keys: keys(&r.figures),
    };
    let entries: Vec<Entry> = board.ranked.iter().map(entry).collect();
    // A draw tells all values apart: it is compared with the ranks of the values, not with shared ones.
    let official = |r: &RankedRow| r.ranks.runtime.filter(|_| rule.is_race()).unwrap_or(r.rank);
    let official: Vec<u32> = board.ranked.iter().map(official).collect();
    let held = stability::stability(&entries, &official, bar, &order);
    let rows = board.ranked.iter().zip(held).map(|(r, held)| Stability {
        rank: r.rank,
        team: r.team.clone(),
        submission: r.submission,
        held: held.share,
        ranks95: held.ranks,
        below_gate: bar.map(|_| held.below_gate),
    });
    rows.collect()
}

/// How the PSNR of one entry is spread over the images, dB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub least: f64,
    pub lower_quartile: f64,
    pub median: f64,
    pub upper_quartile: f64,
    pub most: f64,
}

impl Spread {
    /// Quartiles as the linear interpolation between the images next to them; `None` of no image.
    pub fn of(psnr: &[f64]) -> Option<Spread> {
        let mut sorted: Vec<f64> = psnr.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (low, high) = (place.floor() as usize, place.ceil() as usize);
            sorted[low] + (sorted[high] - sorted[low]) * place.fract()
        };
        (!sorted.is_empty()).then(|| Spread {
            least: at(0.0),
            lower_quartile: at(0.25),
            median: at(0.5),
            upper_quartile: at(0.75),
            most: at(1.0),
        })
    }
}

fn weights_of(board: &Board, images: &ImageTable) -> Vec<ImageWeight> {
    let entries: Vec<Vec<f64>> = board.ranked.iter().filter_map(|r| images.psnr.get(&r.submission).cloned()).collect();
    // Of one entry or two an image's spread would give their figures away, and says nothing.
    if entries.len() < FEWEST {
        return Vec::new();
    }
    let weights = stability::weights(&entries);
    let mut rows: Vec<ImageWeight> = images
        .names
        .iter()
        .zip(weights)
        .map(|(name, w)| ImageWeight { name: name.clone(), spread_db: w.spread, turned_pairs: w.turned })
        .collect();
    rows.sort_by(|a, b| b.turned_pairs.cmp(&a.turned_pairs).then(b.spread_db.total_cmp(&a.spread_db)));
    // Everybody reads it while the phase is open: no more than a figure of the image itself would tell.
    rows.iter_mut().for_each(|row| row.spread_db = figures::psnr_of_image(row.spread_db));
    rows
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn quartiles_lie_between_images() {
        let spread = Spread::of(&[4.0, 1.0, 2.0, 3.0]).expect("four images");
        assert_eq!((spread.least, spread.lower_quartile, spread.median), (1.0, 1.75, 2.5));
        assert_eq!((spread.upper_quartile, spread.most), (3.25, 4.0));
        assert_eq!(Spread::of(&[]), None);
    }
}
