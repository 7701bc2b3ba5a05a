//! Locks the model's process in, from inside, before it loads ONNX Runtime and sees the model: no files, no network, no
//! other programs or processes, bounded memory, a user of its own. Even full control over ONNX Runtime then yields only a
//! wrong picture and its own timings.
//!
//! Namespaces, users and landlock bind threads, not processes. So [`enter`] wants one thread and comes before any foreign
//! code runs: every later thread, a library's too, is born inside. [`Inside::seal`] shuts what loading the library needed.
//!
//! The layers overlap on purpose: a hole in one is covered by another. [`super::selftest`] tries every escape from inside
//! and says what got through.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod probes;

use std::path::{Path, PathBuf};

use anyhow::Result;
#[cfg(target_os = "linux")]
pub(crate) use probes::INTERRUPT;
use serde::{Deserialize, Serialize};

use super::runtime::Device;

/// The number of a thread or a process.
pub type Id = i32;

/// What the child may still do.
pub struct Rules<'a> {
    /// The one folder it may write to.
    pub scratch: &'a Path,
    /// ONNX Runtime's library. It and the system's libraries are readable until [`Inside::seal`]; on CUDA they stay so,
    /// since the driver loads them late.
    pub library: &'a Path,
    /// The user to become where the child is started by root; see [`OWN_USERS`].
    pub user: Option<u32>,
    /// Address space, bytes; not set on CUDA, whose driver reserves far more than it uses.
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    /// Fail when landlock, seccomp or a limit is missing, instead of going on without.
    pub strict: bool,
    pub device: Device,
    /// N of the one `/dev/nvidiaN` that is leased; `None`: not known, all are open.
    pub gpu_minor: Option<u32>,
}

/// The child, locked in.
pub struct Inside {
    /// The protections in force, and those missing, in a fixed order: `own uid, namespaces, rlimits, landlock 7,
    /// seccomp`; a missing one reads `no landlock`.
    pub level: String,
    /// Where the writable folder is now.
    pub scratch: PathBuf,
    /// Where the library is now; good as long as this value lives.
    pub library: PathBuf,
    device: Device,
    #[cfg(target_os = "linux")]
    _folder: Option<std::fs::File>,
}

/// Users that no account has: a child that root starts becomes this one plus its process number. Two children never are
/// the same user, so that none may signal, trace, slow or read another.
pub const OWN_USERS: u32 = 2_000_000_000;
/// The user instead where those do not exist, as in a container that maps few: `nobody`.
pub const NOBODY: u32 = 65534;
/// Largest file that the child may write, and all of them together where it has a file system of its own. ONNX Runtime
/// writes its profiles to a file and nowhere else; one of the largest allowed graph is about 30 MB.
pub const MAX_FILE_BYTES: u64 = 128 << 20;

/// What the escapes of [`Inside::probe`] aim at: things of the supervisor that are open to every process outside a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bait {
    /// A file that everybody may read.
    pub file: PathBuf,
    /// A folder that everybody may write to.
    pub folder: PathBuf,
    /// The library that the child has loaded; it needs it no more.
    pub library: PathBuf,
    /// A TCP and a UDP port of 127.0.0.1 that listen.
    pub tcp: u16,
    pub udp: u16,
    /// An abstract unix socket that listens, and one with a path.
    pub unix: String,
    pub socket: PathBuf,
    /// Key of memory of System V that everybody may use.
    pub shared_memory: i32,
    /// The supervisor, and the process of another model.
    pub pid: Id,
    pub neighbour: Id,
    /// A descriptor that is not closed on exec.
    pub descriptor: i32,
    /// The limit of [`Rules::memory_bytes`].
    pub memory_bytes: u64,
    /// The child's threads that have to try: all that do not block the signal that asks them.
    pub threads: Vec<Id>,
}

/// One escape, tried from inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What was tried, e.g. `connect by TCP`.
    pub escape: String,
    /// It was not stopped.
    pub open: bool,
}

