//! The self-test of the sandbox, at the start of a worker: a child locked in like any other does what it must, then tries
//! every escape, at bait that is open to every process outside. Once the model has run, so that ONNX Runtime's threads (and
//! on CUDA the driver's) are there; every thread tries, and one made then, and from outside the kernel's account of each is read:
//! its user, rights and filters, and where the supervisor may see them (root), its namespaces.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;

#[cfg(target_os = "linux")]
use super::sandbox::INTERRUPT;

use super::{
    Limits, Tools, model,
    onnx::build::{Conv, GraphBuilder},
    runner::{Fault, Runner, Setup, Slot},
    sandbox::{Bait, Id, Probe, Tried},
};

/// How long it may take; it takes a tenth of a second.
const TIME: Duration = Duration::from_secs(60);
/// After so long a thread that still blocks signals is taken to do so always.
#[cfg(target_os = "linux")]
const SETTLED: Duration = Duration::from_secs(5);
/// Address space of the child, bytes.
const MEMORY: u64 = 4 << 30;
/// Size of the picture that the harmless model gets.
const SIZE: (u32, u32) = (8, 6);

/// What the self-test found.
#[derive(Debug)]
pub struct Report {
    /// Protections in force, as stored with each score.
    pub level: String,
    /// Every escape that was tried; open where it was to any thread.
    pub probes: Vec<Probe>,
    /// Every thread of the model's process, the first its main one, and one made for this.
    pub threads: Vec<Thread>,
}

/// One thread of the model's process.
#[derive(Debug, Clone, Serialize)]
pub struct Thread {
    pub name: String,
    /// How many escapes it tried; absent: it lets no signal interrupt it, and only the kernel's account of it was read.
    pub tried: Option<usize>,
    /// Those that were not stopped.
    pub open: Vec<String>,
    /// It is in none of the supervisor's own namespaces for files, network, IPC and host name; absent: there are none
    /// but those, or the supervisor may not see it.
    pub namespaces: Option<bool>,
}

/// Runs it for `device`. An error: the sandbox cannot be set up, or a harmless model cannot run in it.
pub fn run(tools: &Tools, device: &str) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let (secret, open) = (folder.path().join("secret"), folder.path().join("open"));
    fs::write(&secret, "open to all")?;
    fs::create_dir(&open)?;
    for (path, mode) in [(folder.path(), 0o755), (&secret, 0o644), (&open, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let socket = open.join("socket");
    let _socket = match UnixListener::bind(&socket) {
        // A path too long for a socket: nobody can connect to one there.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => None,
        made => Some(made.context("a socket to listen at")?),
    };
    if socket.exists() {
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777))?;
    }
    let shared_memory = SharedMemory::new()?;
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port to listen at")?;
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("a port to listen at")?;
    let name = format!("upscore-selftest-{}-{}", std::process::id(), tcp.local_addr()?.port());
    let _unix = abstract_socket(&name)?;
    let descriptor = inheritable(&tcp)?;
    let setup = Setup {
        program: tools.runner.clone(),
        onnxruntime: tools.onnxruntime.clone(),
        device: device.to_owned(),
        threads: 2,
        limits: Limits { memory_bytes: MEMORY, time: TIME },
        strict: tools.strict_sandbox,
    };
    let start = || Runner::start(&setup, Arc::new(AtomicBool::new(false)));
    let (mut runner, neighbour) = (start()?, start()?);
    let level = runner.sandbox.clone();
    harmless(&mut runner).map_err(ours).context("a harmless model in the sandbox")?;
    let seen = accounts(&runner).context("looking at the threads of the model's process")?;
    let bait = Bait {
        file: secret,
        folder: open,
        library: std::path::absolute(&tools.onnxruntime)?,
        tcp: tcp.local_addr()?.port(),
        udp: udp.local_addr()?.port(),
        unix: name,
        socket,
        shared_memory: shared_memory.key,
        pid: std::process::id() as Id,
        neighbour: neighbour.pid() as Id,
        descriptor: descriptor.as_raw_fd(),
        memory_bytes: MEMORY,
        threads: seen.iter().filter(|account| account.interruptible).map(|account| account.id).collect(),
    };
    let tried = runner.probe(bait).map_err(ours).context("trying the escapes")?;
    summed(level, &seen, tried)
}

