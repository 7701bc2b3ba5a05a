//! The escapes that the self-test tries from inside, by bare system calls: where seccomp answers with SIGSYS, the libraries'
//! wrappers would not see a failure.

use std::{
    fs::{self, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
    ptr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicPtr, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use libc::c_long;

use super::{Bait, Device, Id, MAX_FILE_BYTES, OWN_USERS, Probe, Tried};
use crate::runtime::NO_TELEMETRY;

/// Set by the signal handler: the last call was trapped.
static TRAPPED: AtomicBool = AtomicBool::new(false);
/// What the thread that is interrupted next has to do.
static TASK: AtomicPtr<Task> = AtomicPtr::new(ptr::null_mut());
/// Interrupts a thread.
pub const INTERRUPT: libc::c_int = libc::SIGUSR1;
/// How long a thread has to answer, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(10);

struct Task {
    thread: Id,
    bait: Bait,
    scratch: std::path::PathBuf,
    device: Device,
    answer: Mutex<Option<Vec<Probe>>>,
}

extern "C" fn note(_: libc::c_int) {
    TRAPPED.store(true, Ordering::SeqCst);
}

/// Runs on the thread that the signal interrupted, one of a library's too: the only way to try from there. The threads wait
/// for work then, so that none holds a lock of the allocator.
extern "C" fn interrupted(_: libc::c_int) {
    // SAFETY: the pointer is null or to a task that is never given back; a plain system call.
    let (task, own) = unsafe { (TASK.load(Ordering::SeqCst).as_ref(), libc::gettid()) };
    let Some(task) = task.filter(|task| task.thread == own) else { return };
    let found = tries(&task.bait, &task.scratch, task.device);
    if let Ok(mut answer) = task.answer.lock() {
        *answer = Some(found);
    }
}

/// A system call's answer; `None`: it was not let through.
fn call(number: c_long, arguments: [usize; 6]) -> Option<c_long> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: every caller passes pointers to live memory of the right size, null, or none.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    (!TRAPPED.swap(false, Ordering::SeqCst) && answer >= 0).then_some(answer)
}

/// Whether a call reaches the kernel: it is given a pointer to nowhere, about which only the kernel itself complains.
fn reached(number: c_long, arguments: [usize; 6]) -> bool {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the kernel checks its pointers.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    let error = io::Error::last_os_error().raw_os_error();
    !TRAPPED.swap(false, Ordering::SeqCst)
        && (answer >= 0 || !matches!(error, Some(libc::EPERM | libc::ENOSYS | libc::EACCES)))
}

pub fn run(bait: &Bait, scratch: &Path, device: Device) -> Result<Vec<Tried>> {
    works(scratch)?;
    // SAFETY: `note` only stores to an atomic, and `interrupted` says why it may do more; an ignored SIGXFSZ makes the
    // write fail instead.
    unsafe {
        libc::signal(libc::SIGSYS, note as *const () as libc::sighandler_t);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::signal(INTERRUPT, interrupted as *const () as libc::sighandler_t);
    }
    // SAFETY: a plain system call.
    let own = || unsafe { libc::gettid() };
    let mut tried = vec![Tried { thread: own(), probes: Some(tries(bait, scratch, device)) }];
    for &thread in bait.threads.iter().filter(|&&thread| thread != own()) {
        let probes = interrupt(thread, bait, scratch, device);
        // CUDA's driver may have one of its own sleep in the kernel.
        ensure!(probes.is_some() || device != Device::Cpu, "thread {thread} does not answer");
        tried.push(Tried { thread, probes });
    }
    let new = std::thread::scope(|scope| {
        scope.spawn(|| Tried { thread: own(), probes: Some(tries(bait, scratch, device)) }).join()
    });
    tried.push(new.map_err(|_| anyhow!("a new thread did not end"))?);
    Ok(tried)
}

/// Has another thread of this process try.
fn interrupt(thread: Id, bait: &Bait, scratch: &Path, device: Device) -> Option<Vec<Probe>> {
    let task = Task { thread, bait: bait.clone(), scratch: scratch.to_owned(), device, answer: Mutex::new(None) };
    // Never given back: the thread may come late.
    let task: &'static Task = Box::leak(Box::new(task));
    TASK.store(ptr::from_ref(task).cast_mut(), Ordering::SeqCst);
    // SAFETY: a plain system call.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, INTERRUPT) };
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        if let Some(probes) = task.answer.lock().ok().and_then(|mut answer| answer.take()) {
            return Some(probes);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// Every escape, from the calling thread.
fn tries(bait: &Bait, scratch: &Path, device: Device) -> Vec<Probe> {
    let opens = |path: &Path| fs::File::open(path).is_ok();
    let (pid, neighbour) = (bait.pid as usize, bait.neighbour as usize);
    let socket = |family: libc::c_int, kind: libc::c_int| {
        call(libc::SYS_socket, [family as usize, kind as usize, 0, 0, 0, 0]).map(|fd| fd as usize)
    };
    let stream = || socket(libc::AF_INET, libc::SOCK_STREAM);
    let local = || socket(libc::AF_UNIX, libc::SOCK_STREAM);
    let given = |name: &std::ffi::OsStr| {
        name == NO_TELEMETRY.0 || name == "LD_LIBRARY_PATH" || name.as_bytes().starts_with(b"CUDA_")
    };
    let mut tries: Vec<(&str, bool)> = vec![
        ("read a file of the machine", opens(Path::new("/etc/passwd"))),
        ("read the supervisor's files", opens(&bait.file)),
        ("list a folder of the machine", fs::read_dir("/var").is_ok()),
        ("read the supervisor's environment", opens(Path::new(&format!("/proc/{pid}/environ")))),
        ("write outside its folder", fs::write(bait.folder.join("escaped"), "escaped").is_ok()),
        ("find a file in its current folder", fs::read_dir(".").is_ok_and(|mut entries| entries.next().is_some())),
        ("write a file larger than allowed", grows(&scratch.join("large"))),
        (
            "use an inherited descriptor",
            call(libc::SYS_fcntl, [bait.descriptor as usize, libc::F_GETFD as usize, 0, 0, 0, 0]).is_some(),
        ),
        ("read an environment variable", std::env::vars_os().any(|(name, _)| !given(&name))),
        ("run a program", reached(libc::SYS_execve, [1, 1, 1, 0, 0, 0])),
        ("start a process by clone", starts(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0, 0, 0])),
        ("start a process by clone3", reached(libc::SYS_clone3, [1, 88, 0, 0, 0, 0])),
        ("attach to the supervisor", call(libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, pid, 0, 0, 0, 0]).is_some()),
        ("read the supervisor's memory", reads_memory(pid)),
        ("signal the supervisor", call(libc::SYS_kill, [pid, 0, 0, 0, 0, 0]).is_some()),
        ("open the supervisor as a descriptor", call(libc::SYS_pidfd_open, [pid, 0, 0, 0, 0, 0]).is_some()),
        ("become root", call(libc::SYS_setresuid, [0, 0, 0, 0, 0, 0]).is_some()),
        ("mount a file system", reached(libc::SYS_mount, [1, 1, 1, 0, 0, 0])),
        ("make a namespace", reached(libc::SYS_unshare, [1, 0, 0, 0, 0, 0])),
        ("set up io_uring", reached(libc::SYS_io_uring_setup, [1, 1, 0, 0, 0, 0])),
        ("load a BPF program", reached(libc::SYS_bpf, [0, 1, 128, 0, 0, 0])),
        ("watch events of the machine", reached(libc::SYS_perf_event_open, [1, 0, 0, usize::MAX, 0, 0])),
        ("use the kernel's key rings", call(libc::SYS_keyctl, [0, (-3isize) as usize, 1, 0, 0, 0]).is_some()),
        ("dump core", dumps_core()),
        ("attach to another model's process", {
            call(libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, neighbour, 0, 0, 0, 0]).is_some()
        }),
        ("read another model's memory", reads_memory(neighbour)),
        ("signal another model's process", call(libc::SYS_kill, [neighbour, 0, 0, 0, 0, 0]).is_some()),
        ("signal another model's thread", call(libc::SYS_tgkill, [neighbour, neighbour, 0, 0, 0, 0]).is_some()),
        ("queue a signal to another model's process", queues_signal(neighbour)),
        (
            "have another model's process signalled by a descriptor",
            call(libc::SYS_fcntl, [0, libc::F_SETOWN as usize, neighbour, 0, 0, 0]).is_some(),
        ),
        ("change another model's limits", sets_limits(neighbour)),
        ("open a TCP socket", stream().is_some()),
        ("connect by TCP", stream().is_some_and(|fd| internet(libc::SYS_connect, fd, bait.tcp))),
        ("bind a TCP port", stream().is_some_and(|fd| internet(libc::SYS_bind, fd, 0))),
        (
            "send by UDP",
            socket(libc::AF_INET, libc::SOCK_DGRAM).is_some_and(|fd| internet(libc::SYS_connect, fd, bait.udp)),
        ),
        ("connect to an abstract unix socket", unix(local(), true, bait.unix.as_bytes())),
        ("connect to a unix socket of a folder", unix(local(), false, bait.socket.as_os_str().as_bytes())),
        ("share memory of System V", call(libc::SYS_shmget, [bait.shared_memory as usize, 1, 0, 0, 0, 0]).is_some()),
        ("leave its process group", reached(libc::SYS_setpgid, [0, usize::MAX, 0, 0, 0, 0])),
        (
            "outlive the supervisor",
            call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize, 0, 0, 0, 0]).is_some(),
        ),
        ("let others look into it", call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as usize, 0, 0, 0, 0, 0]).is_some()),
        ("change its personality", call(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]).is_some()),
        ("type into a terminal", reached(libc::SYS_ioctl, [0, libc::TIOCSTI as usize, 1, 0, 0, 0])),
        ("read the kernel's log", call(libc::SYS_syslog, [10, 0, 0, 0, 0, 0]).is_some()),
        ("watch the machine's files", reached(libc::SYS_fanotify_init, [usize::MAX, 0, 0, 0, 0, 0])),
        ("set the clock", reached(libc::SYS_clock_settime, [0, 1, 0, 0, 0, 0])),
    ];
    #[cfg(target_arch = "x86_64")]
    tries.extend([
        ("start a process by fork", starts(libc::SYS_fork, [0; 6])),
        ("call by x32's numbers", call(0x4000_0000 | libc::SYS_getpid, [0; 6]).is_some()),
    ]);
    // SAFETY: a plain system call.
    if device == Device::Cpu || unsafe { libc::geteuid() } >= OWN_USERS {
        tries.extend([
            ("move another model's process to other cores", moves(neighbour)),
            ("slow another model's process", call(libc::SYS_setpriority, [0, neighbour, 19, 0, 0, 0]).is_some()),
        ]);
    }
    if device == Device::Cpu {
        tries.extend([
            ("read the library that it no longer needs", opens(&bait.library)),
            ("look at the machine's processes", fs::read_dir("/proc").is_ok()),
            ("take more memory than allowed", maps(bait.memory_bytes, libc::PROT_READ | libc::PROT_WRITE)),
            ("make new code", maps(4096, libc::PROT_READ | libc::PROT_EXEC)),
            ("turn data into code", turns_to_code()),
        ]);
    }
    tries.into_iter().map(|(escape, open)| Probe { escape: escape.into(), open }).collect()
}

