//! Locks the model's process in, from inside, before it sees the model: another user, limits, no files, no network, no
//! other programs. Even full control over ONNX Runtime then yields only a wrong picture and its own timings.

use std::path::Path;

use anyhow::Result;

use super::runtime::Device;

/// What the child may still do.
pub struct Rules<'a> {
    /// The one folder it may write to.
    pub scratch: &'a Path,
    /// ONNX Runtime's library; its folder stays readable.
    pub library: &'a Path,
    /// Address space, bytes; not set on CUDA, whose driver reserves far more than it uses.
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    /// Fail when a protection is missing, instead of going on without.
    pub strict: bool,
    pub device: Device,
}

/// The throw-away user that the child becomes when it is started by root: `nobody`.
pub const NOBODY: u32 = 65534;
/// Largest file the child may write: a profile of the largest allowed graph is about 30 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Applies every protection that the kernel has, in an order that each still allows the next. Must run while the process
/// has one thread. Returns their names; with `strict`, a missing one is an error.
#[cfg(target_os = "linux")]
pub fn enter(rules: &Rules) -> Result<String> {
    use anyhow::Context;

    let mut level = Vec::new();
    if linux::drop_root().context("dropping root")? {
        level.push(format!("uid {NOBODY}"));
    }
    linux::limits(rules).context("resource limits")?;
    level.push("rlimits".into());
    for (name, outcome) in [("landlock", linux::landlock(rules)), ("seccomp", linux::seccomp(rules.device))] {
        match outcome {
            Ok(detail) => level.push(detail),
            Err(error) if rules.strict => return Err(error.context(format!("the sandbox needs {name}"))),
            Err(_) => level.push(format!("no {name}")),
        }
    }
    Ok(level.join(", "))
}

#[cfg(not(target_os = "linux"))]
pub fn enter(rules: &Rules) -> Result<String> {
    anyhow::ensure!(!rules.strict, "the sandbox needs Linux (landlock, seccomp)");
    Ok("none".into())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{collections::BTreeMap, io};

    use anyhow::{Result, ensure};
    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetStatus, Scope, path_beneath_rules,
    };
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };

    use super::{Device, MAX_FILE_BYTES, NOBODY, Rules};

    fn check(result: libc::c_int) -> io::Result<()> {
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Root becomes `nobody`. True when it was root.
    pub fn drop_root() -> io::Result<bool> {
        // SAFETY: plain system calls on our own process.
        unsafe {
            let root = libc::geteuid() == 0;
            if root {
                check(libc::setgroups(0, std::ptr::null()))?;
                check(libc::setgid(NOBODY))?;
                check(libc::setuid(NOBODY))?;
            }
            // A change of user clears this one, so it is set again: no child outlives its supervisor.
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            Ok(root)
        }
    }

    pub fn limits(rules: &Rules) -> io::Result<()> {
        let set = |resource, value: u64| {
            let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
            // SAFETY: the pointer is to a live local.
            check(unsafe { libc::setrlimit(resource, &limit) })
        };
        set(libc::RLIMIT_CORE, 0)?;
        set(libc::RLIMIT_FSIZE, MAX_FILE_BYTES)?;
        set(libc::RLIMIT_CPU, rules.cpu_seconds)?;
        if rules.device == Device::Cpu {
            set(libc::RLIMIT_NOFILE, 64)?;
            set(libc::RLIMIT_AS, rules.memory_bytes)?;
        }
        Ok(())
    }

    /// Only the library's folder and the CPU's description are readable, only the scratch folder writable; no TCP, no
    /// signals or abstract sockets to the outside.
    pub fn landlock(rules: &Rules) -> Result<String> {
        let abi = ABI::V6;
        let library = rules.library.parent().unwrap_or(rules.library);
        let mut readable = vec![library.to_owned(), "/sys/devices/system".into(), "/proc/cpuinfo".into()];
        let mut writable = vec![rules.scratch.to_owned()];
        if let Device::Cuda(_) = rules.device {
            readable.extend(
                ["/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/sys", "/run/nvidia-persistenced"].map(Into::into),
            );
            // cuInit writes its thread's name under /proc and fails where it cannot.
            writable.extend(
                [
                    "/proc",
                    "/dev/shm",
                    "/dev/null",
                    "/dev/nvidiactl",
                    "/dev/nvidia-uvm",
                    "/dev/nvidia-uvm-tools",
                    "/dev/nvidia-caps",
                ]
                .map(Into::into),
            );
            writable.extend((0..16).map(|i| format!("/dev/nvidia{i}").into()));
        }
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(&readable, AccessFs::from_read(abi)))?
            .add_rules(path_beneath_rules(&writable, AccessFs::from_all(abi)))?
            .restrict_self()?;
        ensure!(status.ruleset != RulesetStatus::NotEnforced, "the kernel has no landlock");
        Ok(match status.ruleset {
            RulesetStatus::FullyEnforced => "landlock".into(),
            _ => "landlock (partly)".into(),
        })
    }

    /// A list of system calls that an evaluation never needs, each answered with EPERM; new processes are refused, threads
    /// are not.
    pub fn seccomp(device: Device) -> Result<String> {
        let mut denied = vec![
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_open_by_handle_at,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_kexec_load,
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_pidfd_open,
        ];
        #[cfg(target_arch = "x86_64")]
        denied.extend([libc::SYS_fork, libc::SYS_vfork]);
        if device == Device::Cpu {
            denied.extend([
                libc::SYS_socket,
                libc::SYS_socketpair,
                libc::SYS_connect,
                libc::SYS_bind,
                libc::SYS_listen,
                libc::SYS_accept,
                libc::SYS_accept4,
                libc::SYS_sendto,
                libc::SYS_sendmsg,
            ]);
        }
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = denied.into_iter().map(|call| (call, Vec::new())).collect();
        let thread = libc::CLONE_THREAD as u64;
        let no_thread = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0)?;
        rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_thread])?]);
        apply(rules, libc::EPERM)?;
        // The filter cannot look into clone3's struct; told that it does not exist, the C library takes clone.
        apply(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?;
        Ok("seccomp".into())
    }

    fn apply(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: libc::c_int) -> Result<()> {
        let arch = std::env::consts::ARCH.try_into()?;
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch)?;
        let program: BpfProgram = filter.try_into()?;
        seccompiler::apply_filter_all_threads(&program)?;
        Ok(())
    }
}
