//! The integration tests, one binary so that the project links once. Each module speaks one area's language.
<<<<<<< HEAD

mod crash;
mod intake;
mod leaderboard;
mod queue;
mod support;
mod web;
=======
mod fidelity;
>>>>>>> main
