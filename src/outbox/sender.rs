//! The step that sends one delivery, and the loop round it.

use std::time::{Duration, Instant};

use chrono::Utc;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{State, Taken, Tried, What, mark, sweep, take};
use crate::{
    ids::{AccountId, AnnouncementId, DeliveryId},
    mail::Mailer,
    webhook::{self, Allowed, Post},
};

/// Between looks when nothing is due.
const POLL: Duration = Duration::from_secs(3);
/// Deliveries at once: a receiver that hangs does not hold up the others.
const LANES: usize = 4;
/// Between clean-ups.
const SWEEP: Duration = Duration::from_secs(3600);

/// How it is sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `None`: mails wait.
    pub mailer: Option<Mailer>,
    /// Of this server, for the links in mails.
    pub public_url: Option<String>,
    /// Where a webhook may lead beside the public internet.
    pub allowed: Allowed,
    /// After the first failure; each next pause is longer.
    pub pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { mailer: None, public_url: None, allowed: Allowed::default(), pause: Duration::from_secs(30) }
    }
}

/// Sends what waits. Any number of them may run.
#[derive(Debug, Clone)]
pub struct Sender {
    pool: PgPool,
    settings: Settings,
}

impl Sender {
    pub fn new(pool: PgPool, settings: Settings) -> Sender {
        Sender { pool, settings }
    }

    /// Sends until the stop.
    pub async fn run(self, stop: CancellationToken) {
        futures::future::join_all((0..LANES).map(|lane| self.lane(lane == 0, &stop))).await;
    }

    async fn lane(&self, sweeps: bool, stop: &CancellationToken) {
        let mut swept: Option<Instant> = None;
        while !stop.is_cancelled() {
            let done = async {
                if sweeps && swept.is_none_or(|at| at.elapsed() >= SWEEP) {
                    sweep(&mut *self.pool.acquire().await?).await?;
                    swept = Some(Instant::now());
                }
                self.step().await
            };
            match done.await {
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(error) => warn!(error = format!("{error:#}"), "the outbox is not sent at the moment"),
            }
            tokio::select! { () = tokio::time::sleep(POLL) => {} () = stop.cancelled() => {} }
        }
    }

    /// Tries one delivery, and gives what became of it; `None`: nothing is due.
    pub async fn step(&self) -> anyhow::Result<Option<(DeliveryId, State)>> {
        // No connection is held while it is sent.
        let taken = take(&mut *self.pool.acquire().await?, self.settings.mailer.is_some()).await?;
        let Some(taken) = taken else { return Ok(None) };
        let tried = match &taken.what {
            What::Mail { to, announcement } => self.mail(*to, *announcement).await?,
            What::Webhook { body } => self.post(&taken, body.clone()).await?,
        };
        if let Tried::Failed(status, error) = &tried {
            info!(delivery = %taken.id, event = taken.event, attempt = taken.attempts, status, error, "a delivery failed");
        }
        let state = mark(&mut *self.pool.acquire().await?, &taken, tried, self.settings.pause).await?;
        Ok(Some((taken.id, state)))
    }

    async fn post(&self, taken: &Taken, body: String) -> anyhow::Result<Tried> {
        let Some((url, secret)) = webhook::secret(&mut *self.pool.acquire().await?, taken.challenge).await? else {
            return Ok(Tried::Dropped("the challenge has no webhook any more".into()));
        };
        let (event, delivery) = (taken.event.clone(), taken.id.to_string());
        let allowed = self.settings.allowed.clone();
        let posted = tokio::task::spawn_blocking(move || {
            webhook::post(
                &Post { url: &url, secret: &secret, event: &event, delivery, body, now: Utc::now() },
                &allowed,
            )
        });
        Ok(match posted.await? {
            Ok(status @ 200..300) => Tried::Sent(Some(status)),
            Ok(status) => Tried::Failed(Some(status), format!("the receiver answered {status}")),
            Err(words) => Tried::Failed(None, words),
        })
    }

    async fn mail(&self, to: AccountId, announcement: AnnouncementId) -> anyhow::Result<Tried> {
        let (Some(mailer), Some(url)) = (&self.settings.mailer, &self.settings.public_url) else {
            return Ok(Tried::Failed(None, "this server sends no mail".into()));
        };
        let letter = letter(&mut *self.pool.acquire().await?, to, announcement, url).await?;
        let Some((address, subject, text)) = letter else {
            return Ok(Tried::Dropped("the announcement was withdrawn, or the account takes no mail".into()));
        };
        Ok(match mailer.send(&address, &subject, text).await {
            Ok(()) => Tried::Sent(None),
            // The whole chain may name the address.
            Err(error) => Tried::Failed(None, error.to_string()),
        })
    }
}

/// Address, subject and text.
async fn letter(
    conn: &mut PgConnection,
    to: AccountId,
    announcement: AnnouncementId,
    url: &str,
) -> sqlx::Result<Option<(String, String, String)>> {
    let row = sqlx::query!(
        r#"select a.email as "email!", a.mail_key, n.title, n.body, c.title as challenge, c.slug
           from account a, announcement n join challenge c on c.id = n.challenge_id
           where a.id = $1 and n.id = $2 and n.withdrawn_at is null and a.email is not null and a.announcements_by_mail
             and a.disabled_at is null"#,
        to.0,
        announcement.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| {
        let text = format!(
            "{}\n\n-- \n{}: {url}/challenges/{}\nYou get this because you take part. No more such mails: \
             {url}/unsubscribe?key={}\n",
            r.body, r.challenge, r.slug, r.mail_key
        );
        (r.email, format!("{}: {}", r.challenge, r.title), text)
    }))
}
