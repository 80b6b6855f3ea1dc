"""Materialization: Parquet files into the online store of a running server, rows and entities a second.

    python benches/end_to_end/materialize.py [--data FOLDER] [--binary target/release/nowthen] [--rounds 3]
    python benches/end_to_end/materialize.py --quick      small files, for a moment: part of ./check

Two works: the history of --data (made by benches/asof/generate.py or another generator of that
layout, `A_day`: 10 M rows x 10 features of 100,000 entities in daily files), and 1,000,000
entities x 10 doubles with one row each. Each round has a server of its own, in mode `interval:1000`
as a server is by default, which has all cores. The time is that of `nowthen materialize --wait`,
from start to end. Afterwards entities picked at random are read by HMGET and compared with what
DuckDB says is newest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import redis
from server import QUIET, RELEASE_BINARY, ROOT, nowthen

GENERATE = ROOT / "benches" / "asof" / "generate.py"
KEYS = ("entity_id", "event_timestamp", "created_timestamp")
TYPES = {"double": "float64", "int64": "int64", "string": "string", "large_string": "string"}
START_US = int(np.datetime64("2026-01-01", "us").astype(np.int64))
COMPARED = 1000


@dataclass
class Work:
    title: str
    files: Path
    goal: str

    def schema(self) -> pa.Schema:
        return pq.read_schema(min(self.files.glob("*.parquet")))

    def features(self) -> list[str]:
        return [name for name in self.schema().names if name not in KEYS]

    def definitions(self) -> str:
        features = [f'{name} = "{TYPES[str(self.schema().field(name).type)]}"' for name in self.features()]
        return f"""
            [entity.user]
            join_keys = {{ entity_id = "int64" }}

            [view.newest]
            entity = "user"
            source = "{self.files}"
            event_timestamp = "event_timestamp"
            created_timestamp = "created_timestamp"
            features = {{ {", ".join(features)} }}
        """


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--binary", type=Path, default=RELEASE_BINARY)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print("| work | rows/s | entities/s | s | server's CPU s | goal |\n|---|--:|--:|--:|--:|---|")
        for work in works(options, Path(scratch)):
            rounds = [measure(work, options.binary) for _ in range(1 if options.quick else options.rounds)]
            rows, entities = rounds[0]["rows"], rounds[0]["entities"]
            seconds, cpu = (statistics.median(told[name] for told in rounds) for name in ("seconds", "cpu"))
            print(
                f"| {work.title} | {rows / seconds:,.0f} | {entities / seconds:,.0f} "
                f"| {seconds:.2f} | {cpu:.2f} | {work.goal} |"
            )


def works(options: argparse.Namespace, scratch: Path) -> list[Work]:
    history = options.data or scratch
    if not (history / "A_day").is_dir():
        small = ["--rows", "100000", "--entities", "5000", "--spine", "10000"] if options.quick else []
        subprocess.run([sys.executable, str(GENERATE), str(history), *small], check=True, stdout=subprocess.DEVNULL)
    entities = 5_000 if options.quick else 1_000_000
    one_each = scratch / "one_each"
    write_one_each(one_each, entities)
    return [
        Work("history in daily files", history / "A_day", "5,000,000 rows/s"),
        Work(f"{entities:,} entities x 10, a row each", one_each, "400,000 entities/s"),
    ]


def write_one_each(folder: Path, entities: int) -> None:
    folder.mkdir()
    random = np.random.default_rng(3)
    columns = {
        "entity_id": pa.array(random.permutation(entities)),
        "event_timestamp": pa.array(START_US + np.arange(entities), pa.timestamp("us")),
        "created_timestamp": pa.array(START_US + np.arange(entities), pa.timestamp("us")),
    }
    columns |= {f"f{number}": pa.array(random.random(entities)) for number in range(10)}
    pq.write_table(pa.table(columns), folder / "part-000.parquet", row_group_size=1 << 18)


def measure(work: Work, binary: Path) -> dict[str, float]:
    cores = sorted(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory() as folder,
        nowthen(binary, folder, work.definitions(), cores, "--durability", "interval:1000") as server,
    ):
        before, started = server.cpu_seconds(), time.perf_counter()
        ask = [str(binary), "materialize", "newest", "--wait", "--url", f"redis://127.0.0.1:{server.port}"]
        subprocess.run(ask, check=True, **QUIET)
        seconds, cpu = time.perf_counter() - started, server.cpu_seconds() - before
        compare(work, server.client)
        rows = sum(pq.read_metadata(file).num_rows for file in work.files.glob("*.parquet"))
        return {"seconds": seconds, "cpu": cpu, "rows": rows, "entities": server.client.dbsize()}


def compare(work: Work, client: redis.Redis) -> None:
    """What HMGET says of some entities, and what DuckDB says is newest."""
    names = work.features()
    files = f"read_parquet('{work.files}/*.parquet')"
    newest = ", ".join(f"arg_max_null({name}, row(event_timestamp, created_timestamp))" for name in names)
    picked = f"(SELECT DISTINCT entity_id FROM {files} ORDER BY hash(entity_id) LIMIT {COMPARED})"
    query = f"SELECT entity_id, {newest} FROM {files} SEMI JOIN {picked} USING (entity_id) GROUP BY entity_id"
    expected = duckdb.sql(query).fetchall()
    if not expected:
        raise SystemExit(f"{work.files} holds no entity")
    pipeline = client.pipeline(transaction=False)
    for entity, *_ in expected:
        pipeline.hmget(f"user:{entity}", names)
    for (entity, *values), got in zip(expected, pipeline.execute(), strict=True):
        told = [text if text is None else type(value)(text.decode()) for value, text in zip(values, got, strict=True)]
        if told != values:
            raise SystemExit(f"{work.title}: user:{entity} has {told}, DuckDB says {values}")


if __name__ == "__main__":
    main()
