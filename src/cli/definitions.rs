//! `nowthen plan` and `nowthen apply`

use super::{
    boot::definitions_in,
    connect::{converse, refusal},
    options::RepositoryOptions,
};
use crate::{error::Result, registry::canonical_text};
use serde_json::json;

/// Prints what applying would change; nothing does.
pub fn plan(options: &RepositoryOptions) -> Result<()> {
    send(options, true)
}

/// Makes the repository true on the server.
pub fn apply(options: &RepositoryOptions) -> Result<()> {
    send(options, false)
}

/// The definitions are read and checked here, so that an error names file and line.
fn send(options: &RepositoryOptions, is_dry_run: bool) -> Result<()> {
    let text = canonical_text(&definitions_in(&options.repo)?);
    let plan = converse(&options.url, async |client| {
        client.apply(&text, is_dry_run).await.map_err(refusal)
    })?;
    if options.json {
        println!("{}", json!({ "applied": !is_dry_run, "plan": plan }));
    } else {
        println!("{}", plan.trim_end());
    }
    Ok(())
}
