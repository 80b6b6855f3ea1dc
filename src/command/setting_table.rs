//! THE table of settings: name, how it reads, and, if it may change while the server runs, what it
//! may become. CONFIG, the command line and the environment all set through it.
//!
//! Invariants
//! - A name is Redis' where one means the same, and so are the texts of what is refused.
//! - Several values are set all or none: each is judged before the first is stored.

use super::{
    app::App,
    open_files::clients_that_fit,
    setting_value::{
        memory_bytes, memory_of_clients, number, output_limits, percentiles, percentiles_text,
        save_points, save_points_text, shutdown_text, shutdown_words, yes_or_no,
    },
    settings::{Number, SavePoint, Settings},
};
use crate::{error::Result, log::Durability};

/// One setting.
pub(super) struct Setting {
    pub(super) name: &'static str,
    kind: Kind,
}

/// What a setting is.
enum Kind {
    /// As it was at the start; Redis' too.
    Fixed(fn(&App) -> String),
    /// As it was at the start, and why another is refused; Redis' may change.
    Kept(fn(&App) -> String, &'static str),
    /// This and nothing else: the text, and why another is refused.
    Only(&'static str, &'static str),
    /// A number within bounds.
    Number(fn(&Settings) -> &Number, i64, i64),
    /// A number of bytes, within bounds, that may have a unit.
    Memory(fn(&Settings) -> &Number, i64, i64),
    /// Yes or no.
    YesNo(fn(&Settings) -> &Number),
    /// Which percentiles INFO tells.
    Percentiles,
    /// What clients must say with AUTH.
    Password,
    /// When snapshots are written, by time.
    SavePoints,
    /// What a signal to end means.
    Signal(fn(&Settings) -> &Number),
    /// When clients are closed because all of them together take too much memory: never.
    MemoryOfClients,
    /// The most clients: as many as the system can handle.
    Clients,
    /// What clients may leave unread: a class of clients, hard and soft limit, seconds.
    OutputLimits,
}

const MIB: i64 = 1 << 20;
const U32_MAX: i64 = u32::MAX as i64;
const I32_MAX: i64 = i32::MAX as i64;

/// Every setting, by name.
pub(super) static SETTINGS: &[Setting] = &[
    kept("appendfsync", |app| appendfsync(app.store.durability()).into(), AT_START),
    only("appendonly", "yes", "the log cannot be switched off"),
    count("arguments-max", |all| &all.arguments_max, 16, 16 * MIB),
    memory("asof-memory", |all| &all.asof_memory_bytes, 0, i64::MAX),
    kept(
        "bind",
        |app| app.identity.bind.to_string(),
        "Failed to bind to specified addresses: they are chosen at the start.",
    ),
    Setting { name: "client-output-buffer-limit", kind: Kind::OutputLimits },
    memory("client-query-buffer-limit", |all| &all.request_bytes_max, MIB, 1024 * MIB),
    fixed("daemonize", |_| "no".into()),
    fixed("databases", |_| "1".into()),
    fixed("dir", |app| app.identity.data.display().to_string()),
    kept("durability", |app| app.store.durability().to_string(), AT_START),
    fixed("enable-debug-command", |app| app.identity.debug.clone()),
    kept("http-port", |app| app.identity.http_port.to_string(), AT_START),
    memory("inline-max-len", |all| &all.inline_bytes_max, 1024, MIB),
    fixed("io-threads", |app| app.identity.threads.to_string()),
    count("latency-monitor-threshold", |all| &all.latency_threshold_ms, 0, i64::MAX),
    Setting { name: "latency-tracking", kind: Kind::YesNo(|all| &all.latency_tracking) },
    Setting { name: "latency-tracking-info-percentiles", kind: Kind::Percentiles },
    count("login-arguments-max", |all| &all.login_arguments_max, 3, MIB),
    memory("login-bulk-max-len", |all| &all.login_bulk_bytes_max, 64, MIB),
    memory("login-max-len", |all| &all.login_bytes_max, 1024, 64 * MIB),
    count("login-timeout", |all| &all.login_timeout_s, 0, I32_MAX),
    Setting { name: "maxclients", kind: Kind::Clients },
    memory("maxmemory", |all| &all.memory_bytes_max, 0, i64::MAX),
    Setting { name: "maxmemory-clients", kind: Kind::MemoryOfClients },
    only("maxmemory-policy", "noeviction", "argument(s) must be one of the following: noeviction"),
    count("partial-command-timeout", |all| &all.partial_timeout_s, 0, I32_MAX),
    kept(
        "port",
        |app| app.identity.port.to_string(),
        "Unable to listen on this port: it is chosen at the start.",
    ),
    memory("proto-max-bulk-len", |all| &all.bulk_bytes_max, MIB, 512 * MIB),
    memory("reply-max-len", |all| &all.reply_bytes_max, MIB, 4096 * MIB),
    Setting { name: "requirepass", kind: Kind::Password },
    Setting { name: "save", kind: Kind::SavePoints },
    Setting { name: "shutdown-on-sigint", kind: Kind::Signal(|all| &all.sigint) },
    Setting { name: "shutdown-on-sigterm", kind: Kind::Signal(|all| &all.sigterm) },
    count("slowlog-log-slower-than", |all| &all.slow_log_us, -1, i64::MAX),
    count("slowlog-max-len", |all| &all.slow_log_len, 0, i64::MAX),
    memory("snapshot-log-bytes", |all| &all.snapshot_log_bytes, 0, i64::MAX),
    count("tcp-keepalive", |all| &all.tcp_keepalive_s, 0, I32_MAX),
    count("timeout", |all| &all.idle_timeout_s, 0, I32_MAX),
    count("write-timeout", |all| &all.write_timeout_s, 0, I32_MAX),
];

const AT_START: &str = "it is chosen at the start";

const fn fixed(name: &'static str, read: fn(&App) -> String) -> Setting {
    Setting { name, kind: Kind::Fixed(read) }
}

const fn kept(name: &'static str, read: fn(&App) -> String, why: &'static str) -> Setting {
    Setting { name, kind: Kind::Kept(read, why) }
}

const fn only(name: &'static str, value: &'static str, why: &'static str) -> Setting {
    Setting { name, kind: Kind::Only(value, why) }
}

const fn count(
    name: &'static str,
    place: fn(&Settings) -> &Number,
    least: i64,
    most: i64,
) -> Setting {
    Setting { name, kind: Kind::Number(place, least, most) }
}

const fn memory(
    name: &'static str,
    place: fn(&Settings) -> &Number,
    least: i64,
    most: i64,
) -> Setting {
    Setting { name, kind: Kind::Memory(place, least, most) }
}

/// The nearest that Redis has.
fn appendfsync(durability: Durability) -> &'static str {
    match durability {
        Durability::Always => "always",
        Durability::Interval { .. } => "everysec",
        Durability::Never => "no",
    }
}

