//! A phase: when it is open, what is asked for, and the gate.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;

use super::protocol::{Protocol, Rules};
use crate::{
    ids::{ChallengeId, DatasetId, PhaseId, ProtocolId, SubmissionId},
    storage::BlobHash,
};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Phase {
    pub id: PhaseId,
    pub challenge: ChallengeId,
    pub challenge_slug: String,
    pub slug: String,
    pub title: String,
    pub position: i32,
    pub dataset: DatasetId,
    pub protocol: Protocol,
    pub opens_at: Option<DateTime<Utc>>,
    pub closes_at: Option<DateTime<Utc>>,
    /// By the database's clock, when this was read.
    pub state: PhaseState,
    pub limits: QuotaLimits,
    pub visibility: Visibility,
    /// From when on the board stands still; of [`Visibility::Frozen`] only.
    pub frozen_at: Option<DateTime<Utc>>,
    pub published_at: Option<DateTime<Utc>>,
    /// Whether everybody sees every figure. By the database's clock, when this was read.
    pub shows_all: bool,
    /// Boards and what is made of them are as they stood then; `None`: as they are. Where the board stands still now, this is
    /// when it stopped, so that whoever forgets who asks shows too little; see [`Phase::whole`].
    #[serde(skip)]
    pub as_of: Option<DateTime<Utc>>,
    pub gate: GateFigure,
    pub baseline: Baseline,
    /// Moves whenever the board may have changed.
    #[serde(skip)]
    pub board_version: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Hash, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PhaseState {
    /// Not open yet.
    Upcoming,
    Open,
    Closed,
}

/// Who sees figures before an organizer publishes them: then everybody sees all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[sqlx(type_name = "text", rename_all = "kebab-case")]
pub enum Visibility {
    /// Everybody, at once.
    Live,
    /// A team its own.
    Own,
    /// Everybody, at once, until `frozen_at`; from then until the phase ends, the board as it stood then, and a team its own.
    Frozen,
    /// Organizers only until the phase ends, then everybody.
    AfterEnd,
    /// Organizers only.
    Hidden,
}

/// Which board: a phase's, as of a time.
pub type BoardOf = (PhaseId, Option<DateTime<Utc>>);

impl Phase {
    pub fn board(&self) -> BoardOf {
        (self.id, self.as_of)
    }

    pub fn gate_source(&self) -> GateSource {
        let GateFigure { stated, rule, follows } = self.gate;
        GateSource::of(stated, rule, follows.is_some() || self.baseline.model_sha256.is_some(), follows)
    }

    /// With the board as it is, for those who run the challenge.
    pub fn whole(self) -> Phase {
        Phase { as_of: None, ..self }
    }
}

/// How much a team may send in. A completed evaluation costs one of the quota, and a queued or running one does until it
/// ends; a run that failed through the team's file, or was cancelled while running, costs one of the attempts; a rejected
/// upload and a fault of ours cost nothing. Days are UTC days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaLimits {
    pub daily: u32,
    /// Over the whole phase; `None`: no such limit.
    pub total: Option<u32>,
    pub daily_attempts: u32,
}

impl QuotaLimits {
    /// Failed runs a day where none are stated: four times the evaluations, at least 20.
    pub fn attempts_for(daily: u32) -> u32 {
        daily.saturating_mul(4).max(QuotaLimits::default().daily_attempts)
    }
}

/// A total, as each evaluation tells something of the hidden images.
impl Default for QuotaLimits {
    fn default() -> Self {
        QuotaLimits { daily: 5, total: Some(100), daily_attempts: 20 }
    }
}

/// Where the gate's figure comes from: the stated one decides where there is one, else the rule.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct GateFigure {
    /// dB, as 29.00.
    pub stated: Option<f64>,
    /// `null`: the baseline decides where the phase has one, a model or an entry; else every entry is ranked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<GateRule>,
    pub follows: Option<SubmissionId>,
}

/// What is compared with where no figure is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum GateRule {
    /// Nothing: every entry is ranked.
    None,
    /// The baseline's measured PSNR; nobody is ranked before there is one.
    Baseline,
}

/// What entries are compared with, in the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GateSource {
    /// Every entry is ranked.
    None,
    /// dB.
    Stated(f64),
    /// The measured PSNR of this entry, where there is one.
    Baseline(Option<SubmissionId>),
}

