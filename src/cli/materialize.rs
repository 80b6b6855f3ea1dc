//! `nowthen materialize`: with --wait a bar on a terminal, plain lines elsewhere.

use super::{
    bar::Bar,
    connect::{block_on, refusal},
    options::MaterializeOptions,
};
use crate::error::{Error, Result};
use nowthen_client::{Client, Value};
use serde_json::{Map, Value as Json};
use std::time::Duration;

/// How often a running job is asked how far it is.
const POLL: Duration = Duration::from_millis(200);
/// Where there is no terminal a line tells it every so many times.
const POLLS_PER_LINE: usize = 10;

/// One run, as the server tells it.
type RunMap = Vec<(String, Value)>;

/// Runs materialization on the server.
pub fn materialize(options: &MaterializeOptions) -> Result<()> {
    block_on(async {
        let mut client = Client::connect(&options.url).await.map_err(refusal)?;
        let views = match options.all {
            true => vec!["*".to_owned()],
            false => options.views.clone(),
        };
        for view in views {
            let (from, to) = (options.from.as_deref(), options.to.as_deref());
            let begun = client.materialize(&view, from, to, false).await.map_err(refusal)?;
            for run in begun {
                let run = if options.wait { follow(&mut client, run).await? } else { run };
                report(&run, options.json);
                if text(&run, "state") == "failed" {
                    return Err(Error::refused(text(&run, "error")));
                }
            }
        }
        Ok(())
    })
}

/// Waits for the end of a run.
async fn follow(client: &mut Client, mut run: RunMap) -> Result<RunMap> {
    let (view, id) = (text(&run, "view"), number(&run, "id"));
    let bar = Bar::of_rows(view.clone());
    let mut polls = 0;
    while text(&run, "state") == "running" {
        let (read, total) = (number(&run, "rows_read"), number(&run, "rows_total"));
        bar.set(read, total);
        if bar.is_hidden() && total > 0 && polls % POLLS_PER_LINE == 0 {
            eprintln!("{view}: {read} of {total} rows read");
        }
        polls += 1;
        tokio::time::sleep(POLL).await;
        let runs = client.runs(Some(&view), Some(100)).await.map_err(refusal)?;
        let same = runs.into_iter().find(|other| number(other, "id") == id);
        run = same.ok_or_else(|| Error::refused(format!("run {id} of {view} is not known")))?;
    }
    Ok(run)
}

fn report(run: &RunMap, is_json: bool) {
    if is_json {
        let field = |(name, value): &(String, Value)| {
            let json = match value {
                Value::Integer(number) => Json::from(*number),
                other => Json::from(other.as_text().unwrap_or_default()),
            };
            (name.clone(), json)
        };
        println!("{}", Json::Object(run.iter().map(field).collect::<Map<_, _>>()));
        return;
    }
    println!(
        "{} run {}: {}, {} rows read, {} entities written, {} unchanged",
        text(run, "view"),
        number(run, "id"),
        text(run, "state"),
        number(run, "rows_read"),
        number(run, "entities_written"),
        number(run, "entities_unchanged"),
    );
}

fn field<'a>(run: &'a RunMap, name: &str) -> Option<&'a Value> {
    run.iter().find(|(field, _)| field == name).map(|(_, value)| value)
}

fn text(run: &RunMap, name: &str) -> String {
    field(run, name).and_then(Value::as_text).unwrap_or_default().to_owned()
}

fn number(run: &RunMap, name: &str) -> u64 {
    let number = field(run, name).and_then(Value::as_integer);
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}
