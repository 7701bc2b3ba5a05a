//! One evaluation at a time on a device, across processes: a second one beside it would distort its times.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use anyhow::Context;

/// Held while a device is in use; the system frees it if the process dies.
pub struct DeviceLock {
    _file: File,
}

impl DeviceLock {
    /// `None`: another process has the device.
    pub fn try_take(folder: &Path, device: &str) -> anyhow::Result<Option<DeviceLock>> {
        let path = folder.join(format!("{}.lock", device.replace(':', "-")));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DeviceLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("locking {}", path.display())),
        }
    }
}
