//! Time and memory of the forward pass, beside the baseline's in the same processes.
//!
//! One *block* is four timed passes A B B A (A the entry, B the baseline) on two fresh inputs, behind an untimed pass of A:
//! what changes slowly hits both alike. Blocks go on, in several processes one after another, until the 95 % interval of the
//! ratio is as narrow as the protocol asks, or its cap is reached. A block that the noise gate finds disturbed is thrown away
//! and another is run; where the machine never gets quiet, all blocks count and the result says `noisy`.
//!
//! Between the blocks, and for a stated share of the time, the entry is timed at a size that nobody could know before, in turns
//! with a size of the protocol (`secret.rs`), and at the end its outputs are compared with its own answers elsewhere (`check.rs`).

mod ceiling;
mod check;
mod gate;
mod gpu;
mod inputs;
mod secret;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use rand::RngExt;

use super::{
    BlockRecord, Cost, Doubt, Memory, Runtime, RuntimeRatio, TimingRecord, TimingSettings,
    images::Rgb8,
    model::Model,
    runner::{Fault, Runner, Setup, Slot, Timed},
    statistics::{self, Block, Estimate},
};
use check::{Kept, Lottery};
use inputs::{Inputs, Size, pixels};
use secret::Turn;

/// Blocks before the interval is looked at; fewer give no interval worth the name. The next look is after a quarter more
/// each time, since an interval that is looked at often stops by luck.
const FIRST_LOOK: usize = 8;
/// Quiet blocks that a figure needs at least; with fewer it is taken from all blocks, and noisy.
const FEWEST: usize = 4;
/// Blocks that are tried for each that the protocol asks for, before a machine counts as never quiet.
const TRIES: usize = 3;
/// Rounds over the input sizes that are to fit into the protocol's time.
const ROUNDS: f64 = 4.0;
/// Share of the protocol's time after which no process beyond the protocol's number is begun.
const FURTHER: f64 = 0.5;
/// How long one stretch of watching is.
const WATCH: Duration = Duration::from_millis(100);
/// Share of the protocol's time that may go by in waiting for a quiet machine, all waits together, and of the time until a
/// process is to end: what is left must do for blocks of which some are thrown away, in every process. A wait that is cut
/// short measures the disturbance instead.
const WAITING: f64 = 0.6;
/// Share of the time that goes to sizes drawn at random, beyond the first turn.
const SECRET: f64 = 0.15;

/// What is timed.
pub struct Subject<'a> {
    pub model: &'a Model,
    pub cost: &'a Cost,
    /// Range of its input, 1 or 255.
    pub range: u32,
    /// Its model; it is fed 0…1, which also a network for 0…255 bears.
    pub baseline: Option<&'a [u8]>,
    /// LR images: what the inputs are made of.
    pub images: Vec<Rgb8>,
}

