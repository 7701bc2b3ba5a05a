//! Whose turn it is to write an upload. A client that lost its connection comes back long before the server hears that the
//! old one is dead: the newest request wins, and the one before lets go.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::ids::UploadId;

/// The requests at work, by upload.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<UploadId, CancellationToken>>>);

/// A request's turn, until it is dropped or a later request wants it.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    upload: UploadId,
    /// Cancelled when this request should let go.
    pub over: CancellationToken,
}

impl Turns {
    /// Takes the turn, and tells the request that has it to let go.
    pub fn take(&self, upload: UploadId) -> Turn {
        let over = CancellationToken::new();
        if let Some(before) = self.lock().insert(upload, over.clone()) {
            before.cancel();
        }
        Turn { turns: self.clone(), upload, over }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, CancellationToken>> {
        // The map is whole whatever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Cancelled: a later request has put its own in the map.
        if !self.over.is_cancelled() {
            self.turns.lock().remove(&self.upload);
        }
    }
}
