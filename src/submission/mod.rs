//! What a team sent in: one upload, its evaluations, and the marks on it.

pub mod carry;
pub mod fact_sheet;
pub mod files;
pub mod fingerprint;
pub mod intake;
pub mod quota;
mod rejection;
pub mod uploads;
pub mod vetting;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;

pub use rejection::{Class, Rejection};

use crate::{
    ids::{AccountId, PhaseId, SubmissionId, TeamId},
    queue::{self, Evaluation, State},
    storage::BlobHash,
};

/// What the team says of its method: text by field name.
pub type FactSheet = BTreeMap<String, String>;

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Submission {
    pub id: SubmissionId,
    pub phase: PhaseId,
    pub challenge_slug: String,
    pub phase_slug: String,
    pub team: TeamId,
    pub team_name: String,
    /// Who uploaded it; `null`: the server made it of the phase's baseline.
    pub account: Option<AccountId>,
    pub results_sha256: BlobHash,
    pub results_bytes: u64,
    pub model_sha256: BlobHash,
    pub model_bytes: u64,
    pub fact_sheet: FactSheet,
    /// Self-reported figures from the zip's `readme.txt`.
    #[schema(value_type = Option<Object>)]
    pub readme: Option<serde_json::Value>,
    pub created_at: DateTime<Utc>,
    /// The entry of another phase that an organizer carried over as this one.
    pub carried_from: Option<SubmissionId>,
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// The team's choice for the board.
    pub chosen: bool,
    pub mark: OrganizerStatus,
    /// Why it was held or disqualified, for its team.
    pub mark_reason: Option<String>,
    /// The same for everybody who sees the board; `None`: not told.
    pub public_reason: Option<String>,
    /// It never ran, and its files are gone.
    pub files_removed_at: Option<DateTime<Utc>>,
    /// Of the newest official evaluation.
    pub state: State,
}

/// An organizer's word on an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum OrganizerStatus {
    None,
    /// Not ranked until reviewed.
    Held,
    Disqualified,
}

struct Row {
    id: SubmissionId,
    phase: PhaseId,
    challenge_slug: String,
    phase_slug: String,
    team: TeamId,
    team_name: String,
    account: Option<AccountId>,
    results_sha256: BlobHash,
    results_bytes: i64,
    model_sha256: BlobHash,
    model_bytes: i64,
    fact_sheet: Json<FactSheet>,
    readme: Option<serde_json::Value>,
    created_at: DateTime<Utc>,
    carried_from: Option<SubmissionId>,
    withdrawn_at: Option<DateTime<Utc>>,
    chosen: bool,
    mark: OrganizerStatus,
    mark_reason: Option<String>,
    public_reason: Option<String>,
    files_removed_at: Option<DateTime<Utc>>,
    state: State,
}

impl From<Row> for Submission {
    fn from(r: Row) -> Self {
        Submission {
            id: r.id,
            phase: r.phase,
            challenge_slug: r.challenge_slug,
            phase_slug: r.phase_slug,
            team: r.team,
            team_name: r.team_name,
            account: r.account,
            results_sha256: r.results_sha256,
            results_bytes: r.results_bytes as u64,
            model_sha256: r.model_sha256,
            model_bytes: r.model_bytes as u64,
            fact_sheet: r.fact_sheet.0,
            readme: r.readme,
            created_at: r.created_at,
            carried_from: r.carried_from,
            withdrawn_at: r.withdrawn_at,
            chosen: r.chosen,
            mark: r.mark,
            mark_reason: r.mark_reason,
            public_reason: r.public_reason,
            files_removed_at: r.files_removed_at,
            state: r.state,
        }
    }
}

