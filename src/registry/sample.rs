//! Definitions that the tests of this room share, and the way to apply them.

use super::{
    catalog::Catalog,
    definition::{DefinitionFile, Definitions},
    parse::parse_repository,
};
use crate::feature::Timestamp;

/// One entity with a view of a source, a view that is pushed to, and a service.
pub(super) const WEATHER: &str = r#"
[entity.airport]
join_keys = { origin = "string" }

[view.airport_weather]
entity = "airport"
source = "data/*.parquet"
event_timestamp = "time_hour"
ttl = "6h"

[view.airport_weather.features]
temp = "float64"
wind_speed = { type = "float64", unit = "mph", expect = { min = 0, max = 120 } }

[view.plane_history]
entity = "airport"
features = { flights = "int64" }

[service.delay_model]
features = ["airport_weather:*"]
"#;

pub(super) fn parse(text: &str) -> Definitions {
    let file = DefinitionFile { path: "all.toml".into(), text: text.into() };
    parse_repository(&[file]).unwrap()
}

pub(super) fn apply(catalog: &Catalog, text: &str, at: i64) -> Catalog {
    catalog.apply(&parse(text), Timestamp(at)).unwrap()
}
