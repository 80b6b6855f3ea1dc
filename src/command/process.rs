//! What the operating system tells of this process and its machine: `proc(5)`.

use std::fs::read_to_string;

/// What a process has used of the processors, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CpuSeconds {
    pub(super) user: f64,
    pub(super) system: f64,
    /// The same of children that ended.
    pub(super) children_user: f64,
    pub(super) children_system: f64,
}

/// What this process holds in memory, in bytes.
pub(super) fn resident_bytes() -> usize {
    let pages = read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    resident.unwrap_or(0).saturating_mul(rustix::param::page_size())
}

/// What the machine has of memory, in bytes.
pub(super) fn machine_bytes() -> usize {
    let text = read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|total| total.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// The processor time so far, to a hundredth of a second as the kernel tells it there.
pub(super) fn cpu_seconds() -> CpuSeconds {
    let text = read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program stands in parentheses and may hold blanks.
    let behind_name = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let field = |number: usize| {
        let ticks = behind_name.split(' ').nth(number - 3).and_then(|ticks| ticks.parse().ok());
        ticks.unwrap_or(0.0) / ticks_per_second
    };
    CpuSeconds {
        user: field(14),
        system: field(15),
        children_user: field(16),
        children_system: field(17),
    }
}

/// Name and release of the kernel, and the architecture.
pub(super) fn operating_system() -> String {
    let told = |name: &str| {
        let text = read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    format!("{} {} {}", told("ostype"), told("osrelease"), std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_uses_processors() {
        assert!(resident_bytes() > 100_000 && machine_bytes() > resident_bytes());
        let mut sum = 0_u64;
        while cpu_seconds().user + cpu_seconds().system < 0.02 {
            sum = sum.wrapping_mul(31).wrapping_add(1);
        }
        assert!(cpu_seconds().user < 1e6, "{sum}");
        assert!(operating_system().starts_with("Linux "));
    }
}
