//! (being written)

pub mod score;
