//! That a worker is there: a row of its own, renewed every few seconds, and how organizers see all of them.

use std::{sync::atomic::Ordering, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use tracing::warn;
use utoipa::ToSchema;

use super::Worker;
use crate::{
    challenge::protocol::DeviceClass,
    evaluation::Progress,
    ids::{ChallengeId, SubmissionId},
    queue::progress,
};

/// Between signs of life.
const BEAT: Duration = Duration::from_secs(5);
/// Seconds without one after which a worker counts as gone: several missed.
const GONE: f64 = 20.0;
/// Days that a worker which is gone stays in the list.
const KEPT_DAYS: i32 = 7;

/// A worker, by its own word and by the queue's.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Presence {
    /// Host, process and device.
    pub name: String,
    pub device: String,
    pub class: DeviceClass,
    /// What its machine calls it: `NVIDIA H100 80GB HBM3`.
    pub device_name: String,
    /// Of Upscore.
    pub version: String,
    pub started_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
    /// It was told to stop, and did.
    pub stopped_at: Option<DateTime<Utc>>,
    /// It was seen a moment ago and was not stopped.
    pub alive: bool,
    /// The host's load over the last minute, in processes; `null`: not known there.
    pub load: Option<f64>,
    pub cores: i32,
    /// Jobs that it ended since it started.
    pub jobs: i64,
    pub job: Option<Job>,
}

/// What a worker measures.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Job {
    pub submission: SubmissionId,
    #[serde(skip)]
    pub challenge_id: ChallengeId,
    pub challenge: String,
    pub phase: String,
    pub since: DateTime<Utc>,
    pub progress: Option<Progress>,
}

