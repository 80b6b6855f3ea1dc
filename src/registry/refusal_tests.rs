//! Every refusal of a definition: what is written, and the one sentence that answers.

use super::{definition::DefinitionFile, parse::parse_repository};

const ENTITY: &str = "[entity.airport]\njoin_keys = { origin = \"string\" }\n";

fn refusal(files: &[(&str, &str)]) -> String {
    let file = |(path, text): &(&str, &str)| DefinitionFile {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    let files: Vec<_> = files.iter().map(file).collect();
    parse_repository(&files).expect_err("refused").to_string()
}

/// `text` alone is refused with `expected`.
#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(refusal(&[("a.toml", text)]), expected);
}

/// `view` behind an entity, from line 3 on, with `w` as the view's name.
#[track_caller]
fn check_view(view: &str, expected: &str) {
    check(&format!("{ENTITY}[view.w]\nentity = \"airport\"\n{view}"), expected);
}

/// One feature in line 6.
#[track_caller]
fn check_feature(feature: &str, expected: &str) {
    check_view(&format!("[view.w.features]\n{feature}"), expected);
}

/// The features of a service in line 7, beside views `w` (temp, wind) and `x` (temp).
#[track_caller]
fn check_service(features: &str, expected: &str) {
    let views = "[view.w]\nentity = \"airport\"\nfeatures = { temp = \"bool\", wind = \"bool\" }\n\
                 [view.x]\nentity = \"airport\"\nfeatures = { temp = \"bool\" }\n";
    check(&format!("{ENTITY}{views}[service.m]\nfeatures = {features}"), expected);
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    check("[entity.a]\nx = = 1", "a.toml:2: no valid TOML: extra `=`, expected nothing");
    check("\n[view", "a.toml:2: no valid TOML: unclosed table, expected `]`");
}

#[test]
fn an_unknown_key_is_refused_at_every_depth() {
    check("[veiw.w]", "a.toml:1: veiw: unknown key 'veiw'; did you mean 'view'?");
    check("[x]", "a.toml:1: x: unknown key 'x': expected one of entity, view, service");
    check(
        "[entity.a]\njoin_key = {}",
        "a.toml:2: entity.a.join_key: unknown key 'join_key'; did you mean 'join_keys'?",
    );
    check_view("tll = \"6h\"", "a.toml:5: view.w.tll: unknown key 'tll'; did you mean 'ttl'?");
    check_feature(
        "t = { type = \"bool\", units = \"mph\" }",
        "a.toml:6: view.w.features.t.units: unknown key 'units'; did you mean 'unit'?",
    );
    check_feature(
        "t = { type = \"int32\", expect = { most = 1 } }",
        "a.toml:6: view.w.features.t.expect.most: unknown key 'most': expected one of min, max, \
         max_null_rate",
    );
    check_service(
        "[\"w:temp\"]\nowners = \"x\"",
        "a.toml:11: service.m.owners: unknown key 'owners'; did you mean 'owner'?",
    );
}

#[test]
fn an_unknown_type_is_refused_with_the_nearest() {
    check_feature(
        "temp = \"flot64\"",
        "a.toml:6: view.w.features.temp: unknown type 'flot64'; did you mean 'float64'?",
    );
    check_feature(
        "temp = \"flot64[]\"",
        "a.toml:6: view.w.features.temp: unknown type 'flot64[]'; did you mean 'float64[]'?",
    );
    check_feature(
        "temp = { type = \"zebra\" }",
        "a.toml:6: view.w.features.temp.type: unknown type 'zebra': expected one of bool, int32, \
         int64, float32, float64, string, bytes, timestamp, or a list such as float32[] or \
         float32[128]",
    );
    check(
        "[entity.a]\njoin_keys = { k = \"sting\" }",
        "a.toml:2: entity.a.join_keys.k: unknown type of a join key 'sting'; did you mean \
         'string'?",
    );
    check(
        "[entity.a]\njoin_keys = { k = \"float64\" }",
        "a.toml:2: entity.a.join_keys.k: expected the type of a join key, one of string, int64, \
         bytes, got 'float64'",
    );
}

