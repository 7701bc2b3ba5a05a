//! A Postgres cluster of this test run's own, gone with it, and a fresh migrated database for each test.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use sqlx::{Connection, PgConnection, PgPool, postgres::PgConnectOptions};

/// Folder of the socket.
static CLUSTER: LazyLock<PathBuf> = LazyLock::new(start);

/// Connections of each test's pool.
const CONNECTIONS: u32 = 24;

pub async fn fresh_database() -> PgPool {
    let socket = tokio::task::spawn_blocking(|| CLUSTER.clone()).await.expect("a cluster");
    let options = PgConnectOptions::new_without_pgpass().socket(socket).username("upscore");
    let mut admin = PgConnection::connect_with(&options.clone().database("postgres")).await.expect("a connection");
    let name = format!("t{}", uuid::Uuid::now_v7().simple());
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    sqlx::raw_sql(create).execute(&mut admin).await.expect("a database");
    let pool = upscore::db::pool(options.database(&name), CONNECTIONS);
    upscore::db::migrate(&pool).await.expect("migrated");
    pool
}

#[allow(clippy::zombie_processes, reason = "the watchdog outlives this process: that is its point")]
fn start() -> PathBuf {
    let bin = binaries();
    let folder = tempfile::Builder::new().prefix("upscore-test-").tempdir_in("/tmp").expect("a folder").keep();
    // Postgres refuses root.
    let root = output(Command::new("id").arg("-u")) == "0";
    if root {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("permissions");
    }
    let command = |program: &str| {
        let mut command = Command::new(bin.join(program));
        command.current_dir(&folder).stdin(Stdio::null());
        if root {
            let id = |flag| output(Command::new("id").args([flag, "postgres"])).parse().expect("a user postgres");
            command.uid(id("-u")).gid(id("-g"));
        }
        command
    };
    output(command("initdb").args(["-D", "data", "-A", "trust", "-U", "upscore", "--no-sync"]));
    let options = format!("-k {} -h '' -c fsync=off -c max_connections=400", folder.display());
    output(command("pg_ctl").args(["-D", "data", "-w", "-l", "log", "-o", &options, "start"]));
    // Outlives a killed run by a second, and then takes everything away.
    let watch = r#"while kill -0 "$1" 2>/dev/null; do sleep 1; done
        kill -QUIT "$(head -1 "$2/data/postmaster.pid")"; sleep 1; rm -rf "$2""#;
    let mut watchdog = Command::new("sh");
    watchdog.args(["-c", watch, "watchdog", &std::process::id().to_string()]).arg(&folder).process_group(0);
    let silent = watchdog.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    drop(silent.spawn().expect("a watchdog"));
    folder
}

/// Of the newest Postgres on this machine.
fn binaries() -> PathBuf {
    if let Some(bin) = std::env::var_os("PG_BIN_DIR") {
        return bin.into();
    }
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path());
    let newest = debian.max_by_key(|p| p.file_name().and_then(|n| n.to_str()?.parse::<u32>().ok()));
    newest.map_or_else(|| Path::new("/usr/bin").to_owned(), |version| version.join("bin"))
}

fn output(command: &mut Command) -> String {
    // pg_ctl leaves its output open in the server: only a file can be waited for.
    let mut captured = tempfile::tempfile().expect("a file");
    let status = command
        .stdout(captured.try_clone().expect("a handle"))
        .stderr(captured.try_clone().expect("a handle"))
        .status()
        .unwrap_or_else(|e| panic!("{command:?}: {e} (install Postgres, or set PG_BIN_DIR)"));
    let mut text = String::new();
    use std::io::{Read, Seek};
    captured.rewind().expect("rewound");
    captured.read_to_string(&mut text).expect("text");
    assert!(status.success(), "{command:?}: {text}");
    text.trim().to_owned()
}
