//! What can be downloaded of a dataset, each as one zip: its LR images; and a sample submission, which is they enlarged by bicubic
//! interpolation, under the names that a results zip has, and a `readme.txt` to fill in. Made once a dataset, as a hundred images
//! take a minute, and kept as a blob, so that a download is a file and no work.

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

/// Which zip of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Kind {
    Lr,
    Sample,
}

/// Makes one zip of a kind at a time: measurements go on beside it.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    lr: Arc<Mutex<()>>,
    sample: Arc<Mutex<()>>,
}

impl Samples {
    /// The zip of a dataset, made now where there is none yet. On a task of its own, so that it is finished also where
    /// whoever asked is gone.
    pub async fn of(
        &self,
        pool: &PgPool,
        storage: &Storage,
        dataset: DatasetId,
        kind: Kind,
    ) -> anyhow::Result<BlobHash> {
        if let Some(known) = known(&mut *pool.acquire().await?, dataset, kind).await? {
            return Ok(known);
        }
        let turns = match kind {
            Kind::Lr => self.lr.clone(),
            Kind::Sample => self.sample.clone(),
        };
        let (pool, storage) = (pool.clone(), storage.clone());
        let making = tokio::spawn(async move {
            let _turn = turns.lock().await;
            if let Some(known) = known(&mut *pool.acquire().await?, dataset, kind).await? {
                return Ok(known);
            }
            let of = dataset::get(&mut *pool.acquire().await?, dataset).await?;
            let (reader, name) = (storage.clone(), of.name.clone());
            let made = storage.stage_with(move |to| write(&reader, &of, kind, to)).await;
            let made = made.with_context(|| format!("the {kind:?} zip of {name}"))?;
            // The blob first: a row names none that is not there.
            let bytes = made.bytes;
            let hash = storage.keep(made).await?;
            sqlx::query!(
                "insert into dataset_sample (dataset_id, kind, sha256, bytes) values ($1, $2, $3, $4)
                 on conflict do nothing",
                dataset.0,
                kind as _,
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

async fn known(conn: &mut PgConnection, dataset: DatasetId, kind: Kind) -> sqlx::Result<Option<BlobHash>> {
    sqlx::query_scalar!(
        r#"select sha256 as "sha256: BlobHash" from dataset_sample where dataset_id = $1 and kind = $2"#,
        dataset.0,
        kind as _
    )
    .fetch_optional(conn)
    .await
}

fn write(storage: &Storage, dataset: &Dataset, kind: Kind, to: impl Write + io::Seek) -> io::Result<()> {
    // PNGs do not shrink further.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    let mut zip = ZipWriter::new(BufWriter::with_capacity(1 << 18, to));
    for image in dataset.images.iter().filter(|_| kind == Kind::Lr) {
        zip.start_file(format!("{}x{}.png", image.name, dataset.scale), options)?;
        io::copy(&mut std::fs::File::open(storage.path(&image.lr))?, &mut zip)?;
    }
    if kind == Kind::Lr {
        return zip.finish()?.flush();
    }
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
