//! What `upscore demo` and the tests make their challenges of: images and networks, all from seeds.

pub mod images;
pub mod networks;
