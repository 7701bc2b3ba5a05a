//! The layers, one function each.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, RestrictSelfAttr, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction,
    SeccompCmpArgLen::{Dword, Qword},
    SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, sock_filter,
};

use super::{Device, MAX_FILE_BYTES, NOBODY, Rules};

/// Threads and processes of the child's user; the runtime's threads are a few.
const MAX_THREADS: u64 = 1024;
/// Files and folders in the child's own file system, with those that others are mounted on.
const MAX_FILES: u32 = 1024;
/// The one folder of the child's own file system that it may write to.
const SCRATCH: &str = "/scratch";
/// The processor's description: what ONNX Runtime chooses its kernels by.
const PROCESSOR: [&str; 2] = ["/sys/devices/system/cpu", "/proc/cpuinfo"];
/// Where the system keeps libraries, and the loader's list of them.
const LIBRARIES: [&str; 6] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"];
/// Shared memory in files, which CUDA's driver has; a folder of the child's own file system where it has one.
const SHARED_MEMORY: &str = "/dev/shm";
/// So many libraries beside ONNX Runtime's are shown one by one; CUDA's and cuDNN's are about 40. With more it is a
/// folder for libraries, and shown whole.
const MAX_SIBLINGS: usize = 200;

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn is_root() -> bool {
    // SAFETY: a plain system call.
    unsafe { libc::geteuid() == 0 }
}

/// What binds threads would leave the others outside.
pub fn alone() -> Result<()> {
    let threads = fs::read_dir("/proc/self/task").context("the sandbox needs /proc")?.count();
    ensure!(threads == 1, "the sandbox must be entered by the one thread of a process; there are {threads}");
    Ok(())
}

/// What stays in reach beside the scratch folder.
pub struct Files {
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
}

impl Files {
    pub fn of(rules: &Rules) -> Files {
        let mut files = match rules.device {
            Device::Cpu => Files::of_cpu(),
            Device::Cuda(_) => Files::of_cuda(rules.gpu_minor),
        };
        files.readable.extend(LIBRARIES.map(PathBuf::from));
        files.readable.extend(beside(rules.library));
        if let Ok(real) = rules.library.canonicalize() {
            files.readable.extend(beside(&real));
        }
        // Where who starts the worker says that libraries are.
        let told = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        files
            .readable
            .extend(std::env::split_paths(&told).filter(|path| path.is_absolute() && path.parent().is_some()));
        files
    }

    pub fn of_cpu() -> Files {
        Files { readable: PROCESSOR.map(PathBuf::from).into(), writable: Vec::new() }
    }

    /// What CUDA opens late: libraries, and device nodes by number. From the driver's documentation and other sandboxes'
    /// lists; on an H100 under driver 580 all that CUDA 13 and cuDNN 9 asked for was among it. Not tried with several GPUs:
    /// whether the driver minds that the others' nodes are shut.
    fn of_cuda(gpu_minor: Option<u32>) -> Files {
        let readable = ["/usr", "/sys", "/run/nvidia-persistenced"].map(PathBuf::from).into();
        // cuInit writes its thread's name under /proc and fails where it cannot. The supervisor's own entries there belong
        // to another user or, where the child's user is the same, are closed by landlock's and dumpable's rules for tracing.
        let mut writable: Vec<PathBuf> = ["/proc", SHARED_MEMORY, "/dev/null", "/dev/nvidiactl", "/dev/nvidia-uvm"]
            .into_iter()
            .chain(["/dev/nvidia-uvm-tools", "/dev/nvidia-caps"])
            .map(PathBuf::from)
            .collect();
        match gpu_minor {
            Some(minor) => writable.push(format!("/dev/nvidia{minor}").into()),
            None => writable.extend((0..16).map(|minor| PathBuf::from(format!("/dev/nvidia{minor}")))),
        }
        Files { readable, writable }
    }

