//! The gap between two phases: by how much a team's PSNR changes from the images that it could try itself on to hidden ones.
//! Every network changes by nearly the same, as the images are easier or harder for all; who stands out has fitted itself to
//! the first images, or knows the second.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{
    challenge::phase::{self, Phase},
    ids::TeamId,
    leaderboard::{self, Board},
};

/// A gap is flagged when it is further from the median than so many standard deviations, as estimated from the median
/// absolute deviation. 3.5 is the usual bound for outliers by this measure (Iglewicz and Hoaglin).
pub const MULTIPLE: f64 = 3.5;
/// What makes a median absolute deviation a standard deviation, for normal errors.
const TO_SIGMA: f64 = 1.4826;
/// dB: entries that agree more closely than this are no finer measure of what is unusual.
const LEAST_MAD: f64 = 0.01;
/// Fewer teams are no field to compare with.
pub const LEAST_TEAMS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Gap {
    /// PSNR in this phase less that in the phase before, dB.
    pub gap: f64,
    /// Distance from the field's median, in its standard deviations.
    pub deviations: f64,
    pub flagged: bool,
}

/// The gaps of a phase to the one before it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Field {
    /// Slug of the phase before.
    pub against: String,
    pub teams: usize,
    /// dB.
    pub median: f64,
    /// Median absolute deviation, dB.
    pub mad: f64,
    #[serde(skip)]
    pub gaps: HashMap<TeamId, Gap>,
}

/// Of the standing entries, `board` being this phase's. `None`: there is no phase before, or too few teams are in both.
pub async fn of_phase(conn: &mut PgConnection, phase: &Phase, board: &Board) -> anyhow::Result<Option<Field>> {
    let phases = phase::of_challenge(conn, phase.challenge).await?;
    let before = phases.into_iter().rfind(|other| other.position < phase.position).map(Phase::whole);
    let Some(before) = before else { return Ok(None) };
    let development: HashMap<TeamId, f64> = standing(&leaderboard::ranking(conn, &before).await?).collect();
    let both: Vec<_> =
        standing(board).filter_map(|(team, psnr)| Some((team, psnr - development.get(&team)?))).collect();
    Ok(judge(&before.slug, &both))
}

fn standing(board: &Board) -> impl Iterator<Item = (TeamId, f64)> {
    let ranked = board.ranked.iter().map(|r| (r.team_id, r.figures.psnr));
    ranked.chain(board.unranked.iter().map(|r| (r.team_id, r.figures.psnr)))
}

fn judge(against: &str, gaps: &[(TeamId, f64)]) -> Option<Field> {
    if gaps.len() < LEAST_TEAMS {
        return None;
    }
    let middle = median(gaps.iter().map(|(_, gap)| *gap).collect());
    let mad = median(gaps.iter().map(|(_, gap)| (gap - middle).abs()).collect());
    let of = |gap: f64| {
        let deviations = (gap - middle) / (TO_SIGMA * mad.max(LEAST_MAD));
        Gap { gap, deviations, flagged: deviations.abs() > MULTIPLE }
    };
    let gaps: HashMap<_, _> = gaps.iter().map(|&(team, gap)| (team, of(gap))).collect();
    Some(Field { against: against.to_owned(), teams: gaps.len(), median: middle, mad, gaps })
}

/// Of at least one value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[half - 1] + values[half]) / 2.0 } else { values[half] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_out_is_flagged_whatever_the_images_do_to_all() {
        let gaps = |values: &[f64]| values.iter().map(|gap| (TeamId::new(), *gap)).collect::<Vec<_>>();
        let of = |values: &[f64]| judge("validation", &gaps(values));
        let field = gaps(&[-0.30, -0.31, -0.28, -0.29, -0.30, 0.45]);
        let judged = judge("validation", &field).expect("a field");
        assert!((judged.median + 0.295).abs() < 1e-9 && (judged.mad - 0.01).abs() < 1e-9, "{judged:?}");
        let flagged: Vec<_> = field.iter().map(|(team, _)| judged.gaps[team].flagged).collect();
        assert_eq!(flagged, [false, false, false, false, false, true]);
        // 3.5 · 1.4826 · 0.01 dB is 0.0519 dB.
        let close = of(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.051]).expect("a field");
        assert!(close.gaps.values().all(|gap| !gap.flagged), "no less than the least deviation");
        assert!(of(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.053]).expect("a field").gaps.values().any(|gap| gap.flagged));
        assert!(of(&[0.0, 0.0, 0.0, 9.0]).is_none(), "four teams are no field");
    }
}
