//! Descriptors: each client needs one, and the system allows a process only so many.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a server opens beside its clients: listeners, the log, snapshots, sources, HTTP.
const BESIDE_CLIENTS: u64 = 256;

/// How many of `clients` fit, once this process may open as many files as the system lets it.
pub(super) fn clients_that_fit(clients: u64) -> u64 {
    let wanted = clients.saturating_add(BESIDE_CLIENTS);
    let before = getrlimit(Resource::Nofile);
    // `None` stands for no limit.
    let mut allowed = before.current.unwrap_or(u64::MAX);
    let most = before.maximum.unwrap_or(u64::MAX);
    // Beyond the hard limit it works for who may raise that, too.
    for (current, maximum) in [(wanted, most.max(wanted)), (wanted.min(most), most)] {
        if allowed >= wanted {
            break;
        }
        let maximum = before.maximum.map(|_| maximum);
        if setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum }).is_ok() {
            allowed = allowed.max(current);
        }
    }
    clients.min(allowed.saturating_sub(BESIDE_CLIENTS)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_clients_fit_and_more_than_any_system_opens_do_not() {
        assert_eq!(clients_that_fit(1), 1);
        assert!(clients_that_fit(u64::from(u32::MAX)) < u64::from(u32::MAX));
    }
}
