"""What a view does not keep: given up in the background, and told to whoever asks for it.

`retention` counts from now, and a row also has to be known for so long; so rows of 2013 go a second
after they were pushed where a second is kept.
"""

from __future__ import annotations

import datetime as dt
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from conftest import run_nowthen
from test_compaction import until

DEFINITIONS = """
[entity.user]
join_keys = {{ user = "string" }}
[view.kept]
entity = "user"
features = {{ score = "int64" }}
[view.pushed]
entity = "user"
retention = "1s"
features = {{ points = "int64", label = "string" }}
[view.sourced]
entity = "user"
source = "{source}"
event_timestamp = "at"
retention = "1s"
features = {{ visits = "int64" }}
"""
START = dt.datetime(2013, 7, 4, 12, tzinfo=dt.UTC)
SECONDS = 20


def second(number: int) -> str:
    return (START + dt.timedelta(seconds=number)).isoformat()


def push(client: redis.Redis, view: str, number: int, **features: object) -> None:
    command = ["FS.SET", view, "EVENT", second(number), "ROWS", 1, "FEATURES", len(features)]
    client.execute_command(*command, *features, "a", *features.values())


def at(client: redis.Redis, feature: str, number: int) -> object:
    words = f"FS.GET FEATURES 1 {feature} FOR 1 user ROWS 1 a AT {second(number)}"
    return client.execute_command(*words.split())[0][0]


def events(client: redis.Redis, feature: str) -> int:
    return len(client.execute_command("FS.HISTORY", "user:a", "FEATURES", 1, feature))


def test_what_is_older_than_kept_goes_and_questions_about_it_are_refused(start_nowthen, tmp_path):
    source = tmp_path / "visits.parquet"
    times = pa.array([START + dt.timedelta(seconds=n) for n in range(SECONDS)])
    visits = {"user": ["a"] * SECONDS, "at": times, "visits": [n * 100 for n in range(SECONDS)]}
    pq.write_table(pa.table(visits), source)
    server = start_nowthen("--save", "", definitions=DEFINITIONS.format(source=source))
    client = server.client(protocol=3)
    for number in range(SECONDS):
        push(client, "kept", number, score=number)
        push(client, "pushed", number, points=number, **({"label": "x"} if number == 3 else {}))
        push(client, "sourced", number, visits=number)
    assert at(client, "points", 5) == 5 and at(client, "visits", 5) == 5
    time.sleep(1.1)
    for _ in range(2):
        client.bgsave()
        until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
    until(lambda: client.info("persistence")["history_compactions"] == 2)
    # The newest points, and the only label there ever was.
    counts = {name: events(client, name) for name in ("score", "points", "label", "visits")}
    assert counts == {"score": SECONDS, "points": 2, "label": 1, "visits": SECONDS + 1}

    for _ in range(2):
        assert at(client, "score", 5) == 5
        now = int(time.time() - START.timestamp()) + 1
        assert at(client, "points", now) == SECONDS - 1 and at(client, "label", now) == b"x"
        for feature in ("points", "label"):
            with pytest.raises(redis.ResponseError, match="^view pushed keeps its history for 1s"):
                at(client, feature, 5)
        # Now the source alone tells; of the newest second the push, which came later.
        assert at(client, "visits", 5) == 500 and at(client, "visits", SECONDS) == SECONDS - 1
        server.restart()
        client = server.client(protocol=3)

    described = client.execute_command("FS.DESCRIBE", "pushed")
    assert described[b"retention"] == b"1s"
    server.stop()
    checked = run_nowthen("verify", server.data)
    assert checked.returncode == 0, checked.stdout + checked.stderr
