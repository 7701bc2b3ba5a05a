//! PSNR, SSIM and the bicubic resize beside the figures that the field's own tools give.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use upscore::{
    cli::score,
    evaluation::{
        Db, ImageScore,
        fidelity::{Channel, Settings, compare, psnr, score as score_zip, summarise},
        images::{Rgb8, decode_png, encode_png, read_image, write_raw},
        resize,
        results::{Depth, Expected, ResultsZip},
    },
};

use crate::archive;

/// The pack of published networks, photos and hostile files, which is not part of the repository. Absent: says so.
pub fn shared(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("UPSCORE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is absent (set UPSCORE_SHARED to the pack); its figures were NOT checked", path.display());
    None
}

/// A formula-made picture and a noisy copy of it, 48×40: the pair that the golden values are taken on.
pub fn golden_pair() -> (Rgb8, Rgb8) {
    let make = |noisy: bool| {
        let mut data = Vec::new();
        for y in 0..40i32 {
            for x in 0..48 {
                for c in 0..3 {
                    let a = (x * 7 + y * 13 + c * 29 + ((x * y) % 17) * 3) % 256;
                    let noise = (x * 31 + y * 17 + c * 11) % 9 - 4;
                    data.push(if noisy { (a + noise).clamp(0, 255) } else { a } as u8);
                }
            }
        }
        Rgb8 { width: 48, height: 40, data }
    };
    (make(false), make(true))
}

fn settings(channel: Channel, border: u32) -> Settings {
    Settings { channel, border, scale: 4 }
}

fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected}");
}

/// KAIR's `calculate_psnr` and `calculate_ssim`, and BasicSR's on the unrounded Y, run on the formula-made pair.
#[test]
fn golden_values_hold_to_1e_9() {
    let (a, b) = golden_pair();
    let sum = |image: &Rgb8| image.data.iter().map(|&v| u64::from(v)).sum::<u64>();
    assert_eq!((sum(&a), sum(&b)), (731_579, 731_555), "the formula makes other images");
    let cases = [
        (Channel::Rgb, 0, 39.93604974688019, Some(0.9971373780530076)),
        (Channel::Rgb, 4, 39.94411241214278, Some(0.9971342065177803)),
        (Channel::Y, 0, 44.99125306646319, Some(0.9985278103222872)),
        (Channel::Y, 4, 45.01657643161713, Some(0.9985530554267417)),
        (Channel::YFloat, 0, 45.35675352436168, None),
        (Channel::YFloat, 4, 45.36534087945882, None),
    ];
    for (channel, border, expected, expected_ssim) in cases {
        let what = format!("{channel:?}, border {border}");
        let (found, ssim) = compare(&b, &a, &settings(channel, border)).unwrap();
        assert_close(found.0, expected, 1e-9, &what);
        assert_eq!(psnr(&b, &a, &settings(channel, border)).unwrap(), found, "{what}: psnr() differs from compare()");
        if let Some(expected) = expected_ssim {
            assert_close(ssim, expected, 1e-9, &what);
        }
    }
}

/// SSIM by its definition: 121 taps a window, five moments, nothing shared. Odd sizes cross every tile and band border.
#[test]
fn ssim_equals_its_definition() {
    let weight: Vec<f64> = (0..11).map(|i| (-(f64::from(i) - 5.0).powi(2) / 4.5).exp()).collect();
    let norm = weight.iter().sum::<f64>().powi(2);
    let (c1, c2) = ((0.01f64 * 255.0).powi(2), (0.03f64 * 255.0).powi(2));
    for (width, height) in [(11, 11), (12, 83), (97, 75), (185, 140)] {
        let (a, b) = (noise(width, height, 1), noise(width, height, 2));
        let at = |image: &Rgb8, x: u32, y: u32, c: u32| f64::from(image.data[((y * width + x) * 3 + c) as usize]);
        let (mut sum, mut windows) = (0.0, 0.0);
        for (top, left, c) in
            (0..=height - 11).flat_map(|y| (0..=width - 11).flat_map(move |x| (0..3).map(move |c| (y, x, c))))
        {
            let mut m = [0.0; 5];
            for (i, j) in (0..11).flat_map(|i| (0..11).map(move |j| (i, j))) {
                let w = weight[i as usize] * weight[j as usize] / norm;
                let (p, q) = (at(&a, left + j, top + i, c), at(&b, left + j, top + i, c));
                for (m, v) in m.iter_mut().zip([p, q, p * p, q * q, p * q]) {
                    *m += w * v;
                }
            }
            let [p, q, pp, qq, pq] = m;
            sum += (2.0 * p * q + c1) * (2.0 * (pq - p * q) + c2)
                / ((p * p + q * q + c1) * (pp - p * p + qq - q * q + c2));
            windows += 1.0;
        }
        let (_, found) = compare(&a, &b, &Settings { channel: Channel::Rgb, border: 0, scale: 1 }).unwrap();
        assert_close(found, sum / windows, 1e-11, &format!("{width}x{height}"));
    }
}