/// Times and weighs the entry that is loaded in `runner`. `report` gets the part done, of 100.
pub fn measure(
    runner: &mut Runner,
    setup: &Setup,
    cancel: &Arc<AtomicBool>,
    settings: &TimingSettings,
    subject: Subject,
    report: &dyn Fn(u32, u32),
) -> Result<(Runtime, Memory), Fault> {
    let Subject { model: vetted, cost, range, baseline, images } = subject;
    // What was counted and is loaded: the graph with its functions expanded.
    let model = &vetted.flat_bytes()[..];
    let mut inputs = Inputs::new(images, settings.input).context("there are no LR images to time on")?;
    if let Some(baseline) = baseline {
        ours(runner.load(Slot::Baseline, baseline))?;
    }
    let mut run = Run::new(runner, (setup, cancel), settings, (model, baseline), range, cost.scale);
    run.processes(&mut inputs, report)?;
    let Run { tried, kept, turns, gpu, .. } = run;
    let weights = inputs.weights();
    let (blocks, noisy) = counted(&tried, weights.len());
    let figures = Figures::of(&blocks, &weights);
    let sum = |of: &dyn Fn(&Size) -> f64| {
        inputs.sizes.iter().map(|s| s.weight() * of(s)).sum::<f64>() / weights.iter().sum::<f64>()
    };
    let samples = f64::from(cost.scale).powi(2);
    let demand = ceiling::Demand {
        macs: sum(&|s| cost.macs as f64 * s.pixels() as f64 / (cost.input[2] * cost.input[3]).max(1) as f64),
        bytes: sum(&|s| model.len() as f64 + 12.0 * s.pixels() as f64 * (1.0 + samples)),
        seconds: figures.entry.value * 1e-3,
    };
    let largest = inputs.sizes.last().map(Size::shape).context("no input size")?;
    let output = (largest.0 * cost.scale, largest.1 * cost.scale);
    let throughput = ceiling::throughput(runner, &setup.device, model, output, demand)?;
    let expected = check::Expected { scale: cost.scale, range, exact: setup.device == "cpu" };
    let kept: Vec<Kept> = kept.into_iter().flatten().collect();
    let agreement = check::outputs(runner, &kept, &inputs.shapes(), expected)?;
    let warmup = settings.warmup;
    let has_baseline = baseline.is_some();
    let mut look =
        secret::Look { runner, gpu: gpu.as_ref(), inputs: &inputs, model: vetted, has_baseline, range, warmup };
    let (secret, mut doubts) = look.weigh(&turns)?;
    doubts.extend(agreement.as_ref().and_then(check::doubt));
    if (secret.is_empty() || agreement.is_none()) && vetted.size == (None, None) {
        doubts.push(nowhere_else(inputs.words()));
    }
    let memory = memory(setup, cancel, model, baseline, &inputs, range)?;
    report(100, 100);

    let Figures { entry, baseline } = figures;
    let decides = baseline.map_or(entry, |(_, ratio)| ratio);
    let times = |pick: &dyn Fn(&Block) -> Option<[f64; 2]>| blocks.iter().filter_map(pick).flatten().collect();
    let runtime = Runtime {
        device: setup.device.clone(),
        input: inputs.words(),
        threads: settings.threads,
        median_ms: entry.value,
        ci95_ms: entry.ci95,
        runs: 2 * blocks.len(),
        baseline: baseline.map(|(median_ms, ratio)| RuntimeRatio {
            median_ms,
            ratio: ratio.value,
            ratio_ci95: ratio.ci95,
            samples_ms: times(&|b| b.baseline),
        }),
        samples_ms: times(&|b| Some(b.entry)),
        record: TimingRecord {
            cores: runner.cores.clone(),
            half_width: decides.half_width(),
            half_width_asked: settings.half_width,
            processes: blocks.iter().map(|b| b.process).collect::<BTreeSet<_>>().len(),
            discarded: if noisy { 0 } else { tried.len() - blocks.len() },
            noisy,
            checked: kept.len(),
            throughput: Some(throughput),
            secret,
            agreement,
            doubts,
            blocks: tried
                .into_iter()
                .map(|t| BlockRecord {
                    process: t.block.process,
                    input: inputs.sizes.get(t.block.size).map(Size::shape).unwrap_or_default(),
                    entry_ms: t.block.entry,
                    baseline_ms: t.block.baseline,
                    disturbed: t.disturbed,
                })
                .collect(),
        },
    };
    Ok((runtime, memory))
}

fn nowhere_else(timed: String) -> Doubt {
    Doubt {
        code: "runs_nowhere_else".into(),
        message: format!(
            "it runs at no other size than those that its file could know, so that nothing stands beside its time at {timed}"
        ),
    }
}

/// A block and why it was disturbed.
struct Tried {
    block: Block,
    disturbed: Option<String>,
}

fn quiet(tried: &[Tried]) -> Vec<Block> {
    tried.iter().filter(|t| t.disturbed.is_none()).map(|t| t.block).collect()
}

/// The quiet blocks; where they are too few, all, and true.
fn counted(tried: &[Tried], sizes: usize) -> (Vec<Block>, bool) {
    let quiet = quiet(tried);
    let every_size = (0..sizes).all(|size| quiet.iter().any(|b| b.size == size));
    if every_size && quiet.len() >= FEWEST.min(tried.len()) {
        return (quiet, false);
    }
    (tried.iter().map(|t| t.block).collect(), true)
}

struct Figures {
    entry: Estimate,
    /// Its ms per image, and the entry's ratio to it.
    baseline: Option<(f64, Estimate)>,
}

impl Figures {
    fn of(blocks: &[Block], weights: &[f64]) -> Figures {
        let against = blocks.iter().any(|b| b.baseline.is_some());
        Figures {
            entry: statistics::entry_ms(blocks, weights),
            baseline: against.then(|| (statistics::baseline_ms(blocks, weights), statistics::ratio(blocks, weights))),
        }
    }

    /// Half of the interval that the protocol sets a width for, relative.
    fn half_width(blocks: &[Block], weights: &[f64]) -> f64 {
        match blocks.iter().any(|b| b.baseline.is_some()) {
            true => statistics::ratio(blocks, weights).half_width(),
            false => statistics::entry_ms(blocks, weights).half_width(),
        }
    }
}

