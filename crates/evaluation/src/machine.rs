//! The machine that measures: which processor, which GPU, and the settings that move times.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::Host;

/// What measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    /// The GPU's UUID; of a CPU vendor, family, model, stepping and microcode.
    pub id: Option<String>,
    /// Version of the GPU's driver.
    pub driver: Option<String>,
}

/// `cpu` or `cuda:N`.
pub fn device(device: &str) -> Device {
    if device != "cpu" {
        let gpu = gpu(device);
        let driver = read("/proc/driver/nvidia/version").and_then(|text| driver_version(&text));
        let name = gpu.as_ref().map_or_else(|| device.to_owned(), |gpu| gpu.name.clone());
        return Device { name, id: gpu.map(|gpu| gpu.uuid), driver };
    }
    let info = read("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let id = field("vendor_id").map(|vendor| {
        let part = |name: &str| field(name).unwrap_or_else(|| "?".into());
        let model = format!("{}-{}-{}", part("cpu family"), part("model"), part("stepping"));
        format!("{vendor} {model} {}", part("microcode"))
    });
    Device { name: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()), id, driver: None }
}

/// `580.95.05` of `NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue …`: the first word of digits and dots.
fn driver_version(text: &str) -> Option<String> {
    let is_version = |word: &&str| word.contains('.') && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.lines().next()?.split_whitespace().find(is_version).map(Into::into)
}

/// System, kernel, architecture.
pub fn os() -> String {
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {kernel} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The settings now.
pub fn host() -> Host {
    let cpu = "/sys/devices/system/cpu";
    let flag = |file: &str| read(format!("{cpu}/{file}")).and_then(|text| text.parse::<u8>().ok()).map(|n| n != 0);
    let policies: Vec<PathBuf> = fs::read_dir(format!("{cpu}/cpufreq"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("policy")))
        .collect();
    let governors: BTreeSet<String> =
        policies.iter().filter_map(|policy| read(policy.join("scaling_governor"))).collect();
    let clocks = |file: &str| {
        let all = policies.iter().filter_map(|policy| read(policy.join(file))?.parse::<f64>().ok());
        all.map(|khz| khz / 1000.0).collect::<Vec<f64>>()
    };
    let lowest = clocks("scaling_min_freq").into_iter().reduce(f64::min);
    let highest = clocks("scaling_max_freq").into_iter().reduce(f64::max);
    let memory = read("/proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb << 10)
    };
    Host {
        processors: read(format!("{cpu}/online")).and_then(|list| count(&list)),
        smt: flag("smt/active"),
        governor: (!governors.is_empty()).then(|| governors.into_iter().collect::<Vec<_>>().join(", ")),
        clock_mhz: lowest.zip(highest).map(|(low, high)| [low, high]),
        // Intel's own driver says whether it is off, others whether it is on.
        turbo: flag("intel_pstate/no_turbo").map(|off| !off).or_else(|| flag("cpufreq/boost")),
        transparent_huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled")
            .and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())),
        address_randomisation: read("/proc/sys/kernel/randomize_va_space").and_then(|text| text.parse().ok()),
        memory_bytes: bytes("MemTotal"),
        swap_bytes: bytes("SwapTotal"),
    }
}

/// How many numbers a list like `0-3,8` names.
fn count(list: &str) -> Option<u64> {
    list.split(',').try_fold(0u64, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some(sum + last.checked_sub(first)? + 1)
    })
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A GPU as the NVIDIA driver describes it under `/proc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// E.g. `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// `GPU-…`, the same in every program and after every start.
    pub uuid: String,
    /// N of `/dev/nvidiaN`.
    pub minor: u32,
}

/// The GPU that `cuda:N` names: the Nth by place on the bus, as NVML counts, of those whose device node is here. `None`:
/// not CUDA, or the driver does not say.
pub fn gpu(device: &str) -> Option<Gpu> {
    let index: usize = device.strip_prefix("cuda:")?.parse().ok()?;
    gpus(Path::new("/proc/driver/nvidia/gpus"), Path::new("/dev")).into_iter().nth(index)
}

fn gpus(described: &Path, nodes: &Path) -> Vec<Gpu> {
    let mut folders: Vec<_> = fs::read_dir(described).into_iter().flatten().flatten().map(|e| e.path()).collect();
    // Named by their place on the bus, `0000:3b:00.0`.
    folders.sort();
    let described = folders.into_iter().filter_map(|folder| {
        let text = fs::read_to_string(folder.join("information")).ok()?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned()))
        };
        let (uuid, minor) = (field("GPU UUID")?, field("Device Minor")?.parse().ok()?);
        // The driver writes question marks until the GPU is first used.
        (!uuid.contains('?')).then_some(Gpu { name: field("Model")?, uuid, minor })
    });
    described.filter(|gpu| nodes.join(format!("nvidia{}", gpu.minor)).exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_texts_are_read() {
        assert_eq!((count("0-3,8"), count("0"), count("3-1"), count("")), (Some(5), Some(1), None, None));
        let open =
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\nGCC version: 12.2.0";
        assert_eq!(driver_version(open).as_deref(), Some("580.95.05"));
        assert_eq!(driver_version("").as_deref(), None);
    }

    #[test]
    fn gpus_are_counted_by_their_place_and_only_where_they_can_be_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let (proc, dev) = (folder.path().join("gpus"), folder.path().join("dev"));
        fs::create_dir_all(&dev).expect("a folder");
        for (bus, minor) in [("0000:af:00.0", 0), ("0000:3b:00.0", 2), ("0000:18:00.0", 1)] {
            let text = format!(
                "Model: \t\t NVIDIA H100\nIRQ:   \t\t 42\nGPU UUID: \t GPU-{minor}\nBus Location: \t {bus}\nDevice Minor: \t {minor}\n"
            );
            fs::create_dir_all(proc.join(bus)).expect("a folder");
            fs::write(proc.join(bus).join("information"), text).expect("a file");
        }
        for minor in [0, 2] {
            fs::write(dev.join(format!("nvidia{minor}")), "").expect("a node");
        }
        let found = gpus(&proc, &dev);
        assert_eq!(found.iter().map(|gpu| gpu.minor).collect::<Vec<_>>(), [2, 0]);
        assert_eq!((found[0].name.as_str(), found[0].uuid.as_str()), ("NVIDIA H100", "GPU-2"));
        assert_eq!(gpus(Path::new("/nowhere"), &dev), []);
    }
}
