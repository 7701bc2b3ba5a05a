//! What somebody asks to see of a board: which track, in what order, which entries, which columns. It is read from an address
//! and written into one, so that every view of a board has a link.

use std::cmp::Ordering;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat, Timelike, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Board, Figures, MAIN, RankedRow, Traits, UnrankedRow};

/// A column of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The sum of ranks or the weighted score that orders the track, where one does.
    Score,
    Psnr,
    Ssim,
    RuntimeMs,
    RuntimeRatio,
    Params,
    Flops,
    Activations,
    Memory,
    Convs,
}

impl Column {
    pub const ALL: [Column; 10] = [
        Column::Score,
        Column::Psnr,
        Column::Ssim,
        Column::RuntimeMs,
        Column::RuntimeRatio,
        Column::Params,
        Column::Flops,
        Column::Activations,
        Column::Memory,
        Column::Convs,
    ];

    /// The field's name in JSON.
    pub fn id(self) -> &'static str {
        match self {
            Column::Score => "score",
            Column::Psnr => "psnr",
            Column::Ssim => "ssim",
            Column::RuntimeMs => "runtime_ms",
            Column::RuntimeRatio => "runtime_ratio",
            Column::Params => "params",
            Column::Flops => "flops",
            Column::Activations => "activations",
            Column::Memory => "memory_mib",
            Column::Convs => "convs",
        }
    }

    pub fn named(id: &str) -> Option<Column> {
        Column::ALL.into_iter().find(|column| column.id() == id)
    }

    fn is_better_higher(self) -> bool {
        matches!(self, Column::Psnr | Column::Ssim)
    }

    fn of(self, f: &Figures, score: Option<f64>) -> Option<f64> {
        match self {
            Column::Score => score,
            Column::Psnr => Some(f.psnr),
            Column::Ssim => Some(f.ssim),
            Column::RuntimeMs => Some(f.runtime_ms),
            Column::RuntimeRatio => f.runtime_ratio,
            Column::Params => Some(f.params as f64),
            Column::Flops => Some(f.flops as f64),
            Column::Activations => Some(f.activations as f64),
            Column::Memory => Some(f.memory_mib),
            Column::Convs => Some(f.convs as f64),
        }
    }
}

/// What the entries are put in order by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Key {
    #[default]
    Rank,
    Team,
    Column(Column),
}

impl Key {
    pub fn id(self) -> &'static str {
        match self {
            Key::Rank => "rank",
            Key::Team => "team",
            Key::Column(column) => column.id(),
        }
    }

    fn named(id: &str) -> Option<Key> {
        match id {
            "rank" => Some(Key::Rank),
            "team" => Some(Key::Team),
            id => Column::named(id).map(Key::Column),
        }
    }

    /// The way that shows the best first.
    fn falls(self) -> bool {
        matches!(self, Key::Column(column) if column.is_better_higher())
    }
}

/// One view of a board.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// Slug of a sub-track; `None`: the main one.
    pub track: Option<String>,
    pub key: Key,
    /// The highest first; `None`: the best first.
    pub falling: Option<bool>,
    /// Only entries that an organizer verified, or only the others.
    pub verified: Option<bool>,
    /// Only entries trained on data beyond the challenge's own, or only the others.
    pub extra: Option<bool>,
    /// Only entries measured on this machine.
    pub device: Option<String>,
    /// Only entries of which the team's name or the id holds this.
    pub search: String,
    /// `None`: all.
    pub columns: Option<Vec<Column>>,
    /// The board as it stood then; `None`: now.
    pub at: Option<DateTime<Utc>>,
}

/// Names of what [`Selection::set`] reads.
pub const NAMES: [&str; 9] = ["track", "sort", "dir", "verified", "extra", "device", "q", "cols", "at"];

/// Bytes of a search or a device's name.
const LONGEST: usize = 200;

/// What stands in a query as it is, beside letters and digits.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b',').remove(b':');