impl Worker {
    /// Says that it is there until it is dropped.
    pub(super) async fn be_present(&self) {
        loop {
            let said = async { self.say(&mut *self.pool.acquire().await?).await };
            if let Err(error) = said.await {
                warn!(%error, "a sign of life was not heard");
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    async fn say(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        let load: Option<f64> = load.and_then(|text| text.split(' ').next()?.parse().ok());
        let cores = std::thread::available_parallelism().map_or(1, |n| i32::try_from(n.get()).unwrap_or(i32::MAX));
        let jobs = i64::try_from(self.jobs.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        // A process id comes again after a restart: what was said before it is another's.
        sqlx::query!(
            "insert into worker (name, device, device_class, version, load, cores, jobs, started_at, device_name)
             values ($1, $2, $3, $4, $5, $6, $7, now() - make_interval(secs => $8), $9)
             on conflict (name) do update set version = $4, seen_at = now(), stopped_at = null, load = $5, cores = $6, jobs = $7,
                 started_at = now() - make_interval(secs => $8)",
            self.name,
            self.settings.device,
            self.class as _,
            env!("CARGO_PKG_VERSION"),
            load,
            cores,
            jobs,
            self.begun.elapsed().as_secs_f64(),
            self.device_name
        )
        .execute(&mut *conn)
        .await?;
        sqlx::query!("delete from worker where seen_at < now() - make_interval(days => $1)", KEPT_DAYS)
            .execute(conn)
            .await?;
        Ok(())
    }

    /// Says that it stopped; a database that is away is not waited for.
    pub(super) async fn say_goodbye(&self) {
        let said = async {
            sqlx::query!("update worker set stopped_at = now(), seen_at = now() where name = $1", self.name)
                .execute(&self.pool)
                .await
        };
        if tokio::time::timeout(Duration::from_secs(2), said).await.is_err() {
            warn!("the goodbye was not heard");
        }
    }
}

/// Those that are there first, then the others, the newest first.
pub async fn list(conn: &mut PgConnection) -> sqlx::Result<Vec<Presence>> {
    let rows = sqlx::query!(
        r#"select w.name, w.device, w.device_class as "class: DeviceClass", w.device_name, w.version, w.started_at, w.seen_at, w.stopped_at,
                  w.stopped_at is null and w.seen_at > now() - make_interval(secs => $1) as "alive!", w.load, w.cores, w.jobs,
                  e.submission_id as "submission?: SubmissionId", c.id as "challenge_id?: ChallengeId",
                  c.slug as "challenge?", p.slug as "phase?", e.started_at as since, e.step as "step?", e.step_done as "done?",
                  e.step_total as "total?"
           from worker w
           left join evaluation e on e.worker = w.name and e.state = 'running'
           left join submission s on s.id = e.submission_id left join phase p on p.id = s.phase_id
           left join challenge c on c.id = p.challenge_id
           order by 8 desc, w.started_at desc, w.name"#,
        GONE
    )
    .fetch_all(conn)
    .await?;
    let workers = rows.into_iter().map(|r| Presence {
        job: match (r.submission, r.challenge_id, r.challenge, r.phase, r.since) {
            (Some(submission), Some(challenge_id), Some(challenge), Some(phase), Some(since)) => Some(Job {
                submission,
                challenge_id,
                challenge,
                phase,
                since,
                progress: progress(r.step.as_deref(), r.done.unwrap_or_default(), r.total.unwrap_or_default()),
            }),
            _ => None,
        },
        name: r.name,
        device: r.device,
        class: r.class,
        device_name: r.device_name,
        version: r.version,
        started_at: r.started_at,
        seen_at: r.seen_at,
        stopped_at: r.stopped_at,
        alive: r.alive,
        load: r.load,
        cores: r.cores,
        jobs: r.jobs,
    });
    Ok(workers.collect())
}

/// Names of the devices of workers that were there of late.
pub async fn device_names(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("select distinct device_name from worker where device_name <> '' order by 1")
        .fetch_all(conn)
        .await
}

/// What waits for one kind of device.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClassQueue {
    pub class: DeviceClass,
    /// The one name that is asked for; absent: what any of the class may do.
    pub device_name: Option<String>,
    pub queued: i64,
    pub running: i64,
    /// Age of the oldest queued one, seconds.
    pub oldest_s: i64,
    /// Workers that are there.
    pub workers: i64,
    /// Phases that are not over and are measured by it.
    pub phases: i64,
}

impl ClassQueue {
    /// Whether nobody measures what is sent in.
    pub fn lacks_workers(&self) -> bool {
        self.workers == 0 && (self.queued > 0 || self.phases > 0)
    }
}

/// Of each kind of device that anything waits for, needs or has.
pub async fn queues(conn: &mut PgConnection) -> sqlx::Result<Vec<ClassQueue>> {
    sqlx::query_as!(
        ClassQueue,
        r#"with asked as (
               select r.rules ->> 'device' as class, r.rules ->> 'device_name' as name
               from phase p join protocol r on r.id = p.protocol_id where coalesce(now() < p.closes_at, true)),
           live as (
               select device_class as class, device_name as name, state, created_at from evaluation
               where state in ('queued', 'running'))
           select k.class as "class!: _", k.name as device_name,
                  (select count(*) from live where state = 'queued' and class = k.class and name is not distinct from k.name)
                      as "queued!",
                  (select count(*) from live where state = 'running' and class = k.class and name is not distinct from k.name)
                      as "running!",
                  (select coalesce(extract(epoch from now() - min(created_at)), 0)::bigint from live
                   where state = 'queued' and class = k.class and name is not distinct from k.name) as "oldest_s!",
                  (select count(*) from worker where device_class = k.class and coalesce(k.name, device_name) = device_name
                       and stopped_at is null and seen_at > now() - make_interval(secs => $1)) as "workers!",
                  (select count(*) from asked where class = k.class and name is not distinct from k.name) as "phases!"
           from (values ('cpu', null), ('cuda', null) union select class, name from asked union select class, name from live)
               k (class, name)
           order by 1, 2 nulls first"#,
        GONE
    )
    .fetch_all(conn)
    .await
    .map(|all| all.into_iter().filter(|q| q.queued + q.running + q.workers + q.phases > 0).collect())
}
