//! The escapes that the self-test tries from inside, by bare system calls: where seccomp answers with SIGSYS, the libraries'
//! wrappers would not see a failure.

use std::{
    ffi::CString,
    fs::{self, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, ensure};
use libc::c_long;

use super::{Bait, Device, MAX_FILE_BYTES, Probe};

/// Set by the signal handler: the last call was trapped.
static TRAPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    TRAPPED.store(true, Ordering::SeqCst);
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

pub fn run(bait: &Bait, scratch: &Path, device: Device) -> Result<Vec<Probe>> {
    works(scratch)?;
    // SAFETY: the handler only stores to an atomic; an ignored SIGXFSZ makes the write fail instead.
    unsafe {
        libc::signal(libc::SIGSYS, note as *const () as libc::sighandler_t);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
    let opens = |path: &Path| fs::File::open(path).is_ok();
    let pid = bait.pid as usize;
    let mut tries: Vec<(&str, bool)> = vec![
        ("read a file of the machine", opens(Path::new("/etc/passwd"))),
        ("read the supervisor's files", opens(&bait.file)),
        ("list a folder of the machine", fs::read_dir("/etc").is_ok()),
        ("read the supervisor's environment", opens(Path::new(&format!("/proc/{pid}/environ")))),
        ("write outside its folder", fs::write(bait.folder.join("escaped"), "escaped").is_ok()),
        ("find a file in its current folder", fs::read_dir(".").is_ok_and(|mut entries| entries.next().is_some())),
        ("write a file larger than allowed", grows(&scratch.join("large"))),
        (
            "use an inherited descriptor",
            call(libc::SYS_fcntl, [bait.descriptor as usize, libc::F_GETFD as usize, 0, 0, 0, 0]).is_some(),
        ),
        (
            "read an environment variable",
            std::env::vars_os().any(|(name, _)| name != "LD_LIBRARY_PATH" && !name.as_bytes().starts_with(b"CUDA_")),
        ),
        ("run a program", reached(libc::SYS_execve, [1, 1, 1, 0, 0, 0])),
        ("start a process by clone", starts(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0, 0, 0])),
        ("start a process by clone3", reached(libc::SYS_clone3, [1, 88, 0, 0, 0, 0])),
        ("attach to the supervisor", call(libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, pid, 0, 0, 0, 0]).is_some()),
        ("read the supervisor's memory", reads_memory(pid)),
        ("signal the supervisor", call(libc::SYS_kill, [pid, 0, 0, 0, 0, 0]).is_some()),
        ("open the supervisor as a descriptor", call(libc::SYS_pidfd_open, [pid, 0, 0, 0, 0, 0]).is_some()),
        ("become root", call(libc::SYS_setresuid, [0, 0, 0, 0, 0, 0]).is_some()),
        ("mount a file system", reached(libc::SYS_mount, [1, 1, 1, 0, 0, 0])),
        ("make a namespace", call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0, 0, 0]).is_some()),
        ("set up io_uring", reached(libc::SYS_io_uring_setup, [1, 1, 0, 0, 0, 0])),
        ("load a BPF program", reached(libc::SYS_bpf, [0, 1, 128, 0, 0, 0])),
        ("watch events of the machine", reached(libc::SYS_perf_event_open, [1, 0, 0, usize::MAX, 0, 0])),
        ("use the kernel's key rings", call(libc::SYS_keyctl, [0, (-3isize) as usize, 1, 0, 0, 0]).is_some()),
        ("dump core", dumps_core()),
    ];
    #[cfg(target_arch = "x86_64")]
    tries.push(("start a process by fork", starts(libc::SYS_fork, [0; 6])));
    if device == Device::Cpu {
        let socket = |family: libc::c_int, kind: libc::c_int| {
            call(libc::SYS_socket, [family as usize, kind as usize, 0, 0, 0, 0]).map(|fd| fd as usize)
        };
        let stream = || socket(libc::AF_INET, libc::SOCK_STREAM);
        tries.extend([
            ("open a TCP socket", stream().is_some()),
            ("connect by TCP", stream().is_some_and(|fd| internet(libc::SYS_connect, fd, bait.tcp))),
            ("bind a TCP port", stream().is_some_and(|fd| internet(libc::SYS_bind, fd, 0))),
            (
                "send by UDP",
                socket(libc::AF_INET, libc::SOCK_DGRAM).is_some_and(|fd| internet(libc::SYS_connect, fd, bait.udp)),
            ),
            ("connect to an abstract unix socket", unix(socket(libc::AF_UNIX, libc::SOCK_STREAM), &bait.unix)),
            ("take more memory than allowed", maps(bait.memory_bytes, libc::PROT_READ | libc::PROT_WRITE)),
            ("make new code", maps(4096, libc::PROT_READ | libc::PROT_EXEC)),
        ]);
    }
    Ok(tries.into_iter().map(|(escape, open)| Probe { escape: escape.into(), open }).collect())
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

fn unix(socket: Option<usize>, name: &str) -> bool {
    let (Some(socket), Ok(name)) = (socket, CString::new(name)) else { return false };
    // SAFETY: a plain struct of integers.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // A name that begins with NUL is abstract.
    for (to, from) in address.sun_path[1..].iter_mut().zip(name.as_bytes()) {
        *to = *from as libc::c_char;
    }
    let length = size_of::<libc::sa_family_t>() + 1 + name.as_bytes().len();
    call(libc::SYS_connect, [socket, (&raw const address) as usize, length, 0, 0, 0]).is_some()
}

fn maps(bytes: u64, protection: libc::c_int) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping touches nothing that exists; it is given back.
    unsafe {
        let at = libc::mmap(ptr::null_mut(), bytes as usize, protection, flags, -1, 0);
        at != libc::MAP_FAILED && libc::munmap(at, bytes as usize) == 0
    }
}