fn noise(width: u32, height: u32, seed: u32) -> Rgb8 {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let data = (0..width * height * 3).map(|i| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        ((i / 5 % 200) as u8).wrapping_add(state as u8 % 40)
    });
    Rgb8 { width, height, data: data.collect() }
}

#[test]
fn identical_images_are_infinite_and_count_as_100_db() {
    let (a, b) = golden_pair();
    for channel in [Channel::Rgb, Channel::Y, Channel::YFloat] {
        let (psnr, ssim) = compare(&a, &a, &settings(channel, 4)).unwrap();
        assert_eq!((psnr.0, ssim), (f64::INFINITY, 1.0), "{channel:?}");
    }
    let (finite, ssim) = compare(&b, &a, &Settings::default()).unwrap();
    let image = |psnr, ssim| ImageScore { name: "x".into(), psnr, ssim };
    let set = summarise(vec![image(Db(f64::INFINITY), 1.0), image(finite, ssim)]);
    assert_close(set.psnr, (100.0 + 39.94411241214278) / 2.0, 1e-9, "mean");
    let json = serde_json::to_value(&set.images[0]).unwrap();
    assert_eq!(json["psnr"], "inf");
}

/// HR loses its last rows and columns where it is no multiple of the scale; sizes that do not fit are errors, never NaN.
#[test]
fn references_are_cropped_and_sizes_must_fit() {
    let (a, b) = golden_pair();
    let mut hr = Rgb8 { width: 51, height: 42, data: vec![77; 51 * 42 * 3] };
    for y in 0..40 {
        hr.data[y * 51 * 3..][..48 * 3].copy_from_slice(&a.data[y * 48 * 3..][..48 * 3]);
    }
    let (found, _) = compare(&b, &hr, &Settings::default()).unwrap();
    assert_close(found.0, 39.94411241214278, 1e-9, "cropped");

    let error = |sr: &Rgb8, border| compare(sr, &a, &settings(Channel::Rgb, border)).unwrap_err().to_string();
    assert!(error(&hr, 4).contains("51x42"), "another size");
    assert!(error(&b, 20).contains("leaves nothing"), "all border");
    assert!(error(&b, u32::MAX).contains("leaves nothing"), "a border that overflows");
    assert!(error(&b, 15).contains("11x11"), "no room for the window");
}

