//! Views, entities and small Parquet files for tests.

use crate::feature::{
    Entity, EntityId, Feature, JoinKey, KeyType, Ttl, ValueType, View, ViewId, parse_duration_us,
};
use crate::offline::{
    AskedKeys, Dataset, GroupedSpine, HistoryFile, JoinOptions, Joined, PushedCells, PushedWinners,
    Spine, ViewRequest, as_of_join_with,
};
use arrow_array::RecordBatch;
use parquet::{
    arrow::ArrowWriter,
    file::properties::{WriterProperties, WriterPropertiesBuilder},
};
use std::{fs::File, num::NonZero, path::Path};

pub(super) fn entity(name: &str, join_keys: &[(&str, KeyType)]) -> Entity {
    let join_key =
        |(name, key_type): &(&str, KeyType)| JoinKey { name: (*name).into(), key_type: *key_type };
    Entity {
        id: EntityId(0),
        name: name.into(),
        join_keys: join_keys.iter().map(join_key).collect(),
        owner: None,
        description: None,
    }
}

/// A view whose features have the slots 10, 11, ...
pub(super) fn view(name: &str, event: &str, ttl: &str, features: &[(&str, &str)]) -> View {
    let feature = |(slot, (name, value_type)): (u32, &(&str, &str))| Feature {
        name: (*name).into(),
        value_type: ValueType::parse(value_type).unwrap(),
        slot,
        unit: None,
        description: None,
        default: None,
        expect: None,
    };
    View {
        id: ViewId(0),
        name: name.into(),
        entity: EntityId(0),
        version: 1,
        generation: 1,
        hash: String::new(),
        source: Some(String::new()),
        event_timestamp: Some(event.into()),
        created_timestamp: None,
        ttl: parse_duration_us(ttl).ok().and_then(Ttl::from_us),
        retention_us: None,
        schedule_us: None,
        owner: None,
        description: None,
        features: (10..).zip(features).map(feature).collect(),
    }
}

/// All features of a view, under their own names with `prefix` before them.
pub(super) fn request<'a>(
    view: &'a View,
    entity: &'a Entity,
    dataset: Option<&'a Dataset>,
    prefix: &str,
) -> ViewRequest<'a> {
    ViewRequest {
        view,
        entity,
        dataset,
        features: (0..view.features.len()).collect(),
        map: &[],
        output_names: view.features.iter().map(|f| format!("{prefix}{}", f.name)).collect(),
    }
}

/// Joins what was pushed to each view, too.
pub(super) fn join_with_pushed(
    spine: &Spine,
    requests: &[ViewRequest<'_>],
    pushed: &[&[PushedCells]],
    options: &JoinOptions,
) -> Joined {
    let grouped = GroupedSpine::new(spine, requests, options.threads).unwrap();
    let mut winners = PushedWinners::new(&grouped, requests, options.known_by).unwrap();
    for (view, pushed) in pushed.iter().enumerate() {
        pushed.iter().try_for_each(|cells| winners.take(view, cells)).unwrap();
    }
    as_of_join_with(&grouped, requests, (winners, None), options, &|_| ()).unwrap()
}

pub(super) fn options(threads: usize) -> JoinOptions {
    JoinOptions { threads: NonZero::new(threads), with_status: true, ..JoinOptions::default() }
}

/// Writes a file with a row group per batch.
pub(super) fn write_file(path: &Path, batches: &[RecordBatch]) {
    write_file_as(path, batches, WriterProperties::default());
}

/// Pages of so many rows.
pub(super) fn pages_of(rows: usize) -> WriterPropertiesBuilder {
    let properties = WriterProperties::builder().set_data_page_row_count_limit(rows);
    properties.set_write_batch_size(rows)
}

pub(super) fn write_file_as(path: &Path, batches: &[RecordBatch], properties: WriterProperties) {
    let schema = batches[0].schema();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
}

/// How many rows of a history file are looked at to find those of the keys.
pub(super) fn rows_in_reach(file: &HistoryFile, asked: &AskedKeys) -> usize {
    let reach = |row_group| asked.rows_in_reach(&file.file, row_group, &file.columns.keys).unwrap();
    file.row_groups.iter().flat_map(reach).map(|rows| rows.len()).sum()
}
