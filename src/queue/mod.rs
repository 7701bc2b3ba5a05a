//! The queue: submissions in, one accepted result each out. Postgres is the queue; the `evaluation` row is the job.
//!
//! ```text
//!            enqueue            claim               finish
//!  (intake) ────────▶ queued ──────────▶ running ───────────▶ scored
//!                       ▲  │               │ │ │  fail          failed     the team's file, or ours after the last try
//!                       │  └─ cancel ──┐   │ │ └─ cancelled ──▶ cancelled
//!                       └──────────────┼───┴─┘
//!                 hand_back, retry, requeue_lost
//! ```
//!
//! A claim commits at once and gives a lease: a token and a time, by the database's clock. Whoever holds the token may
//! move the row; a worker that lost it finds no row and drops its result. Attempts are counted at the claim, so that a
//! job that kills its worker counts each time. NOTIFY is a hint, the rows are the truth, a sweep mends what was missed.

mod claim;
mod events;
mod finish;
pub mod rerun;
pub mod score;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;

pub use claim::{Beat, Claimed, Lease, Swept, claim, hand_back, heartbeat, requeue_lost};
pub use events::{Event, Feed, Wakeups};
pub use finish::{cancelled, fail, finish, retry};

use crate::{
    db,
    evaluation::{Progress, Step},
    ids::{DatasetId, EvaluationId, PhaseId, SubmissionId},
    problem::Problem,
};

/// How often a job may be claimed before it is given up; a crash counts, a hand-back does not.
pub const MAX_ATTEMPTS: i32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    Queued,
    Running,
    Scored,
    Failed,
    Cancelled,
}

impl State {
    pub fn is_final(self) -> bool {
        matches!(self, State::Scored | State::Failed | State::Cancelled)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Scored => "scored",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }
}

/// Whose a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Fault {
    /// Their file; costs an attempt.
    Team,
    /// Costs nothing.
    Ours,
}

/// One measurement of one submission: waiting, at work, or done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Evaluation {
    pub id: EvaluationId,
    pub submission: SubmissionId,
    /// 1 for the first, 2 for the first re-run …
    pub number: i32,
    /// `aim2020@1`.
    pub protocol: String,
    pub state: State,
    pub attempt: i32,
    pub cancel_requested: bool,
    pub progress: Option<Progress>,
    /// Why it failed.
    pub problems: Vec<Problem>,
    pub fault: Option<Fault>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// When it began to count: when it ended, or when the re-run that it is of was made official.
    #[serde(skip)]
    pub counts_since: Option<DateTime<Utc>>,
}

/// The official evaluations of a submission, newest first: the first one is its state.
pub async fn of_submission(conn: &mut PgConnection, submission: SubmissionId) -> sqlx::Result<Vec<Evaluation>> {
    let rows = sqlx::query!(
        r#"select e.id as "id: EvaluationId", e.number, p.name as protocol, e.state as "state: State", e.attempt,
                  e.cancel_requested, e.step, e.step_done, e.step_total, e.problems as "problems: Json<Vec<Problem>>",
                  e.fault as "fault: Fault", e.created_at, e.started_at, e.finished_at,
                  greatest(e.finished_at, b.decided_at) as counts_since
           from evaluation e join protocol p on p.id = e.protocol_id left join rerun b on b.id = e.rerun_id
           where e.submission_id = $1 and e.official order by e.number desc"#,
        submission.0
    )
    .fetch_all(conn)
    .await?;
    let evaluations = rows.into_iter().map(|r| Evaluation {
        id: r.id,
        submission,
        number: r.number,
        protocol: r.protocol,
        state: r.state,
        attempt: r.attempt,
        cancel_requested: r.cancel_requested,
        progress: progress(r.step.as_deref(), r.step_done, r.step_total),
        problems: r.problems.0,
        fault: r.fault,
        created_at: r.created_at,
        started_at: r.started_at,
        finished_at: r.finished_at,
        counts_since: r.counts_since,
    });
    Ok(evaluations.collect())
}

/// Live progress as the columns hold it.
pub(crate) fn progress(step: Option<&str>, done: i32, total: i32) -> Option<Progress> {
    let step = match step? {
        "scoring" => Step::Scoring,
        "counting" => Step::Counting,
        "reproducing" => Step::Reproducing,
        "timing" => Step::Timing,
        _ => return None,
    };
    Some(Progress { step, done: done.max(0) as u32, total: total.max(0) as u32 })
}