/// One report of what was tried inside and seen from outside.
fn summed(level: String, seen: &[Account], tried: Vec<Tried>) -> Result<Report> {
    let first = tried.first().and_then(|first| first.probes.clone()).unwrap_or_default();
    ensure!(!first.is_empty(), "no escape was tried");
    let silent = seen.iter().filter(|account| tried.iter().all(|tried| tried.thread != account.id));
    let silent: Vec<Tried> = silent.map(|account| Tried { thread: account.id, probes: None }).collect();
    let mut threads = Vec::new();
    for Tried { thread, probes } in tried.into_iter().chain(silent) {
        let account = seen.iter().find(|account| account.id == thread);
        let open = probes.iter().flatten().filter(|probe| probe.open).map(|probe| probe.escape.clone());
        let wrong = account.iter().flat_map(|account| account.wrong(seen)).filter(|(_, open)| *open);
        threads.push(Thread {
            name: account.map_or("made for the test", |account| &account.name).to_owned(),
            tried: probes.as_ref().map(Vec::len),
            open: open.chain(wrong.map(|(escape, _)| escape.to_owned())).collect(),
            namespaces: account.and_then(|account| account.namespaces),
        });
    }
    let looked_at = seen.first().map(|account| account.wrong(seen)).unwrap_or_default();
    let escapes =
        first.into_iter().map(|probe| probe.escape).chain(looked_at.into_iter().map(|(name, _)| name.to_owned()));
    let probes =
        escapes.map(|escape| Probe { open: threads.iter().any(|thread| thread.open.contains(&escape)), escape });
    Ok(Report { level, probes: probes.collect(), threads })
}

/// What the kernel says of a thread.
struct Account {
    id: Id,
    name: String,
    users: Vec<u32>,
    capable: bool,
    /// It does not block the signal by which it is asked to try.
    interruptible: bool,
    no_new_privileges: bool,
    /// Filters of system calls.
    filters: u32,
    /// None of the supervisor's; absent as in [`Thread::namespaces`].
    namespaces: Option<bool>,
}

impl Account {
    /// Escapes that this account would show, and whether it does. `all`: of its process, the main thread's first.
    fn wrong(&self, all: &[Account]) -> Vec<(&'static str, bool)> {
        let most = all.iter().map(|other| other.filters).max().unwrap_or_default();
        let main = all.first().map(|main| &main.users);
        // SAFETY: a plain system call.
        let root = unsafe { libc::geteuid() == 0 };
        let mut wrong = vec![
            ("have a thread outside the filters of system calls", self.filters == 0 || self.filters < most),
            ("have a thread that may gain rights", !self.no_new_privileges),
            ("have a thread with capabilities", self.capable),
            ("have a thread of another user", Some(&self.users) != main || (root && self.users.contains(&0))),
        ];
        if let Some(own) = self.namespaces {
            wrong.push(("have a thread in the machine's namespaces", !own));
        }
        wrong
    }
}

/// Of every thread of the child. One that has just been made blocks all signals until it first runs, so those that do are
/// looked at again for a while.
#[cfg(target_os = "linux")]
fn accounts(runner: &Runner) -> Result<Vec<Account>> {
    let asked = std::time::Instant::now();
    loop {
        let found = accounts_now(runner)?;
        if found.iter().all(|account| account.interruptible) || asked.elapsed() > SETTLED {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(target_os = "linux")]
fn accounts_now(runner: &Runner) -> Result<Vec<Account>> {
    let main = runner.pid() as Id;
    let folder = std::path::PathBuf::from(format!("/proc/{main}/task"));
    let mut ids = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Id>().ok()));
    }
    ids.sort_by_key(|&id| (id != main, id));
    ensure!(ids.len() > 1, "ONNX Runtime made no thread that could be looked at");
    let own = !runner.sandbox.contains("no namespaces");
    ids.into_iter().map(|id| account(&folder.join(id.to_string()), id, own)).collect()
}

#[cfg(not(target_os = "linux"))]
fn accounts(_: &Runner) -> Result<Vec<Account>> {
    Ok(Vec::new())
}

