#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| topiclog_fuzz::operations(data));
