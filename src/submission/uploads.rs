//! Resumable uploads: a file comes in over several requests, and a submission names it when it is whole.
//!
//! A row says whose it is, what for and how long it may be; how far it has come is the length of its file, so that no crash
//! can make the two disagree. The file of an upload that a submission used is gone; one that was refused stays until it
//! expires, so that only the file at fault need be sent again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Acquire, PgConnection, PgPool};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::Rejection;
use crate::{
    ids::{AccountId, PhaseId, SubmissionId, UploadId},
    storage::{BlobHash, Storage, TempBlob},
};

/// How long an upload is kept after its last piece: over night, and a day's work.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// How long a request waits for another one to let go of an upload.
pub const HAND_OVER: Duration = Duration::from_secs(5);

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Part {
    /// The zip of SR images.
    Results,
    /// The model, or one of the two files that it consists of.
    Model,
    /// Both in one zip, as Codabench's clients send them.
    Bundle,
}

/// What a client states of a new upload.
#[derive(Debug, Clone)]
pub struct NewUpload {
    pub id: UploadId,
    pub account: AccountId,
    pub phase: PhaseId,
    pub part: Part,
    pub filename: String,
    /// Bytes.
    pub length: u64,
    pub sha256: Option<BlobHash>,
    /// All that the client said, as tus writes it: `key base64,…`; at most 16384 characters, all ASCII.
    pub metadata: String,
}

/// What an account may have open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub uploads: u32,
    /// Over all of them, as announced.
    pub bytes: u64,
}

/// An upload that has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumableUpload {
    pub id: UploadId,
    pub phase: PhaseId,
    pub challenge_slug: String,
    pub phase_slug: String,
    pub part: Part,
    pub filename: String,
    pub length: u64,
    pub sha256: Option<BlobHash>,
    /// As the client sent it; empty: it did not.
    pub metadata: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

struct Row {
    id: UploadId,
    phase: PhaseId,
    challenge_slug: String,
    phase_slug: String,
    part: Part,
    filename: String,
    length: i64,
    sha256: Option<BlobHash>,
    metadata: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl From<Row> for ResumableUpload {
    fn from(row: Row) -> Self {
        let Row {
            id,
            phase,
            challenge_slug,
            phase_slug,
            part,
            filename,
            length,
            sha256,
            metadata,
            created_at,
            expires_at,
        } = row;
        let length = length as u64;
        ResumableUpload {
            id,
            phase,
            challenge_slug,
            phase_slug,
            part,
            filename,
            length,
            sha256,
            metadata,
            created_at,
            expires_at,
        }
    }
}

/// Begins an upload, with an empty file.
pub async fn begin(
    pool: &PgPool,
    storage: &Storage,
    new: &NewUpload,
    allowance: Allowance,
) -> Result<UploadId, Rejection> {
    let id = new.id;
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    // Every new upload of this account waits here, so that the count stays true until the row is in.
    sqlx::query!("select id from account where id = $1 for update", new.account.0).fetch_optional(&mut *tx).await?;
    let open = sqlx::query!(
        r#"select id as "id: UploadId", length from upload
           where account_id = $1 and expires_at > now() and submission_id is null order by id"#,
        new.account.0
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut count = open.len() as u64;
    let mut bytes = open.iter().fold(new.length, |sum, upload| sum.saturating_add(upload.length as u64));
    let fits = |count, bytes| count < u64::from(allowance.uploads) && bytes <= allowance.bytes;
    // A whole upload that no submission used was refused, or given up: the oldest make room.
    for upload in &open {
        if fits(count, bytes) {
            break;
        }
        let length = upload.length as u64;
        if storage.grown(upload.id.0).await.map_err(anyhow::Error::from)?.is_none_or(|have| have >= length) {
            end(&mut tx, storage, &[upload.id]).await?;
            (count, bytes) = (count - 1, bytes - length);
        }
    }
    if !fits(count, bytes) {
        return Err(Rejection::TooManyUploads { open: count, allowance });
    }
    sqlx::query!(
        "insert into upload (id, account_id, phase_id, part, filename, length, sha256, metadata, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9))",
        id.0,
        new.account.0,
        new.phase.0,
        new.part as _,
        new.filename,
        new.length as i64,
        new.sha256.as_ref().map(BlobHash::as_str),
        new.metadata,
        KEPT.as_secs_f64()
    )
    .execute(&mut *tx)
    .await?;
    // Before the commit, so that no row is without its file; a file without a row goes with the sweep.
    storage.begin_growing(id.0, new.length).await?;
    tx.commit().await?;
    Ok(id)
}

async fn select(
    conn: &mut PgConnection,
    account: AccountId,
    id: Option<UploadId>,
) -> sqlx::Result<Vec<ResumableUpload>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select u.id as "id: _", u.phase_id as "phase: _", c.slug as challenge_slug, p.slug as phase_slug,
                  u.part as "part: _", u.filename, u.length, u.sha256 as "sha256: _", u.metadata, u.created_at,
                  u.expires_at
           from upload u join phase p on p.id = u.phase_id join challenge c on c.id = p.challenge_id
           where u.account_id = $1 and ($2::uuid is null or u.id = $2) and u.expires_at > now()
             and u.submission_id is null
           order by u.id desc"#,
        account.0,
        id.map(|id| id.0)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(ResumableUpload::from).collect())
}

