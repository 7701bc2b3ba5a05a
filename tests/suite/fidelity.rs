//! PSNR, SSIM and bicubic resizing against golden values that KAIR, BasicSR and MATLAB's own rule gave for two images made
//! by formula.

use upscore::evaluation::{
    fidelity::{Channel, Settings, psnr, ssim},
    images::{Rgb8, decode_png, encode_png},
    resize,
};

fn image(sample: impl Fn(i64, i64, i64) -> i64) -> Rgb8 {
    let (width, height) = (48, 40);
    let mut data = Vec::new();
    for y in 0..height {
        for x in 0..width {
            data.extend((0..3).map(|c| sample(x, y, c) as u8));
        }
    }
    Rgb8 { width: width as u32, height: height as u32, data }
}

fn a() -> Rgb8 {
    image(|x, y, c| (x * 7 + y * 13 + c * 29 + ((x * y) % 17) * 3) % 256)
}

fn b() -> Rgb8 {
    let a = |x, y, c| (x * 7 + y * 13 + c * 29 + ((x * y) % 17) * 3) % 256;
    image(|x, y, c| (a(x, y, c) + ((x * 31 + y * 17 + c * 11) % 9) - 4).clamp(0, 255))
}

#[test]
fn psnr_and_ssim_equal_the_golden_values() {
    let golden = [
        (Channel::Rgb, 0, 39.93604974688019, Some(0.9971373780530076)),
        (Channel::Y, 0, 44.99125306646319, Some(0.9985278103222872)),
        (Channel::YFloat, 0, 45.35675352436168, None),
        (Channel::Rgb, 4, 39.94411241214278, Some(0.9971342065177803)),
        (Channel::Y, 4, 45.01657643161713, Some(0.9985530554267417)),
        (Channel::YFloat, 4, 45.36534087945882, None),
    ];
    for (channel, border, db, similarity) in golden {
        let settings = Settings { channel, border, scale: 4 };
        let found = psnr(&a(), &b(), settings).0;
        assert!((found - db).abs() < 1e-9, "{channel:?} border {border}: {found}, golden {db}");
        if let Some(golden) = similarity {
            let found = ssim(&a(), &b(), settings);
            assert!((found - golden).abs() < 1e-9, "{channel:?} border {border}: SSIM {found}, golden {golden}");
        }
    }
}

#[test]
fn identical_images_are_infinite_and_count_as_a_hundred() {
    let settings = Settings { channel: Channel::Rgb, border: 4, scale: 4 };
    let same = psnr(&a(), &a(), settings);
    assert!(same.0.is_infinite());
    assert_eq!(same.capped(), 100.0);
    assert_eq!(serde_json::to_string(&same).expect("a JSON document"), "\"inf\"");
    assert!((ssim(&a(), &a(), settings) - 1.0).abs() < 1e-12);
}

#[test]
fn bicubic_is_matlabs() {
    let small = resize::downscale(&a(), 4);
    assert_eq!((small.width, small.height), (12, 10));
    let first_row = [34, 63, 92, 74, 103, 132, 102, 131, 163, 135, 167, 201, 154, 185, 207, 191, 191, 152];
    assert_eq!(small.data[..first_row.len()], first_row);
    assert_eq!(small.data.iter().map(|&v| u64::from(v)).sum::<u64>(), QUARTER_SUM);
    assert_eq!(small.data[small.data.len() - 6..], [47, 60, 94, 62, 93, 124]);
    let large = resize::upscale(&small, 4);
    assert_eq!(large.data.iter().map(|&v| u64::from(v)).sum::<u64>(), 731_485);
    let db = psnr(&large, &a(), Settings { channel: Channel::Rgb, border: 4, scale: 4 }).0;
    assert!((db - 14.677358375131348).abs() < 1e-9, "{db}");
}

/// Sum of the golden quarter-size image's 360 samples.
const QUARTER_SUM: u64 = 45_718;

#[test]
fn png_keeps_every_sample() {
    let bytes = encode_png(&a()).expect("a PNG");
    assert_eq!(decode_png(&bytes, "a").expect("the same image"), a());
}
