//! What the tests share: a running application on a fresh database, and the people who use it.

pub mod app;
pub mod browser;
#[allow(dead_code, reason = "the science's own suite uses the rest")]
#[path = "../../../crates/evaluation/tests/suite/support/files.rs"]
pub mod files;
pub mod html;
#[allow(dead_code, reason = "the science's own suite uses the rest")]
#[path = "../../../crates/evaluation/tests/suite/support/models.rs"]
pub mod models;
pub mod proxy;
pub mod scratch;
pub mod showcase;
pub mod web;

/// The program, as the workers' children and the tests start it.
pub fn program() -> std::path::PathBuf {
    env!("CARGO_BIN_EXE_upscore").into()
}
