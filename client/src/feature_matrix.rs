//! The answer to `FS.GET ... AS VECTOR`: one matrix of numbers, and a status for each cell.
//!
//! Invariant: there are as many values and statuses as rows times columns.

use nowthen_protocol::{
    Value,
    vector::{VectorElement, VectorFrame, VectorStatus},
};

use crate::{
    error::{ClientError, Result, expected},
    feature_rows::FeatureStatus,
};

/// The numbers of a matrix, row after row. Which of these it is follows from the types of the
/// features alone.
#[derive(Debug, Clone, PartialEq)]
pub enum MatrixValues {
    /// All features are `float32`, or `float32` and `bool`.
    F32(Vec<f32>),
    /// Floats and integers together, or `float64`. NaN where there is no value.
    F64(Vec<f64>),
    /// No feature is a float. 0 where there is no value.
    I64(Vec<i64>),
}

/// Features of several rows as one matrix, as a model takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureMatrix {
    /// How many rows.
    pub rows: usize,
    /// How many columns: one per feature, and of a list such as `float32[128]` one per element.
    pub columns: usize,
    /// The numbers, row after row.
    pub values: MatrixValues,
    /// Why each number is there, or is not; row after row.
    pub statuses: Vec<FeatureStatus>,
    /// Whether some integer is the nearest float to the one that is stored.
    pub is_rounded: bool,
}

impl FeatureMatrix {
    /// Reads the reply to `FS.GET ... AS VECTOR` for so many rows.
    pub(crate) fn from_reply(reply: &Value, row_count: usize) -> Result<Self> {
        let bytes = expected(reply.as_bytes(), "a frame of features", reply)?;
        let frame = VectorFrame::decode(bytes)?;
        let shape = frame.shape();
        if shape.rows != row_count {
            let why = format!("the server replied with {} rows instead of {row_count}", shape.rows);
            return Err(ClientError::protocol(why));
        }
        Ok(Self {
            rows: shape.rows,
            columns: shape.columns,
            values: match shape.element {
                VectorElement::F32 => MatrixValues::F32(frame.f32s().collect()),
                VectorElement::F64 => MatrixValues::F64(frame.f64s().collect()),
                VectorElement::I64 => MatrixValues::I64(frame.i64s().collect()),
            },
            statuses: frame.statuses().map(status).collect(),
            is_rounded: frame.is_rounded(),
        })
    }
}

fn status(status: VectorStatus) -> FeatureStatus {
    match status {
        VectorStatus::Present => FeatureStatus::Present,
        VectorStatus::NullValue => FeatureStatus::NullValue,
        VectorStatus::OutsideMaxAge => FeatureStatus::OutsideMaxAge,
        VectorStatus::NotFound => FeatureStatus::NotFound,
    }
}