    /// Each that there is, with whether it may be written to; without those below another, which are in reach with it.
    fn mounts(&self) -> Vec<(&Path, bool)> {
        let readable = self.readable.iter().map(|path| (path.as_path(), false));
        let writable = self.writable.iter().map(|path| (path.as_path(), true));
        let mut all: Vec<_> = readable.chain(writable).filter(|(path, _)| path.exists()).collect();
        all.sort();
        all.dedup_by(|(path, _), (kept, _)| path.starts_with(kept));
        all
    }
}

/// A library and those beside it: it may bring its own.
fn beside(library: &Path) -> Vec<PathBuf> {
    let Some(folder) = library.parent() else { return Vec::new() };
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_library = |path: &PathBuf| path.to_string_lossy().contains(".so") && path.is_file();
    let siblings: Vec<PathBuf> = names.filter(is_library).take(MAX_SIBLINGS + 1).collect();
    match siblings.len() {
        0 => vec![library.to_owned()],
        1..=MAX_SIBLINGS => siblings,
        _ => vec![folder.to_owned()],
    }
}

/// A file or folder as a place, which needs no right to read it.
fn place(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)
}

/// The folder of the library.
pub fn folder(library: &Path) -> Option<fs::File> {
    place(library.parent()?).ok()
}

/// Where the library can be loaded from by the user that the process is now. Root's checkout may lie in a folder that
/// nobody else may walk through; then by the folder that was opened before.
pub fn library(library: &Path, folder: Option<fs::File>) -> (PathBuf, Option<fs::File>) {
    match (fs::File::open(library), folder, library.file_name()) {
        (Err(_), Some(folder), Some(name)) => {
            (Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name), Some(folder))
        }
        _ => (library.to_owned(), None),
    }
}

/// If the machine runs out of memory, the kernel shall kill the model's process and nobody else's.
pub fn first_to_be_killed() {
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
}

/// A network, IPC and host name of its own, and a file system of its own that holds one empty folder and what [`Files`]
/// names: the machine's other files, and the sockets among them, have no path any more. Gives where that folder is.
///
/// No PID namespace: only a process started in it would be inside, and none may be started.
pub fn namespaces(rules: &Rules, files: &Files) -> Result<PathBuf> {
    let mut flags = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNS;
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
    // What follows would take the machine's own files away if it were not so.
    ensure!(mounts()? != before, "unshare did nothing");
    let user = rules.user.unwrap_or(NOBODY);
    let (uid, gid) = if root { (user, user) } else { (uid, gid) };
    let options = CString::new(format!("size={MAX_FILE_BYTES},nr_inodes={MAX_FILES},mode=0755"))?;
    let new_root = c_path(rules.scratch)?;
    let (tmpfs, none) = (c"tmpfs".as_ptr(), std::ptr::null());
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: all pointers are to C strings that live long enough, or null where the calls allow it.
    unsafe {
        check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
        check(libc::mount(tmpfs, new_root.as_ptr(), tmpfs, flags, options.as_ptr().cast()))?;
        // The folders in it shall be open to the user that we become.
        let mask = libc::umask(0o022);
        let moved = fill(rules.scratch, files, (uid, gid)).and_then(|()| move_to(&new_root));
        libc::umask(mask);
        if let Err(error) = moved {
            // Without it the scratch folder would be hidden.
            libc::umount2(new_root.as_ptr(), libc::MNT_DETACH);
            return Err(error);
        }
    }
    Ok(SCRATCH.into())
}

