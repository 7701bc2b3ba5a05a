//! The connection to Postgres and its schema.

use std::time::Duration;

use anyhow::Context;
use sqlx::{
    PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// The schema, step by step; each step can go back.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// How long a request waits for a free connection before it is told that we are busy.
const ACQUIRE: Duration = Duration::from_secs(5);

/// A pool of at most `connections`; nothing is connected before the first use.
pub fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE).connect_lazy_with(options)
}

/// Brings the schema up to date. Two processes may start at once: an advisory lock makes the second wait.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    MIGRATOR.run(pool).await.context("bringing the database schema up to date")
}

/// Whether the database answers and has every migration of this version.
pub async fn is_migrated(pool: &PgPool) -> sqlx::Result<bool> {
    // Not a checked query: the table is the migrator's own and not there when queries are checked.
    let applied =
        sqlx::query_scalar::<_, i64>("select version from _sqlx_migrations where success").fetch_all(pool).await?;
    Ok(MIGRATOR.iter().filter(|m| m.migration_type.is_up_migration()).all(|m| applied.contains(&m.version)))
}

/// The name of the broken constraint, where that is why a statement failed.
pub fn broken_constraint(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Database(e) => e.constraint(),
        _ => None,
    }
}

/// Whether a statement failed because a text held what Postgres stores in none: a NUL.
pub fn is_bad_text(error: &anyhow::Error) -> bool {
    let codes =
        |e: &sqlx::Error| e.as_database_error().and_then(|e| e.code()).is_some_and(|c| c == "22021" || c == "22P05");
    error.chain().filter_map(|cause| cause.downcast_ref::<sqlx::Error>()).any(codes)
}

/// Whether an error says that the database is away for now (restarting, unreachable, out of connections), so that a later
/// try may succeed.
pub fn is_away(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<sqlx::Error>()).any(|error| match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Tls(_) => true,
        // Connection exceptions, insufficient resources, operator intervention, serialisation failures.
        sqlx::Error::Database(e) => {
            e.code().is_some_and(|c| ["08", "53", "57", "40"].iter().any(|class| c.starts_with(class)))
        }
        _ => false,
    })
}
