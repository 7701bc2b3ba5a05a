//! The private Postgres of an installation without `DATABASE_URL`: a data folder goes in, connect options come out.
//!
//! ```text
//! DATA/postgres/cluster        the data, made by initdb
//!              /run            0700, holds the socket; no TCP port, so that nothing clashes and nobody else connects
//!              /postgres.log
//! ```
//!
//! A dedicated thread owns the server process, restarts it when it dies, and watches one that another `upscore` started.
//! When we are killed, the kernel tells the server to shut down (Linux); the next start waits for that, or recovers.
//! Only the process that spawned the server stops it.

mod binaries;
mod identity;
mod supervisor;

use std::{path::Path, time::Duration};

use anyhow::Context;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{sync::oneshot, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use supervisor::Place;

/// The database of an installation in its private cluster.
pub const DATABASE: &str = "upscore";

/// The cluster's superuser; whoever can reach the socket may be it.
const USER: &str = "upscore";

/// Only names the socket file, since the server opens no TCP port.
const PORT: u16 = 5432;

/// How long the server may take to answer a connection attempt.
const PING: Duration = Duration::from_secs(5);

/// How the server runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Off: a crash of the machine may lose the cluster. For tests only, where it saves seconds.
    pub fsync: bool,
    /// The server outlives us. For tests only, where many processes share one: `pg_ctl stop` ends it.
    pub detached: bool,
    /// Clients at once: the pools of a server and its workers on this machine.
    pub max_connections: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { fsync: true, detached: false, max_connections: 100 }
    }
}

/// A running private cluster. Dropping it stops the server too, without waiting for that.
#[derive(Debug)]
pub struct Cluster {
    place: Place,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Cluster {
    /// Starts the server of `data_dir`, or adopts the one that runs. Makes the cluster on first use.
    pub async fn start(data_dir: &Path) -> anyhow::Result<Cluster> {
        Self::start_with(data_dir, Settings::default()).await
    }

    pub async fn start_with(data_dir: &Path, settings: Settings) -> anyhow::Result<Cluster> {
        let stop = CancellationToken::new();
        let (ready, started) = oneshot::channel();
        let (data_dir, token) = (data_dir.to_owned(), stop.clone());
        // A thread of its own and for good: the kernel ends the server with the thread that spawned it.
        let thread = std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || supervisor::run(&data_dir, &settings, &token, ready))
            .context("starting the thread of Postgres")?;
        let guard = stop.clone().drop_guard();
        let place = started.await.context("the thread of Postgres ended")??;
        guard.disarm();
        Ok(Cluster { place, stop, thread: Some(thread) })
    }

    /// How to reach `database`.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        self.place.connect_options(database)
    }

    /// Makes the database unless it is there.
    pub async fn ensure_database(&self, name: &str) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect_with(&self.connect_options("postgres")).await?;
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut admin)
            .await?;
        if !there {
            let create = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
            match sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await {
                // Another process was faster: one of the two codes, by how much.
                Err(sqlx::Error::Database(e)) if e.code().is_some_and(|code| code == "42P04" || code == "23505") => (),
                made => made.map(|_| ()).with_context(|| format!("making the database {name}"))?,
            }
        }
        admin.close().await?;
        Ok(())
    }

    /// Stops the server if we spawned it, and waits until it has. Close pools first: open connections are cut off.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let joined = spawn_blocking(move || thread.join()).await.context("waiting for Postgres to stop")?;
            joined.map_err(|_| anyhow::anyhow!("the thread of Postgres panicked"))?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The database of an installation: `url`'s where one is given, else the private cluster's, which must be kept for as
/// long as the database is used.
pub async fn open(url: Option<&str>, data_dir: &Path) -> anyhow::Result<(PgConnectOptions, Option<Cluster>)> {
    if let Some(url) = url {
        return Ok((url.parse().context("DATABASE_URL")?, None));
    }
    let cluster = Cluster::start(data_dir).await?;
    cluster.ensure_database(DATABASE).await?;
    Ok((cluster.connect_options(DATABASE), Some(cluster)))
}

impl Place {
    fn connect_options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(PORT)
            .username(USER)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// Whether the server takes connections.
    async fn ping(&self) -> anyhow::Result<PgConnection> {
        let options = self.connect_options("postgres");
        Ok(tokio::time::timeout(PING, PgConnection::connect_with(&options)).await??)
    }
}
