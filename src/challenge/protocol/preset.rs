//! The rules of the field's real challenges, to start from.

use super::{
    Comparison, FlopsProfile, Limits, Metric, Ranking, ReproductionRule, Rule, Rules, SubTrack, Term, Verification,
};
use crate::{
    challenge::protocol::{DeviceClass, EntryRule},
    evaluation::{
        self, RankedImages, TimedInput, TimingSettings, Whole,
        fidelity::{Channel, Settings},
        model::Operators,
    },
};

/// The rules of one edition of a challenge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// `ntire2024`; also the family of the protocols made from it.
    pub name: &'static str,
    /// One line, for forms and the command line.
    pub description: &'static str,
    /// What an entry had to reach, by phase.
    pub gates: &'static [PhaseGate],
    /// The edition's baseline; what its report calls it.
    pub baseline: &'static str,
}

/// The figure that a phase asked for, on the edition's own images at scale 4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhaseGate {
    /// `validation` or `test`.
    pub phase: &'static str,
    /// dB.
    pub psnr: f64,
}

/// The rules of new challenges.
pub const STANDARD: &str = "standard";

const fn gate(phase: &'static str, psnr: f64) -> PhaseGate {
    PhaseGate { phase, psnr }
}

const LATE_GATES: &[PhaseGate] = &[gate("validation", 26.90), gate("test", 26.99)];

/// What new challenges start with, and then the editions in the order of their years.
pub const PRESETS: [Preset; 6] = [
    Preset {
        name: STANDARD,
        description: "Standard: the figures of AIM 2020, of the model's own images; an entry whose model does not make its images is held",
        gates: &[gate("validation", 29.00), gate("test", 28.70)],
        baseline: "MSRResNet",
    },
    Preset {
        name: "aim2020",
        description: "AIM 2020: PSNR at least MSRResNet's, compared as measured; ordered by runtime",
        gates: &[gate("validation", 29.00), gate("test", 28.70)],
        baseline: "MSRResNet",
    },
    Preset {
        name: "ntire2022",
        description: "NTIRE 2022: 29.0 dB; ordered by runtime, with two sub-tracks by sums of ranks",
        // No figure was stated for the test images.
        gates: &[gate("validation", 29.00)],
        baseline: "IMDN",
    },
    Preset {
        name: "ntire2024",
        description: "NTIRE 2024: 26.90 dB; score of 0.7 runtime, 0.15 FLOPs, 0.15 params, each exp(2 × its ratio)",
        gates: LATE_GATES,
        baseline: "RLFN",
    },
    Preset {
        name: "ntire2025",
        description: "NTIRE 2025: 26.90 dB; the score of 2024, against EFDN",
        gates: LATE_GATES,
        baseline: "EFDN",
    },
    Preset {
        name: "ntire2026",
        description: "NTIRE 2026: 26.90 dB; score of 0.8 runtime, 0.1 FLOPs, 0.1 params, each exp(2 × its ratio)",
        gates: LATE_GATES,
        baseline: "Baseline",
    },
];

impl Preset {
    /// By name, as `ntire2024`.
    pub fn named(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|p| p.name == name)
    }

    /// dB that a phase of this slug asked for.
    pub fn gate(&self, phase: &str) -> Option<f64> {
        self.gates.iter().find(|g| g.phase == phase).map(|g| g.psnr)
    }

    /// Its rules, for workers on CPUs: on which device class to measure is each server's own choice.
    pub fn rules(&self, scale: u32) -> Rules {
        match self.name {
            STANDARD => Rules::standard(scale),
            "ntire2022" => ntire2022(scale),
            "ntire2024" | "ntire2025" => Rules {
                ranking: Ranking { sub_tracks: three_tracks(), ..scored(0.7, 0.15, 0.15) },
                ..since_2024(scale)
            },
            "ntire2026" => Rules { ranking: scored(0.8, 0.1, 0.1), ..since_2024(scale) },
            _ => Rules::aim2020(scale),
        }
    }
}

impl Rules {
    /// The rules of a preset by its name, as `ntire2024`.
    pub fn preset(name: &str, scale: u32) -> Option<Rules> {
        Preset::named(name).map(|preset| preset.rules(scale))
    }