/// What a setting is to become: judged, and not stored yet.
pub(super) enum Change {
    /// It stays as it is.
    Nothing,
    /// A number.
    Number(fn(&Settings) -> &Number, i64),
    /// Hard and soft limit of output, and seconds.
    OutputLimits([i64; 3]),
    /// The percentiles that INFO tells.
    Percentiles(Vec<f64>),
    /// What clients must say with AUTH.
    Password(Vec<u8>),
    /// When snapshots are written, by time.
    SavePoints(Vec<SavePoint>),
}

impl Setting {
    /// The setting of that name, in any case.
    pub(super) fn find(name: &[u8]) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its value as text.
    pub(super) fn text(&self, app: &App) -> String {
        match self.kind {
            Kind::Fixed(read) | Kind::Kept(read, _) => read(app),
            Kind::Only(value, _) => value.into(),
            Kind::Number(place, ..) | Kind::Memory(place, ..) => {
                place(&app.settings).get().to_string()
            }
            Kind::YesNo(place) => if place(&app.settings).get() == 0 { "no" } else { "yes" }.into(),
            Kind::Percentiles => percentiles_text(&app.settings.percentiles.lock()),
            Kind::Password => String::from_utf8_lossy(&app.settings.password()).into_owned(),
            Kind::SavePoints => save_points_text(&app.settings.save_points.lock()),
            Kind::Signal(place) => shutdown_text(place(&app.settings).get()),
            Kind::MemoryOfClients => "0".into(),
            Kind::Clients => app.settings.clients_max.get().to_string(),
            Kind::OutputLimits => {
                let [hard, soft, seconds] = output_places(&app.settings).map(Number::get);
                format!("normal {hard} {soft} {seconds}")
            }
        }
    }

