//! The private cluster: its data survive whatever is killed, and two processes share one server.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection};
use upscore::postgres::{Cluster, DATABASE, Settings};

/// Tells the helper process which data folder to use.
const HELD: &str = "UPSCORE_TEST_HELD_CLUSTER";

#[tokio::test]
async fn data_outlives_a_killed_server_which_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = started(folder.path()).await;
    write(&cluster, 1).await;
    let first = postmaster(folder.path()).expect("a server");

    kill(first);
    let mut connection = reconnect(&cluster).await;

    assert_eq!(rows(&mut connection).await, [1]);
    assert_ne!(postmaster(folder.path()), Some(first));
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn data_outlive_a_stop_and_a_start() {
    let folder = tempfile::tempdir().unwrap();
    // Where the account `postgres` reaches the folder, root uses that; elsewhere a user namespace.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let cluster = started(folder.path()).await;
    write(&cluster, 1).await;
    cluster.stop().await.unwrap();
    assert_eq!(postmaster(folder.path()), None, "stopped");

    let cluster = started(folder.path()).await;
    assert_eq!(rows(&mut connect(&cluster).await).await, [1]);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn data_outlive_kill_9_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mut holder = holder(folder.path()).await;
    let server = postmaster(folder.path()).expect("a server");
    kill(server);
    holder.kill().unwrap();
    holder.wait().unwrap();

    let cluster = started(folder.path()).await;
    assert_eq!(rows(&mut connect(&cluster).await).await, [1]);
    cluster.stop().await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_killed_process_leaves_no_server_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut holder = holder(folder.path()).await;
    let server = postmaster(folder.path()).expect("a server");
    holder.kill().unwrap();
    holder.wait().unwrap();

    // At once, while the old server shuts down: the start waits for that.
    let cluster = started(folder.path()).await;
    assert_ne!(postmaster(folder.path()), Some(server));
    assert_eq!(rows(&mut connect(&cluster).await).await, [1]);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_start_uses_the_running_server_and_takes_over_when_it_ends() {
    // Too long for a socket's path, so both must agree on another place.
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a-folder-name-of-forty-characters-at-least").join("and-another-one");
    fs::create_dir_all(&data).unwrap();
    let first = started(&data).await;
    let server = postmaster(&data).expect("a server");
    let begun = Instant::now();
    let second = started(&data).await;
    println!("adopted in {:?}", begun.elapsed());
    assert_eq!(postmaster(&data), Some(server));
    write(&second, 1).await;
    assert_eq!(rows(&mut connect(&first).await).await, [1]);

    // Who did not start it does not stop it.
    let third = started(&data).await;
    third.stop().await.unwrap();
    assert_eq!(postmaster(&data), Some(server));

    first.stop().await.unwrap();
    assert_eq!(rows(&mut reconnect(&second).await).await, [1]);
    assert_ne!(postmaster(&data), Some(server));

    let socket_dir = second.connect_options(DATABASE).get_socket().expect("a socket").clone();
    second.stop().await.unwrap();
    fs::remove_dir_all(socket_dir).unwrap();
}

#[tokio::test]
async fn two_processes_may_make_the_cluster_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = tokio::join!(started(folder.path()), started(folder.path()));
    write(&one, 1).await;
    assert_eq!(rows(&mut connect(&two).await).await, [1]);
    two.stop().await.unwrap();
    one.stop().await.unwrap();
}

/// The other process of the tests above: starts the cluster, writes a row, and waits to be killed.
#[tokio::test]
#[ignore = "run by other tests, as a process to kill"]
async fn hold_a_cluster() {
    let Some(data) = std::env::var_os(HELD).map(PathBuf::from) else { return };
    let cluster = started(&data).await;
    write(&cluster, 1).await;
    fs::write(data.join("held"), "").unwrap();
    std::future::pending::<()>().await;
}

async fn holder(data: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "postgres::hold_a_cluster"])
        .env(HELD, data)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the helper process holds its cluster", async || data.join("held").exists().then_some(())).await;
    child
}

async fn started(data: &Path) -> Cluster {
    // What is written outlives the death of any process; fsync is for the death of the machine.
    let settings = Settings { fsync: false, ..Settings::default() };
    let cluster = Cluster::start_with(data, settings).await.unwrap();
    cluster.ensure_database(DATABASE).await.unwrap();
    cluster
}

async fn connect(cluster: &Cluster) -> PgConnection {
    PgConnection::connect_with(&cluster.connect_options(DATABASE)).await.unwrap()
}

async fn reconnect(cluster: &Cluster) -> PgConnection {
    let options = cluster.connect_options(DATABASE);
    until("the server is back", async || PgConnection::connect_with(&options).await.ok()).await
}

async fn write(cluster: &Cluster, number: i32) {
    let mut connection = connect(cluster).await;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS kept (number int)").execute(&mut connection).await.unwrap();
    sqlx::query("INSERT INTO kept VALUES ($1)").bind(number).execute(&mut connection).await.unwrap();
}

async fn rows(connection: &mut PgConnection) -> Vec<i32> {
    sqlx::query_scalar("SELECT number FROM kept ORDER BY 1").fetch_all(connection).await.unwrap()
}

/// Process id of the running server.
fn postmaster(data: &Path) -> Option<i32> {
    let text = fs::read_to_string(data.join("postgres/cluster/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok()
}

fn kill(pid: i32) {
    // SAFETY: the server of this test.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

async fn until<T>(what: &str, mut reached: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(value) = reached().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited 30 s in vain: {what}");
}