/// The timed blocks of one evaluation.
struct Run<'a> {
    runner: &'a mut Runner,
    setup: &'a Setup,
    cancel: &'a Arc<AtomicBool>,
    settings: &'a TimingSettings,
    model: &'a [u8],
    baseline: Option<&'a [u8]>,
    range: u32,
    scale: u32,
    gpu: Option<gpu::Gpu>,
    start: Instant,
    waited: Duration,
    /// The present one, from 0.
    process: usize,
    tried: Vec<Tried>,
    /// The size that the present process has drawn, beside which of the inputs' sizes.
    secret: Option<(usize, (u32, u32))>,
    turns: Vec<Turn>,
    /// Time that they took.
    turning: Duration,
    lottery: Lottery,
    kept: [Option<Kept>; check::CHECKED],
}

impl<'a> Run<'a> {
    fn new(
        runner: &'a mut Runner,
        (setup, cancel): (&'a Setup, &'a Arc<AtomicBool>),
        settings: &'a TimingSettings,
        (model, baseline): (&'a [u8], Option<&'a [u8]>),
        range: u32,
        scale: u32,
    ) -> Run<'a> {
        let gpu = gpu::Gpu::open(&setup.device, runner.pid());
        let (lottery, kept) = (Lottery::new(), [const { None }; check::CHECKED]);
        Run {
            runner,
            setup,
            cancel,
            settings,
            model,
            baseline,
            range,
            scale,
            gpu,
            start: Instant::now(),
            waited: Duration::ZERO,
            process: 0,
            tried: Vec::new(),
            secret: None,
            turns: Vec::new(),
            turning: Duration::ZERO,
            lottery,
            kept,
        }
    }

    fn processes(&mut self, inputs: &mut Inputs, report: &dyn Fn(u32, u32)) -> Result<(), Fault> {
        report(0, 100);
        let warm = self.warm_up(inputs, inputs.sizes.len() - 1)?;
        // A block is five passes, or three; one pass of the warm-up took this long at the largest size.
        let most = f64::max(self.settings.max_seconds, 0.0) / (ROUNDS * 5.0 * warm.as_secs_f64().max(1e-6));
        inputs.thin_out(most as usize);
        for size in 0..inputs.sizes.len() - 1 {
            self.warm_up(inputs, size)?;
        }
        // Disturbed blocks, the waiting for quiet and further processes count too; the first warm-up does not.
        self.start = Instant::now();
        loop {
            self.blocks(inputs, report)?;
            if self.is_enough(inputs) {
                return Ok(());
            }
            self.next_process(inputs)?;
        }
    }

    /// A process of its own for the blocks that follow.
    fn next_process(&mut self, inputs: &Inputs) -> Result<(), Fault> {
        *self.runner = Runner::start(self.setup, self.cancel.clone())?;
        self.runner.load(Slot::Entry, self.model)?;
        if let Some(baseline) = self.baseline {
            ours(self.runner.load(Slot::Baseline, baseline))?;
        }
        self.gpu = gpu::Gpu::open(&self.setup.device, self.runner.pid());
        self.process += 1;
        self.secret = None;
        for size in 0..inputs.sizes.len() {
            self.warm_up(inputs, size)?;
        }
        Ok(())
    }

    /// The blocks of one process: until its part of the interval is narrow enough, or its part of the cap is reached.
    fn blocks(&mut self, inputs: &Inputs, report: &dyn Fn(u32, u32)) -> Result<(), Fault> {
        let (sizes, processes) = (inputs.sizes.len(), self.settings.processes.max(1));
        let weights = inputs.weights();
        let before = self.tried.len();
        let asked = self.asked(sizes).div_ceil(processes);
        // The mean of several processes is so much steadier than one's.
        let half_width = self.settings.half_width * (processes as f64).sqrt();
        let mut look = FIRST_LOOK.max(2 * sizes).div_ceil(processes);
        let until = self.until();
        self.wait_for_quiet()?;
        loop {
            let size = self.due(sizes);
            self.block(inputs, size)?;
            if self.turns.is_empty() || self.turning.as_secs_f64() <= SECRET * self.start.elapsed().as_secs_f64() {
                self.turn(inputs)?;
            }
            report(self.done(sizes), 100);
            let tried = &self.tried[before..];
            let quiet = quiet(tried);
            if quiet.len() >= asked || tried.len() >= TRIES * asked || self.start.elapsed().as_secs_f64() >= until {
                return Ok(());
            }
            if quiet.len() >= look {
                if Figures::half_width(&quiet, &weights) <= half_width {
                    return Ok(());
                }
                look += look.div_ceil(4);
            }
            if self.tried.last().is_some_and(|t| t.disturbed.is_some()) {
                self.wait_for_quiet()?;
            }
        }
    }

    /// Whether no further process is needed: the interval is narrow enough, or a cap is reached.
    fn is_enough(&self, inputs: &Inputs) -> bool {
        let sizes = inputs.sizes.len();
        let (asked, quiet) = (self.asked(sizes), quiet(&self.tried));
        let every_size = (0..sizes).all(|size| self.tried.iter().any(|t| t.block.size == size));
        let spent = self.start.elapsed().as_secs_f64() / self.settings.max_seconds.max(1e-9);
        let late = spent >= 1.0;
        let narrow = || Figures::half_width(&quiet, &inputs.weights()) <= self.settings.half_width;
        quiet.len() >= asked
            || every_size && (late || self.tried.len() >= TRIES * asked)
            || self.process + 1 >= self.settings.processes
                && every_size
                && (spent >= FURTHER || !quiet.is_empty() && narrow())
    }

    /// When the present process is to end, s from the start: what earlier ones left over of their time is for those that follow.
    fn until(&self) -> f64 {
        let processes = self.settings.processes.max(1);
        self.settings.max_seconds * (self.process + 1).min(processes) as f64 / processes as f64
    }

    /// Blocks that the protocol asks for at most.
    fn asked(&self, sizes: usize) -> usize {
        self.settings.runs.div_ceil(2).max(sizes)
    }

    /// Part done, of 100.
    fn done(&self, sizes: usize) -> u32 {
        let spent = self.start.elapsed().as_secs_f64() / self.settings.max_seconds.max(1e-9);
        let share = f64::max(spent, quiet(&self.tried).len() as f64 / self.asked(sizes) as f64);
        (95.0 * share).min(95.0) as u32
    }

    /// The size with the fewest quiet blocks, of these the one with the fewest tries.
    fn due(&self, sizes: usize) -> usize {
        let mut counts = vec![(0, 0); sizes];
        for tried in &self.tried {
            counts[tried.block.size].0 += usize::from(tried.disturbed.is_none());
            counts[tried.block.size].1 += 1;
        }
        counts.iter().enumerate().min_by_key(|(_, counts)| **counts).map_or(0, |(size, _)| size)
    }

    /// Untimed passes at a size; how long one pass of both models takes, halved.
    fn warm_up(&mut self, inputs: &Inputs, size: usize) -> Result<Duration, Fault> {
        let size = &inputs.sizes[size];
        let fed = pixels(&inputs.draw(size), self.range);
        let passes = self.settings.warmup.max(1);
        let start = Instant::now();
        self.runner.warm_up(&fed, size.shape(), passes)?;
        Ok(start.elapsed() / (2 * passes as u32))
    }

    fn block(&mut self, inputs: &Inputs, index: usize) -> Result<(), Fault> {
        let size = &inputs.sizes[index];
        let mut drawn = [inputs.draw(size), inputs.draw(size)];
        let [first, second] = [0, 1].map(|i: usize| pixels(&drawn[i], self.range));
        // Of a block that is drawn, the pass is drawn too; the child learns of it, the network does not.
        let place = self.lottery.draw();
        let keep = place.map(|_| usize::from(rand::random::<bool>()));
        let most = 2 * 3 * size.pixels() * u64::from(self.scale).pow(2);
        let before = self.gpu.as_ref().map(gpu::Gpu::read);
        let Timed { entry, baseline, load, kept } =
            self.runner.block([&first, &second], size.shape(), self.range, keep, most)?;
        let change = before.zip(self.gpu.as_ref().map(gpu::Gpu::read));
        let change = change.map(|(before, after)| gpu::Change { before, after });
        if let (Some(place), Some(keep), Some(output)) = (place, keep, kept) {
            let image = std::mem::replace(&mut drawn[keep], Rgb8 { width: 0, height: 0, data: Vec::new() });
            self.kept[place] = Some(Kept { image, output });
        }
        self.tried.push(Tried {
            block: Block { process: self.process, size: index, entry, baseline },
            disturbed: gate::disturbance(&load, change.as_ref()),
        });
        Ok(())
    }

    /// A turn at the size that this process has drawn; it draws one first, at which the entry runs.
    fn turn(&mut self, inputs: &Inputs) -> Result<(), Fault> {
        let start = Instant::now();
        let drawn = self.secret;
        let candidates = match drawn {
            Some(drawn) => vec![drawn],
            None => {
                let size = rand::rng().random_range(0..inputs.sizes.len());
                let sizes = secret::candidates(inputs.sizes[size].shape(), &inputs.shapes());
                sizes.into_iter().map(|at| (size, at)).collect()
            }
        };
        for (size, at) in candidates {
            let before = self.gpu.as_ref().map(gpu::Gpu::read);
            let of = (&inputs.sizes[size], at);
            match secret::turn(self.runner, Slot::Entry, inputs, of, self.range, self.settings.warmup) {
                Ok((ms, load)) => {
                    let change = before.zip(self.gpu.as_ref().map(gpu::Gpu::read));
                    let change = change.map(|(before, after)| gpu::Change { before, after });
                    let disturbed = gate::disturbance(&load, change.as_ref()).is_some();
                    self.turns.push(Turn { process: self.process, size, at, ms, disturbed });
                    self.secret = Some((size, at));
                    break;
                }
                Err(Fault::Model(problem)) if check::is_of_the_size(&problem) && drawn.is_none() => {}
                Err(fault) => return Err(fault),
            }
        }
        self.turning += start.elapsed();
        Ok(())
    }

    /// Until others leave the machine alone, but not for ever.
    fn wait_for_quiet(&mut self) -> Result<(), Fault> {
        let most = Duration::from_secs_f64(WAITING * self.until().clamp(0.0, 86_400.0));
        let start = Instant::now();
        while self.waited + start.elapsed() < most && !gate::is_idle(&self.runner.watch(WATCH)?) {}
        self.waited += start.elapsed();
        Ok(())
    }
}

