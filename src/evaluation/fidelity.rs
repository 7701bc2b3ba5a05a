//! (being written)
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    Rgb,
    Y,
    YFloat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    pub channel: Channel,
    pub border: u32,
    pub scale: u32,
}
pub fn psnr(_a: &super::images::Rgb8, _b: &super::images::Rgb8, _s: Settings) -> super::Db {
    super::Db(0.0)
}