/// KAIR's `imresize_np` by 1/4 on the formula-made picture, then by 4 on its rounded result.
#[test]
fn bicubic_resize_equals_matlabs() {
    #[rustfmt::skip]
    const QUARTER: [u8; 360] = [
        34, 63, 92, 74, 103, 132, 102, 131, 163, 135, 167, 201, 154, 185, 207, 191, 191, 152, 205, 149, 92,
        133, 95, 65, 95, 59, 68, 57, 64, 95, 69, 100, 129, 100, 129, 160, 99, 128, 159, 136, 167, 201, 166,
        202, 203, 198, 208, 117, 210, 169, 93, 172, 71, 41, 71, 46, 69, 46, 70, 105, 61, 97, 128, 101, 132,
        163, 132, 163, 197, 162, 196, 207, 153, 189, 198, 195, 209, 146, 214, 164, 70, 180, 83, 39, 109, 51,
        61, 50, 68, 102, 66, 100, 130, 98, 128, 157, 121, 153, 184, 156, 193, 211, 187, 201, 165, 219, 153,
        73, 200, 158, 103, 194, 99, 39, 89, 38, 62, 40, 61, 94, 55, 88, 120, 95, 125, 156, 123, 152, 186, 151,
        188, 223, 177, 195, 207, 207, 158, 99, 199, 93, 43, 140, 48, 59, 150, 50, 53, 59, 50, 86, 54, 85, 115,
        84, 115, 144, 108, 138, 170, 141, 175, 196, 174, 205, 186, 201, 160, 142, 191, 127, 99, 148, 56, 41,
        64, 44, 82, 44, 81, 112, 52, 75, 106, 83, 117, 146, 116, 146, 178, 144, 177, 211, 167, 199, 204, 206,
        196, 112, 187, 127, 45, 126, 47, 49, 75, 42, 72, 55, 82, 112, 78, 112, 141, 113, 142, 175, 102, 133,
        164, 140, 172, 206, 171, 206, 199, 204, 202, 142, 210, 141, 66, 140, 57, 49, 66, 46, 78, 46, 77, 110,
        68, 102, 131, 106, 136, 166, 135, 166, 205, 169, 200, 185, 159, 188, 208, 199, 207, 151, 205, 124, 76,
        117, 69, 48, 91, 42, 65, 41, 74, 106, 71, 104, 134, 103, 132, 164, 125, 155, 188, 161, 193, 211, 197,
        218, 157, 185, 182, 64, 212, 178, 92, 196, 93, 38, 73, 38, 62, 25, 58, 93, 56, 90, 120, 94, 123, 152,
        122, 152, 186, 149, 182, 197, 176, 206, 176, 209, 209, 111, 198, 111, 28, 121, 37, 59, 128, 82, 56,
        44, 63, 98, 66, 97, 127, 97, 127, 155, 118, 147, 176, 153, 183, 214, 181, 198, 179, 210, 185, 104,
        207, 121, 47, 102, 63, 66, 47, 60, 94, 62, 93, 124,
    ];
    let (a, _) = golden_pair();
    let (width, height, samples) = resize::resize_unrounded(&a, 0.25);
    assert_eq!((width, height), (12, 10));
    let first = [
        0.13185133039951324,
        0.2455768585205078,
        0.3591468036174774,
        0.2906230688095093,
        0.404314249753952,
        0.518716037273407,
    ];
    for (found, expected) in samples.iter().zip(first) {
        // The golden values are 32-bit floats of 0…1.
        assert_close(found / 255.0, expected, 2e-7, "unrounded");
    }
    let small = resize::downscale(&a, 4);
    assert_eq!(small.data, QUARTER);

    let large = resize::upscale(&small, 4);
    assert_eq!((large.width, large.height), (48, 40));
    assert_eq!(large.data.iter().map(|&v| u64::from(v)).sum::<u64>(), 731_485);
    let (found, _) = compare(&large, &a, &Settings::default()).unwrap();
    assert_close(found.0, 14.677358375131348, 1e-9, "bicubic");
}

#[test]
fn resize_rounds_sides_up_and_keeps_flat_images_flat() {
    let flat = Rgb8 { width: 10, height: 3, data: vec![201; 90] };
    for (made, size) in [(resize::downscale(&flat, 3), (4, 1)), (resize::upscale(&flat, 3), (30, 9))] {
        assert_eq!((made.width, made.height), size);
        assert!(made.data.iter().all(|&v| v == 201));
    }
    assert_eq!(resize::upscale(&flat, 1), flat);
}

#[test]
fn png_comes_back_as_it_went() {
    let (a, _) = golden_pair();
    assert_eq!(decode_png(&encode_png(&a).unwrap(), "a").unwrap(), a);
}

/// Decoded references are read as they were written, and nothing else is taken for one.
#[test]
fn a_decoded_reference_comes_back_as_it_went() {
    let (a, _) = golden_pair();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0901.rgb");
    write_raw(&a, &path).unwrap();
    assert_eq!(read_image(&path).unwrap(), a);
    let whole = std::fs::read(&path).unwrap();
    for torn in [&whole[..whole.len() - 1], &whole[..10], b"", &[whole.as_slice(), b"x"].concat()] {
        std::fs::write(&path, torn).unwrap();
        assert!(read_image(&path).is_err(), "{} bytes were taken for an image", torn.len());
    }
}

