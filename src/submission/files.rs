//! Files that nobody needs: those of entries that were cancelled before they ran. Sending in and cancelling costs no quota, so
//! that it must not fill the disk either.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};

use crate::{
    ids::SubmissionId,
    storage::{BlobHash, Storage},
};

/// How long the files of an entry are kept that was cancelled before it ran.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Entries whose files are removed in one transaction: an upload waits for no more than these.
const AT_ONCE: i64 = 20;

/// Held while a blob becomes a row's and, alone, while blobs that no row names are removed.
const LOCK: i64 = 0x626c_6f62;

/// Until the transaction ends nobody removes blobs: take it before a file is kept that a row is to name.
pub async fn hold(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock_shared($1)", LOCK).fetch_one(conn).await?;
    Ok(())
}

/// Removes the files of entries that were cancelled so long ago and never ran, but for those that something else names.
/// Returns how many entries lost theirs.
pub async fn sweep(pool: &PgPool, storage: &Storage) -> anyhow::Result<usize> {
    let mut all = 0;
    loop {
        let mut tx = pool.begin().await?;
        sqlx::query!("select pg_advisory_xact_lock($1)", LOCK).fetch_one(&mut *tx).await?;
        let removed = sqlx::query!(
            r#"update submission s set files_removed_at = now()
               where id in (
                   select s.id from submission s
                   join evaluation e on e.submission_id = s.id and e.state = 'cancelled' and e.started_at is null
                   where s.files_removed_at is null and e.finished_at < now() - make_interval(secs => $1)
                     and not exists (select from evaluation o where o.submission_id = s.id
                                     and (o.state <> 'cancelled' or o.started_at is not null
                                          or o.finished_at >= now() - make_interval(secs => $1)))
                   limit $2)
               returning id as "id: SubmissionId", results_sha256 as "results: BlobHash", model_sha256 as "model: BlobHash""#,
            KEPT.as_secs_f64(),
            AT_ONCE
        )
        .fetch_all(&mut *tx)
        .await?;
        if removed.is_empty() {
            return Ok(all);
        }
        let hashes: Vec<_> = removed.iter().flat_map(|s| [s.results.to_string(), s.model.to_string()]).collect();
        let free = sqlx::query_scalar!(
            r#"select distinct hash as "hash!: BlobHash" from unnest($1::text[]) as wanted(hash)
               where not exists (select from submission s where s.results_sha256 = hash and s.files_removed_at is null)
                 and not exists (select from submission s where s.model_sha256 = hash and s.files_removed_at is null)
                 and not exists (select from dataset_image i where i.hr_sha256 = hash or i.lr_sha256 = hash)
                 and not exists (select from dataset_sample d where d.sha256 = hash)
                 and not exists (select from phase p where p.baseline_model_sha256 = hash)
                 and not exists (select from phase_rules r where r.baseline_model_sha256 = hash)"#,
            &hashes
        )
        .fetch_all(&mut *tx)
        .await?;
        // While the lock is held, so that an upload of the same bytes stores them anew. After a crash in between the next sweep
        // finds the same entries.
        for hash in free {
            storage.remove_unused(&hash).await?;
        }
        tx.commit().await?;
        all += removed.len();
        tracing::debug!(entries = ?removed.iter().map(|s| s.id).collect::<Vec<_>>(), "removed files of entries that never ran");
    }
}
