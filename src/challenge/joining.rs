//! How accounts come into a challenge: its terms, whether an organizer decides, and how large a team may be.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{ids::ChallengeId, storage::hex};

/// Who decides that somebody takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum JoinPolicy {
    /// Whoever accepts the terms.
    #[default]
    Open,
    /// An organizer, of each account.
    Approval,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Joining {
    pub policy: JoinPolicy,
    /// Markdown; empty: there are none.
    pub terms: String,
    /// People in a team at most.
    pub max_members: Option<u32>,
}

impl Joining {
    /// Names the terms as they are now, 64 hexadecimal digits; what somebody accepts is what they were shown. `None`: there
    /// are none.
    pub fn terms_sha256(&self) -> Option<String> {
        (!self.terms.is_empty()).then(|| hex(&Sha256::digest(self.terms.as_bytes())))
    }
}

pub async fn get(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<Joining> {
    let row = sqlx::query!(
        r#"select join_policy as "policy: JoinPolicy", terms, max_members from challenge where id = $1"#,
        challenge.0
    )
    .fetch_one(conn)
    .await?;
    let max_members = row.max_members.and_then(|n| u32::try_from(n).ok());
    Ok(Joining { policy: row.policy, terms: row.terms, max_members })
}

/// Sets all three. What was accepted stays accepted; larger teams stay as they are.
pub async fn set(conn: &mut PgConnection, challenge: ChallengeId, joining: &Joining) -> sqlx::Result<()> {
    sqlx::query!(
        "update challenge set join_policy = $2, terms = $3, max_members = $4 where id = $1",
        challenge.0,
        joining.policy as _,
        joining.terms,
        joining.max_members.map(|n| i32::try_from(n).unwrap_or(i32::MAX))
    )
    .execute(conn)
    .await?;
    Ok(())
}
