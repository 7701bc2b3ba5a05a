//! Measuring entries again: a batch of evaluations that count for nothing until an organizer makes them official. Whatever
//! becomes of a batch, what was measured before stays stored; a failed re-run leaves the old score standing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;

use super::State;
use crate::{
    audit::{self, Act, Actor},
    ids::{AccountId, ChallengeId, EvaluationId, PhaseId, RerunId, SubmissionId},
};

/// Below the entries' 0: a team that has just submitted does not wait for what was measured before.
const PRIORITY: i16 = -1;
/// Characters of a reason.
pub const MAX_REASON: usize = 2000;

/// What is to be measured again.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// Every entry of the phase that has a score and is not withdrawn, the baseline's too.
    All,
    /// These, also such that failed; withdrawn ones are left out.
    These(&'a [SubmissionId]),
}

#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    #[error(
        "there is nothing to measure again: every entry waits, runs, is withdrawn or is in a batch that is not decided"
    )]
    Nothing,
    #[error("{0} evaluations of this batch have not ended")]
    StillRunning(i64),
    #[error("this batch was decided before: {}", .0.as_str())]
    Decided(Decision),
    #[error("no evaluation of this batch was scored")]
    NothingScored,
    #[error("there is no such batch")]
    NotFound,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl RerunError {
    /// Stable word for the situation; `None`: a fault of ours.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            RerunError::Nothing => Some("nothing_to_rerun"),
            RerunError::StillRunning(_) => Some("rerun_running"),
            RerunError::Decided(_) => Some("rerun_decided"),
            RerunError::NothingScored => Some("rerun_not_scored"),
            RerunError::NotFound => Some("rerun_not_found"),
            RerunError::Database(_) => None,
        }
    }
}

/// What an organizer said of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Decision {
    Official,
    Discarded,
}

impl Decision {
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Official => "official",
            Decision::Discarded => "discarded",
        }
    }
}

/// A batch.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Rerun {
    pub id: RerunId,
    pub phase: PhaseId,
    /// The account's name at the time, or `shell`.
    pub asked_by: String,
    pub reason: String,
    pub created_at: DateTime<Utc>,
    /// `null`: waits for one.
    pub decision: Option<Decision>,
    pub decision_reason: Option<String>,
    pub decided_by: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    /// Evaluations in all, not ended yet, scored.
    pub total: i64,
    pub live: i64,
    pub scored: i64,
}

/// Queues entries of a phase again, by the rules that are the phase's now. Those that wait or run, and those that are in a
/// batch that is not decided, are left out. Call it in a transaction.
pub async fn start(
    conn: &mut PgConnection,
    (challenge, phase): (ChallengeId, PhaseId),
    which: Which<'_>,
    actor: &Actor,
    reason: &str,
) -> Result<(RerunId, Vec<SubmissionId>), RerunError> {
    let id = RerunId::new();
    let (account, name) = who(actor);
    sqlx::query!(
        "insert into rerun (id, phase_id, asked_by, asked_by_name, reason) values ($1, $2, $3, $4, $5)",
        id.0,
        phase.0,
        account.map(|id| id.0),
        name,
        reason
    )
    .execute(&mut *conn)
    .await?;
    let these: Option<Vec<_>> = match which {
        Which::All => None,
        Which::These(ids) => Some(ids.iter().map(|id| id.0).collect()),
    };
    // A row that another request queues at this moment is left out by the unique index.
    let queued = sqlx::query_scalar!(
        r#"insert into evaluation (id, submission_id, team_id, protocol_id, dataset_id, device_class, device_name, number, priority, official,
                                  rerun_id)
           select gen_random_uuid(), s.id, s.team_id, r.id, p.dataset_id, r.rules ->> 'device', r.rules ->> 'device_name',
                  (select coalesce(max(number), 0) + 1 from evaluation where submission_id = s.id), $4, false, $2
           from submission s join phase p on p.id = s.phase_id join protocol r on r.id = p.protocol_id
           where s.phase_id = $1 and s.withdrawn_at is null and s.files_removed_at is null
             and (s.id = any($3) or $3 is null and exists (
                     select from evaluation e where e.submission_id = s.id and e.official and e.state = 'scored'))
             and not exists (select from evaluation e left join rerun b on b.id = e.rerun_id
                             where e.submission_id = s.id
                               and (e.state in ('queued', 'running') or e.rerun_id is not null and b.decision is null))
           order by s.id
           on conflict do nothing returning submission_id as "id: SubmissionId""#,
        phase.0,
        id.0,
        these.as_deref(),
        PRIORITY
    )
    .fetch_all(&mut *conn)
    .await?;
    if queued.is_empty() {
        return Err(RerunError::Nothing);
    }
    let act = Act {
        challenge: Some(challenge),
        action: "rerun.start",
        object: &id.to_string(),
        reason,
        details: serde_json::json!({ "submissions": queued }),
    };
    audit::note(conn, actor, act).await?;
    Ok((id, queued))
}

