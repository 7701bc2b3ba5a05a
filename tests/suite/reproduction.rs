//! Whose images rank: a whole evaluation of a model and of pictures that it did not make.

use std::sync::{Arc, atomic::AtomicBool};

use upscore::{
    config,
    evaluation::{EvalImage, Job, Limits, RankedImages, TimingSettings, Tools, Verdict, examine, fidelity},
};

use crate::support::files;

#[test]
fn the_protocol_says_whose_images_are_scored() {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let job = |ranked| Job {
        model: put("model.onnx", &files::tiny_model()),
        results: put("results.zip", &files::results(1)),
        baseline: None,
        images: [("0901", 1), ("0902", 2)]
            .map(|(name, seed)| EvalImage {
                name: name.into(),
                lr: put(&format!("{name}x4.png"), &files::png(24, 16, seed)),
                hr: Some(put(&format!("{name}.png"), &files::png(96, 64, seed + 7))),
            })
            .into(),
        fidelity: fidelity::Settings { channel: fidelity::Channel::Rgb, border: 4, scale: 4 },
        operators: Default::default(),
        ranked,
        origin: Default::default(),
        input_range: Some(1),
        timing: TimingSettings::default(),
        timed: false,
        limits: Limits::default(),
        device: "cpu".into(),
        tools: Tools {
            onnxruntime: config::find_onnxruntime().expect("run `make setup` first"),
            runner: env!("CARGO_BIN_EXE_upscore").into(),
            strict_sandbox: false,
        },
    };
    let mut found = Vec::new();
    for ranked in [RankedImages::Uploaded, RankedImages::Model] {
        let examined = examine(&job(ranked), &|_| (), Arc::new(AtomicBool::new(false))).expect("not our fault");
        let examined = examined.expect("it is measured");
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
