//! What the tests share: a running application on a fresh database, and the people who use it.

pub mod app;
pub mod browser;
pub mod files;
pub mod html;
pub mod models;
pub mod proxy;
pub mod scratch;
pub mod showcase;
pub mod web;