#[test]
fn a_value_of_another_kind_is_refused() {
    check("view = 3", "a.toml:1: view: expected a table such as [view.NAME], got '3'");
    check("[view]\nw = []", "a.toml:2: view.w: expected a table, got a list");
    check("[[view.w]]", "a.toml:1: view.w: expected a table, got a list");
    check_view(
        "owner = 5\nfeatures.t = \"bool\"",
        "a.toml:5: view.w.owner: expected a text, got '5'",
    );
    check_view(
        "features = []",
        "a.toml:5: view.w.features: expected a table of names and types such as \
         { temp = \"float64\" }, got a list",
    );
    check_feature(
        "t = 2013-07-04",
        "a.toml:6: view.w.features.t: expected the name of a type, or a table with a 'type', got \
         '2013-07-04'",
    );
    check_service(
        "\"w:temp\"",
        "a.toml:10: service.m.features: expected a list of features such as [\"view:feature\"], \
         got 'w:temp'",
    );
    check_service(
        "[\n\"w:temp\",\n4]",
        "a.toml:12: service.m.features[1]: expected the name of a feature, got '4'",
    );
}

#[test]
fn what_must_be_there_is_asked_for() {
    check(
        "[entity.a]",
        "a.toml:1: entity.a: expected a table of names and types such as { origin = \"string\" } \
         in 'join_keys', got none",
    );
    check(
        "[entity.a]\njoin_keys = {}",
        "a.toml:2: entity.a.join_keys: expected at least one join key, got none",
    );
    check("[view.w]", "a.toml:1: view.w: expected the name of an entity in 'entity', got none");
    check_view("", "a.toml:3: view.w: expected a table of names and types in 'features', got none");
    check_view(
        "[view.w.features]",
        "a.toml:5: view.w.features: expected at least one feature, got none",
    );
    check_feature(
        "t = {}",
        "a.toml:6: view.w.features.t: expected the name of a type in 'type', got none",
    );
    check_service("[]", "a.toml:10: service.m.features: expected at least one feature, got none");
}

#[test]
fn a_name_is_made_of_letters_digits_and_underscores() {
    let rule = "expected a name of letters, digits and '_' that starts with no digit and has at \
                most 128 bytes, got";
    check(
        "[entity.a-b]\njoin_keys = { k = \"int64\" }",
        &format!("a.toml:1: entity.'a-b': {rule} 'a-b'"),
    );
    check_feature("7t = \"bool\"", &format!("a.toml:6: view.w.features.7t: {rule} '7t'"));
    check_feature("'' = \"bool\"", &format!("a.toml:6: view.w.features.'': {rule} ''"));
    let long = "x".repeat(129);
    let cut = format!("'{}...'", "x".repeat(128));
    check(
        &format!("[service.{long}]\nfeatures = []"),
        &format!("a.toml:1: service.{cut}: {rule} {cut}"),
    );
}

#[test]
fn a_definition_that_stands_twice_is_refused_with_both_places() {
    check(
        &format!("{ENTITY}\n[entity.airport]\n"),
        "a.toml:4: entity.airport: is defined twice, here and at a.toml:1",
    );
    let why = refusal(&[("a.toml", ENTITY), ("b.toml", &format!("\n{ENTITY}"))]);
    assert_eq!(why, "b.toml:2: entity.airport: is defined twice, here and at a.toml:1");
    check_feature("t = \"bool\"\nt = \"bool\"", "a.toml:7: no valid TOML: duplicate key");
}

#[test]
fn a_view_names_an_entity_that_is_there() {
    check(
        &format!("{ENTITY}[view.w]\nentity = \"airprot\"\nfeatures.t = \"bool\""),
        "a.toml:4: view.w.entity: unknown entity 'airprot'; did you mean 'airport'?",
    );
}

#[test]
fn columns_and_durations_of_a_view_fit_together() {
    check_view(
        "source = \"a\"\nfeatures.t = \"bool\"",
        "a.toml:5: view.w.source: a source needs 'event_timestamp', the column that tells when a \
         row was true; got none",
    );
    for name in ["created_timestamp", "schedule"] {
        check_view(
            &format!("features.t = \"bool\"\n{name} = \"1h\""),
            &format!(
                "a.toml:6: view.w.{name}: expected no '{name}' in view w, which has no source"
            ),
        );
    }
    for name in ["event_timestamp", "created_timestamp"] {
        let columns = "event_timestamp = \"e\"\ncreated_timestamp = \"c\"\nsource = \"s\"\n";
        let feature = name.get(..1).unwrap();
        check_view(
            &format!("{columns}features.{feature} = \"timestamp\""),
            &format!(
                "a.toml:8: view.w.features.{feature}: expected a feature named unlike the column \
                 that '{name}' names, got '{feature}'"
            ),
        );
    }
    check_view(
        "source = \"\"\nfeatures.t = \"bool\"",
        "a.toml:5: view.w.source: expected a text that is not empty, got ''",
    );
    check_feature(
        "origin = \"string\"",
        "a.toml:6: view.w.features.origin: expected a feature named unlike the join keys of \
         entity airport, got 'origin'",
    );
    for duration in ["0s", "-6h", "6", "soon"] {
        check_view(
            &format!("features.t = \"bool\"\nttl = \"{duration}\""),
            &format!(
                "a.toml:6: view.w.ttl: '{duration}' is no duration: expected a whole number and a \
                 unit, one of w d h m s ms us, such as 6h"
            ),
        );
    }
    check_view(
        "features.t = \"bool\"\nttl = 6",
        "a.toml:6: view.w.ttl: expected a duration such as \"6h\", got '6'",
    );
}

