//! A fresh database for each test, out of one Postgres that all test processes share.
//!
//! The first that needs it starts it, beneath the target folder and for longer than itself; the others adopt it. The
//! schema is migrated once, into a template that each test's database is cloned from. `scripts/test.sh` ends it all.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::sync::OnceCell;
use upscore::{
    db,
    postgres::{Cluster, Settings},
};

/// A test's pool: room for many workers at once.
const CONNECTIONS: u32 = 24;

/// Databases of tests older than this are left over: a run takes minutes.
const LEFT_OVER: Duration = Duration::from_secs(3600);

/// Any number, as long as nobody else locks it.
const TEMPLATE_LOCK: i64 = 0x7465_6d70_6c61_7465;

struct Shared {
    cluster: Cluster,
    template: String,
}

/// An empty database with the current schema, of this test alone.
pub async fn fresh_database() -> PgPool {
    let Shared { cluster, template } = shared().await;
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let mut admin = connect(cluster, "postgres").await;
    run(&mut admin, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    admin.close().await.expect("a goodbye");
    db::pool(cluster.connect_options(&name), CONNECTIONS)
}

async fn shared() -> &'static Shared {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shared-cluster");
            let settings = Settings { fsync: false, detached: true, max_connections: 500 };
            let cluster = Cluster::start_with(&folder, settings).await.expect("the tests' Postgres");
            let template = template(&cluster).await;
            Shared { cluster, template }
        })
        .await
}

/// Makes the template of these migrations, unless there is one; also removes what earlier runs left.
async fn template(cluster: &Cluster) -> String {
    let mut hash = Sha256::new();
    for migration in db::MIGRATOR.iter() {
        hash.update(&migration.checksum);
    }
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let (template, unfinished) = (format!("template_{hash}"), format!("unfinished_{hash}"));

    let mut admin = connect(cluster, "postgres").await;
    // Held until the connection ends: other processes wait here for the template.
    sqlx::query("SELECT pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut admin).await.expect("a lock");
    for name in left_over(&mut admin).await {
        run(&mut admin, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
    }
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(&template)
        .fetch_one(&mut admin)
        .await
        .expect("the list of databases");
    if !there {
        run(&mut admin, format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")).await;
        run(&mut admin, format!("CREATE DATABASE {unfinished}")).await;
        let pool = db::pool(cluster.connect_options(&unfinished), 1);
        db::migrate(&pool).await.expect("the migrations");
        pool.close().await;
        run(&mut admin, format!("ALTER DATABASE {unfinished} RENAME TO {template}")).await;
    }
    admin.close().await.expect("a goodbye");
    template
}

/// Old databases of tests: a UUIDv7 begins with its time in milliseconds, twelve hexadecimal digits.
async fn left_over(admin: &mut PgConnection) -> Vec<String> {
    let oldest = SystemTime::now() - LEFT_OVER;
    let oldest = oldest.duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis();
    sqlx::query_scalar("SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%' AND datname < $1")
        .bind(format!("test_{oldest:012x}"))
        .fetch_all(admin)
        .await
        .expect("the list of databases")
}

async fn connect(cluster: &Cluster, database: &str) -> PgConnection {
    PgConnection::connect_with(&cluster.connect_options(database)).await.expect("the tests' Postgres answers")
}

async fn run(admin: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement.as_str()))
        .execute(admin)
        .await
        .unwrap_or_else(|e| panic!("{statement}: {e}"));
}
