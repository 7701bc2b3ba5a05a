//! A submission's way, as server-sent events until it is final.

use std::convert::Infallible;

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use chrono::{DateTime, Utc};
use futures::{Stream, stream};
use serde::Serialize;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Duration, Instant, sleep_until},
};
use utoipa::ToSchema;

use super::super::{
    App, Error,
    doors::{Follow, Pass},
    error::Errors,
    extract::SubmissionAt,
    lang::Lang,
    sight::Sight,
    steps::Steps,
};
use crate::{
    evaluation::Progress,
    ids::SubmissionId,
    queue::{self, Evaluation, Position, State as RunState},
    submission,
};

/// Longest pause between bytes, so that no proxy takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One `state` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StateEvent {
    pub state: RunState,
    pub progress: Option<Progress>,
    pub queue: Option<Position>,
    #[serde(flatten)]
    pub steps: Steps,
    /// The last event: the stream ends.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// Follow a submission until it is final
///
/// Server-sent events called `state`; the first tells where it is now, the last has `"final": true`.
#[utoipa::path(get, path = "/submissions/{id}/events", tag = "submissions",
    params(("id" = SubmissionId, Path, description = "The submission")),
    responses(
        (status = 200, description = "The events", body = StateEvent, content_type = "text/event-stream"),
        (status = 401, description = "The token is unknown, expired or revoked", body = Errors),
        (status = 404, description = "There is none, or it is not yours to see", body = Errors),
        (status = 429, description = "Too many live pages at once", body = Errors)),
    security((), ("token" = [])))]
pub async fn stream(
    State(app): State<App>,
    at: SubmissionAt,
    Follow(pass): Follow,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    // Before the row is read, so that nothing falls in between.
    let feed = app.feed.subscribe();
    let (sight, until) = (at.sight, at.sight.until(&at.phase));
    let follower =
        Follower { app, id: at.submission.id, sight, until, feed, sent: None, lang: Lang::now(), _pass: pass };
    let events = stream::unfold(follower, async |mut follower| {
        let now = follower.next().await?;
        let event = Event::default().event("state").json_data(&now).ok()?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(Box::pin(events)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Follower {
    app: App,
    id: SubmissionId,
    /// How much of it the follower may see.
    sight: Sight,
    /// Evaluations of later are not told of.
    until: Option<DateTime<Utc>>,
    feed: broadcast::Receiver<queue::Event>,
    sent: Option<StateEvent>,
    /// The stream goes on outside of the request's task.
    lang: Lang,
    _pass: Pass,
}

impl Follower {
    /// The next state that differs from the one sent; `None` after the final one, and when the server stops.
    async fn next(&mut self) -> Option<StateEvent> {
        if self.sent.as_ref().is_some_and(|s| s.is_final) {
            return None;
        }
        loop {
            match self.read().await {
                Ok(now) if self.sent.as_ref() != Some(&now) => {
                    self.sent = Some(now.clone());
                    return Some(now);
                }
                Ok(_) => {}
                // The row is gone, or the database away for long: the client comes again.
                Err(error) => {
                    tracing::debug!(?error, "an event stream ended early");
                    return None;
                }
            }
            if !self.wait().await {
                return None;
            }
        }
    }

    async fn read(&self) -> Result<StateEvent, Error> {
        let evaluations = submission::evaluations(&mut *self.app.db().await?, self.id).await?;
        let told = |e: &&Evaluation| self.until.is_none_or(|until| e.counts_since.is_some_and(|at| at <= until));
        let newest = evaluations.iter().find(told).ok_or(Error::SubmissionNotFound)?;
        let full = self.sight.is_full();
        let position = match newest.state {
            RunState::Queued if full => self.app.feed.place(&self.app.pool, self.id).await?,
            _ => None,
        };
        let progress = newest.progress.filter(|_| full);
        Ok(StateEvent {
            state: newest.state,
            progress,
            queue: position,
            steps: self.lang.scoped(|| Steps::of(newest.state, progress, position)),
            is_final: newest.state.is_final(),
        })
    }

    /// Until something may have changed; false: the server stops. While it is queued, others' moves shift its place: the
    /// poll shows that without a query for each of them.
    async fn wait(&mut self) -> bool {
        let poll = Instant::now() + self.app.settings.events_poll;
        loop {
            tokio::select! {
                () = self.app.stop.cancelled() => return false,
                () = sleep_until(poll) => return true,
                event = self.feed.recv() => match event {
                    Ok(event) if event.submission == self.id => return true,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return true,
                    Err(RecvError::Closed) => {
                        sleep_until(poll).await;
                        return true;
                    }
                },
            }
        }
    }
}
