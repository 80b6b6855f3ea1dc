//! One value for all rows of a file: what the name of its folder tells, or null for a column that
//! the file lacks.

use super::convert::arrow_type;
use crate::{
    error::{Error, Result},
    feature::ValueType,
};
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, UInt32Array, new_null_array, types::Int32Type,
};
use arrow_schema::{ArrowError, DataType};
use arrow_select::take::take;
use std::sync::Arc;

/// Null, as a column of one row.
pub(super) fn null_of(value_type: ValueType) -> ArrayRef {
    new_null_array(&arrow_type(value_type), 1)
}

/// So many rows of the one that `constant` has; text as codes, for it may be long.
pub(super) fn repeated(constant: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    let is_long = matches!(constant.data_type(), DataType::Utf8 | DataType::Binary);
    if is_long && constant.is_valid(0) {
        return coded(constant, rows);
    }
    if constant.is_null(0) {
        return Ok(new_null_array(constant.data_type(), rows));
    }
    take(constant, &UInt32Array::from(vec![0; rows]), None).map_err(|error| unfit(&error))
}

/// The same as codes into the one row that `constant` has: what is looked up by its value is
/// looked up once.
pub(super) fn coded(constant: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    let codes = Int32Array::from(vec![0; rows]);
    let coded = DictionaryArray::<Int32Type>::try_new(codes, Arc::clone(constant));
    Ok(Arc::new(coded.map_err(|error| unfit(&error))?))
}

/// Cannot happen: one row is there, and of a type that goes into a column.
fn unfit(error: &ArrowError) -> Error {
    Error::refused(format!("a value for all rows of a file: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StringArray, cast::AsArray};

    #[test]
    fn one_value_stands_in_every_row_in_whatever_form() {
        let number: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        assert_eq!(repeated(&number, 3).unwrap().as_primitive(), &Int64Array::from(vec![7; 3]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let texts = repeated(&text, 2).unwrap();
        let texts: Vec<_> = texts
            .as_dictionary::<Int32Type>()
            .downcast_dict::<StringArray>()
            .unwrap()
            .into_iter()
            .collect();
        assert_eq!(texts, [Some("a"); 2]);
        for value_type in ["string", "bytes", "int64", "bool", "timestamp", "float32[2]", "int64[]"]
        {
            let null = null_of(ValueType::parse(value_type).unwrap());
            let nulls = repeated(&null, 4).unwrap();
            assert_eq!((nulls.len(), nulls.logical_null_count()), (4, 4), "{value_type}");
            assert_eq!(nulls.data_type(), null.data_type());
        }
        assert_eq!(repeated(&number, 0).unwrap().len(), 0);
        let null = null_of(ValueType::parse("int64").unwrap());
        assert_eq!(coded(&null, 2).unwrap().logical_null_count(), 2);
    }
}
