//! The entry of a phase's baseline, made of the model that the phase states: queued like any entry, its images made by the model
//! itself when it is measured. The gate follows it.

use sqlx::PgConnection;

use super::phase::{self, GateSource, Phase};
use crate::{
    ids::{ChallengeId, PhaseId, SubmissionId, TeamId},
    problem::Problem,
    queue::{self, EnqueueError, State},
    storage::BlobHash,
    submission,
};

/// A zip without entries: what the results of such an entry are until the worker makes them.
pub const EMPTY_ZIP: [u8; 22] = *b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// Before the teams' entries: until it is measured nobody is ranked.
const PRIORITY: i16 = 1;

/// Sees to it that the baseline of a phase is measured wherever the board needs its figures, by the phase's present rules and on
/// its present images: makes the entry where there is none, and queues it where these have not measured it. Gives the entry that
/// was queued. What an organizer chose as the baseline is left alone. Call it in the transaction that changes the phase.
pub async fn ensure(conn: &mut PgConnection, phase: PhaseId) -> Result<Option<SubmissionId>, EnqueueError> {
    let Some(phase) = phase::get(conn, phase).await? else { return Ok(None) };
    let Some((model, bytes)) = phase.baseline.model_sha256.clone().zip(phase.baseline.model_bytes) else {
        return Ok(None);
    };
    let gate_needs_it = matches!(phase.gate_source(), GateSource::Baseline(_));
    if !gate_needs_it && !phase.protocol.rules.ranking.compares_with_baseline() {
        return Ok(None);
    }
    let present = match phase.baseline.submission {
        Some(id) => ours(conn, id).await?.map(|of| (id, of)),
        None => None,
    };
    match (phase.baseline.submission, present) {
        // A team's entry, by an organizer's word.
        (Some(_), None) => Ok(None),
        (Some(id), Some((_, of))) if of == model => {
            if was_tried(conn, &phase, id).await? {
                return Ok(None);
            }
            queue::enqueue(conn, id, PRIORITY).await?;
            Ok(Some(id))
        }
        (before, _) => {
            if let Some(before) = before {
                submission::withdraw(conn, before).await?;
            }
            let id = make(conn, &phase, (&model, bytes)).await?;
            queue::enqueue(conn, id, PRIORITY).await?;
            Ok(Some(id))
        }
    }
}

/// The model of an entry that [`ensure`] made; `None`: it is a team's.
async fn ours(conn: &mut PgConnection, id: SubmissionId) -> sqlx::Result<Option<BlobHash>> {
    sqlx::query_scalar!(
        r#"select model_sha256 as "model: BlobHash" from submission where id = $1 and own_images"#,
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// Whether the phase's present rules have measured the entry on its present images, in vain too, or are about to. (What failed
/// there fails again: an organizer may ask for it by measuring again.)
async fn was_tried(conn: &mut PgConnection, phase: &Phase, id: SubmissionId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
               select from evaluation e join protocol p on p.id = e.protocol_id
               where e.submission_id = $1 and (e.state in ('queued', 'running')
                     or e.official and e.dataset_id = $2 and p.measuring_sha256 = $3)) as "was!""#,
        id.0,
        phase.dataset.0,
        phase.protocol.measuring_sha256
    )
    .fetch_one(conn)
    .await
}

async fn make(conn: &mut PgConnection, phase: &Phase, (model, bytes): (&BlobHash, u64)) -> sqlx::Result<SubmissionId> {
    let team = organizers(conn, phase.challenge).await?;
    let (id, empty) = (SubmissionId::new(), BlobHash::of(&EMPTY_ZIP));
    sqlx::query!(
        "insert into submission (id, phase_id, team_id, results_sha256, results_bytes, model_sha256, model_bytes,
             uploaded_model_sha256, fact_sheet, own_images)
         values ($1, $2, $3, $4, $5, $6, $7, $6, jsonb_build_object('method', $8::text), true)",
        id.0,
        phase.id.0,
        team.0,
        empty.as_str(),
        EMPTY_ZIP.len() as i64,
        model.as_str(),
        bytes as i64,
        phase.baseline.name
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("update phase set baseline_submission_id = $2 where id = $1", phase.id.0, id.0).execute(conn).await?;
    Ok(id)
}

/// The team that such entries are in the name of: nobody is in it, and none of its entries is ranked.
async fn organizers(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<TeamId> {
    // Two at once make one.
    sqlx::query!("select pg_advisory_xact_lock(hashtext('organizers ' || $1::text))", challenge.0.to_string())
        .execute(&mut *conn)
        .await?;
    let found = sqlx::query_scalar!(
        r#"select id as "id: TeamId" from team where challenge_id = $1 and of_organizers"#,
        challenge.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(found) = found {
        return Ok(found);
    }
    let id = TeamId::new();
    // A team may be called so already.
    sqlx::query!(
        "insert into team (id, challenge_id, name, of_organizers)
         select $1, $2, name, true
         from (select 0 as n, 'Organizers' as name union all select n, 'Organizers ' || n from generate_series(2, 100) n) free
         where not exists (select from team t where t.challenge_id = $2 and lower(t.name) = lower(free.name))
         order by n limit 1",
        id.0,
        challenge.0
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// How the baseline's measurement stands, for those who run the challenge.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// The gate does not wait for it.
    Known,
    /// There is no entry that the gate could follow, and no model to make one of.
    Missing,
    /// Queued or at work.
    Waiting(SubmissionId),
    /// Its measurement failed, or was cancelled, or other rules or images measured it.
    Unmeasured(SubmissionId, Vec<Problem>),
}

/// Of a phase whose gate is not known yet; [`Standing::Known`] where it is.
pub async fn standing(conn: &mut PgConnection, phase: &Phase) -> sqlx::Result<Standing> {
    let entry = match phase.gate_source() {
        GateSource::None | GateSource::Stated(_) => return Ok(Standing::Known),
        GateSource::Baseline(None) => return Ok(Standing::Missing),
        GateSource::Baseline(Some(entry)) => entry,
    };
    if crate::leaderboard::gate(conn, phase).await? != crate::scoring::GateState::Pending {
        return Ok(Standing::Known);
    }
    let newest = submission::evaluations(conn, entry).await?.into_iter().next();
    Ok(match newest {
        Some(run) if matches!(run.state, State::Queued | State::Running) => Standing::Waiting(entry),
        Some(run) if run.state == State::Failed => Standing::Unmeasured(entry, run.problems),
        _ => Standing::Unmeasured(entry, Vec::new()),
    })
}

impl Standing {
    /// In a sentence, by name; `None`: there is nothing to say.
    pub fn words(&self, baseline: &str) -> Option<String> {
        Some(match self {
            Standing::Known => return None,
            Standing::Missing => format!(
                "Nobody is ranked: the gate follows {baseline}, of which there is neither a model nor an entry. State a figure, \
                 give its model in the settings, or mark an entry as the baseline."
            ),
            Standing::Waiting(_) => {
                format!(
                    "Nobody is ranked until {baseline} is measured: the gate follows it. It waits in the queue, or is at work."
                )
            }
            Standing::Unmeasured(_, problems) if problems.is_empty() => format!(
                "Nobody is ranked: the gate follows {baseline}, which the present rules have not measured on the present images. \
                 Measure again, or state a figure."
            ),
            Standing::Unmeasured(..) => format!(
                "Nobody is ranked: the gate follows {baseline}, and measuring it failed. Give another model in the settings, or \
                 state a figure."
            ),
        })
    }
}
