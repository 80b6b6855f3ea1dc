//! What becomes of a catalog when definitions change: numbers, slots, what serves, what is planned.

use super::{
    catalog::Catalog,
    plan::plan,
    sample::{WEATHER, apply, parse},
};
use crate::feature::{EntityId, Timestamp, ViewId};

const WAS_6H: (&str, &str) = ("\"6h\"", "\"12h\"");
const TEMP_IS_FLOAT32: (&str, &str) = ("temp = \"float64\"", "temp = \"float32\"");
const WITH_GUST: (&str, &str) = ("temp = \"float64\"", "gust = \"float64\"\ntemp = \"float64\"");
const WITHOUT_TEMP: (&str, &str) = ("temp = \"float64\"\n", "");
const OTHER_SOURCE: (&str, &str) = ("data/*", "other/*");
const SEATS_PUSHED: (&str, &str) = ("flights = \"int64\"", "flights = \"string\"");

fn weather(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(WEATHER.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// `view@version/generation` of what serves, then of what is being filled.
fn state(catalog: &Catalog, view: &str) -> String {
    let text = |view: Option<&std::sync::Arc<crate::feature::View>>| {
        view.map_or("-".into(), |view| format!("{}/{}", view.version, view.generation))
    };
    format!("{} {}", text(catalog.view(view)), text(catalog.filling(view)))
}

/// After `steps` of changes to the weather, or a switch, the view is in the state behind each.
fn check(view: &str, steps: &[(&[(&str, &str)], &str)]) {
    let mut catalog = apply(&Catalog::empty(), WEATHER, 0);
    for (at, (changes, expected)) in steps.iter().enumerate() {
        catalog = apply(&catalog, &weather(changes), at as i64 + 1);
        assert_eq!(state(&catalog, view), *expected, "step {at}");
    }
}

#[test]
fn a_change_that_keeps_the_meaning_serves_at_once() {
    check(
        "airport_weather",
        &[
            (&[], "1/1 -"),
            (&[WAS_6H], "2/1 -"),
            (&[WITH_GUST], "3/1 -"),
            (&[WITHOUT_TEMP], "4/1 -"),
            (&[WITHOUT_TEMP], "4/1 -"),
        ],
    );
}

#[test]
fn a_change_of_meaning_is_filled_beside_what_serves() {
    check(
        "airport_weather",
        &[
            (&[TEMP_IS_FLOAT32], "1/1 2/2"),
            (&[TEMP_IS_FLOAT32, WAS_6H], "1/1 3/2"),
            (&[OTHER_SOURCE], "1/1 4/3"),
        ],
    );
}

#[test]
fn a_view_that_is_only_pushed_to_serves_at_once() {
    check("plane_history", &[(&[SEATS_PUSHED], "2/2 -"), (&[], "3/3 -")]);
}

#[test]
fn a_switch_makes_the_newest_of_a_generation_serve_and_never_goes_back() {
    let first = apply(&Catalog::empty(), WEATHER, 0);
    let second = apply(&first, &weather(&[TEMP_IS_FLOAT32]), 1);
    let third = apply(&second, &weather(&[TEMP_IS_FLOAT32, WAS_6H]), 2);
    let view = "airport_weather";
    let switched = third.switch(view, 2);
    assert_eq!(state(&switched, view), "3/2 -");
    assert_eq!(switched.revision(), third.revision() + 1);
    for (name, generation) in [(view, 1), (view, 2), (view, 0), (view, 9), ("nothing", 1)] {
        let again = switched.switch(name, generation);
        assert_eq!(state(&again, view), "3/2 -");
        assert_eq!(again.revision(), switched.revision());
    }
}

#[test]
fn a_late_switch_to_a_generation_in_between_keeps_filling_the_newest() {
    let catalog = apply(&Catalog::empty(), WEATHER, 0);
    let catalog = apply(&catalog, &weather(&[TEMP_IS_FLOAT32]), 1);
    let catalog = apply(&catalog, &weather(&[OTHER_SOURCE]), 2);
    assert_eq!(state(&catalog.switch("airport_weather", 2), "airport_weather"), "2/2 3/3");
    assert_eq!(state(&catalog.switch("airport_weather", 3), "airport_weather"), "3/3 -");
}

#[test]
fn a_feature_that_comes_back_gets_its_old_slot() {
    let slot = |catalog: &Catalog, name: &str| {
        let view = catalog.view("airport_weather").unwrap();
        view.feature(name).map(|feature| feature.slot)
    };
    let first = apply(&Catalog::empty(), WEATHER, 0);
    let without = apply(&first, &weather(&[WITHOUT_TEMP]), 1);
    let gust = apply(&without, &weather(&[("temp = \"float64\"", "gust = \"float64\"")]), 2);
    let back = apply(&gust, &weather(&[WITH_GUST]), 3);
    let slots = ["temp", "wind_speed", "gust"];
    assert_eq!(slots.map(|name| slot(&first, name)), [Some(0), Some(1), None]);
    assert_eq!(slots.map(|name| slot(&gust, name)), [None, Some(1), Some(2)]);
    assert_eq!(slots.map(|name| slot(&back, name)), [Some(0), Some(1), Some(2)]);
    let names = back.slots(ViewId(0), 1).iter().map(|slot| slot.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), slots);
    assert_eq!(back.slots(ViewId(0), 2), []);
    let other_type = ("temp = \"float64\"", "temp = \"int64\"");
    let retyped = apply(&without, &weather(&[other_type]), 4);
    assert_eq!(slot(&retyped, "temp"), Some(2), "another type is another slot");
}

#[test]
fn a_dropped_view_is_remembered_and_keeps_its_number() {
    let first = apply(&Catalog::empty(), WEATHER, 10);
    let dropped = apply(&first, "[entity.airport]\njoin_keys = { origin = \"string\" }", 20);
    assert_eq!(state(&dropped, "airport_weather"), "- -");
    assert!(dropped.views_of(EntityId(0)).is_empty() && dropped.service("delay_model").is_none());
    let back = apply(&dropped, WEATHER, 30);
    assert_eq!(state(&back, "airport_weather"), "1/1 -");
    assert_eq!(back.view("airport_weather").unwrap().id, ViewId(0));
    let at = |at| back.view_at("airport_weather", Timestamp(at)).map(|view| view.version);
    assert_eq!([9, 10, 19, 20, 29, 30].map(at), [None, Some(1), Some(1), None, None, Some(1)]);
    assert_eq!(dropped.view_version("airport_weather", 1).unwrap().version, 1);
}

#[test]
fn join_keys_stay_once_a_view_was_applied() {
    let entity = "[entity.airport]\njoin_keys = { origin = \"int64\" }";
    let with_views = apply(&Catalog::empty(), WEATHER, 1);
    let why = with_views.apply(&parse(entity), Timestamp(2)).unwrap_err().to_string();
    assert_eq!(
        why,
        "entity.airport.join_keys: expected { origin = \"string\" }, as they were when a view of \
         it was first applied, got { origin = \"int64\" }; give the changed entity another name"
    );
    let alone = apply(&Catalog::empty(), "[entity.airport]\njoin_keys = { a = \"bytes\" }", 1);
    assert_eq!(apply(&alone, entity, 2).entity("airport").unwrap().join_keys[0].name, "origin");
}

#[test]
fn names_are_found_as_the_protocol_writes_them() {
    let both = weather(&[("flights = \"int64\"", "flights = \"int64\", temp = \"int32\"")]);
    let catalog = apply(&apply(&Catalog::empty(), WEATHER, 1), &both, 2);
    for (key, expected) in
        [("airport:JFK", true), ("airport:", true), ("airport", false), ("plane:1", false)]
    {
        assert_eq!(catalog.entity_of_key(key.as_bytes()).is_some(), expected, "{key}");
    }
    for (field, expected) in [
        ("wind_speed", "airport_weather@1 1"),
        ("airport_weather:temp", "airport_weather@1 0"),
        ("plane_history:temp", "plane_history@2 1"),
        ("plane_history@1:flights", "plane_history@1 0"),
        ("plane_history@1:temp", "-"),
        ("plane_history@7:flights", "-"),
        ("temp", "-"),
        ("nothing", "-"),
        (":", "-"),
        ("@:", "-"),
    ] {
        let found = catalog.resolve_feature(EntityId(0), field.as_bytes());
        let found = found.map(|f| format!("{}@{} {}", f.view.name, f.view.version, f.index));
        assert_eq!(found.unwrap_or("-".into()), expected, "{field}");
    }
    for (error, expected) in [
        (
            catalog.unknown_feature(EntityId(0), b"wind_sped"),
            "entity airport has no feature 'wind_sped'; did you mean 'wind_speed'?",
        ),
        (
            catalog.unknown_feature(EntityId(0), b"temp"),
            "feature 'temp' is in several views: expected 'airport_weather:temp' or \
          'plane_history:temp'",
        ),
        (catalog.unknown_view("plane"), "unknown view 'plane'"),
        (catalog.unknown_service("delay"), "unknown service 'delay'"),
        (catalog.unknown_entity("airprot"), "unknown entity 'airprot'; did you mean 'airport'?"),
    ] {
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_service_reads_what_serves_until_its_pinned_version_does() {
    let first = apply(&Catalog::empty(), WEATHER, 1);
    let second = apply(&first, &weather(&[OTHER_SOURCE]), 2);
    let pinned = &second.service("delay_model").unwrap().features[0];
    assert_eq!((pinned.view_version, second.service("delay_model").unwrap().version), (2, 2));
    let read = |catalog: &Catalog| {
        let found = catalog.service_feature("airport_weather", 2, "temp").unwrap();
        found.view.version
    };
    assert_eq!(read(&second), 1);
    assert_eq!(read(&second.switch("airport_weather", 2)), 2);
    assert_eq!(second.service_version("delay_model", 1).unwrap().features[0].view_version, 1);
}

#[test]
fn a_view_that_moves_to_another_entity_is_found_there_once_it_is_filled() {
    let plane = "[entity.plane]\njoin_keys = { tail = \"string\" }\n[view.w]\nentity = \"plane\"\n\
                 source = \"s\"\nevent_timestamp = \"e\"\nfeatures = { t = \"bool\" }";
    let moved = plane.replace("plane", "jet");
    let catalog = apply(&apply(&Catalog::empty(), plane, 1), &moved, 2);
    assert_eq!(state(&catalog, "w"), "1/1 2/2");
    let views = |catalog: &Catalog| catalog.views_of(catalog.entity("jet").unwrap().id).len();
    assert_eq!((views(&catalog), views(&catalog.switch("w", 2))), (0, 1));
}

#[test]
fn applying_what_holds_changes_nothing_and_time_never_goes_back() {
    let first = apply(&Catalog::empty(), WEATHER, 10);
    assert_eq!(apply(&first, WEATHER, 20).revision(), first.revision());
    let second = apply(&first, &weather(&[WAS_6H]), 5);
    assert_eq!(second.applied().iter().map(|(at, _)| at.us()).collect::<Vec<_>>(), [10, 10]);
    assert_eq!(second.catalog_version(), 2);
}

fn check_plan(before: &str, after: &str, expected: &str) {
    let catalog = apply(&Catalog::empty(), before, 1);
    assert_eq!(plan(&catalog, &parse(after)).unwrap().to_string(), expected);
}

#[test]
fn a_plan_says_what_is_added_changed_and_removed() {
    check_plan(WEATHER, WEATHER, "nothing to change");
    check_plan(
        "",
        WEATHER,
        "+ entity airport (new): join keys origin string\n\
         + view airport_weather (new): entity airport, 2 features, ttl 6h\n\
         + view plane_history (new): entity airport, 1 feature, no ttl\n\
         + service delay_model (new): 2 features\n\
         4 to add, 0 to change, 0 to remove",
    );
    check_plan(
        WEATHER,
        "",
        "- entity airport\n- view airport_weather\n- view plane_history\n- service delay_model\n\
         0 to add, 0 to change, 4 to remove",
    );
    check_plan(
        WEATHER,
        &weather(&[WAS_6H, ("flights = \"int64\"", "flights = \"int32\"")]),
        "~ view airport_weather v1 -> v2: ttl 6h -> 12h (keeps data)\n\
         ~ view plane_history v1 -> v2 (new generation: starts empty)\n    \
             ~ feature flights: int64 -> int32\n\
         ~ service delay_model v1 -> v2: pins airport_weather@2\n\
         0 to add, 3 to change, 0 to remove",
    );
    check_plan(
        WEATHER,
        &weather(&[("temp = \"float64\"", "gust = \"bool\""), ("mph", "kmh"), OTHER_SOURCE]),
        "~ view airport_weather v1 -> v2: source data/*.parquet -> other/*.parquet (new \
         generation: filled beside the old one, then switched)\n    \
             + feature gust: bool\n    \
             ~ feature wind_speed: unit mph -> kmh\n    \
             - feature temp\n\
         ~ service delay_model v1 -> v2: +airport_weather:gust, -airport_weather:temp, pins \
         airport_weather@2\n\
         0 to add, 2 to change, 0 to remove",
    );
}

#[test]
fn a_plan_counts_the_same_in_json() {
    let catalog = apply(&Catalog::empty(), WEATHER, 1);
    let json = plan(&catalog, &parse(&weather(&[WAS_6H]))).unwrap().to_json();
    assert_eq!(json["changes"][0]["name"], "airport_weather");
    assert_eq!(json["changes"][0]["details"][0], "ttl 6h -> 12h");
    assert_eq!((&json["add"], &json["change"]), (&0.into(), &2.into()));
}
