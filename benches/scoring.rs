//! How fast a results zip is scored, beside a plain scorer in Python (cv2 and numpy) on the same files in the same run.
//!
//! `cargo bench --profile dev --bench scoring` (the profile that is built anyway); the comparison needs `python3` with
//! `opencv-python-headless` and `numpy` (another interpreter: `UPSCORE_BENCH_PYTHON`). Ten pairs of 2040×1356, as in
//! DIV2K (another number: `UPSCORE_BENCH_PAIRS`). Figures are medians of five runs: wall clock, and processor time of all threads, which a busy machine distorts
//! less.

use std::{fs::File, io::Write, path::Path, process::Command, sync::atomic::AtomicBool, time::Instant};

use anyhow::Context;
use rayon::prelude::*;
use upscore::evaluation::{
    fidelity::{self, Settings},
    images::{self, Rgb8},
    results::{Depth, Expected, ResultsZip},
};

const SIZE: (u32, u32) = (2040, 1356);
const RUNS: usize = 5;

fn main() -> anyhow::Result<()> {
    let pairs = std::env::var("UPSCORE_BENCH_PAIRS").map_or(Ok(10), |n| n.parse()).context("UPSCORE_BENCH_PAIRS")?;
    let dir = tempfile::tempdir()?;
    let (hr_dir, sr_dir) = (dir.path().join("HR"), dir.path().join("SR"));
    let expected = make_files(pairs, dir.path(), &hr_dir, &sr_dir)?;
    let zip = dir.path().join("results.zip");
    let settings = Settings::default();
    let hr = |name: &str| images::read_png(&hr_dir.join(format!("{name}.png")));
    let open = || -> anyhow::Result<ResultsZip> {
        ResultsZip::vet(&zip, &expected, 4, Depth::Headers)?.map_err(|problems| anyhow::anyhow!("{problems:?}"))
    };

    let megabytes = std::fs::metadata(&zip)?.len() as f64 / 1e6;
    let threads = rayon::current_num_threads();
    println!(
        "{pairs} pairs of {}x{}, zip of {megabytes:.0} MB, {threads} threads, median of {RUNS} runs",
        SIZE.0, SIZE.1
    );
    let decode = median(|| {
        let results = open()?;
        (0..expected.len()).into_par_iter().try_for_each(|i| {
            results.decode(i)?.map_err(anyhow::Error::from)?;
            hr(&expected[i].name).map(drop)
        })
    })?;
    let psnr = median(|| {
        let results = open()?;
        (0..expected.len()).into_par_iter().try_for_each(|i| {
            let sr = results.decode(i)?.map_err(anyhow::Error::from)?;
            fidelity::psnr(&sr, &hr(&expected[i].name)?, &settings).map(drop)
        })
    })?;
    // As a worker scores: HR was decoded for an earlier submission.
    let raw = |name: &str| hr_dir.join(name).with_extension(images::RAW_EXTENSION);
    for image in &expected {
        images::write_raw(&hr(&image.name)?, &raw(&image.name))?;
    }
    let known = |name: &str| images::read_image(&raw(name));
    let worker_psnr = median(|| {
        let results = open()?;
        (0..expected.len()).into_par_iter().try_for_each(|i| {
            let sr = results.decode(i)?.map_err(anyhow::Error::from)?;
            fidelity::psnr(&sr, &known(&expected[i].name)?, &settings).map(drop)
        })
    })?;
    let worker_both = median(|| {
        let scores = fidelity::score(&open()?, &known, &settings, &|_, _| (), &AtomicBool::new(false))?;
        scores.map(drop).map_err(|problems| anyhow::anyhow!("{problems:?}"))
    })?;
    let both = median(|| {
        let scores = fidelity::score(&open()?, &hr, &settings, &|_, _| (), &AtomicBool::new(false))?;
        scores.map(drop).map_err(|problems| anyhow::anyhow!("{problems:?}"))
    })?;
    // Without files, one thread: what the arithmetic alone takes.
    let (a, b) = (picture(1), noisy(&picture(1), 7));
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let pair_psnr = median(|| one.install(|| fidelity::psnr(&b, &a, &settings).map(drop)))?;
    let pair_both = median(|| one.install(|| fidelity::compare(&b, &a, &settings).map(drop)))?;

    let python = python(&hr_dir, &sr_dir)?;
    let row = |what: &str, ours: Took, theirs: Option<Took>| {
        print!("{what:<33}{:>9.1}{:>9.1}", ours.wall, ours.cpu);
        if let Some(theirs) = theirs {
            print!("{:>9.1}{:>9.1}", theirs.wall, theirs.cpu);
            print!("{:>8.1}x{:>8.1}x", theirs.wall / ours.wall, theirs.cpu / ours.cpu);
        }
        println!();
    };
    let head = ["ours", "(cpu)", "cv2", "(cpu)", "faster", "(cpu)"].map(|word| format!("{word:>9}"));
    println!("{:<33}{}", "[ms]", head.concat());
    let of = |key: &str| {
        let took = &python.as_ref()?[key];
        Some(Took { wall: took[0].as_f64()?, cpu: took[1].as_f64()? })
    };
    row("set: decode", decode, of("decode_ms"));
    row("set: decode + PSNR", psnr, of("psnr_ms"));
    row("set: decode + PSNR + SSIM", both, of("ssim_ms"));
    row("worker: decode SR + PSNR", worker_psnr, of("psnr_ms"));
    row("worker: decode SR + PSNR + SSIM", worker_both, of("ssim_ms"));
    row("pair, one thread: PSNR", pair_psnr, of("pair_psnr_ms"));
    row("pair, one thread: PSNR + SSIM", pair_both, of("pair_ssim_ms"));
    if let Some(python) = python {
        let results = fidelity::score(&open()?, &hr, &settings, &|_, _| (), &AtomicBool::new(false))?;
        let ours = results.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        println!("PSNR {:.9} (cv2 {}), SSIM {:.12} (cv2 {})", ours.psnr, python["psnr"], ours.ssim, python["ssim"]);
    }
    Ok(())
}