/// The word in the database and on pages.
pub fn step_word(step: Step) -> &'static str {
    match step {
        Step::Scoring => "scoring",
        Step::Counting => "counting",
        Step::Reproducing => "reproducing",
        Step::Timing => "timing",
    }
}

/// Why a submission was not queued again.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    #[error("an evaluation of this submission is queued or running")]
    AlreadyLive,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for EnqueueError {
    fn from(error: sqlx::Error) -> Self {
        match db::broken_constraint(&error) {
            Some("evaluation_one_live" | "evaluation_submission_id_number_key") => EnqueueError::AlreadyLive,
            _ => EnqueueError::Database(error),
        }
    }
}

impl From<EnqueueError> for sqlx::Error {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::Database(error) => error,
            live @ EnqueueError::AlreadyLive => sqlx::Error::Protocol(live.to_string()),
        }
    }
}

/// Queues an official evaluation of a submission by the rules and on the images that are its phase's now: its first,
/// or one after a change of either. What was measured before stays, and stands on the board until the new one is scored. Higher `priority` goes first; entries have 0.
pub async fn enqueue(
    conn: &mut PgConnection,
    submission: SubmissionId,
    priority: i16,
) -> Result<EvaluationId, EnqueueError> {
    let id = EvaluationId::new();
    sqlx::query!(
        "insert into evaluation (id, submission_id, team_id, protocol_id, dataset_id, device_class, device_name, number, priority)
         select $1, s.id, s.team_id, r.id, p.dataset_id, r.rules ->> 'device', r.rules ->> 'device_name',
                (select coalesce(max(number), 0) + 1 from evaluation where submission_id = s.id), $3
         from submission s join phase p on p.id = s.phase_id join protocol r on r.id = p.protocol_id where s.id = $2",
        id.0,
        submission.0,
        priority
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// Entries of a phase that what measures there has not measured: neither by a protocol of this measuring hash (see
/// [`crate::challenge::protocol::Protocol::measuring_sha256`]) nor on these images. Only such as were scored before, or are the
/// baseline's, whose images are made anew each time. Left out is what was sent in for images of other names or sizes: its results
/// cannot be those of the present images, and the failure would be called the team's. `live`: with those that are queued or running.
pub async fn unmeasured(
    conn: &mut PgConnection,
    phase: PhaseId,
    (measuring_sha256, dataset): (&str, DatasetId),
    live: bool,
) -> sqlx::Result<Vec<SubmissionId>> {
    sqlx::query_scalar!(
        r#"select s.id as "id: SubmissionId" from submission s
           left join lateral
               (select dataset_id from evaluation where submission_id = s.id and state = 'scored' and official
                order by number desc limit 1) m on true
           where s.phase_id = $1 and s.withdrawn_at is null
             and (s.own_images or m.dataset_id is not null and not exists (
                 select name, hr_width, hr_height from dataset_image where dataset_id in (m.dataset_id, $3)
                 group by 1, 2, 3 having count(*) < case when m.dataset_id = $3 then 1 else 2 end))
             and not exists (select from evaluation e where e.submission_id = s.id and (not $4 and e.state in ('queued', 'running')
                 or e.state = 'scored' and e.official and e.dataset_id = $3
                    and e.protocol_id in (select id from protocol where measuring_sha256 = $2)))
           order by s.created_at"#,
        phase.0,
        measuring_sha256,
        dataset.0,
        live
    )
    .fetch_all(conn)
    .await
}

/// Queues again every entry that is [`unmeasured`] by the phase's present rules on its present images; what waits is measured by
/// these at once. Behind new entries, and at no cost to the teams. Gives how many wait now because of it. What is running goes on
/// as it began: asked again, this queues it too.
pub async fn measure_again(conn: &mut PgConnection, phase: PhaseId) -> Result<u64, EnqueueError> {
    let retargeted = sqlx::query!(
        "update evaluation e set protocol_id = p.protocol_id, dataset_id = p.dataset_id, device_class = r.rules ->> 'device',
             device_name = r.rules ->> 'device_name'
         from submission s, phase p, protocol r
         where p.id = $1 and s.phase_id = p.id and e.submission_id = s.id and r.id = p.protocol_id and e.state = 'queued' and e.official
           and (e.protocol_id, e.dataset_id) is distinct from (p.protocol_id, p.dataset_id)
           and (s.own_images or not exists (
               select name, hr_width, hr_height from dataset_image where dataset_id in (e.dataset_id, p.dataset_id)
               group by 1, 2, 3 having count(*) < case when e.dataset_id = p.dataset_id then 1 else 2 end))",
        phase.0
    )
    .execute(&mut *conn)
    .await?;
    let now = sqlx::query!(
        r#"select r.measuring_sha256, p.dataset_id as "dataset: DatasetId"
           from phase p join protocol r on r.id = p.protocol_id where p.id = $1"#,
        phase.0
    )
    .fetch_one(&mut *conn)
    .await?;
    let stale = unmeasured(conn, phase, (&now.measuring_sha256, now.dataset), false).await?;
    for id in &stale {
        enqueue(conn, *id, -1).await?;
    }
    Ok(retargeted.rows_affected() + stale.len() as u64)
}

/// Cancels what is queued of a submission's own (a re-run is its organizer's to discard) at once and asks the worker of what is running to stop. Gives the state that results;
/// `Running`: the worker stops within 2 s; `None`: nothing was live.
pub async fn cancel(conn: &mut PgConnection, submission: SubmissionId) -> sqlx::Result<Option<State>> {
    sqlx::query_scalar!(
        r#"update evaluation set cancel_requested = true,
                  state = case when state = 'queued' then 'cancelled' else state end,
                  finished_at = case when state = 'queued' then now() end
           where submission_id = $1 and official and state in ('queued', 'running') returning state as "state: State""#,
        submission.0
    )
    .fetch_optional(conn)
    .await
}

/// How much waits, over all phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Depth {
    pub queued: i64,
    pub running: i64,
    /// Age of the oldest queued one, seconds.
    pub oldest_s: i64,
}

pub async fn depth(conn: &mut PgConnection) -> sqlx::Result<Depth> {
    sqlx::query_as!(
        Depth,
        r#"select count(*) filter (where state = 'queued') as "queued!",
                  count(*) filter (where state = 'running') as "running!",
                  coalesce(extract(epoch from now() - min(created_at) filter (where state = 'queued')), 0)::bigint
                      as "oldest_s!"
           from evaluation where state in ('queued', 'running')"#
    )
    .fetch_one(conn)
    .await
}

/// Where a queued submission stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Position {
    /// 1: next.
    pub position: i64,
    /// How many are queued for the same kind of device.
    pub of: i64,
    /// Seconds until it starts, from how long the last evaluations took; `None`: none has finished yet.
    pub estimate_s: Option<i64>,
}

