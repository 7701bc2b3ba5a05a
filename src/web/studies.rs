//! The study of a phase for page and API: made when somebody looks, and kept until the board changes.

use std::{
    hash::{DefaultHasher, Hasher},
    num::NonZeroUsize,
    sync::Arc,
};

use sqlx::PgPool;

use super::Error;
use crate::{
    analysis::{self, Study},
    challenge::phase::{BoardOf, Phase},
    kept::Kept,
    leaderboard::{self, Board},
};

/// Studies that are kept, of some 100 kB each.
const KEPT: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// One study takes up to a second of a core: who asks meanwhile waits for it, so ask while no connection is held. Kept with what
/// tells whether the board is still the same.
#[derive(Debug)]
pub struct Studies(Kept<BoardOf, (u64, Arc<Study>)>);

impl Default for Studies {
    fn default() -> Studies {
        Studies(Kept::new(KEPT))
    }
}

impl Studies {
    pub async fn of(&self, pool: &PgPool, phase: &Phase, board: Arc<Board>) -> Result<Arc<Study>, Error> {
        let mut hasher = DefaultHasher::new();
        hasher.write(&serde_json::to_vec(&*board).map_err(anyhow::Error::from)?);
        let fingerprint = hasher.finish();
        let make = async {
            let (images, gate) = {
                let mut conn = pool.acquire().await?;
                (analysis::images_of(&mut conn, phase, &board).await?, leaderboard::gate(&mut conn, phase).await?)
            };
            let made = tokio::task::spawn_blocking(move || analysis::study(&board, &images, gate));
            Ok::<_, Error>((fingerprint, Arc::new(made.await.map_err(anyhow::Error::from)?)))
        };
        Ok(self.0.get(phase.board(), |(of, _)| *of == fingerprint, make).await?.1)
    }
}
