//! The integration tests, one binary so that the project links once. Each module speaks one area's language.

mod crash;
mod fidelity;
mod postgres;
mod intake;
mod leaderboard;
mod organize;
mod queue;
mod support;
