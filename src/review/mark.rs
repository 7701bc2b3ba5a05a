//! An organizer's word on an entry. Two organizers at once do not overwrite each other: an act names the state that it was
//! decided on, and is refused when that is no longer so.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{
    audit::{self, Actor},
    challenge::phase,
    evaluation::sha256,
    ids::{ChallengeId, SubmissionId},
    submission::{self, OrganizerStatus},
};

/// What can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Clears a hold or a disqualification: what was found is no reason against it, now and when it is found again.
    Accept,
    /// Not ranked until decided.
    Hold,
    Disqualify,
    /// The entry is what its team says.
    Verify,
    Unverify,
    /// The phase's baseline, in the place of another: it takes no rank, and where no figure is stated the gate follows its PSNR.
    Baseline,
    /// An entry like others again; the phase has no baseline's entry then.
    Unbaseline,
}

impl Word {
    pub const ALL: [Word; 7] =
        [Word::Accept, Word::Hold, Word::Disqualify, Word::Verify, Word::Unverify, Word::Baseline, Word::Unbaseline];

    /// In the audit log.
    pub fn action(self) -> &'static str {
        match self {
            Word::Accept => "submission.accept",
            Word::Hold => "submission.hold",
            Word::Disqualify => "submission.disqualify",
            Word::Verify => "submission.verify",
            Word::Unverify => "submission.unverify",
            Word::Baseline => "submission.baseline",
            Word::Unbaseline => "submission.unbaseline",
        }
    }

    /// As pages say it of what was done.
    pub fn done(action: &str) -> Option<&'static str> {
        let word = Word::ALL.into_iter().find(|word| word.action() == action)?;
        Some(match word {
            Word::Accept => "accepted",
            Word::Hold => "held",
            Word::Disqualify => "disqualified",
            Word::Verify => "verified",
            Word::Unverify => "no longer verified",
            Word::Baseline => "made the baseline",
            Word::Unbaseline => "no longer the baseline",
        })
    }
}

/// What organizers did with an entry, as its page says it: a word, or what they did in its team's place.
pub fn done(action: &str) -> Option<&'static str> {
    Word::done(action).or(match action {
        "submission.withdraw" => Some("withdrawn"),
        "submission.cancel" => Some("cancelled"),
        "submission.choose" => Some("chosen for the board"),
        "submission.amend" => Some("fact sheet amended"),
        _ => None,
    })
}

/// The marks on an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Marks {
    pub status: OrganizerStatus,
    /// For the team.
    pub reason: Option<String>,
    /// On the board, for everybody; `null`: the board says no more than the status.
    pub public_reason: Option<String>,
    pub verified: bool,
    /// It is the baseline of its phase.
    pub baseline: bool,
    /// An organizer has decided about it: it is not held automatically again.
    pub decided: bool,
    /// Names this state: an act sends it back.
    pub seen: String,
}

#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    #[error("a reason has 1 to 2000 characters; the team reads it")]
    BadReason,
    #[error("what is told to everybody has at most 2000 characters")]
    BadPublicReason,
    #[error("the entry was changed since you read it: {0}")]
    Changed(String),
    #[error("there is no such submission")]
    NotFound,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

async fn read(conn: &mut PgConnection, id: SubmissionId, lock: bool) -> Result<Marks, MarkError> {
    if lock {
        sqlx::query!("select id from submission where id = $1 for update", id.0).fetch_optional(&mut *conn).await?;
    }
    let row = sqlx::query!(
        r#"select s.organizer_status as "status: OrganizerStatus", s.organizer_reason as reason,
                  s.organizer_public_reason as public_reason, s.organizer_decided as decided, s.verified_at,
                  p.baseline_submission_id is not distinct from s.id as "baseline!"
           from submission s join phase p on p.id = s.phase_id where s.id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await?
    .ok_or(MarkError::NotFound)?;
    let state = format!(
        "{:?}\n{:?}\n{:?}\n{}\n{:?}\n{}",
        row.status, row.reason, row.public_reason, row.decided, row.verified_at, row.baseline
    );
    Ok(Marks {
        status: row.status,
        reason: row.reason,
        public_reason: row.public_reason,
        verified: row.verified_at.is_some(),
        baseline: row.baseline,
        decided: row.decided,
        seen: sha256(state.as_bytes())[..16].to_owned(),
    })
}

/// The marks as they are now.
pub async fn marks(conn: &mut PgConnection, id: SubmissionId) -> Result<Marks, MarkError> {
    read(conn, id, false).await
}

/// Why something is said, in two texts.
#[derive(Debug, Clone, Copy)]
pub struct Why<'a> {
    /// For the team and the audit log.
    pub team: &'a str,
    /// For everybody who sees the board, of a hold and a disqualification; empty: nothing is told.
    pub public: &'a str,
}

