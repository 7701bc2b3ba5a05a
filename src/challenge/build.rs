//! Making a dataset out of files that came in, or lie on the server, which takes minutes: a row says how far it is, so that a
//! page shows it and nobody need wait.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Acquire, PgConnection, PgPool, types::Json};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::{dataset, images};
use crate::{
    audit::Actor,
    ids::{AccountId, BuildId, ChallengeId},
    problem::Problem,
    storage::{Storage, TempBlob},
    team::account::Account,
};

/// Between notes of how far a build is.
const BEAT: Duration = Duration::from_secs(1);
/// A build that nobody moved on for so long, seconds, went down with its server.
const LOST_S: f64 = 30.0;
/// Builds in a list.
const LISTED: i64 = 20;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct NewBuild {
    /// Whose organizers may use it; `None`: who runs the whole server.
    pub challenge: Option<ChallengeId>,
    /// Without a version.
    pub name: String,
    pub scale: u32,
}

/// Where images come from: a folder or a zip.
#[derive(Debug)]
pub enum Input {
    Upload(TempBlob),
    Server(PathBuf),
}

impl Input {
    fn path(&self) -> &std::path::Path {
        match self {
            Input::Upload(file) => file.path(),
            Input::Server(path) => path,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum BuildState {
    Working,
    Made,
    Refused,
    /// Its server stopped meanwhile; nothing was made.
    Lost,
}

/// A dataset on its way.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Build {
    pub id: BuildId,
    /// Who asked.
    #[serde(skip)]
    pub account: Option<AccountId>,
    pub asked_by: String,
    #[serde(skip)]
    pub challenge: Option<ChallengeId>,
    /// Without a version.
    pub name: String,
    pub scale: i32,
    pub state: BuildState,
    /// Images that are read.
    pub done: i32,
    /// Of how many; 0 while a zip is unpacked.
    pub total: i32,
    /// All that is wrong with the images.
    #[schema(value_type = Vec<Problem>)]
    pub problems: Json<Vec<Problem>>,
    /// `div2k-valid@2`: what was made, or the version that has the same images already.
    pub dataset: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// One build at a time in a process: measurements go on beside it.
#[derive(Debug, Clone)]
pub struct Builds(Arc<Semaphore>);

impl Default for Builds {
    fn default() -> Self {
        Builds(Arc::new(Semaphore::new(1)))
    }
}

impl Builds {
    /// Notes a build and begins it on a task of its own.
    pub async fn start(
        &self,
        pool: &PgPool,
        storage: &Storage,
        by: &Account,
        new: NewBuild,
        (hr, lr): (Input, Option<Input>),
    ) -> sqlx::Result<BuildId> {
        let id = BuildId::new();
        sqlx::query!(
            "insert into dataset_build (id, account_id, account_name, challenge_id, name, scale)
             values ($1, $2, $3, $4, $5, $6)",
            id.0,
            by.id.0,
            by.name,
            new.challenge.map(|id| id.0),
            new.name,
            new.scale as i32
        )
        .execute(pool)
        .await?;
        let actor = Actor::Account { id: by.id, name: by.name.clone() };
        let (turns, pool, storage) = (self.0.clone(), pool.clone(), storage.clone());
        tokio::spawn(async move {
            let count = Count::default();
            let work = async {
                let _turn = turns.acquire().await?;
                make(&pool, &storage, id, &actor, &new, (&hr, lr.as_ref()), &count).await
            };
            let ended = tokio::select! {
                ended = work => ended,
                never = beat(&pool, id, &count) => match never {},
            };
            let problems = match ended {
                Ok(Ok(())) => return,
                Ok(Err(problems)) => problems,
                Err(error) => {
                    tracing::error!(build = %id, error = format!("{error:#}"), "a dataset was not made, through us");
                    let message = "The dataset could not be made. This is our fault; the server's log says more.";
                    vec![Problem::new("internal", message)]
                }
            };
            if let Err(error) = refuse(&pool, id, &problems).await {
                tracing::warn!(build = %id, %error, "a refused dataset was not noted");
            }
        });
        Ok(id)
    }
}

/// How far a build is.
#[derive(Debug, Default)]
struct Count {
    done: AtomicI32,
    total: AtomicI32,
}

async fn make(
    pool: &PgPool,
    storage: &Storage,
    id: BuildId,
    actor: &Actor,
    new: &NewBuild,
    (hr, lr): (&Input, Option<&Input>),
    count: &Count,
) -> anyhow::Result<Result<(), Vec<Problem>>> {
    let tell = |done: usize, total: usize| {
        let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        count.done.store(number(done), Ordering::Relaxed);
        count.total.store(number(total), Ordering::Relaxed);
    };
    let read = images::ingest_telling(storage, hr.path(), lr.map(Input::path), new.scale, &tell).await?;
    let images = match read {
        Ok(images) => images,
        Err(problems) => return Ok(Err(problems)),
    };
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let made = dataset::create(&mut tx, actor, new.challenge, &new.name, new.scale, &images).await?;
    sqlx::query!(
        "update dataset_build set state = 'made', dataset_id = $2, done = $3, total = $3, finished_at = now()
         where id = $1",
        id.0,
        made.id.0,
        images.len() as i32
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Ok(()))
}

/// Notes how far it is, for as long as it is polled.
async fn beat(pool: &PgPool, id: BuildId, count: &Count) -> Infallible {
    loop {
        tokio::time::sleep(BEAT).await;
        let (done, total) = (count.done.load(Ordering::Relaxed), count.total.load(Ordering::Relaxed));
        let noted = sqlx::query!(
            "update dataset_build set done = $2, total = $3, seen_at = now() where id = $1 and state = 'working'",
            id.0,
            done,
            total
        );
        if let Err(error) = noted.execute(pool).await {
            tracing::warn!(build = %id, %error, "a dataset's progress was not noted");
        }
    }
}

async fn refuse(pool: &PgPool, id: BuildId, problems: &[Problem]) -> sqlx::Result<()> {
    sqlx::query!(
        "update dataset_build set state = 'refused', problems = $2, finished_at = now()
         where id = $1 and state = 'working'",
        id.0,
        Json(problems) as _
    )
    .execute(pool)
    .await?;
    Ok(())
}

async fn select(conn: &mut PgConnection, id: Option<BuildId>, limit: i64) -> sqlx::Result<Vec<Build>> {
    sqlx::query_as!(
        Build,
        r#"select b.id as "id: _", b.account_id as "account: _", b.account_name as asked_by,
                  b.challenge_id as "challenge: _", b.name, b.scale,
                  case when b.state = 'working' and b.seen_at < now() - make_interval(secs => $3) then 'lost'
                       else b.state end as "state!: _",
                  b.done, b.total, b.problems as "problems: _", d.name || '@' || d.version as dataset, b.created_at,
                  b.finished_at
           from dataset_build b left join dataset d on d.id = b.dataset_id
           where $1::uuid is null or b.id = $1 order by b.created_at desc limit $2"#,
        id.map(|id| id.0),
        limit,
        LOST_S
    )
    .fetch_all(conn)
    .await
}

pub async fn get(conn: &mut PgConnection, id: BuildId) -> sqlx::Result<Option<Build>> {
    Ok(select(conn, Some(id), 1).await?.pop())
}

/// The newest, newest first.
pub async fn list(conn: &mut PgConnection) -> sqlx::Result<Vec<Build>> {
    select(conn, None, LISTED).await
}

impl Build {
    /// Whether somebody may look at it: who asked, and who may use what it makes.
    pub fn is_for(&self, account: &Account) -> bool {
        account.is_organizer
            || self.account == Some(account.id)
            || self.challenge.is_some_and(|challenge| account.organizes(challenge))
    }
}
