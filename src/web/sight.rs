//! Who may see what of an entry and a board: the one place that decides it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Error, extract::Viewer};
use crate::{
    challenge::phase::{Phase, PhaseState, Visibility},
    leaderboard::Boards,
    queue::State,
    submission::Submission,
    team,
};

/// How much of a submission somebody may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    Organizer,
    /// A member of its team.
    Own,
    /// It stands on a public board: its figures, nothing of its files, words and images.
    Public,
}

impl Sight {
    /// `None`: to this viewer it does not exist.
    pub async fn of(
        boards: &Boards,
        conn: &mut PgConnection,
        viewer: &Viewer,
        submission: &Submission,
        phase: &Phase,
    ) -> Result<Option<Sight>, Error> {
        if viewer.organizes(phase.challenge) {
            return Ok(Some(Sight::Organizer));
        }
        if let Some(signed) = &viewer.0
            && team::is_member(conn, submission.team, signed.account.id).await?
        {
            return Ok(Some(Sight::Own));
        }
        let may_stand = submission.state == State::Scored && submission.withdrawn_at.is_none();
        if !may_stand || !is_public(phase) {
            return Ok(None);
        }
        let board = boards.of(conn, phase).await?;
        let baseline = board.baseline.as_ref().and_then(|b| b.submission);
        let stands = board.ranked.iter().map(|r| r.submission).chain(board.unranked.iter().map(|r| r.submission));
        let found = stands.chain(baseline).any(|id| id == submission.id);
        Ok(found.then_some(Sight::Public))
    }

    /// Everything but the hidden figures: files' hashes, fact sheet, problems.
    pub fn is_full(self) -> bool {
        self != Sight::Public
    }

    /// PSNR, SSIM and what follows from them.
    pub fn sees_figures(self, phase: &Phase) -> bool {
        match self {
            Sight::Organizer => true,
            Sight::Own => is_public(phase) || phase.visibility == Visibility::Own,
            Sight::Public => is_public(phase),
        }
    }
}

/// Whether everybody sees the figures of a phase.
pub fn is_public(phase: &Phase) -> bool {
    phase.visibility == Visibility::Live || phase.published_at.is_some()
}

/// Whether somebody sees figures of single images of others' entries: while a phase is open they would help to find out what
/// the hidden images hold.
pub fn sees_images(viewer: &Viewer, phase: &Phase) -> bool {
    (is_public(phase) && phase.state == PhaseState::Closed) || viewer.organizes(phase.challenge)
}

/// Whether somebody sees the board of a phase as it stood at a moment: what was hidden then stays so.
pub fn sees_board_at(viewer: &Viewer, phase: &Phase, at: Option<DateTime<Utc>>) -> bool {
    let was_public = |at| phase.visibility == Visibility::Live || phase.published_at.is_some_and(|since| since <= at);
    sees_board(viewer, phase) && (at.is_none_or(was_public) || viewer.organizes(phase.challenge))
}

/// Whether somebody sees the whole board of a phase.
pub fn sees_board(viewer: &Viewer, phase: &Phase) -> bool {
    is_public(phase) || viewer.organizes(phase.challenge)
}
