//! The integration tests, one binary so that the project links once. Each module speaks one area's language.

mod api;
mod archive;
mod browser;
mod codabench;
mod corpus;
mod cost;
mod crash;
mod docs;
mod entries;
mod fidelity;
mod fitting;
mod intake;
mod leaderboard;
mod networks;
mod organize;
mod postgres;
mod queue;
mod records;
mod reproduction;
mod sandbox;
mod study;
mod submit;
mod support;
mod timing;
mod uploads;
mod web;
