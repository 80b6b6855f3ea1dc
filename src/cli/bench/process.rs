//! What processes take of the CPU, as /proc tells it in ticks of mostly 10 ms.

use std::{fs, time::Duration};

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CpuTime {
    pub(super) user: Duration,
    pub(super) system: Duration,
}

impl CpuTime {
    /// Of a process and of children of it that have ended, since it began; none if it is not there.
    pub(super) fn of(process_id: u32) -> Option<Self> {
        parse_stat(&fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?)
    }

    /// Of this process.
    pub(super) fn of_this() -> Option<Self> {
        Self::of(std::process::id())
    }

    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    pub(super) fn total(self) -> Duration {
        self.user + self.system
    }
}

/// Fields 14 to 17 of proc(5); a name in brackets before them may hold anything.
fn parse_stat(stat: &str) -> Option<CpuTime> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let mut fields = behind_name.split(' ').skip(11);
    let mut time = || {
        let ticks: f64 = fields.next()?.parse().ok()?;
        Duration::try_from_secs_f64(ticks / rustix::param::clock_ticks_per_second() as f64).ok()
    };
    let own = CpuTime { user: time()?, system: time()? };
    Some(CpuTime { user: own.user + time()?, system: own.system + time()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 250 5 10 20 0";
        let ticks = rustix::param::clock_ticks_per_second();
        let time = parse_stat(stat).unwrap();
        assert_eq!(time.user, Duration::from_secs(155) / ticks as u32);
        assert_eq!(time.total(), Duration::from_secs(415) / ticks as u32);
        assert_eq!(parse_stat("42 (a) S 1"), None);
        assert_eq!(CpuTime::of(u32::MAX), None);
        assert!(CpuTime::of_this().is_some());
    }
}
