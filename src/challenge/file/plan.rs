//! What a file would change, in words.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    rules,
    setup::{Current, CurrentPhase, PhaseSetup, Setup},
};
use crate::{
    challenge::phase::{GateSource, QuotaLimits, Visibility},
    evaluation::fidelity::Channel,
    problem::Problem,
    storage::BlobHash,
};

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Change {
    /// What of: `title`, `phase validation: closes`.
    pub what: String,
    /// From what to what.
    pub words: String,
    /// What follows for entries that are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// For the audit log.
    #[serde(skip)]
    pub before: Value,
    #[serde(skip)]
    pub after: Value,
}

impl Change {
    fn new(what: impl Into<String>, before: Value, after: Value, words: impl Into<String>) -> Change {
        Change { what: what.into(), words: words.into(), note: None, before, after }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.words)?;
        self.note.as_ref().map_or(Ok(()), |note| write!(f, "\n    {note}"))
    }
}

/// What makes `wanted` of `current`, or of nothing. Codes: `duplicate_phase`, `phase_has_entries`, `scale_fixed`.
pub fn plan(current: Option<&Current>, wanted: &Setup) -> Result<Vec<Change>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut changes = Vec::new();
    let mut slugs = BTreeSet::new();
    for phase in &wanted.phases {
        if !slugs.insert(phase.slug.as_str()) {
            problems.push(Problem::new("duplicate_phase", "two phases have this slug").at(&phase.slug));
        }
    }
    match current {
        None => {
            let words = format!("new: {}", wanted.title);
            changes.push(Change::new("challenge", Value::Null, json!(wanted.title), words));
            changes.extend(general(&Setup { title: wanted.title.clone(), ..nothing() }, wanted));
        }
        Some(current) => changes.extend(general(&current.setup, wanted)),
    }
    for phase in &wanted.phases {
        match current.and_then(|current| current.phase(&phase.slug)) {
            None => changes.push(new_phase(phase)),
            Some((before, about)) => match changed_phase(before, about, phase) {
                Ok(found) => changes.extend(found),
                Err(problem) => problems.push(problem),
            },
        }
    }
    if let Some(current) = current {
        for (phase, about) in current.setup.phases.iter().zip(&current.phases) {
            if slugs.contains(phase.slug.as_str()) {
                continue;
            }
            if about.submissions > 0 {
                let message = format!("the file leaves the phase out, and it has {}", entries(about.submissions));
                let hint = "Keep it in the file; close it with `closes` if nobody may send in any more.";
                problems.push(Problem::new("phase_has_entries", message).at(&phase.slug).hint(hint));
            } else {
                let what = format!("phase {}", phase.slug);
                changes.push(Change::new(
                    what,
                    json!(phase.title),
                    Value::Null,
                    "removed; nobody has sent anything in",
                ));
            }
        }
        let order = |setup: &Setup| setup.phases.iter().map(|p| p.slug.clone()).collect::<Vec<_>>();
        let (before, after) = (order(&current.setup), order(wanted));
        let common =
            |of: &[String], other: &[String]| of.iter().filter(|s| other.contains(s)).cloned().collect::<Vec<_>>();
        if common(&before, &after) != common(&after, &before) {
            let words = format!("{} → {}", before.join(", "), after.join(", "));
            changes.push(Change::new("order of phases", json!(before), json!(after), words));
        }
    }
    if problems.is_empty() { Ok(changes) } else { Err(problems) }
}

fn nothing() -> Setup {
    Setup {
        slug: String::new(),
        title: String::new(),
        description: String::new(),
        pages: Vec::new(),
        joining: Default::default(),
        fact_sheet: None,
        phases: Vec::new(),
    }
}

