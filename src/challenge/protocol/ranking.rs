//! What orders a board, as data: one figure, a sum of ranks, or a weighted score; and the sub-tracks beside it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What orders the entries that pass the gate. Equal values share a rank, and the next rank leaves a gap (1, 1, 3); the one
/// accepted earlier is listed first. Runtimes may share a rank also where their difference is not resolved ([`Ties`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RankingForm", into = "RankingForm")]
pub struct Ranking {
    pub rule: Rule,
    /// Which entry of a team stands on the board.
    pub entry: EntryRule,
    pub ties: Ties,
    /// Further orders of the same entries. An entry that the main rule does not rank is ranked in none of them.
    pub sub_tracks: Vec<SubTrack>,
}

/// The order of one track; what comes out lower is better.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// One figure; PSNR and SSIM the higher the better.
    Metric(Metric),
    /// The sum of an entry's ranks by these figures, each among the ranked entries by unrounded values.
    RankSum(Vec<Metric>),
    /// NTIRE's score: the sum of weight × exp(2 · x / x of the baseline). The baseline's own is e² times the sum of weights.
    Score(Vec<Term>),
}

/// One part of a weighted score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// A cost: neither PSNR nor SSIM, which are better when higher.
    pub metric: Metric,
    /// Above 0.
    pub weight: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SubTrackForm", into = "SubTrackForm")]
pub struct SubTrack {
    /// Lower-case letters, digits and hyphens; in addresses and JSON.
    pub slug: String,
    pub title: String,
    pub rule: Rule,
}

/// Which entry of a team stands on the board.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EntryRule {
    /// The one that ranks best. Where ranks depend on the other entries (a sum of ranks) there is no best before all stand:
    /// then the one that the team chose, else the newest that passes the gate.
    #[default]
    Best,
    /// The one the team chose; where it chose none, as `best`.
    Chosen,
}

/// Which entries share a rank in a track that runtime orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ties {
    /// Those of equal values.
    #[default]
    Equal,
    /// Those that the measurement does not tell apart: an entry's rank is 1 and the number of those that are clearly faster,
    /// whose whole 95 % interval lies below its own.
    Interval,
}

impl Ties {
    fn are_of_equals(&self) -> bool {
        *self == Ties::Equal
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Ratio to the baseline timed beside it; milliseconds where the phase has no baseline model.
    Runtime,
    Params,
    Flops,
    Activations,
    Memory,
    Psnr,
    Ssim,
}

impl Metric {
    /// In the order of the ranked query's figures.
    pub const ALL: [Metric; 7] = [
        Metric::Runtime,
        Metric::Params,
        Metric::Flops,
        Metric::Activations,
        Metric::Memory,
        Metric::Psnr,
        Metric::Ssim,
    ];

    /// The word in JSON and in forms.
    pub fn as_str(self) -> &'static str {
        match self {
            Metric::Runtime => "runtime",
            Metric::Params => "params",
            Metric::Flops => "flops",
            Metric::Activations => "activations",
            Metric::Memory => "memory",
            Metric::Psnr => "psnr",
            Metric::Ssim => "ssim",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Metric::Runtime => "runtime",
            Metric::Params => "parameters",
            Metric::Flops => "FLOPs",
            Metric::Activations => "activations",
            Metric::Memory => "peak memory",
            Metric::Psnr => "PSNR",
            Metric::Ssim => "SSIM",
        }
    }

    /// Better when lower.
    pub fn is_cost(self) -> bool {
        !matches!(self, Metric::Psnr | Metric::Ssim)
    }
}

/// Rules are stored, sent and written in files in this form: exactly one of `metric`, `rank_sum` and `score` is given, as in
/// `{"metric": "runtime", "entry": "best"}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Ranking)]
pub struct RankingForm {
    /// Ordered by this figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<Metric>,
    /// Ordered by the sum of the ranks by these figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rank_sum: Option<Vec<Metric>>,
    /// Ordered by the sum of weight × exp(2 · x / x of the baseline), lowest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<Vec<Term>>,
    /// Which entry of a team stands on the board.
    #[serde(default)]
    entry: EntryRule,
    /// Which entries share a rank where runtime orders. (Absent in versions of before: those of equal values.)
    #[serde(default, skip_serializing_if = "Ties::are_of_equals")]
    ties: Ties,
    /// Further orders of the same entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<SubTrackForm>)]
    sub_tracks: Vec<SubTrack>,
}

