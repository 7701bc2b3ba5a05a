//! Datasets.

use std::path::PathBuf;

use clap::Subcommand;
use sqlx::{Acquire, PgPool};

use super::{super::inputs, Done, Made};
use crate::{
    audit::Actor,
    challenge::dataset::{self, full_name},
    storage::Storage,
};

#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Makes a dataset, or a new version of one; the same images are the version that has them already.
    Create {
        /// Lower-case letters, digits, hyphens and dots.
        #[arg(long)]
        name: String,
        /// Folder or zip of the hidden HR PNGs.
        #[arg(long, value_name = "DIR|ZIP")]
        hr: PathBuf,
        /// Folder or zip of the LR PNGs; made by MATLAB-style bicubic where none is given.
        #[arg(long, value_name = "DIR|ZIP")]
        lr: Option<PathBuf>,
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
        scale: u32,
    },
    /// Every dataset with its versions and the phases that use it.
    List,
}

pub async fn dataset(command: DatasetCommand, pool: &PgPool, storage: &Storage) -> Done {
    let mut conn = pool.acquire().await?;
    match command {
        DatasetCommand::Create { name, hr, lr, scale } => {
            let missing: Vec<_> =
                std::iter::once(&hr).chain(&lr).filter_map(|path| inputs::images(path).err()).collect();
            if !missing.is_empty() {
                return Ok(Err(missing));
            }
            let images = match dataset::read(storage, &name, &hr, lr.as_deref(), scale).await? {
                Ok(images) => images,
                Err(problems) => return Ok(Err(problems)),
            };
            let mut tx = conn.begin().await?;
            let made = dataset::create(&mut tx, &Actor::Shell, None, &name, scale, &images).await?;
            tx.commit().await?;
            let full = full_name(&made.name, made.version);
            Ok(Ok(Made::new(format!("{full}: {} images, ×{scale}, {}", made.images, made.sha256), &made)?))
        }
        DatasetCommand::List => {
            let all = dataset::list(&mut conn).await?;
            let line = |d: &dataset::Summary| {
                let used = if d.used_by.is_empty() { "not used".to_owned() } else { d.used_by.join(", ") };
                format!(
                    "{}  {} images  ×{}  {}  {used}",
                    full_name(&d.name, d.version),
                    d.images,
                    d.scale,
                    &d.sha256[..12]
                )
            };
            let lines: Vec<String> = all.iter().map(line).collect();
            let sentence = if lines.is_empty() { "There are no datasets.".into() } else { lines.join("\n") };
            Ok(Ok(Made::new(sentence, &all)?))
        }
    }
}
