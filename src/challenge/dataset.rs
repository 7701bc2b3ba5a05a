//! A dataset: pairs of LR and hidden HR images by name, as `div2k-valid@1`. A version never changes; other images are a new
//! version.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::images;
use crate::{
    audit::{self, Act, Actor},
    evaluation::{DatasetHashes, results::Expected, sha256},
    ids::{ChallengeId, DatasetId},
    problem::Problem,
    storage::{BlobHash, Storage},
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
    /// Without the version.
    pub name: String,
    pub version: i32,
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

impl Summary {
    pub fn full_name(&self) -> String {
        full_name(&self.name, self.version)
    }

    /// Whether the organizers of a challenge may use it: one of theirs, or one that a phase of theirs uses. Hidden images of
    /// others are none of theirs.
    pub fn is_of(&self, challenge: &str) -> bool {
        let here = |phase: &String| phase.split('/').next() == Some(challenge);
        self.challenge.as_deref() == Some(challenge) || self.used_by.iter().any(here)
    }
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

/// A dataset without its images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Summary {
    pub id: DatasetId,
    /// Without the version.
    pub name: String,
    pub version: i32,
    /// HR size over LR size.
    pub scale: u32,
    pub images: i64,
    /// Over the scale and all images; see [`sha256_of`].
    pub sha256: String,
    /// Slug of the challenge whose organizers may use it, whether or not a phase of theirs does.
    pub challenge: Option<String>,
    /// Phases that use it, as `aim2020-esr/validation`.
    pub used_by: Vec<String>,
    pub created_at: DateTime<Utc>,
}

/// `div2k-valid@2`.
pub fn full_name(name: &str, version: i32) -> String {
    format!("{name}@{version}")
}

/// Names a set of images: equal only where scale, names and bytes are. It tells nothing of any image.
pub fn sha256_of(scale: u32, images: &[Image]) -> String {
    let mut images: Vec<&Image> = images.iter().collect();
    images.sort_by(|a, b| a.name.cmp(&b.name));
    let lines = images.into_iter().map(|i| format!("{} {} {}\n", i.name, i.lr, i.hr));
    sha256(format!("x{scale}\n{}", lines.collect::<String>()).as_bytes())
}

/// The dataset of these images: the version of `name` that has the same, else a new version.
pub async fn ensure(conn: &mut PgConnection, name: &str, scale: u32, images: &[Image]) -> sqlx::Result<DatasetId> {
    // Two at once must not make the same version twice.
    sqlx::query!("select pg_advisory_xact_lock(hashtext('dataset ' || $1))", name).execute(&mut *conn).await?;
    let sha256 = sha256_of(scale, images);
    let same = sqlx::query_scalar!(
        r#"select id as "id: DatasetId" from dataset where name = $1 and sha256 = $2"#,
        name,
        sha256
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(id) = same {
        return Ok(id);
    }
    let id = DatasetId::new();
    sqlx::query!(
        "insert into dataset (id, name, version, scale, sha256)
         select $1, $2, coalesce(max(version), 0) + 1, $3, $4 from dataset where name = $2",
        id.0,
        name,
        scale as i32,
        sha256
    )
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

/// The shortest side of its HR images, pixels.
pub async fn smallest_side(conn: &mut PgConnection, id: DatasetId) -> sqlx::Result<Option<u32>> {
    let side =
        sqlx::query_scalar!("select min(least(hr_width, hr_height)) from dataset_image where dataset_id = $1", id.0)
            .fetch_one(conn)
            .await?;
    Ok(side.and_then(|side| u32::try_from(side).ok()))
}

/// The images of a new version, stored; nothing names them yet. Codes: `bad_dataset_name`, and those of images.
pub async fn read(
    storage: &Storage,
    name: &str,
    hr: &Path,
    lr: Option<&Path>,
    scale: u32,
) -> anyhow::Result<Result<Vec<Image>, Vec<Problem>>> {
    match vet_name(name) {
        Ok(()) => images::ingest(storage, hr, lr, scale).await,
        Err(problem) => Ok(Err(vec![problem])),
    }
}

/// As [`ensure`], by an organizer; for those of a challenge, where one is given. Call it in a transaction.
pub async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    challenge: Option<ChallengeId>,
    name: &str,
    scale: u32,
    images: &[Image],
) -> sqlx::Result<Summary> {
    let id = ensure(conn, name, scale, images).await?;
    sqlx::query!(
        "update dataset set challenge_id = $2 where id = $1 and challenge_id is null",
        id.0,
        challenge.map(|id| id.0)
    )
    .execute(&mut *conn)
    .await?;
    let made = summary(conn, id).await?.ok_or(sqlx::Error::RowNotFound)?;
    let act = Act {
        challenge,
        action: "dataset.create",
        object: &full_name(&made.name, made.version),
        reason: "",
        details: serde_json::json!({ "images": made.images, "scale": scale, "sha256": made.sha256 }),
    };
    audit::note(conn, actor, act).await?;
    Ok(made)
}

/// Lower-case letters, digits, hyphens, underscores and dots, in parts.
pub fn vet_name(name: &str) -> Result<(), Problem> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    if (1..=100).contains(&name.len()) && name.split('/').all(|part| !part.is_empty() && part.bytes().all(plain)) {
        return Ok(());
    }
    let message = "a dataset's name has 1 to 100 lower-case letters, digits, hyphens, underscores, dots and slashes";
    Err(Problem::new("bad_dataset_name", message).at(name).hint("The version after the @ is given by the server."))
}

/// All of them, or that of an id, or of a name and its version or its newest; by name, newest version first.
async fn select(
    conn: &mut PgConnection,
    id: Option<DatasetId>,
    named: Option<(&str, Option<i32>)>,
) -> sqlx::Result<Vec<Summary>> {
    let rows = sqlx::query!(
        r#"select d.id as "id: DatasetId", d.name, d.version, d.scale, d.sha256, d.created_at,
                  (select slug from challenge where id = d.challenge_id) as challenge,
                  (select count(*) from dataset_image i where i.dataset_id = d.id) as "images!",
                  array(select c.slug || '/' || p.slug from phase p join challenge c on c.id = p.challenge_id
                        where p.dataset_id = d.id order by 1) as "used_by!"
           from dataset d
           where ($1::uuid is null or d.id = $1) and ($2::text is null or d.name = $2)
             and ($3::integer is null or d.version = $3)
           order by d.name, d.version desc"#,
        id.map(|id| id.0),
        named.map(|(name, _)| name),
        named.and_then(|(_, version)| version)
    )
    .fetch_all(conn)
    .await?;
    let summaries = rows.into_iter().map(|r| Summary {
        id: r.id,
        name: r.name,
        version: r.version,
        scale: r.scale as u32,
        images: r.images,
        challenge: r.challenge,
        sha256: r.sha256,
        used_by: r.used_by,
        created_at: r.created_at,
    });
    Ok(summaries.collect())
}

/// By name, newest version first.
pub async fn list(conn: &mut PgConnection) -> sqlx::Result<Vec<Summary>> {
    select(conn, None, None).await
}

pub async fn summary(conn: &mut PgConnection, id: DatasetId) -> sqlx::Result<Option<Summary>> {
    Ok(select(conn, Some(id), None).await?.pop())
}

/// By `div2k-valid@2`, or by `div2k-valid`, which is its newest version.
pub async fn by_name(conn: &mut PgConnection, full: &str) -> sqlx::Result<Option<Summary>> {
    let (name, version) = match full.split_once('@') {
        None => (full, None),
        Some((name, version)) => match version.parse() {
            Ok(version) => (name, Some(version)),
            Err(_) => return Ok(None),
        },
    };
    Ok(select(conn, None, Some((name, version))).await?.into_iter().next())
}

pub async fn get(conn: &mut PgConnection, id: DatasetId) -> sqlx::Result<Dataset> {
    let about =
        sqlx::query!("select name, version, scale from dataset where id = $1", id.0).fetch_one(&mut *conn).await?;
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
    Ok(Dataset { id, name: about.name, version: about.version, scale: about.scale as u32, images })
}
