//! What `upscore demo` and the tests make their challenges of: images and networks, all from seeds.

pub mod fit;
pub mod fitted;
pub mod images;
pub mod models;
pub mod planes;