impl GateSource {
    /// What a figure (dB) and a rule come to in a phase that has a baseline's model or entry, or neither.
    pub fn of(
        stated: Option<f64>,
        rule: Option<GateRule>,
        has_baseline: bool,
        entry: Option<SubmissionId>,
    ) -> GateSource {
        match (stated, rule) {
            (Some(psnr), _) => GateSource::Stated(psnr),
            (None, Some(GateRule::Baseline)) => GateSource::Baseline(entry),
            (None, None) if has_baseline => GateSource::Baseline(entry),
            (None, _) => GateSource::None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Baseline {
    /// `MSRResNet`.
    pub name: String,
    /// The entry with its figures; never ranked.
    pub submission: Option<SubmissionId>,
    /// Timed interleaved with each entry.
    pub model_sha256: Option<BlobHash>,
    pub model_bytes: Option<u64>,
}

/// What an organizer states of a new phase.
#[derive(Debug, Clone)]
pub struct NewPhase {
    pub challenge: ChallengeId,
    pub slug: String,
    pub title: String,
    pub dataset: DatasetId,
    pub protocol: ProtocolId,
    pub opens_at: Option<DateTime<Utc>>,
    pub closes_at: Option<DateTime<Utc>>,
    pub limits: QuotaLimits,
    pub visibility: Visibility,
    /// With [`Visibility::Frozen`], and only then.
    pub frozen_at: Option<DateTime<Utc>>,
    /// dB.
    pub gate_psnr: Option<f64>,
    /// Only where no figure is stated.
    pub gate_rule: Option<GateRule>,
    pub baseline_name: String,
    pub baseline_model: Option<(BlobHash, u64)>,
}

struct Row {
    id: PhaseId,
    challenge_id: ChallengeId,
    challenge_slug: String,
    slug: String,
    title: String,
    position: i32,
    dataset_id: DatasetId,
    protocol_id: ProtocolId,
    protocol_name: String,
    rules: Json<Rules>,
    measuring_sha256: String,
    opens_at: Option<DateTime<Utc>>,
    closes_at: Option<DateTime<Utc>>,
    upcoming: bool,
    closed: bool,
    daily_quota: i32,
    total_quota: Option<i32>,
    daily_attempts: i32,
    visibility: Visibility,
    frozen_at: Option<DateTime<Utc>>,
    published_at: Option<DateTime<Utc>>,
    shows_all: bool,
    gate_psnr: Option<f64>,
    gate_rule: Option<GateRule>,
    baseline_submission_id: Option<SubmissionId>,
    baseline_name: String,
    baseline_model_sha256: Option<BlobHash>,
    baseline_model_bytes: Option<i64>,
    board_version: i64,
}

impl From<Row> for Phase {
    fn from(r: Row) -> Phase {
        Phase {
            id: r.id,
            challenge: r.challenge_id,
            challenge_slug: r.challenge_slug,
            slug: r.slug,
            title: r.title,
            position: r.position,
            dataset: r.dataset_id,
            protocol: Protocol {
                id: r.protocol_id,
                name: r.protocol_name,
                rules: r.rules.0,
                measuring_sha256: r.measuring_sha256,
            },
            opens_at: r.opens_at,
            closes_at: r.closes_at,
            state: match (r.upcoming, r.closed) {
                (true, _) => PhaseState::Upcoming,
                (_, true) => PhaseState::Closed,
                _ => PhaseState::Open,
            },
            limits: QuotaLimits {
                daily: r.daily_quota as u32,
                total: r.total_quota.map(|n| n as u32),
                daily_attempts: r.daily_attempts as u32,
            },
            visibility: r.visibility,
            frozen_at: r.frozen_at,
            published_at: r.published_at,
            shows_all: r.shows_all,
            as_of: r.frozen_at.filter(|_| !r.shows_all),
            gate: GateFigure { stated: r.gate_psnr, rule: r.gate_rule, follows: r.baseline_submission_id },
            baseline: Baseline {
                name: r.baseline_name,
                submission: r.baseline_submission_id,
                model_sha256: r.baseline_model_sha256,
                model_bytes: r.baseline_model_bytes.map(|n| n as u64),
            },
            board_version: r.board_version,
        }
    }
}

/// The phase with the rules that judged it at a time: images, protocol, gate and baseline. What was before the server kept them
/// is taken to be as the first that is known.
pub async fn as_of(conn: &mut PgConnection, phase: &Phase, at: DateTime<Utc>) -> sqlx::Result<Phase> {
    let row = sqlx::query!(
        r#"select r.dataset_id as "dataset: DatasetId", r.protocol_id as "protocol: ProtocolId", p.name, p.rules as "rules: Json<Rules>",
                  p.measuring_sha256, r.gate_psnr, r.gate_rule as "gate_rule: GateRule",
                  r.baseline_submission_id as "baseline: SubmissionId", r.baseline_name,
                  r.baseline_model_sha256 as "model: BlobHash"
           from phase_rules r join protocol p on p.id = r.protocol_id
           where r.phase_id = $1 order by r.at <= $2 desc, case when r.at <= $2 then r.at end desc, r.at limit 1"#,
        phase.id.0,
        at
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(phase.clone()) };
    let name = row.baseline_name;
    Ok(Phase {
        dataset: row.dataset,
        protocol: Protocol {
            id: row.protocol,
            name: row.name,
            rules: row.rules.0,
            measuring_sha256: row.measuring_sha256,
        },
        gate: GateFigure { stated: row.gate_psnr, rule: row.gate_rule, follows: row.baseline },
        baseline: Baseline { name, submission: row.baseline, model_sha256: row.model, ..phase.baseline.clone() },
        ..phase.clone()
    })
}

/// The phases of a challenge, or one phase, in their order.
async fn select(
    conn: &mut PgConnection,
    challenge: Option<ChallengeId>,
    phase: Option<PhaseId>,
    slugs: Option<(&str, &str)>,
) -> sqlx::Result<Vec<Phase>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select p.id as "id: _", p.challenge_id as "challenge_id: _", c.slug as challenge_slug, p.slug, p.title,
                  p.position, p.dataset_id as "dataset_id: _", p.protocol_id as "protocol_id: _",
                  r.name as protocol_name, r.rules as "rules: _", r.measuring_sha256, p.opens_at, p.closes_at,
                  coalesce(now() < p.opens_at, false) as "upcoming!",
                  coalesce(now() >= p.closes_at, false) as "closed!",
                  p.daily_quota, p.total_quota, p.daily_attempts, p.visibility as "visibility: _", p.frozen_at,
                  p.published_at, phase_shows_all(p) as "shows_all!", p.gate_psnr,
                  p.gate_rule as "gate_rule: _", p.baseline_submission_id as "baseline_submission_id: _", p.baseline_name,
                  p.baseline_model_sha256 as "baseline_model_sha256: _", p.baseline_model_bytes, v.version as board_version
           from phase p join challenge c on c.id = p.challenge_id join protocol r on r.id = p.protocol_id
           join board_version v on v.phase_id = p.id
           where ($1::uuid is null or p.challenge_id = $1) and ($2::uuid is null or p.id = $2)
             and ($3::text is null or (c.slug = $3 and p.slug = $4))
           order by p.position"#,
        challenge.map(|id| id.0),
        phase.map(|id| id.0),
        slugs.map(|s| s.0),
        slugs.map(|s| s.1)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Phase::from).collect())
}

