//! Locks the model's process in, from inside, before it sees the model: no files, no network, no other programs or
//! processes, bounded memory, another user. Even full control over ONNX Runtime then yields only a wrong picture and its
//! own timings.
//!
//! The layers overlap on purpose: a hole in one is covered by another. [`super::selftest`] tries every escape from inside
//! and says what got through.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod probes;

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::runtime::Device;

/// What the child may still do.
pub struct Rules<'a> {
    /// The one folder it may write to.
    pub scratch: &'a Path,
    /// ONNX Runtime's library; on CUDA its folder stays readable, since libraries are loaded late.
    pub library: &'a Path,
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
    /// The protections in force, and those missing, in a fixed order: `uid 65534, namespaces, rlimits, landlock 7,
    /// seccomp`; a missing one reads `no landlock`.
    pub level: String,
    /// Where the writable folder is now.
    pub scratch: PathBuf,
}

/// The throw-away user that the child becomes when it is started by root: `nobody`.
pub const NOBODY: u32 = 65534;
/// Largest file that the child may write, and all of them together where it has a file system of its own. ONNX Runtime
/// writes its profiles to a file and nowhere else; one of the largest allowed graph is about 30 MB.
pub const MAX_FILE_BYTES: u64 = 128 << 20;

/// What the escapes of [`probe`] aim at: things of the supervisor that are open to every process outside a sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bait {
    /// A file that everybody may read.
    pub file: PathBuf,
    /// A folder that everybody may write to.
    pub folder: PathBuf,
    /// A TCP and a UDP port of 127.0.0.1 that listen.
    pub tcp: u16,
    pub udp: u16,
    /// An abstract unix socket that listens.
    pub unix: String,
    /// The supervisor.
    pub pid: i32,
    /// A descriptor that is not closed on exec.
    pub descriptor: i32,
    /// The limit of [`Rules::memory_bytes`].
    pub memory_bytes: u64,
}

/// One escape, tried from inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What was tried, e.g. `connect by TCP`.
    pub escape: String,
    /// It was not stopped.
    pub open: bool,
}

/// Applies every protection that the kernel has, in an order that each still allows the next. Must run while the process
/// has one thread. With `strict`, a missing one is an error; namespaces are an extra that many machines forbid, and
/// never are.
#[cfg(target_os = "linux")]
pub fn enter(rules: &Rules) -> Result<Inside> {
    use anyhow::Context;

    let mut level = Vec::new();
    linux::first_to_be_killed();
    let (namespaces, scratch) = match linux::namespaces(rules) {
        Ok(scratch) => (true, scratch),
        Err(_) => (false, rules.scratch.to_owned()),
    };
    if linux::drop_privileges().context("dropping privileges")? {
        level.push(format!("uid {NOBODY}"));
    }
    level.push(if namespaces { "namespaces" } else { "no namespaces" }.into());
    linux::limits(rules, namespaces).context("resource limits")?;
    level.push("rlimits".into());
    for (name, outcome) in [("landlock", linux::landlock(rules, &scratch)), ("seccomp", linux::seccomp(rules.device))] {
        match outcome {
            Ok(detail) => level.push(detail),
            Err(error) if rules.strict => return Err(error.context(format!("the sandbox needs {name}"))),
            Err(_) => level.push(format!("no {name}")),
        }
    }
    Ok(Inside { level: level.join(", "), scratch })
}

#[cfg(not(target_os = "linux"))]
pub fn enter(rules: &Rules) -> Result<Inside> {
    anyhow::ensure!(!rules.strict, "the sandbox needs Linux (landlock, seccomp)");
    Ok(Inside { level: "none".into(), scratch: rules.scratch.to_owned() })
}

/// Tries every escape, from inside. The process is of no use after. An error: it cannot do what an evaluation needs, a
/// thread and a file in `scratch`.
#[cfg(target_os = "linux")]
pub fn probe(bait: &Bait, scratch: &Path, device: Device) -> Result<Vec<Probe>> {
    probes::run(bait, scratch, device)
}

#[cfg(not(target_os = "linux"))]
pub fn probe(_: &Bait, _: &Path, _: Device) -> Result<Vec<Probe>> {
    Ok(vec![Probe { escape: "anything: there is no sandbox on this system".into(), open: true }])
}