/// What an evaluation needs must be possible, or the sandbox is of no use.
fn works(scratch: &Path) -> Result<()> {
    let file = scratch.join("needed");
    fs::write(&file, "needed").context("writing to the scratch folder")?;
    ensure!(fs::read(&file).context("reading from the scratch folder")? == b"needed", "the scratch folder lost a file");
    fs::remove_file(&file).context("removing from the scratch folder")?;
    let thread = std::thread::Builder::new().spawn(|| 7).context("starting a thread")?;
    ensure!(thread.join().is_ok_and(|seven| seven == 7), "a thread did not end");
    Ok(())
}

fn grows(path: &Path) -> bool {
    let Ok(file) = OpenOptions::new().create(true).truncate(true).write(true).open(path) else { return false };
    let grown = call(libc::SYS_ftruncate, [file.as_raw_fd() as usize, MAX_FILE_BYTES as usize + 1, 0, 0, 0, 0]);
    let _ = fs::remove_file(path);
    grown.is_some()
}

/// The new process, should there be one, ends at once.
fn starts(number: c_long, arguments: [usize; 6]) -> bool {
    match call(number, arguments) {
        // SAFETY: ends this process without running anything of the other's.
        Some(0) => unsafe { libc::_exit(0) },
        answer => answer.is_some(),
    }
}

