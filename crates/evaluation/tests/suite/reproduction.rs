//! Whose images rank: a whole evaluation of a model and of pictures that it did not make.

use std::sync::{Arc, atomic::AtomicBool};

use tempfile::TempDir;
use upscore_evaluation::{
    EvalImage, Examined, Job, Limits, RankedImages, TimingSettings, Verdict, examine, fidelity,
    images::{Rgb8, encode_png},
    onnx::build::{GraphBuilder, Interpolation},
};

use crate::support::{files, models, shared};

/// The folder of an evaluation's files, and the evaluation of `model` on images given as id, LR and HR.
fn case(model: &[u8], images: &[(&str, Vec<u8>, Vec<u8>)], results: &[u8]) -> (TempDir, Job) {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let job = Job {
        model: put("model.onnx", model),
        results: put("results.zip", results),
        baseline: None,
        images: images
            .iter()
            .map(|(name, lr, hr)| EvalImage {
                name: (*name).into(),
                lr: put(&format!("{name}x4.png"), lr),
                hr: Some(put(&format!("{name}.png"), hr)),
            })
            .collect(),
        fidelity: fidelity::Settings { channel: fidelity::Channel::Rgb, border: 4, scale: 4 },
        operators: Default::default(),
        ranked: RankedImages::Uploaded,
        origin: Default::default(),
        input_range: None,
        timing: TimingSettings::default(),
        timed: false,
        limits: Limits::default(),
        device: "cpu".into(),
        tools: models::tools(),
    };
    (folder, job)
}

fn examined(job: &Job) -> Examined {
    let examined = examine(job, &|_| (), Arc::new(AtomicBool::new(false))).expect("not our fault");
    examined.unwrap_or_else(|problems| panic!("refused: {problems:?}"))
}

#[test]
fn the_protocol_says_whose_images_are_scored() {
    let images =
        [("0901", 1), ("0902", 2)].map(|(name, seed)| (name, files::png(24, 16, seed), files::png(96, 64, seed + 7)));
    let (_folder, job) = case(&files::tiny_model(), &images, &files::results(1));
    let job = |ranked| Job { ranked, input_range: Some(1), ..job.clone() };
    let mut found = Vec::new();
    for ranked in [RankedImages::Uploaded, RankedImages::Model] {
        let examined = examined(&job(ranked));
        let (fidelity, reproduction) = (examined.fidelity.expect("there is HR"), examined.reproduction);
        assert_eq!((reproduction.verdict, reproduction.ranked), (Verdict::Differs, ranked));
        let mean = fidelity.images.iter().map(|image| image.psnr.capped()).sum::<f64>() / 2.0;
        assert!((fidelity.psnr - mean).abs() < 1e-9, "the images' figures are those of the mean");
        found.push((fidelity, reproduction));
    }
    let [(uploaded, by_upload), (made, by_model)] = found.as_slice() else { panic!("two evaluations") };
    assert_ne!((uploaded.psnr, uploaded.ssim), (made.psnr, made.ssim));
    for reproduction in [by_upload, by_model] {
        assert_eq!(reproduction.uploaded_psnr, Some(uploaded.psnr));
        assert!(reproduction.model_psnr.is_some_and(|psnr| (psnr - made.psnr).abs() < 1e-9));
    }
}