/// Where a submission stands if no other joins: teams take turns, as in [`claim`]. `None`: it is not queued.
pub async fn position(conn: &mut PgConnection, submission: SubmissionId) -> sqlx::Result<Option<Position>> {
    Ok(places(conn, Some(submission)).await?.into_iter().next().map(|(_, place)| place))
}

/// Where every queued submission stands.
pub async fn positions(conn: &mut PgConnection) -> sqlx::Result<HashMap<SubmissionId, Position>> {
    Ok(places(conn, None).await?.into_iter().collect())
}

async fn places(
    conn: &mut PgConnection,
    submission: Option<SubmissionId>,
) -> sqlx::Result<Vec<(SubmissionId, Position)>> {
    let rows = sqlx::query!(
        r#"with waiting as (
               select submission_id, device_class, device_name, priority, created_at, team_id, official,
                      row_number() over (partition by device_class, device_name, team_id order by priority desc, created_at)
                      + (select count(*) from evaluation r where r.team_id = e.team_id and r.state = 'running') as turn
               from evaluation e where state = 'queued'),
           ordered as (
               select submission_id, official, count(*) over (partition by device_class, device_name) as of,
                      row_number() over (partition by device_class, device_name order by priority desc, turn, created_at) as position
               from waiting),
           pace as (
               select percentile_cont(0.5) within group (order by extract(epoch from finished_at - started_at)) as seconds
               from (select finished_at, started_at from evaluation where state = 'scored'
                     order by finished_at desc limit 20) last),
           crew as (select greatest(count(*), 1) as workers from evaluation where state = 'running')
           select submission_id as "submission!: SubmissionId", position as "position!", of as "of!",
                  (seconds * position / workers)::bigint as estimate_s
           from ordered, pace, crew where ($1::uuid is null or submission_id = $1) and official"#,
        submission.map(|id| id.0)
    )
    .fetch_all(conn)
    .await?;
    let place = |position, of, estimate_s| Position { position, of, estimate_s };
    Ok(rows.into_iter().map(|r| (r.submission, place(r.position, r.of, r.estimate_s))).collect())
}
