//! A board by one of its sub-tracks.

use super::{Board, Place, RankedRow, UnrankedRow};
use crate::{challenge::protocol::Rule, scoring::Missing};

/// What the main track is called where tracks are named.
pub const MAIN: &str = "main";

impl Board {
    /// The same entries in the order of a sub-track, or of the main one; `None`: there is no such track. An entry without the
    /// figures that the sub-track asks for is not ranked in it.
    pub fn on_track(mut self, slug: &str) -> Option<Board> {
        if slug == MAIN {
            return Some(self);
        }
        let rule = self.ranking.sub_tracks.iter().find(|t| t.slug == slug)?.rule.clone();
        self.metric = rule.lead();
        self.track = Some(slug.to_owned());
        let place = |row: &RankedRow| row.tracks.get(slug).copied().unwrap_or_default();
        let (mut ranked, without): (Vec<_>, Vec<_>) = self.ranked.drain(..).partition(|r| place(r).rank.is_some());
        // Where intervals share a rank, the better value comes first; of equal ones the earlier.
        ranked.sort_by_key(|row| (place(row).rank, row.submitted_at, row.submission));
        if rule.is_race() {
            let runtime = |row: &RankedRow| place(row).value.unwrap_or(f64::INFINITY);
            ranked.sort_by(|a, b| place(a).rank.cmp(&place(b).rank).then(runtime(a).total_cmp(&runtime(b))));
        }
        for row in &mut ranked {
            row.rank = place(row).rank.unwrap_or(row.rank);
        }
        let missing = if matches!(rule, Rule::Score(_)) { Missing::Baseline } else { Missing::Figure };
        let unranked = without.into_iter().map(|row| UnrankedRow {
            team: row.team,
            team_id: row.team_id,
            submission: row.submission,
            submitted_at: row.submitted_at,
            figures: row.figures,
            traits: row.traits,
            reason: missing.reason(),
        });
        self.unranked = unranked.chain(self.unranked).collect();
        self.ranked = ranked;
        if let Some(baseline) = &mut self.baseline {
            baseline.score = baseline.tracks.get(slug).and_then(|p| p.value);
        }
        self.tell_open_ranks();
        Some(self)
    }

    /// The rule that ranks here.
    pub fn rule(&self) -> &Rule {
        let track = self.track.as_deref();
        let sub_track = self.ranking.sub_tracks.iter().find(|t| Some(t.slug.as_str()) == track);
        sub_track.map_or(&self.ranking.rule, |t| &t.rule)
    }

    /// The sum of ranks or the score that places a row here; `None` where one figure does.
    pub fn score_of(&self, row: &RankedRow) -> Option<Place> {
        if matches!(self.rule(), Rule::Metric(_)) {
            return None;
        }
        match &self.track {
            None => Some(Place { rank: Some(row.rank), value: row.score, ln: row.score_ln }),
            Some(slug) => row.tracks.get(slug).copied(),
        }
    }
}

impl Place {
    /// As a table shows it: `12`, `7.389`, or `10^347.4` beyond the range of a double.
    pub fn words(&self) -> String {
        match (self.value, self.ln) {
            (Some(score), Some(_)) if score < 1e6 => format!("{score:.3}"),
            (_, Some(ln)) => format!("10^{:.1}", ln / std::f64::consts::LN_10),
            (Some(sum), None) => sum.to_string(),
            (None, None) => "–".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_shown_however_large() {
        let place = |value, ln| Place { rank: None, value, ln };
        assert_eq!(place(Some(12.0), None).words(), "12");
        assert_eq!(place(Some(7.38905), Some(2.0)).words(), "7.389");
        assert_eq!(place(None, Some(800.0)).words(), "10^347.4");
    }
}
