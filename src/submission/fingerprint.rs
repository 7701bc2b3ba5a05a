//! Fingerprints of entries as rows: stored by the intake, which has every pixel before it anyway, or made when an organizer
//! first looks at an entry that is older than they are.

use sqlx::{PgConnection, PgPool};

use super::vetting;
use crate::{
    challenge::dataset,
    evaluation::{
        fingerprint::{Fingerprint, Outputs, VERSION},
        model,
        results::{Depth, ResultsZip},
    },
    ids::{DatasetId, PhaseId, SubmissionId},
    storage::{BlobHash, Storage},
};

/// Stores one, in the place of an older version.
pub async fn store(conn: &mut PgConnection, id: SubmissionId, print: &Fingerprint) -> sqlx::Result<()> {
    let Fingerprint { weights_sha256, graph_sha256, outputs_sha256, samples } = print;
    sqlx::query!(
        "insert into fingerprint (submission_id, version, weights_sha256, graph_sha256, outputs_sha256, samples)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (submission_id) do update set version = excluded.version, weights_sha256 = excluded.weights_sha256,
             graph_sha256 = excluded.graph_sha256, outputs_sha256 = excluded.outputs_sha256, samples = excluded.samples,
             compared = false",
        id.0,
        VERSION,
        weights_sha256.as_deref(),
        graph_sha256,
        outputs_sha256,
        samples
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes the fingerprints that are missing in a phase, the newest entries' first, `limit` at most. Gives how many it made.
/// One whose files cannot be read any more is left out.
pub async fn backfill(pool: &PgPool, storage: &Storage, phase: PhaseId, limit: i64) -> anyhow::Result<usize> {
    let missing = sqlx::query!(
        r#"select s.id as "id: SubmissionId", s.model_sha256 as "model: BlobHash", s.results_sha256 as "results: BlobHash",
                  p.dataset_id as "dataset: DatasetId"
           from submission s join phase p on p.id = s.phase_id
           left join fingerprint f on f.submission_id = s.id and f.version = $2
           where s.phase_id = $1 and f.submission_id is null order by s.id desc limit $3"#,
        phase.0,
        VERSION,
        limit
    )
    .fetch_all(pool)
    .await?;
    let mut made = 0;
    for entry in missing {
        let dataset = dataset::get(&mut *pool.acquire().await?, entry.dataset).await?;
        let (model, results) = (storage.path(&entry.model), storage.path(&entry.results));
        let bytes = tokio::fs::metadata(&model).await.map_or(0, |file| file.len());
        let share = vetting::share(vetting::of_entry(bytes, &dataset)).await?;
        let print = tokio::task::spawn_blocking(move || -> anyhow::Result<Option<Fingerprint>> {
            let expected = dataset.expected();
            let outputs = Outputs::new(expected.len());
            let see = |at: usize, image: &_| outputs.see(at, image);
            let seen = ResultsZip::vet_seeing(&results, &expected, dataset.scale, Depth::Pixels, &see)?;
            let loaded = model::load_entry(&model, false);
            Ok(seen.ok().zip(loaded.ok()).and_then(|(_, model)| Fingerprint::new(&model, outputs)))
        });
        let print = print.await?;
        drop(share);
        match print {
            Ok(Some(print)) => {
                store(&mut *pool.acquire().await?, entry.id, &print).await?;
                made += 1;
            }
            Ok(None) => {
                tracing::debug!(submission = %entry.id, "no fingerprint: the files do not pass today's vetting")
            }
            Err(error) => tracing::debug!(submission = %entry.id, %error, "no fingerprint: the files cannot be read"),
        }
    }
    Ok(made)
}
