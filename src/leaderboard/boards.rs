//! Boards as they were last ranked: a visitor costs a look at a number, not a ranking. Whoever asks while one is being ranked
//! waits for it, so ask while no connection is held.

use std::{num::NonZeroUsize, sync::Arc};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::sync::Semaphore;

use super::{Board, devices, ranking, ranking_at};
use crate::{
    challenge::phase::{BoardOf, Phase},
    ids::PhaseId,
    kept::Kept,
};

/// What was found at one version of a phase.
#[derive(Debug, Clone)]
struct Known {
    version: i64,
    board: Arc<Board>,
    devices: Arc<[String]>,
}

/// One board a phase and time that it is of, good as long as the phase's version has not moved on.
#[derive(Debug)]
pub struct Boards {
    now: Kept<BoardOf, Known>,
    /// By phase, moment and the phase's version (names of teams are of now).
    past: Kept<(PhaseId, DateTime<Utc>, i64), Arc<Board>>,
    /// Boards of the past are ranked one after another, whoever asks: their moments are as many as a visitor likes.
    past_turn: Semaphore,
}

/// Boards of now that are kept: more than a server has phases.
const NOW: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Boards of the past that are kept.
const PAST: NonZeroUsize = NonZeroUsize::new(16).unwrap();

impl Default for Boards {
    fn default() -> Boards {
        Boards { now: Kept::new(NOW), past: Kept::new(PAST), past_turn: Semaphore::new(1) }
    }
}

impl Boards {
    /// The board of a phase as it stood at a moment.
    pub async fn at(&self, pool: &PgPool, phase: &Phase, at: DateTime<Utc>) -> anyhow::Result<Arc<Board>> {
        let rank = async {
            let _turn = self.past_turn.acquire().await?;
            Ok(Arc::new(ranking_at(&mut *pool.acquire().await?, phase, Some(at)).await?))
        };
        // By its version it is good for ever.
        self.past.get((phase.id, at, phase.board_version), |_| true, rank).await
    }

    /// The board of a phase, as of `phase.as_of`, else of when `phase` was read or later.
    pub async fn of(&self, pool: &PgPool, phase: &Phase) -> anyhow::Result<Arc<Board>> {
        Ok(self.known(pool, phase).await?.board)
    }

    /// The machines that measured the scores of [`Boards::of`], by name.
    pub async fn devices(&self, pool: &PgPool, phase: &Phase) -> anyhow::Result<Arc<[String]>> {
        Ok(self.known(pool, phase).await?.devices)
    }

    async fn known(&self, pool: &PgPool, phase: &Phase) -> anyhow::Result<Known> {
        let rank = async {
            let mut conn = pool.acquire().await?;
            let board = Arc::new(ranking(&mut conn, phase).await?);
            let devices = devices(&mut conn, phase).await?.into();
            Ok(Known { version: phase.board_version, board, devices })
        };
        self.now.get(phase.board(), |known| known.version >= phase.board_version, rank).await
    }
}