/// Peak memory of one pass at the largest input, of the entry and of the baseline, each in a process of its own.
fn memory(
    setup: &Setup,
    cancel: &Arc<AtomicBool>,
    model: &[u8],
    baseline: Option<&[u8]>,
    inputs: &Inputs,
    range: u32,
) -> Result<Memory, Fault> {
    let size = inputs.sizes.last().context("no input size")?;
    let image = inputs.draw(size);
    let peak = |model: &[u8], range: u32| -> Result<(u64, Option<u64>), Fault> {
        let mut runner = Runner::start(setup, cancel.clone())?;
        runner.load(Slot::Entry, model)?;
        runner.warm_up(&pixels(&image, range), size.shape(), 1)?;
        let process = gpu::Gpu::open(&setup.device, runner.pid()).and_then(|gpu| gpu.process_bytes());
        Ok((runner.arena_peak()?, process))
    };
    let (peak_bytes, process_bytes) = peak(model, range)?;
    let baseline = baseline.map(|model| ours(peak(model, 1))).transpose()?;
    let arena = if setup.device == "cpu" { "CPU" } else { "CUDA" };
    Ok(Memory {
        peak_bytes,
        method: format!(
            "ONNX Runtime {arena} arena, most bytes in use during one pass at 1x3x{}x{}, weights included",
            size.height, size.width
        ),
        baseline_peak_bytes: baseline.map(|(peak, _)| peak),
        process_bytes,
        baseline_process_bytes: baseline.and_then(|(_, process)| process),
    })
}

