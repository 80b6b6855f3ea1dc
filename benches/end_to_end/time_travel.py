"""`FS.GET ... AT t` and `FS.HISTORY` of one entity, over a history that was pushed: how long one
request takes.

    python benches/end_to_end/time_travel.py [--data FOLDER] [--view B_day] [--requests 20000]
    python benches/end_to_end/time_travel.py --quick      small files, for a moment: part of ./check

The rows of --data/--view (made by benches/asof/generate.py or another generator of that layout;
`B_day` is 100 M rows x 5 features of 1 M entities) are pushed by FS.LOAD, in the order they arrived,
into a server in mode `interval:1000` that writes a snapshot for each GiB of its log, and two at the
end, and compacts its history as it always does. Once nothing is left to compact, requests for
entities and times picked at random follow one another on one connection; a first tenth is not
counted. The time is a request's whole way, of redis-py too, without Python's garbage collector; beside
it stands the p99 of the server's own time, of all requests (INFO latencystats). Each answer is compared with DuckDB's
over the files themselves. FS.HISTORY is asked about the same entities, for what was written of the day
before the same time. Then the newest rows are pushed once more, which changes no answer of FS.GET and
repeats writes to FS.HISTORY, and the same is asked while they stand in the log alone.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from server import QUIET, RELEASE_BINARY, ROOT, Server, nowthen

GENERATE = ROOT / "benches" / "asof" / "generate.py"
KEYS = ("entity_id", "event_timestamp", "created_timestamp")
TYPES = {"double": "float64", "int64": "int64", "string": "string", "large_string": "string"}
ROWS_AT_ONCE = 32_768
# What FS.HISTORY is asked for: so long before the time that FS.GET is asked at.
WINDOW_US = 24 * 3600 * 1_000_000
GOAL_MS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--view", default="A_day", help="the folder in --data whose files are pushed")
    parser.add_argument("--binary", type=Path, default=RELEASE_BINARY)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--again", type=int, default=5_000_000, help="rows that are pushed once more at the end")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    requests, again = (500, 20_000) if options.quick else (options.requests, options.again)
    with tempfile.TemporaryDirectory(dir=options.data) as scratch:
        history = options.data or Path(scratch)
        if not (history / options.view).is_dir():
            small = ["--rows", "100000", "--entities", "5000", "--spine", "10000"] if options.quick else []
            subprocess.run([sys.executable, str(GENERATE), str(history), *small], check=True, **QUIET)
        files = sorted((history / options.view).glob("*.parquet"))
        cores = sorted(os.sched_getaffinity(0))
        with nowthen(options.binary, scratch, definitions(files), cores, "--durability", "interval:1000") as server:
            rows = push(files, server)
            expected = spine(files, requests)
            writes = written(files, expected)
            print("| history | asked | requests | first ms | p50 ms | p99 ms | p99.9 ms | server's p99 ms | goal for p99 |")
            print("|---|---|--:|--:|--:|--:|--:|--:|---|")
            travel(files, server, expected, f"{rows:,} rows")
            look_back(files, server, writes, f"{rows:,} rows")
            repeated = newest(files, again)
            load(batches(repeated), server)
            history = f"the same, {again:,} of them once more in the log"
            travel(files, server, expected, history)
            more = written(repeated, expected)
            look_back(files, server, [(ask, own + other) for (ask, own), (_, other) in zip(writes, more)], history)


def definitions(files: list[Path]) -> str:
    kinds = {field.name: TYPES[str(field.type)] for field in pq.read_schema(files[0]) if "timestamp" not in field.name}
    features = ", ".join(f'{name} = "{kind}"' for name, kind in kinds.items() if name not in KEYS)
    return f"""
        [entity.user]
        join_keys = {{ entity_id = "{kinds["entity_id"]}" }}

        [view.pushed]
        entity = "user"
        features = {{ {features} }}
    """


def feature_names(files: list[Path]) -> list[str]:
    return [name for name in pq.read_schema(files[0]).names if name not in KEYS]


def push(files: list[Path], server: Server) -> int:
    """Pushes all rows, and waits until they are in the history, compacted; how many there are."""
    started = time.monotonic()
    rows = load(batches(files), server)
    pushed = time.monotonic()
    # A compaction takes files before the older of two snapshots only.
    for _ in range(2):
        wait(server, "rdb_bgsave_in_progress")
        server.client.execute_command("BGSAVE")
        wait(server, "rdb_bgsave_in_progress")
    wait(server, "history_compaction_in_progress", calm_seconds=2)
    waited, told = time.monotonic(), server.client.info("persistence")
    print(
        f"{rows:,} rows pushed in {pushed - started:.0f} s, in the history and compacted {waited - pushed:.0f} s "
        f"later: {told['history_files']} files, {told['history_bytes'] / 1e6:,.0f} MB"
    )
    return rows


def load(rows: Iterable[pa.RecordBatch], server: Server) -> int:
    """Pushes rows, in this order; how many there are."""
    count = 0
    for batch in rows:
        stream = pa.BufferOutputStream()
        with pa.ipc.new_stream(stream, batch.schema) as writer:
            writer.write_batch(batch)
        server.client.execute_command("FS.LOAD", "pushed", stream.getvalue().to_pybytes())
        count += batch.num_rows
    return count


def newest(files: list[Path], count: int) -> list[Path]:
    """The files that arrived last: those of so many rows, or some more."""
    rows = 0
    for place in range(len(files) - 1, -1, -1):
        rows += pq.read_metadata(files[place]).num_rows
        if rows >= count:
            return files[place:]
    return files


def batches(files: list[Path]) -> Iterator[pa.RecordBatch]:
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(ROWS_AT_ONCE):
            yield batch.drop_columns(["created_timestamp"])


def wait(server: Server, what: str, calm_seconds: float = 0) -> None:
    """Until the server says no more that it is at something, and stays with it."""
    calm_since = time.monotonic()
    while True:
        if server.client.info("persistence")[what]:
            calm_since = time.monotonic()
        elif time.monotonic() - calm_since >= calm_seconds:
            return
        time.sleep(0.05)


def travel(files: list[Path], server: Server, expected: list[tuple], history: str) -> None:
    names, took = feature_names(files), []
    begin(server)
    for entity, at, *values in expected:
        words = ["FS.GET", "FEATURES", len(names), *names, "FOR", 1, "entity_id", "ROWS", 1, entity, "AT", at]
        started = time.perf_counter_ns()
        (got,) = server.client.execute_command(*words)
        took.append((time.perf_counter_ns() - started) / 1e6)
        told = [value.decode() if isinstance(value, bytes) else value for value in got]
        if told != values:
            raise SystemExit(f"user:{entity} at {at} has {told}, DuckDB says {values}")
    tell(server, f"{history} | FS.GET AT", took, GOAL_MS)


def look_back(files: list[Path], server: Server, expected: list[tuple], history: str) -> None:
    names, took = feature_names(files), []
    begin(server)
    for (entity, first, last), writes in expected:
        words = ["FS.HISTORY", f"user:{entity}", "FEATURES", len(names), *names, "FROM", first, "TO", last]
        started = time.perf_counter_ns()
        got = server.client.execute_command(*words)
        took.append((time.perf_counter_ns() - started) / 1e6)
        events = [event for event, *_ in got]
        if events != sorted(events) or Counter(map(told_write, got)) != writes:
            raise SystemExit(f"user:{entity} from {first} to {last} has {got}, DuckDB says {writes}")
    counts = [writes.total() for _, writes in expected]
    mean, p99 = np.mean(counts), np.percentile(counts, 99)
    tell(server, f"{history} | FS.HISTORY of a day, {mean:.1f} writes, p99 {p99:,.0f}", took, None)


def told_write(write: list) -> tuple:
    """Event and values; every feature was pushed with each row."""
    event, _, _, cells = write
    return (event, *(value.decode() if isinstance(value, bytes) else value for _, _, value in cells))


def begin(server: Server) -> None:
    """What was made before is not looked through while it is measured."""
    gc.collect()
    gc.freeze()
    gc.disable()
    server.client.config_resetstat()


def tell(server: Server, what: str, took: list[float], goal_ms: float | None) -> None:
    gc.enable()
    gc.unfreeze()
    p50, p99, p999 = np.percentile(took[len(took) // 10 :], [50, 99, 99.9])
    command = what.split(" | ")[1].split()[0].lower()
    own = server.client.info("latencystats")[f"latency_percentiles_usec_{command}"]["p99"] / 1e3
    goal = "" if goal_ms is None else f"{goal_ms:.0f} ms, {'reached' if p99 <= goal_ms else 'missed'}"
    print(f"| {what} | {len(took):,} | {took[0]:.1f} | {p50:.2f} | {p99:.2f} | {p999:.2f} | {own:.2f} | {goal} |")


def written(files: list[Path], expected: list[tuple]) -> list[tuple]:
    """Entity, first and last time of a window for each of `expected`, and how often DuckDB finds each
    write in it."""
    windows = [(entity, at - WINDOW_US, at) for entity, at, *_ in expected]
    entities, firsts, lasts = map(pa.array, zip(*windows))
    asked = pa.table({"number": range(len(windows)), "entity_id": entities, "first": firsts, "last": lasts})
    connection = duckdb.connect()
    connection.register("asked", asked)
    rows = connection.sql(f"""
        SELECT number, epoch_us(event_timestamp), {", ".join(feature_names(files))}
        FROM asked JOIN read_parquet({[str(file) for file in files]}) AS history
            ON asked.entity_id = history.entity_id AND epoch_us(event_timestamp) BETWEEN asked.first AND asked.last
    """).fetchall()
    writes: list[Counter] = [Counter() for _ in windows]
    for number, *write in rows:
        writes[number][tuple(write)] += 1
    return list(zip(windows, writes))


def spine(files: list[Path], requests: int) -> list[tuple]:
    """Entities, half of them each as likely and half as often as they have rows, and times within
    those of the rows, with what DuckDB finds there."""
    names = ", ".join(feature_names(files))
    source = f"read_parquet({[str(file) for file in files]})"
    return duckdb.sql(f"""
        WITH span AS (SELECT min(event_timestamp) AS first, max(event_timestamp) AS last FROM {source}),
        alike AS (SELECT DISTINCT entity_id FROM {source} ORDER BY hash(entity_id, 1) LIMIT {requests // 2}),
        active AS (SELECT entity_id FROM {source} USING SAMPLE reservoir({requests // 2} ROWS) REPEATABLE (1)),
        spine AS (
            SELECT entity_id, row_number() OVER () AS number,
                first + to_microseconds((hash(number, 2) % epoch_us(last - first)::UBIGINT)::BIGINT) AS event_timestamp
            FROM (FROM alike UNION ALL FROM active), span
        )
        SELECT spine.entity_id, epoch_us(spine.event_timestamp), {names}
        FROM spine ASOF LEFT JOIN {source} AS history
            ON spine.entity_id = history.entity_id AND spine.event_timestamp >= history.event_timestamp
        ORDER BY hash(number, 3)
    """).fetchall()


if __name__ == "__main__":
    main()