impl Selection {
    /// Takes one parameter of an address; an empty value asks for nothing. The error says what may stand there; nothing is
    /// changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let choice = || match value {
            "" => Ok(None),
            "yes" => Ok(Some(true)),
            "no" => Ok(Some(false)),
            _ => Err(format!("`{name}` is yes or no.")),
        };
        let text = || match value.trim() {
            text if text.len() > LONGEST => Err(format!("`{name}` has at most {LONGEST} bytes.")),
            text if text.chars().any(char::is_control) => Err(format!("`{name}` is one line of text.")),
            text => Ok(text.to_owned()),
        };
        let columns = || Column::ALL.map(Column::id).join(", ");
        match name {
            "track" => self.track = Some(value.to_owned()).filter(|slug| !slug.is_empty() && slug != MAIN),
            "sort" if value.is_empty() => self.key = Key::Rank,
            "sort" => {
                self.key = Key::named(value).ok_or_else(|| format!("`sort` is rank, team, {}.", columns()))?;
            }
            "dir" => {
                self.falling = match value {
                    "" => None,
                    "asc" => Some(false),
                    "desc" => Some(true),
                    _ => return Err("`dir` is asc or desc.".into()),
                }
            }
            "verified" => self.verified = choice()?,
            "extra" => self.extra = choice()?,
            "device" => self.device = Some(text()?).filter(|name| !name.is_empty()),
            "q" => self.search = text()?,
            // Once with commas, or as often as a form has boxes.
            "cols" => {
                let ids = value.split(',').map(str::trim).filter(|id| !id.is_empty());
                let column = |id| Column::named(id).ok_or_else(|| format!("`cols` are of {}.", columns()));
                let more: Vec<Column> = ids.map(column).collect::<Result<_, _>>()?;
                if !more.is_empty() {
                    let chosen = self.columns.get_or_insert_default();
                    chosen.extend(more.into_iter().filter(|column| !chosen.contains(column)).collect::<Vec<_>>());
                }
            }
            "at" if value.is_empty() => self.at = None,
            "at" => {
                let wrong = || "`at` is a date or a time in UTC, as 2026-11-20 or 2026-11-20T12:00Z.".to_owned();
                self.at = Some(moment(value).ok_or_else(wrong)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Every parameter that asks for something, in one order: two addresses of the same view are the same.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let word = |choice: bool| if choice { "yes" } else { "no" }.to_owned();
        let mut pairs = Vec::new();
        let mut put = |name, value: Option<String>| pairs.extend(value.map(|value| (name, value)));
        put("track", self.track.clone());
        put("sort", (self.key != Key::Rank).then(|| self.key.id().to_owned()));
        let turned = self.falling.filter(|falling| *falling != self.key.falls());
        put("dir", turned.map(|falling| if falling { "desc" } else { "asc" }.to_owned()));
        put("verified", self.verified.map(word));
        put("extra", self.extra.map(word));
        put("device", self.device.clone());
        put("q", Some(self.search.clone()).filter(|text| !text.is_empty()));
        let columns = self.columns.iter().map(|chosen| {
            let shown = Column::ALL.into_iter().filter(|column| chosen.contains(column));
            shown.map(Column::id).collect::<Vec<_>>().join(",")
        });
        put("cols", columns.into_iter().next());
        put("at", self.at.map(written));
        pairs
    }

    /// `sort=psnr&q=nju`; empty: the board as it is.
    pub fn query(&self) -> String {
        let pairs = self.pairs().into_iter();
        pairs
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(&value, ESCAPED)))
            .collect::<Vec<_>>()
            .join("&")
    }

    pub fn shows(&self, column: Column) -> bool {
        self.columns.as_ref().is_none_or(|chosen| chosen.contains(&column))
    }

    /// Whether the highest value comes first.
    pub fn is_falling(&self) -> bool {
        self.falling.unwrap_or(self.key.falls())
    }

    /// Whether it leaves entries out.
    pub fn filters(&self) -> bool {
        self.verified.is_some() || self.extra.is_some() || self.device.is_some() || !self.search.is_empty()
    }

    fn takes(&self, team: &str, id: &str, traits: &Traits) -> bool {
        let search = self.search.to_lowercase();
        self.verified.is_none_or(|verified| traits.verified == verified)
            && self.extra.is_none_or(|extra| traits.extra_data == Some(extra))
            && self.device.as_ref().is_none_or(|device| traits.device.as_ref() == Some(device))
            && (search.is_empty() || team.to_lowercase().contains(&search) || id.starts_with(&search))
    }

    /// What it does to a board, for a table that stands alone; `None`: nothing.
    fn words(&self) -> Option<Selected> {
        let order = (self.key != Key::Rank || self.falling.is_some_and(|falling| falling != self.key.falls()))
            .then(|| format!("{} {}", self.key.id(), if self.is_falling() { "descending" } else { "ascending" }));
        let mut only = Vec::new();
        let word = |choice: bool, yes: &str, no: &str| if choice { yes } else { no }.to_owned();
        only.extend(self.verified.map(|v| word(v, "verified", "not verified")));
        only.extend(self.extra.map(|e| word(e, "trained with extra data", "trained without extra data")));
        only.extend(self.device.as_ref().map(|device| format!("measured on {device}")));
        only.extend(Some(&self.search).filter(|text| !text.is_empty()).map(|text| format!("found by “{text}”")));
        (order.is_some() || !only.is_empty()).then_some(Selected { only, order })
    }
}

