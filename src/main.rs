//! The one binary of nowthen: reads the command line, does the job, says how it ended.

use clap::Parser;
use nowthen::{
    allocator,
    cli::{self, Cli, Verb},
    error::Error,
    log::Severity,
};
use std::{io::IsTerminal, process::ExitCode};

/// Something failed.
const EXIT_FAILED: u8 = 1;
/// What was asked for makes no sense; clap ends with the same where it can see that.
const EXIT_USAGE: u8 = 2;
/// Bytes on disk are not the bytes that were written, or not ours to read (EX_DATAERR of
/// sysexits.h).
const EXIT_DAMAGED: u8 = 65;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("NOWTHEN_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = match Cli::parse().verb {
        Verb::Serve(options) => cli::serve(&options),
        Verb::Demo(options) => cli::demo(&options),
        Verb::Plan(options) => cli::plan(&options),
        Verb::Apply(options) => cli::apply(&options),
        Verb::Asof(options) => cli::asof(&options),
        Verb::Materialize(options) => cli::materialize(&options),
        Verb::Get(options) => cli::get(&options),
        Verb::Inspect(options) => match cli::inspect(&options) {
            Ok(worst) => return exit_code(worst),
            Err(error) => Err(error),
        },
        Verb::Verify(options) => match cli::verify(&options) {
            Ok(worst) => return exit_code(worst),
            Err(error) => Err(error),
        },
        Verb::Backup(options) => cli::backup(&options),
        Verb::VerifyBackup(options) => cli::verify_backup(&options),
        Verb::Restore(options) => cli::restore(&options),
        Verb::Bench(options) => cli::bench(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Error::Refused { code: "USAGE", .. } = error {
                eprintln!("\nFor more information, try '--help'.");
            }
            match error {
                Error::Corrupt { .. } | Error::Refused { code: "VERSION", .. } => {
                    ExitCode::from(EXIT_DAMAGED)
                }
                Error::Refused { code: "USAGE", .. } => ExitCode::from(EXIT_USAGE),
                Error::Refused { .. } | Error::Io { .. } => ExitCode::from(EXIT_FAILED),
            }
        }
    }
}

/// How a look at files ends.
fn exit_code(worst: Severity) -> ExitCode {
    match worst {
        Severity::Note => ExitCode::SUCCESS,
        Severity::Unread => ExitCode::from(EXIT_FAILED),
        Severity::Damage => ExitCode::from(EXIT_DAMAGED),
    }
}