/// Of every challenge, each one's in their order.
pub async fn all(conn: &mut PgConnection) -> sqlx::Result<Vec<Phase>> {
    select(conn, None, None, None).await
}

/// In their order.
pub async fn of_challenge(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<Vec<Phase>> {
    select(conn, Some(challenge), None, None).await
}

pub async fn get(conn: &mut PgConnection, id: PhaseId) -> sqlx::Result<Option<Phase>> {
    Ok(select(conn, None, Some(id), None).await?.pop())
}

pub async fn by_slug(conn: &mut PgConnection, challenge: &str, phase: &str) -> sqlx::Result<Option<Phase>> {
    Ok(select(conn, None, None, Some((challenge, phase))).await?.pop())
}

/// Appends a phase to its challenge. A slug that is taken breaks `phase_challenge_id_slug_key`.
pub async fn insert(conn: &mut PgConnection, new: &NewPhase) -> sqlx::Result<PhaseId> {
    let id = PhaseId::new();
    let NewPhase {
        challenge,
        slug,
        title,
        dataset,
        protocol,
        opens_at,
        closes_at,
        limits,
        visibility,
        frozen_at,
        gate_psnr,
        gate_rule,
        baseline_name,
        baseline_model,
    } = new;
    sqlx::query!(
        "insert into phase (id, challenge_id, slug, title, position, dataset_id, protocol_id, opens_at, closes_at,
             daily_quota, total_quota, daily_attempts, visibility, gate_psnr, baseline_name, baseline_model_sha256,
             baseline_model_bytes, frozen_at, gate_rule)
         values ($1, $2, $3, $4, (select count(*) + 1 from phase where challenge_id = $2), $5, $6, $7, $8, $9, $10, $11,
             $12, $13, $14, $15, $16, $17, $18)",
        id.0,
        challenge.0,
        slug,
        title,
        dataset.0,
        protocol.0,
        *opens_at,
        *closes_at,
        limits.daily as i32,
        limits.total.map(|n| n as i32),
        limits.daily_attempts as i32,
        *visibility as _,
        *gate_psnr,
        baseline_name,
        baseline_model.as_ref().map(|(hash, _)| hash.as_str()),
        baseline_model.as_ref().map(|(_, bytes)| *bytes as i64),
        *frozen_at,
        *gate_rule as _
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// Sets all of a phase that an organizer states, but for its slug. Entries and their scores stay.
pub async fn change(conn: &mut PgConnection, id: PhaseId, new: &NewPhase) -> sqlx::Result<()> {
    let NewPhase {
        challenge: _,
        slug: _,
        title,
        dataset,
        protocol,
        opens_at,
        closes_at,
        limits,
        visibility,
        frozen_at,
        gate_psnr,
        gate_rule,
        baseline_name,
        baseline_model,
    } = new;
    sqlx::query!(
        "update phase set title = $2, dataset_id = $3, protocol_id = $4, opens_at = $5, closes_at = $6, daily_quota = $7,
             total_quota = $8, daily_attempts = $9, visibility = $10, gate_psnr = $11, baseline_name = $12,
             baseline_model_sha256 = $13, baseline_model_bytes = $14, frozen_at = $15, gate_rule = $16
         where id = $1",
        id.0,
        title,
        dataset.0,
        protocol.0,
        *opens_at,
        *closes_at,
        limits.daily as i32,
        limits.total.map(|n| n as i32),
        limits.daily_attempts as i32,
        *visibility as _,
        *gate_psnr,
        baseline_name,
        baseline_model.as_ref().map(|(hash, _)| hash.as_str()),
        baseline_model.as_ref().map(|(_, bytes)| *bytes as i64),
        *frozen_at,
        *gate_rule as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts the phases of a challenge in this order.
pub async fn order(conn: &mut PgConnection, challenge: ChallengeId, slugs: &[String]) -> sqlx::Result<()> {
    sqlx::query!(
        "update phase p set position = w.position
         from unnest($2::text[]) with ordinality as w (slug, position)
         where p.challenge_id = $1 and p.slug = w.slug and p.position <> w.position",
        challenge.0,
        slugs
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a phase that nobody has sent anything in for, with the baseline's entry that was made for it; one with submissions
/// breaks `submission_phase_id_fkey`.
pub async fn remove(conn: &mut PgConnection, id: PhaseId) -> sqlx::Result<()> {
    sqlx::query!("update phase set baseline_submission_id = null where id = $1", id.0).execute(&mut *conn).await?;
    sqlx::query!("delete from phase_rules where phase_id = $1", id.0).execute(&mut *conn).await?;
    sqlx::query!(
        "delete from score where evaluation_id in
             (select e.id from evaluation e join submission s on s.id = e.submission_id where s.phase_id = $1 and s.own_images)",
        id.0
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "delete from evaluation where submission_id in (select id from submission where phase_id = $1 and own_images)",
        id.0
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("delete from submission where phase_id = $1 and own_images", id.0).execute(&mut *conn).await?;
    sqlx::query!("delete from phase where id = $1", id.0).execute(conn).await?;
    Ok(())
}

/// Submissions of teams in a phase, withdrawn ones too.
pub async fn submissions(conn: &mut PgConnection, id: PhaseId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "n!" from submission where phase_id = $1 and not own_images"#, id.0)
        .fetch_one(conn)
        .await
}

/// Shows everybody the figures of a phase that was not live, or hides them again; gives whether that is a change.
pub async fn publish(conn: &mut PgConnection, id: PhaseId, published: bool) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update phase set published_at = case when $2 then now() end
         where id = $1 and (published_at is not null) <> $2",
        id.0,
        published
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a submission the baseline of its phase, under the name that the phase states, or takes it back.
pub async fn set_baseline_entry(conn: &mut PgConnection, submission: SubmissionId, is: bool) -> sqlx::Result<()> {
    sqlx::query!(
        "update phase set baseline_submission_id = case when $2 then $1::uuid end
         where id = (select phase_id from submission where id = $1) and ($2 or baseline_submission_id = $1)",
        submission.0,
        is
    )
    .execute(conn)
    .await?;
    Ok(())
}