/// What one thread tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tried {
    pub thread: Id,
    /// Absent: it did not answer, as some of CUDA's driver's may not.
    pub probes: Option<Vec<Probe>>,
}

/// Applies every protection that the kernel has, in an order that each still allows the next. An error in a process of
/// more than one thread, which would leave the others outside. With `strict`, a missing protection is an error too;
/// namespaces are an extra that many machines forbid, and never are.
#[cfg(target_os = "linux")]
pub fn enter(rules: &Rules) -> Result<Inside> {
    use anyhow::Context;

    linux::alone()?;
    let mut level = Vec::new();
    linux::first_to_be_killed();
    let files = linux::Files::of(rules);
    let (namespaces, scratch) = match linux::namespaces(rules, &files) {
        Ok(scratch) => (true, scratch),
        Err(_) => (false, rules.scratch.to_owned()),
    };
    // Opened before the change of user, who need not be able to walk there.
    let doors = linux::Doors::open(&files, &scratch)?;
    let folder = linux::folder(rules.library);
    let user = linux::drop_privileges(rules.user.unwrap_or(NOBODY)).context("dropping privileges")?;
    match user {
        Some(NOBODY) => level.push(format!("uid {NOBODY}")),
        Some(_) => level.push("own uid".to_owned()),
        None => {}
    }
    level.push(if namespaces { "namespaces" } else { "no namespaces" }.into());
    let landlock = linux::landlock(&doors);
    // Before the limit on descriptors, of which these are many.
    drop(doors);
    linux::limits(rules, namespaces || user.is_some()).context("resource limits")?;
    level.push("rlimits".into());
    for (name, outcome) in [("landlock", landlock), ("seccomp", linux::seccomp(rules.device, namespaces))] {
        match outcome {
            Ok(detail) => level.push(detail),
            Err(error) if rules.strict => return Err(error.context(format!("the sandbox needs {name}"))),
            Err(_) => level.push(format!("no {name}")),
        }
    }
    let (library, folder) = linux::library(rules.library, folder);
    Ok(Inside { level: level.join(", "), scratch, library, device: rules.device, _folder: folder })
}

#[cfg(not(target_os = "linux"))]
pub fn enter(rules: &Rules) -> Result<Inside> {
    anyhow::ensure!(!rules.strict, "the sandbox needs Linux (landlock, seccomp)");
    let (scratch, library) = (rules.scratch.to_owned(), rules.library.to_owned());
    Ok(Inside { level: "none".into(), scratch, library, device: rules.device })
}

impl Inside {
    /// On CPU all the code there will ever be is loaded now: the libraries are shut again, no code may be made, and of the
    /// system calls only an evaluation's few are left. For all threads, should the library have started some. Does nothing
    /// on CUDA, whose driver loads libraries with the first session.
    pub fn seal(&self) -> Result<()> {
        #[cfg(target_os = "linux")]
        if self.device == Device::Cpu {
            // What was missing a moment ago has been told; what was there must work again.
            let has = |layer: &str| !self.level.contains(&format!("no {layer}"));
            if has("landlock") {
                linux::landlock(&linux::Doors::open(&linux::Files::of_cpu(), &self.scratch)?)?;
            }
            if has("seccomp") {
                linux::allow_only_an_evaluation()?;
            }
        }
        Ok(())
    }

    /// Tries every escape, from every thread of `bait` and from a new one. The process is of no use after. An error: it
    /// cannot do what an evaluation needs, a thread and a file in its folder.
    #[cfg(target_os = "linux")]
    pub fn probe(&self, bait: &Bait) -> Result<Vec<Tried>> {
        probes::run(bait, &self.scratch, self.device)
    }

    #[cfg(not(target_os = "linux"))]
    pub fn probe(&self, _: &Bait) -> Result<Vec<Tried>> {
        let escape = "anything: there is no sandbox on this system".into();
        Ok(vec![Tried { thread: 0, probes: Some(vec![Probe { escape, open: true }]) }])
    }
}