/// `upscore score` on a folder: pairing, the cropped reference, the readme, the JSON document.
#[test]
fn score_command_reads_a_folder_and_a_zip() {
    let (a, b) = golden_pair();
    let hr = tempfile::tempdir().unwrap();
    for name in ["0901", "0902"] {
        std::fs::write(hr.path().join(format!("{name}.png")), encode_png(&a).unwrap()).unwrap();
    }
    let good = encode_png(&b).unwrap();
    let readme = b"runtime per image [s] : 10.43\nCPU[1] / GPU[0] : 0\n";
    let files = [("0902x4.PNG", encode_png(&a).unwrap()), ("0901.png", good.clone()), ("Readme.txt", readme.to_vec())];
    let zip = archive::zip(&files);
    let report = score::score(zip.path(), hr.path(), &Settings::default(), &|_, _| ()).unwrap().unwrap();
    let json = serde_json::to_value(&report).unwrap();
    let names: Vec<&str> = report.fidelity.images.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["0901", "0902"]);
    assert_close(json["psnr"].as_f64().unwrap(), (39.94411241214278 + 100.0) / 2.0, 1e-9, "mean");
    assert_eq!(json["images"][1]["psnr"], "inf");
    let said = serde_json::json!({"runtime_s": 10.43, "device": "gpu", "extra_data": null, "description": null});
    assert_eq!(json["readme"], said);

    // Everything at once: an image that is missing, and one whose pixels (not its header) are broken.
    let zip = archive::zip(&[("0901.png", good[..good.len() / 2].to_vec())]);
    let problems = score::score(zip.path(), hr.path(), &Settings::default(), &|_, _| ()).unwrap().unwrap_err();
    let codes: Vec<&str> = problems.iter().map(|p| p.code.as_ref()).collect();
    assert_eq!(codes, ["missing_image", "png_malformed"]);

    // A reference of another kind is the user's to mend, and named.
    std::fs::write(hr.path().join("0903.png"), b"\xff\xd8\xff\xe0 a JPEG").unwrap();
    let problems = score::score(zip.path(), hr.path(), &Settings::default(), &|_, _| ()).unwrap().unwrap_err();
    assert_eq!(problems[0].code, "png_malformed");
    assert!(problems[0].place.as_ref().unwrap().ends_with("0903.png"));
}

#[test]
fn scoring_stops_when_cancelled() {
    let (_, b) = golden_pair();
    let zip = archive::zip(&[("1.png", encode_png(&b).unwrap())]);
    let expected = [Expected { name: "1".into(), width: 48, height: 40 }];
    let results = ResultsZip::vet(zip.path(), &expected, 4, Depth::Pixels).unwrap().unwrap();
    let hr = |_: &str| Ok(golden_pair().0);
    let run = |cancel: bool| score_zip(&results, &hr, &Settings::default(), &|_, _| (), &AtomicBool::new(cancel));
    assert_eq!(run(true).unwrap_err().to_string(), "cancelled");
    assert!(run(false).unwrap().is_ok());
}

/// 17 published networks' results on five photos, beside KAIR's own figures.
#[test]
fn published_results_score_as_kair_scores_them() {
    let Some(real) = shared("real") else { return };
    let reference: serde_json::Value =
        serde_json::from_slice(&std::fs::read(real.join("reference.json")).unwrap()).unwrap();
    let zips = reference["zips"].as_object().unwrap();
    assert_eq!(zips.len(), 17);
    println!("| zip | PSNR | ref | Y | ref | Y float | ref | SSIM | ref |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, expected) in zips {
        let hr = real.join("images").join(expected["set"].as_str().unwrap()).join("HR");
        let score = |channel| {
            let zip = real.join("submissions").join(name);
            score::score(&zip, &hr, &settings(channel, 4), &|_, _| ()).unwrap().unwrap().fidelity
        };
        let (rgb, y, y_float) = (score(Channel::Rgb), score(Channel::Y), score(Channel::YFloat));
        let mut row = format!("| {name}");
        for (found, key) in [(rgb.psnr, "psnr"), (y.psnr, "psnr_y"), (y_float.psnr, "psnr_y_float"), (rgb.ssim, "ssim")]
        {
            // The pack holds no figure for the unrounded Y of some sets.
            if let Some(expected) = expected[key].as_f64() {
                assert_close(found, expected, 1e-6, &format!("{name} {key}"));
            }
            row += &format!(" | {found:.6} | {}", expected[key].as_f64().map_or("none".into(), |v| format!("{v:.6}")));
        }
        println!("{row} |");
        for image in &rgb.images {
            let expected = &expected["images"][&image.name];
            assert_close(image.psnr.0, expected["psnr"].as_f64().unwrap(), 1e-6, &image.name);
            assert_close(image.ssim, expected["ssim"].as_f64().unwrap(), 1e-6, &image.name);
        }
    }
}
