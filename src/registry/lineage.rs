//! Where features come from and who reads them: source -> view -> service.
//!
//! ```text
//! data/*.parquet ─┬─> airport_weather@1 (serving) ─┬─> delay_model@3    while version 2 fills
//!                 └─> airport_weather@2 (filling) ─┘
//! ```
//! A name shows what holds now; a version of one shows that version, and of a view every version of
//! a service that was ever pinned to it.
//!
//! Not here: which run fed a view (`store/` keeps the runs).

use super::{
    catalog::Catalog,
    name::{Kind, Named, find},
    select::in_view,
};
use crate::{
    error::{Error, Result, echo},
    feature::{Service, View},
};
use std::{collections::BTreeMap, sync::Arc};

/// One step that data takes: from the source of a view, or from its clients, into the view; or from
/// the view to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The definition of the view.
    pub view: Arc<View>,
    /// The service that the step leads to; `None` if it leads to the view.
    pub service: Option<Arc<Service>>,
    /// The names of the features that take it.
    pub features: Vec<String>,
}

/// Every step that leads to, from or through what `name` names: an entity, a view, a service, or a
/// feature as `view:feature`. Steps to views come first; each part is sorted by name and version.
pub fn lineage(catalog: &Catalog, name: &str) -> Result<Vec<Step>> {
    let (found, feature) = find_or_feature(catalog, name)?;
    let is_meant = |view: &View| match found.kind {
        Kind::View => {
            view.name == found.name && found.version.is_none_or(|version| version == view.version)
        }
        Kind::Service => true,
        Kind::Entity => catalog.entity(&found.name).is_some_and(|e| e.id == view.entity),
    };
    let mut steps = Steps { steps: BTreeMap::new(), only: feature };
    for view in views_of(catalog, &found)?.into_iter().filter(|view| is_meant(view)) {
        view.features.iter().for_each(|feature| steps.add(view, None, &feature.name));
    }
    for (service, is_current) in services_of(catalog, &found)? {
        for (view, feature) in reads(catalog, service, is_current) {
            if is_meant(view) {
                steps.add(view, None, feature);
                steps.add(view, Some(service), feature);
            }
        }
    }
    Ok(steps.steps.into_values().collect())
}

/// What has this name, and which feature of it is meant, if it is `view:feature`.
fn find_or_feature<'n>(catalog: &Catalog, name: &'n str) -> Result<(Named, Option<&'n str>)> {
    let Some((view, feature)) = name.split_once(':') else {
        return Ok((find(catalog, name)?, None));
    };
    let found = find(catalog, view)?;
    if found.kind != Kind::View {
        return Err(catalog.unknown_view(view));
    }
    let definition = match found.version {
        Some(version) => view_version(catalog, &found, version)?,
        None => catalog.newest_view(&found.name).ok_or_else(|| catalog.unknown_view(view))?,
    };
    in_view(definition, feature)?;
    Ok((found, Some(feature)))
}

fn view_version<'c>(catalog: &'c Catalog, found: &Named, version: u32) -> Result<&'c Arc<View>> {
    let view = catalog.view_version(&found.name, version);
    view.ok_or_else(|| no_version(found, version))
}

fn no_version(found: &Named, version: u32) -> Error {
    let (kind, name) = (found.kind.name(), echo(found.name.as_bytes()));
    Error::refused(format!("{kind} {name} has no version {version}"))
}

/// The definitions of views that may be meant: those that hold now, or the version asked for.
fn views_of<'c>(catalog: &'c Catalog, found: &Named) -> Result<Vec<&'c Arc<View>>> {
    match (found.kind, found.version) {
        (Kind::View, Some(version)) => Ok(vec![view_version(catalog, found, version)?]),
        // Its sources are those of the views that it reads.
        (Kind::Service, _) => Ok(Vec::new()),
        (Kind::Entity, Some(version)) => Err(no_version(found, version)),
        (Kind::View | Kind::Entity, None) => {
            let names = catalog.view_ids.keys();
            let both = names.flat_map(|name| [catalog.view(name), catalog.newest_view(name)]);
            Ok(both.flatten().collect())
        }
    }
}

/// The services that may be meant, and whether what they read now is asked for.
fn services_of<'c>(catalog: &'c Catalog, found: &Named) -> Result<Vec<(&'c Arc<Service>, bool)>> {
    match (found.kind, found.version) {
        (Kind::Service, Some(version)) => {
            let service = catalog.service_version(&found.name, version);
            Ok(vec![(service.ok_or_else(|| no_version(found, version))?, false)])
        }
        (Kind::Service, None) => {
            Ok(catalog.service(&found.name).map(|service| (service, true)).into_iter().collect())
        }
        (Kind::View, Some(_)) => {
            let all = catalog.services.values().flat_map(|history| history.oldest_first());
            Ok(all.map(|entry| (&entry.definition, false)).collect())
        }
        (Kind::View | Kind::Entity, _) => {
            Ok(catalog.services().map(|service| (service, true)).collect())
        }
    }
}

