//! Who may see what of an entry and a board: the one place that decides it.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Error, extract::Viewer, lang::t, view::When};
use crate::{
    challenge::phase::{Phase, PhaseState, Visibility},
    leaderboard::Boards,
    queue::State,
    submission::Submission,
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
    /// `None`: to this viewer it does not exist. Ask while no connection is held.
    pub async fn of(
        boards: &Boards,
        pool: &PgPool,
        viewer: &Viewer,
        is_member: bool,
        submission: &Submission,
        phase: &Phase,
    ) -> Result<Option<Sight>, Error> {
        if viewer.organizes(phase.challenge) {
            return Ok(Some(Sight::Organizer));
        }
        if is_member {
            return Ok(Some(Sight::Own));
        }
        let may_stand = submission.state == State::Scored && submission.withdrawn_at.is_none();
        // A board that stands still may hold what was withdrawn, or measured anew, since.
        if !is_public(phase) || !may_stand && phase.as_of.is_none() {
            return Ok(None);
        }
        let board = boards.of(pool, phase).await?;
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

    /// Up to when evaluations are told of: everybody else's eyes see a board that stands still.
    pub fn until(self, phase: &Phase) -> Option<DateTime<Utc>> {
        phase.as_of.filter(|_| self == Sight::Public)
    }
}

/// Whether everybody sees the figures of a phase, be they of now or of when its board stopped.
pub fn is_public(phase: &Phase) -> bool {
    phase.shows_all || phase.visibility == Visibility::Frozen
}

/// The phase as this viewer may see its board: who runs the challenge sees it as it is, also where it stands still for others.
pub fn seen_by(viewer: &Viewer, phase: Phase) -> Phase {
    if viewer.organizes(phase.challenge) { phase.whole() } else { phase }
}

/// Who sees the figures of a phase now, in words for organizers.
pub fn seen_by_words(phase: &Phase) -> String {
    let at = |time: Option<DateTime<Utc>>| time.map_or_else(String::new, |at| When::new(at).utc);
    match phase.visibility {
        _ if phase.published_at.is_some() => "everybody, published".into(),
        Visibility::Live => "everybody, live".into(),
        Visibility::Own => "each team its own".into(),
        Visibility::Frozen if phase.as_of.is_some() => {
            format!("everybody, as of {}; each team its own", at(phase.frozen_at))
        }
        Visibility::Frozen if phase.state == PhaseState::Closed => "everybody, as the phase has closed".into(),
        Visibility::Frozen => format!("everybody, live until {}", at(phase.frozen_at)),
        Visibility::AfterEnd if phase.shows_all => "everybody, as the phase has closed".into(),
        Visibility::AfterEnd => "organizers only, until the phase closes".into(),
        Visibility::Hidden => "organizers only".into(),
    }
}

/// Why nobody but organizers sees the figures of a phase, and until when.
pub fn hidden_words(phase: &Phase) -> &'static str {
    match phase.visibility {
        Visibility::AfterEnd => t("everybody sees the figures when this phase closes."),
        _ => t("the organizers publish the figures of this phase."),
    }
}

/// Whether somebody sees figures of single images of others' entries: while a phase is open they would help to find out what
/// the hidden images hold.
pub fn sees_images(viewer: &Viewer, phase: &Phase) -> bool {
    (is_public(phase) && phase.state == PhaseState::Closed) || viewer.organizes(phase.challenge)
}

/// Whether somebody sees the board of a phase as it stood at a moment: what was hidden then stays so.
pub fn sees_board_at(viewer: &Viewer, phase: &Phase, at: Option<DateTime<Utc>>) -> bool {
    let since = |time: Option<DateTime<Utc>>, at| time.is_some_and(|since| since <= at);
    let was_public = |at| {
        since(phase.published_at, at)
            || match phase.visibility {
                Visibility::Live => true,
                Visibility::Frozen => phase.frozen_at.is_some_and(|stop| at <= stop) || since(phase.closes_at, at),
                Visibility::AfterEnd => since(phase.closes_at, at),
                Visibility::Own | Visibility::Hidden => false,
            }
    };
    sees_board(viewer, phase) && (at.is_none_or(was_public) || viewer.organizes(phase.challenge))
}

/// Whether somebody sees the whole board of a phase.
pub fn sees_board(viewer: &Viewer, phase: &Phase) -> bool {
    is_public(phase) || viewer.organizes(phase.challenge)
}
