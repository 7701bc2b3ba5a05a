//! The entries of a phase as a reviewer reads them: best rank first, with all that speaks against each.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;

use super::{
    duplicates,
    gap::{self, Field},
};
use crate::{
    challenge::phase::Phase,
    evaluation::{SizeGate, SizeMeans, Verdict},
    ids::{SubmissionId, TeamId},
    leaderboard::{self, Board},
    queue::State,
    submission::{
        FactSheet, OrganizerStatus,
        fact_sheet::{self, Field as SheetField},
    },
};

/// Entries of a phase that are listed, the newest.
const MOST: i64 = 1000;

/// Which entries are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    #[default]
    All,
    /// Something speaks against them.
    Flagged,
    Held,
    /// With an open objection.
    Objection,
    /// Standing on the board and not verified.
    Unverified,
    Ranked,
}

impl Filter {
    pub const ALL: [(Filter, &'static str, &'static str); 6] = [
        (Filter::All, "all", "All"),
        (Filter::Flagged, "flagged", "Flagged"),
        (Filter::Held, "held", "Held"),
        (Filter::Objection, "objection", "Objection"),
        (Filter::Unverified, "unverified", "Not verified"),
        (Filter::Ranked, "ranked", "Ranked"),
    ];

    fn lets(self, entry: &Entry) -> bool {
        match self {
            Filter::All => true,
            Filter::Flagged => entry.flags.iter().any(|flag| flag.grave),
            Filter::Held => entry.status == OrganizerStatus::Held,
            Filter::Objection => entry.flags.iter().any(|flag| flag.code == "objection"),
            Filter::Unverified => entry.stands && !entry.verified,
            Filter::Ranked => entry.rank.is_some(),
        }
    }
}

/// What a reviewer should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Flag {
    /// `held`, `disqualified`, `differs`, `implausible`, `size_gate`, `noisy`, `duplicate`, `gap`, `fact_sheet`, `objection`.
    pub code: &'static str,
    pub message: String,
    /// Speaks against the entry; else something is only missing or worth knowing.
    pub grave: bool,
}

/// One entry.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Entry {
    pub submission: SubmissionId,
    pub team: String,
    pub submitted_at: DateTime<Utc>,
    pub state: State,
    pub status: OrganizerStatus,
    pub verified: bool,
    /// It is the entry of its team on the board, ranked or not.
    pub stands: bool,
    pub rank: Option<u32>,
    /// Why it is not ranked; absent for one that does not stand.
    pub unranked: Option<String>,
    /// dB.
    pub psnr: Option<f64>,
    /// ms an image.
    pub runtime_ms: Option<f64>,
    /// Over the baseline's.
    pub runtime_ratio: Option<f64>,
    pub params: Option<u64>,
    pub flags: Vec<Flag>,
    #[serde(skip)]
    pub team_id: TeamId,
}

/// A phase's entries.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Queue {
    pub entries: Vec<Entry>,
    /// The gap to the phase before; `null`: none, or too few teams are in both.
    pub gap: Option<Field>,
}

