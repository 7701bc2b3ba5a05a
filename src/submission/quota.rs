//! What a team has used of its quota in a phase. The rule stands at [`QuotaLimits`].

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::Rejection;
use crate::{
    challenge::phase::QuotaLimits,
    ids::{PhaseId, TeamId},
};

/// Which limit is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Evaluations this UTC day.
    Daily,
    /// Evaluations in the whole phase.
    Total,
    /// Failed and cancelled runs this UTC day.
    Attempts,
    /// Accepted uploads this UTC day, whatever became of them but for faults of ours.
    Uploads,
    /// Entries that wait or run, of whatever day.
    Unfinished,
}

/// Entries of a team that wait or run in a phase at once, at most, also where its quota is larger.
const UNFINISHED: u32 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Quota {
    pub limits: QuotaLimits,
    /// Completed, queued and running, today.
    pub daily_used: u32,
    /// The same over the whole phase.
    pub total_used: u32,
    /// Of `daily_used`, those that have not ended: they may yet cost nothing.
    pub provisional: u32,
    /// Runs of today that failed through the team's file or were cancelled while running.
    pub attempts_used: u32,
    /// Uploads that were accepted today, those that were cancelled before they ran too; at most the evaluations and the attempts
    /// of a day together.
    pub uploads_used: u32,
    /// Entries that wait or run, of any day; at most the evaluations of a day, and 50.
    pub unfinished: u32,
    /// The next UTC midnight.
    pub resets_at: DateTime<Utc>,
}

/// What is used now, by the database's clock.
pub async fn usage(conn: &mut PgConnection, phase: PhaseId, team: TeamId, limits: QuotaLimits) -> sqlx::Result<Quota> {
    usage_at(conn, phase, team, limits, None).await
}

/// What is used of the day of `at`: an upload costs the day on which it arrived, also where it is vetted until the next. `None`:
/// of now. Exact only while the caller holds a lock on the team's row.
pub async fn usage_at(
    conn: &mut PgConnection,
    phase: PhaseId,
    team: TeamId,
    limits: QuotaLimits,
    at: Option<DateTime<Utc>>,
) -> sqlx::Result<Quota> {
    let row = sqlx::query!(
        r#"with today as (select date_trunc('day', coalesce($3, now()) at time zone 'utc') at time zone 'utc' as begins),
           entry as (
               select s.created_at >= today.begins and s.created_at < today.begins + interval '1 day' as today,
                      bool_or(e.fault = 'ours') as ours,
                      bool_or(e.state in ('queued', 'running')) as live,
                      bool_or(e.state = 'scored') as scored,
                      bool_or(e.fault = 'team' or (e.state = 'cancelled' and e.started_at is not null)) as failed
               from submission s cross join today join evaluation e on e.submission_id = s.id and e.official
               where s.phase_id = $1 and s.team_id = $2 and s.carried_from is null
               group by s.id, today.begins)
           select count(*) filter (where scored or live) as "total!",
                  count(*) filter (where (scored or live) and today) as "daily!",
                  count(*) filter (where live and not scored and today) as "provisional!",
                  count(*) filter (where failed and not scored and not live and today) as "attempts!",
                  count(*) filter (where today and (scored or live or failed or ours is distinct from true)) as "uploads!",
                  count(*) filter (where live) as "unfinished!",
                  (select begins + interval '1 day' from today) as "resets_at!"
           from entry"#,
        phase.0,
        team.0,
        at
    )
    .fetch_one(conn)
    .await?;
    Ok(Quota {
        limits,
        daily_used: row.daily as u32,
        total_used: row.total as u32,
        provisional: row.provisional as u32,
        attempts_used: row.attempts as u32,
        uploads_used: row.uploads as u32,
        unfinished: row.unfinished as u32,
        resets_at: row.resets_at,
    })
}

impl Quota {
    /// Whether one more may be accepted.
    pub fn check(&self) -> Result<(), Rejection> {
        let used = |bound, used, limit, resets_at| Err(Rejection::QuotaUsed { bound, used, limit, resets_at });
        let QuotaLimits { daily, total, daily_attempts } = self.limits;
        if let Some(total) = total
            && self.total_used >= total
        {
            return used(Bound::Total, self.total_used, total, None);
        }
        if self.daily_used >= daily {
            return used(Bound::Daily, self.daily_used, daily, Some(self.resets_at));
        }
        // Whatever has not ended may yet fail: counted in, the cap cannot be passed by many at once.
        if self.attempts_used + self.provisional >= daily_attempts {
            return used(Bound::Attempts, self.attempts_used, daily_attempts, Some(self.resets_at));
        }
        // Cancelling before it runs gives the quota back; without a cap of its own it would be a way to fill disk and queue.
        let uploads = daily.saturating_add(daily_attempts);
        if self.uploads_used >= uploads {
            return used(Bound::Uploads, self.uploads_used, uploads, Some(self.resets_at));
        }
        let unfinished = daily.min(UNFINISHED);
        if self.unfinished >= unfinished {
            return used(Bound::Unfinished, self.unfinished, unfinished, None);
        }
        Ok(())
    }
}
