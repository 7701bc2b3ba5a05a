//! What rules can hold: bounds on every number, looked at wherever rules come from. A rule beyond them would not fail here but in
//! each entry, as the team's fault.

use super::{Comparison, Rules};
use crate::{
    evaluation::{TimedInput, TimingSettings},
    problem::Problem,
};

/// Bytes: less does not hold the runtime and a small network.
const LEAST_MEMORY: u64 = 512 << 20;
/// Bytes: more than any machine has.
const MOST_MEMORY: u64 = 4 << 40;
/// Seconds of one evaluation.
const MOST_SECONDS: u64 = 7 * 86_400;
/// Seconds that an evaluation needs beside its timing.
const BESIDE_TIMING: f64 = 10.0;
/// Sides of a timed tile, LR pixels.
const TILE: std::ops::RangeInclusive<u32> = 16..=4096;
/// Pixels of a timed tile's output: twice an 8K picture.
const MOST_OUTPUT: u64 = 1 << 26;
/// Bytes that a network needs for each pixel of its output, at least: input, output and one layer between, 3 channels in f32.
const BYTES_A_PIXEL: u64 = 36;
/// Pixels that have to be left of an image where the border is cut: SSIM's window.
pub const LEAST_LEFT: u32 = 11;

impl Rules {
    /// All that cannot hold, each with the rule's name as files and the API have it. `smallest`: the shortest side of the phase's
    /// HR images, pixels, where they are known. Code: `bad_rules`.
    pub fn vet(&self, smallest: Option<u32>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse =
            |rule: &str, why: String| problems.push(Problem::new("bad_rules", why).at(format!("rules.{rule}")));
        let Rules {
            fidelity,
            gate,
            ranking,
            timing,
            limits,
            device_name,
            reproduction: _,
            verification: _,
            ranked_images: _,
            operators: _,
            flops: _,
            device: _,
        } = self;
        if let Err(why) = ranking.vet() {
            refuse("ranking", format!("The ranking: {why}."));
        }
        if !(1..=16).contains(&fidelity.scale) {
            refuse("fidelity.scale", "A scale is 1 to 16.".into());
        }
        if fidelity.border > 256 {
            refuse("fidelity.border", "A border is at most 256 pixels.".into());
        } else if let Some(side) = smallest.filter(|side| *side < 2 * fidelity.border + LEAST_LEFT) {
            let why = format!(
                "A border of {} pixels leaves less than {LEAST_LEFT} pixels of the smallest HR image, whose shorter side has {side}.",
                fidelity.border
            );
            refuse("fidelity.border", why);
        }
        if matches!(gate, Comparison::Rounded { decimals } if *decimals > 6) {
            refuse("gate", "The gate is rounded to at most 6 decimals.".into());
        }
        let TimingSettings { threads, warmup, processes, runs, max_seconds, half_width, input } = timing;
        if !(1..=256).contains(threads) {
            refuse("timing.threads", "Timing uses 1 to 256 threads.".into());
        }
        if *warmup > 1000 {
            refuse("timing.warmup", "Timing warms up by at most 1000 passes.".into());
        }
        if !(1..=64).contains(processes) {
            refuse("timing.processes", "Timing uses 1 to 64 processes.".into());
        }
        if !(2..=1_000_000).contains(runs) {
            refuse("timing.runs", "Timing takes 2 to 1000000 passes.".into());
        }
        // What is no number is in no range.
        if !(1.0..=86_400.0).contains(max_seconds) {
            refuse("timing.max_seconds", "Timing takes 1 to 86400 seconds.".into());
        }
        if !(0.0001..=1.0).contains(half_width) {
            refuse("timing.half_width", "The half width of timing is 0.0001 to 1.".into());
        }
        if let TimedInput::Tile(height, width) = *input {
            let output = u64::from(height) * u64::from(width) * u64::from(fidelity.scale).pow(2);
            if !TILE.contains(&height) || !TILE.contains(&width) {
                let why = format!("A timed tile has sides of {} to {} pixels.", TILE.start(), TILE.end());
                refuse("timing.input", why);
            } else if output > MOST_OUTPUT {
                let why = format!(
                    "A tile of {height}×{width} has more than {MOST_OUTPUT} pixels when it is ×{}.",
                    fidelity.scale
                );
                refuse("timing.input", why);
            } else if output.saturating_mul(BYTES_A_PIXEL) > limits.memory_bytes {
                let why = format!("The memory limit holds no output of a tile of {height}×{width}.");
                refuse("timing.input", why);
            }
        }
        if !(LEAST_MEMORY..=MOST_MEMORY).contains(&limits.memory_bytes) {
            refuse("limits.memory_bytes", "An evaluation may use 512 MiB to 4 TiB of memory.".into());
        }
        if !(10..=MOST_SECONDS).contains(&limits.seconds) {
            refuse("limits.seconds", format!("An evaluation may take 10 to {MOST_SECONDS} seconds."));
        } else if (limits.seconds as f64) < max_seconds + BESIDE_TIMING {
            let why = format!(
                "An evaluation of {} seconds has no room for {max_seconds} seconds of timing and what comes before it.",
                limits.seconds
            );
            refuse("limits.seconds", why);
        }
        let named =
            |name: &String| (1..=200).contains(&name.trim().chars().count()) && !name.contains(char::is_control);
        if device_name.as_ref().is_some_and(|name| !named(name)) {
            refuse("device_name", "A device's name has 1 to 200 characters.".into());
        }
        problems
    }
}

