//! Results that the worker made by an entry's own model, kept as if they had been uploaded.

use std::path::PathBuf;

use anyhow::Context;
use sqlx::PgPool;

use crate::{ids::SubmissionId, storage::Storage};

/// Stores a results zip as that of the entry, and gives where it lies.
pub(super) async fn keep(
    pool: &PgPool,
    storage: &Storage,
    entry: SubmissionId,
    made: PathBuf,
) -> anyhow::Result<PathBuf> {
    let copy = move |file: &mut std::fs::File| std::io::copy(&mut std::fs::File::open(&made)?, file).map(drop);
    let staged = storage.stage_with(copy).await.context("keeping the results of a model")?;
    let bytes = std::fs::metadata(staged.path())?.len();
    let hash = storage.keep(staged).await?;
    sqlx::query!(
        "update submission set results_sha256 = $2, results_bytes = $3 where id = $1 and own_images",
        entry.0,
        hash.as_str(),
        i64::try_from(bytes)?
    )
    .execute(pool)
    .await?;
    Ok(storage.path(&hash))
}
