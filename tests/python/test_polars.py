"""`nowthen asof` over random histories: every value is that of `join_asof` of Polars.

    seed --> history --> Parquet: by day of arrival │ sorted by key and event │ in no order
                     --> nowthen asof, and Polars over the same files --> compared, value by value

Polars has no rule for rows of one key and one event: they are sorted by their created timestamps
before, and the last one is kept. Its `tolerance` is not asked for: the TTL is a filter behind the
join, as it is with DuckDB in `test_flights.py`.

Invariants
- Every history has late rows, rows that differ in their created timestamps alone, rows without key,
  event or created timestamp, and null values; every spine has rows without key, rows that nothing
  is known about, and rows a microsecond before and after a value comes and goes.
- A seed is a history and a spine: NOWTHEN_POLARS_SEED=7 asks for those of seed 7, and of the next.
"""

from __future__ import annotations

import datetime as dt
import os
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import run_nowthen

SEED = int(os.environ.get("NOWTHEN_POLARS_SEED", "1"))
ROWS, SPINE_ROWS, ENTITIES, DAYS = 6_000, 3_000, 150, 12
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
TTL_US = 30 * HOUR_US
START_US = int(dt.datetime(2024, 2, 20, tzinfo=dt.UTC).timestamp()) * 1_000_000
TIME = pa.timestamp("us", "UTC")
DEFINITIONS = """
[entity.user]
join_keys = {{ user = "{kind}" }}
[view.passing]
entity = "user"
source = "{source}"
event_timestamp = "at"
created_timestamp = "created"
ttl = "30h"
features = {{ price = "float64", visits = "int64", label = "string", fast = "bool" }}
[view.lasting]
entity = "user"
source = "{source}"
event_timestamp = "at"
created_timestamp = "created"
features = {{ price = "float64", visits = "int64", label = "string", fast = "bool" }}
"""
FEATURES = {"price": pa.float64(), "visits": pa.int64(), "label": pa.string(), "fast": pa.bool_()}
TEXTS = ["", " ", "ü ö", "𝄞", "a/b=c%", "x" * 40]
KEYS = {
    "int64": (pa.int64(), lambda n: [-(2**63), 2**63 - 1, 0][n] if n < 3 else (-37) ** 3 * n),
    "string": (pa.string(), lambda n: TEXTS[n] if n < len(TEXTS) else f"user {n}"),
}
LAYOUTS = ["daily", "sorted", "unsorted"]


def random_history(dice: random.Random, key: Callable[[int], object]) -> list[dict]:
    """No two rows have key, event and created timestamp in common."""
    rows: dict[tuple, dict] = {}

    def maybe(value, share=0.1):
        return None if dice.random() < share else value

    while len(rows) < ROWS:
        user, at = maybe(few(dice), 0.01), maybe(dice.randrange(DAYS * 1440) * MINUTE_US, 0.01)
        if rows and dice.random() < 0.2:
            # One more of a row that is there.
            user, at, _ = dice.choice(list(rows)[-50:])
        late = dice.randrange(4 * DAY_US) if dice.random() < 0.1 else dice.randrange(HOUR_US)
        created = maybe((at or 0) + late, 0.05)
        rows[user, at, created] = {
            "user": None if user is None else key(user),
            "at": None if at is None else START_US + at,
            "created": None if created is None else START_US + created,
            "price": maybe(dice.choice([0.1, -0.0, float("nan"), float("inf"), dice.random()])),
            "visits": maybe(dice.choice([-(2**63), 2**63 - 1, dice.randrange(100)])),
            "label": maybe(dice.choice([*TEXTS, str(len(rows))])),
            "fast": maybe(dice.random() < 0.5),
        }
    return list(rows.values())


def few(dice: random.Random) -> int:
    """Few entities with many rows, many with few."""
    return int(ENTITIES * dice.random() ** 3)


