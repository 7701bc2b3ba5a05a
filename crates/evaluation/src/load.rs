//! What a machine's other work took from a stretch of ours: read in the model's process, right before and right after.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// How much a stretch of work was disturbed by others. A figure that the system does not give is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Length of the stretch, s.
    pub wall_s: f64,
    /// Cores that were watched: those that the process is pinned to.
    pub cores: usize,
    /// What others computed on these cores, core-seconds, in steps of a clock tick (10 ms).
    pub others_s: Option<f64>,
    /// What the hypervisor gave to other machines, core-seconds.
    pub stolen_s: Option<f64>,
    /// How long our first thread was ready and had no core, s: exact, where `others_s` is coarse.
    pub waited_s: Option<f64>,
    /// How often one of our threads had to leave its core to another.
    pub preempted: Option<u64>,
}

/// Reads the kernel's accounts. Opened before the sandbox closes /proc; on other systems it sees nothing.
pub struct Meter {
    cores: Vec<usize>,
    stat: Option<File>,
    schedule: Option<File>,
    ticks_per_second: f64,
}

/// The accounts at one moment.
pub struct Reading {
    at: Instant,
    own_s: f64,
    preempted: u64,
    /// Busy and stolen, core-seconds since boot.
    cores: Option<(f64, f64)>,
    waited_s: Option<f64>,
}

impl Meter {
    /// Watches these cores.
    pub fn open(cores: Vec<usize>) -> Meter {
        // SAFETY: a plain system call.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Meter {
            cores,
            stat: File::open("/proc/stat").ok(),
            schedule: File::open("/proc/self/schedstat").ok(),
            ticks_per_second: ticks.max(1) as f64,
        }
    }

    pub fn read(&self) -> Reading {
        let text = |file: &Option<File>| file.as_ref().and_then(|file| whole(file).ok());
        let stat = text(&self.stat);
        let cores = stat
            .and_then(|stat| busy_and_stolen(&stat, &self.cores))
            .map(|(busy, stolen)| (busy as f64 / self.ticks_per_second, stolen as f64 / self.ticks_per_second));
        // On-core and waiting nanoseconds, and the number of slices.
        let waited = text(&self.schedule).and_then(|s| s.split(' ').nth(1)?.trim().parse::<u64>().ok());
        // SAFETY: zeroes are a valid rusage, and the pointer is to a live local.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &mut usage);
            usage
        };
        let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
        Reading {
            at: Instant::now(),
            own_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            preempted: usage.ru_nivcsw as u64,
            cores,
            waited_s: waited.map(|ns| ns as f64 * 1e-9),
        }
    }

    /// What happened from `from` until now.
    pub fn since(&self, from: &Reading) -> Load {
        let now = self.read();
        let own = now.own_s - from.own_s;
        let cores = from.cores.zip(now.cores);
        Load {
            wall_s: (now.at - from.at).as_secs_f64(),
            cores: self.cores.len(),
            others_s: cores.map(|((before, _), (after, _))| (after - before - own).max(0.0)),
            stolen_s: cores.map(|((_, before), (_, after))| after - before),
            waited_s: from.waited_s.zip(now.waited_s).map(|(before, after)| after - before),
            preempted: cfg!(target_os = "linux").then(|| now.preempted.saturating_sub(from.preempted)),
        }
    }

    /// Watches for a while without working.
    pub fn idle(&self, time: Duration) -> Load {
        let from = self.read();
        std::thread::sleep(time);
        self.since(&from)
    }
}

/// A file of /proc from its beginning, without a new look at its path.
fn whole(file: &File) -> std::io::Result<String> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0u8; 16 << 10];
    let mut filled = 0;
    loop {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            n => filled += n,
        }
        if filled == bytes.len() {
            bytes.resize(2 * filled, 0);
        }
    }
    bytes.truncate(filled);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Ticks of these cores' lines in /proc/stat: `cpuN user nice system idle iowait irq softirq steal guest guest_nice`,
/// where guests are in user already.
fn busy_and_stolen(stat: &str, cores: &[usize]) -> Option<(u64, u64)> {
    let (mut busy, mut stolen, mut found) = (0, 0, 0);
    for line in stat.lines() {
        let mut fields = line.split_ascii_whitespace();
        let core = fields.next().and_then(|name| name.strip_prefix("cpu")).and_then(|n| n.parse::<usize>().ok());
        if !core.is_some_and(|core| cores.contains(&core)) {
            continue;
        }
        let ticks: Vec<u64> = fields.filter_map(|f| f.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, irq, soft, steal, ..] = ticks[..] else { return None };
        busy += user + nice + system + irq + soft;
        stolen += steal;
        found += 1;
    }
    (found == cores.len() && found > 0).then_some((busy, stolen))
}

/// Cores for `threads` threads out of those this process may use: one of each physical core first, the highest numbers
/// first, since the lowest take most interrupts. `None`: there are fewer cores than threads, or the system cannot pin.
#[cfg(target_os = "linux")]
pub fn choose_cores(threads: usize) -> Option<Vec<usize>> {
    // SAFETY: zeroes are a valid cpu_set_t, and the pointer is to a live local of the stated size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) == 0).then_some(set)?
    };
    let most = 8 * size_of::<libc::cpu_set_t>();
    // SAFETY: the index is below the set's size.
    let allowed = (0..most).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) });
    let siblings = |core: usize| {
        let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
        std::fs::read_to_string(path).unwrap_or_else(|_| core.to_string())
    };
    order_cores(&allowed.map(|core| (core, siblings(core))).collect::<Vec<_>>(), threads)
}

#[cfg(not(target_os = "linux"))]
pub fn choose_cores(_threads: usize) -> Option<Vec<usize>> {
    None
}

/// `cores`: number and name of the physical core, rising.
#[cfg_attr(not(target_os = "linux"), expect(dead_code))]
fn order_cores(cores: &[(usize, String)], threads: usize) -> Option<Vec<usize>> {
    let (mut first, mut others, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for (core, physical) in cores.iter().rev() {
        if seen.contains(&physical) {
            others.push(*core);
        } else {
            seen.push(physical);
            first.push(*core);
        }
    }
    first.extend(others);
    (threads > 0 && first.len() >= threads).then(|| first[..threads].to_vec())
}

/// Keeps the calling thread, and those it starts, on these cores.
#[cfg(target_os = "linux")]
pub fn pin(cores: &[usize]) -> std::io::Result<()> {
    // SAFETY: zeroes are a valid cpu_set_t; `choose_cores` gives indices below its size.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.iter().for_each(|&core| libc::CPU_SET(core, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
pub fn pin(_cores: &[usize]) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_accounts_are_read() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 1 20 500 7 2 3 11 50 0\ncpu1 10 0 2 600 0 0 0 1 0 0\nintr 5\n";
        assert_eq!(busy_and_stolen(stat, &[0]), Some((126, 11)));
        assert_eq!(busy_and_stolen(stat, &[1, 0]), Some((138, 12)));
        assert_eq!(busy_and_stolen(stat, &[2]), None);
        assert_eq!(busy_and_stolen("cpu0 1 2\n", &[0]), None);
    }

    #[test]
    fn threads_take_physical_cores_first_and_the_lowest_last() {
        let hyper: Vec<(usize, String)> =
            [(0, "0,4"), (1, "1,5"), (4, "0,4"), (5, "1,5")].map(|(n, s)| (n, s.into())).into();
        assert_eq!(order_cores(&hyper, 2), Some(vec![5, 4]));
        assert_eq!(order_cores(&hyper, 3), Some(vec![5, 4, 1]));
        assert_eq!(order_cores(&hyper, 5), None);
    }
}
