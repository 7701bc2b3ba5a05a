//! One evaluation at a time on a device, across processes: a second one beside it would distort its times.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use anyhow::Context;

/// Held while a device is in use; the system frees it if the process dies.
pub struct DeviceLock {
    file: File,
}

impl Drop for DeviceLock {
    fn drop(&mut self) {
        // A child that is just being started has a copy of the open file, and the lock lives as long as any copy.
        let _ = self.file.unlock();
    }
}

impl DeviceLock {
    /// `None`: another process has the device.
    pub fn try_take(folder: &Path, device: &str) -> anyhow::Result<Option<DeviceLock>> {
        // `cuda` is another name of the first GPU.
        let device = if device == "cuda" { "cuda:0" } else { device };
        let path = folder.join(format!("{}.lock", device.replace(':', "-")));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DeviceLock { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("locking {}", path.display())),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn another_process_has_to_wait() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = DeviceLock::try_take(folder.path(), "cuda").expect("no error").expect("free");
        let other = || {
            let lock = folder.path().join("cuda-0.lock");
            let flock = std::process::Command::new("flock").arg("--nonblock").arg(lock).arg("true").status();
            flock.expect("util-linux has flock").success()
        };
        assert!(!other());
        assert!(DeviceLock::try_take(folder.path(), "cuda:0").expect("no error").is_none());
        drop(held);
        assert!(other());
    }
}
