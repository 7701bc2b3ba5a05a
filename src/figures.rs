//! How precisely figures of hidden images are told to those who must not learn what the images hold.

/// To so many decimals; what is infinite stays so.
fn round(value: f64, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    if value.is_finite() { (value * unit).round() / unit } else { value }
}

/// PSNR (dB) or SSIM over a whole set of images: one sample more or less right moves the mean by less.
pub fn of_set(figure: f64) -> f64 {
    round(figure, 6)
}

/// PSNR of one image, dB; also what is reckoned from such figures.
pub fn psnr_of_image(db: f64) -> f64 {
    round(db, 2)
}

pub fn ssim_of_image(ssim: f64) -> f64 {
    round(ssim, 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_does_not_show_in_what_is_told() {
        // 2040 × 1356 RGB at 30 dB: the mean squared error moves by at most 2 × 255 + 1 over the samples for one sample that
        // is changed by one level.
        let samples = 2040.0 * 1356.0 * 3.0;
        let psnr = |mse: f64| 10.0 * (255.0f64.powi(2) / mse).log10();
        let (mse, step) = (65.025, 511.0 / samples);
        assert_eq!(psnr_of_image(psnr(mse)), psnr_of_image(psnr(mse + step)));
        let mean = |of_one: f64| (99.0 * 30.0 + of_one) / 100.0;
        assert_eq!(of_set(mean(psnr(mse))), of_set(mean(psnr(mse + step))));
        assert_ne!(mean(psnr(mse)), mean(psnr(mse + step)), "as whole doubles it shows");
        assert_eq!((psnr_of_image(f64::INFINITY), ssim_of_image(0.912_87)), (f64::INFINITY, 0.9129));
    }
}
