//! Entries of different teams of a challenge that are the same, or nearly.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{
    evaluation::fingerprint,
    ids::{ChallengeId, PhaseId, SubmissionId},
};

/// dB between the uploaded images of two entries, at and above which they are nearly the same. Two runtimes of one model
/// agree to 78 dB and more; those of a network that was trained anew to about 45 dB.
pub const NEAR: f64 = 60.0;
/// New entries that are compared at one look, and others that each is compared with, the newest.
const AT_ONCE: (i64, i64) = (200, 2000);
/// Pairs that are shown.
const MOST: i64 = 1000;

/// How two entries are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The same bytes.
    Model,
    /// The same learnt weights, whatever their names.
    Weights,
    /// Every pixel of every uploaded image.
    Outputs,
    /// The uploaded images are at least [`NEAR`] dB alike.
    Near,
    /// The same operators: often an honest start from the same published network.
    Graph,
}

impl How {
    fn of(word: &str) -> Option<How> {
        Some(match word {
            "model" => How::Model,
            "weights" => How::Weights,
            "outputs" => How::Outputs,
            "near" => How::Near,
            "graph" => How::Graph,
            _ => return None,
        })
    }

    pub fn words(self) -> &'static str {
        match self {
            How::Model => "same model file",
            How::Weights => "same weights",
            How::Outputs => "same images",
            How::Near => "nearly the same images",
            How::Graph => "same graph",
        }
    }
}

/// Another team's entry that is like this one.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Duplicate {
    pub submission: SubmissionId,
    pub team: String,
    /// Slug.
    pub phase: String,
    pub submitted_at: DateTime<Utc>,
    pub how: Vec<How>,
    /// dB between the uploaded images, where they are near.
    pub psnr: Option<f64>,
    /// It came in before this one.
    pub first: bool,
}

/// Compares the images of entries that came in since somebody looked, with those of the other teams in the phase.
pub async fn compare_new(conn: &mut PgConnection, phase: PhaseId) -> sqlx::Result<()> {
    let new = sqlx::query!(
        r#"select f.submission_id as "id: SubmissionId", f.samples, s.team_id from fingerprint f
           join submission s on s.id = f.submission_id where s.phase_id = $1 and not f.compared
           order by f.submission_id limit $2"#,
        phase.0,
        AT_ONCE.0
    )
    .fetch_all(&mut *conn)
    .await?;
    if new.is_empty() {
        return Ok(());
    }
    let others = sqlx::query!(
        r#"select f.submission_id as "id: SubmissionId", f.samples, s.team_id from fingerprint f
           join submission s on s.id = f.submission_id where s.phase_id = $1 order by f.submission_id desc limit $2"#,
        phase.0,
        AT_ONCE.1
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut pairs: (Vec<_>, Vec<_>, Vec<_>) = Default::default();
    for entry in &new {
        for other in others.iter().filter(|other| other.team_id != entry.team_id) {
            if let Some(psnr) = fingerprint::psnr(&entry.samples, &other.samples).filter(|&psnr| psnr >= NEAR) {
                pairs.0.push(entry.id.min(other.id).0);
                pairs.1.push(entry.id.max(other.id).0);
                pairs.2.push(psnr);
            }
        }
    }
    // Two who look at once write the same.
    sqlx::query!(
        "insert into near_output (first_id, second_id, psnr)
         select * from unnest($1::uuid[], $2::uuid[], $3::float8[]) on conflict do nothing",
        &pairs.0,
        &pairs.1,
        &pairs.2
    )
    .execute(&mut *conn)
    .await?;
    let done: Vec<_> = new.iter().map(|entry| entry.id.0).collect();
    sqlx::query!("update fingerprint set compared = true where submission_id = any($1)", &done).execute(conn).await?;
    Ok(())
}

/// What other teams' entries are like an entry; of `None` those of every entry of the challenge, a same graph left out.
async fn select(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    of: Option<SubmissionId>,
) -> sqlx::Result<Vec<(SubmissionId, Duplicate)>> {
    let rows = sqlx::query!(
        r#"with entry as (
               select s.id, s.team_id, s.model_sha256, p.dataset_id, f.weights_sha256, f.graph_sha256, f.outputs_sha256
               from submission s join phase p on p.id = s.phase_id left join fingerprint f on f.submission_id = s.id
               where p.challenge_id = $1),
           pair as (
               select a.id, b.id as other, 'model' as how, null::float8 as psnr
               from entry a join entry b on b.model_sha256 = a.model_sha256 and b.team_id <> a.team_id
               union all
               select a.id, b.id, 'weights', null
               from entry a join entry b on b.weights_sha256 = a.weights_sha256 and b.team_id <> a.team_id
               union all
               select a.id, b.id, 'outputs', null
               from entry a join entry b on b.outputs_sha256 = a.outputs_sha256 and b.dataset_id = a.dataset_id
                   and b.team_id <> a.team_id
               union all
               select a.id, b.id, 'graph', null
               from entry a join entry b on b.graph_sha256 = a.graph_sha256 and b.team_id <> a.team_id
               where a.id = $2
               union all
               select n.first_id, n.second_id, 'near', n.psnr from near_output n join entry a on a.id = n.first_id
               union all
               select n.second_id, n.first_id, 'near', n.psnr from near_output n join entry a on a.id = n.second_id)
           select pair.id as "id!: SubmissionId", o.id as "other!: SubmissionId", t.name as team, p.slug as phase,
                  o.created_at, array_agg(pair.how) as "how!", max(pair.psnr) as psnr
           from pair join submission o on o.id = pair.other join team t on t.id = o.team_id join phase p on p.id = o.phase_id
           where $2::uuid is null or pair.id = $2
           group by pair.id, o.id, t.name, p.slug, o.created_at order by o.id limit $3"#,
        challenge.0,
        of.map(|id| id.0),
        MOST
    )
    .fetch_all(conn)
    .await?;
    let found = rows.into_iter().map(|r| {
        let mut how: Vec<How> = r.how.iter().filter_map(|word| How::of(word)).collect();
        how.sort_unstable();
        // Said by the graver word already.
        if how.contains(&How::Outputs) {
            how.retain(|how| *how != How::Near);
        }
        let duplicate = Duplicate {
            submission: r.other,
            team: r.team,
            phase: r.phase,
            submitted_at: r.created_at,
            how,
            psnr: r.psnr,
            first: r.other < r.id,
        };
        (r.id, duplicate)
    });
    Ok(found.collect())
}

/// Of one entry, the oldest first.
pub async fn of_submission(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    id: SubmissionId,
) -> sqlx::Result<Vec<Duplicate>> {
    Ok(select(conn, challenge, Some(id)).await?.into_iter().map(|(_, duplicate)| duplicate).collect())
}

/// Of every entry of a challenge that has any; a same graph alone is none.
pub async fn of_challenge(
    conn: &mut PgConnection,
    challenge: ChallengeId,
) -> sqlx::Result<HashMap<SubmissionId, Vec<Duplicate>>> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for (id, duplicate) in select(conn, challenge, None).await? {
        all.entry(id).or_default().push(duplicate);
    }
    Ok(all)
}
