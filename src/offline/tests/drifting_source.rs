//! A source of which each file has folders, columns and types of its own, and what a reader should
//! see of it.

use arrow_array::{
    ArrayRef, Date32Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, LargeStringArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray,
};
use proptest::{collection::vec, prelude::*, sample::select};
use std::sync::Arc;

pub(super) const DAY_US: i64 = 86_400_000_000;
pub(super) const USERS: [&str; 4] = ["a", "ü/=% b", "", "nobody"];
pub(super) const ZONES: [i64; 3] = [-7, 300, 9];
/// Columns that folders may tell.
pub(super) const TOLD: [&str; 7] = ["user", "zone", "event", "created", "number", "ratio", "label"];

/// A row as the model has it: whatever the file says of it, and in what type.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) user: Option<&'static str>,
    pub(super) zone: Option<i64>,
    /// In days.
    pub(super) event: Option<i64>,
    pub(super) created: Option<i64>,
    pub(super) number: Option<i64>,
    pub(super) ratio: Option<i64>,
    pub(super) label: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub(super) struct File {
    /// What folders tell, outermost first: the values are those of `told`.
    pub(super) folders: Vec<&'static str>,
    pub(super) told: Row,
    /// Whether the file has columns of its own of what folders tell.
    pub(super) has_both: bool,
    /// Features that neither folders nor the file have.
    pub(super) lacks: Vec<&'static str>,
    /// By which types are chosen.
    pub(super) types: usize,
    pub(super) rows: Vec<Row>,
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) files: Vec<File>,
    pub(super) spine: Vec<(Option<&'static str>, Option<i64>, Option<i64>)>,
    pub(super) with_created: bool,
    pub(super) by_arrival: bool,
}

prop_compose! {
    fn row(always_created: bool)(
        user in prop::option::weighted(0.9, select(&USERS[..3])),
        zone in prop::option::weighted(0.9, select(&ZONES[..])),
        event in prop::option::weighted(0.9, 0_i64..6),
        created in prop::option::weighted(0.8, 0_i64..6),
        number in prop::option::weighted(0.8, -3_i64..4),
        ratio in prop::option::weighted(0.8, -3_i64..4),
        label in prop::option::weighted(0.8, select(&["", "x", "100% ö"][..])),
    ) -> Row {
        let created = if always_created { created.or(Some(0)) } else { created };
        Row { user, zone, event, created, number, ratio, label }
    }
}

prop_compose! {
    fn file(always_created: bool)(
        folders in prop::sample::subsequence(&TOLD[..], 0..=4).prop_shuffle(),
        told in row(always_created),
        has_both in any::<bool>(),
        lacks in prop::sample::subsequence(&["number", "ratio", "label"][..], 0..=3),
        types in 0_usize..24,
        rows in vec(row(always_created), 0..5),
    ) -> File {
        File { folders, told, has_both, lacks, types, rows }
    }
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let ways = (any::<bool>(), any::<bool>());
    ways.prop_flat_map(|(with_created, by_arrival)| {
        let by_arrival = with_created && by_arrival;
        let asked = (
            prop::option::weighted(0.9, select(&USERS[..])),
            prop::option::weighted(0.9, select(&ZONES[..])),
            prop::option::weighted(0.9, -1_i64..6),
        );
        (vec(file(by_arrival), 1..5), vec(asked, 0..6)).prop_map(move |(files, spine)| Case {
            files,
            spine,
            with_created,
            by_arrival,
        })
    })
}

/// As Hive writes it, and a little more than it must.
pub(super) fn folder_of(name: &str, told: &Row) -> String {
    let date = |day: Option<i64>| day.map(|day| format!("1970-01-{:02}", day + 1));
    let value = match name {
        "user" => told.user.map(str::to_owned),
        "zone" => told.zone.map(|zone| zone.to_string()),
        "event" => date(told.event),
        "created" => date(told.created).map(|date| date + " 00:00:00.0"),
        "number" => told.number.map(|number| number.to_string()),
        "ratio" => told.ratio.map(|ratio| format!("{:.2}", ratio as f64 / 4.0)),
        _ => told.label.map(str::to_owned),
    };
    let Some(value) = value else { return format!("{name}=__HIVE_DEFAULT_PARTITION__") };
    let escaped = value.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02x}"),
    });
    format!("{name}={}", escaped.collect::<String>())
}

