//! Upscore: the evaluation server for efficient super-resolution challenges.
//!
//! The way of a submission, one direction, two hand-overs (the `evaluation` row, then its result):
//!
//! ```text
//! browser / REST / `upscore submit`
//!   │ streamed upload
//! web ──▶ submission::intake::accept      rules → vetting → blobs by SHA-256 → ONE transaction
//!   ▼
//! evaluation row ◀── queue::claim         Postgres is the queue: lease, heartbeat, sweep
//!   │
//! worker::step ──▶ evaluation::evaluate   the science; the model runs in a sandboxed child process
//!   ├─▶ scoring::score                    pure
//!   └─▶ queue::finish                     ONE transaction, only while the lease is still ours
//!                     ▼
//!            leaderboard::ranking         the one ranked query: pages, API and exports all read it
//! ```
//!
//! Imports point downward only: `main → cli → web, worker, evaluation`; `web → review, submission, leaderboard, analysis,
//! challenge, team, queue, outbox, record, storage`; `worker → queue, storage, challenge, evaluation, scoring`; whoever changes
//! what an organizer may change notes it in [`audit`]; `evaluation` uses nothing but [`problem`], so that anyone can reproduce
//! a number from the command line without a database.

pub mod analysis;
pub mod audit;
pub mod challenge;
pub mod cli;
pub mod config;
pub mod csv;
pub mod db;
pub mod export;
pub mod figures;
pub mod ids;
pub mod kept;
pub mod leaderboard;
pub mod mail;
pub mod outbox;
pub mod postgres;
pub mod queue;
pub mod record;
pub mod review;
pub mod scoring;
pub mod storage;
pub mod submission;
pub mod team;
pub mod telemetry;
pub mod web;
pub mod webhook;
pub mod worker;

/// What the demo and the tests make their challenges of.
pub use upscore_demo as demo;
/// The science, a crate of its own: compiled optimised, usable without database and server.
pub use upscore_evaluation as evaluation;
pub use upscore_evaluation::problem;

/// The commit that this program was built from, where the build knew it (`build.rs`).
pub const COMMIT: Option<&str> = option_env!("UPSCORE_BUILD_COMMIT");