fn c_path(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Mounts what stays in reach below `root` and makes the folders that may be written to.
fn fill(root: &Path, files: &Files, (uid, gid): (u32, u32)) -> Result<()> {
    let below = |inside: &Path| root.join(inside.strip_prefix("/").unwrap_or(inside));
    let own = |inside: &str| -> Result<()> {
        fs::create_dir_all(below(Path::new(inside)))?;
        Ok(std::os::unix::fs::chown(below(Path::new(inside)), Some(uid), Some(gid))?)
    };
    for (from, writable) in files.mounts() {
        if from == Path::new(SHARED_MEMORY) {
            own(SHARED_MEMORY)?;
            continue;
        }
        let to = below(from);
        if from.is_dir() {
            fs::create_dir_all(&to)?;
        } else {
            fs::create_dir_all(to.parent().unwrap_or(&to))?;
            fs::write(&to, [])?;
        }
        let (from, to) = (c_path(from)?, c_path(&to)?);
        let none = std::ptr::null::<libc::c_char>();
        // SAFETY: all pointers are to C strings that live long enough, or null where the call allows it.
        check(unsafe { libc::mount(from.as_ptr(), to.as_ptr(), none, libc::MS_BIND | libc::MS_REC, none.cast()) })
            .with_context(|| format!("mounting {from:?}"))?;
        if !writable {
            // With all that is mounted below it, which an older call would leave out.
            let only_read = libc::mount_attr {
                attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
                attr_clr: 0,
                propagation: 0,
                userns_fd: 0,
            };
            // SAFETY: the pointers are to a C string and a struct of the stated size that live long enough.
            let set = unsafe {
                let (call, size) = (libc::SYS_mount_setattr, size_of::<libc::mount_attr>());
                libc::syscall(call, libc::AT_FDCWD, to.as_ptr(), libc::AT_RECURSIVE, &raw const only_read, size)
            };
            check(set as libc::c_int).with_context(|| format!("making {from:?} read-only"))?;
        }
    }
    own(SCRATCH)
}

/// Makes `new_root` the root, and the old one unreachable.
fn move_to(new_root: &CString) -> Result<()> {
    let here = c".".as_ptr();
    // SAFETY: all pointers are to C strings that live long enough.
    unsafe {
        check(libc::chdir(new_root.as_ptr()))?;
        // Puts the old root on top of the new one, from where it is taken away.
        if libc::syscall(libc::SYS_pivot_root, here, here) == 0 {
            check(libc::umount2(here, libc::MNT_DETACH))?;
        } else {
            // The root of a machine that runs from its initial RAM disk cannot be moved.
            check(libc::chroot(here))?;
        }
        Ok(check(libc::chdir(c_path(Path::new(SCRATCH))?.as_ptr()))?)
    }
}

/// Root becomes `user`; what rights a user namespace gave go too. Gives the user when it was root.
pub fn drop_privileges(user: u32) -> io::Result<Option<u32>> {
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
            check(libc::setresgid(user, user, user))?;
            check(libc::setresuid(user, user, user))?;
        }
        check(libc::syscall(libc::SYS_capset, &raw const header, nothing.as_ptr()) as libc::c_int)?;
        // A change of user clears this one, so it is set again: no child outlives its supervisor.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        // Others of the same user cannot look into it.
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        Ok(root.then_some(user))
    }
}

/// `own_user`: nothing but this process counts as its user's.
pub fn limits(rules: &Rules, own_user: bool) -> io::Result<()> {
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
    if own_user {
        both(libc::RLIMIT_NPROC, MAX_THREADS)?;
    }
    if rules.device == Device::Cpu {
        both(libc::RLIMIT_NOFILE, 64)?;
        both(libc::RLIMIT_AS, rules.memory_bytes)?;
    }
    Ok(())
}

/// The places of landlock's rules, opened.
pub struct Doors {
    scratch: [fs::File; 1],
    readable: Vec<fs::File>,
    writable: Vec<fs::File>,
}

impl Doors {
    /// Those of `files` that there are.
    pub fn open(files: &Files, scratch: &Path) -> Result<Doors> {
        let all = |paths: &[PathBuf]| paths.iter().filter_map(|path| place(path).ok()).collect();
        let scratch = [place(scratch).context("the scratch folder")?];
        Ok(Doors { scratch, readable: all(&files.readable), writable: all(&files.writable) })
    }
}