/// Newest first, of one submission, a team or a phase.
async fn select(
    conn: &mut PgConnection,
    id: Option<SubmissionId>,
    team: Option<TeamId>,
    phase: Option<PhaseId>,
    before: Option<SubmissionId>,
    limit: i64,
) -> sqlx::Result<Vec<Submission>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select s.id as "id: _", s.phase_id as "phase: _", c.slug as challenge_slug, p.slug as phase_slug,
                  s.team_id as "team: _", t.name as team_name, s.account_id as "account: _",
                  s.results_sha256 as "results_sha256: _", s.results_bytes, s.model_sha256 as "model_sha256: _",
                  s.model_bytes, s.fact_sheet as "fact_sheet: _", s.readme, s.created_at,
                  s.carried_from as "carried_from: _", s.withdrawn_at, s.chosen,
                  s.organizer_status as "mark: _", s.organizer_reason as mark_reason,
                  s.organizer_public_reason as public_reason, s.files_removed_at, e.state as "state: _"
           from submission s
           join phase p on p.id = s.phase_id join challenge c on c.id = p.challenge_id join team t on t.id = s.team_id
           cross join lateral
               (select state from evaluation where submission_id = s.id and official order by number desc limit 1) e
           where ($1::uuid is null or s.id = $1) and ($2::uuid is null or s.team_id = $2)
             and ($3::uuid is null or s.phase_id = $3) and ($4::uuid is null or s.id < $4)
           order by s.id desc limit $5"#,
        id.map(|id| id.0),
        team.map(|id| id.0),
        phase.map(|id| id.0),
        before.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Submission::from).collect())
}

pub async fn get(conn: &mut PgConnection, id: SubmissionId) -> sqlx::Result<Option<Submission>> {
    Ok(select(conn, Some(id), None, None, None, 1).await?.pop())
}

/// The newest `limit` of a team, in one phase or in all.
pub async fn of_team(
    conn: &mut PgConnection,
    team: TeamId,
    phase: Option<PhaseId>,
    limit: i64,
) -> sqlx::Result<Vec<Submission>> {
    select(conn, None, Some(team), phase, None, limit).await
}

/// The newest `limit` of a phase, all teams.
pub async fn of_phase(conn: &mut PgConnection, phase: PhaseId, limit: i64) -> sqlx::Result<Vec<Submission>> {
    select(conn, None, None, Some(phase), None, limit).await
}

/// A page of a phase's submissions, of one team or of all: the newest `limit` that are older than `before`.
pub async fn page(
    conn: &mut PgConnection,
    phase: PhaseId,
    team: Option<TeamId>,
    before: Option<SubmissionId>,
    limit: i64,
) -> sqlx::Result<Vec<Submission>> {
    select(conn, None, team, Some(phase), before, limit).await
}

/// One of a team's entries, with what its newest scored evaluation measured by the phase's present rules.
#[derive(Debug, Clone)]
pub struct Past {
    pub id: SubmissionId,
    pub created_at: DateTime<Utc>,
    pub state: State,
    pub withdrawn: bool,
    pub chosen: bool,
    /// dB.
    pub psnr: Option<f64>,
    /// ms an image.
    pub runtime_ms: Option<f64>,
    /// Over the baseline's.
    pub runtime_ratio: Option<f64>,
}

/// A team's newest `limit` entries of a phase, oldest first. The figures are for who may see them.
pub async fn history(conn: &mut PgConnection, team: TeamId, phase: PhaseId, limit: i64) -> sqlx::Result<Vec<Past>> {
    let mut past = sqlx::query_as!(
        Past,
        r#"select s.id as "id: _", s.created_at, e.state as "state: _", s.withdrawn_at is not null as "withdrawn!",
                  s.chosen, c.psnr as "psnr?", c.runtime_ms as "runtime_ms?", c.ratio as runtime_ratio
           from submission s join phase p on p.id = s.phase_id join protocol r on r.id = p.protocol_id
           cross join lateral
               (select state from evaluation where submission_id = s.id and official order by number desc limit 1) e
           left join lateral
               (select id from evaluation
                where submission_id = s.id and official and state = 'scored'
                  and protocol_id in (select id from protocol where measuring_sha256 = r.measuring_sha256)
                  and dataset_id = p.dataset_id order by number desc limit 1) m on true
           left join score c on c.evaluation_id = m.id
           where s.team_id = $1 and s.phase_id = $2 order by s.id desc limit $3"#,
        team.0,
        phase.0,
        limit
    )
    .fetch_all(conn)
    .await?;
    past.reverse();
    Ok(past)
}

/// Its evaluations, newest first; the first is its state.
pub async fn evaluations(conn: &mut PgConnection, id: SubmissionId) -> sqlx::Result<Vec<Evaluation>> {
    queue::of_submission(conn, id).await
}