/// v²/255 of every grey level: only a network for 0…255 is that, and a black picture does not tell.
#[test]
fn a_black_image_does_not_decide_the_input_range() {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let square = g.mul(x, x);
    let factor = g.scalar(1.0 / 255.0);
    let y = g.mul(square, factor);
    let y = g.resize(y, 4.0, Interpolation::Nearest);
    let model = g.build(y);
    let lr = |seed: Option<u32>| {
        let sample = |i: u32| seed.map_or(0, |seed| ((i * 7 + seed) % 256) as u8);
        Rgb8 { width: 24, height: 16, data: (0..24 * 16 * 3).map(sample).collect() }
    };
    let enlarged = |lr: &Rgb8| {
        let square = |v: u8| (f32::from(v) * f32::from(v) * (1.0 / 255.0)).round_ties_even() as u8;
        let at = |i: usize| {
            let (y, x, c) = (i / 288, i / 3 % 96, i % 3);
            square(lr.data[y / 4 * 72 + x / 4 * 3 + c])
        };
        encode_png(&Rgb8 { width: 96, height: 64, data: (0..96 * 64 * 3).map(at).collect() }).expect("a PNG")
    };
    let pictures = [lr(None), lr(Some(3))];
    let images: Vec<_> = ["0901", "0902"]
        .into_iter()
        .zip(&pictures)
        .map(|(name, lr)| (name, encode_png(lr).expect("a PNG"), files::png(96, 64, 1)))
        .collect();
    let made = pictures.each_ref().map(enlarged);
    let results = files::zipped(&[("0901.png", &made[0]), ("0902.png", &made[1])]);
    let (_folder, job) = case(&model, &images, &results);
    let reproduction = examined(&job).reproduction;
    assert_eq!((reproduction.verdict, reproduction.input_range), (Verdict::Reproduced, 255));
}

/// A network that takes 0…1 and gives 0…255, or the reverse: said in words, and not only that the images differ.
#[test]
fn a_range_that_changes_on_the_way_is_said() {
    for (factor, words) in [(255.0, "takes 0…1 and gives 0…255"), (1.0 / 255.0, "takes 0…255 and gives 0…1")] {
        let mut g = GraphBuilder::new(1);
        let x = g.input();
        // Far from linear, so that no other range fits.
        let level = g.scalar(if factor > 1.0 { 1.0 } else { 1.0 / 255.0 });
        let unit = g.mul(x, level);
        let square = g.mul(unit, unit);
        let scale = g.scalar(if factor > 1.0 { 255.0 } else { 1.0 });
        let y = g.mul(square, scale);
        let y = g.resize(y, 4.0, Interpolation::Nearest);
        let model = g.build(y);
        let lr = Rgb8 { width: 24, height: 16, data: (0..24 * 16 * 3u32).map(|i| (i * 7 % 256) as u8).collect() };
        let at = |i: usize| {
            let (y, x, c) = (i / 288, i / 3 % 96, i % 3);
            let v = f32::from(lr.data[y / 4 * 72 + x / 4 * 3 + c]) / 255.0;
            (v * v * 255.0).round_ties_even() as u8
        };
        let made =
            encode_png(&Rgb8 { width: 96, height: 64, data: (0..96 * 64 * 3).map(at).collect() }).expect("a PNG");
        let images = [("0901", encode_png(&lr).expect("a PNG"), files::png(96, 64, 1))];
        let (_folder, job) = case(&model, &images, &files::zipped(&[("0901.png", &made)]));
        let refused =
            examine(&job, &|_| (), Arc::new(AtomicBool::new(false))).expect("not our fault").expect_err(words);
        assert_eq!(refused[0].code, "output_range");
        assert!(refused[0].message.contains(words), "{refused:?}");
    }
}

/// The same of a network that somebody trained, with the images that it made.
#[test]
fn a_real_network_of_two_ranges_is_said() {
    let (Some(cases), Some(pictures)) = (shared("cases/fail"), shared("real/images/FreeTiny")) else { return };
    let read = |path: std::path::PathBuf| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let images = ["astronaut", "chelsea", "coffee", "rocket", "seeding"].map(|name| {
        (name, read(pictures.join(format!("LRx4/{name}x4.png"))), read(pictures.join(format!("HR/{name}.png"))))
    });
    let (_folder, job) = case(&read(cases.join("Mixed255_new.onnx")), &images, &read(cases.join("r_mixed255.zip")));
    let refused =
        examine(&job, &|_| (), Arc::new(AtomicBool::new(false))).expect("not our fault").expect_err("refused");
    assert_eq!((refused[0].code.as_ref(), refused[0].place.as_deref()), ("output_range", Some("astronaut")));
}