/// Leaves open what `doors` are, and nothing else. No TCP, no signals or abstract sockets to the outside. All that the
/// kernel's version of landlock knows is asked for, and less is an error.
pub fn landlock(doors: &Doors) -> Result<String> {
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
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi))?;
    // What a version does not know is an empty set, which the crate takes for a mistake.
    if !AccessNet::from_all(abi).is_empty() {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    if !Scope::from_all(abi).is_empty() {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    let mut ruleset = ruleset.create()?;
    let groups = [
        (doors.scratch.as_slice(), scratch_rights),
        (&doors.readable, AccessFs::from_read(abi)),
        (&doors.writable, AccessFs::from_all(abi)),
    ];
    for (doors, rights) in groups {
        for door in doors {
            let rights = if door.metadata()?.is_dir() { rights } else { rights & AccessFs::from_file(abi) };
            ruleset = ruleset.add_rule(PathBeneath::new(door, rights))?;
        }
    }
    if abi >= ABI::V8 {
        // Should a library have started one since; older kernels bind the calling thread and those it starts.
        ruleset = ruleset.all_threads(true)?;
    }
    let status = ruleset.restrict_self()?;
    ensure!(status.ruleset == RulesetStatus::FullyEnforced, "landlock is enforced in part only");
    Ok(format!("landlock {version}"))
}

/// What the kernel has of landlock: 1 since Linux 5.13, 7 since 6.15; none: 0 or less.
fn landlock_version() -> i32 {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads no pointer.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, VERSION) as i32 }
}

/// What only an attack calls. On CPU it kills the process by SIGSYS; on CUDA, whose driver's calls are not known for
/// certain, it fails. For all threads.
pub fn seccomp(device: Device, namespaces: bool) -> Result<String> {
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    // A filter cannot look into clone3's struct; told that it does not exist, the C library takes clone.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    filter(clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    #[cfg(target_arch = "x86_64")]
    seccompiler::apply_filter_all_threads(&other_numbers())?;
    match device {
        Device::Cpu => {
            let attacks = attacks()?.into_iter().chain(network()).collect();
            filter(attacks, SeccompAction::Allow, SeccompAction::Trap)?;
        }
        Device::Cuda(_) => {
            let mut attacks = attacks()?;
            // The driver talks to itself and to the kernel.
            let elsewhere = [libc::AF_UNIX, libc::AF_NETLINK].map(|family| unequal(0, family as u64));
            let elsewhere = elsewhere.into_iter().collect::<Result<Vec<_>>>()?;
            attacks.insert(libc::SYS_socket, vec![SeccompRule::new(elsewhere)?]);
            if !namespaces {
                attacks.extend(always(&[
                    libc::SYS_connect,
                    libc::SYS_mq_open,
                    libc::SYS_msgget,
                    libc::SYS_semget,
                    libc::SYS_sendmmsg,
                    libc::SYS_sendmsg,
                    libc::SYS_sendto,
                    libc::SYS_shmget,
                ]));
            }
            filter(attacks, SeccompAction::Allow, refused)?;
        }
    }
    Ok("seccomp".into())
}