/// A sub-track as it is stored and sent: exactly one of `metric`, `rank_sum` and `score` is given.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SubTrack)]
pub struct SubTrackForm {
    /// Lower-case letters, digits and hyphens.
    slug: String,
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<Metric>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rank_sum: Option<Vec<Metric>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<Vec<Term>>,
}

type Parts = (Option<Metric>, Option<Vec<Metric>>, Option<Vec<Term>>);

impl Rule {
    fn of((metric, rank_sum, score): Parts) -> Result<Rule, String> {
        let rule = match (metric, rank_sum, score) {
            (Some(metric), None, None) => Rule::Metric(metric),
            (None, Some(metrics), None) => Rule::RankSum(metrics),
            (None, None, Some(terms)) => Rule::Score(terms),
            _ => return Err("a ranking is by exactly one of metric, rank_sum and score".into()),
        };
        rule.vet()?;
        Ok(rule)
    }

    /// Ordered by runtime, which is known to an interval.
    pub fn is_race(&self) -> bool {
        matches!(self, Rule::Metric(Metric::Runtime))
    }

    fn parts(self) -> Parts {
        match self {
            Rule::Metric(metric) => (Some(metric), None, None),
            Rule::RankSum(metrics) => (None, Some(metrics), None),
            Rule::Score(terms) => (None, None, Some(terms)),
        }
    }

    fn vet(&self) -> Result<(), String> {
        let metrics = self.metrics();
        if metrics.is_empty() {
            return Err("a sum of ranks and a score need at least one figure".into());
        }
        if (1..metrics.len()).any(|i| metrics[..i].contains(&metrics[i])) {
            return Err("a figure counts once in a ranking".into());
        }
        let Rule::Score(terms) = self else { return Ok(()) };
        for term in terms {
            if !term.metric.is_cost() {
                return Err(format!("{} is better when higher: a score takes costs only", term.metric.as_str()));
            }
            if !(term.weight.is_finite() && term.weight > 0.0 && term.weight <= 1e6) {
                return Err("a weight is above 0 and at most 1000000".into());
            }
        }
        Ok(())
    }

    /// As in "ranked by …".
    pub fn words(&self) -> String {
        match self {
            Rule::Metric(metric) => metric.words().into(),
            Rule::RankSum(metrics) => {
                format!("sum of the ranks by {}", listed(metrics.iter().map(|m| m.words().to_owned())))
            }
            Rule::Score(terms) => {
                let parts = terms.iter().map(|t| format!("{} {}", t.weight, t.metric.words()));
                format!("weighted score of {}", listed(parts))
            }
        }
    }

    /// The figures that it looks at, in its order; never empty in rules that were read or vetted.
    pub fn metrics(&self) -> Vec<Metric> {
        match self {
            Rule::Metric(metric) => vec![*metric],
            Rule::RankSum(metrics) => metrics.clone(),
            Rule::Score(terms) => terms.iter().map(|t| t.metric).collect(),
        }
    }

    /// The figure that stands for the rule where there is room for one: its only one, the one of most weight, or the first.
    pub fn lead(&self) -> Metric {
        match self {
            Rule::Metric(metric) => *metric,
            Rule::RankSum(metrics) => metrics.first().copied().unwrap_or(Metric::Runtime),
            Rule::Score(terms) => {
                let heaviest = terms.iter().rev().max_by(|a, b| a.weight.total_cmp(&b.weight));
                heaviest.map_or(Metric::Runtime, |t| t.metric)
            }
        }
    }

    /// Whether an entry's place depends on figures of the others.
    pub fn is_relative(&self) -> bool {
        matches!(self, Rule::RankSum(_))
    }
}

