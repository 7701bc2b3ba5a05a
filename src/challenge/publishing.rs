//! Publishing the figures of a phase that kept them back, and taking that back.

use serde_json::json;
use sqlx::{Acquire, PgConnection};

use super::phase::{self, Phase};
use crate::{
    audit::{self, Act, Actor},
    outbox,
};

/// Shows everybody the figures of a phase, or hides them again; false: it is so already. Noted with its reason, and told to
/// the challenge's webhook, in the same transaction.
pub async fn set(
    conn: &mut PgConnection,
    actor: &Actor,
    phase: &Phase,
    published: bool,
    reason: &str,
) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    if !phase::publish(&mut tx, phase.id, published).await? {
        return Ok(false);
    }
    let object = format!("{}/{}", phase.challenge_slug, phase.slug);
    let act = Act {
        challenge: Some(phase.challenge),
        action: if published { "phase.publish" } else { "phase.unpublish" },
        object: &object,
        reason,
        details: json!({ "published": [!published, published] }),
    };
    audit::note(&mut tx, actor, act).await?;
    if published {
        outbox::event(&mut tx, phase.challenge, "phase.published", json!({ "phase": phase.slug })).await?;
    }
    tx.commit().await?;
    Ok(true)
}