/// A time with its zone, else in UTC; of a date its beginning.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    // What a form's `+` became.
    let text = text.trim().replace(' ', "+");
    let zoned = DateTime::parse_from_rfc3339(&text).ok().map(|at| at.to_utc());
    let plain = text.trim_end_matches('Z');
    let minutes = || NaiveDateTime::parse_from_str(plain, "%Y-%m-%dT%H:%M").ok();
    let seconds = || NaiveDateTime::parse_from_str(plain, "%Y-%m-%dT%H:%M:%S%.f").ok();
    let date = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    let at = zoned.or_else(|| minutes().or_else(seconds).or_else(date).map(|at| at.and_utc()))?;
    // What Postgres can hold, with room.
    (0..=9999).contains(&at.year()).then_some(at)
}

/// To the minute where that is all of it.
fn written(at: DateTime<Utc>) -> String {
    match at.second() == 0 && at.nanosecond() == 0 {
        true => at.format("%Y-%m-%dT%H:%MZ").to_string(),
        false => at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    }
}

/// What a part of a board is a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Selected {
    /// Entries stand here that are all of this; ranks are those of the whole board.
    pub only: Vec<String>,
    /// Another order than by rank, as `psnr descending`.
    pub order: Option<String>,
}

impl Selected {
    /// One sentence.
    pub fn words(&self) -> String {
        let only = match self.only.as_slice() {
            [] => "All entries".to_owned(),
            some => format!("Only entries {}; ranks are of the whole board", some.join(", ")),
        };
        match &self.order {
            Some(order) => format!("{only}; in the order of {order}."),
            None => format!("{only}."),
        }
    }
}

impl Board {
    /// Of every entry.
    pub fn traits(&self) -> impl Iterator<Item = &Traits> {
        self.ranked.iter().map(|r| &r.traits).chain(self.unranked.iter().map(|r| &r.traits))
    }

    /// The part of the board, in the order that is asked for; the track is chosen before ([`Board::on_track`]).
    pub fn select(mut self, selection: &Selection) -> Board {
        if selection.filters() {
            self.ranked.retain(|r| selection.takes(&r.team, &r.submission.to_string(), &r.traits));
            self.unranked.retain(|r| selection.takes(&r.team, &r.submission.to_string(), &r.traits));
        }
        let falling = selection.is_falling();
        match selection.key {
            Key::Rank if falling => {
                self.ranked.reverse();
                self.unranked.reverse();
            }
            Key::Rank => {}
            Key::Team => {
                let name = |team: &String| team.to_lowercase();
                let turn = |order: Ordering| if falling { order.reverse() } else { order };
                self.ranked.sort_by(|a, b| turn(name(&a.team).cmp(&name(&b.team))));
                self.unranked.sort_by(|a, b| turn(name(&a.team).cmp(&name(&b.team))));
            }
            Key::Column(column) => {
                let scores: Vec<_> = self.ranked.iter().map(|row| self.score_to_sort_by(row)).collect();
                let mut keyed: Vec<(Option<f64>, RankedRow)> = std::mem::take(&mut self.ranked)
                    .into_iter()
                    .zip(scores)
                    .map(|(row, score)| (column.of(&row.figures, score), row))
                    .collect();
                keyed.sort_by(|a, b| compare(a.0, b.0, falling));
                self.ranked = keyed.into_iter().map(|(_, row)| row).collect();
                let value = |row: &UnrankedRow| column.of(&row.figures, None);
                self.unranked.sort_by(|a, b| compare(value(a), value(b), falling));
            }
        }
        self.selected = selection.words();
        self.columns = selection.columns.clone();
        self
    }

