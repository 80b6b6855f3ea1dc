//! The names of feature columns in a training set.

use crate::error::{Error, Result};
use arrow_schema::Schema;
use std::collections::HashSet;

/// Names for the features of several views: `feature`, or `view__feature` where `full_names` says
/// so or where two of them share the short name. One list per view, in the order given.
pub fn output_names(views: &[(&str, Vec<&str>)], full_names: bool) -> Vec<Vec<String>> {
    let all: Vec<&str> = views.iter().flat_map(|(_, features)| features).copied().collect();
    let name = |view: &str, feature: &str| {
        let shared = all.iter().filter(|other| **other == feature).count() > 1;
        if full_names || shared { format!("{view}__{feature}") } else { feature.to_owned() }
    };
    views
        .iter()
        .map(|(view, features)| features.iter().map(|feature| name(view, feature)).collect())
        .collect()
}

/// Refuses names that the spine has already, or that occur twice.
pub(super) fn refuse_clashes<'a>(
    spine: &Schema,
    names: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let mut taken = HashSet::new();
    for name in names {
        if spine.field_with_name(name).is_ok() {
            return Err(Error::refused(format!(
                "the spine has a column '{name}' already: ask for full names (view__feature), or \
                 rename the spine's column"
            )));
        }
        if !taken.insert(name) {
            return Err(Error::refused(format!(
                "two features would be column '{name}': ask for full names (view__feature), or \
                 name each feature once"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{DataType, Field};

    #[test]
    fn a_short_name_serves_unless_two_views_share_it() {
        let views = [("weather", vec!["temp", "wind"]), ("engine", vec!["temp"])];
        assert_eq!(
            output_names(&views, false),
            [vec!["weather__temp", "wind"], vec!["engine__temp"]]
        );
        assert_eq!(output_names(&views[..1], true), [["weather__temp", "weather__wind"]]);
    }

    #[test]
    fn a_name_that_the_spine_has_or_that_comes_twice_is_refused() {
        let spine = Schema::new(vec![Field::new("temp", DataType::Int64, true)]);
        let why = |names: &[&'static str]| {
            refuse_clashes(&spine, names.iter().copied()).unwrap_err().to_string()
        };
        assert!(why(&["temp"]).contains("the spine has a column 'temp' already"));
        assert!(why(&["a", "a"]).contains("two features would be column 'a'"));
        assert!(refuse_clashes(&spine, ["a", "b"].into_iter()).is_ok());
    }
}
