"""FS.HISTORY: what sources say and what was pushed, in one order; the judge is a list that is sorted."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from conftest import Nowthen

DEFINITIONS = """
[entity.pair]
join_keys = { left = "string", right = "int64" }
[view.scores]
entity = "pair"
source = "data/*.parquet"
event_timestamp = "at"
created_timestamp = "known"
ttl = "1h"
features = { score = "float64", label = "string" }
[view.pushed]
entity = "pair"
features = { note = "string" }
"""
START = 1_700_000_000_000_000
US = pa.timestamp("us", "UTC")
KEYS = [("a", 1), ("a", 2), ("b:c", 1)]


def source_rows(seed: int) -> list[dict]:
    rng = random.Random(seed)
    return [
        {
            "left": rng.choice(["a", "b:c", "d", None]),
            "right": rng.choice([1, 2]),
            "at": rng.choice([None, *range(START, START + 20)]),
            "known": rng.choice([None, START + 5, START + 30]),
            "score": rng.choice([None, 0.5, float(rng.randrange(9))]),
            "label": rng.choice([None, "x", "Zürich"]),
        }
        for _ in range(400)
    ]


@pytest.fixture
def source(tmp_path) -> tuple[Path, list[dict]]:
    folder = tmp_path / "features"
    (folder / "data").mkdir(parents=True)
    (folder / "features.toml").write_text(DEFINITIONS)
    rows = []
    types = [("left", pa.string()), ("right", pa.int64()), ("at", US), ("known", US)]
    schema = pa.schema([*types, ("score", pa.float64()), ("label", pa.string())])
    for name in ("a", "b"):
        of_file = source_rows(ord(name))
        table = pa.Table.from_pylist(of_file, schema)
        pq.write_table(table, folder / "data" / f"{name}.parquet", row_group_size=64)
        rows += of_file
    return folder, rows


def key_of(left: str, right: int) -> str:
    return f"pair:{left.replace('%', '%25').replace(':', '%3A')}:{right}"


def history(client: redis.Redis, key: str, features: str, *options) -> list:
    names = features.split()
    return client.execute_command("FS.HISTORY", key, "FEATURES", len(names), *names, *options)


def wanted(rows: list[dict], key: tuple[str, int], pushed: list) -> list:
    """The writes of an entity, sorted by event, created, source before push, arrival."""
    writes = []
    for order, row in enumerate(rows):
        if (row["left"], row["right"]) != key or row["at"] is None:
            continue
        cells = []
        for name in ("score", "label"):
            value = row[name]
            status = b"NULL_VALUE" if value is None else b"PRESENT"
            value = value.encode() if isinstance(value, str) else value
            cells.append([name.encode(), status, value])
        at = (row["at"], row["known"] is not None, row["known"] or 0, False, order)
        writes.append((at, [row["at"], row["known"], b"SOURCE", cells]))
    for order, (event, created, cells) in enumerate(pushed):
        writes.append(((event, True, created, True, order), [event, created, b"PUSHED", cells]))
    return [write for _, write in sorted(writes, key=lambda write: write[0])]


def test_sources_and_pushes_stand_in_one_order(start_nowthen, source):
    folder, rows = source
    server: Nowthen = start_nowthen(repository=folder)
    client = server.client(protocol=3)
    client.execute_command("FS.MATERIALIZE", "scores", "WAIT")
    pushed = {key: [] for key in KEYS}
    rng = random.Random(7)
    for _ in range(60):
        left, right = key = rng.choice(KEYS)
        event, score = rng.randrange(START, START + 20), float(rng.randrange(9))
        client.execute_command(
            *["FS.SET", "scores", "EVENT", event, "ROWS", 1, "FEATURES", 1, "score"],
            *[left, right, score],
        )
        created = history(client, key_of(*key), "score", "FROM", event, "TO", event)
        created = max(write[1] or 0 for write in created)
        pushed[key].append((event, created, [[b"score", b"PRESENT", score]]))
    server.kill()
    server.start()
    client = server.client(protocol=3)
    for key in KEYS:
        told = history(client, key_of(*key), "score label")
        everything = wanted(rows, key, pushed[key])
        assert told == everything and len(told) > 30
        from_, to = START + 4, START + 11
        part = [write for write in everything if from_ <= write[0] <= to]
        assert history(client, key_of(*key), "score label", "FROM", from_, "TO", to) == part
        for limit in (1, 10, 10_000):
            options = ("FROM", from_, "TO", to, "LIMIT", limit)
            assert history(client, key_of(*key), "score label", *options) == part[:limit]
    assert history(client, "pair:nobody:1", "score label note") == []


def test_the_last_of_equals_is_the_one_that_answers(start_nowthen, source):
    folder, rows = source
    server = start_nowthen(repository=folder)
    client = server.client(protocol=3)
    for left, right in KEYS:
        told = history(client, key_of(left, right), "score")
        for at in {write[0] for write in told}:
            *_, last = [write for write in told if write[0] <= at]
            words = f"FS.GET FEATURES 1 score FOR 2 left right ROWS 1 {left} {right} AT {at}"
            assert client.execute_command(*words.split()) == [[last[3][0][2]]]


def test_a_source_that_is_gone_is_an_error_that_names_it(start_nowthen, source):
    folder, _ = source
    client = start_nowthen(repository=folder).client()
    (folder / "data" / "a.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(redis.ResponseError, match="a.parquet: not a Parquet file"):
        history(client, "pair:a:1", "score")
    assert history(client, "pair:a:1", "note") == []
