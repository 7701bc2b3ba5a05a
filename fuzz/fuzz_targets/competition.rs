#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = upscore_fuzz::competition(data);
});
