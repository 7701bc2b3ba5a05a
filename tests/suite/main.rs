//! The integration tests, one binary so that the project links once. Each module speaks one area's language.
mod fidelity;
mod fitting;
