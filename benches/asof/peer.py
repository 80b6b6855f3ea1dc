"""One timed job of a peer in a fresh process: Parquet files to a table of Arrow in memory.

    python peer.py duckdb asof "A_day/*.parquet" spine.parquet [--ttl HOURS] [--threads N]

Prints one line of JSON: seconds by the wall and of CPU (imports left out), and the peak of the
process' memory, of its own alone. Several sources stand with commas between them. --save writes the
answer to a file, outside of all three.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import resource
import sys
import time
from datetime import timedelta

KEYS = ("entity_id", "event_timestamp", "created_timestamp")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine")
    parser.add_argument("job", choices=["asof", "latest"])
    parser.add_argument("sources", type=lambda text: text.split(","))
    parser.add_argument("spine")
    parser.add_argument("--ttl", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save")
    job = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = str(job.threads)
    library, _, form = job.engine.partition("-")
    run = ENGINES[library](job, form)
    before, start = cpu_seconds(), time.perf_counter()
    table = run()
    wall, cpu = time.perf_counter() - start, cpu_seconds() - before
    report = {"seconds": wall, "cpu": cpu, "peak_mb": own_peak_mb(), "rows": table.num_rows}
    print(json.dumps(report))
    if job.save:
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, job.save)


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def own_peak_mb() -> float:
    """The peak since this program began (proc(5)). `ru_maxrss` is at least that of the process that
    started it: in later cases that is run.py, grown by the answers that it compared."""
    with open("/proc/self/status") as status:
        (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(peak) / 1024


def features(source: str) -> list[str]:
    import pyarrow.parquet

    names = pyarrow.parquet.read_schema(min(glob.glob(source))).names
    return [name for name in names if name not in KEYS]


def duckdb(job, form: str):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads={job.threads}")
    query = duckdb_asof(job) if job.job == "asof" else duckdb_latest(job.sources[0], form)
    return lambda: connection.sql(query).to_arrow_table()


def duckdb_asof(job) -> str:
    columns = ["s.row_id", "s.entity_id", "s.event_timestamp", "s.label"]
    joins = ""
    for number, source in enumerate(job.sources):
        view = f"f{number}"
        seen = f"{view}.event_timestamp >= s.event_timestamp - INTERVAL {job.ttl} HOUR"
        own = features(source)
        columns += [f"CASE WHEN {seen} THEN {view}.{name} END AS {name}" for name in own]
        joins += f""" ASOF LEFT JOIN read_parquet('{source}') {view}
            ON s.entity_id = {view}.entity_id AND s.event_timestamp >= {view}.event_timestamp"""
    return f"SELECT {', '.join(columns)} FROM read_parquet('{job.spine}') s {joins}"


def duckdb_latest(source: str, form: str) -> str:
    names = ", ".join(features(source))
    order = "(event_timestamp, created_timestamp)"
    if form == "row":
        row = f"struct_pack(event_timestamp, created_timestamp, {names})"
        return f"""SELECT entity_id, unnest(newest) FROM (SELECT entity_id,
            arg_max({row}, {order}) AS newest FROM read_parquet('{source}') GROUP BY entity_id)"""
    return f"""SELECT entity_id, event_timestamp, created_timestamp, {names}
        FROM read_parquet('{source}') QUALIFY row_number() OVER (PARTITION BY entity_id
        ORDER BY event_timestamp DESC, created_timestamp DESC) = 1"""


def polars(job, form: str):
    import polars

    engine = "streaming" if form == "streaming" else "in-memory"

    def scan(source: str):
        return polars.scan_parquet(source, hive_partitioning=False)

    if job.job == "latest":
        newest = polars.all().sort_by("event_timestamp", "created_timestamp").last()
        plan = scan(job.sources[0]).group_by("entity_id").agg(newest)
    else:
        plan = scan(job.spine).sort("event_timestamp")
        for source in job.sources:
            view = scan(source).select("entity_id", "event_timestamp", *features(source))
            plan = plan.join_asof(
                view.sort("event_timestamp"),
                on="event_timestamp",
                by="entity_id",
                strategy="backward",
                tolerance=timedelta(hours=job.ttl),
                check_sortedness=False,
            )
    return lambda: plan.collect(engine=engine).to_arrow()


def chdb(job, _form: str):
    import chdb

    columns = ["row_id", "entity_id", "event_timestamp", "label"]
    query = f"file('{job.spine}', Parquet)"
    for source in job.sources:
        own = features(source)
        seen = f"f.event_timestamp >= s.event_timestamp - INTERVAL {job.ttl} HOUR"
        chosen = [f"s.{name} AS {name}" for name in columns]
        chosen += [f"if({seen}, f.{name}, NULL) AS {name}" for name in own]
        view = f"SELECT entity_id, event_timestamp, {', '.join(own)} FROM file('{source}', Parquet)"
        query = f"""(SELECT {', '.join(chosen)} FROM {query} AS s ASOF LEFT JOIN ({view}) AS f
            ON s.entity_id = f.entity_id AND s.event_timestamp >= f.event_timestamp)"""
        columns += own
    settings = f"max_threads={job.threads}, join_use_nulls=1, prefer_column_name_to_alias=1"
    return lambda: chdb.query(f"SELECT * FROM {query} SETTINGS {settings}", "ArrowTable")


ENGINES = {"duckdb": duckdb, "polars": polars, "chdb": chdb}

if __name__ == "__main__":
    sys.exit(main())
