//! Entries carried from one phase to another by an organizer: what stands for each team there is entered here in its name, as a
//! submission of its own that says where it comes from. It costs no quota, and each entry is carried once.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::{Acquire, PgConnection};
use utoipa::ToSchema;

use super::OrganizerStatus;
use crate::{
    audit::{self, Act, Actor},
    challenge::{
        dataset::{self, Dataset},
        phase::Phase,
    },
    ids::SubmissionId,
    leaderboard,
    queue::{self, EnqueueError},
};

#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    #[error("entries are carried from another phase of the challenge")]
    NotAnother,
    #[error(
        "{0} of the phase's {1} images are others than those that the entries were made for: a team has to send in its own results"
    )]
    OtherImages(usize, usize),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Queue(#[from] EnqueueError),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// What was carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Carried {
    /// By team.
    pub carried: Vec<Entry>,
    /// Entries that were carried before, or whose files the team sent in itself.
    pub there: Vec<Entry>,
    /// Teams whose entry is held or disqualified: decide about it first.
    pub left: Vec<String>,
}

/// One team's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Entry {
    pub team: String,
    /// The entry that stands in the earlier phase.
    pub from: SubmissionId,
    /// The same in this one.
    pub submission: SubmissionId,
}

/// Enters in `to` what stands in `from` for each team, ranked or not, and queues it. The results that a team sent in are of the
/// images of `from`, so that those of `to` have to be the same.
pub async fn carry(
    conn: &mut PgConnection,
    actor: &Actor,
    from: &Phase,
    to: &Phase,
    reason: &str,
) -> Result<Carried, CarryError> {
    if from.id == to.id || from.challenge != to.challenge {
        return Err(CarryError::NotAnother);
    }
    let mut tx = conn.begin().await?;
    // Two at once carry nothing twice.
    sqlx::query!("select id from phase where id = $1 for update", to.id.0).fetch_optional(&mut *tx).await?;
    let images = dataset::get(&mut tx, to.dataset).await?;
    let others = others(&dataset::get(&mut tx, from.dataset).await?, &images);
    if others > 0 {
        return Err(CarryError::OtherImages(others, images.images.len()));
    }
    let board = leaderboard::ranking(&mut tx, &from.clone().whole()).await?;
    let ranked = board.ranked.iter().map(|r| (r.team.clone(), r.submission));
    let mut stands: Vec<_> = ranked.chain(board.unranked.iter().map(|r| (r.team.clone(), r.submission))).collect();
    stands.sort();
    let mut carried = Carried { carried: Vec::new(), there: Vec::new(), left: Vec::new() };
    for (team, from) in stands {
        let entry = |submission| Entry { team: team.clone(), from, submission };
        let mark = sqlx::query_scalar!(
            r#"select organizer_status as "mark: OrganizerStatus" from submission where id = $1"#,
            from.0
        )
        .fetch_one(&mut *tx)
        .await?;
        if mark != OrganizerStatus::None {
            carried.left.push(team);
            continue;
        }
        let there = sqlx::query_scalar!(
            r#"select s.id as "id: SubmissionId" from submission s join submission f on f.id = $2
               where s.phase_id = $1
                 and (s.carried_from = f.id
                      or s.team_id = f.team_id and s.withdrawn_at is null and s.results_sha256 = f.results_sha256
                         and s.model_sha256 = f.model_sha256)
               order by s.id limit 1"#,
            to.id.0,
            from.0
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(there) = there {
            carried.there.push(entry(there));
            continue;
        }
        let id = SubmissionId::new();
        sqlx::query!(
            "insert into submission (id, phase_id, team_id, account_id, results_sha256, results_bytes, model_sha256,
                 model_bytes, uploaded_model_sha256, fact_sheet, readme, carried_from)
             select $1, $2, team_id, account_id, results_sha256, results_bytes, model_sha256, model_bytes,
                    uploaded_model_sha256, fact_sheet, readme, id
             from submission where id = $3",
            id.0,
            to.id.0,
            from.0
        )
        .execute(&mut *tx)
        .await?;
        queue::enqueue(&mut tx, id, 0).await?;
        carried.carried.push(entry(id));
    }
    if !carried.carried.is_empty() {
        let ids: Vec<_> = carried.carried.iter().map(|entry| entry.submission).collect();
        let act = Act {
            challenge: Some(to.challenge),
            action: "phase.carry",
            object: &format!("{}/{}", to.challenge_slug, to.slug),
            reason,
            details: serde_json::json!({ "from": from.slug, "submissions": ids }),
        };
        audit::note(&mut tx, actor, act).await?;
    }
    tx.commit().await?;
    Ok(carried)
}

/// Images of `to` that `from` has not, or has with other LR pixels or another HR size.
fn others(from: &Dataset, to: &Dataset) -> usize {
    let known: BTreeMap<_, _> = from.images.iter().map(|i| (&i.name, (&i.lr, i.hr_size))).collect();
    let missing = to.images.iter().filter(|i| known.get(&i.name) != Some(&(&i.lr, i.hr_size))).count();
    // A results zip holds these images and no other.
    missing.max(from.images.len().saturating_sub(to.images.len()))
}