fn reads_memory(pid: usize) -> bool {
    let mut byte = 0u8;
    let own = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // Where the supervisor has it too: it runs the same program, loaded at random; a wrong place gives EFAULT, not EPERM.
    let other = libc::iovec { iov_base: note as *mut libc::c_void, iov_len: 1 };
    reached(libc::SYS_process_vm_readv, [pid, (&raw const own) as usize, 1, (&raw const other) as usize, 1, 0])
}

fn dumps_core() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: the pointer is to a live local.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &mut limit) != 0 || limit.rlim_max != 0 }
}

/// Connects to or binds 127.0.0.1:`port`.
fn internet(number: c_long, socket: usize, port: u16) -> bool {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_be_bytes([127, 0, 0, 1]).to_be() },
        sin_zero: [0; 8],
    };
    call(number, [socket, (&raw const address) as usize, size_of_val(&address), 0, 0, 0]).is_some()
}

fn unix(socket: Option<usize>, abstract_name: bool, name: &[u8]) -> bool {
    let Some(socket) = socket else { return false };
    // SAFETY: a plain struct of integers.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // A name that begins with NUL is abstract.
    let start = usize::from(abstract_name);
    for (to, from) in address.sun_path[start..].iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    let length = size_of::<libc::sa_family_t>() + 1 + name.len();
    call(libc::SYS_connect, [socket, (&raw const address) as usize, length, 0, 0, 0]).is_some()
}

