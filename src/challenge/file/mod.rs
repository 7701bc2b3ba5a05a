//! A challenge as one file: made from it, changed by it, and written as it.
//!
//! ```text
//! challenge.toml ─▶ format ─▶ resolve ─▶ Setup ─┐           the files beside it read, images stored, models vetted
//!                  database ─▶ setup ─▶ Current ─┴▶ plan ─▶ apply     changes in words; then all of them, or none
//!                                        └───────▶ export ─▶ challenge.toml
//! ```

mod apply;
mod export;
pub mod format;
mod parcel;
mod plan;
mod resolve;
mod rules;
mod setup;
mod source;

pub use apply::{Applied, How, Of, apply, apply_and_look};
pub use export::{Exported, export};
pub use format::{ChallengeFile, parse};
pub use parcel::{Parcel, open};
pub use plan::{Change, plan};
pub use resolve::resolve;
pub use setup::{Current, CurrentPhase, DatasetChoice, Images, PhaseSetup, Setup};
pub use source::{Reach, Source};
