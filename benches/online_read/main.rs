//! Question: where does the time of one HMGET go, once its bytes are here? Guess, for 50 doubles of
//! 50: half a microsecond to meet the plan again, less for the row, and most for writing the texts.
//!
//! ```text
//! names --plan--> places --table--> row --row--> cells --reply--> bytes
//! ```
//! Each part has a file with a question and a guess of its own. What is measured is checked once,
//! outside of the clock.
//!
//! Usage: `cargo bench --bench online_read -- [row|table|plan|reply]`. With `--test` each runs
//! once.

mod plan;
mod reply;
mod row;
mod table;

mod fixture;

use criterion::Criterion;
use std::{error::Error, time::Duration};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    row::cells(&mut criterion)?;
    row::fields_of_a_plain_hash(&mut criterion)?;
    table::look_up(&mut criterion)?;
    plan::plan_again(&mut criterion)?;
    reply::write(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
