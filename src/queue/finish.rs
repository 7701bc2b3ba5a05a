//! Ending a job. Each function acts only while the lease is still ours, and gives the state that results; `None`: the
//! lease was lost, and nothing was stored.

use std::time::Duration;

use sqlx::{Acquire, PgConnection, types::Json};

use super::{Lease, State, score};
use crate::{
    evaluation::{Measurement, Verdict},
    ids::{ChallengeId, EvaluationId},
    outbox,
    problem::Problem,
};

/// Stores the result and the final state in one transaction. A job that was to be cancelled meanwhile ends as cancelled,
/// without its result. An entry whose time speaks against itself (beyond what the device can do, another at other sizes) is held for
/// review, unless an organizer has decided about it before. A re-run that is not official holds nothing: its organizer looks at it anyway.
pub async fn finish(conn: &mut PgConnection, lease: Lease, measurement: &Measurement) -> anyhow::Result<Option<State>> {
    let mut tx = conn.begin().await?;
    let state = sqlx::query_scalar!(
        r#"update evaluation set state = case when cancel_requested then 'cancelled' else 'scored' end,
               finished_at = now(), lease_token = null, lease_until = null
           where id = $1 and lease_token = $2 and state = 'running' returning state as "state: State""#,
        lease.evaluation.0,
        lease.token
    )
    .fetch_optional(&mut *tx)
    .await?;
    if state == Some(State::Scored) {
        score::insert(&mut tx, lease.evaluation, measurement).await?;
        if measurement.reproduction.verdict == Verdict::Differs {
            hold_differing(&mut tx, lease.evaluation, measurement.reproduction.max_abs).await?;
        }
        let why: Vec<&str> = measurement.runtime.record.held_for().collect();
        if !why.is_empty() {
            hold_timed(&mut tx, lease.evaluation, &why.join("; ")).await?;
        }
    }
    if state == Some(State::Scored) {
        tell(&mut tx, lease.evaluation, measurement).await?;
    }
    tx.commit().await?;
    Ok(state)
}

/// Tells the challenge's webhook of an official result: with its figures where everybody sees them, else without.
async fn tell(conn: &mut PgConnection, evaluation: EvaluationId, measurement: &Measurement) -> sqlx::Result<()> {
    let row = sqlx::query!(
        r#"select p.challenge_id as "challenge: ChallengeId", p.slug as phase, t.name as team, s.id as submission,
                  r.name as protocol, phase_shows_all(p) as "public!"
           from evaluation e join submission s on s.id = e.submission_id join phase p on p.id = s.phase_id
           join team t on t.id = s.team_id join protocol r on r.id = e.protocol_id where e.id = $1 and e.official"#,
        evaluation.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let Measurement { fidelity, reproduction, cost, runtime, memory: _, provenance: _ } = measurement;
    let figures = row.public.then(|| {
        serde_json::json!({
            "psnr": fidelity.psnr, "ssim": fidelity.ssim, "params": cost.params, "activations": cost.activations,
            "macs": cost.macs, "runtime_ms": runtime.median_ms,
            "runtime_ratio": runtime.baseline.as_ref().map(|baseline| baseline.ratio),
            "reproduction": reproduction.verdict.as_str(),
        })
    });
    let data = serde_json::json!({
        "submission": row.submission, "phase": row.phase, "team": row.team, "protocol": row.protocol,
        "figures": figures,
    });
    outbox::event(conn, row.challenge, "submission.scored", data).await
}

/// Takes an entry off the ranking until an organizer has looked at its time.
async fn hold_timed(conn: &mut PgConnection, evaluation: EvaluationId, why: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update submission set organizer_status = 'held', organizer_reason = $2, organizer_public_reason = $2
         where id = (select submission_id from evaluation where id = $1 and official)
           and not organizer_decided and organizer_status in ('none', 'held')",
        evaluation.0,
        format!("{why} (found by the timing, waiting for an organizer)")
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Holds the submission of an evaluation whose images differ, where the protocol says so. Only after its first result: what an
/// organizer decided since stays.
async fn hold_differing(conn: &mut PgConnection, evaluation: EvaluationId, max_abs: u8) -> sqlx::Result<()> {
    let reason = format!("the uploaded model does not make the uploaded images, up to {max_abs} grey levels apart");
    sqlx::query!(
        "update submission s set organizer_status = 'held', organizer_reason = $2, organizer_public_reason = $2
         from evaluation e join protocol p on p.id = e.protocol_id
         where e.id = $1 and e.official and s.id = e.submission_id and s.organizer_status = 'none'
           and p.rules ->> 'reproduction' = 'held'
           and not exists (select from evaluation other
                           where other.submission_id = s.id and other.id <> e.id and other.state = 'scored' and other.official)",
        evaluation.0,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The team's file is at fault: final, shown to them.
pub async fn fail(conn: &mut PgConnection, lease: Lease, problems: &[Problem]) -> sqlx::Result<Option<State>> {
    sqlx::query_scalar!(
        r#"update evaluation set state = case when cancel_requested then 'cancelled' else 'failed' end,
               fault = case when not cancel_requested then 'team' end,
               problems = case when not cancel_requested then $3 else problems end,
               finished_at = now(), lease_token = null, lease_until = null
           where id = $1 and lease_token = $2 and state = 'running' returning state as "state: State""#,
        lease.evaluation.0,
        lease.token,
        Json(problems) as _
    )
    .fetch_optional(conn)
    .await
}

/// The worker stopped it, as it was asked to.
pub async fn cancelled(conn: &mut PgConnection, lease: Lease) -> sqlx::Result<Option<State>> {
    sqlx::query_scalar!(
        r#"update evaluation set state = 'cancelled', finished_at = now(), lease_token = null, lease_until = null
           where id = $1 and lease_token = $2 and state = 'running' returning state as "state: State""#,
        lease.evaluation.0,
        lease.token
    )
    .fetch_optional(conn)
    .await
}

/// A fault of ours: queued again, not before `pause` has passed; after `max_attempts` claims it fails, at no cost to the
/// team.
pub async fn retry(
    conn: &mut PgConnection,
    lease: Lease,
    pause: Duration,
    max_attempts: i32,
) -> sqlx::Result<Option<State>> {
    let problem = Problem::new(
        "evaluation_error",
        "The evaluation could not be completed, several times. This is our fault and costs nothing.",
    )
    .hint("The organizers can run it again.");
    sqlx::query_scalar!(
        r#"with mine as (
               select id, case when cancel_requested then 'cancelled' when attempt >= $4 then 'failed' else 'queued' end
                          as becomes
               from evaluation where id = $1 and lease_token = $2 and state = 'running' for update)
           update evaluation e set state = becomes, not_before = now() + make_interval(secs => $3),
               lease_token = null, lease_until = null, step = null, step_done = 0, step_total = 0,
               started_at = case when becomes = 'queued' then null else started_at end,
               finished_at = case when becomes <> 'queued' then now() end,
               fault = case when becomes = 'failed' then 'ours' end,
               problems = case when becomes = 'failed' then $5 else problems end
           from mine where e.id = mine.id returning e.state as "state: State""#,
        lease.evaluation.0,
        lease.token,
        pause.as_secs_f64(),
        max_attempts,
        Json([problem]) as _
    )
    .fetch_optional(conn)
    .await
}
