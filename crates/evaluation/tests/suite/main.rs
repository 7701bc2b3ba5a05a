//! What the science promises, through the model's own process. What needs the server is in the root package's suite.

mod amplified;
mod cheats;
mod cost;
mod networks;
mod reproduction;
mod sandbox;
mod support;
