//! Any bytes are refused as a spine, an Arrow IPC stream from a client, or give rows: no panic, and
//! no more memory than the bytes deserve (`-rss_limit_mb`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use nowthen::offline::Spine;

// Arrow panics on some damage, which we catch. The fuzzer's own hook would end the process before;
// a panic that we do not catch still ends it.
fuzz_target!(init: drop(std::panic::take_hook()), |bytes: &[u8]| {
    if let Ok(spine) = Spine::from_ipc_stream(bytes, None) {
        assert_eq!(spine.rows(), spine.batch().num_rows());
    }
});