/// What a service reads: each feature with the definition it is pinned to, and, where that one is
/// still being filled, with the one that answers meanwhile.
fn reads<'c>(
    catalog: &'c Catalog,
    service: &'c Service,
    is_current: bool,
) -> impl Iterator<Item = (&'c Arc<View>, &'c str)> {
    service.features.iter().flat_map(move |pin| {
        let pinned = catalog.view_version(&pin.view, pin.view_version);
        let now = catalog.service_feature(&pin.view, pin.view_version, &pin.feature);
        let now = now.map(|found| found.view).filter(|_| is_current);
        [pinned, now].into_iter().flatten().map(|view| (view, pin.feature.as_str()))
    })
}

/// Where a step leads to, then where from: services and views by name and version.
type StepOrder = (Option<(String, u32)>, String, u32);

/// Steps in their order: to views before those to services.
struct Steps<'n> {
    steps: BTreeMap<StepOrder, Step>,
    /// The one feature that is asked for.
    only: Option<&'n str>,
}

impl Steps<'_> {
    fn add(&mut self, view: &Arc<View>, service: Option<&Arc<Service>>, feature: &str) {
        if self.only.is_some_and(|only| only != feature) {
            return;
        }
        let to = service.map(|service| (service.name.clone(), service.version));
        let step = self.steps.entry((to, view.name.clone(), view.version));
        let step = step.or_insert_with(|| Step {
            view: Arc::clone(view),
            service: service.map(Arc::clone),
            features: Vec::new(),
        });
        if !step.features.iter().any(|known| known == feature) {
            step.features.push(feature.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample::{WEATHER, apply};

    fn told(catalog: &Catalog, name: &str) -> Vec<String> {
        let steps = lineage(catalog, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let step = |step: &Step| {
            let view = format!("{}@{}", step.view.name, step.view.version);
            let (from, to) = match &step.service {
                None => (step.view.source.clone().unwrap_or_else(|| "pushed".into()), view),
                Some(service) => (view, format!("{}@{}", service.name, service.version)),
            };
            let state = catalog.view_state(&step.view);
            format!("{from} -> {to} ({state}): {}", step.features.join(" "))
        };
        steps.iter().map(step).collect()
    }

    const SOURCE: &str = "data/*.parquet -> airport_weather@1 (serving): temp wind_speed";
    const READ: &str = "airport_weather@1 -> delay_model@1 (serving): temp wind_speed";
    const PUSHED: &str = "pushed -> plane_history@1 (serving): flights";

    #[test]
    fn a_name_shows_what_leads_to_it_and_what_hangs_on_it() {
        let catalog = apply(&Catalog::empty(), WEATHER, 1);
        for (name, expected) in [
            ("airport_weather", &[SOURCE, READ][..]),
            ("airport_weather@1", &[SOURCE, READ]),
            ("delay_model", &[SOURCE, READ]),
            ("plane_history", &[PUSHED]),
            ("airport", &[SOURCE, PUSHED, READ]),
            (
                "view.airport_weather:temp",
                &[
                    "data/*.parquet -> airport_weather@1 (serving): temp",
                    "airport_weather@1 -> delay_model@1 (serving): temp",
                ],
            ),
        ] {
            assert_eq!(told(&catalog, name), expected, "{name}");
        }
    }

    #[test]
    fn a_version_that_fills_stands_beside_the_one_that_answers_meanwhile() {
        let catalog = apply(&Catalog::empty(), WEATHER, 1);
        let changed = WEATHER.replace("data/*", "new/*");
        let filling = apply(&catalog, &changed, 2);
        let new = |state| format!("new/*.parquet -> airport_weather@2 ({state}): temp wind_speed");
        let reads = |version, state| {
            format!("airport_weather@{version} -> delay_model@2 ({state}): temp wind_speed")
        };
        let all = [SOURCE.into(), new("filling"), reads(1, "serving"), reads(2, "filling")];
        assert_eq!(told(&filling, "airport_weather"), all);
        assert_eq!(told(&filling, "delay_model"), all);
        let switched = filling.switch("airport_weather", 2);
        let all = [new("serving"), reads(2, "serving")];
        assert_eq!(told(&switched, "airport_weather"), all);

        let old = [SOURCE, READ].map(|step| step.replace("serving", "replaced"));
        assert_eq!(told(&switched, "airport_weather@1"), old);
        assert_eq!(told(&switched, "delay_model@1"), old);
        let dropped = apply(&switched, "[entity.airport]\njoin_keys = { origin = \"string\" }", 3);
        let old = old.map(|step| step.replace("replaced", "dropped"));
        assert_eq!(told(&dropped, "delay_model@1"), old);
        assert_eq!(told(&dropped, "airport"), [""; 0]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let catalog = apply(&Catalog::empty(), WEATHER, 1);
        for (name, why) in [
            ("airport_wether", "unknown name 'airport_wether'; did you mean 'airport_weather'?"),
            ("airport_weather:tmp", "view airport_weather has no feature 'tmp'; did you mean"),
            ("airport_weather@2", "view 'airport_weather' has no version 2"),
            ("airport_weather@2:temp", "view 'airport_weather' has no version 2"),
            ("delay_model@7", "service 'delay_model' has no version 7"),
            ("delay_model:temp", "unknown view 'delay_model'"),
            ("airport@1", "entity 'airport' has no version 1"),
        ] {
            let told = lineage(&catalog, name).unwrap_err().to_string();
            assert!(told.starts_with(why), "{name}: {told}");
        }
    }
}
