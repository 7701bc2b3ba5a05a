//! The life of the server: make the cluster, start or adopt, watch, restart, stop.

use std::{
    fs::{self, File, Permissions},
    io::ErrorKind,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use sqlx::{Connection, PgConnection};
use tokio::{
    process::Child,
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Settings, USER, binaries, identity::Identity};

/// Between looks at a server that is coming up.
const LOOK: Duration = Duration::from_millis(25);
/// Between looks at a server that another process keeps: how soon we take over when that process ends.
const WATCH: Duration = Duration::from_secs(2);
/// How long starts may fail at first: a predecessor that shuts down, or whose last processes linger, is gone by then.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a living server may recover after a crash before it takes connections.
const RECOVERY: Duration = Duration::from_secs(600);
/// Pause before the first restart, doubled with each failure up to the longest.
const BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// How long a polite shutdown may take before a rude one, which costs a recovery at the next start.
const SHUTDOWN: Duration = Duration::from_secs(30);
/// Bytes of log after which a new one is begun at the next start; one old one is kept.
const LOG_BYTES: u64 = 16 << 20;
/// A socket's path may have 107 bytes on Linux and 103 on macOS, and its file name takes some.
const LONGEST_SOCKET_DIR: usize = 80;

/// Where a cluster and its socket are.
#[derive(Debug, Clone)]
pub struct Place {
    pub cluster: PathBuf,
    pub socket_dir: PathBuf,
    pub log: PathBuf,
}

/// A prepared cluster and how to start its server.
struct Server<'a> {
    place: Place,
    bin: PathBuf,
    identity: Identity,
    settings: &'a Settings,
}

/// What a start came to.
enum Started {
    Spawned(Child),
    /// Another process's; the connection notices its end.
    Adopted(PgConnection),
}

/// The thread's whole life.
pub fn run(
    data_dir: &Path,
    settings: &Settings,
    stop: &CancellationToken,
    ready: oneshot::Sender<anyhow::Result<Place>>,
) {
    let begun = prepare(data_dir, settings).and_then(|server| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok((server, runtime))
    });
    match begun {
        Ok((server, runtime)) => runtime.block_on(supervise(&server, stop, ready)),
        Err(error) => drop(ready.send(Err(error))),
    }
}

/// Makes the folders and, at first, the cluster. Safe against another process doing the same.
fn prepare<'a>(data_dir: &Path, settings: &'a Settings) -> anyhow::Result<Server<'a>> {
    let root = data_dir.join("postgres");
    fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
    let root = root.canonicalize()?;
    let lock = File::create(root.join("lock")).with_context(|| format!("writing to {}", root.display()))?;
    lock.lock().context("waiting for the lock of the cluster")?;

    let cluster = root.join("cluster");
    let version = match fs::read_to_string(cluster.join("PG_VERSION")) {
        Ok(text) => Some(text.trim().parse().context("the cluster's PG_VERSION")?),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).context("reading the cluster's PG_VERSION"),
    };
    let bin = binaries::find(version)?;
    let identity = Identity::choose(&cluster, &root, &bin)?;
    let place = Place { socket_dir: socket_dir(&root)?, log: root.join("postgres.log"), cluster };
    private_folder(&place.socket_dir, identity)?;
    let server = Server { place, bin, identity, settings };
    if version.is_none() {
        server.initdb(&root.join("cluster.new"))?;
    }
    if fs::metadata(&server.place.log).is_ok_and(|log| log.len() > LOG_BYTES) {
        fs::rename(&server.place.log, root.join("postgres.log.1"))?;
    }
    Ok(server)
}

/// In the cluster's folder, unless that path is too long for a socket: then in /tmp (not TMPDIR, which may differ between
/// the processes that must meet here), named after the folder's inode.
fn socket_dir(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = root.join("run");
    if folder.as_os_str().len() <= LONGEST_SOCKET_DIR {
        return Ok(folder);
    }
    let meta = fs::metadata(root)?;
    Ok(PathBuf::from(format!("/tmp/upscore-pg-{:x}-{:x}", meta.dev(), meta.ino())))
}

/// Makes a 0700 folder of the server's; refuses one that somebody else put there.
fn private_folder(folder: &Path, identity: Identity) -> anyhow::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("making {}", folder.display()));
        }
        _ => (),
    }
    let meta = fs::symlink_metadata(folder)?;
    // SAFETY: takes nothing, cannot fail.
    let we = unsafe { libc::geteuid() };
    let server = if let Identity::User { uid, .. } = identity { uid } else { we };
    if !meta.is_dir() || (meta.uid() != we && meta.uid() != server) {
        bail!("{} is not ours: remove it", folder.display());
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    identity.own(folder)
}

