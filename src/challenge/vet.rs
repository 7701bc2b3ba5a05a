//! What a phase may state: looked at once for all ways in, by the phase's name, so that nobody has to guess which one is meant.

use chrono::{DateTime, Datelike, SecondsFormat, Utc};

use super::{
    phase::{GateRule, QuotaLimits, Visibility},
    protocol::{Rules, vet::is_family},
};
use crate::problem::Problem;

/// More evaluations than anybody allows.
const MOST_EVALUATIONS: u32 = 1_000_000;

/// What an organizer states of a phase.
#[derive(Debug, Clone, Copy)]
pub struct Stated<'a> {
    pub slug: &'a str,
    pub title: &'a str,
    pub opens_at: Option<DateTime<Utc>>,
    pub closes_at: Option<DateTime<Utc>>,
    pub frozen_at: Option<DateTime<Utc>>,
    pub visibility: Visibility,
    pub limits: QuotaLimits,
    /// Name of the rule set, without its version.
    pub protocol: &'a str,
    pub rules: &'a Rules,
    /// dB.
    pub gate_psnr: Option<f64>,
    pub gate_rule: Option<GateRule>,
    pub baseline_name: &'a str,
    /// The shortest side of its HR images, pixels; `None`: not known.
    pub smallest: Option<u32>,
}

/// Every problem of a phase, each with its name. Codes: `bad_slug`, `bad_title`, `bad_times`, `bad_visibility`, `bad_quota`,
/// `bad_protocol`, `bad_rules`, `bad_gate`, `bad_baseline_name`.
pub fn phase(stated: Stated<'_>) -> Vec<Problem> {
    let Stated { slug, title, opens_at, closes_at, frozen_at, visibility, limits, protocol, rules, .. } = stated;
    let place = |field: &str| format!("phase {slug}.{field}");
    let mut problems = Vec::new();
    let mut refuse = |code, message: String, field: &str| problems.push(Problem::new(code, message).at(place(field)));
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if slug.is_empty() || slug.len() > 63 || slug.starts_with('-') || !slug.bytes().all(plain) {
        let why = "a slug has 1 to 63 lower-case letters, digits and hyphens, and does not start with a hyphen";
        refuse("bad_slug", why.into(), "slug");
    }
    if !text(title, 200) {
        refuse("bad_title", "a title has 1 to 200 characters".into(), "title");
    }
    for (at, field) in [(opens_at, "opens"), (closes_at, "closes"), (frozen_at, "frozen_at")] {
        if let Some(at) = at.filter(|at| !(2000..2200).contains(&at.year())) {
            refuse("bad_times", format!("{} is not in the years 2000 to 2199", utc(at)), field);
        }
    }
    if let (Some(opens), Some(closes)) = (opens_at, closes_at)
        && opens >= closes
    {
        let why =
            format!("the phase “{title}” opens {} and closes {}: it opens before it closes", utc(opens), utc(closes));
        refuse("bad_times", why, "closes");
    }
    if let Some(frozen) = frozen_at {
        if opens_at.is_some_and(|opens| frozen < opens) {
            let why = format!("the board of “{title}” stands still from {}, before the phase opens", utc(frozen));
            refuse("bad_times", why, "frozen_at");
        }
        if closes_at.is_some_and(|closes| frozen >= closes) {
            let why =
                format!("the board of “{title}” stands still from {}, and not before the phase closes", utc(frozen));
            refuse("bad_times", why, "frozen_at");
        }
    }
    let unseen = match visibility {
        Visibility::Frozen if frozen_at.is_none() => Some("a `frozen` phase states `frozen_at`"),
        Visibility::Frozen => None,
        _ if frozen_at.is_some() => Some("`frozen_at` is for `visibility = \"frozen\"`"),
        Visibility::AfterEnd if closes_at.is_none() => Some("an `after-end` phase states when it `closes`"),
        _ => None,
    };
    if let Some(why) = unseen {
        refuse("bad_visibility", why.into(), "visibility");
    }
    let QuotaLimits { daily, total, daily_attempts } = limits;
    let number = |n: u32| (1..=MOST_EVALUATIONS).contains(&n);
    for (n, field) in [(Some(daily), "daily"), (total, "total"), (Some(daily_attempts), "daily_attempts")] {
        if n.is_some_and(|n| !number(n)) {
            refuse("bad_quota", format!("a quota is 1 to {MOST_EVALUATIONS}"), &format!("quota.{field}"));
        }
    }
    if daily_attempts < daily {
        let why = "a phase allows no fewer attempts than evaluations a day";
        refuse("bad_quota", why.into(), "quota.daily_attempts");
    }
    if !is_family(protocol) {
        refuse("bad_protocol", "a protocol's name has lower-case letters, digits, . and -".into(), "protocol");
    }
    if !text(stated.baseline_name, 100) {
        refuse("bad_baseline_name", "a baseline's name has 1 to 100 characters".into(), "baseline.name");
    }
    problems.extend(gate(stated.gate_psnr, stated.gate_rule, &place("gate")));
    let rules = rules.vet(stated.smallest).into_iter().map(|problem| {
        let place = problem.place.as_deref().map(&place).unwrap_or_default();
        problem.at(place)
    });
    problems.extend(rules);
    problems
}

/// What is wrong with a gate. Codes: `bad_gate`.
pub fn gate(psnr: Option<f64>, rule: Option<GateRule>, place: &str) -> Option<Problem> {
    let why = match (psnr, rule) {
        // What is no number is in no range.
        (Some(psnr), None) if !(0.0..=100.0).contains(&psnr) => "a gate is 0 to 100 dB",
        (Some(_), Some(_)) => "a gate is a figure, the baseline's, or none: one of the three",
        _ => return None,
    };
    Some(Problem::new("bad_gate", why).at(place))
}

fn text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count()) && !text.trim().is_empty() && !text.contains('\0')
}

fn utc(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