    /// Whether it stays as it was at the start.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self.kind, Kind::Fixed(_))
    }

    /// What it becomes with this text, or why it cannot.
    pub(super) fn judge(&self, text: &[u8]) -> Result<Change, String> {
        match self.kind {
            Kind::Fixed(_) => Err("can't set immutable config".into()),
            Kind::Kept(_, why) => Err(why.into()),
            Kind::Only(value, why) => match text.eq_ignore_ascii_case(value.as_bytes()) {
                true => Ok(Change::Nothing),
                false => Err(why.into()),
            },
            Kind::Number(place, least, most) => {
                Ok(Change::Number(place, within(number(text)?, least, most)?))
            }
            Kind::YesNo(place) => Ok(Change::Number(place, i64::from(yes_or_no(text)?))),
            Kind::Percentiles => Ok(Change::Percentiles(percentiles(text)?)),
            Kind::Password => Ok(Change::Password(text.to_vec())),
            Kind::SavePoints => Ok(Change::SavePoints(save_points(text)?)),
            Kind::Signal(place) => Ok(Change::Number(place, shutdown_words(text)?)),
            Kind::MemoryOfClients => memory_of_clients(text).map(|()| Change::Nothing),
            Kind::Clients => {
                let wanted = within(number(text)?, 1, U32_MAX)?;
                match i64::try_from(clients_that_fit(wanted.unsigned_abs())) {
                    Ok(fit) if fit < wanted => Err(format!(
                        "The operating system is not able to handle the specified number of \
                         clients, try with {fit}"
                    )),
                    _ => Ok(Change::Number(|all| &all.clients_max, wanted)),
                }
            }
            Kind::OutputLimits => {
                Ok(output_limits(text)?.map_or(Change::Nothing, Change::OutputLimits))
            }
            Kind::Memory(place, least, most) => {
                Ok(Change::Number(place, within(memory_bytes(text)?, least, most)?))
            }
        }
    }
}

fn output_places(settings: &Settings) -> [&Number; 3] {
    [&settings.output_hard_bytes, &settings.output_soft_bytes, &settings.output_soft_s]
}

fn within(value: i64, least: i64, most: i64) -> Result<i64, String> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(format!("argument must be between {least} and {most} inclusive"))
}

impl Change {
    /// Makes it so.
    pub(super) fn store(self, settings: &Settings) {
        match self {
            Self::Nothing => {}
            Self::Number(place, value) => place(settings).set(value),
            Self::OutputLimits(values) => {
                output_places(settings).into_iter().zip(values).for_each(|(at, v)| at.set(v));
            }
            Self::Password(password) => settings.set_password(password),
            Self::SavePoints(points) => *settings.save_points.lock() = points,
            Self::Percentiles(percentiles) => *settings.percentiles.lock() = percentiles,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_defaults_within_their_bounds() {
        assert!(SETTINGS.is_sorted_by(|a, b| a.name < b.name));
        let defaults = Settings::default();
        for setting in SETTINGS {
            if let Kind::Number(place, ..) | Kind::Memory(place, ..) = setting.kind {
                let value = place(&defaults).get().to_string();
                assert!(setting.judge(value.as_bytes()).is_ok(), "{}", setting.name);
            }
        }
    }
}