    /// AIM2020's, but for what let a model rank first that does not make its images: the PSNR is of the model's own images, and an
    /// entry whose images are others is held.
    pub fn standard(scale: u32) -> Rules {
        Rules { reproduction: ReproductionRule::Held, ranked_images: RankedImages::Model, ..Rules::aim2020(scale) }
    }

    /// Whether an entry may be ranked by images that its model does not make, before anybody has looked at it.
    pub fn ranks_foreign_images(&self) -> bool {
        self.reproduction == ReproductionRule::Shown
    }

    /// AIM2020 Efficient SR: RGB with a border of the scale, PSNR compared as measured, ordered by runtime.
    pub fn aim2020(scale: u32) -> Rules {
        let limits = evaluation::Limits::default();
        Rules {
            fidelity: Settings { channel: Channel::Rgb, border: scale, scale },
            gate: Comparison::Exact,
            ranking: Ranking::by(Metric::Runtime),
            // AIM2020 ranked the uploaded images; the verdict stands beside each entry.
            reproduction: ReproductionRule::Shown,
            verification: Verification::NotNeeded,
            ranked_images: RankedImages::Uploaded,
            operators: Operators::default(),
            timing: TimingSettings::default(),
            limits: Limits { memory_bytes: limits.memory_bytes, seconds: limits.time.as_secs() },
            flops: FlopsProfile::Kair,
            device: DeviceClass::Cpu,
            device_name: None,
        }
    }
}

/// NTIRE times whole images.
fn ntire(scale: u32) -> Rules {
    let timing = TimingSettings { input: TimedInput::Whole(Whole::LrImages), ..TimingSettings::default() };
    Rules { timing, ..Rules::aim2020(scale) }
}

fn ntire2022(scale: u32) -> Rules {
    use Metric::{Activations, Flops, Memory, Params, Runtime};
    let ranking = Ranking {
        sub_tracks: vec![
            SubTrack::new("sub-track-1", "Model complexity", Rule::RankSum(vec![Params, Flops])),
            SubTrack::new(
                "sub-track-2",
                "Overall performance",
                Rule::RankSum(vec![Runtime, Params, Flops, Activations, Memory]),
            ),
        ],
        // A sum of ranks has no best entry of a team, and one entry stands in all tracks.
        entry: EntryRule::Chosen,
        ..Ranking::by(Runtime)
    };
    // Asked for 29.00 dB; the published table ranks entries down to 28.95 and not 28.92, which is 29.0 with one decimal.
    Rules { gate: Comparison::Rounded { decimals: 1 }, ranking, ..ntire(scale) }
}

/// The reports print two decimals, and rank entries that print the figure asked for.
fn since_2024(scale: u32) -> Rules {
    Rules { gate: Comparison::Rounded { decimals: 2 }, flops: FlopsProfile::Fvcore, ..ntire(scale) }
}

fn scored(runtime: f64, flops: f64, params: f64) -> Ranking {
    let term = |metric, weight| Term { metric, weight };
    let terms = vec![term(Metric::Runtime, runtime), term(Metric::Flops, flops), term(Metric::Params, params)];
    Ranking { rule: Rule::Score(terms), ..Ranking::by(Metric::Runtime) }
}

fn three_tracks() -> Vec<SubTrack> {
    vec![
        SubTrack::new("runtime", "Runtime", Rule::Metric(Metric::Runtime)),
        SubTrack::new("flops", "FLOPs", Rule::Metric(Metric::Flops)),
        SubTrack::new("params", "Parameters", Rule::Metric(Metric::Params)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_sound_and_is_read_back_as_it_is_written() {
        for preset in PRESETS {
            let rules = Rules::preset(preset.name, 4).expect("a preset");
            assert_eq!(rules.ranking.vet(), Ok(()), "{}", preset.name);
            let written = serde_json::to_value(&rules).expect("JSON");
            let read: Rules = serde_json::from_value(written).expect("it reads");
            assert_eq!(read, rules, "{}", preset.name);
            assert!(preset.gate("validation").is_some(), "{}", preset.name);
        }
        assert_eq!(Rules::preset("aim2020", 4), Some(Rules::aim2020(4)));
        assert_eq!(Rules::preset("aim2021", 4), None);
    }
}