/// Makes a batch count, or sets it aside for good; what of it still waits or runs is cancelled then. Said twice it is done
/// once. Gives whether anything changed. Call it in a transaction.
pub async fn decide(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    id: RerunId,
    decision: Decision,
    actor: &Actor,
    reason: &str,
) -> Result<bool, RerunError> {
    let before =
        sqlx::query_scalar!(r#"select decision as "decision: Decision" from rerun where id = $1 for update"#, id.0)
            .fetch_optional(&mut *conn)
            .await?;
    match before {
        None => return Err(RerunError::NotFound),
        Some(Some(before)) if before == decision => return Ok(false),
        Some(Some(before)) => return Err(RerunError::Decided(before)),
        Some(None) => {}
    }
    let changed = match decision {
        Decision::Official => {
            let live = sqlx::query_scalar!(
                r#"select count(*) as "n!" from evaluation where rerun_id = $1 and state in ('queued', 'running')"#,
                id.0
            )
            .fetch_one(&mut *conn)
            .await?;
            if live > 0 {
                return Err(RerunError::StillRunning(live));
            }
            let made =
                sqlx::query!("update evaluation set official = true where rerun_id = $1 and state = 'scored'", id.0)
                    .execute(&mut *conn)
                    .await?
                    .rows_affected();
            if made == 0 {
                return Err(RerunError::NothingScored);
            }
            made
        }
        Decision::Discarded => sqlx::query!(
            "update evaluation set cancel_requested = true,
                 state = case when state = 'queued' then 'cancelled' else state end,
                 finished_at = case when state = 'queued' then now() end
             where rerun_id = $1 and state in ('queued', 'running')",
            id.0
        )
        .execute(&mut *conn)
        .await?
        .rows_affected(),
    };
    let (_, name) = who(actor);
    sqlx::query!(
        "update rerun set decision = $2, decision_reason = $3, decided_by_name = $4, decided_at = now() where id = $1",
        id.0,
        decision as _,
        reason,
        name
    )
    .execute(&mut *conn)
    .await?;
    let (action, field) = match decision {
        Decision::Official => ("rerun.make_official", "evaluations"),
        Decision::Discarded => ("rerun.discard", "cancelled"),
    };
    let details = serde_json::json!({ field: changed });
    audit::note(conn, actor, Act { challenge: Some(challenge), action, object: &id.to_string(), reason, details })
        .await?;
    Ok(true)
}

fn who(actor: &Actor) -> (Option<AccountId>, &str) {
    match actor {
        Actor::Account { id, name } => (Some(*id), name),
        Actor::Shell => (None, "shell"),
    }
}

/// The newest `limit` batches of a phase; of `id` alone where it is given.
async fn select(conn: &mut PgConnection, phase: PhaseId, id: Option<RerunId>, limit: i64) -> sqlx::Result<Vec<Rerun>> {
    sqlx::query_as!(
        Rerun,
        r#"select r.id as "id: _", r.phase_id as "phase: _", r.asked_by_name as asked_by, r.reason, r.created_at,
                  r.decision as "decision: _", r.decision_reason, r.decided_by_name as decided_by, r.decided_at,
                  n.total as "total!", n.live as "live!", n.scored as "scored!"
           from rerun r
           cross join lateral
               (select count(*) as total, count(*) filter (where state in ('queued', 'running')) as live,
                       count(*) filter (where state = 'scored') as scored
                from evaluation where rerun_id = r.id) n
           where r.phase_id = $1 and ($2::uuid is null or r.id = $2) order by r.id desc limit $3"#,
        phase.0,
        id.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await
}

pub async fn get(conn: &mut PgConnection, phase: PhaseId, id: RerunId) -> sqlx::Result<Option<Rerun>> {
    Ok(select(conn, phase, Some(id), 1).await?.pop())
}

/// Newest first.
pub async fn of_phase(conn: &mut PgConnection, phase: PhaseId, limit: i64) -> sqlx::Result<Vec<Rerun>> {
    select(conn, phase, None, limit).await
}

/// What a batch that became official did to an entry's rank; `null` where the entry had none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    pub submission: SubmissionId,
    pub team: String,
    pub before: Option<u32>,
    pub after: Option<u32>,
}

/// Keeps what a batch did to the ranks of the entries that stand.
pub async fn keep_ranks(conn: &mut PgConnection, id: RerunId, ranks: &[Moved]) -> sqlx::Result<()> {
    sqlx::query!("update rerun set ranks = $2 where id = $1", id.0, Json(ranks) as _).execute(conn).await?;
    Ok(())
}

/// `None`: the batch is not official, or became so before this was kept.
pub async fn kept_ranks(conn: &mut PgConnection, id: RerunId) -> sqlx::Result<Option<Vec<Moved>>> {
    let ranks = sqlx::query_scalar!(r#"select ranks as "ranks: Json<Vec<Moved>>" from rerun where id = $1"#, id.0)
        .fetch_one(conn)
        .await?;
    Ok(ranks.map(|ranks| ranks.0))
}

/// One entry of a batch: its new evaluation beside the official one of before.
#[derive(Debug, Clone)]
pub struct Pair {
    pub submission: SubmissionId,
    pub team: String,
    pub new: EvaluationId,
    pub state: State,
    /// The newest official scored evaluation that came before; `None`: it had no score.
    pub old: Option<EvaluationId>,
}

/// By team.
pub async fn pairs(conn: &mut PgConnection, id: RerunId) -> sqlx::Result<Vec<Pair>> {
    sqlx::query_as!(
        Pair,
        r#"select e.submission_id as "submission: _", t.name as team, e.id as "new: _", e.state as "state: _",
                  o.id as "old?: _"
           from evaluation e join team t on t.id = e.team_id
           left join lateral
               (select id from evaluation where submission_id = e.submission_id and official and state = 'scored'
                  and number < e.number order by number desc limit 1) o on true
           where e.rerun_id = $1 order by t.name, e.submission_id"#,
        id.0
    )
    .fetch_all(conn)
    .await
}

/// Makes the scored evaluations of a batch count, to see what would follow: the caller rolls back.
pub async fn suppose(conn: &mut PgConnection, id: RerunId) -> sqlx::Result<()> {
    sqlx::query!("update evaluation set official = true where rerun_id = $1 and state = 'scored'", id.0)
        .execute(conn)
        .await?;
    Ok(())
}
