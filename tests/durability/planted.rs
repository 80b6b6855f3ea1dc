//! Planted bugs: each is built in, chosen by name, and must make a campaign fail.
//!
//! ```text
//! cargo test --profile campaign --features planted-bugs --test durability planted -- --nocapture
//! CAMPAIGN_COUNT=6 ...                     the first six only
//! PLANTED_BUG="no sync" ...                this one
//! ```
//! Each bug runs in processes of its own: this binary again, one campaign at a time, with the bug
//! in the environment. Without a bug the same campaigns pass, or catching would mean nothing.

use std::{
    env,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A bug must be caught in this time.
const PATIENCE: Duration = Duration::from_secs(600);

/// Every bug, and the campaigns that are to catch it, the likeliest first.
const BUGS: &[(&str, &[&str])] = &[
    ("reply before sync", &["crash_states"]),
    ("no sync", &["crash_states"]),
    ("retry of a failed sync", &["faults"]),
    ("failed write ignored", &["faults"]),
    ("durable LSN ahead in frames", &["crash_states"]),
    ("footer before sync", &["crash_states"]),
    ("close without sync", &["crash_states"]),
    ("segment header not synced", &["crash_states"]),
    ("segment name not synced", &["crash_states"]),
    ("append after a torn tail", &["crash_states"]),
    ("repaired without footer", &["crash_states"]),
    ("LSN given out twice", &["crash_states"]),
    ("proof of durability ignored", &["bit_flips"]),
    ("chain ignored", &["bit_flips"]),
    ("header unverified", &["bit_flips"]),
    ("payload unverified", &["bit_flips"]),
    ("trim without sync", &["crash_states"]),
    ("log trimmed too early", &["crash_states"]),
    ("history not flushed", &["crash_states"]),
    ("history not synced", &["crash_states"]),
    ("history names not synced", &["crash_states"]),
    ("history unverified", &["bit_flips"]),
    ("merged beyond the older snapshot", &["state_machine"]),
    ("merged without a source", &["crash_states", "state_machine"]),
    ("row in another bucket", &["crash_states", "state_machine"]),
    ("merged parts removed too early", &["crash_states"]),
    ("older snapshot removed too early", &["crash_states"]),
    ("snapshot not synced", &["crash_states"]),
    ("snapshot names not synced", &["crash_states"]),
    ("snapshot unverified", &["bit_flips"]),
    ("snapshot ahead of the log", &["crash_states"]),
    ("snapshot without what is pending", &["crash_states"]),
    ("cells ahead not in the snapshot", &["crash_states"]),
    ("manifest not synced", &["crash_states"]),
    ("manifest name not synced", &["crash_states"]),
    ("manifest unverified", &["bit_flips"]),
    ("publish before durable", &["crash_states"]),
    ("transaction in pieces", &["crash_states"]),
    ("flush lost on replay", &["crash_states"]),
    ("replay begins too late", &["crash_states"]),
    ("clock not recovered", &["crash_states"]),
];

#[test]
fn planted_bugs_are_caught() {
    let asked = env::var("CAMPAIGN_COUNT").ok().and_then(|text| text.parse().ok());
    let one = env::var("PLANTED_BUG").ok();
    let chosen = BUGS.iter().filter(|(bug, _)| one.as_deref().is_none_or(|one| one == *bug));
    println!("\n{:<36} {:<14} {:>8}", "planted bug", "caught by", "seconds");
    let (mut caught, mut bugs) = (0, 0);
    for (bug, campaigns) in chosen.take(asked.unwrap_or(usize::MAX)) {
        let started = Instant::now();
        let by = campaigns.iter().find(|campaign| is_caught(bug, campaign, started));
        let by_whom = by.map_or("NOT CAUGHT", |campaign| campaign);
        println!("{bug:<36} {by_whom:<14} {:>8.1}", started.elapsed().as_secs_f64());
        caught += usize::from(by.is_some());
        bugs += 1;
    }
    println!("{caught} of {bugs} caught");
    assert_eq!(caught, bugs, "a campaign is blind");
}

/// Whether a campaign fails with a bug in the store, before time is up.
fn is_caught(bug: &str, campaign: &str, started: Instant) -> bool {
    let test = env::current_exe().expect("the path of this test");
    let mut running = Command::new(test)
        .args(["--exact", &format!("{campaign}::{campaign}")])
        .env("NOWTHEN_PLANTED_BUG", bug)
        .env("CAMPAIGN_COUNT", u64::MAX.to_string())
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
        .env_remove("CAMPAIGN_SEED")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test starts once more");
    while started.elapsed() < PATIENCE {
        if let Some(status) = running.try_wait().expect("a child can be waited for") {
            return !status.success();
        }
        thread::sleep(Duration::from_millis(20));
    }
    // The child is ours; it has found nothing.
    let _ = running.kill();
    let _ = running.wait();
    false
}

#[test]
fn without_a_bug_the_same_campaigns_pass() {
    for campaign in ["crash_states", "faults", "bit_flips"] {
        let test = env::current_exe().expect("the path of this test");
        let Output { status, stdout, stderr } = Command::new(test)
            .args(["--exact", &format!("{campaign}::{campaign}")])
            .env("CAMPAIGN_COUNT", "500")
            .env_remove("CAMPAIGN_SEED")
            .env_remove("NOWTHEN_PLANTED_BUG")
            .output()
            .expect("this test starts once more");
        let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(status.success(), "{campaign}: {}", text.join("\n"));
    }
}
