//! All that is to be told of one submission to one viewer: page and API show the same.

use sqlx::PgPool;

use super::{
    Error,
    extract::SubmissionAt,
    sight::{Sight, sees_board},
    steps::Steps,
};
use crate::{
    evaluation::{Measurement, Verdict},
    figures,
    leaderboard::{BaselineRow, Board, Boards, Figures, Ranks},
    problem::Problem,
    queue::{self, Evaluation, Position},
    scoring::Reason,
    submission,
};

pub struct Details {
    /// Newest first; the first is the submission's state.
    pub evaluations: Vec<Evaluation>,
    pub position: Option<Position>,
    pub steps: Steps,
    /// Of the newest scored evaluation, where the viewer may see it.
    pub measurement: Option<Measurement>,
    /// Whether the model makes the images: its team learns it also where the figures are hidden.
    pub verdict: Option<Verdict>,
    /// By the board's FLOP profile.
    pub figures: Option<Figures>,
    pub standing: Standing,
    pub baseline: Option<BaselineRow>,
}

/// Where the entry stands on the board, as far as the viewer sees it.
pub enum Standing {
    Ranked(u32, Ranks),
    Unranked(Reason),
    Baseline,
    /// Not on the board: not scored, withdrawn, another entry of the team stands, or the board is not public.
    Absent,
}

impl Details {
    /// Ask while no connection is held.
    pub async fn load(boards: &Boards, pool: &PgPool, at: &SubmissionAt) -> Result<Details, Error> {
        let mut conn = pool.acquire().await?;
        let SubmissionAt { submission, phase, sight, viewer, is_member: _ } = at;
        let mut evaluations = submission::evaluations(&mut conn, submission.id).await?;
        if let Some(until) = sight.until(phase) {
            evaluations.retain(|e| e.counts_since.is_some_and(|at| at <= until));
        }
        let position = match sight.is_full() {
            true => queue::position(&mut conn, submission.id).await?,
            false => None,
        };
        let newest = evaluations.first();
        let steps = Steps::of(submission.state, newest.and_then(|e| e.progress).filter(|_| sight.is_full()), position);
        let scored = evaluations.iter().find(|e| e.state == queue::State::Scored).map(|e| e.id);
        let measurement = match scored {
            Some(id) if sight.sees_figures(phase) => queue::score::get(&mut conn, id).await?,
            _ => None,
        };
        let measurement = match sight {
            Sight::Organizer => measurement,
            Sight::Own | Sight::Public => measurement.map(told),
        };
        let verdict = match scored {
            Some(id) if sight.is_full() => queue::score::verdict_of(&mut conn, id).await?,
            _ => None,
        };
        drop(conn);
        let board = boards.of(pool, phase).await?;
        let figures = measurement.as_ref().map(|m| Figures::of(m, board.flops_profile));
        let standing = if sees_board(viewer, phase) { Standing::of(&board, submission.id) } else { Standing::Absent };
        let baseline = board.baseline.clone().filter(|_| sight.sees_figures(phase));
        Ok(Details { evaluations, position, steps, measurement, verdict, figures, standing, baseline })
    }

    /// Why the newest evaluation failed, for those who may know.
    pub fn problems(&self, sight: Sight) -> Vec<Problem> {
        let newest = self.evaluations.first().filter(|_| sight.is_full());
        newest.map(|e| e.problems.clone()).unwrap_or_default()
    }
}

impl Standing {
    fn of(board: &Board, id: crate::ids::SubmissionId) -> Standing {
        if let Some(row) = board.ranked.iter().find(|r| r.submission == id) {
            return Standing::Ranked(row.rank, row.ranks);
        }
        if let Some(row) = board.unranked.iter().find(|r| r.submission == id) {
            return Standing::Unranked(row.reason.clone());
        }
        let is_baseline = board.baseline.as_ref().is_some_and(|b| b.submission == Some(id));
        if is_baseline { Standing::Baseline } else { Standing::Absent }
    }
}

/// What participants learn of a measurement. A PSNR as a whole double is an oracle: two entries that differ in one sample tell
/// from its last digits what the hidden sample is. So figures of single images are told to 0.01 dB (SSIM 0.0001), and those of
/// the whole set to a millionth, which no single sample of a set of usual size moves.
fn told(mut m: Measurement) -> Measurement {
    let (fidelity, reproduction) = (&mut m.fidelity, &mut m.reproduction);
    fidelity.psnr = figures::of_set(fidelity.psnr);
    fidelity.ssim = figures::of_set(fidelity.ssim);
    for image in &mut fidelity.images {
        image.psnr.0 = figures::psnr_of_image(image.psnr.0);
        image.ssim = figures::ssim_of_image(image.ssim);
    }
    for psnr in [&mut reproduction.model_psnr, &mut reproduction.uploaded_psnr] {
        *psnr = psnr.map(figures::of_set);
    }
    m
}