/// Milliseconds.
#[derive(Clone, Copy)]
struct Took {
    wall: f64,
    /// Of all threads.
    cpu: f64,
}

fn median(mut run: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Took> {
    run()?;
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (start, cpu_start) = (Instant::now(), cpu_ms());
        run()?;
        wall.push(start.elapsed().as_secs_f64() * 1e3);
        cpu.push(cpu_ms() - cpu_start);
    }
    wall.sort_by(f64::total_cmp);
    cpu.sort_by(f64::total_cmp);
    Ok(Took { wall: wall[RUNS / 2], cpu: cpu[RUNS / 2] })
}

/// Processor time of this process so far.
fn cpu_ms() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock writes to the timespec it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// The plain scorer on the same files; `None` and a word where Python or its packages are absent.
fn python(hr: &Path, sr: &Path) -> anyhow::Result<Option<serde_json::Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench_scoring.py");
    let interpreter = std::env::var("UPSCORE_BENCH_PYTHON").unwrap_or_else(|_| "python3".into());
    let output = match Command::new(interpreter).arg(script).args([hr, sr]).output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            println!("no comparison: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default());
            return Ok(None);
        }
        Err(e) => {
            println!("no comparison: python3: {e}");
            return Ok(None);
        }
    };
    Ok(Some(serde_json::from_slice(&output.stdout).context("reading what bench_scoring.py printed")?))
}

fn make_files(pairs: u32, dir: &Path, hr: &Path, sr: &Path) -> anyhow::Result<Vec<Expected>> {
    std::fs::create_dir_all(hr)?;
    std::fs::create_dir_all(sr)?;
    let pairs = (0..pairs).into_par_iter().map(|i| {
        let name = format!("{:04}", 801 + i);
        let original = picture(i + 1);
        let result = encode(&noisy(&original, i + 100))?;
        std::fs::write(hr.join(format!("{name}.png")), encode(&original)?)?;
        std::fs::write(sr.join(format!("{name}x4.png")), &result)?;
        Ok((name, result))
    });
    let pairs: Vec<(String, Vec<u8>)> = pairs.collect::<anyhow::Result<_>>()?;
    let mut zip = zip::ZipWriter::new(File::create(dir.join("results.zip"))?);
    for (name, bytes) in &pairs {
        zip.start_file(format!("{name}x4.png"), zip::write::SimpleFileOptions::default())?;
        zip.write_all(bytes)?;
    }
    zip.finish()?;
    let expect = |(name, _): (String, Vec<u8>)| Expected { name, width: SIZE.0, height: SIZE.1 };
    Ok(pairs.into_iter().map(expect).collect())
}

/// Packed as well as cv2 and Pillow pack, so that it takes as long to unpack.
fn encode(image: &Rgb8) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, image.width, image.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Balanced);
    encoder.write_header()?.write_image_data(&image.data)?;
    Ok(out)
}

/// Slow gradients, edges and a little noise: it packs about as well as a photo.
fn picture(seed: u32) -> Rgb8 {
    let (width, height) = SIZE;
    let mut random = xorshift(seed);
    let mut data = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let edge = if (x / 97 + y / 61 + seed).is_multiple_of(3) { 60 } else { 0 };
            for c in 0..3 {
                let wave = 70.0 * ((x + seed * 31) as f32 / 53.0).sin() * (y as f32 / (41 + c) as f32).cos();
                data.push((100 + wave as i32 + edge + (random() % 4) as i32).clamp(0, 255) as u8);
            }
        }
    }
    Rgb8 { width, height, data }
}

fn noisy(image: &Rgb8, seed: u32) -> Rgb8 {
    let mut random = xorshift(seed);
    let data = image.data.iter().map(|&v| (i32::from(v) + (random() % 5) as i32 - 2).clamp(0, 255) as u8);
    Rgb8 { data: data.collect(), ..*image }
}

fn xorshift(seed: u32) -> impl FnMut() -> u32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    }
}