/// The few system calls that an evaluation on CPU makes, once its libraries are loaded: all others fail. For all threads,
/// and the last of all: it allows no further filter.
pub fn allow_only_an_evaluation() -> Result<()> {
    filter(allowed()?, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

/// Refuses the second set of numbers that x86-64 kernels may know each call by (x32), which a list of calls to refuse
/// would miss.
#[cfg(target_arch = "x86_64")]
fn other_numbers() -> BpfProgram {
    const FIRST: u32 = 0x4000_0000;
    let step = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    vec![
        // The call's number is the first thing that a filter sees.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, FIRST),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
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

fn unequal(argument: u8, value: u64) -> Result<SeccompCondition> {
    Ok(SeccompCondition::new(argument, Qword, SeccompCmpOp::Ne, value)?)
}

/// Rules, any of which must match, on an argument of which the kernel looks at the lower half only.
fn one_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>> {
    let rule = |&value| Ok(SeccompRule::new(vec![SeccompCondition::new(argument, Dword, SeccompCmpOp::Eq, value)?])?);
    values.iter().map(rule).collect()
}

fn own_process() -> u64 {
    // SAFETY: a plain system call.
    unsafe { libc::getpid() as u64 }
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
    calls.extend([
        (libc::SYS_clone, vec![masked(0, THREAD, THREAD)?]),
        // abort() and nothing else.
        (libc::SYS_tgkill, vec![equal(0, own_process())?]),
        // Not who gets a descriptor's signals.
        (
            libc::SYS_fcntl,
            one_of(
                1,
                &[libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL].map(|c| c as u64),
            )?,
        ),
        // A thread its own place only: by number it could move any process of the same user.
        (libc::SYS_sched_setaffinity, vec![equal(0, 0)?]),
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
    /// Of `fcntl`, not everywhere in the libc crate: which signal a descriptor's owner gets, and who it is.
    const SET_SIGNAL: u64 = 10;
    const SET_OWNER_EX: u64 = 15;
    const WATCH_FOLDER: u64 = 1026;
    /// Of `ioctl`: FIOSETOWN, SIOCSPGRP and FIOASYNC to the same end, and TIOCSTI, which types into a terminal.
    const DEVICE: [u64; 4] = [0x8901, 0x8902, 0x5452, 0x5412];
    let mut calls = always(&[
        libc::SYS_acct,
        libc::SYS_add_key,
        libc::SYS_adjtimex,
        libc::SYS_bpf,
        libc::SYS_chroot,
        libc::SYS_clock_adjtime,
        libc::SYS_clock_settime,
        libc::SYS_delete_module,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_fanotify_init,
        libc::SYS_finit_module,
        libc::SYS_fsopen,
        libc::SYS_init_module,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_io_uring_setup,
        libc::SYS_kcmp,
        libc::SYS_kexec_load,
        libc::SYS_keyctl,
        libc::SYS_kill,
        libc::SYS_mount,
        libc::SYS_mount_setattr,
        libc::SYS_move_mount,
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at,
        libc::SYS_open_tree,
        libc::SYS_perf_event_open,
        libc::SYS_personality,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_send_signal,
        libc::SYS_pivot_root,
        libc::SYS_process_madvise,
        libc::SYS_process_mrelease,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_ptrace,
        libc::SYS_quotactl,
        libc::SYS_reboot,
        libc::SYS_request_key,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_sethostname,
        libc::SYS_setns,
        libc::SYS_setpgid,
        libc::SYS_setsid,
        libc::SYS_settimeofday,
        libc::SYS_swapon,
        libc::SYS_syslog,
        libc::SYS_tkill,
        libc::SYS_umount2,
        libc::SYS_unshare,
        libc::SYS_userfaultfd,
    ]);
    #[cfg(target_arch = "x86_64")]
    calls.extend(always(&[libc::SYS_fork, libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_modify_ldt, libc::SYS_vfork]));
    calls.insert(libc::SYS_clone, vec![masked(0, THREAD, 0)?]);
    // Signals to others: by number, and by a descriptor that tells its new owner what happens to it.
    calls.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![unequal(0, own_process())?])?]);
    calls.insert(libc::SYS_fcntl, one_of(1, &[libc::F_SETOWN as u64, SET_SIGNAL, SET_OWNER_EX, WATCH_FOLDER])?);
    calls.insert(libc::SYS_ioctl, one_of(1, &DEVICE)?);
    // To outlive the supervisor, and to be looked into by others of the same user.
    let own = [libc::PR_SET_PDEATHSIG, libc::PR_SET_DUMPABLE, libc::PR_SET_PTRACER].map(|option| option as u64);
    calls.insert(libc::SYS_prctl, one_of(0, &own)?);
    // Others' limits.
    calls.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![unequal(0, 0)?])?]);
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
