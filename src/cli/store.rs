//! What every command that works on the store opens first: database, schema, blobs.

use anyhow::Context;
use sqlx::{PgPool, postgres::PgConnectOptions};

use crate::{
    config::{DataOptions, DatabaseOptions, Limits, LogOptions},
    db,
    postgres::{self, Cluster},
    storage::Storage,
    team::name,
    telemetry,
};

/// Where the store is, and what is logged.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub data: DataOptions,
    #[command(flatten)]
    pub database: DatabaseOptions,
    #[command(flatten)]
    pub log: LogOptions,
}

/// An open store.
pub struct Store {
    pub pool: PgPool,
    pub storage: Storage,
    /// For pools of one's own.
    pub connect: PgConnectOptions,
    cluster: Option<Cluster>,
}

impl Store {
    /// Starts the private cluster where no other database is named, and brings the schema up to date.
    pub async fn open(options: &Options, limits: &Limits) -> anyhow::Result<Store> {
        let data_dir = &options.data.data_dir;
        let (connect, cluster) = postgres::open(options.database.url(), data_dir).await?;
        let pool = db::pool(connect.clone(), limits.connections);
        db::migrate(&pool).await?;
        // Names of before are harmless without: a later start fills in what this one could not.
        if let Err(error) = name::backfill(&pool).await {
            tracing::warn!(%error, "looks of older names were not noted");
        }
        let storage = Storage::local(data_dir, limits.free_bytes)?;
        Ok(Store { pool, storage, connect, cluster })
    }

    /// Closes the pool; stops the cluster if it was started here.
    pub async fn close(self) -> anyhow::Result<()> {
        self.pool.close().await;
        match self.cluster {
            Some(cluster) => cluster.stop().await,
            None => Ok(()),
        }
    }
}

/// Runs a command on a runtime of its own, with logging as asked for.
pub fn block_on<T>(log: &LogOptions, command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    telemetry::init(log)?;
    tokio::runtime::Runtime::new().context("starting the runtime")?.block_on(command)
}
