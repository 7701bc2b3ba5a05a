//! The study of a phase for page and API: made when somebody looks, and kept until the board changes.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use sqlx::PgConnection;
use tokio::sync::Mutex;

use super::Error;
use crate::{
    analysis::{self, Study},
    challenge::phase::{BoardOf, Phase},
    leaderboard::{self, Board},
};

/// One study takes up to a second of a core. The lock is held meanwhile, so that many who ask cost no more than one.
#[derive(Debug, Default)]
pub struct Studies(Mutex<HashMap<BoardOf, (u64, Arc<Study>)>>);

impl Studies {
    pub async fn of(&self, conn: &mut PgConnection, phase: &Phase, board: Arc<Board>) -> Result<Arc<Study>, Error> {
        let mut hasher = DefaultHasher::new();
        hasher.write(&serde_json::to_vec(&*board).map_err(anyhow::Error::from)?);
        let fingerprint = hasher.finish();
        let mut known = self.0.lock().await;
        if let Some((of, study)) = known.get(&phase.board())
            && *of == fingerprint
        {
            return Ok(study.clone());
        }
        let images = analysis::images_of(&mut *conn, phase, &board).await?;
        let gate = leaderboard::gate(conn, phase).await?;
        let made = tokio::task::spawn_blocking(move || analysis::study(&board, &images, gate));
        let study = Arc::new(made.await.map_err(anyhow::Error::from)?);
        known.insert(phase.board(), (fingerprint, study.clone()));
        Ok(study)
    }
}
