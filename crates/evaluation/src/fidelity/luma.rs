//! RGB to the Y of BT.601 with head room, 16…235, in the two roundings of the field.

use super::View;

/// One plane of samples without padding.
pub(super) struct Plane<T> {
    data: Vec<T>,
    cols: usize,
}

impl<T> Plane<T> {
    pub(super) fn view(&self) -> View<'_, T> {
        View { data: &self.data, pitch: self.cols, cols: self.cols, rows: self.data.len() / self.cols }
    }
}

/// Y rounded half to even to a whole grey level (KAIR `rgb2ycbcr` on uint8).
pub(super) fn rounded(rgb: &View<u8>) -> Plane<u8> {
    map(rgb, |r, g, b| ((65.481 * r + 128.553 * g + 24.966 * b) / 255.0 + 16.0).round_ties_even() as u8)
}

/// Y as it comes. BasicSR's `to_y_channel` keeps it in 32-bit floats of 0…1 before and after the weighted sum; that
/// shows in the seventh digit of a dB, so it is done the same way here.
pub(super) fn exact(rgb: &View<u8>) -> Plane<f64> {
    let unit = |v: f64| f64::from(v as f32 / 255.0);
    map(rgb, |r, g, b| {
        let y = (24.966 * unit(b) + 128.553 * unit(g) + 65.481 * unit(r) + 16.0) / 255.0;
        f64::from(y as f32 * 255.0)
    })
}

fn map<T>(rgb: &View<u8>, luma: impl Fn(f64, f64, f64) -> T) -> Plane<T> {
    let mut data = Vec::with_capacity(rgb.rows * rgb.cols / 3);
    for y in 0..rgb.rows {
        data.extend(rgb.row(y).chunks_exact(3).map(|p| luma(p[0].into(), p[1].into(), p[2].into())));
    }
    Plane { data, cols: rgb.cols / 3 }
}