#[test]
fn a_default_is_of_the_type_of_its_feature() {
    for (value_type, default, got) in [
        ("float64", "\"x\"", "'x'"),
        ("float32", "1e40", "'1e40'"),
        ("int32", "3000000000", "'3000000000'"),
        ("int64", "1.5", "'1.5'"),
        ("int64", "99999999999999999999", "'99999999999999999999'"),
        ("bool", "1", "'1'"),
        ("string", "true", "'true'"),
        ("timestamp", "\"noon\"", "'noon'"),
        ("timestamp", "12:00:00", "'12:00:00'"),
        ("float32[2]", "1", "'1'"),
        ("float32[2]", "[1]", "1 of 2 elements"),
    ] {
        check_feature(
            &format!("t = {{ type = \"{value_type}\", default = {default} }}"),
            &format!(
                "a.toml:6: view.w.features.t.default: expected a default of type {value_type}, \
                 got {got}"
            ),
        );
    }
    check_feature(
        "t = { type = \"int64[]\", default = [1, true] }",
        "a.toml:6: view.w.features.t.default[1]: expected int64, got 'true'",
    );
}

#[test]
fn an_expectation_can_be_met() {
    let field = "a.toml:6: view.w.features.t.expect";
    for (value_type, expect, why) in [
        ("int32", "min = 2, max = 1", ": expected min <= max, got min 2 and max 1"),
        ("int32", "max_null_rate = 1.5", ".max_null_rate: expected a share from 0 to 1, got '1.5'"),
        (
            "int32",
            "max_null_rate = -0.1",
            ".max_null_rate: expected a share from 0 to 1, got '-0.1'",
        ),
        ("int32", "min = nan", ".min: expected a number, got 'nan'"),
        ("int32", "min = \"0\"", ".min: expected a number, got '0'"),
        ("string", "max = 1", ".max: expected no bound on a feature of type string"),
    ] {
        check_feature(
            &format!("t = {{ type = \"{value_type}\", expect = {{ {expect} }} }}"),
            &format!("{field}{why}"),
        );
    }
}

#[test]
fn a_service_names_views_and_features_that_are_there() {
    let field = "a.toml:10: service.m.features[0]:";
    for (feature, why) in [
        ("v:temp", "unknown view 'v'; did you mean 'w'?"),
        ("w:tmp", "view w has no feature 'tmp'; did you mean 'temp'?"),
        ("wnd", "unknown feature 'wnd'; did you mean 'wind'?"),
        ("temp", "feature 'temp' is in several views: expected 'w:temp' or 'x:temp'"),
    ] {
        check_service(&format!("[\"{feature}\"]"), &format!("{field} {why}"));
    }
    check_service(
        "[\"w:*\", \"wind\"]",
        "a.toml:10: service.m.features[1]: expected w:wind once, got it twice",
    );
}

#[test]
fn several_problems_are_listed_by_place_and_at_most_ten() {
    let bad = |index: usize| format!("[entity.e{index:02}]\n");
    let text: String = (0..12).rev().map(bad).collect();
    let why = refusal(&[("a.toml", &text)]);
    let lines: Vec<_> = why.lines().collect();
    assert_eq!(lines.len(), 11);
    assert!(lines[0].starts_with("a.toml:1: entity.e11: "), "{why}");
    assert_eq!(lines[10], "and 2 more");
    let why = refusal(&[("a.toml", &(0..10_000).map(bad).collect::<String>())]);
    assert_eq!(why.lines().nth(10), Some("and at least 90 more"));
}

#[test]
fn no_error_repeats_more_than_128_bytes_of_a_name_or_value() {
    let long = "x".repeat(10_000);
    for text in [
        format!("[view.w]\nentity = \"{long}\"\nfeatures.t = \"bool\""),
        format!("{long} = 1"),
        format!("[service.m]\nfeatures = [\"{long}\"]"),
        format!("{ENTITY}[view.w]\nentity = \"airport\"\nfeatures.{long} = \"{long}\""),
    ] {
        let why = refusal(&[("a.toml", &text)]);
        assert!(why.len() < 512, "{why}");
    }
}