/// Of the challenge itself.
fn general(before: &Setup, after: &Setup) -> Vec<Change> {
    let mut changes = Vec::new();
    if before.title != after.title {
        changes.push(short("title", &before.title, &after.title));
    }
    changes.extend(text("description", &before.description, &after.description));
    if before.pages != after.pages {
        let titles = |setup: &Setup| setup.pages.iter().map(|p| p.title.clone()).collect::<Vec<_>>();
        let (old, new) = (titles(before), titles(after));
        let words = if old == new {
            let differ = before.pages.iter().zip(&after.pages).filter(|(a, b)| a != b).map(|(_, b)| b.title.as_str());
            format!("other words in {}", differ.collect::<Vec<_>>().join(", "))
        } else {
            format!("{} → {}", list(&old), list(&new))
        };
        changes.push(Change::new("pages", json!(before.pages), json!(after.pages), words));
    }
    let (old, new) = (&before.joining, &after.joining);
    if old.policy != new.policy {
        changes.push(short("joining.policy", &word(old.policy), &word(new.policy)));
    }
    changes.extend(text("joining.terms", &old.terms, &new.terms).map(|mut change| {
        if !plain(&old.terms).is_empty() {
            change.note = Some("who accepted the terms of before stays in; who joins from now on accepts these".into());
        }
        change
    }));
    if old.max_members != new.max_members {
        let words = |n: Option<u32>| n.map_or("no limit".to_owned(), |n| n.to_string());
        changes.push(short("joining.max_members", &words(old.max_members), &words(new.max_members)));
    }
    if let Some(fields) = &after.fact_sheet
        && before.fact_sheet.as_ref() != Some(fields)
    {
        let keys = fields.iter().map(|f| f.key.clone()).collect::<Vec<_>>();
        let words = format!("{} fields: {}", keys.len(), list(&keys));
        changes.push(Change::new("fact_sheet", json!(before.fact_sheet), json!(fields), words));
    }
    changes
}

fn new_phase(phase: &PhaseSetup) -> Change {
    let words = format!(
        "new: {}; {} images, {}, ×{}; protocol {}; {}; {} to {}; {}; {}; baseline {}{}",
        phase.title,
        phase.dataset.count,
        phase.dataset.words(),
        phase.dataset.scale,
        phase.protocol,
        channel(phase),
        phase.opens_at.map_or("open at once".to_owned(), time),
        phase.closes_at.map_or("open end".to_owned(), time),
        phase.frozen_at.map_or(visibility(phase.visibility).to_owned(), |at| {
            format!("{} from {}", visibility(phase.visibility), time(at))
        }),
        gate(phase, false),
        phase.baseline_name,
        if phase.baseline_model.is_some() { ", timed beside each entry" } else { ", not timed" },
    );
    Change::new(format!("phase {}", phase.slug), Value::Null, json!(phase.title), words)
}

fn channel(phase: &PhaseSetup) -> String {
    let fidelity = &phase.rules.fidelity;
    let channel = match fidelity.channel {
        Channel::Rgb => "RGB",
        _ => "Y",
    };
    format!("PSNR of {channel} with a border of {} px", fidelity.border)
}

fn changed_phase(before: &PhaseSetup, about: &CurrentPhase, after: &PhaseSetup) -> Result<Vec<Change>, Problem> {
    let what = |field: &str| format!("phase {}: {field}", after.slug);
    let mut changes = Vec::new();
    if before.title != after.title {
        changes.push(short(&what("title"), &before.title, &after.title));
    }
    for (field, old, new) in [("opens", before.opens_at, after.opens_at), ("closes", before.closes_at, after.closes_at)]
    {
        if old != new {
            let absent = if field == "opens" { "at once" } else { "never" };
            let words = |at: Option<DateTime<Utc>>| at.map_or(absent.to_owned(), time);
            changes.push(short(&what(field), &words(old), &words(new)));
        }
    }
    if before.limits != after.limits {
        changes.push(short(&what("quota"), &quota(before.limits), &quota(after.limits)));
    }
    if before.visibility != after.visibility {
        let mut change = short(&what("visibility"), visibility(before.visibility), visibility(after.visibility));
        if matches!(after.visibility, Visibility::Live | Visibility::Frozen) && about.submissions > 0 {
            change.note = Some(format!("the figures of {} are public from then on", entries(about.submissions)));
        }
        changes.push(change);
    }
    if before.frozen_at != after.frozen_at {
        let words = |at: Option<DateTime<Utc>>| at.map_or("never".to_owned(), time);
        changes.push(short(&what("board stands still from"), &words(before.frozen_at), &words(after.frozen_at)));
    }
    let (old, new) = (&before.dataset, &after.dataset);
    if (&old.name, &old.sha256) != (&new.name, &new.sha256) {
        if old.scale != new.scale && about.submissions > 0 {
            let message = format!(
                "the phase has {} of ×{}, the images are ×{}",
                entries(about.submissions),
                old.scale,
                new.scale
            );
            let hint = "Make another phase for another scale.";
            return Err(Problem::new("scale_fixed", message).at(&after.slug).hint(hint));
        }
        let mut change = short(&what("dataset"), &old.words(), &format!("{}, {} images", new.words(), new.count));
        change.note = measured_before(about.submissions, &format!("on {}", old.words()))
            .map(|note| format!("{note}; those that were sent in for images of other names or sizes are left out"));
        changes.push(change);
    }
    if before.protocol != after.protocol || before.rules != after.rules {
        let differ = rules::differences(&before.rules, &after.rules).join("; ");
        let words = match differ.is_empty() {
            true => format!("{} → {}, the same rules", about.protocol, after.protocol),
            false => format!("{} → another version of {} ({differ})", about.protocol, after.protocol),
        };
        let mut change = Change::new(what("protocol"), json!(before.rules), json!(after.rules), words);
        change.note = match before.rules.measure_as(&after.rules) {
            true => (about.submissions > 0).then(|| "entries are measured as before: all scores stand".into()),
            false => measured_before(about.submissions, &format!("by {}", about.protocol)),
        };
        changes.push(change);
    }
    let has_entry = about.has_baseline_entry;
    if before.gate(has_entry) != after.gate(has_entry) {
        changes.push(short(&what("gate"), &gate(before, has_entry), &gate(after, has_entry)));
    }
    if before.baseline_name != after.baseline_name {
        changes.push(short(&what("baseline"), &before.baseline_name, &after.baseline_name));
    }
    let hash = |model: &Option<(BlobHash, u64)>| model.as_ref().map(|(hash, _)| hash.to_string());
    if hash(&before.baseline_model) != hash(&after.baseline_model) {
        let words = |model: &Option<(BlobHash, u64)>| match model {
            Some((hash, bytes)) => format!("{}…, {bytes} bytes", &hash.as_str()[..12]),
            None => "none".to_owned(),
        };
        let mut change = short(&what("baseline model"), &words(&before.baseline_model), &words(&after.baseline_model));
        if about.submissions > 0 {
            change.note = Some("ratios of before are to the model of before until entries are measured again".into());
        }
        changes.push(change);
    }
    Ok(changes)
}

