//! All that is known of one name, for `FS.DESCRIBE` and the pages.
//!
//! ```text
//! airport_weather        view.airport_weather        airport_weather@2
//! whatever has the name  the view of that name       what version 2 of it meant
//! ```

use super::{
    catalog::Catalog,
    history::Applied,
    name::{Kind, Named, find},
};
use crate::{
    error::{Error, Result},
    feature::{
        Entity, Expectation, Feature, JoinKey, Service, ServiceFeature, Timestamp, View,
        duration_text,
    },
};
use serde_json::{Value as Json, json};

/// Describes the entity, view or service that `name` names.
pub fn describe(catalog: &Catalog, name: &str) -> Result<Json> {
    let found = find(catalog, name)?;
    let refuse = |kind: Kind, version: u32| {
        let kind = kind.name();
        Error::refused(format!("{kind} {} has no version {version}", found.name))
    };
    match (found.kind, found.version) {
        (Kind::Entity, None) => {
            let entity = catalog.entity(&found.name);
            let entity = entity.ok_or_else(|| catalog.unknown_entity(&found.name))?;
            Ok(entity_json(catalog, entity))
        }
        (Kind::Entity, Some(_)) => {
            Err(Error::refused(format!("entity {} has no versions", found.name)))
        }
        (Kind::View, version) => {
            let version = version.unwrap_or_else(|| newest_version(catalog, &found));
            let view = catalog.view_version(&found.name, version);
            view.map(|view| view_json(catalog, view)).ok_or_else(|| refuse(Kind::View, version))
        }
        (Kind::Service, None) => {
            let service = catalog.service(&found.name);
            let service = service.ok_or_else(|| catalog.unknown_service(&found.name))?;
            Ok(service_json(service))
        }
        (Kind::Service, Some(version)) => {
            let service = catalog.service_version(&found.name, version);
            service.map(|s| service_json(s)).ok_or_else(|| refuse(Kind::Service, version))
        }
    }
}

fn newest_version(catalog: &Catalog, found: &Named) -> u32 {
    catalog.newest_view(&found.name).map_or(0, |view| view.version)
}

fn entity_json(catalog: &Catalog, entity: &Entity) -> Json {
    let join_key = |key: &JoinKey| json!({ "name": key.name, "type": key.key_type.name() });
    let views = catalog.views_of(entity.id).iter().map(|view| view.name.as_str());
    json!({
        "kind": Kind::Entity.name(),
        "name": entity.name,
        "join_keys": entity.join_keys.iter().map(join_key).collect::<Vec<_>>(),
        "owner": entity.owner,
        "description": entity.description,
        "views": views.collect::<Vec<_>>(),
    })
}

fn view_json(catalog: &Catalog, view: &View) -> Json {
    let services = catalog.services().filter(|service| {
        let mut features = service.features.iter();
        features.any(|pin| pin.view == view.name && pin.view_version == view.version)
    });
    json!({
        "kind": Kind::View.name(),
        "name": view.name,
        "version": view.version,
        "generation": view.generation,
        "hash": view.hash,
        "state": catalog.view_state(view),
        "entity": catalog.entity_by_id(view.entity).map(|entity| entity.name.as_str()),
        "source": view.source,
        "event_timestamp": view.event_timestamp,
        "created_timestamp": view.created_timestamp,
        "ttl": view.ttl.map(|ttl| ttl.text()),
        "retention": view.retention_us.map(duration_text),
        "schedule": view.schedule_us.map(duration_text),
        "owner": view.owner,
        "description": view.description,
        "features": view.features.iter().map(feature_json).collect::<Vec<_>>(),
        "services": services.map(|service| service.name.as_str()).collect::<Vec<_>>(),
        "history": catalog.view_history(&view.name).map(entry_json).collect::<Vec<_>>(),
    })
}

fn feature_json(feature: &Feature) -> Json {
    json!({
        "name": feature.name,
        "type": feature.value_type.to_string(),
        "unit": feature.unit,
        "description": feature.description,
        "default": feature.default.as_ref().map(|value| value.to_text()),
        "expect": feature.expect.as_ref().map(expect_json),
    })
}

fn expect_json(expect: &Expectation) -> Json {
    json!({ "min": expect.min, "max": expect.max, "max_null_rate": expect.max_null_rate })
}

fn entry_json(entry: &Applied<View>) -> Json {
    json!({
        "version": entry.definition.version,
        "generation": entry.definition.generation,
        "hash": entry.definition.hash,
        "applied_at": entry.applied_at.to_iso(),
        "dropped_at": entry.dropped_at.map(Timestamp::to_iso),
    })
}

fn service_json(service: &Service) -> Json {
    let feature = |pin: &ServiceFeature| {
        let ServiceFeature { view, view_version, feature } = pin;
        json!({ "view": view, "version": view_version, "feature": feature })
    };
    json!({
        "kind": Kind::Service.name(),
        "name": service.name,
        "version": service.version,
        "hash": service.hash,
        "owner": service.owner,
        "description": service.description,
        "features": service.features.iter().map(feature).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample::{WEATHER, apply};

    fn check(name: &str, pointer: &str, expected: &str) {
        let changed = WEATHER.replace("\"6h\"", "\"12h\"");
        let catalog = apply(&apply(&Catalog::empty(), WEATHER, 1), &changed, 2);
        let found = match describe(&catalog, name) {
            Ok(json) => json.pointer(pointer).map(ToString::to_string).unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{name} {pointer}");
    }

    #[test]
    fn every_kind_of_name_is_described() {
        check("airport", "/join_keys/0/type", "\"string\"");
        check("airport_weather", "/version", "2");
        check("airport_weather", "/ttl", "\"12h\"");
        check("airport_weather", "/services/0", "\"delay_model\"");
        check("airport_weather", "/history/1/applied_at", "\"1970-01-01T00:00:00.000002Z\"");
        check("airport_weather@1", "/ttl", "\"6h\"");
        check("airport_weather@1", "/state", "\"replaced\"");
        check("view.airport_weather", "/state", "\"serving\"");
        check("delay_model", "/features/0/version", "2");
        check("delay_model@1", "/features/0/version", "1");
    }

    #[test]
    fn an_unknown_name_or_version_is_refused() {
        check(
            "airport_wether",
            "",
            "unknown name 'airport_wether'; did you mean 'airport_weather'?",
        );
        check("view.airport", "", "unknown view 'airport'");
        check("airport_weather@3", "", "view airport_weather has no version 3");
        check("airport_weather@x", "", "expected a version number after '@', got 'x'");
        check("airport@1", "", "entity airport has no versions");
        check("delay_model@9", "", "service delay_model has no version 9");
    }
}
