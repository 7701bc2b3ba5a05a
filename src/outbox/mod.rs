//! What is to be sent: mails of announcements, and events for webhooks. A row is written in the transaction of what it tells
//! of, so that neither is there without the other; [`Sender`] sends it afterwards, and again after a crash or a failure: a
//! receiver may get it twice and knows it by its id.
//!
//! ```text
//! mail, event ──▶ waiting ──take──▶ (a lease of minutes) ──▶ sent
//!                    ▲                    │ failed: later, in growing pauses
//!                    └────────────────────┴──▶ failed, after the last try
//! ```

mod sender;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

pub use sender::{Sender, Settings};

use crate::ids::{AccountId, AnnouncementId, ChallengeId, DeliveryId};

/// Tries of one delivery.
const ATTEMPTS: i32 = 7;
/// How long a sender has for one; then another may take it.
const LEASE: Duration = Duration::from_secs(120);
/// The pauses after failures: the first, and how many times longer each next one is. Seven tries take half a day.
const FACTOR: u32 = 4;
/// Days that what was sent or given up is kept for its organizers to look at.
const KEPT_DAYS: i32 = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    /// For its first try, or the next.
    Waiting,
    Sent,
    /// Given up.
    Failed,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Sent => "sent",
            State::Failed => "failed",
        }
    }
}

/// One event for a webhook, and how its delivery went.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Delivery {
    pub id: DeliveryId,
    pub event: String,
    pub state: State,
    pub attempts: i32,
    /// HTTP status of the last try's answer.
    pub status: Option<i32>,
    /// Why the last try had no answer.
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    /// When the next try is due, while it waits.
    pub next_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The mails of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Mails {
    pub sent: i64,
    pub waiting: i64,
    pub failed: i64,
}

/// Queues an event for the challenge's webhook, where it has one; `data` holds no hidden figure. `conn` is the transaction
/// of what the event tells of.
pub async fn event(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    event: &'static str,
    data: serde_json::Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into outbox (id, challenge_id, kind, event, payload)
         select $1, c.id, 'webhook', $3, jsonb_build_object('id', $1::uuid, 'event', $3::text, 'challenge', c.slug,
             'at', to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), 'data', $4::jsonb)
         from challenge c join webhook w on w.challenge_id = c.id where c.id = $2",
        Uuid::now_v7(),
        challenge.0,
        event,
        data
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Queues an announcement's mails, one an address: to those who take part, are not banned and want them.
pub async fn mails(conn: &mut PgConnection, challenge: ChallengeId, announcement: AnnouncementId) -> sqlx::Result<u64> {
    let accounts = sqlx::query_scalar!(
        "select distinct on (lower(a.email)) a.id from account a
         left join membership m on m.account_id = a.id and m.challenge_id = $1
         left join participant p on p.account_id = a.id and p.challenge_id = $1
         where (m.account_id is not null or p.state = 'joined') and p.state is distinct from 'banned'
           and a.email is not null and a.announcements_by_mail and a.disabled_at is null
         order by lower(a.email), a.email_confirmed_at nulls last, a.id",
        challenge.0
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<Uuid> = accounts.iter().map(|_| Uuid::now_v7()).collect();
    let queued = sqlx::query!(
        "insert into outbox (id, challenge_id, kind, event, account_id, announcement_id)
         select id, $3, 'mail', 'announcement', account, $4 from unnest($1::uuid[], $2::uuid[]) as t (id, account)",
        &ids,
        &accounts,
        challenge.0,
        announcement.0
    )
    .execute(conn)
    .await?;
    Ok(queued.rows_affected())
}

/// The webhook's newest `limit` deliveries of a challenge.
pub async fn deliveries(conn: &mut PgConnection, challenge: ChallengeId, limit: i64) -> sqlx::Result<Vec<Delivery>> {
    sqlx::query_as!(
        Delivery,
        r#"select id as "id: _", event, state as "state: _", attempts, status, error, created_at,
                  case when state = 'waiting' then not_before end as next_at, finished_at
           from outbox where challenge_id = $1 and kind = 'webhook' order by id desc limit $2"#,
        challenge.0,
        limit
    )
    .fetch_all(conn)
    .await
}

/// How an announcement's mails went.
pub async fn mailed(conn: &mut PgConnection, announcement: AnnouncementId) -> sqlx::Result<Mails> {
    sqlx::query_as!(
        Mails,
        r#"select count(*) filter (where state = 'sent') as "sent!", count(*) filter (where state = 'waiting') as "waiting!",
                  count(*) filter (where state = 'failed') as "failed!"
           from outbox where announcement_id = $1 and kind = 'mail'"#,
        announcement.0
    )
    .fetch_one(conn)
    .await
}

/// A delivery that is this sender's for a while.
#[derive(Debug)]
struct Taken {
    id: DeliveryId,
    challenge: ChallengeId,
    event: String,
    attempts: i32,
    what: What,
}

#[derive(Debug)]
enum What {
    Mail { to: AccountId, announcement: AnnouncementId },
    Webhook { body: String },
}

/// Takes what is due longest. A mail waits where there is no way to send it.
async fn take(conn: &mut PgConnection, mails: bool) -> sqlx::Result<Option<Taken>> {
    let row = sqlx::query!(
        r#"with next as (
               select id from outbox where state = 'waiting' and not_before <= now() and (kind = 'webhook' or $1)
               order by not_before, id limit 1 for update skip locked)
           update outbox o set attempts = attempts + 1, not_before = now() + make_interval(secs => $2)
           from next where o.id = next.id
           returning o.id as "id: DeliveryId", o.challenge_id as "challenge: ChallengeId", o.event, o.attempts,
               o.account_id as "account: AccountId", o.announcement_id as "announcement: AnnouncementId", o.payload"#,
        mails,
        LEASE.as_secs_f64()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| Taken {
        id: r.id,
        challenge: r.challenge,
        event: r.event,
        attempts: r.attempts,
        what: match (r.account, r.announcement) {
            (Some(to), Some(announcement)) => What::Mail { to, announcement },
            _ => What::Webhook { body: r.payload.unwrap_or_default().to_string() },
        },
    }))
}

/// How a try ended.
enum Tried {
    /// With the HTTP status of a webhook.
    Sent(Option<u16>),
    /// With a status, or in words.
    Failed(Option<u16>, String),
    /// Nobody is to get it any more.
    Dropped(String),
}

async fn mark(conn: &mut PgConnection, taken: &Taken, tried: Tried, pause: Duration) -> sqlx::Result<State> {
    let again = taken.attempts < ATTEMPTS;
    let (state, status, error) = match tried {
        Tried::Sent(status) => (State::Sent, status, None),
        Tried::Failed(status, words) if again => (State::Waiting, status, Some(words)),
        Tried::Failed(status, words) => (State::Failed, status, Some(words)),
        Tried::Dropped(words) => (State::Failed, None, Some(words)),
    };
    let pause = pause * FACTOR.saturating_pow(u32::try_from(taken.attempts - 1).unwrap_or_default());
    let error = error.map(|words| words.chars().take(500).collect::<String>());
    sqlx::query!(
        "update outbox set state = $2, status = $3, error = $4, not_before = now() + make_interval(secs => $5),
             finished_at = case when $2 <> 'waiting' then now() end
         where id = $1 and state = 'waiting'",
        taken.id.0,
        state as _,
        status.map(i32::from),
        error,
        pause.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(state)
}

/// Removes what ended long ago.
async fn sweep(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let gone = sqlx::query!("delete from outbox where finished_at < now() - make_interval(days => $1)", KEPT_DAYS);
    Ok(gone.execute(conn).await?.rows_affected())
}
