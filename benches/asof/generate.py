"""A small seeded history and spines, in the three layouts that files come in.

    python generate.py FOLDER [--rows 10000000] [--entities 100000] [--spine 10000 --spine 1000000]

A_day has a file per day of arrival, in the order of arrival, so that events come nearly in order
and late ones in later files; A_es one file sorted by entity and event; A_uns eight files in no
order. Keys are integers; with `_str` behind the name the same rows have keys of text.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAY_US = 86_400_000_000
DAYS = 30
START_US = int(np.datetime64("2026-01-01", "us").astype(np.int64))
ROW_GROUP_ROWS = 1 << 20
SPINES = {10_000: "10k", 1_000_000: "1m", 5_000_000: "5m"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--spine", type=int, action="append")
    asked = parser.parse_args()
    history = unique_history(asked.rows, asked.entities)
    for is_text in (False, True):
        suffix = "_str" if is_text else ""
        for layout, files in layouts(history).items():
            folder = asked.folder / f"A_{layout}{suffix}"
            folder.mkdir(parents=True, exist_ok=True)
            for number, rows in enumerate(files):
                table = history_table(history, rows, is_text)
                path = folder / f"part-{number:03d}.parquet"
                pq.write_table(table, path, row_group_size=ROW_GROUP_ROWS, write_page_index=True)
        for rows in asked.spine or SPINES:
            path = asked.folder / f"spine_A_{SPINES.get(rows, rows)}{suffix}.parquet"
            pq.write_table(spine_table(rows, asked.entities, is_text), path)


def popular(random: np.random.Generator, entities: int, rows: int) -> np.ndarray:
    """Few entities with many rows, many with few."""
    weight = np.cumsum(1.0 / (np.arange(entities) + 50.0))
    rank = np.searchsorted(weight, random.random(rows) * weight[-1])
    return np.random.default_rng(7).permutation(entities)[np.minimum(rank, entities - 1)]


def unique_history(rows: int, entities: int) -> dict[str, np.ndarray]:
    """No entity has two rows of one instant: peers have no rule for ties."""
    random = np.random.default_rng(11)
    entity = popular(random, entities, rows)
    event = random.integers(0, DAYS * DAY_US, rows)
    _, first = np.unique(entity.astype(np.int64) << 42 | event, return_index=True)
    entity, event = entity[first], event[first]
    created = event + random.exponential(30e6, len(first)).astype(np.int64)
    late = random.random(len(first)) < 0.01
    created[late] += random.integers(3_600_000_000, 3 * DAY_US, int(late.sum()))
    return {"entity": entity, "event": event, "created": created}


def layouts(history: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    arrival = np.argsort(history["created"], kind="stable")
    ends = np.searchsorted(history["created"][arrival], np.arange(1, DAYS) * DAY_US)
    shuffled = np.random.default_rng(5).permutation(len(arrival))
    return {
        "es": [np.arange(len(arrival))],
        "day": np.split(arrival, ends),
        "uns": np.array_split(shuffled, 8),
    }


def keys(entity: np.ndarray, is_text: bool) -> pa.Array:
    numbers = entity.astype(np.int64) * 37 + 10_000_019
    return pa.array(numbers).cast(pa.string()) if is_text else pa.array(numbers)


def times(us: np.ndarray) -> pa.Array:
    return pa.array(us + START_US, pa.timestamp("us"))


def history_table(history: dict[str, np.ndarray], rows: np.ndarray, is_text: bool) -> pa.Table:
    columns = {
        "entity_id": keys(history["entity"][rows], is_text),
        "event_timestamp": times(history["event"][rows]),
        "created_timestamp": times(history["created"][rows]),
    }
    for number in range(10):
        # A value follows from its row alone, so that all layouts hold the same rows.
        mixed = (rows.astype(np.uint64) * np.uint64(10) + np.uint64(number)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        share = ((mixed ^ (mixed >> np.uint64(29))) >> np.uint64(11)).astype(np.float64) / (1 << 53)
        if number < 6:
            mask = share < 0.1 if number == 4 else None
            digits = 15 if number < 2 else 2
            columns[f"f{number}"] = pa.array(np.round(share * 100, digits), mask=mask)
        elif number < 8:
            columns[f"i{number - 6}"] = pa.array((share**4 * 1000).astype(np.int64))
        else:
            words = pa.array([f"word_{word:03d}" for word in range(200)])
            codes = pa.array((share**2 * 200).astype(np.int32))
            text = pa.DictionaryArray.from_arrays(codes, words).cast(pa.string())
            columns[f"s{number - 8}"] = text
    return pa.table(columns)


def spine_table(rows: int, entities: int, is_text: bool) -> pa.Table:
    random = np.random.default_rng(100 + rows)
    entity = popular(random, entities, rows)
    unknown = random.random(rows) < 0.01
    entity[unknown] += entities
    return pa.table(
        {
            "row_id": pa.array(np.arange(rows)),
            "entity_id": keys(entity, is_text),
            "event_timestamp": times(random.integers(3 * DAY_US, DAYS * DAY_US, rows)),
            "label": pa.array(np.round(random.random(rows), 2)),
        }
    )


if __name__ == "__main__":
    main()
