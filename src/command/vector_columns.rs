//! Which columns of the matrix of FS.GET AS VECTOR belong to which feature, and their type.

use crate::{
    error::{Error, Result},
    feature::{Feature, Scalar, ValueType},
    registry::Selected,
};
use nowthen_protocol::vector::VectorElement;

/// Which columns of the matrix belong to which feature.
#[derive(Debug)]
pub(super) struct VectorColumns {
    pub(super) element: VectorElement,
    /// Of each feature the first column, and how many it has.
    pub(super) spans: Vec<(usize, usize)>,
    pub(super) count: usize,
}

impl VectorColumns {
    pub(super) fn of(features: &[Selected]) -> Result<Self> {
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
    pub(super) fn first(&self, row: usize) -> usize {
        row.saturating_mul(self.count)
    }

    /// The place of the first cell of a feature in the row that begins at `row_first`, and how
    /// many cells it has.
    #[inline]
    pub(super) fn cells_behind(&self, row_first: usize, feature: usize) -> Option<(usize, usize)> {
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
