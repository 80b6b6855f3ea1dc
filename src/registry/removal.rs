//! The definitions that stay when one of them is dropped.
//!
//! A drop is an apply of what stays, so it is numbered, logged, remembered and taken back like any
//! other. What others are built upon stays until they are gone: a drop never drops two.

use super::{
    catalog::Catalog,
    definition::{DefinitionFile, Definitions},
    name::Kind,
    parse::parse_repository,
};
use crate::error::{Error, Result, echo};

/// So many names of users a refusal lists.
const USERS_LISTED: usize = 10;

/// All that is defined now but the `kind` of that name; refused where something else uses it.
pub fn definitions_without(catalog: &Catalog, kind: &str, name: &str) -> Result<Definitions> {
    let known = Kind::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(kind));
    let Some(kind) = known else {
        let got = echo(kind.as_bytes());
        return Err(Error::refused(format!("expected entity, view or service, got {got}")));
    };
    let mut definitions = defined_now(catalog)?;
    match kind {
        Kind::Entity => {
            let of_it = definitions.views.iter().filter(|view| view.entity == name);
            refuse_used(kind, name, "views", of_it.map(|view| view.name.as_str()))?;
            remove(&mut definitions.entities, |entity| entity.name == name)
                .ok_or_else(|| catalog.unknown_entity(name))?;
        }
        Kind::View => {
            let readers = definitions
                .services
                .iter()
                .filter(|service| service.features.iter().any(|selection| selection.view == name));
            refuse_used(kind, name, "services", readers.map(|service| service.name.as_str()))?;
            remove(&mut definitions.views, |view| view.name == name)
                .ok_or_else(|| catalog.unknown_view(name))?;
        }
        Kind::Service => {
            remove(&mut definitions.services, |service| service.name == name)
                .ok_or_else(|| catalog.unknown_service(name))?;
        }
    }
    Ok(definitions)
}

/// What was applied last, whether all of it serves already or not.
fn defined_now(catalog: &Catalog) -> Result<Definitions> {
    let text = catalog.applied().last().map_or_else(String::new, |(_, text)| text.to_string());
    parse_repository(&[DefinitionFile { path: "what was applied last".into(), text }])
}

/// Takes out the one that `is_it`; `None` if there is none.
fn remove<T>(items: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> Option<T> {
    let place = items.iter().position(is_it)?;
    Some(items.remove(place))
}

fn refuse_used<'a>(
    kind: Kind,
    name: &str,
    users: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut listed = names.iter().take(USERS_LISTED).copied().collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(USERS_LISTED).filter(|more| *more > 0) {
        listed.push_str(&format!(" and {more} more"));
    }
    let kind = kind.name();
    Err(Error::refused(format!("{kind} {name} is used by {users}: {listed}; drop these first")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feature::Timestamp,
        registry::{
            plan,
            sample::{WEATHER, apply},
        },
    };

    /// The plan of dropping, or why it is refused.
    fn told(catalog: &Catalog, kind: &str, name: &str) -> String {
        match definitions_without(catalog, kind, name) {
            Ok(left) => plan(catalog, &left).unwrap().to_string(),
            Err(error) => error.to_string(),
        }
    }

    fn dropped(catalog: &Catalog, kind: &str, name: &str) -> Catalog {
        let left = definitions_without(catalog, kind, name).unwrap();
        catalog.apply(&left, Timestamp(9)).unwrap()
    }

    #[test]
    fn what_others_use_stays_and_they_are_named() {
        let catalog = apply(&Catalog::empty(), WEATHER, 1);
        for (kind, name, expected) in [
            (
                "view",
                "airport_weather",
                "view airport_weather is used by services: delay_model; drop these first",
            ),
            (
                "ENTITY",
                "airport",
                "entity airport is used by views: airport_weather, plane_history; drop these first",
            ),
            ("View", "plane_history", "- view plane_history\n0 to add, 0 to change, 1 to remove"),
            ("service", "delay_model", "- service delay_model\n0 to add, 0 to change, 1 to remove"),
            (
                "service",
                "delay_modle",
                "unknown service 'delay_modle'; did you mean 'delay_model'?",
            ),
            ("view", "delay_model", "unknown view 'delay_model'"),
            ("entity", "airports", "unknown entity 'airports'; did you mean 'airport'?"),
            ("feature", "temp", "expected entity, view or service, got 'feature'"),
        ] {
            assert_eq!(told(&catalog, kind, name), expected, "{kind} {name}");
        }
        assert_eq!(told(&Catalog::empty(), "view", "x"), "unknown view 'x'");
    }

    #[test]
    fn many_users_are_counted_rather_than_listed() {
        let views = (0..13)
            .map(|i| format!("[view.v{i:02}]\nentity = \"e\"\nfeatures = {{ f = \"bool\" }}\n"));
        let text =
            format!("[entity.e]\njoin_keys = {{ k = \"int64\" }}\n{}", views.collect::<String>());
        let why = told(&apply(&Catalog::empty(), &text, 1), "entity", "e");
        assert!(why.ends_with("v08, v09 and 3 more; drop these first"), "{why}");
    }

    /// One after the other, from the top, everything can be dropped; and applied again it is what
    /// it was.
    #[test]
    fn what_is_dropped_comes_back_as_it_was_defined() {
        let first = apply(&Catalog::empty(), WEATHER, 1);
        let mut catalog = first.clone();
        for (kind, name) in [
            ("service", "delay_model"),
            ("view", "airport_weather"),
            ("view", "plane_history"),
            ("entity", "airport"),
        ] {
            catalog = dropped(&catalog, kind, name);
        }
        assert_eq!(catalog.catalog_version(), 5);
        assert!(catalog.entities().next().is_none() && catalog.views().next().is_none());
        let again = apply(&catalog, WEATHER, 20);
        assert_eq!(again.view("airport_weather"), first.view("airport_weather"));
        assert_eq!(again.service("delay_model"), first.service("delay_model"));
        let other = apply(&catalog, &WEATHER.replace("\"6h\"", "\"7h\""), 20);
        assert_eq!(other.view("airport_weather").unwrap().version, 2);
        assert_eq!(other.view_at("airport_weather", Timestamp(15)), None);
    }
}
