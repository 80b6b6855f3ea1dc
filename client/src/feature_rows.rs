//! The answer to `FS.GET`: a cell per row and feature, each with its status and event timestamp.
//!
//! Invariant: there are as many rows, and as many cells in each, as were asked for. A reply of
//! another shape is an error, so a cell is never taken for that of another feature.

use nowthen_protocol::Value;

use crate::error::{ClientError, Result, expected};

/// Why a feature has a value, or has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeatureStatus {
    /// There is a value.
    Present,
    /// The newest value is null.
    NullValue,
    /// There is a value, but it is older than the TTL of its view.
    OutsideMaxAge,
    /// There never was a value.
    NotFound,
}

impl FeatureStatus {
    /// The word that `FS.GET` uses for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "PRESENT",
            Self::NullValue => "NULL_VALUE",
            Self::OutsideMaxAge => "OUTSIDE_MAX_AGE",
            Self::NotFound => "NOT_FOUND",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Present, Self::NullValue, Self::OutsideMaxAge, Self::NotFound]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// One feature of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureCell {
    /// The value; null unless the status is [`FeatureStatus::Present`].
    pub value: Value,
    /// Why there is a value, or none.
    pub status: FeatureStatus,
    /// When the value was true in the world: microseconds since 1970, UTC.
    pub event_timestamp_us: Option<i64>,
}

/// Features of several rows, as they were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureRows {
    /// The features' names, in the order of the cells of each row.
    pub features: Vec<String>,
    /// The rows, in the order asked.
    pub rows: Vec<Vec<FeatureCell>>,
}

impl FeatureRows {
    /// The cell of `feature`, by the name it was asked for, in the row at `row_index`.
    pub fn cell(&self, row_index: usize, feature: &str) -> Option<&FeatureCell> {
        let column = self.features.iter().position(|name| name == feature)?;
        self.rows.get(row_index)?.get(column)
    }

    /// Reads the reply to `FS.GET ... WITHSTATUS WITHTIME` for `features` and `row_count` rows.
    pub(crate) fn from_reply(reply: Value, features: &[&str], row_count: usize) -> Result<Self> {
        let rows = elements(reply, row_count, "rows")?
            .into_iter()
            .map(|row| elements(row, features.len(), "features")?.into_iter().map(cell).collect())
            .collect::<Result<_>>()?;
        Ok(Self { features: features.iter().map(|name| (*name).to_owned()).collect(), rows })
    }
}

fn elements(value: Value, count: usize, what: &str) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) if values.len() == count => Ok(values),
        Value::Array(values) => Err(ClientError::protocol(format!(
            "the server replied with {} {what} instead of {count}",
            values.len()
        ))),
        other => expected(None, &format!("an array of {what}"), &other),
    }
}

fn cell(cell: Value) -> Result<FeatureCell> {
    let parts = elements(cell, 3, "parts of a cell")?;
    let Ok([value, status, event_timestamp]) = <[Value; 3]>::try_from(parts) else {
        return Err(ClientError::protocol("a cell has a value, a status and a timestamp"));
    };
    let word = status.as_text().and_then(FeatureStatus::from_word);
    let event_timestamp_us = match event_timestamp {
        Value::Null => None,
        time => Some(expected(time.as_integer(), "an event timestamp in µs", &time)?),
    };
    let status = expected(word, "a status of a feature that this client knows", &status)?;
    Ok(FeatureCell { value, status, event_timestamp_us })
}