    /// Behind how many of the ranked entries the baseline stands in this order.
    pub fn baseline_at(&self, selection: &Selection) -> usize {
        let Some(baseline) = &self.baseline else { return self.ranked.len() };
        let falling = selection.is_falling();
        let before = |row: &RankedRow| match selection.key {
            Key::Rank => !falling,
            Key::Team => (row.team.to_lowercase() <= baseline.team.to_lowercase()) != falling,
            Key::Column(column) => {
                let own = baseline.figures.as_ref().and_then(|f| column.of(f, baseline.score.map(f64::ln)));
                compare(column.of(&row.figures, self.score_to_sort_by(row)), own, falling) != Ordering::Greater
            }
        };
        self.ranked.iter().take_while(|row| before(row)).count()
    }

    /// The logarithm where there is one: it has no limit.
    fn score_to_sort_by(&self, row: &RankedRow) -> Option<f64> {
        self.score_of(row).and_then(|place| place.ln.or(place.value))
    }
}

/// What has no value comes last, whichever way.
fn compare(a: Option<f64>, b: Option<f64>, falling: bool) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if falling => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Selection, String> {
        let mut selection = Selection::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').expect("a pair");
            selection.set(name, &percent_encoding::percent_decode_str(value).decode_utf8_lossy())?;
        }
        Ok(selection)
    }

    #[test]
    fn a_view_is_written_as_it_is_read() {
        for query in [
            "",
            "sort=psnr",
            "sort=psnr&dir=asc",
            "track=small&sort=team&dir=desc&verified=yes&extra=no&device=A%2FB%20%22x%22&q=%E4%B8%AD%26&cols=psnr,params",
            "at=2026-11-20T12:00Z",
        ] {
            assert_eq!(read(query).map(|s| s.query()).as_deref(), Ok(query));
        }
        // The same view has one address.
        assert_eq!(
            read("dir=desc&sort=psnr&track=main&q=&cols=params&cols=psnr").map(|s| s.query()).as_deref(),
            Ok("sort=psnr&cols=psnr,params")
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (query, word) in [
            ("sort=speed", "memory_mib"),
            ("dir=up", "asc"),
            ("verified=1", "yes"),
            ("cols=psnr,x", "convs"),
            ("q=%00", "one line"),
            ("at=yesterday", "UTC"),
            ("at=99999-01-01", "UTC"),
        ] {
            assert!(read(query).expect_err(query).contains(word), "{query}");
        }
    }

    #[test]
    fn a_moment_is_read_as_people_and_forms_write_it() {
        for text in [
            "2026-11-20T12:00Z",
            "2026-11-20T12:00",
            "2026-11-20T12:00:00Z",
            "2026-11-20T13:00:00+01:00",
            "2026-11-20T13:00:00 01:00",
        ] {
            assert_eq!(moment(text).map(written).as_deref(), Some("2026-11-20T12:00Z"), "{text}");
        }
        assert_eq!(moment("2026-11-20").map(written).as_deref(), Some("2026-11-20T00:00Z"));
        assert_eq!(moment("2026-11-20T12:00:01.5Z").map(written).as_deref(), Some("2026-11-20T12:00:01.500Z"));
    }

    #[test]
    fn no_value_comes_last_whichever_way() {
        for falling in [false, true] {
            assert_eq!(compare(None, Some(1.0), falling), Ordering::Greater);
        }
        assert_eq!(compare(Some(1.0), Some(2.0), true), Ordering::Greater);
    }
}