def write_history(root: Path, layout: str, rows: list[dict], kind: pa.DataType, seed: int) -> None:
    root.mkdir()
    if layout == "daily":
        files: dict[int, list[dict]] = {}
        for row in rows:
            arrived = row["created"] or row["at"] or START_US
            files.setdefault(arrived // DAY_US, []).append(row)
        parts = [files[day] for day in sorted(files)]
    elif layout == "sorted":
        parts = [sorted(rows, key=by_key_and_event)]
    else:
        shuffled = random.Random(seed).sample(rows, len(rows))
        parts = [shuffled[first::7] for first in range(7)]
    schema = pa.schema({"user": kind, "at": TIME, "created": TIME, **FEATURES})
    for number, part in enumerate(parts):
        pq.write_table(
            pa.Table.from_pylist(part, schema),
            root / f"part-{number:03}.parquet",
            row_group_size=800,
            data_page_size=1024,
            write_page_index=True,
        )


def by_key_and_event(row: dict) -> tuple:
    """What has no key comes first."""
    user = row["user"]
    return (user is not None, *([user] if user is not None else []), row["at"] or 0)


def write_spine(path: Path, dice: random.Random, rows: list[dict], kind: pa.DataType, key) -> None:
    told = [row for row in rows if row["user"] is not None and row["at"] is not None]
    spine = []
    for number in range(SPINE_ROWS):
        user, asked = key(few(dice)), START_US + dice.randrange(-DAY_US, (DAYS + 3) * DAY_US)
        if number % 2:
            row = dice.choice(told)
            edge = dice.choice([-1, 0, TTL_US, TTL_US + 1])
            user, asked = row["user"], row["at"] + edge
        elif dice.random() < 0.1:
            user = dice.choice([None, key(ENTITIES + number)])
        spine.append({"nth": number, "user": user, "asked": asked})
    schema = pa.schema({"nth": pa.int64(), "user": kind, "asked": TIME})
    pq.write_table(pa.Table.from_pylist(spine, schema), path, row_group_size=1_000)


def joined_by_polars(root: Path, spine: Path) -> pl.DataFrame:
    history = (
        pl.read_parquet(root / "*.parquet")
        .drop_nulls(["user", "at"])
        .sort("at", "created", nulls_last=False)
        .unique(["user", "at"], keep="last", maintain_order=True)
        .with_columns(event="at")
    )
    asked = pl.read_parquet(spine)
    joined = (
        asked.drop_nulls("user")
        .sort("asked")
        .join_asof(
            history, left_on="asked", right_on="at", by="user", strategy="backward",
            check_sortedness=False,
        )
    )  # fmt: skip
    is_seen = pl.col("asked") - pl.col("event") <= pl.duration(microseconds=TTL_US)
    passing = [pl.when(is_seen).then(name).alias(f"passing__{name}") for name in FEATURES]
    lasting = [pl.col(name).alias(f"lasting__{name}") for name in FEATURES]
    edge = (pl.col("asked") - pl.col("event")).dt.total_microseconds().alias("age")
    found = joined.select("nth", edge, *passing, *lasting)
    return asked.join(found, on="nth", how="left").sort("nth")


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_training_set_equals_that_of_polars(tmp_path, layout, kind, seed):
    print(f"NOWTHEN_POLARS_SEED={seed}")
    dice, (arrow_kind, key) = random.Random(seed), KEYS[kind]
    rows = random_history(dice, key)
    root, spine, out = (tmp_path / name for name in ("source", "spine.parquet", "set.parquet"))
    write_history(root, layout, rows, arrow_kind, seed)
    write_spine(spine, dice, rows, arrow_kind, key)
    (tmp_path / "features.toml").write_text(DEFINITIONS.format(kind=kind, source=root))
    done = run_nowthen(
        "asof", "--repo", tmp_path, "--spine", spine, "--out", out, "--event-timestamp", "asked",
        "--features", "passing:*,lasting:*", "--full-names",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours, theirs = pq.read_table(out), joined_by_polars(root, spine)
    # What is compared is not nothing, and values come and go where they should.
    ages = set(theirs["age"])
    assert {0, TTL_US, TTL_US + 1} <= ages and None in ages
    names = [name for name in theirs.columns if name != "age"]
    assert ours.column_names == names
    for name in names:
        told = list(zip(ours[name].to_pylist(), theirs[name].to_list(), strict=True))
        differ = [(nth, *pair) for nth, pair in enumerate(told) if not is_same(*pair)]
        assert not differ, f"{name}, first rows that differ: {differ[:5]}"
        assert any(value is None for value, _ in told) or name in ("nth", "asked")
        assert sum(value is not None for value, _ in told) > SPINE_ROWS / 10, name


def is_same(ours: object, theirs: object) -> bool:
    """As text a NaN equals itself, and 0.0 differs from -0.0."""
    return repr(ours) == repr(theirs) if isinstance(theirs, float) else ours == theirs