/// As a form shows and takes it: `runtime`, `rank(params) + rank(flops)`, `0.7 runtime + 0.15 flops + 0.15 params`.
impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = match self {
            Rule::Metric(metric) => vec![metric.as_str().into()],
            Rule::RankSum(metrics) => metrics.iter().map(|m| format!("rank({})", m.as_str())).collect(),
            Rule::Score(terms) => terms.iter().map(|t| format!("{} {}", t.weight, t.metric.as_str())).collect(),
        };
        f.write_str(&parts.join(" + "))
    }
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(words: &str) -> Result<Rule, String> {
        let metric = |word: &str| {
            let word = word.trim();
            let known = Metric::ALL.into_iter().find(|m| m.as_str() == word);
            known.ok_or_else(|| {
                format!("“{word}” is no figure: {}", listed(Metric::ALL.into_iter().map(|m| m.as_str().to_owned())))
            })
        };
        let parts: Vec<&str> = words.split('+').map(str::trim).collect();
        let ranked =
            |part: &&str| part.strip_prefix("rank(").and_then(|rest| rest.strip_suffix(')')).map(str::to_owned);
        let weighted = |part: &&str| part.split_once([' ', '*']).map(|(w, m)| (w.to_owned(), m.to_owned()));
        let rule = match parts.as_slice() {
            [one] if ranked(one).is_none() && weighted(one).is_none() => Rule::Metric(metric(one)?),
            parts if parts.iter().all(|p| ranked(p).is_some()) => {
                Rule::RankSum(parts.iter().filter_map(ranked).map(|m| metric(&m)).collect::<Result<_, _>>()?)
            }
            parts if parts.iter().all(|p| weighted(p).is_some()) => {
                let term = |(weight, of): (String, String)| {
                    let weight = weight.parse().map_err(|_| format!("“{weight}” is no weight"))?;
                    Ok(Term { metric: metric(&of)?, weight })
                };
                Rule::Score(parts.iter().filter_map(weighted).map(term).collect::<Result<_, String>>()?)
            }
            _ => return Err("an order is one figure, a sum of rank(figure), or a sum of weights and figures".into()),
        };
        rule.vet()?;
        Ok(rule)
    }
}

