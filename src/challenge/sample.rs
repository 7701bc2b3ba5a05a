//! The sample submission of a dataset: its LR images enlarged by bicubic interpolation, under the names that a results zip has,
//! and a `readme.txt` to fill in. Made once a dataset, as a hundred images take a minute, and kept as a blob.

use std::{
    io::{self, BufWriter, Write},
    sync::Arc,
};

use anyhow::Context;
use sqlx::{PgConnection, PgPool};
use tokio::sync::Mutex;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::dataset::{self, Dataset};
use crate::{
    evaluation::{
        images::{decode_png, encode_png},
        resize,
        results::README_TEMPLATE,
    },
    ids::DatasetId,
    storage::{BlobHash, Storage},
};

/// Makes one sample at a time: measurements go on beside it.
#[derive(Debug, Clone, Default)]
pub struct Samples(Arc<Mutex<()>>);

impl Samples {
    /// The sample of a dataset, made now where there is none yet. On a task of its own, so that it is finished also where
    /// whoever asked is gone.
    pub async fn of(&self, pool: &PgPool, storage: &Storage, dataset: DatasetId) -> anyhow::Result<BlobHash> {
        if let Some(known) = known(&mut *pool.acquire().await?, dataset).await? {
            return Ok(known);
        }
        let (turns, pool, storage) = (self.0.clone(), pool.clone(), storage.clone());
        let making = tokio::spawn(async move {
            let _turn = turns.lock().await;
            if let Some(known) = known(&mut *pool.acquire().await?, dataset).await? {
                return Ok(known);
            }
            let of = dataset::get(&mut *pool.acquire().await?, dataset).await?;
            let (reader, name) = (storage.clone(), of.name.clone());
            let made = storage.stage_with(move |to| write(&reader, &of, to)).await;
            let made = made.with_context(|| format!("the sample submission of {name}"))?;
            // The blob first: a row names none that is not there.
            let bytes = made.bytes;
            let hash = storage.keep(made).await?;
            sqlx::query!(
                "insert into dataset_sample (dataset_id, sha256, bytes) values ($1, $2, $3) on conflict do nothing",
                dataset.0,
                hash.as_str(),
                bytes as i64
            )
            .execute(&pool)
            .await?;
            anyhow::Ok(hash)
        });
        making.await?
    }
}

async fn known(conn: &mut PgConnection, dataset: DatasetId) -> sqlx::Result<Option<BlobHash>> {
    sqlx::query_scalar!(r#"select sha256 as "sha256: BlobHash" from dataset_sample where dataset_id = $1"#, dataset.0)
        .fetch_optional(conn)
        .await
}

fn write(storage: &Storage, dataset: &Dataset, to: impl Write + io::Seek) -> io::Result<()> {
    // PNGs do not shrink further.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    let mut zip = ZipWriter::new(BufWriter::with_capacity(1 << 18, to));
    for image in &dataset.images {
        let lr = decode_png(&std::fs::read(storage.path(&image.lr))?, &image.name).map_err(io::Error::other)?;
        let sr = encode_png(&resize::upscale(&lr, dataset.scale)).map_err(io::Error::other)?;
        zip.start_file(format!("{}.png", image.name), options)?;
        zip.write_all(&sr)?;
    }
    zip.start_file("readme.txt", options)?;
    zip.write_all(README_TEMPLATE.as_bytes())?;
    zip.finish()?.flush()
}
