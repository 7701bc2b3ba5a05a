//! Taking a job, keeping it, and giving it back.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{State, step_word};
use crate::{
    challenge::protocol::DeviceClass,
    evaluation::Progress,
    ids::{EvaluationId, SubmissionId},
};

/// The right to move one running evaluation. The token is the fence: a later claim has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub evaluation: EvaluationId,
    pub token: Uuid,
}

#[derive(Debug, Clone)]
pub struct Claimed {
    pub lease: Lease,
    pub submission: SubmissionId,
    /// From 1.
    pub attempt: i32,
}

/// Takes the next job for `worker`, which measures on a device of this class and name, and leases it for `lease`. Higher priority first; then the team with fewest running,
/// then the one whose last start is longest ago, so that a team's hundred entries do not hold up another's first; then
/// the oldest.
pub async fn claim(
    conn: &mut PgConnection,
    worker: &str,
    (class, device_name): (DeviceClass, &str),
    lease: Duration,
) -> sqlx::Result<Option<Claimed>> {
    // Another worker may take and commit the row between this statement's snapshot and its lock: then it finds nothing
    // although more is queued. Each such miss means that somebody else got a job, so this ends.
    loop {
        let row = sqlx::query!(
            r#"with next as (
                   select e.id from evaluation e
                   cross join lateral
                       (select count(*) as n from evaluation r where r.team_id = e.team_id and r.state = 'running') busy
                   left join lateral
                       (select started_at from evaluation r where r.team_id = e.team_id and started_at is not null
                        order by started_at desc limit 1) last on true
                   where e.state = 'queued' and e.device_class = $2 and coalesce(e.device_name, $4) = $4
                       and e.not_before <= now()
                   order by e.priority desc, busy.n, last.started_at nulls first, e.created_at, e.id
                   limit 1 for update of e skip locked)
               update evaluation e set state = 'running', attempt = attempt + 1, lease_token = gen_random_uuid(),
                   lease_until = now() + make_interval(secs => $3), worker = $1, started_at = now(),
                   step = null, step_done = 0, step_total = 0
               from next where e.id = next.id
               returning e.id as "id: EvaluationId", e.submission_id as "submission: SubmissionId", e.attempt,
                   e.lease_token as "token!""#,
            worker,
            class as _,
            lease.as_secs_f64(),
            device_name
        )
        .fetch_optional(&mut *conn)
        .await?;
        if let Some(r) = row {
            let lease = Lease { evaluation: r.id, token: r.token };
            return Ok(Some(Claimed { lease, submission: r.submission, attempt: r.attempt }));
        }
        let more = sqlx::query_scalar!(
            r#"select exists (select from evaluation e
                   where e.state = 'queued' and e.device_class = $1 and coalesce(e.device_name, $2) = $2
                       and e.not_before <= now()
                   for update skip locked) as "more!""#,
            class as _,
            device_name
        )
        .fetch_one(&mut *conn)
        .await?;
        if !more {
            return Ok(None);
        }
    }
}

/// What a heartbeat learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    GoOn,
    /// Stop and call [`super::cancelled`].
    Cancel,
    /// Somebody else has the job: stop and drop the result.
    Lost,
}

/// Extends a lease and stores how far the job is.
pub async fn heartbeat(
    conn: &mut PgConnection,
    lease: Lease,
    extend: Duration,
    progress: Option<Progress>,
) -> sqlx::Result<Beat> {
    let cancel = sqlx::query_scalar!(
        "update evaluation set lease_until = now() + make_interval(secs => $3),
             step = coalesce($4, step), step_done = coalesce($5, step_done), step_total = coalesce($6, step_total)
         where id = $1 and lease_token = $2 and state = 'running' returning cancel_requested",
        lease.evaluation.0,
        lease.token,
        extend.as_secs_f64(),
        progress.map(|p| step_word(p.step)),
        progress.map(|p| p.done as i32),
        progress.map(|p| p.total as i32)
    )
    .fetch_optional(conn)
    .await?;
    Ok(match cancel {
        None => Beat::Lost,
        Some(true) => Beat::Cancel,
        Some(false) => Beat::GoOn,
    })
}

/// Gives a job back unharmed, as a worker does that is told to stop; the attempt is not counted. Gives the state that
/// results; `None`: the lease was lost already.
pub async fn hand_back(conn: &mut PgConnection, lease: Lease) -> sqlx::Result<Option<State>> {
    sqlx::query_scalar!(
        r#"update evaluation set state = case when cancel_requested then 'cancelled' else 'queued' end,
             finished_at = case when cancel_requested then now() end,
             attempt = attempt - 1, lease_token = null, lease_until = null,
             started_at = case when cancel_requested then started_at end, step = null, step_done = 0, step_total = 0
         where id = $1 and lease_token = $2 and state = 'running' returning state as "state: State""#,
        lease.evaluation.0,
        lease.token
    )
    .fetch_optional(conn)
    .await
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub requeued: u64,
    /// Given up after the last attempt: an organizer should look.
    pub failed: u64,
    pub cancelled: u64,
}

/// Puts jobs whose lease ran out back in the queue; anyone may call it at any time. After `max_attempts` claims a job
/// fails as `worker_crashed`, a fault of ours.
pub async fn requeue_lost(conn: &mut PgConnection, max_attempts: i32) -> sqlx::Result<Swept> {
    let states = sqlx::query_scalar!(
        r#"with lost as (
               select id, case when cancel_requested then 'cancelled' when attempt >= $1 then 'failed' else 'queued' end
                          as becomes
               from evaluation where state = 'running' and lease_until < now() for update skip locked)
           update evaluation e set state = becomes, lease_token = null, lease_until = null,
               started_at = case when becomes = 'queued' then null else started_at end,
               step = null, step_done = 0, step_total = 0,
               finished_at = case when becomes <> 'queued' then now() end,
               fault = case when becomes = 'failed' then 'ours' end,
               problems = case when becomes = 'failed' then jsonb_build_array(jsonb_build_object(
                   'code', 'worker_crashed',
                   'message', 'The evaluation stopped ' || attempt || ' times without a result. This is our fault and costs nothing.',
                   'where', null, 'hint', 'The organizers can run it again.')) else problems end
           from lost where e.id = lost.id returning becomes as "becomes!""#,
        max_attempts
    )
    .fetch_all(conn)
    .await?;
    let count = |state: &str| states.iter().filter(|s| *s == state).count() as u64;
    Ok(Swept { requeued: count("queued"), failed: count("failed"), cancelled: count("cancelled") })
}
