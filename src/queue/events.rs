//! What NOTIFY tells: workers that there is work, pages what changed. Both are hints: a listener looks at the rows after
//! it has subscribed, and again now and then.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::broadcast;
use tracing::{debug, warn};
use utoipa::ToSchema;

use super::{Position, State, positions, progress};
use crate::{
    challenge::protocol::DeviceClass,
    evaluation::Progress,
    ids::{EvaluationId, SubmissionId},
    kept::Kept,
};

/// An evaluation changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Event {
    pub submission: SubmissionId,
    pub evaluation: EvaluationId,
    pub state: State,
    pub progress: Option<Progress>,
}

/// The trigger's payload.
#[derive(Deserialize)]
struct Payload {
    submission: SubmissionId,
    evaluation: EvaluationId,
    state: State,
    step: Option<String>,
    done: i32,
    total: i32,
}

impl FromStr for Event {
    type Err = serde_json::Error;
    fn from_str(payload: &str) -> Result<Self, serde_json::Error> {
        let p: Payload = serde_json::from_str(payload)?;
        let progress = progress(p.step.as_deref(), p.done, p.total);
        Ok(Event { submission: p.submission, evaluation: p.evaluation, state: p.state, progress })
    }
}

/// Pause before listening again after the connection was lost.
const RECONNECT: Duration = Duration::from_secs(1);

/// Every change of every evaluation, from one connection to any number of listeners in this process.
#[derive(Debug, Clone)]
pub struct Feed {
    events: broadcast::Sender<Event>,
    places: Arc<Kept<(), Places>>,
}

/// The whole queue, and when it was read.
type Places = (Instant, Arc<HashMap<SubmissionId, Position>>);

/// How old a place in the queue may be that is told to those who follow: they look every few seconds, all at the same queue.
const FRESH: Duration = Duration::from_secs(1);

impl Feed {
    /// Listens from now on, in a task that ends with the runtime; a lost connection is made again.
    pub fn start(pool: PgPool) -> Feed {
        // A reader that falls further behind misses events and reads the row instead.
        let (events, _) = broadcast::channel(1024);
        let sender = events.clone();
        tokio::spawn(async move {
            loop {
                if let Err(error) = forward(&pool, &sender).await {
                    warn!(%error, "the event feed lost its connection and listens again");
                }
                tokio::time::sleep(RECONNECT).await;
            }
        });
        Feed { events, places: Arc::new(Kept::new(NonZeroUsize::MIN)) }
    }

    /// Where a submission stands, as [`super::position`], a second old at most: one look at the queue for all who follow.
    pub async fn place(&self, pool: &PgPool, submission: SubmissionId) -> sqlx::Result<Option<Position>> {
        let look = async {
            let places = positions(&mut *pool.acquire().await?).await?;
            Ok::<_, sqlx::Error>((Instant::now(), Arc::new(places)))
        };
        let (_, places) = self.places.get((), |(at, _)| at.elapsed() < FRESH, look).await?;
        Ok(places.get(&submission).copied())
    }

    /// Events from now on. Subscribe before reading the row, or a change in between is missed.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

async fn forward(pool: &PgPool, events: &broadcast::Sender<Event>) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("evaluation").await?;
    loop {
        let notification = listener.recv().await?;
        match notification.payload().parse() {
            // An error means that nobody listens at the moment.
            Ok(event) => drop(events.send(event)),
            Err(error) => debug!(%error, "an event that cannot be read"),
        }
    }
}

/// Tells one worker that a job for its kind of device was queued.
pub struct Wakeups {
    listener: PgListener,
    class: DeviceClass,
}

impl Wakeups {
    pub async fn listen(pool: &PgPool, class: DeviceClass) -> sqlx::Result<Wakeups> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen("queue").await?;
        Ok(Wakeups { listener, class })
    }

    /// Returns when a job was queued, or a reconnection may have missed one.
    pub async fn next(&mut self) -> sqlx::Result<()> {
        loop {
            match self.listener.try_recv().await? {
                Some(n) if n.payload() != self.class.as_str() => {}
                _ => return Ok(()),
            }
        }
    }
}
