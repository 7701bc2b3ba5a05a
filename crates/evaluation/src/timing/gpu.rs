//! What NVML, the driver's own library, says of a GPU round a timed block. It is opened at run time; without a driver there
//! is nothing to read, and nothing here is an error.

use nvml_wrapper::{Device, Nvml, bitmasks::device::ThrottleReasons, enum_wrappers::device};

use super::super::runtime;

/// Throttling that a cooler or less disturbed card would not show. A power cap is not among it: many cards run at theirs
/// all the time, and the baseline beside it meets the same.
const THROTTLED: ThrottleReasons = ThrottleReasons::HW_SLOWDOWN
    .union(ThrottleReasons::SW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN);
/// A change of the clock within a block beyond this share spoils it.
const CLOCK_CHANGE: f64 = 0.03;

/// The GPU of a CUDA device, numbered by its place on the bus.
pub struct Gpu {
    nvml: Nvml,
    index: u32,
    /// The model's process.
    pid: u32,
}

/// The state at one moment; what the driver does not tell is absent.
#[derive(Default)]
pub struct Reading {
    clock_mhz: Option<u32>,
    temperature_c: Option<u32>,
    throttled: Option<ThrottleReasons>,
    /// Processes that compute on the card beside ours.
    others: Option<usize>,
}

/// Two readings round a block.
#[derive(Default)]
pub struct Change {
    pub before: Reading,
    pub after: Reading,
}

impl Gpu {
    /// `None` on CPU, and where the driver's library does not answer.
    pub fn open(device: &str, pid: u32) -> Option<Gpu> {
        let runtime::Device::Cuda(index) = device.parse().ok()? else { return None };
        let nvml = Nvml::init().ok()?;
        let index = u32::try_from(index).ok()?;
        nvml.device_by_index(index).ok()?;
        Some(Gpu { nvml, index, pid })
    }

    pub fn read(&self) -> Reading {
        let device = self.device();
        let ask = |what: &dyn Fn(&Device) -> Option<u32>| device.as_ref().and_then(what);
        Reading {
            clock_mhz: ask(&|d| d.clock_info(device::Clock::SM).ok()),
            temperature_c: ask(&|d| d.temperature(device::TemperatureSensor::Gpu).ok()),
            throttled: device.as_ref().and_then(|d| d.current_throttle_reasons().ok()),
            others: device.as_ref().and_then(|d| d.running_compute_processes().ok()).map(|all| {
                // In a container the numbers are the host's: then one of them is ours.
                let ours = usize::from(!all.is_empty());
                all.len() - ours
            }),
        }
    }

    /// Device memory of the model's process, bytes, its CUDA context (about 0.4 GB) included. Absent where the driver does
    /// not tell, as in some containers.
    pub fn process_bytes(&self) -> Option<u64> {
        use nvml_wrapper::enums::device::UsedGpuMemory;
        let all = self.device()?.running_compute_processes().ok()?;
        let ours = all.iter().find(|p| p.pid == self.pid).or(if all.len() == 1 { all.first() } else { None })?;
        match ours.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        }
    }

    fn device(&self) -> Option<Device<'_>> {
        self.nvml.device_by_index(self.index).ok()
    }
}

impl Change {
    pub fn disturbance(&self) -> Option<String> {
        let Change { before, after } = self;
        if let Some(others) = before.others.max(after.others)
            && others > 0
        {
            return Some(format!("{others} other processes compute on the GPU"));
        }
        let throttled =
            before.throttled.unwrap_or(ThrottleReasons::empty()) | after.throttled.unwrap_or(ThrottleReasons::empty());
        if throttled.intersects(THROTTLED) {
            let heat = after.temperature_c.map_or_else(String::new, |c| format!(" at {c} °C"));
            return Some(format!("the GPU throttles itself{heat}"));
        }
        match (before.clock_mhz, after.clock_mhz) {
            (Some(from), Some(to)) if (f64::from(to) / f64::from(from.max(1)) - 1.0).abs() > CLOCK_CHANGE => {
                Some(format!("the GPU's clock went from {from} to {to} MHz"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_heat_and_company_spoil_a_block() {
        let quiet = || Reading {
            clock_mhz: Some(1980),
            temperature_c: Some(50),
            throttled: Some(ThrottleReasons::SW_POWER_CAP),
            others: Some(0),
        };
        let after = |after: Reading| Change { before: quiet(), after }.disturbance();
        assert_eq!(after(quiet()), None);
        assert!(after(Reading { clock_mhz: Some(1800), ..quiet() }).is_some());
        assert!(after(Reading { throttled: Some(ThrottleReasons::HW_THERMAL_SLOWDOWN), ..quiet() }).is_some());
        assert!(after(Reading { others: Some(1), ..quiet() }).is_some());
        assert_eq!(after(Reading::default()), None);
        assert!(Gpu::open("cpu", 1).is_none());
    }
}
