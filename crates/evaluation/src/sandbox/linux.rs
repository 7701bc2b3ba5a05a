//! The layers, one function each.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Qword, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{Device, MAX_FILE_BYTES, NOBODY, Rules};

/// Threads and processes of the child's user; the runtime's threads are a few.
const MAX_THREADS: u64 = 1024;
/// Files and folders in the child's own file system.
const MAX_FILES: u32 = 64;
/// The one folder of the child's own file system that it may write to.
const SCRATCH: &str = "/scratch";
/// The processor's description: what ONNX Runtime chooses its kernels by.
const PROCESSOR: [&str; 2] = ["/sys/devices/system/cpu", "/proc/cpuinfo"];

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn is_root() -> bool {
    // SAFETY: a plain system call.
    unsafe { libc::geteuid() == 0 }
}

/// If the machine runs out of memory, the kernel shall kill the model's process and nobody else's.
pub fn first_to_be_killed() {
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
}

/// A network, IPC and host name of its own, and on CPU a file system of its own that holds one empty folder and the
/// processor's description: the machine's other files have no path any more. Gives where that folder is.
///
/// No PID namespace: only a process started in it would be inside, and none may be started.
pub fn namespaces(rules: &Rules) -> Result<PathBuf> {
    let own_files = rules.device == Device::Cpu;
    let mut flags = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if own_files {
        flags |= libc::CLONE_NEWNS;
    }
    let root = is_root();
    // SAFETY: plain system calls.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    if !root {
        flags |= libc::CLONE_NEWUSER;
    }
    let mounts = || fs::read_link("/proc/self/ns/mnt");
    let before = mounts()?;
    // SAFETY: a plain system call.
    check(unsafe { libc::unshare(flags) }).context("unshare")?;
    if !root {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    if !own_files {
        return Ok(rules.scratch.to_owned());
    }
    // What follows would take the machine's own files away if it were not so.
    ensure!(mounts()? != before, "unshare did nothing");
    let (uid, gid) = if root { (NOBODY, NOBODY) } else { (uid, gid) };
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes());
    let below = |inside: &str| rules.scratch.join(inside.trim_start_matches('/'));
    let options = CString::new(format!("size={MAX_FILE_BYTES},nr_inodes={MAX_FILES},mode=0755"))?;
    let new_root = path(rules.scratch)?;
    let (here, tmpfs, none) = (c".".as_ptr(), c"tmpfs".as_ptr(), std::ptr::null());
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: all pointers are to C strings that live long enough, or null where the calls allow it.
    unsafe {
        check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
        check(libc::mount(tmpfs, new_root.as_ptr(), tmpfs, flags, options.as_ptr().cast()))?;
        for shown in PROCESSOR {
            let (from, to) = (Path::new(shown), below(shown));
            if from.is_dir() {
                fs::create_dir_all(&to)?;
            } else {
                fs::create_dir_all(to.parent().unwrap_or(&to))?;
                fs::write(&to, [])?;
            }
            let (from, to) = (path(from)?, path(&to)?);
            check(libc::mount(from.as_ptr(), to.as_ptr(), none, libc::MS_BIND | libc::MS_REC, none.cast()))?;
        }
        fs::create_dir(below(SCRATCH))?;
        std::os::unix::fs::chown(below(SCRATCH), Some(uid), Some(gid))?;
        check(libc::chdir(new_root.as_ptr()))?;
        // Puts the old root on top of the new one, from where it is taken away.
        if libc::syscall(libc::SYS_pivot_root, here, here) == 0 {
            check(libc::umount2(here, libc::MNT_DETACH))?;
        } else {
            // The root of a machine that runs from its initial RAM disk cannot be moved.
            check(libc::chroot(here))?;
        }
        check(libc::chdir(path(Path::new(SCRATCH))?.as_ptr()))?;
    }
    Ok(SCRATCH.into())
}

/// Root becomes `nobody`; what rights a user namespace gave go too. True when it was root.
pub fn drop_privileges() -> io::Result<bool> {
    /// Version 3 of the header, for the calling thread.
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let root = is_root();
    let header = Header { version: 0x2008_0522, pid: 0 };
    let nothing = [0u32; 6];
    // SAFETY: plain system calls on our own process; the pointers are to live locals of the size the kernel reads.
    unsafe {
        if root {
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setresgid(NOBODY, NOBODY, NOBODY))?;
            check(libc::setresuid(NOBODY, NOBODY, NOBODY))?;
        }
        check(libc::syscall(libc::SYS_capset, &raw const header, nothing.as_ptr()) as libc::c_int)?;
        // A change of user clears this one, so it is set again: no child outlives its supervisor.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        // Others of the same user cannot look into it.
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        Ok(root)
    }
}