/// Whether this is the name of a rule set, without its version.
pub fn is_family(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    name.len() <= 60 && name.bytes().all(plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{challenge::protocol::PRESETS, evaluation::TimedInput};

    #[test]
    fn presets_hold_and_every_number_has_bounds() {
        for preset in PRESETS {
            assert_eq!(preset.rules(4).vet(Some(64)), Vec::<Problem>::new(), "{}", preset.name);
        }
        type Edit = fn(&mut Rules);
        let edits: [(&str, Edit); 24] = [
            ("fidelity.scale", |r| r.fidelity.scale = 0),
            ("fidelity.scale", |r| r.fidelity.scale = 17),
            ("fidelity.border", |r| r.fidelity.border = u32::MAX),
            ("fidelity.border", |r| r.fidelity.border = 27),
            ("gate", |r| r.gate = Comparison::Rounded { decimals: 255 }),
            ("timing.threads", |r| r.timing.threads = 0),
            ("timing.threads", |r| r.timing.threads = usize::MAX),
            ("timing.warmup", |r| r.timing.warmup = usize::MAX),
            ("timing.processes", |r| r.timing.processes = 0),
            ("timing.processes", |r| r.timing.processes = 1 << 40),
            ("timing.runs", |r| r.timing.runs = 0),
            ("timing.max_seconds", |r| r.timing.max_seconds = f64::NAN),
            ("timing.max_seconds", |r| r.timing.max_seconds = -1.0),
            ("limits.seconds", |r| r.timing.max_seconds = 86_400.0),
            ("timing.half_width", |r| r.timing.half_width = f64::INFINITY),
            ("timing.half_width", |r| r.timing.half_width = 0.0),
            ("timing.input", |r| r.timing.input = TimedInput::Tile(100_000, 100_000)),
            ("timing.input", |r| r.timing.input = TimedInput::Tile(4096, 4096)),
            ("timing.input", |r| r.timing.input = TimedInput::Tile(0, 256)),
            ("limits.memory_bytes", |r| r.limits.memory_bytes = 1 << 26),
            ("limits.memory_bytes", |r| r.limits.memory_bytes = u64::MAX),
            ("limits.seconds", |r| r.limits.seconds = 1),
            ("limits.seconds", |r| r.limits.seconds = u64::MAX),
            ("device_name", |r| r.device_name = Some(" ".into())),
        ];
        for (rule, edit) in edits {
            let mut rules = Rules::aim2020(4);
            edit(&mut rules);
            let places: Vec<_> = rules.vet(Some(64)).into_iter().filter_map(|p| p.place).collect();
            assert!(places.iter().any(|place| *place == format!("rules.{rule}")), "{rule}: {places:?}");
        }
    }
}
