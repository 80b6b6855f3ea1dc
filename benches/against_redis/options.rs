//! What the bench takes.

use crate::Result;
use std::{path::PathBuf, time::Duration};

pub(super) const ENTITIES_MAX: u64 = 9_000_000;

pub(super) struct Options {
    pub(super) entities: u64,
    /// With 20 features; a fifth of it with 100.
    pub(super) memory_entities: u64,
    pub(super) rounds: u64,
    /// How many entities the table that grows has in the end; else as many as come in the time.
    pub(super) grow_to: Option<u64>,
    /// A glance: that everything runs, no figures to keep.
    pub(super) is_quick: bool,
    pub(super) warm_up: Duration,
    pub(super) timed: Duration,
    only: Option<String>,
    pub(super) json: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self {
            entities: 100_000,
            memory_entities: 1_000_000,
            rounds: 5,
            grow_to: None,
            is_quick: false,
            warm_up: Duration::from_millis(500),
            timed: Duration::from_secs(3),
            only: None,
            json: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--quick" => {
                    options.entities = 500;
                    options.memory_entities = 5_000;
                    options.rounds = 1;
                    options.warm_up = Duration::from_millis(20);
                    options.timed = Duration::from_millis(300);
                    options.is_quick = true;
                }
                "--seconds" => options.timed = Duration::try_from_secs_f64(value()?.parse()?)?,
                "--rounds" => options.rounds = value()?.parse()?,
                "--entities" => options.entities = value()?.parse()?,
                "--memory-entities" => options.memory_entities = value()?.parse()?,
                "--grow-to" => options.grow_to = Some(value()?.parse()?),
                "--only" => options.only = Some(value()?.clone()),
                "--json" => options.json = Some(value()?.into()),
                "--bench" => {} // cargo adds it
                _ => return Err(format!("unknown option {word}").into()),
            }
        }
        let entities = 100..=ENTITIES_MAX;
        if options.rounds == 0
            || !entities.contains(&options.entities)
            || !entities.contains(&options.memory_entities)
            || options.grow_to.is_some_and(|to| !entities.contains(&to))
        {
            return Err(format!("give 1 round or more, 100 to {ENTITIES_MAX} entities").into());
        }
        Ok(options)
    }

    /// Whether the row about this work is wanted.
    pub(super) fn wants(&self, work: &str) -> bool {
        self.only.as_ref().is_none_or(|words| work.contains(words))
    }
}
