//! A dataset: pairs of LR and hidden HR images by name. Never changed; a change is a new dataset.

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{
    evaluation::{DatasetHashes, results::Expected, sha256},
    ids::DatasetId,
    storage::BlobHash,
};

/// One pair. Not serialisable as a whole: the HR hash stays inside.
#[derive(Debug, Clone)]
pub struct Image {
    /// `0901` for `0901.png` and `0901x4.png`.
    pub name: String,
    /// Width and height of the HR image, pixels.
    pub hr_size: [u32; 2],
    pub lr_size: [u32; 2],
    /// Hidden.
    pub hr: BlobHash,
    pub lr: BlobHash,
    /// Size of the LR file.
    pub lr_bytes: u64,
}

#[derive(Debug, Clone)]
pub struct Dataset {
    pub id: DatasetId,
    pub scale: u32,
    /// By name.
    pub images: Vec<Image>,
}

/// An LR image as participants may see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PublicImage {
    pub name: String,
    /// Width and height of the LR image, pixels.
    pub size: [u32; 2],
    pub bytes: u64,
    pub sha256: BlobHash,
}

impl Dataset {
    /// What a results zip of this dataset must hold.
    pub fn expected(&self) -> Vec<Expected> {
        self.images
            .iter()
            .map(|i| Expected { name: i.name.clone(), width: i.hr_size[0], height: i.hr_size[1] })
            .collect()
    }

    /// What is stored with each score. The hash over all HR images tells nothing of any.
    pub fn hashes(&self) -> DatasetHashes {
        let of = |hash: fn(&Image) -> &BlobHash| {
            let mut images: Vec<&Image> = self.images.iter().collect();
            images.sort_by(|a, b| a.name.cmp(&b.name));
            let lines: String = images.into_iter().map(|i| format!("{}  {}\n", hash(i), i.name)).collect();
            sha256(lines.as_bytes())
        };
        DatasetHashes { lr_sha256: of(|i| &i.lr), hr_sha256: of(|i| &i.hr) }
    }

    pub fn public(&self) -> Vec<PublicImage> {
        self.images
            .iter()
            .map(|i| PublicImage { name: i.name.clone(), size: i.lr_size, bytes: i.lr_bytes, sha256: i.lr.clone() })
            .collect()
    }
}

pub async fn insert(conn: &mut PgConnection, name: &str, scale: u32, images: &[Image]) -> sqlx::Result<DatasetId> {
    let id = DatasetId::new();
    sqlx::query!("insert into dataset (id, name, scale) values ($1, $2, $3)", id.0, name, scale as i32)
        .execute(&mut *conn)
        .await?;
    for Image { name, hr_size, lr_size, hr, lr, lr_bytes } in images {
        sqlx::query!(
            "insert into dataset_image
                 (dataset_id, name, hr_width, hr_height, lr_width, lr_height, hr_sha256, lr_sha256, lr_bytes)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            id.0,
            name,
            hr_size[0] as i32,
            hr_size[1] as i32,
            lr_size[0] as i32,
            lr_size[1] as i32,
            hr.as_str(),
            lr.as_str(),
            *lr_bytes as i64
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(id)
}

pub async fn get(conn: &mut PgConnection, id: DatasetId) -> sqlx::Result<Dataset> {
    let scale = sqlx::query_scalar!("select scale from dataset where id = $1", id.0).fetch_one(&mut *conn).await?;
    let rows = sqlx::query!(
        r#"select name, hr_width, hr_height, lr_width, lr_height, lr_bytes,
                  hr_sha256 as "hr: BlobHash", lr_sha256 as "lr: BlobHash"
           from dataset_image where dataset_id = $1 order by name"#,
        id.0
    )
    .fetch_all(conn)
    .await?;
    let images = rows
        .into_iter()
        .map(|r| Image {
            name: r.name,
            hr_size: [r.hr_width as u32, r.hr_height as u32],
            lr_size: [r.lr_width as u32, r.lr_height as u32],
            hr: r.hr,
            lr: r.lr,
            lr_bytes: r.lr_bytes as u64,
        })
        .collect();
    Ok(Dataset { id, scale: scale as u32, images })
}
