"""The report beside a training set of what clients pushed: nulls by their reasons, ages, and where
the rows stood. How it counts files alone is in test_flights.py."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa

DEFINITIONS = """
[entity.user]
join_keys = { user = "int64" }
[view.seen]
entity = "user"
ttl = "1h"
features = { clicks = "int64", page = "string" }
[service.model]
features = ["seen:clicks", "seen:page"]
"""
MINUTE_US = 60_000_000
TIMES = pa.timestamp("us", "UTC")


def spine(now_us: int) -> bytes:
    """Users 1 to 4 in a minute, user 1 in two hours and an hour ago, and two that nobody can find."""
    users = [1, 2, 3, 4, 1, 1, None, 1]
    minutes = [1, 1, 1, 1, 120, -60, 1, None]
    times = [None if minute is None else now_us + minute * MINUTE_US for minute in minutes]
    table = pa.table({"user": users, "at": pa.array(times, TIMES)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def report(client, stream: bytes) -> dict:
    reply = client.execute_command(
        "FS.ASOF", "SERVICE", "model", "SPINE", stream, "INTO", "of_pushes", "REPORT"
    )
    return json.loads(Path(reply[b"report"].decode()).read_text())


def test_every_null_has_its_reason_wherever_the_pushes_stand(start_nowthen):
    server = start_nowthen(definitions=DEFINITIONS)
    client = server.client(protocol=3)
    client.hset("user:1", mapping={"clicks": 7, "page": "home"})
    client.hset("user:2", mapping={"clicks": 8, "page": "home"})
    client.hdel("user:2", "clicks")
    client.hset("user:3", mapping={"page": "search"})
    now_us = time.time_ns() // 1000
    stream = spine(now_us)
    told = report(client, stream)
    assert (told["request"]["service"]["name"], told["request"]["service"]["version"]) == ("model", 1)
    assert (told["spine"]["rows"], told["result"]["rows"], told["read"]["files"]) == (8, 8, 0)
    clicks, page = told["features"]
    reasons = ["no_row", "too_old", "null_in_row", "deleted", "no_key_or_time"]
    assert list(clicks["nulls"]) == reasons
    # Users 3 and 4, and user 1 before the push; two hours later; user 2; no key, no time.
    assert (clicks["present"], list(clicks["nulls"].values())) == (1, [3, 1, 0, 1, 2])
    assert (page["present"], list(page["nulls"].values())) == (3, [2, 1, 0, 0, 2])
    assert (clicks["null_rate"], page["null_rate"]) == (7 / 8, 5 / 8)
    age = clicks["age_us"]
    assert age["min"] == age["p50"] == age["p99"] == age["max"]
    assert MINUTE_US <= age["min"] <= MINUTE_US + 30_000_000
    (view,) = told["views"]
    assert (view["pushed"]["files"], view["pushed"]["log_after_lsn"], view["files"]) == ([], 0, [])
    assert view["pushed"]["rows"] == 4 and view["pushed"]["log_through_lsn"] >= 4

    client.execute_command("SAVE")
    moved = report(client, stream)
    assert moved["features"] == told["features"]
    pushed = moved["views"][0]["pushed"]
    (file,) = pushed["files"]
    stored = server.data / file["path"]
    assert (file["bytes"], file["rows"], len(file["blake3"])) == (stored.stat().st_size, 4, 64)
    assert file["first_lsn"] <= file["last_lsn"] <= pushed["log_after_lsn"]
    assert pushed["rows"] == 4