impl<'a> From<&'a str> for Why<'a> {
    /// Told to the team alone.
    fn from(team: &'a str) -> Self {
        Why { team, public: "" }
    }
}

/// Does an act and notes it; done already, nothing changes and nothing is noted. `seen`: the state that it was decided on.
/// Gives the marks after it and whether they changed. Call it in a transaction.
pub async fn mark(
    conn: &mut PgConnection,
    (challenge, id): (ChallengeId, SubmissionId),
    word: Word,
    why: Why<'_>,
    seen: Option<&str>,
    actor: &Actor,
) -> Result<(Marks, bool), MarkError> {
    let reason = super::text(why.team).ok_or(MarkError::BadReason)?;
    let public = match why.public.trim() {
        "" => None,
        public => Some(super::text(public).ok_or(MarkError::BadPublicReason)?),
    };
    let before = read(conn, id, true).await?;
    let is = |status| {
        before.status == status && before.reason.as_deref() == Some(reason) && before.public_reason.as_deref() == public
    };
    let done = match word {
        Word::Accept => before.status == OrganizerStatus::None && before.decided,
        Word::Hold => is(OrganizerStatus::Held),
        Word::Disqualify => is(OrganizerStatus::Disqualified),
        Word::Verify => before.verified,
        Word::Unverify => !before.verified,
        Word::Baseline => before.baseline,
        Word::Unbaseline => !before.baseline,
    };
    if done {
        return Ok((before, false));
    }
    if seen.is_some_and(|seen| seen != before.seen) {
        return Err(MarkError::Changed(told(conn, challenge, id, &before).await?));
    }
    let account = match actor {
        Actor::Account { id, .. } => Some(*id),
        Actor::Shell => None,
    };
    match word {
        Word::Accept => submission::mark(conn, id, OrganizerStatus::None, reason, None).await?,
        Word::Hold => submission::mark(conn, id, OrganizerStatus::Held, reason, public).await?,
        Word::Disqualify => submission::mark(conn, id, OrganizerStatus::Disqualified, reason, public).await?,
        Word::Verify => submission::set_verified(conn, id, true, account).await?,
        Word::Unverify => submission::set_verified(conn, id, false, None).await?,
        Word::Baseline | Word::Unbaseline => phase::set_baseline_entry(conn, id, word == Word::Baseline).await?,
    }
    let after = read(conn, id, false).await?;
    let details = serde_json::json!({
        "status": [before.status, after.status],
        "reason": [before.reason, after.reason],
        "public_reason": [before.public_reason, after.public_reason],
        "verified": [before.verified, after.verified],
        "baseline": [before.baseline, after.baseline],
    });
    let act =
        audit::Act { challenge: Some(challenge), action: word.action(), object: &id.to_string(), reason, details };
    audit::note(conn, actor, act).await?;
    Ok((after, true))
}

/// The state in words, and who made it so.
async fn told(conn: &mut PgConnection, challenge: ChallengeId, id: SubmissionId, now: &Marks) -> sqlx::Result<String> {
    let status = match now.status {
        OrganizerStatus::None => "not held",
        OrganizerStatus::Held => "held",
        OrganizerStatus::Disqualified => "disqualified",
    };
    let mut words = format!("it is {status}");
    if let Some(reason) = &now.reason {
        words += &format!(" (“{reason}”)");
    }
    words += if now.verified { " and verified" } else { " and not verified" };
    if now.baseline {
        words += ", and the phase's baseline";
    }
    let last = history(conn, challenge, id).await?.into_iter().find(|e| Word::done(&e.action).is_some());
    if let Some(last) = last {
        let at = last.at.format("%H:%M UTC");
        words += &format!("; last {} by {} at {at}", Word::done(&last.action).unwrap_or("changed"), last.actor);
    }
    Ok(words)
}

/// What organizers did with an entry, newest first.
pub async fn history(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    id: SubmissionId,
) -> sqlx::Result<Vec<audit::Entry>> {
    audit::about(conn, challenge, &id.to_string(), 200).await
}
