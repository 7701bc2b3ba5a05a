//! Boards as they were last ranked: a visitor costs a look at a number, not a ranking.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Board, devices, ranking, ranking_at};
use crate::{
    challenge::phase::{BoardOf, Phase},
    ids::PhaseId,
};

type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

/// What was found at one version of a phase.
#[derive(Debug, Clone)]
struct Known {
    version: i64,
    board: Arc<Board>,
    devices: Arc<[String]>,
}

/// One board a phase and time that it is of, good as long as the phase's version has not moved on. Whoever asks while one is
/// being ranked waits for it, so that many who ask cost no more than one.
#[derive(Debug, Default)]
pub struct Boards {
    now: Mutex<HashMap<BoardOf, Slot>>,
    /// Boards of the past that somebody asked for last. The lock is held while one is ranked: they are ranked one after another,
    /// whoever asks.
    past: tokio::sync::Mutex<VecDeque<Past>>,
}

/// A board as it stood at a moment, found at one version of its phase (names of teams are of now).
#[derive(Debug)]
struct Past {
    phase: PhaseId,
    at: DateTime<Utc>,
    version: i64,
    board: Arc<Board>,
}

/// Boards of the past that are kept.
const PAST: usize = 16;

impl Boards {
    /// The board of a phase as it stood at a moment.
    pub async fn at(&self, conn: &mut PgConnection, phase: &Phase, at: DateTime<Utc>) -> anyhow::Result<Arc<Board>> {
        let mut kept = self.past.lock().await;
        let same = |past: &Past| (past.phase, past.at, past.version) == (phase.id, at, phase.board_version);
        if let Some(past) = kept.iter().find(|past| same(past)) {
            return Ok(past.board.clone());
        }
        let board = Arc::new(ranking_at(conn, phase, Some(at)).await?);
        kept.truncate(PAST - 1);
        kept.push_front(Past { phase: phase.id, at, version: phase.board_version, board: board.clone() });
        Ok(board)
    }

    /// The board of a phase, as of `phase.as_of`, else of when `phase` was read or later.
    pub async fn of(&self, conn: &mut PgConnection, phase: &Phase) -> anyhow::Result<Arc<Board>> {
        Ok(self.known(conn, phase).await?.board)
    }

    /// The machines that measured the scores of [`Boards::of`], by name.
    pub async fn devices(&self, conn: &mut PgConnection, phase: &Phase) -> anyhow::Result<Arc<[String]>> {
        Ok(self.known(conn, phase).await?.devices)
    }

    async fn known(&self, conn: &mut PgConnection, phase: &Phase) -> anyhow::Result<Known> {
        let slot = self.now.lock().unwrap_or_else(PoisonError::into_inner).entry(phase.board()).or_default().clone();
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
