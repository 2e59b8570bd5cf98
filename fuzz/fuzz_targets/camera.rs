#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| easydarwin_fuzz_targets::camera(data));