/// An account's own upload.
pub async fn get(conn: &mut PgConnection, account: AccountId, id: UploadId) -> sqlx::Result<Option<ResumableUpload>> {
    Ok(select(conn, account, Some(id)).await?.pop())
}

/// A bundle by its id alone, which is as good as a key: it is of 122 random bits and told to its owner only.
pub async fn bundle(conn: &mut PgConnection, id: UploadId) -> sqlx::Result<Option<ResumableUpload>> {
    let owner = sqlx::query_scalar!(
        r#"select account_id as "id: AccountId" from upload where id = $1 and part = 'bundle'"#,
        id.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    match owner {
        Some(owner) => get(conn, owner, id).await,
        None => Ok(None),
    }
}

/// An account's uploads, newest first.
pub async fn of_account(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<ResumableUpload>> {
    select(conn, account, None).await
}

/// Moves the expiry on, as a piece has arrived; gives the new one.
pub async fn touch(conn: &mut PgConnection, id: UploadId) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "update upload set expires_at = now() + make_interval(secs => $2) where id = $1 returning expires_at",
        id.0,
        KEPT.as_secs_f64()
    )
    .fetch_optional(conn)
    .await
}

/// Removes uploads, the row first.
pub async fn end(conn: &mut PgConnection, storage: &Storage, ids: &[UploadId]) -> anyhow::Result<()> {
    let all: Vec<_> = ids.iter().map(|id| id.0).collect();
    sqlx::query!("delete from upload where id = any($1)", &all).execute(conn).await?;
    for id in all {
        storage.drop_grown(id).await?;
    }
    Ok(())
}

/// What becomes of uploads that a request names.
#[derive(Debug)]
pub enum Taken {
    /// Each with the name that the client gave it. The uploads themselves stay.
    Files(Vec<(Part, String, TempBlob)>),
    /// A submission has used them all: the request is a repetition.
    UsedBy(SubmissionId),
}

/// Whole uploads as files for the intake.
pub async fn take(
    pool: &PgPool,
    storage: &Storage,
    account: AccountId,
    phase: PhaseId,
    named: &[(Part, UploadId)],
) -> Result<Taken, Rejection> {
    let ids: Vec<_> = named.iter().map(|(_, id)| id.0).collect();
    let used = sqlx::query_scalar!(
        r#"select submission_id as "id!: SubmissionId" from upload
           where id = any($1) and account_id = $2 and phase_id = $3 and submission_id is not null"#,
        &ids,
        account.0,
        phase.0
    )
    .fetch_all(pool)
    .await?;
    if let Some(first) = used.first()
        && used.len() == named.len()
        && used.iter().all(|id| id == first)
    {
        return Ok(Taken::UsedBy(*first));
    }
    let mut files = Vec::new();
    for &(part, id) in named {
        let found = get(&mut *pool.acquire().await?, account, id).await?;
        let upload = found.filter(|u| (u.phase, u.part) == (phase, part)).ok_or(Rejection::NoSuchUpload(id))?;
        let file = stage(storage, id, upload.length).await?;
        if upload.sha256.is_some_and(|said| said != file.sha256) {
            return Err(Rejection::UploadCorrupt { id });
        }
        files.push((part, upload.filename, file));
    }
    Ok(Taken::Files(files))
}

/// An upload of `length` bytes as a temporary file. One that somebody has just now is waited for, a moment.
pub async fn stage(storage: &Storage, id: UploadId, length: u64) -> Result<TempBlob, Rejection> {
    let deadline = Instant::now() + HAND_OVER;
    loop {
        let have = storage.grown(id.0).await.map_err(anyhow::Error::from)?.ok_or(Rejection::NoSuchUpload(id))?;
        if have < length {
            return Err(Rejection::UploadIncomplete { id, have, length });
        }
        if let Some(file) = storage.stage_grown(id.0).await? {
            return Ok(file);
        }
        if Instant::now() >= deadline {
            return Err(Rejection::UploadBusy(id));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Notes which submission used uploads, and drops their files.
pub async fn used(
    conn: &mut PgConnection,
    storage: &Storage,
    named: &[(Part, UploadId)],
    by: SubmissionId,
) -> anyhow::Result<()> {
    let ids: Vec<_> = named.iter().map(|(_, id)| id.0).collect();
    sqlx::query!("update upload set submission_id = $2 where id = any($1)", &ids, by.0).execute(conn).await?;
    for id in ids {
        storage.drop_grown(id).await?;
    }
    Ok(())
}

/// Removes expired uploads, and files that a crash left without a row; returns how many.
pub async fn sweep(pool: &PgPool, storage: &Storage) -> anyhow::Result<usize> {
    let mut conn = pool.acquire().await?;
    let expired = sqlx::query_scalar!(r#"select id as "id: UploadId" from upload where expires_at <= now()"#)
        .fetch_all(&mut *conn)
        .await?;
    end(&mut conn, storage, &expired).await?;
    let searched = storage.clone();
    let old = tokio::task::spawn_blocking(move || searched.grown_untouched(KEPT)).await??;
    let orphans = sqlx::query_scalar!(
        r#"select id as "id!" from unnest($1::uuid[]) as old(id) where not exists (select from upload where id = old.id)"#,
        &old
    )
    .fetch_all(&mut *conn)
    .await?;
    for id in &orphans {
        storage.drop_grown(*id).await?;
    }
    Ok(expired.len() + orphans.len())
}