impl Server<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        self.identity.take(&mut command);
        command
    }

    /// Into `temporary`, then renamed: an interrupted initdb leaves no half cluster.
    fn initdb(&self, temporary: &Path) -> anyhow::Result<()> {
        info!(cluster = %self.place.cluster.display(), programs = %self.bin.display(), "making a private Postgres cluster");
        match fs::remove_dir_all(temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context("removing a half-made cluster");
            }
            _ => (),
        }
        private_folder(temporary, self.identity)?;
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(temporary).args([
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--data-checksums",
        ]);
        if !self.settings.fsync {
            initdb.arg("--no-sync");
        }
        let output = initdb.output().context("starting initdb")?;
        if !output.status.success() {
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            bail!("initdb: {}\n{out}{err}", output.status);
        }
        fs::rename(temporary, &self.place.cluster).context("putting the new cluster in place")
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let Settings { fsync, detached, max_connections } = *self.settings;
        let log = File::options().create(true).append(true).open(&self.place.log);
        let log = log.with_context(|| format!("writing to {}", self.place.log.display()))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(&self.place.cluster).arg("-k").arg(&self.place.socket_dir);
        command.args(["-h", "", "-p", &super::PORT.to_string()]);
        command.args(["-c", &format!("max_connections={max_connections}"), "-c", "logging_collector=off"]);
        // Our queries are short; compiling one costs more than it saves.
        command.args(["-c", "jit=off"]);
        if !fsync {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        command.stdout(log.try_clone()?).stderr(log);
        // SAFETY: only system calls between fork and exec. Registered after the identity's, which would clear the signal.
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(&mut command, move || {
                // Its own group: Ctrl-C in our terminal must not stop the database before us.
                libc::setpgid(0, 0);
                #[cfg(target_os = "linux")]
                if !detached {
                    // Fast shutdown when we end, even by SIGKILL.
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT);
                }
                let _ = detached;
                Ok(())
            });
        }
        let program = self.bin.join("postgres");
        tokio::process::Command::from(command).spawn().with_context(|| format!("starting {}", program.display()))
    }

    /// One try: adopts a server that answers, else spawns one and waits until it does. `Err` holds the exit status of one
    /// that ended instead.
    async fn start(&self) -> anyhow::Result<Result<Started, ExitStatus>> {
        if let Ok(connection) = self.place.ping().await {
            return Ok(Ok(Started::Adopted(connection)));
        }
        let mut child = self.spawn()?;
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Err(status));
            }
            if let Ok(connection) = self.place.ping().await {
                // Another process's server may have answered while ours is about to find that out and end.
                if postmaster(&self.place.cluster) == child.id() {
                    connection.close().await.ok();
                    return Ok(Ok(Started::Spawned(child)));
                }
            }
            if begun.elapsed() > RECOVERY {
                child.start_kill()?;
                bail!("Postgres took no connections within {RECOVERY:?}; its log is {}", self.place.log.display());
            }
            sleep(LOOK).await;
        }
    }

    /// Tries until one comes up or we lose patience.
    async fn start_patiently(&self) -> anyhow::Result<Started> {
        let begun = Instant::now();
        let held = || self.place.cluster.join("postmaster.pid").exists();
        loop {
            let held_before = held();
            let status = match self.start().await? {
                Ok(started) => return Ok(started),
                Err(status) => status,
            };
            // Without a predecessor that held the cluster, a second try would end as the first.
            if !(held_before || held()) || begun.elapsed() > PATIENCE {
                bail!(
                    "Postgres does not start ({status}); the end of {}:\n{}",
                    self.place.log.display(),
                    self.log_end()
                );
            }
            sleep(BACKOFF).await;
        }
    }

    fn log_end(&self) -> String {
        let log = fs::read(&self.place.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

/// Process id of the server that holds the cluster, by the cluster's own lock file.
fn postmaster(cluster: &Path) -> Option<u32> {
    fs::read_to_string(cluster.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
}

async fn supervise(server: &Server<'_>, stop: &CancellationToken, ready: oneshot::Sender<anyhow::Result<Place>>) {
    let mut started = match server.start_patiently().await {
        Ok(started) => started,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let _ = ready.send(Ok(server.place.clone()));
    loop {
        match started {
            Started::Spawned(child) => {
                info!(pid = child.id(), socket = %server.place.socket_dir.display(), "Postgres runs");
                if server.settings.detached {
                    return;
                }
                let Some(status) = keep(child, stop).await else { return };
                warn!(%status, log = %server.place.log.display(), "Postgres ended: starting it again");
            }
            Started::Adopted(connection) => {
                info!(socket = %server.place.socket_dir.display(), "Postgres runs already: using it");
                if server.settings.detached || watch(connection, stop).await {
                    return;
                }
                info!("the Postgres that we used has ended: starting it");
            }
        }
        let Some(again) = restart(server, stop).await else { return };
        started = again;
    }
}

/// Waits for the end of a server of ours. `None`: it was told to stop, and has.
async fn keep(mut child: Child, stop: &CancellationToken) -> Option<ExitStatus> {
    tokio::select! {
        status = child.wait() => return Some(status.unwrap_or_default()),
        () = stop.cancelled() => (),
    }
    signal(&child, libc::SIGINT);
    if timeout(SHUTDOWN, child.wait()).await.is_err() {
        warn!("Postgres does not shut down: stopping it at once");
        signal(&child, libc::SIGQUIT);
        let _ = child.wait().await;
    }
    None
}

fn signal(child: &Child, signal: i32) {
    if let Some(pid) = child.id() {
        // SAFETY: a child that we have not waited for, so the id is still its own.
        unsafe { libc::kill(pid as i32, signal) };
    }
}

/// Waits for the end of another's server; true: told to stop watching.
async fn watch(mut connection: PgConnection, stop: &CancellationToken) -> bool {
    loop {
        tokio::select! {
            () = stop.cancelled() => return true,
            () = sleep(WATCH) => (),
        }
        if !matches!(timeout(super::PING, connection.ping()).await, Ok(Ok(()))) {
            return false;
        }
    }
}

/// Tries until the server is back; `None`: told to stop.
async fn restart(server: &Server<'_>, stop: &CancellationToken) -> Option<Started> {
    let mut pause = BACKOFF;
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep(pause) => (),
        }
        pause = (pause * 2).min(LONGEST_BACKOFF);
        match server.start().await {
            Ok(Ok(started)) => return Some(started),
            Ok(Err(status)) => warn!(%status, again_in = ?pause, "Postgres does not start yet"),
            Err(error) => warn!(error = format!("{error:#}"), again_in = ?pause, "Postgres does not start"),
        }
    }
}
