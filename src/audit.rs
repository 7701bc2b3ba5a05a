//! The audit log: what organizers did, to what, when and why. Append-only; each act is noted in its own transaction, so
//! that nothing is done without a trace and no trace is of something undone.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    csv,
    ids::{AccountId, ChallengeId},
};

/// Who acts: an account, or whoever has the server's shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    Account { id: AccountId, name: String },
    Shell,
}

/// An organizer's right to act on somebody else's thing: who does it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Power {
    pub actor: Actor,
    /// As [`reason`] gives it.
    pub reason: String,
}

/// Characters of a reason.
pub const MAX_REASON: usize = 2000;

/// A reason that is there and not too long, without the white space around it.
pub fn reason(words: &str) -> Option<&str> {
    let words = words.trim();
    let fits = !words.is_empty() && words.chars().count() <= MAX_REASON && !words.contains('\0');
    fits.then_some(words)
}

/// One act, to be noted.
#[derive(Debug, Clone)]
pub struct Act<'a> {
    /// `None`: of the whole server.
    pub challenge: Option<ChallengeId>,
    /// Stable, as `phase.publish`: what it is done to, and what is done.
    pub action: &'static str,
    /// What it was done to, in words that a reader finds again: a slug, a team's name, an id.
    pub object: &'a str,
    /// In the organizer's words; empty where none were asked for.
    pub reason: &'a str,
    /// What changed, as `{"field": [before, after]}`.
    pub details: serde_json::Value,
}

impl<'a> Act<'a> {
    /// Without a reason and details.
    pub fn of(challenge: ChallengeId, action: &'static str, object: &'a str) -> Act<'a> {
        Act { challenge: Some(challenge), ..Act::of_server(action, object) }
    }

    /// Of the whole server, without a reason and details.
    pub fn of_server(action: &'static str, object: &'a str) -> Act<'a> {
        Act { challenge: None, action, object, reason: "", details: serde_json::json!({}) }
    }

    pub fn because(self, reason: &'a str) -> Act<'a> {
        Act { reason, ..self }
    }

    pub fn with(self, details: serde_json::Value) -> Act<'a> {
        Act { details, ..self }
    }
}

/// One act, as noted.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Entry {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    /// The account's name at the time, or `shell`.
    pub actor: String,
    pub action: String,
    pub object: String,
    pub reason: String,
    pub details: serde_json::Value,
}

impl Actor {
    /// `None`: from the shell.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Actor::Account { id, .. } => Some(*id),
            Actor::Shell => None,
        }
    }
}

/// Notes an act; `conn` is the transaction that does it.
pub async fn note(conn: &mut PgConnection, actor: &Actor, act: Act<'_>) -> sqlx::Result<()> {
    let (account, name) = match actor {
        Actor::Account { id, name } => (Some(id.0), name.as_str()),
        Actor::Shell => (None, "shell"),
    };
    sqlx::query!(
        "insert into audit (id, challenge_id, account_id, actor, action, object, reason, details)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        Uuid::now_v7(),
        act.challenge.map(|id| id.0),
        account,
        name,
        act.action,
        act.object,
        act.reason,
        act.details
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// [`note`], where it was an organizer's power that did it: what a team does with its own things is not in the log.
pub async fn note_power(conn: &mut PgConnection, power: Option<&Power>, act: Act<'_>) -> sqlx::Result<()> {
    match power {
        Some(Power { actor, reason }) => note(conn, actor, act.because(reason)).await,
        None => Ok(()),
    }
}

/// Which acts are shown; what is empty lets all through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// An action as `phase.publish`, or all on an object as `phase`.
    pub action: String,
    /// The actor's whole name, without regard to case.
    pub actor: String,
}

/// The acts of a challenge, or of the whole server, newest first: `limit` of those before the entry `before`.
pub async fn list(
    conn: &mut PgConnection,
    challenge: Option<ChallengeId>,
    before: Option<Uuid>,
    limit: u32,
) -> sqlx::Result<Vec<Entry>> {
    find(conn, challenge, &Filter::default(), before, limit).await
}

/// As [`list`], of those that a filter lets through.
pub async fn find(
    conn: &mut PgConnection,
    challenge: Option<ChallengeId>,
    filter: &Filter,
    before: Option<Uuid>,
    limit: u32,
) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        "select id, at, actor, action, object, reason, details from audit
         where ($1::uuid is null or challenge_id = $1) and ($2::uuid is null or id < $2)
           and ($4 = '' or action = $4 or split_part(action, '.', 1) = $4)
           and ($5 = '' or lower(actor) = lower($5))
         order by id desc limit $3",
        challenge.map(|id| id.0),
        before,
        i64::from(limit),
        filter.action,
        filter.actor
    )
    .fetch_all(conn)
    .await
}

/// The newest `limit` acts of a challenge that were done to one object.
pub async fn about(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    object: &str,
    limit: u32,
) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        "select id, at, actor, action, object, reason, details from audit
         where challenge_id = $1 and object = $2 order by id desc limit $3",
        challenge.0,
        object,
        i64::from(limit)
    )
    .fetch_all(conn)
    .await
}

/// The actions that the log of a challenge, or of the whole server, holds.
pub async fn actions(conn: &mut PgConnection, challenge: Option<ChallengeId>) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select distinct action from audit where $1::uuid is null or challenge_id = $1 order by action",
        challenge.map(|id| id.0)
    )
    .fetch_all(conn)
    .await
}

/// The header of [`Entry::to_csv`].
pub const CSV: &str = "id,at,actor,action,object,reason,details\r\n";

impl Entry {
    /// One line.
    pub fn to_csv(&self) -> String {
        csv::line(&[
            self.id.to_string(),
            self.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            csv::text(&self.actor),
            self.action.clone(),
            csv::text(&self.object),
            csv::text(&self.reason),
            csv::text(&self.details.to_string()),
        ])
    }
}