fn queues_signal(pid: usize) -> bool {
    // SAFETY: a plain struct of integers.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    information.si_code = libc::SI_QUEUE;
    call(libc::SYS_rt_sigqueueinfo, [pid, 0, (&raw const information) as usize, 0, 0, 0]).is_some()
}

/// Sets what it has.
fn sets_limits(pid: usize) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live local.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &mut limit) };
    let arguments = [pid, libc::RLIMIT_CORE as usize, (&raw const limit) as usize, 0, 0, 0];
    call(libc::SYS_prlimit64, arguments).is_some()
}

/// Sets the cores that we have ourselves.
fn moves(pid: usize) -> bool {
    // SAFETY: zeroes are a valid cpu_set_t.
    let mut cores: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let (size, at) = (size_of_val(&cores), (&raw mut cores) as usize);
    call(libc::SYS_sched_getaffinity, [0, size, at, 0, 0, 0]).is_some()
        && call(libc::SYS_sched_setaffinity, [pid, size, at, 0, 0, 0]).is_some()
}

fn turns_to_code() -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping touches nothing that exists; it is given back.
    unsafe {
        let at = libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if at == libc::MAP_FAILED {
            return false;
        }
        let turned = libc::mprotect(at, 4096, libc::PROT_READ | libc::PROT_EXEC) == 0;
        libc::munmap(at, 4096);
        turned
    }
}

fn maps(bytes: u64, protection: libc::c_int) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping touches nothing that exists; it is given back.
    unsafe {
        let at = libc::mmap(ptr::null_mut(), bytes as usize, protection, flags, -1, 0);
        at != libc::MAP_FAILED && libc::munmap(at, bytes as usize) == 0
    }
}
