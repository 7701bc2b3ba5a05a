//! Whom the server runs as: Postgres refuses root.

use std::{
    ffi::CStr,
    fs,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// We are not root: as ourselves.
    Same,
    User {
        uid: u32,
        gid: u32,
    },
    /// As root in a user namespace that calls it `nobody`: the files stay root's, and Postgres is content.
    #[cfg(target_os = "linux")]
    Namespace,
}

impl Identity {
    /// For a cluster at `cluster`, which may not be there yet, beneath the reachable-or-not `folder`, and programs in `bin`.
    pub fn choose(cluster: &Path, folder: &Path, bin: &Path) -> anyhow::Result<Identity> {
        // SAFETY: takes nothing, cannot fail.
        let we = unsafe { libc::geteuid() };
        let owner = fs::metadata(cluster).ok().map(|meta| (meta.uid(), meta.gid()));
        if we != 0 {
            return match owner {
                Some((uid, _)) if uid != we => bail!(
                    "{} belongs to uid {uid}, we are uid {we}: start upscore as the one who made it, or as root",
                    cluster.display()
                ),
                _ => Ok(Identity::Same),
            };
        }
        match owner {
            Some((0, _)) => return Self::namespace().context("the cluster belongs to root"),
            Some((uid, gid)) if reaches(uid, gid, folder, bin) => return Ok(Identity::User { uid, gid }),
            Some((uid, _)) => {
                bail!("{} belongs to uid {uid}, who cannot reach it or {}", cluster.display(), bin.display())
            }
            None => (),
        }
        let account = |name| user(name).filter(|&(uid, gid)| reaches(uid, gid, folder, bin));
        if let Some((uid, gid)) = account(c"postgres") {
            return Ok(Identity::User { uid, gid });
        }
        // Models run as `nobody`: a namespace keeps the cluster out of its reach. Containers may forbid namespaces.
        match (Self::namespace(), account(c"nobody")) {
            (Ok(namespace), _) => Ok(namespace),
            (Err(_), Some((uid, gid))) => Ok(Identity::User { uid, gid }),
            (Err(error), None) => Err(error.context(format!(
                "we are root, Postgres refuses that, and no other account can reach {}: choose another data folder, or \
                 start upscore as an ordinary user",
                folder.display()
            ))),
        }
    }

    /// Hands a folder over to the server.
    pub fn own(self, folder: &Path) -> anyhow::Result<()> {
        if let Identity::User { uid, gid } = self {
            chown(folder, Some(uid), Some(gid)).with_context(|| format!("handing over {}", folder.display()))?;
        }
        Ok(())
    }

    /// Makes `command` run so.
    pub fn take(self, command: &mut Command) {
        match self {
            Identity::Same => (),
            Identity::User { uid, gid } => {
                command.uid(uid).gid(gid);
            }
            #[cfg(target_os = "linux")]
            // SAFETY: only system calls between fork and exec, no allocation.
            Identity::Namespace => unsafe {
                command.pre_exec(enter_namespace);
            },
        }
    }

    #[cfg(target_os = "linux")]
    fn namespace() -> anyhow::Result<Identity> {
        let mut probe = Command::new("/bin/true");
        Identity::Namespace.take(&mut probe);
        let status = probe.status().context("making a user namespace")?;
        if !status.success() {
            bail!("making a user namespace: {status}");
        }
        Ok(Identity::Namespace)
    }

    #[cfg(not(target_os = "linux"))]
    fn namespace() -> anyhow::Result<Identity> {
        bail!("no user namespaces on this system")
    }
}

/// Uid and gid of an account.
fn user(name: &CStr) -> Option<(u32, u32)> {
    // SAFETY: a NUL-terminated name; the answer is read before another look-up could overwrite it, and this runs on the
    // one thread that looks accounts up.
    unsafe {
        let entry = libc::getpwnam(name.as_ptr());
        (!entry.is_null()).then(|| ((*entry).pw_uid, (*entry).pw_gid))
    }
}

/// Whether that user can enter `folder` and start the programs in `bin`: asked of the kernel, which knows every rule.
fn reaches(uid: u32, gid: u32, folder: &Path, bin: &Path) -> bool {
    let mut probe = Command::new("/bin/sh");
    probe.args(["-c", "cd \"$0\" && test -x \"$1/postgres\""]).arg(folder).arg(bin);
    probe.uid(uid).gid(gid).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Postgres asks for the name of the account that it runs as, so the uid inside must be one that every system has.
#[cfg(target_os = "linux")]
fn enter_namespace() -> std::io::Result<()> {
    const NOBODY_IS_ROOT: &[u8] = b"65534 0 1";
    let check = |code: i64| if code < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: plain system calls on constants.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWUSER).into())?;
        for (file, text) in [
            (c"/proc/self/setgroups", &b"deny"[..]),
            (c"/proc/self/uid_map", NOBODY_IS_ROOT),
            (c"/proc/self/gid_map", NOBODY_IS_ROOT),
        ] {
            let fd = libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            check(fd.into())?;
            check(libc::write(fd, text.as_ptr().cast(), text.len()) as i64)?;
            libc::close(fd);
        }
    }
    Ok(())
}