/// `a, b and c`
pub fn listed(words: impl Iterator<Item = String>) -> String {
    let words: Vec<_> = words.collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

impl Ranking {
    /// By one figure, without sub-tracks; a team's best entry stands.
    pub fn by(metric: Metric) -> Ranking {
        Ranking { rule: Rule::Metric(metric), entry: EntryRule::Best, ties: Ties::Equal, sub_tracks: Vec::new() }
    }

    /// Whether a track orders by figures over the baseline's.
    pub fn compares_with_baseline(&self) -> bool {
        let rules = std::iter::once(&self.rule).chain(self.sub_tracks.iter().map(|track| &track.rule));
        rules.into_iter().any(|rule| matches!(rule, Rule::Score(_)))
    }

    /// Whether a team may choose the entry that stands.
    pub fn lets_choose(&self) -> bool {
        self.entry == EntryRule::Chosen || self.rule.is_relative()
    }

    /// What is wrong with it, in words.
    pub fn vet(&self) -> Result<(), String> {
        /// Sub-tracks at most: each costs the ranked query a sort.
        const MOST: usize = 8;
        self.rule.vet()?;
        let races = std::iter::once(&self.rule).chain(self.sub_tracks.iter().map(|t| &t.rule)).any(Rule::is_race);
        if self.ties == Ties::Interval && !races {
            return Err(
                "only runtimes have intervals that ranks can be shared by, and no track is ordered by runtime".into()
            );
        }
        if self.sub_tracks.len() > MOST {
            return Err(format!("there are at most {MOST} sub-tracks"));
        }
        for (i, track) in self.sub_tracks.iter().enumerate() {
            track.vet()?;
            if self.sub_tracks[..i].iter().any(|other| other.slug == track.slug) {
                return Err(format!("two sub-tracks are called {}", track.slug));
            }
        }
        Ok(())
    }
}

impl SubTrack {
    pub fn new(slug: &str, title: &str, rule: Rule) -> SubTrack {
        SubTrack { slug: slug.into(), title: title.into(), rule }
    }

    fn vet(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.slug.is_empty() || self.slug.len() > 40 || self.slug.starts_with('-') || !self.slug.bytes().all(plain) {
            return Err("a sub-track's slug has 1 to 40 lower-case letters, digits and hyphens".into());
        }
        if self.slug == "main" {
            return Err("main is the main track: a sub-track needs another slug".into());
        }
        if self.title.trim().is_empty() || self.title.chars().count() > 100 {
            return Err("a sub-track's title has 1 to 100 characters".into());
        }
        self.rule.vet()
    }
}

impl TryFrom<RankingForm> for Ranking {
    type Error = String;

    fn try_from(form: RankingForm) -> Result<Ranking, String> {
        let RankingForm { metric, rank_sum, score, entry, ties, sub_tracks } = form;
        let ranking = Ranking { rule: Rule::of((metric, rank_sum, score))?, entry, ties, sub_tracks };
        ranking.vet()?;
        Ok(ranking)
    }
}

impl From<Ranking> for RankingForm {
    fn from(ranking: Ranking) -> RankingForm {
        let Ranking { rule, entry, ties, sub_tracks } = ranking;
        let (metric, rank_sum, score) = rule.parts();
        RankingForm { metric, rank_sum, score, entry, ties, sub_tracks }
    }
}

impl TryFrom<SubTrackForm> for SubTrack {
    type Error = String;

    fn try_from(form: SubTrackForm) -> Result<SubTrack, String> {
        let SubTrackForm { slug, title, metric, rank_sum, score } = form;
        let track = SubTrack { slug, title, rule: Rule::of((metric, rank_sum, score))? };
        track.vet()?;
        Ok(track)
    }
}

impl From<SubTrack> for SubTrackForm {
    fn from(track: SubTrack) -> SubTrackForm {
        let SubTrack { slug, title, rule } = track;
        let (metric, rank_sum, score) = rule.parts();
        SubTrackForm { slug, title, metric, rank_sum, score }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Ranking, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn a_ranking_by_one_figure_is_written_as_it_always_was() {
        let old = r#"{"metric":"runtime","entry":"best"}"#;
        let ranking = read(old).expect("it reads");
        assert_eq!(ranking, Ranking::by(Metric::Runtime));
        assert_eq!(serde_json::to_string(&ranking).expect("JSON"), old);
    }

    #[test]
    fn every_rule_is_read_back_as_it_was_written() {
        let terms = vec![Term { metric: Metric::Runtime, weight: 0.7 }, Term { metric: Metric::Flops, weight: 0.3 }];
        let sum = Rule::RankSum(vec![Metric::Params, Metric::Flops]);
        let ranking = Ranking {
            rule: Rule::Score(terms),
            entry: EntryRule::Chosen,
            ties: Ties::Interval,
            sub_tracks: vec![
                SubTrack::new("small", "Small", sum),
                SubTrack::new("a", "A", Rule::Metric(Metric::Runtime)),
            ],
        };
        let written = serde_json::to_string(&ranking).expect("JSON");
        assert_eq!(read(&written), Ok(ranking));
    }

    #[test]
    fn a_form_takes_what_it_shows() {
        for words in
            ["psnr", "rank(params) + rank(flops)", "0.7 runtime + 0.15 flops + 0.15 params", "rank(memory)", "1 flops"]
        {
            let rule: Rule = words.parse().expect(words);
            assert_eq!(rule.to_string(), words);
        }
        assert_eq!("0.5*params+ 2 flops".parse::<Rule>().map(|r| r.to_string()), Ok("0.5 params + 2 flops".into()));
        for words in
            ["", "speed", "runtime + params", "rank(runtime) + params", "x runtime + 1 flops", "1 psnr", "0 flops"]
        {
            assert!(words.parse::<Rule>().is_err(), "{words}");
        }
    }

    #[test]
    fn rules_that_cannot_rank_are_refused_in_words() {
        for (json, word) in [
            (r#"{}"#, "exactly one"),
            (r#"{"metric":"runtime","rank_sum":["params"]}"#, "exactly one"),
            (r#"{"rank_sum":[]}"#, "at least one"),
            (r#"{"rank_sum":["params","params"]}"#, "counts once"),
            (r#"{"score":[{"metric":"psnr","weight":1}]}"#, "better when higher"),
            (r#"{"score":[{"metric":"flops","weight":0}]}"#, "above 0"),
            (r#"{"metric":"runtime","sub_tracks":[{"slug":"main","title":"M","metric":"psnr"}]}"#, "main track"),
            (r#"{"metric":"runtime","sub_tracks":[{"slug":"A b","title":"M","metric":"psnr"}]}"#, "slug"),
            (r#"{"metric":"params","ties":"interval"}"#, "no track is ordered by runtime"),
            (r#"{"metric":"runtime","best":true}"#, "unknown field"),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(word), "{json}: {error}");
        }
    }
}
