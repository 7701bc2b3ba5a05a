//! The noise gate: whether a timed block was disturbed by anything but itself.

use super::{super::load::Load, gpu};

/// A stretch is disturbed when our first thread stood ready without a core for more than this share of it. On a quiet
/// machine it is below 0.1 %; one competing process on the same core makes it about 50 %.
const WAITED: f64 = 0.01;
/// … or others computed on the pinned cores for more than this share of them, for then they took caches and memory
/// bandwidth even where they took no core from us.
const OTHERS: f64 = 0.05;
/// … or the hypervisor took more than this share of the cores away.
const STOLEN: f64 = 0.01;
/// … or our threads were pushed off their cores more often than this per second and core. Timers and kernel threads do so
/// about 5 times a second, a competing process 100 times and more.
const PREEMPTED_PER_S: f64 = 30.0;
/// The kernel counts busy time in clock ticks of 10 ms: so much on each core says nothing.
const TICKS_S: f64 = 0.02;
/// As much may happen in any stretch, however short.
const PREEMPTED_FREE: f64 = 4.0;
const WAITED_FREE_S: f64 = 0.000_5;

/// Why a block does not count, in words; `None`: it was quiet.
pub fn disturbance(load: &Load, gpu: Option<&gpu::Change>) -> Option<String> {
    let cores = load.cores.max(1) as f64;
    let share = |seconds: f64| 100.0 * seconds / load.wall_s;
    if let Some(waited) = load.waited_s
        && waited > WAITED * load.wall_s + WAITED_FREE_S
    {
        return Some(format!("waited for a core for {:.1} % of the time", share(waited)));
    }
    if let Some(others) = load.others_s
        && others > (OTHERS * load.wall_s + TICKS_S) * cores
    {
        return Some(format!("other work took {:.1} % of the cores", share(others / cores)));
    }
    if let Some(stolen) = load.stolen_s
        && stolen > (STOLEN * load.wall_s + TICKS_S / 2.0) * cores
    {
        return Some(format!("the hypervisor took {:.1} % of the cores", share(stolen / cores)));
    }
    // Beside a GPU it is one thread that works, whose waits are known; while it waits for the device it yields its core to
    // the driver's threads, hundreds of times a second and at no cost: on an H100 blocks came out alike to 0.1 %.
    if gpu.is_none()
        && let Some(preempted) = load.preempted
        && preempted as f64 > PREEMPTED_FREE + PREEMPTED_PER_S * load.wall_s * cores
    {
        return Some(format!("lost its cores {preempted} times in {:.2} s", load.wall_s));
    }
    gpu.and_then(gpu::Change::disturbance)
}

/// Whether the machine is quiet enough to begin, by a stretch in which we did nothing ourselves.
pub fn is_idle(load: &Load) -> bool {
    let cores = load.cores.max(1) as f64;
    let most = (OTHERS * load.wall_s + TICKS_S) * cores;
    load.others_s.unwrap_or(0.0) + load.stolen_s.unwrap_or(0.0) <= most
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Load = Load {
        wall_s: 2.0,
        cores: 2,
        others_s: Some(0.03),
        stolen_s: Some(0.01),
        waited_s: Some(0.001),
        preempted: Some(12),
    };

    #[test]
    fn each_account_can_spoil_a_block() {
        assert_eq!(disturbance(&QUIET, None), None);
        assert!(is_idle(&QUIET));
        let spoilt = [
            Load { waited_s: Some(0.1), ..QUIET },
            Load { others_s: Some(0.5), ..QUIET },
            Load { stolen_s: Some(0.3), ..QUIET },
            Load { preempted: Some(300), ..QUIET },
        ];
        for load in spoilt {
            assert!(disturbance(&load, None).is_some(), "{load:?}");
        }
        assert!(!is_idle(&spoilt[1]) && !is_idle(&spoilt[2]));
        let alone = gpu::Change::default();
        assert_eq!(disturbance(&spoilt[3], Some(&alone)), None, "a GPU's thread yields");
        assert!(spoilt[..3].iter().all(|load| disturbance(load, Some(&alone)).is_some()));
        // What the system does not tell spoils nothing.
        assert_eq!(disturbance(&Load { wall_s: 2.0, cores: 2, ..Load::default() }, None), None);
        // A block of a few milliseconds is not spoilt by one tick of the kernel's clock.
        assert_eq!(
            disturbance(
                &Load { wall_s: 0.004, others_s: Some(0.01), waited_s: Some(0.0), preempted: Some(1), ..QUIET },
                None
            ),
            None
        );
    }
}