/// Entries with the weights of this one (the same file, where it has none), each with its phase: of this team, and of teams in
/// other challenges that a member of it is in; withdrawn ones too, which a board that stands still may show. Nobody hears of
/// others' copies this way.
pub async fn same_model(conn: &mut PgConnection, id: SubmissionId) -> sqlx::Result<Vec<(SubmissionId, PhaseId)>> {
    let rows = sqlx::query!(
        r#"select other.id as "id: SubmissionId", other.phase_id as "phase: PhaseId"
           from submission s
           left join fingerprint f on f.submission_id = s.id
           join submission other on other.model_sha256 = s.model_sha256
                or other.id in (select submission_id from fingerprint where weights_sha256 = f.weights_sha256)
           where s.id = $1 and other.team_id in (
                 select s.team_id union
                 select theirs.team_id from membership ours join membership theirs using (account_id)
                 where ours.team_id = s.team_id)
           order by other.id desc"#,
        id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.phase)).collect())
}

/// An entry that stands on a board, as whoever sees no more than the board may know it: by the public reason, and, where the
/// board stands still since `until`, with the marks of then.
pub async fn seen_by_all(
    conn: &mut PgConnection,
    submission: Submission,
    until: Option<DateTime<Utc>>,
) -> sqlx::Result<Submission> {
    let Some(until) = until else {
        return Ok(Submission { mark_reason: submission.public_reason.clone(), ..submission });
    };
    let then = sqlx::query!(
        r#"select chosen, organizer_status as "mark: OrganizerStatus", organizer_public_reason as reason
           from submission_marks where submission_id = $1 and at <= $2 order by at desc limit 1"#,
        submission.id.0,
        until
    )
    .fetch_optional(conn)
    .await?;
    let (chosen, mark, reason) =
        then.map_or((false, OrganizerStatus::None, None), |then| (then.chosen, then.mark, then.reason));
    Ok(Submission {
        chosen,
        mark,
        mark_reason: reason.clone(),
        public_reason: reason,
        withdrawn_at: submission.withdrawn_at.filter(|&at| at <= until),
        // What stands on a board has a score.
        state: State::Scored,
        ..submission
    })
}

/// Locks an entry until the transaction ends: whoever changes it waits here, and then sees it as it is.
pub async fn lock(conn: &mut PgConnection, id: SubmissionId) -> sqlx::Result<Option<Submission>> {
    sqlx::query!("select id from submission where id = $1 for update", id.0).fetch_optional(&mut *conn).await?;
    get(conn, id).await
}

/// Takes an entry off the board, for good. What it cost of the quota stays spent.
pub async fn withdraw(conn: &mut PgConnection, id: SubmissionId) -> sqlx::Result<()> {
    sqlx::query!(
        "update submission set withdrawn_at = coalesce(withdrawn_at, now()), chosen = false where id = $1",
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes an entry the one that its team chose for the board of its phase, where the protocol lets a team choose. Call it
/// in a transaction.
pub async fn choose(conn: &mut PgConnection, id: SubmissionId) -> sqlx::Result<()> {
    sqlx::query!(
        "update submission set chosen = false
         where chosen and (phase_id, team_id) = (select phase_id, team_id from submission where id = $1)",
        id.0
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("update submission set chosen = true where id = $1 and withdrawn_at is null", id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets an organizer's mark, which no automatic one replaces. The reason is shown to the team, the public one to everybody who
/// sees the board; both are ignored for `None`.
pub async fn mark(
    conn: &mut PgConnection,
    id: SubmissionId,
    status: OrganizerStatus,
    reason: &str,
    public: Option<&str>,
) -> sqlx::Result<()> {
    let marked = status != OrganizerStatus::None;
    sqlx::query!(
        "update submission set organizer_status = $2, organizer_reason = $3, organizer_public_reason = $4,
             organizer_decided = true
         where id = $1",
        id.0,
        status as _,
        marked.then_some(reason),
        public.filter(|_| marked)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets or takes back an organizer's word that an entry is what its team says; `by`: whose, `None` from the shell.
pub async fn set_verified(
    conn: &mut PgConnection,
    id: SubmissionId,
    verified: bool,
    by: Option<AccountId>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update submission set verified_at = case when $2 then now() end, verified_by = case when $2 then $3::uuid end
         where id = $1",
        id.0,
        verified,
        by.map(|id| id.0)
    )
    .execute(conn)
    .await?;
    Ok(())
}
