//! The board as CSV, Markdown and LaTeX. Every format names the protocol, and every header its unit.

mod csv;
mod latex;
mod markdown;

use sha2::{Digest, Sha256};

use super::{Board, Column, Figures, Ranks, Traits};
use crate::{challenge::protocol::Rule, scoring::Reason};

/// One line of any table.
struct Line<'a> {
    rank: Option<u32>,
    team: &'a str,
    submission: Option<String>,
    /// The baseline's may be all there is of it.
    psnr: Option<f64>,
    figures: Option<&'a Figures>,
    ranks: Option<&'a Ranks>,
    /// The baseline has none.
    traits: Option<&'a Traits>,
    /// In the order of [`Board::extras`].
    extras: Vec<Value>,
    note: Option<&'a Reason>,
    baseline: bool,
}

/// A cell of the tables for readers: a value, as rounded as a reader wants it, and its rank.
#[derive(Debug, Clone, Default)]
struct Value {
    text: Option<String>,
    rank: Option<u32>,
}

/// A column of figures, its name and its unit.
const COLUMNS: [(Column, &str, &str); 9] = [
    (Column::Psnr, "PSNR", "dB"),
    (Column::Ssim, "SSIM", ""),
    (Column::RuntimeMs, "Runtime", "ms"),
    (Column::RuntimeRatio, "× baseline", ""),
    (Column::Params, "Params", "M"),
    (Column::Flops, "FLOPs", "G"),
    (Column::Activations, "Acts", "M"),
    (Column::Memory, "Memory", "MiB"),
    (Column::Convs, "Convs", ""),
];

impl Board {
    /// SHA-256 of this board's JSON with sorted keys and no white space, in hexadecimal: two tables with the same one tell the
    /// same.
    pub fn sha256(&self) -> anyhow::Result<String> {
        let canonical = sorted(serde_json::to_value(self)?).to_string();
        Ok(Sha256::digest(canonical.as_bytes()).iter().map(|b| format!("{b:02x}")).collect())
    }

    /// Of [`COLUMNS`], those that tables for readers have.
    fn shown(&self) -> impl Iterator<Item = (usize, &'static str, &'static str)> {
        let chosen = |column: Column| self.columns.as_ref().is_none_or(|columns| columns.contains(&column));
        COLUMNS.into_iter().enumerate().filter(move |(_, c)| chosen(c.0)).map(|(at, (_, name, unit))| (at, name, unit))
    }

    /// What a line shows: the extras, then the columns that are asked for.
    fn values(&self, line: &Line<'_>) -> Vec<Value> {
        let figures = line.figures();
        line.extras.iter().cloned().chain(self.shown().filter_map(|(at, ..)| figures.get(at).cloned())).collect()
    }

    /// Titles of the columns before the figures: of what orders this track, and of the sub-tracks, where these are no figure.
    fn extras(&self) -> Vec<String> {
        let own = match self.rule() {
            Rule::Metric(_) => None,
            Rule::RankSum(_) => Some("Rank sum".to_owned()),
            Rule::Score(_) => Some("Score".to_owned()),
        };
        own.into_iter().chain(self.sums().map(|t| t.title.clone())).collect()
    }

    /// The sub-tracks with columns of their own.
    fn sums(&self) -> impl Iterator<Item = &crate::challenge::protocol::SubTrack> {
        let shown = |track: &&crate::challenge::protocol::SubTrack| {
            self.track.is_none() && !matches!(track.rule, Rule::Metric(_))
        };
        self.ranking.sub_tracks.iter().filter(shown)
    }

    /// Ranked first, then the baseline, then the others.
    fn lines(&self) -> Vec<Line<'_>> {
        let own = !matches!(self.rule(), Rule::Metric(_));
        let ranked = self.ranked.iter().map(|r| {
            let score = own.then(|| Value { text: self.score_of(r).map(|p| p.words()), rank: None });
            let place = |slug: &str| r.tracks.get(slug).copied().unwrap_or_default();
            let sums = self.sums().map(|t| place(&t.slug));
            Line {
                rank: Some(r.rank),
                team: &r.team,
                submission: Some(r.submission.to_string()),
                psnr: Some(r.figures.psnr),
                figures: Some(&r.figures),
                ranks: Some(&r.ranks),
                traits: Some(&r.traits),
                extras: score
                    .into_iter()
                    .chain(sums.map(|p| Value { text: p.rank.map(|_| p.words()), rank: p.rank }))
                    .collect(),
                note: None,
                baseline: false,
            }
        });
        let baseline = self.baseline.iter().map(|b| {
            let score = own.then(|| Value { text: b.score.map(|score| format!("{score:.3}")), rank: None });
            let sums = self.sums().map(|t| b.tracks.get(&t.slug).map(|p| p.words()));
            Line {
                rank: None,
                team: &b.team,
                submission: b.submission.map(|id| id.to_string()),
                psnr: b.psnr,
                figures: b.figures.as_ref(),
                ranks: None,
                traits: None,
                extras: score.into_iter().chain(sums.map(|text| Value { text, rank: None })).collect(),
                note: None,
                baseline: true,
            }
        });
        let width = self.extras().len();
        let unranked = self.unranked.iter().map(move |u| Line {
            rank: None,
            team: &u.team,
            submission: Some(u.submission.to_string()),
            psnr: Some(u.figures.psnr),
            figures: Some(&u.figures),
            ranks: None,
            traits: Some(&u.traits),
            extras: vec![Value::default(); width],
            note: Some(&u.reason),
            baseline: false,
        });
        ranked.chain(baseline).chain(unranked).collect()
    }

    /// What was measured, by which rules, and what of it stands here.
    fn caption(&self) -> String {
        let selected = self.selected.as_ref().map(|part| format!(" {}", part.words())).unwrap_or_default();
        format!(
            "Protocol {}. Params, FLOPs ({} counter, a multiply-add is one), activations and convolutions at a 1×3×256×256 \
             input; runtime is the median of the forward pass per image; ranked by {}.{selected}",
            self.protocol,
            self.flops_profile.as_str(),
            self.rule().words()
        )
    }
}

/// With the keys of every object in order, whatever order the maps of this build keep.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

impl Ranks {
    /// In the order of [`COLUMNS`].
    fn by_column(&self) -> [Option<u32>; 9] {
        let Ranks { runtime, params, flops, activations, memory, psnr, ssim } = *self;
        [psnr, ssim, runtime, None, params, flops, activations, memory, None]
    }
}

impl Line<'_> {
    /// In the order of [`COLUMNS`].
    fn figures(&self) -> Vec<Value> {
        let f = self.figures;
        let number = |value: Option<f64>, decimals: usize| value.map(|v| format!("{v:.decimals$}"));
        let million = |count: u64| count as f64 / 1e6;
        let texts = [
            number(self.psnr, 2),
            number(f.map(|f| f.ssim), 4),
            number(f.map(|f| f.runtime_ms), 2),
            number(f.and_then(|f| f.runtime_ratio), 3),
            number(f.map(|f| million(f.params)), 3),
            number(f.map(|f| million(f.flops) / 1e3), 2),
            number(f.map(|f| million(f.activations)), 2),
            number(f.map(|f| f.memory_mib), 1),
            f.map(|f| f.convs.to_string()),
        ];
        let ranks = self.ranks.map(Ranks::by_column).unwrap_or_default();
        texts.into_iter().zip(ranks).map(|(text, rank)| Value { text, rank }).collect()
    }
}