impl File {
    /// The row as a reader should see it.
    pub(super) fn seen(&self, row: &Row) -> Row {
        let mut seen = row.clone();
        for name in &self.lacks {
            match *name {
                "number" => seen.number = None,
                "ratio" => seen.ratio = None,
                _ => seen.label = None,
            }
        }
        for name in &self.folders {
            match *name {
                "user" => seen.user = self.told.user,
                "zone" => seen.zone = self.told.zone,
                "event" => seen.event = self.told.event,
                "created" => seen.created = self.told.created,
                "number" => seen.number = self.told.number,
                "ratio" => seen.ratio = self.told.ratio,
                _ => seen.label = self.told.label,
            }
        }
        seen
    }

    pub(super) fn batch(&self) -> RecordBatch {
        let all = || self.rows.iter();
        let time = |day: fn(&Row) -> Option<i64>| -> ArrayRef {
            let us = || all().map(move |row| day(row).map(|day| day * DAY_US));
            match self.types % 3 {
                0 => Arc::new(us().collect::<TimestampMicrosecondArray>()),
                1 => Arc::new(
                    us().map(|us| us.map(|us| us / 1000)).collect::<TimestampMillisecondArray>(),
                ),
                _ => Arc::new(
                    all().map(|row| day(row).map(|day| day as i32)).collect::<Date32Array>(),
                ),
            }
        };
        let zones = || all().map(|row| row.zone);
        let zone: ArrayRef = match self.types % 2 {
            0 => Arc::new(zones().map(|zone| zone.map(|z| z as i16)).collect::<Int16Array>()),
            _ => Arc::new(zones().collect::<Int64Array>()),
        };
        let numbers = || all().map(|row| row.number);
        let number: ArrayRef = match self.types % 4 {
            0 => Arc::new(numbers().map(|n| n.map(|n| n as i8)).collect::<Int8Array>()),
            1 => Arc::new(numbers().map(|n| n.map(|n| n as i16)).collect::<Int16Array>()),
            2 => Arc::new(numbers().map(|n| n.map(|n| n as i32)).collect::<Int32Array>()),
            _ => Arc::new(numbers().collect::<Int64Array>()),
        };
        let ratios = || all().map(|row| row.ratio.map(|ratio| ratio as f64 / 4.0));
        let ratio: ArrayRef = match self.types % 2 {
            0 => Arc::new(ratios().map(|r| r.map(|r| r as f32)).collect::<Float32Array>()),
            _ => Arc::new(ratios().collect::<Float64Array>()),
        };
        let labels = || all().map(|row| row.label);
        let label: ArrayRef = match self.types % 2 {
            0 => Arc::new(labels().collect::<StringArray>()),
            _ => Arc::new(labels().collect::<LargeStringArray>()),
        };
        let users: StringArray = all().map(|row| row.user).collect();
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("filler", Arc::new(Int64Array::from(vec![0; self.rows.len()]))),
            ("user", Arc::new(users)),
            ("zone", zone),
            ("event", time(|row| row.event)),
            ("created", time(|row| row.created)),
            ("number", number),
            ("ratio", ratio),
            ("label", label),
        ];
        columns.retain(|(name, _)| {
            !self.lacks.contains(name) && (self.has_both || !self.folders.contains(name))
        });
        let turn = self.types % columns.len();
        columns.rotate_left(turn);
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    /// Whether by its folders no row of it can be an answer.
    pub(super) fn is_out_of_reach(&self, case: &Case, last: i64) -> bool {
        let tells = |name: &str| self.folders.contains(&name);
        let told = &self.told;
        let user = |user: &str| told.user.is_some_and(|told| told == user) || !tells("user");
        let zone = |zone: i64| told.zone.is_some_and(|told| told == zone) || !tells("zone");
        let mut asked = case.spine.iter().filter_map(|(user, zone, _)| Some(((*user)?, (*zone)?)));
        let is_asked = match (tells("user"), tells("zone")) {
            (true, true) => asked.any(|(u, z)| user(u) && zone(z)),
            _ => {
                case.spine.iter().any(|(u, ..)| u.is_some_and(user))
                    && case.spine.iter().any(|(_, z, _)| z.is_some_and(zone))
            }
        };
        let null_key =
            (tells("user") && told.user.is_none()) || (tells("zone") && told.zone.is_none());
        let is_late = tells("event") && told.event.is_none_or(|event| event > last);
        let is_unknown = case.by_arrival
            && tells("created")
            && told.created.is_some_and(|created| created > last);
        null_key || !is_asked || is_late || is_unknown
    }
}

/// A file at the root that has every column, so that no feature is unknown.
pub(super) fn whole() -> File {
    let told = Row {
        user: None,
        zone: None,
        event: None,
        created: None,
        number: None,
        ratio: None,
        label: None,
    };
    let (folders, lacks, rows) = (Vec::new(), Vec::new(), Vec::new());
    File { folders, told, has_both: true, lacks, types: 3, rows }
}
