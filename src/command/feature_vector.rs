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
    feature_request::{FeatureRequest, RowStretch, check_cells},
    request_rows::Rows,
};
use crate::{
    error::{Error, Result},
    feature::{Feature, Scalar, Status, Timestamp, Value, ValueType},
    online::ValueRef,
    registry::Selected,
    store::Schema,
};
use nowthen_protocol::{
    Reply,
    vector::{VectorElement, VectorNumber, VectorShape, VectorStatus, VectorWriter},
};

/// Which columns of the matrix belong to which feature.
#[derive(Debug)]
struct Columns {
    element: VectorElement,
    /// Of each feature the first column, and how many it has.
    spans: Vec<(usize, usize)>,
    count: usize,
}

impl Columns {
    fn of(features: &[Selected]) -> Result<Self> {
        let mut spans = Vec::with_capacity(features.len());
        let mut count = 0_usize;
        let mut scalars = Vec::with_capacity(features.len());
        for selected in features {
            let feature = selected.view.features.get(selected.feature);
            let feature = feature.ok_or_else(|| Error::refused("no such feature"))?;
            let (scalar, width) = numbers_of(&selected.view.name, feature)?;
            scalars.push(scalar);
            spans.push((count, width));
            count = count.saturating_add(width);
        }
        Ok(Self { element: element_of(&scalars), spans, count })
    }

    /// The place of the first cell of a row.
    fn first(&self, row: usize) -> usize {
        row.saturating_mul(self.count)
    }

    /// The place of the first cell of a feature in the row that begins at `row_first`, and how
    /// many cells it has.
    #[inline]
    fn cells_behind(&self, row_first: usize, feature: usize) -> Option<(usize, usize)> {
        let (first, width) = *self.spans.get(feature)?;
        Some((row_first.checked_add(first)?, width))
    }
}

/// The type of the numbers of a feature, and how many a value has.
fn numbers_of(view: &str, feature: &Feature) -> Result<(Scalar, usize)> {
    let refuse = |why: &str| {
        let Feature { name, value_type, .. } = feature;
        Err(Error::refused(format!("feature {view}:{name} is {value_type}: {why}")))
    };
    match feature.value_type {
        ValueType::Scalar(Scalar::String | Scalar::Bytes)
        | ValueType::List { element: Scalar::String | Scalar::Bytes, .. } => {
            refuse("a vector holds numbers; ask AS VALUES or AS ARROW, or leave it out")
        }
        ValueType::List { length: None, .. } => {
            refuse("in a vector every list of a feature has the same length, such as float32[128]")
        }
        ValueType::Scalar(scalar) => Ok((scalar, 1)),
        ValueType::List { element, length: Some(length) } => {
            Ok((element, usize::try_from(length).unwrap_or(usize::MAX)))
        }
    }
}

/// The narrowest type in which no float loses a bit: floats of 32 bits only if all floats are
/// that, and integers beside them no wider than a flag.
fn element_of(scalars: &[Scalar]) -> VectorElement {
    let any = |wanted: &[Scalar]| scalars.iter().any(|scalar| wanted.contains(scalar));
    if !any(&[Scalar::Float32, Scalar::Float64]) {
        VectorElement::I64
    } else if any(&[Scalar::Float64, Scalar::Int32, Scalar::Int64, Scalar::Timestamp]) {
        VectorElement::F64
    } else {
        VectorElement::F32
    }
}

/// Writes the matrix for `rows` straight into the reply.
pub(super) fn write_vector(
    ctx: &mut Context<'_>,
    schema: &Schema,
    request: &FeatureRequest,
    rows: &Rows<'_>,
    at: Option<Timestamp>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let columns = Columns::of(&request.features)?;
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
        let (mut key, mut fetched) = (Vec::new(), 0);
        for (index, row) in rows.iter().enumerate() {
            let (keyspace, first) = (ctx.keyspace, columns.first(index));
            if index == fetched {
                fetched += request.fetch(keyspace, rows.iter().skip(index), &mut key);
            }
            request.read_stretches(keyspace, row, (now, seen), &mut key, |stretch| {
                write_stretch(&mut writer, &columns, first, stretch);
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
    columns: &Columns,
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
