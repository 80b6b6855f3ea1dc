//! CONFIG: the settings, read and changed while the server runs.

use super::{
    app::App,
    arguments::{Args, syntax},
    context::Context,
    help::help,
    open_files::clients_that_fit,
    pattern::matches,
    setting_table::{Change, SETTINGS, Setting},
    settings::Settings,
};
use crate::error::{Error, Result, echo_word};
use nowthen_protocol::Reply;

/// `CONFIG GET pattern [pattern ...] | SET name value [name value ...] | REWRITE | RESETSTAT |
/// HELP`
pub(super) fn config(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    match args.next()?.to_ascii_lowercase().as_slice() {
        b"get" => get(ctx.app, args, reply),
        b"set" => {
            let pairs: Vec<&[u8]> = args.rest().collect();
            set(ctx.app, &pairs)?;
            reply.ok();
        }
        b"rewrite" => {
            return Err(Error::refused("The server is running without a config file"));
        }
        b"resetstat" => {
            ctx.session.tell(&ctx.app.stats);
            ctx.app.stats.reset();
            reply.ok();
        }
        b"help" => help(ctx, "config", reply),
        _ => return Err(syntax()),
    }
    Ok(())
}

/// A name without wildcards is told as it was asked for, as Redis does.
fn get(app: &App, args: &Args<'_>, reply: &mut Reply<'_>) {
    let mut found: Vec<(String, &Setting)> = Vec::new();
    for pattern in args.rest() {
        if let Some(setting) = Setting::find(pattern) {
            found.push((String::from_utf8_lossy(pattern).into_owned(), setting));
            continue;
        }
        let pattern = pattern.to_ascii_lowercase();
        let matching = SETTINGS.iter().filter(|one| matches(&pattern, one.name.as_bytes()));
        found.extend(matching.map(|setting| (setting.name.to_owned(), setting)));
    }
    let mut told: Vec<&str> = Vec::new();
    found.retain(|(_, setting)| {
        let is_new = !told.contains(&setting.name);
        told.push(setting.name);
        is_new
    });
    reply.map(found.len());
    for (name, setting) in found {
        reply.bulk_text(&name);
        reply.bulk_text(&setting.text(app));
    }
}

/// All or nothing.
fn set(app: &App, pairs: &[&[u8]]) -> Result<()> {
    let (pairs, rest) = pairs.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(syntax());
    }
    let mut settings: Vec<(&Setting, &[u8])> = Vec::with_capacity(pairs.len());
    // The last of these wins over an unknown name behind it, as in Redis.
    let mut refused = None;
    for [name, value] in pairs {
        let Some(setting) = Setting::find(name) else {
            let name = echo_word(name);
            let unknown = format!("Unknown option or number of arguments for CONFIG SET - {name}");
            return Err(refused.unwrap_or_else(|| Error::refused(unknown)));
        };
        let named = String::from_utf8_lossy(name);
        if setting.is_fixed() {
            refused = refused.or(Some(failed(&named, "can't set immutable config")));
        } else if settings.iter().any(|(other, _)| other.name == setting.name) {
            refused = refused.or(Some(failed(&named, "duplicate parameter")));
        }
        settings.push((setting, value));
    }
    if let Some(error) = refused {
        return Err(error);
    }
    let mut changes = Vec::with_capacity(settings.len());
    // What it is already, it may become.
    let other = |(setting, value): &(&Setting, &[u8])| setting.text(app).as_bytes() != *value;
    for (setting, value) in settings.into_iter().filter(other) {
        changes.push(setting.judge(value).map_err(|why| failed(setting.name, &why))?);
    }
    make_so(&app.settings, changes);
    app.look_at_memory();
    app.set_thresholds();
    Ok(())
}

fn failed(name: &str, why: &str) -> Error {
    let what = "CONFIG SET failed (possibly related to argument";
    Error::refused(format!("{what} '{name}') - {why}"))
}

fn make_so(settings: &Settings, changes: Vec<Change>) {
    for change in changes {
        change.store(settings);
    }
    settings.changed();
}

/// The settings with which a server starts: the defaults, but for these, and no more clients than
/// the system can handle.
pub fn settings_from(pairs: &[(&'static str, &str)]) -> Result<Settings> {
    let settings = Settings::default();
    let mut changes = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let refuse = |why: String| Error::refused(format!("--{name} {value}: {why}"));
        let setting = Setting::find(name.as_bytes());
        let setting = setting.ok_or_else(|| refuse("no such setting".into()))?;
        changes.push(setting.judge(value.as_bytes()).map_err(refuse)?);
    }
    make_so(&settings, changes);
    let wanted = settings.clients_max.count();
    let fit = clients_that_fit(wanted);
    if fit < wanted {
        tracing::warn!(wanted, fit, "the system opens too few files: maxclients is lowered");
        settings.clients_max.set(i64::try_from(fit).unwrap_or(i64::MAX));
    }
    Ok(settings)
}