/// The baseline is the organizer's: what it does wrong is not the team's fault.
fn ours<T>(outcome: Result<T, Fault>) -> Result<T, Fault> {
    outcome.map_err(|fault| match fault {
        Fault::Model(problem) => Fault::Ours(anyhow!(problem).context("the baseline's model")),
        ours => ours,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(size: usize, disturbed: bool) -> Tried {
        let block = Block { process: 0, size, entry: [1.0, 1.0], baseline: Some([2.0, 2.0]) };
        Tried { block, disturbed: disturbed.then(|| "noise".to_owned()) }
    }

    #[test]
    fn disturbed_blocks_count_only_where_nothing_else_is_left() {
        let mut all: Vec<Tried> = (0..5).map(|_| tried(0, false)).collect();
        all.extend((0..7).map(|_| tried(0, true)));
        let (blocks, noisy) = counted(&all, 1);
        assert_eq!((blocks.len(), noisy), (5, false));
        // One size was never quiet.
        all.push(tried(1, true));
        let (blocks, noisy) = counted(&all, 2);
        assert_eq!((blocks.len(), noisy), (13, true));
        let few: Vec<Tried> = [false, false, true, true, true].map(|d| tried(0, d)).into();
        assert!(counted(&few, 1).1);
        assert!(!counted(&few[..2], 1).1);
    }
}