/// The entries of a phase that are not withdrawn: ranked ones by rank, the other standing ones by PSNR, then the rest, newest
/// first.
pub async fn of_phase(conn: &mut PgConnection, phase: &Phase, filter: Filter) -> anyhow::Result<Queue> {
    duplicates::compare_new(conn, phase.id).await?;
    let board = leaderboard::ranking(conn, phase).await?;
    let gap = gap::of_phase(conn, phase, &board).await?;
    let copies = duplicates::of_challenge(conn, phase.challenge).await?;
    let fields = fact_sheet::fields(conn, phase.challenge).await?;
    let places = places(&board);
    let rows = sqlx::query!(
        r#"select s.id as "id: SubmissionId", s.team_id as "team_id: TeamId", t.name as team, s.created_at,
                  s.organizer_status as "status: OrganizerStatus", s.organizer_reason as reason,
                  s.verified_at is not null as "verified!", s.fact_sheet as "sheet: Json<FactSheet>",
                  e.state as "state: State", c.psnr as "psnr?", c.runtime_ms as "runtime_ms?", c.ratio,
                  c.params as "params?", c.verdict as "verdict?", c.max_abs as "max_abs?",
                  c.runtime_noisy as "noisy?", c.timing_record #>> '{throughput,implausible}' as implausible,
                  c.provenance -> 'size_gates' as "size_gates: Json<Vec<SizeGate>>",
                  exists (select from objection o where o.submission_id = s.id and o.closed_at is null) as "objection!"
           from submission s join team t on t.id = s.team_id
           cross join lateral
               (select state from evaluation where submission_id = s.id and official order by number desc limit 1) e
           left join lateral
               (select id from evaluation
                where submission_id = s.id and official and state = 'scored'
                  and protocol_id in (select id from protocol where measuring_sha256 = $3)
                  and dataset_id = (select dataset_id from phase where id = $1)
                order by number desc limit 1) m on true
           left join score c on c.evaluation_id = m.id
           where s.phase_id = $1 and s.withdrawn_at is null order by s.id desc limit $2"#,
        phase.id.0,
        MOST,
        phase.protocol.measuring_sha256
    )
    .fetch_all(conn)
    .await?;
    let mut entries = Vec::new();
    for r in rows {
        let mut flags = Vec::new();
        let mut flag = |code, grave, message: String| flags.push(Flag { code, message, grave });
        let why = r.reason.unwrap_or_default();
        match r.status {
            OrganizerStatus::None => {}
            OrganizerStatus::Held => flag("held", true, format!("Held: {why}")),
            OrganizerStatus::Disqualified => flag("disqualified", true, format!("Disqualified: {why}")),
        }
        if r.objection {
            flag("objection", true, "The team objects and waits for an answer".into());
        }
        if r.verdict.as_deref() == Some(Verdict::Differs.as_str()) {
            let most = r.max_abs.unwrap_or_default();
            flag("differs", true, format!("The model makes other images, up to {most} grey levels apart"));
        }
        if let Some(why) = r.implausible {
            flag("implausible", true, format!("Implausible time: {why}"));
        }
        let forks = r.size_gates.iter().flat_map(|gates| &gates.0).filter(|gate| gate.means == SizeMeans::Fork);
        let forks: Vec<String> = forks.map(SizeGate::called).collect();
        if let Some(first) = forks.first() {
            let more = if forks.len() > 1 { format!(" and {} more", forks.len() - 1) } else { String::new() };
            flag("size_gate", true, format!("The model goes by the input's size: {first}{more}"));
        }
        if let Some(copies) = copies.get(&r.id) {
            let told: Vec<_> = copies.iter().take(3).map(told).collect();
            let more = copies.len().saturating_sub(3);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            flag("duplicate", true, format!("Like {}{more}", told.join("; ")));
        }
        let place = places.get(&r.id);
        if let Some(field) = &gap
            && let Some(gap) = field.gaps.get(&r.team_id).filter(|gap| gap.flagged && place.is_some())
        {
            flag("gap", true, told_gap(field, gap));
        }
        let missing = missing(&fields, &r.sheet.0);
        if !missing.is_empty() {
            let labels: Vec<_> = missing.iter().map(|field| field.label.as_str()).collect();
            flag("fact_sheet", false, format!("The fact sheet does not say: {}", labels.join(", ")));
        }
        if r.noisy == Some(true) {
            flag("noisy", false, "The machine never got quiet while it was timed".into());
        }
        entries.push(Entry {
            submission: r.id,
            team: r.team,
            team_id: r.team_id,
            submitted_at: r.created_at,
            state: r.state,
            status: r.status,
            verified: r.verified,
            stands: place.is_some(),
            rank: place.and_then(|place| place.as_ref().ok().copied()),
            unranked: place.and_then(|place| place.as_ref().err().cloned()),
            psnr: r.psnr,
            runtime_ms: r.runtime_ms,
            runtime_ratio: r.ratio,
            params: r.params.and_then(|n| u64::try_from(n).ok()),
            flags,
        });
    }
    entries.retain(|entry| filter.lets(entry));
    // Stable: the newest stays first among equals.
    let psnr = |entry: &Entry| if entry.stands { entry.psnr.unwrap_or(0.0) } else { 0.0 };
    entries.sort_by(|a, b| {
        let key = |e: &Entry| (e.rank.unwrap_or(u32::MAX), !e.stands);
        key(a).cmp(&key(b)).then(psnr(b).total_cmp(&psnr(a)))
    });
    Ok(Queue { entries, gap })
}

/// Nodes of an entry's model that decide by the input's size, as its newest official evaluation by the phase's rules found.
pub async fn size_gates(conn: &mut PgConnection, phase: &Phase, id: SubmissionId) -> sqlx::Result<Vec<SizeGate>> {
    let gates = sqlx::query_scalar!(
        r#"select coalesce(c.provenance -> 'size_gates', '[]') as "gates!: Json<Vec<SizeGate>>"
           from evaluation e join score c on c.evaluation_id = e.id
           where e.submission_id = $1 and e.official and e.state = 'scored'
             and e.protocol_id in (select id from protocol where measuring_sha256 = $2)
           order by e.number desc limit 1"#,
        id.0,
        phase.protocol.measuring_sha256
    );
    Ok(gates.fetch_optional(conn).await?.map(|Json(gates)| gates).unwrap_or_default())
}

/// The rank of each standing entry, or why it has none.
fn places(board: &Board) -> HashMap<SubmissionId, Result<u32, String>> {
    let ranked = board.ranked.iter().map(|r| (r.submission, Ok(r.rank)));
    let baseline = board.baseline.iter().filter_map(|b| Some((b.submission?, Err("Baseline".to_owned()))));
    let unranked = board.unranked.iter().map(|r| (r.submission, Err(r.reason.message.clone())));
    ranked.chain(unranked).chain(baseline).collect()
}

/// The fields that a sheet says nothing of.
pub fn missing<'a>(fields: &'a [SheetField], sheet: &FactSheet) -> Vec<&'a SheetField> {
    fields.iter().filter(|field| sheet.get(&field.key).is_none_or(|words| words.trim().is_empty())).collect()
}

fn told(copy: &duplicates::Duplicate) -> String {
    let how: Vec<_> = copy.how.iter().map(|how| how.words()).collect();
    let order = if copy.first { "first" } else { "later" };
    format!("{} ({}, {order})", copy.team, how.join(", "))
}

/// A flagged gap in words.
pub fn told_gap(field: &Field, gap: &gap::Gap) -> String {
    let side = if gap.gap < field.median { "less" } else { "more" };
    format!(
        "{:+.2} dB from {}, the field {:+.2} dB: {:.1} deviations {side}",
        gap.gap,
        field.against,
        field.median,
        gap.deviations.abs()
    )
}
