//! Reviewing entries: what an organizer sees of one, what they say of it, what its team holds against that.
//!
//! ```text
//! queue       a phase's entries with what speaks against each
//! mark        accept, hold, disqualify, verify: one act, with a reason that the team sees, noted
//! objection   the team's word against a mark or a score, and the answer
//! duplicates  the same or nearly the same as another team's entry
//! gap         between two phases, against the field
//! drift       a batch of re-runs: old against new
//! ```
//!
//! Nothing here deletes what was sent in or measured.

pub mod drift;
pub mod duplicates;
pub mod gap;
pub mod mark;
pub mod objection;
pub mod queue;

/// A reason, an objection or an answer, which is to be noted and shown.
pub use crate::audit::reason;
use crate::audit::reason as text;