#[cfg(target_os = "linux")]
fn account(folder: &std::path::Path, id: Id, own: bool) -> Result<Account> {
    let status = fs::read_to_string(folder.join("status"))?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
    };
    let number = |name: &str| field(name).parse::<u32>().ok();
    let filters = match number("Seccomp") {
        // Before Linux 5.9 they are not counted.
        Some(2) => number("Seccomp_filters").unwrap_or(1),
        _ => 0,
    };
    let blocked = u64::from_str_radix(field("SigBlk"), 16).context("the signals that a thread blocks")?;
    let link = |process: &std::path::Path, kind: &str| fs::read_link(process.join("ns").join(kind)).ok();
    let apart = |kind: &str| Some(link(folder, kind)? != link(std::path::Path::new("/proc/self"), kind)?);
    let kinds: Option<Vec<bool>> = ["mnt", "net", "ipc", "uts"].into_iter().map(apart).collect();
    Ok(Account {
        id,
        name: field("Name").to_owned(),
        users: field("Uid").split_whitespace().filter_map(|user| user.parse().ok()).collect(),
        capable: ["CapInh", "CapPrm", "CapEff", "CapAmb"].iter().any(|set| !field(set).trim_matches('0').is_empty()),
        interruptible: blocked & (1 << (INTERRUPT - 1)) == 0,
        no_new_privileges: number("NoNewPrivs") == Some(1),
        filters,
        namespaces: kinds.filter(|_| own).map(|kinds| kinds.iter().all(|&apart| apart)),
    })
}

/// What an evaluation does, in small: shapes from a profile, a session, a pass.
fn harmless(runner: &mut Runner) -> Result<(), Fault> {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let x = g.conv(x, Conv::new(48, 3));
    let sr = g.depth_to_space(x, 4);
    let model = model::vet(g.build(sr)).map_err(|problems| anyhow!("the harmless model is refused: {problems:?}"))?;
    runner.flat(&model.flat_bytes())?;
    runner.shapes(SIZE.0, SIZE.1)?;
    runner.load(Slot::Entry, &model.bytes)?;
    let values = 3 * SIZE.0 * SIZE.1;
    let output = runner.run(&vec![0.5; values as usize], SIZE, 16 * u64::from(values))?;
    let expected = [1, 3, 4 * i64::from(SIZE.0), 4 * i64::from(SIZE.1)];
    if output.dims != expected {
        return Err(Fault::Ours(anyhow!("it gave {:?}", output.dims)));
    }
    Ok(())
}

/// Nobody's model is at fault here.
fn ours(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Model(problem) => anyhow!(problem),
        Fault::Ours(error) => error,
    }
}

#[cfg(target_os = "linux")]
fn abstract_socket(name: &str) -> Result<UnixListener> {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
    Ok(UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?)
}

#[cfg(not(target_os = "linux"))]
fn abstract_socket(name: &str) -> Result<UnixListener> {
    Ok(UnixListener::bind(std::env::temp_dir().join(name))?)
}

/// Memory of System V that everybody may use, gone with this value.
struct SharedMemory {
    key: i32,
    #[cfg(target_os = "linux")]
    id: libc::c_int,
}

impl SharedMemory {
    #[cfg(target_os = "linux")]
    fn new() -> Result<SharedMemory> {
        for _ in 0..16 {
            let key = rand::random_range(1..i32::MAX);
            // SAFETY: plain system calls; nothing is mapped.
            let id = unsafe { libc::shmget(key, 4096, libc::IPC_CREAT | libc::IPC_EXCL | 0o666) };
            if id >= 0 {
                return Ok(SharedMemory { key, id });
            }
        }
        Err(std::io::Error::last_os_error()).context("memory of System V")
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> Result<SharedMemory> {
        Ok(SharedMemory { key: 0 })
    }
}

#[cfg(target_os = "linux")]
impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: a plain system call on what is ours.
        unsafe { libc::shmctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}

/// A descriptor that a careless program would hand to its children. High up, where no child has one of its own.
fn inheritable(file: &impl AsRawFd) -> Result<OwnedFd> {
    // SAFETY: the new descriptor is ours alone.
    unsafe {
        let copy = libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, 100);
        ensure!(copy >= 0, "no descriptor left: {}", std::io::Error::last_os_error());
        Ok(OwnedFd::from_raw_fd(copy))
    }
}
