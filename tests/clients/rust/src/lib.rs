//! What the Rust programs share: how they are called, and the data of each step.
//!
//! Called as `program PORT PROTOCOL MODE STEP...`, as the Python programs are. Each step prints its
//! name when it has passed; `restart` prints `please restart` and waits for a line of input.

use std::{collections::HashMap, env, io, time::Duration};

/// The patterns of Redis' documentation of feature stores: batch features of an entity are one hash
/// that expires as a whole, streaming features are fields that expire each on its own.
pub const BATCH_FEATURES: [(&str, &str); 4] =
    [("country", "FR"), ("age_days", "412"), ("spend_30d", "182.5"), ("segment", "b")];
pub const STREAMING_FEATURES: [(&str, &str); 2] = [("clicks_5m", "17"), ("last_page", "/cart")];
pub const RESTART_ATTEMPTS_MAX: usize = 400;
pub const RESTART_PAUSE: Duration = Duration::from_millis(50);

pub struct Call {
    pub port: u16,
    pub is_resp3: bool,
    pub is_cluster: bool,
    pub steps: Vec<String>,
}

pub fn call() -> Call {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().expect("PORT PROTOCOL MODE STEP...");
    let (port, protocol, mode) = (next(), next(), next());
    Call {
        port: port.parse().expect("a port"),
        is_resp3: protocol == "3",
        is_cluster: mode == "cluster",
        steps: arguments.collect(),
    }
}

pub fn binary_texts() -> Vec<Vec<u8>> {
    let all_bytes = (0..=u8::MAX).collect();
    let mut texts = vec![all_bytes, vec![0xff; 65_536]];
    texts.extend([&b""[..], b"\0", b"\r\n", b"a\r\nb\0c"].map(<[u8]>::to_vec));
    texts
}

pub fn many_fields() -> HashMap<String, String> {
    (0..200).map(|n| (format!("field:{n}"), format!("value:{n}"))).collect()
}

pub fn wait_for_restart() {
    println!("please restart");
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("input");
    assert_eq!(line, "restarted\n");
}
