//! Boards as they were last ranked: a visitor costs a look at a number, not a ranking.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sqlx::PgConnection;

use super::{Board, devices, ranking};
use crate::{challenge::phase::Phase, ids::PhaseId};

type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

/// What was found at one version of a phase.
#[derive(Debug, Clone)]
struct Known {
    version: i64,
    board: Arc<Board>,
    devices: Arc<[String]>,
}

/// One board a phase, good as long as the phase's version has not moved on. Whoever asks while one is being ranked waits for
/// it, so that many who ask cost no more than one.
#[derive(Debug, Default)]
pub struct Boards(Mutex<HashMap<PhaseId, Slot>>);

impl Boards {
    /// The board of a phase, as of when `phase` was read or later.
    pub async fn of(&self, conn: &mut PgConnection, phase: &Phase) -> anyhow::Result<Arc<Board>> {
        Ok(self.known(conn, phase).await?.board)
    }

    /// The machines that measured the scores of [`Boards::of`], by name.
    pub async fn devices(&self, conn: &mut PgConnection, phase: &Phase) -> anyhow::Result<Arc<[String]>> {
        Ok(self.known(conn, phase).await?.devices)
    }

    async fn known(&self, conn: &mut PgConnection, phase: &Phase) -> anyhow::Result<Known> {
        let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(phase.id).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(known) = &*slot
            && known.version >= phase.board_version
        {
            return Ok(known.clone());
        }
        let board = Arc::new(ranking(conn, phase).await?);
        let devices = devices(conn, phase).await?.into();
        let known = Known { version: phase.board_version, board, devices };
        *slot = Some(known.clone());
        Ok(known)
    }
}
