//! The machine that measures: which processor, which GPU.

use std::{fs, path::Path};

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