fn measured_before(submissions: i64, by: &str) -> Option<String> {
    (submissions > 0).then(|| {
        let entries = entries(submissions);
        format!("scores {by} stay stored and leave the board: measure the {entries} again to bring them back")
    })
}

fn short(what: &str, before: &str, after: &str) -> Change {
    Change::new(what, json!(before), json!(after), format!("{before} → {after}"))
}

/// Of a long text: how much it is.
fn text(what: &str, before: &str, after: &str) -> Option<Change> {
    let length = |text: &str| match text.chars().count() {
        0 => "none".to_owned(),
        n => format!("{n} characters"),
    };
    // White space round it, which a file does not keep, is no change.
    let (before, after) = (plain(before), plain(after));
    let words = format!("{} → {}", length(&before), length(&after));
    (before != after).then(|| Change::new(what, json!(before), json!(after), words))
}

fn plain(text: &str) -> String {
    text.replace("\r\n", "\n").trim().to_owned()
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "none".into() } else { words.join(", ") }
}

fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn entries(n: i64) -> String {
    if n == 1 { "1 entry".into() } else { format!("{n} entries") }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// What will be compared with, and what that does.
fn gate(phase: &PhaseSetup, has_entry: bool) -> String {
    let name = &phase.baseline_name;
    match phase.gate(has_entry) {
        GateSource::Stated(psnr) => format!("gate {psnr:.2} dB"),
        GateSource::None => "no gate: every entry is ranked".into(),
        GateSource::Baseline(_) if has_entry || phase.baseline_model.is_some() => {
            format!("gate of {name}'s measured PSNR: nobody is ranked until it is measured")
        }
        GateSource::Baseline(_) => format!(
            "gate of {name}'s measured PSNR, of which there is no model: nobody is ranked until an entry is marked as the baseline"
        ),
    }
}

fn visibility(of: Visibility) -> &'static str {
    match of {
        Visibility::Live => "figures live",
        Visibility::Own => "figures to each team its own until published",
        Visibility::Frozen => "figures live, board standing still before the end",
        Visibility::AfterEnd => "figures hidden until the phase closes",
        Visibility::Hidden => "figures hidden until published",
    }
}

fn quota(limits: QuotaLimits) -> String {
    let total = limits.total.map_or("no total".to_owned(), |n| format!("{n} in all"));
    format!("{} a day, {total}, {} attempts a day", limits.daily, limits.daily_attempts)
}
