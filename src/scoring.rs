//! Whether an entry is ranked, and the words for why not. Pure: figures in, a decision out.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    challenge::protocol::{Comparison, ReproductionRule},
    evaluation::Verdict,
    submission::OrganizerStatus,
};

/// The PSNR that an entry must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// dB, as 29.00.
    pub figure: f64,
    pub comparison: Comparison,
}

/// Where the gate stands for a phase at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GateState {
    /// Every entry is ranked.
    None,
    /// It follows a baseline that is not measured yet: nothing is ranked.
    Pending,
    At(Gate),
}

/// Why an entry is not ranked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reason {
    /// Stable: `below_baseline`, `not_reproduced`, `held`, `disqualified`, `unverified`, `missing_figure`,
    /// `gate_pending`.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    pub message: String,
}

impl Reason {
    fn new(code: &'static str, message: impl Into<String>) -> Reason {
        Reason { code: Cow::Borrowed(code), message: message.into() }
    }
}

impl Gate {
    /// The lowest PSNR that passes, dB. The ranked query compares with it, so that there is one decision.
    pub fn threshold(self) -> f64 {
        match self.comparison {
            Comparison::Exact => self.figure,
            Comparison::Rounded { decimals } => {
                let figure = round(self.figure, decimals);
                // Half a unit of the last decimal below; through its decimal form, so that 28.995 is what 28.995 is
                // read as, and not a neighbour that subtraction lands on.
                round(figure - 0.5 * 10f64.powi(-i32::from(decimals)), decimals + 1)
            }
        }
    }

    pub fn passes(self, psnr: f64) -> bool {
        psnr >= self.threshold()
    }

    /// `28.91 dB, 0.09 dB below the baseline's 29.00`; more decimals where two would show no difference.
    fn shortfall(self, psnr: f64) -> String {
        let figure = self.figure;
        let shows = |&d: &usize| format!("{:.d$}", figure - psnr).bytes().any(|b| matches!(b, b'1'..=b'9'));
        let d = (2..=9).find(shows).unwrap_or(9);
        format!("{psnr:.d$} dB, {:.d$} dB below the baseline's {figure:.d$}", figure - psnr)
    }
}

/// To so many decimals, by the decimal form.
fn round(value: f64, decimals: u8) -> f64 {
    format!("{value:.*}", usize::from(decimals)).parse().unwrap_or(value)
}

/// What decides whether one entry is ranked.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    pub psnr: f64,
    pub verdict: Verdict,
    pub max_abs: u8,
    pub organizer: OrganizerStatus,
    /// For everybody; the one for the team is not on the board.
    pub public_reason: Option<&'a str>,
    /// An organizer has verified it, or none need.
    pub verified: bool,
    /// Its fact sheet says all that is required, where that decides.
    pub told: bool,
    /// What the protocol ranks by and is not there.
    pub missing: Option<Missing>,
}

/// A figure that is needed to rank an entry and was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The entry's own.
    Figure,
    /// The baseline's, that a score compares with.
    Baseline,
}

impl Missing {
    pub fn reason(self) -> Reason {
        let message = match self {
            Missing::Figure => "The figure that this phase is ranked by was not measured",
            Missing::Baseline => "The baseline that this phase scores against was not measured",
        };
        Reason::new("missing_figure", message)
    }
}

/// `None`: ranked. The gravest reason first. The ranked query takes the same decision in SQL; a test compares them.
pub fn reason(entry: &Standing<'_>, gate: GateState, reproduction: ReproductionRule) -> Option<Reason> {
    match (entry.organizer, entry.public_reason) {
        (OrganizerStatus::Disqualified, Some(stated)) => {
            return Some(Reason::new("disqualified", format!("Disqualified: {stated}")));
        }
        (OrganizerStatus::Disqualified, None) => return Some(Reason::new("disqualified", "Disqualified")),
        (OrganizerStatus::Held, Some(stated)) => {
            return Some(Reason::new("held", format!("Held for review: {stated}")));
        }
        (OrganizerStatus::Held, None) => return Some(Reason::new("held", "Held for review")),
        (OrganizerStatus::None, _) => {}
    }
    match gate {
        GateState::Pending => return Some(Reason::new("gate_pending", "The baseline's PSNR is not measured yet")),
        GateState::At(gate) if !gate.passes(entry.psnr) => {
            return Some(Reason::new("below_baseline", gate.shortfall(entry.psnr)));
        }
        _ => {}
    }
    if reproduction == ReproductionRule::Required && entry.verdict == Verdict::Differs {
        let message =
            format!("The uploaded model does not make the uploaded images: up to {} grey levels apart", entry.max_abs);
        return Some(Reason::new("not_reproduced", message));
    }
    match (entry.told, entry.verified) {
        (false, _) => {
            return Some(Reason::new("unverified", "Not verified: the fact sheet does not say all that is required"));
        }
        (true, false) => {
            return Some(Reason::new("unverified", "Not verified: the organizers have not confirmed the entry"));
        }
        (true, true) => {}
    }
    entry.missing.map(Missing::reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(figure: f64, comparison: Comparison) -> Gate {
        Gate { figure, comparison }
    }

    #[test]
    fn the_gate_compares_as_the_protocol_says() {
        let exact = gate(29.0, Comparison::Exact);
        assert!(exact.passes(29.0) && !exact.passes(28.999_999));
        let rounded = gate(29.0, Comparison::Rounded { decimals: 2 });
        assert!(rounded.passes(28.995) && rounded.passes(28.999) && !rounded.passes(28.9949));
        let whole = gate(29.0, Comparison::Rounded { decimals: 0 });
        assert!(whole.passes(28.5) && !whole.passes(28.499));
    }

    #[test]
    fn the_shortfall_is_worded_so_that_it_shows() {
        let gate = gate(29.0, Comparison::Exact);
        assert_eq!(gate.shortfall(28.914), "28.91 dB, 0.09 dB below the baseline's 29.00");
        assert_eq!(gate.shortfall(28.998), "28.998 dB, 0.002 dB below the baseline's 29.000");
        assert_eq!(gate.shortfall(7.5), "7.50 dB, 21.50 dB below the baseline's 29.00");
    }
}
