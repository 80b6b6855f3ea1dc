//! `FS.GET ... AS VECTOR`: the features of all rows as one matrix of numbers.
//!
//! ```text
//! features   spend float64   visits int64   embedding float32[3]
//! columns    0               1              2  3  4                    here of f64
//! ```
//! The type of the matrix follows from the types declared, never from the values, so what a model
//! gets does not change its form from one request to the next. The bytes are told by
//! `protocol/src/vector.rs`.

use super::{
    context::Context,
    feature_request::{RowStretch, check_cells},
    request_cache::Resolved,
    request_rows::Rows,
    vector_columns::VectorColumns,
};
use crate::{
    error::{Error, Result},
    feature::{Scalar, Status, Timestamp, Value},
    online::ValueRef,
    store::Schema,
};
use nowthen_protocol::{
    Reply,
    vector::{VectorElement, VectorNumber, VectorShape, VectorStatus, VectorWriter},
};

/// Writes the matrix for `rows` straight into the reply.
pub(super) fn write_vector(
    ctx: &mut Context<'_>,
    schema: &Schema,
    asked: &Resolved,
    rows: &Rows<'_>,
    at: Option<Timestamp>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (request, columns) = (&asked.request, asked.vector_columns()?);
    check_cells(rows.len(), columns.count, "numbers")?;
    let shape = VectorShape { element: columns.element, rows: rows.len(), columns: columns.count };
    let length = shape.frame_bytes().ok_or_else(|| Error::refused("the vector is too large"))?;
    let (seen, now) = (ctx.seen(), ctx.now);
    let answers = at.map(|at| request.rows_at(&ctx.app.store, schema, rows, at)).transpose()?;
    let fill = |frame: &mut [u8]| {
        let writer = VectorWriter::begin(shape, frame);
        let mut writer = writer.ok_or_else(|| Error::refused("the vector is too large"))?;
        for (index, answers) in answers.iter().flatten().enumerate() {
            for (feature, answer) in answers.iter().enumerate() {
                let cells = columns.cells_behind(columns.first(index), feature);
                let numbers = answer.value.iter().flat_map(numbers);
                write_cell(&mut writer, cells, answer.status, numbers);
            }
        }
        if answers.is_some() {
            return Ok(());
        }
        let (key, mut fetched) = (&mut ctx.session.key, 0);
        for (index, row) in rows.iter().enumerate() {
            let (keyspace, first) = (ctx.keyspace, columns.first(index));
            if index == fetched {
                fetched += request.fetch(keyspace, rows.iter_from(index), key);
            }
            request.read_stretches(keyspace, row, (now, seen), key, |stretch| {
                write_stretch(&mut writer, columns, first, stretch);
            })?;
        }
        Ok(())
    };
    // Without room for it the connection is closed, as for every reply that is too long.
    reply.bulk_in_place(length, fill).unwrap_or(Ok(()))
}

/// Writes features of one view into the row that begins at `row_first`: floats as they stand, if
/// the matrix is of their type; the others one after the other.
#[inline]
fn write_stretch(
    writer: &mut VectorWriter<'_>,
    columns: &VectorColumns,
    row_first: usize,
    mut stretch: RowStretch<'_, '_, '_>,
) {
    let scalar = match columns.element {
        VectorElement::F64 => Some(Scalar::Float64),
        VectorElement::F32 => Some(Scalar::Float32),
        VectorElement::I64 => None,
    };
    if let Some((first, floats)) = scalar.and_then(|scalar| stretch.floats(scalar))
        && let Some((place, _)) = columns.cells_behind(row_first, first)
    {
        // A float takes one column, so theirs are side by side, too.
        return writer.set_floats(place, floats);
    }
    stretch.read_each(|feature, read| {
        let cells = columns.cells_behind(row_first, feature);
        // One number is the usual case, and needs no loop.
        let number = read.value.and_then(ValueRef::number);
        if let (Some(number), Some((place, _))) = (number, cells) {
            let is_written = writer.set_number(place, number);
            debug_assert!(is_written, "the type of the matrix holds every feature's");
            return;
        }
        let numbers = read.value.into_iter().flat_map(|value| value.numbers());
        write_cell(writer, cells, read.status, numbers);
    });
}

fn write_cell(
    writer: &mut VectorWriter<'_>,
    cells: Option<(usize, usize)>,
    status: Status,
    numbers: impl Iterator<Item = VectorNumber>,
) {
    let Some((first, width)) = cells else { return };
    let places = first..first.saturating_add(width);
    let status = match status {
        Status::Present => {
            for (place, number) in places.zip(numbers) {
                let is_written = writer.set_number(place, number);
                debug_assert!(is_written, "the type of the matrix holds that of every feature");
            }
            return;
        }
        Status::NullValue => VectorStatus::NullValue,
        Status::OutsideMaxAge => VectorStatus::OutsideMaxAge,
        Status::NotFound => VectorStatus::NotFound,
    };
    places.for_each(|place| writer.set_status(place, status));
}

/// The numbers of a value: one, or the elements of a list.
fn numbers(value: &Value) -> impl Iterator<Item = VectorNumber> {
    let list = match value {
        Value::List(list) => Some(list),
        _ => None,
    };
    let count = list.map_or(1, |list| list.len());
    (0..count).filter_map(move |index| match list {
        Some(list) => number(&list.get(index)?),
        None => number(value),
    })
}

fn number(value: &Value) -> Option<VectorNumber> {
    Some(match value {
        Value::Bool(value) => VectorNumber::Integer(i64::from(*value)),
        Value::Int32(value) => VectorNumber::Integer(i64::from(*value)),
        Value::Int64(value) => VectorNumber::Integer(*value),
        Value::Timestamp(value) => VectorNumber::Integer(value.us()),
        Value::Float32(value) => VectorNumber::Float32(*value),
        Value::Float64(value) => VectorNumber::Float64(*value),
        Value::String(_) | Value::Bytes(_) | Value::List(_) => return None,
    })
}
