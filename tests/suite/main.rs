//! The integration tests, one binary so that the project links once. Each module speaks one area's language.

mod api;
mod browser;
mod crash;
mod fidelity;
mod intake;
mod leaderboard;
mod organize;
mod postgres;
mod queue;
mod support;
mod web;