pub fn limits(rules: &Rules, namespaces: bool) -> io::Result<()> {
    let set = |resource, soft: u64, hard: u64| {
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the pointer is to a live local.
        check(unsafe { libc::setrlimit(resource, &limit) })
    };
    let both = |resource, value| set(resource, value, value);
    both(libc::RLIMIT_CORE, 0)?;
    both(libc::RLIMIT_FSIZE, MAX_FILE_BYTES)?;
    // SIGXCPU at the first, which tells that it was this limit; SIGKILL at the second.
    set(libc::RLIMIT_CPU, rules.cpu_seconds, rules.cpu_seconds.saturating_add(2))?;
    // Counts all of a user's threads: only where the user is not a person with many of them.
    // SAFETY: a plain system call.
    if namespaces || unsafe { libc::geteuid() } == NOBODY {
        both(libc::RLIMIT_NPROC, MAX_THREADS)?;
    }
    if rules.device == Device::Cpu {
        both(libc::RLIMIT_NOFILE, 64)?;
        both(libc::RLIMIT_AS, rules.memory_bytes)?;
    }
    Ok(())
}

/// On CPU the scratch folder and the processor's description; on CUDA the libraries, and the devices of the leased GPU. No TCP, no signals
/// or abstract sockets to the outside. All that the kernel's version of landlock knows is asked for, and less is an error.
pub fn landlock(rules: &Rules, scratch: &Path) -> Result<String> {
    let version = landlock_version();
    ensure!(version > 0, "the kernel has no landlock");
    let abi = ABI::from(version);
    let scratch_rights: BitFlags<AccessFs> = (AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile)
        & AccessFs::from_all(abi);
    let (readable, writable) = match rules.device {
        Device::Cpu => (PROCESSOR.map(PathBuf::from).into(), Vec::new()),
        Device::Cuda(_) => cuda_files(rules),
    };
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi))?;
    // What a version does not know is an empty set, which the crate takes for a mistake.
    if !AccessNet::from_all(abi).is_empty() {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    if !Scope::from_all(abi).is_empty() {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    let status = ruleset
        .create()?
        .add_rules(path_beneath_rules([scratch], scratch_rights))?
        .add_rules(path_beneath_rules(&readable, AccessFs::from_read(abi)))?
        .add_rules(path_beneath_rules(&writable, AccessFs::from_all(abi)))?
        .restrict_self()?;
    ensure!(status.ruleset == RulesetStatus::FullyEnforced, "landlock is enforced in part only");
    Ok(format!("landlock {version}"))
}

/// What the kernel has of landlock: 1 since Linux 5.13, 7 since 6.15; none: 0 or less.
fn landlock_version() -> i32 {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads no pointer.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, VERSION) as i32 }
}

/// What CUDA opens late: libraries, and device nodes by number. From the driver's documentation and other sandboxes'
/// lists; on an H100 under driver 580 all that CUDA 13 and cuDNN 9 asked for was among it. Not tried with several GPUs:
/// whether the driver minds that the others' nodes are shut.
fn cuda_files(rules: &Rules) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let library = rules.library.parent().unwrap_or(rules.library);
    let mut readable = vec![library.to_owned()];
    readable
        .extend(["/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/sys", "/run/nvidia-persistenced"].map(PathBuf::from));
    // cuInit writes its thread's name under /proc and fails where it cannot. The supervisor's own entries there belong to
    // another user or, where the child's user is the same, are closed by landlock's and dumpable's rules for tracing.
    let mut writable: Vec<PathBuf> = ["/proc", "/dev/shm", "/dev/null", "/dev/nvidiactl", "/dev/nvidia-uvm"]
        .into_iter()
        .chain(["/dev/nvidia-uvm-tools", "/dev/nvidia-caps"])
        .map(PathBuf::from)
        .collect();
    match rules.gpu_minor {
        Some(minor) => writable.push(format!("/dev/nvidia{minor}").into()),
        None => writable.extend((0..16).map(|minor| PathBuf::from(format!("/dev/nvidia{minor}")))),
    }
    (readable, writable)
}

/// On CPU: the few system calls that an evaluation makes are allowed, those that only an attack makes kill the process by
/// SIGSYS, all others fail. On CUDA, whose driver's calls are not known: those that only an attack makes fail.
pub fn seccomp(device: Device) -> Result<String> {
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    // A filter cannot look into clone3's struct; told that it does not exist, the C library takes clone.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    filter(clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    match device {
        Device::Cpu => {
            let attacks = attacks()?.into_iter().chain(network()).collect();
            filter(attacks, SeccompAction::Allow, SeccompAction::Trap)?;
            // Last: it allows no further filter.
            filter(allowed()?, refused, SeccompAction::Allow)?;
        }
        Device::Cuda(_) => filter(attacks()?, SeccompAction::Allow, refused)?,
    }
    Ok("seccomp".into())
}

