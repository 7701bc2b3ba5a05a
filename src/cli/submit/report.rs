//! What `upscore submit` prints.

use std::fmt::Write;

use serde_json::Value;

/// `running: reproducing 37/100`, `queued: 3 of 7, about 240 s`.
pub fn progress(submission: &Value) -> String {
    let state = submission["state"].as_str().unwrap_or("waiting");
    let (progress, queue) = (&submission["progress"], &submission["queue"]);
    if let (Some(step), Some(done), Some(total)) =
        (progress["step"].as_str(), progress["done"].as_u64(), progress["total"].as_u64())
    {
        return format!("{state}: {step} {done}/{total}");
    }
    match (queue["position"].as_u64(), queue["of"].as_u64()) {
        (Some(position), Some(of)) => match queue["estimate_s"].as_u64() {
            Some(seconds) => format!("{state}: {position} of {of}, about {seconds} s"),
            None => format!("{state}: {position} of {of}"),
        },
        _ => state.to_owned(),
    }
}

/// The figures of a scored submission, a line each, and where it stands.
pub fn table(submission: &Value) -> String {
    let mut out = String::new();
    let metrics = &submission["metrics"];
    let number = |id: &str| metrics[id].as_f64();
    let lines = [
        ("PSNR", number("psnr"), 1.0, 4, "dB"),
        ("SSIM", number("ssim"), 1.0, 4, ""),
        ("Runtime", number("runtime_ms"), 1.0, 2, "ms"),
        ("× baseline", number("runtime_ratio"), 1.0, 3, ""),
        ("Params", number("params"), 1e6, 6, "M"),
        ("FLOPs", number("flops"), 1e9, 3, "G"),
        ("Activations", number("activations"), 1e6, 3, "M"),
        ("Memory", number("memory_mib"), 1.0, 1, "MiB"),
        ("Convs", number("convs"), 1.0, 0, ""),
    ];
    for (name, value, scale, decimals, unit) in lines {
        if let Some(value) = value {
            let _ = writeln!(out, "{}", format!("{name:<12} {:>14.decimals$} {unit}", value / scale).trim_end());
        }
    }
    if metrics.is_null() {
        out.push_str("Measured; the figures of this phase are published later.\n");
    }
    if let Some(verdict) = metrics["reproduction"].as_str() {
        let _ = writeln!(out, "{:<12} {verdict:>14}", "Images");
    }
    if let Some(rank) = submission["rank"].as_u64() {
        let _ = writeln!(out, "Rank {rank}, protocol {}", submission["protocol"].as_str().unwrap_or("?"));
    } else if let Some(reason) = submission["unranked"]["message"].as_str() {
        let _ = writeln!(out, "Not ranked: {reason}");
    }
    out
}