/// System call → rules, any of which must match; none: the call always does.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

fn filter(calls: Calls, otherwise: SeccompAction, matched: SeccompAction) -> Result<()> {
    let arch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram = SeccompFilter::new(calls, otherwise, matched, arch)?.try_into()?;
    seccompiler::apply_filter_all_threads(&program)?;
    Ok(())
}

fn always(calls: &[i64]) -> Calls {
    calls.iter().map(|&call| (call, Vec::new())).collect()
}

/// A rule on one argument: `argument & mask == value`.
fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule> {
    Ok(SeccompRule::new(vec![SeccompCondition::new(argument, Qword, SeccompCmpOp::MaskedEq(mask), value)?])?)
}

fn equal(argument: u8, value: u64) -> Result<SeccompRule> {
    Ok(SeccompRule::new(vec![SeccompCondition::new(argument, Qword, SeccompCmpOp::Eq, value)?])?)
}

const THREAD: u64 = libc::CLONE_THREAD as u64;

/// What ONNX Runtime on CPU, the C library and our own loop call once locked in: traced over real networks, which make 25
/// of these, plus what the C library takes in their place on other machines.
fn allowed() -> Result<Calls> {
    let mut calls = always(&[
        libc::SYS_brk,
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_clone3,
        libc::SYS_close,
        libc::SYS_dup,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_fcntl,
        libc::SYS_fstat,
        libc::SYS_ftruncate,
        libc::SYS_futex,
        libc::SYS_getcpu,
        libc::SYS_getdents64,
        libc::SYS_getegid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_getrandom,
        libc::SYS_getrusage,
        libc::SYS_gettid,
        libc::SYS_gettimeofday,
        libc::SYS_getuid,
        libc::SYS_lseek,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_nanosleep,
        libc::SYS_newfstatat,
        libc::SYS_openat,
        libc::SYS_ppoll,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_sigaltstack,
        libc::SYS_statx,
        libc::SYS_sysinfo,
        libc::SYS_uname,
        libc::SYS_unlinkat,
        libc::SYS_write,
        libc::SYS_writev,
    ]);
    #[cfg(target_arch = "x86_64")]
    calls.extend(always(&[
        libc::SYS_access,
        libc::SYS_getrlimit,
        libc::SYS_lstat,
        libc::SYS_open,
        libc::SYS_poll,
        libc::SYS_stat,
        libc::SYS_time,
        libc::SYS_unlink,
    ]));
    // SAFETY: a plain system call.
    let own = unsafe { libc::getpid() } as u64;
    calls.extend([
        (libc::SYS_clone, vec![masked(0, THREAD, THREAD)?]),
        // abort() and nothing else.
        (libc::SYS_tgkill, vec![equal(0, own)?]),
        // All the code there will ever be is loaded.
        (libc::SYS_mmap, vec![masked(2, libc::PROT_EXEC as u64, 0)?]),
        (libc::SYS_mprotect, vec![masked(2, libc::PROT_EXEC as u64, 0)?]),
        // Its own limits only.
        (libc::SYS_prlimit64, vec![equal(0, 0)?]),
        (
            libc::SYS_prctl,
            [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA]
                .into_iter()
                .map(|option| equal(0, option as u64))
                .collect::<Result<_>>()?,
        ),
    ]);
    Ok(calls)
}

/// No evaluation makes these, by whatever library.
fn attacks() -> Result<Calls> {
    let mut calls = always(&[
        libc::SYS_add_key,
        libc::SYS_bpf,
        libc::SYS_chroot,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_finit_module,
        libc::SYS_init_module,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_io_uring_setup,
        libc::SYS_kexec_load,
        libc::SYS_keyctl,
        libc::SYS_kill,
        libc::SYS_mount,
        libc::SYS_open_by_handle_at,
        libc::SYS_perf_event_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_open,
        libc::SYS_pivot_root,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_ptrace,
        libc::SYS_request_key,
        libc::SYS_setns,
        libc::SYS_tkill,
        libc::SYS_umount2,
        libc::SYS_unshare,
        libc::SYS_userfaultfd,
    ]);
    #[cfg(target_arch = "x86_64")]
    calls.extend(always(&[libc::SYS_fork, libc::SYS_vfork]));
    calls.insert(libc::SYS_clone, vec![masked(0, THREAD, 0)?]);
    Ok(calls)
}

/// CUDA's driver has sockets of its own; nothing on CPU has.
fn network() -> Calls {
    always(&[
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_bind,
        libc::SYS_connect,
        libc::SYS_listen,
        libc::SYS_sendmmsg,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_socket,
        libc::SYS_socketpair,
    ])
}
