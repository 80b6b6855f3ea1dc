"""A stop and a start bring back exactly everything: from the log, from a snapshot and the log.

Everything is what `state.py` sees, and beyond it nulls, tombstones and what TTL hides.
"""

from __future__ import annotations

import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from resp import Wire, encode
from state import everything, features

DEFINITIONS = """
[entity.user]
join_keys = { user_id = "string" }
[entity.pair]
join_keys = { left = "string", right = "int64" }

[view.stats]
entity = "user"
[view.stats.features]
spend = "float64"
visits = "int64"
genre = "string"
is_new = "bool"
vector = "float32[3]"

[view.short_lived]
entity = "user"
ttl = "1d"
[view.short_lived.features]
last_page = "string"

[view.scores]
entity = "pair"
features = { score = "float64" }

[view.sourced]
entity = "user"
source = "data/sourced.parquet"
event_timestamp = "at"
features = { level = "int64", note = "string" }

[service.model]
features = ["stats:spend", "short_lived:last_page", "sourced:level"]
"""
USER_FEATURES = ["spend", "visits", "genre", "is_new", "vector", "last_page", "level", "note"]
USERS = ["a", "b", "c", "deleted", "half", "late", "s1", "s2", "none"]
OLD, OLDER = "2020-01-02T00:00:00Z", "2020-01-01T00:00:00Z"


@pytest.fixture
def server(start_nowthen, tmp_path):
    repository = tmp_path / "repository"
    (repository / "data").mkdir(parents=True)
    (repository / "features.toml").write_text(DEFINITIONS)
    rows = {"user_id": ["s1", "s2", "s2"], "level": [1, 2, None], "note": ["x", None, "y"]}
    at = pa.array([1_500_000_000, 1_500_000_000, 1_600_000_000], pa.timestamp("s", "UTC"))
    pq.write_table(pa.table({**rows, "at": at}), repository / "data" / "sourced.parquet")
    return start_nowthen(repository=repository)


def write_all_kinds(server) -> None:
    """Of everything there is, at least one."""
    client = server.client()
    client.set("string", "value")
    client.set(b"\x00\r\n", bytes(range(256)))
    client.set("ends", "x", ex=1000)
    client.set("large", b"0123456789abcdef" * 100_000)
    client.hset("hash", mapping={"f": "v", "": "", "ends": "soon"})
    client.expire("hash", 2000)
    client.hset("wide", mapping={f"field_{n}": n for n in range(3000)})
    client.hset("gone", "f", "v")
    client.delete("gone")
    client.hset("shrunk", mapping={"a": 1, "b": 2})
    client.hdel("shrunk", "a")
    client.hset("user:a", mapping={"spend": 1.5, "visits": -3, "genre": "ä\r\n", "is_new": "true"})
    client.hset("user:b", mapping={"last_page": "/home", "spend": "1e300"})
    push(client, "stats", OLD, ["late"], genre="newer")
    push(client, "stats", OLDER, ["late"], genre="older", visits=5)
    push(client, "short_lived", OLD, ["c"], last_page="hidden by its TTL")
    client.hset("user:deleted", mapping={"spend": 1, "genre": "x"})
    client.delete("user:deleted")
    client.hset("user:half", mapping={"spend": 1, "genre": "x"})
    client.hdel("user:half", "spend")
    pair = ("FS.SET", "scores", "EVENT", "NOW", "ROWS", 2, "FEATURES", 1, "score")
    client.execute_command(*pair, "x:y", 1, 0.5, "100%", -2, 1.5)
    client.execute_command("FS.MATERIALIZE", "sourced", "WAIT")


def push(client, view: str, event: str, users: list[str], **cells) -> list[int]:
    command = ["FS.SET", view, "EVENT", event, "ROWS", len(users), "FEATURES", len(cells), *cells]
    for user in users:
        command += [user, *cells.values()]
    return client.execute_command(*command)


def whole_state(server) -> dict:
    client = server.client(protocol=3)
    state = everything(client)
    state["users"] = features(client, USER_FEATURES, ["user_id"], [(user,) for user in USERS])
    pairs = [("x:y", 1), ("100%", -2), ("x", 1)]
    state["pairs"] = features(client, ["score"], ["left", "right"], pairs)
    return state


def test_what_was_written_is_what_the_test_believes(server):
    """The other tests compare before with after; this one looks at what before is."""
    write_all_kinds(server)
    state = whole_state(server)
    assert [value for value, _, _ in state["users"][0][:4]] == [1.5, -3, "ä\r\n".encode(), True]
    statuses = {user: [cell[1].decode() for cell in row] for user, row in zip(USERS, state["users"])}
    assert statuses["c"][5] == "OUTSIDE_MAX_AGE"
    assert set(statuses["none"]) == {"NOT_FOUND"}
    assert (statuses["s2"][6], statuses["s2"][7]) == ("NULL_VALUE", "PRESENT")
    assert (statuses["half"][0], statuses["half"][2]) == ("NOT_FOUND", "PRESENT")
    assert [cell[0] for cell in state["users"][5][1:3]] == [5, b"newer"]
    assert [row[0][0] for row in state["pairs"]] == [0.5, 1.5, None]
    assert {b"pair:x%3Ay:1", b"pair:100%25:-2"} <= state["keys"].keys()
    assert state["keys"][b"ends"] == (b"string", b"x", True)
    assert b"gone" not in state["keys"] and b"user:deleted" not in state["keys"]
    assert state["runs"][0][b"state"] == b"done"


def test_a_read_as_of_now_equals_the_online_read(server):
    """Nulls, tombstones, late rows and what TTL hides: FS.GET AT answers from files and log, FS.GET
    from memory, and after a restart from a snapshot they still agree.
    """
    write_all_kinds(server)
    server.client().delete("user:s1")
    for prepare in (nothing, save, lambda server: server.restart()):
        prepare(server)
        client = server.client(protocol=3)
        rows = [(user,) for user in USERS]
        online = features(client, USER_FEATURES, ["user_id"], rows)
        seconds, us = client.time()
        now = ("AT", seconds * 1_000_000 + us)
        assert features(client, USER_FEATURES, ["user_id"], rows, *now) == online


def save(server) -> None:
    assert server.client().save()


def bgsave(server) -> None:
    client = server.client()
    assert client.bgsave()
    deadline = time.monotonic() + 10
    while client.info("persistence")["rdb_bgsave_in_progress"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def write_more(server) -> None:
    client = server.client()
    client.hset("hash", "later", "1")
    client.hset("user:a", "visits", 99)
    client.delete("string")
    client.hset("after", "f", "v")


def nothing(_) -> None:
    pass


HISTORIES = {
    "from the log": [write_all_kinds],
    "from a snapshot": [write_all_kinds, save],
    "from a snapshot in the background": [write_all_kinds, bgsave],
    "from a snapshot and the log": [write_all_kinds, save, write_more],
    "from the second snapshot": [write_all_kinds, save, write_more, save],
    "from the third snapshot and the log": [save, write_all_kinds, save, write_more, save, write_more],
    "empty": [nothing],
}
ENDS = {
    "terminated": lambda server: server.stop(),
    "killed": lambda server: server.kill(),
    "shut down": lambda server: shut_down(server),
    "shut down without a snapshot": lambda server: shut_down(server, "NOSAVE"),
    "shut down with a snapshot": lambda server: shut_down(server, "SAVE"),
}


def shut_down(server, *options: str) -> None:
    """By hand: redis-py would look for the server again for some seconds."""
    with Wire(server.port) as wire:
        wire.send(encode("SHUTDOWN", *options))
        assert wire.rest() == b""
    assert server.process.wait(20) == 0


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_a_start_brings_back_everything(server, history, end):
    for step in history:
        step(server)
    before = whole_state(server)
    end(server)
    server.start()
    assert whole_state(server) == before


def test_a_second_start_finds_what_the_first_one_found(server):
    write_all_kinds(server)
    before = whole_state(server)
    for _ in range(3):
        server.restart()
        assert whole_state(server) == before
        server.kill()
        server.start()
        assert whole_state(server) == before


def test_flushall_empties_and_materialization_refills(server):
    write_all_kinds(server)
    before = whole_state(server)
    client = server.client(protocol=3)
    sourced = features(client, ["level", "note"], ["user_id"], [("s1",), ("s2",)])
    assert client.flushall()
    for _ in range(2):
        state = whole_state(server)
        assert state["keys"] == {} and server.client().dbsize() == 0
        assert {cell[1] for row in state["users"] for cell in row} == {b"NOT_FOUND"}
        assert {n: state[n] for n in ("entities", "views", "services", "runs")} == {
            n: before[n] for n in ("entities", "views", "services", "runs")
        }
        server.restart()
    client = server.client(protocol=3)
    (run,) = client.execute_command("FS.MATERIALIZE", "sourced", "WAIT")
    assert run[b"entities_written"] == 2
    assert features(client, ["level", "note"], ["user_id"], [("s1",), ("s2",)]) == sourced
    server.kill()
    server.start()
    client = server.client(protocol=3)
    assert features(client, ["level", "note"], ["user_id"], [("s1",), ("s2",)]) == sourced


def test_what_was_flushed_stays_away_after_a_snapshot(server):
    write_all_kinds(server)
    save(server)
    server.client().flushall()
    server.client().set("new", "1")
    server.kill()
    server.start()
    assert list(whole_state(server)["keys"]) == [b"new"]


def test_a_key_that_ended_while_the_server_was_down_is_gone(server):
    client = server.client()
    client.set("short", "x", px=150)
    client.set("stays", "x")
    server.stop()
    time.sleep(0.2)
    server.start()
    assert list(server.client().scan_iter()) == [b"stays"]
    assert server.client().get("short") is None


def test_a_deleted_entity_is_not_brought_back_by_its_source(server):
    client = server.client()
    client.execute_command("FS.MATERIALIZE", "sourced", "WAIT")
    assert client.delete("user:s1") == 1
    save(server)
    server.restart()
    client = server.client()
    client.execute_command("FS.MATERIALIZE", "sourced", "WAIT")
    assert client.hget("user:s1", "level") is None
    assert client.hget("user:s2", "note") == b"y"


def test_what_is_deleted_while_a_new_generation_fills_stays_deleted(server, tmp_path):
    client = server.client()
    client.execute_command("FS.MATERIALIZE", "sourced", "WAIT")
    data = tmp_path / "repository" / "data"
    (data / "moved.parquet").write_bytes((data / "sourced.parquet").read_bytes())
    moved = DEFINITIONS.replace("data/sourced.parquet", str(data / "moved.parquet"))
    assert b"generation" in client.execute_command("FS.APPLY", moved)
    assert client.hdel("user:s2", "note") == 1
    assert client.hgetdel("user:s1", "sourced:level") == [b"1"]
    assert client.hmget("user:s1", "level", "note") == [None, b"x"]
    client.execute_command("FS.MATERIALIZE", "sourced", "WAIT")
    assert client.hmget("user:s1", "level", "note") == [None, b"x"]
    assert client.hget("user:s2", "note") is None
    # By an earlier version that alone is deleted.
    assert client.hdel("user:s1", "sourced@1:note") == 1
    assert client.hmget("user:s1", "sourced@1:note", "note") == [None, b"x"]


def test_lastsave_tells_when_the_last_snapshot_was_written(server):
    client = server.client()
    client.set("a", 1)
    save(server)
    told = client.lastsave()
    assert abs(told.timestamp() - time.time()) < 5
    persistence = client.info("persistence")
    assert persistence["rdb_last_bgsave_status"] == "ok"
    assert persistence["rdb_changes_since_last_save"] == 0
    client.set("a", 2)
    assert client.info("persistence")["rdb_changes_since_last_save"] == 1
    server.kill()
    server.start()
    assert server.client().lastsave() == told


def test_definitions_given_at_the_start_are_applied_once(server):
    lsn = server.client().info("persistence")["log_last_lsn"]
    server.restart()
    assert server.client().info("persistence")["log_last_lsn"] == lsn


@pytest.mark.parametrize("durability", ["interval:50", "never"])
def test_a_clean_stop_loses_nothing_in_any_mode(start_nowthen, durability):
    server = start_nowthen("--durability", durability, definitions=DEFINITIONS)
    client = server.client()
    client.hset("user:a", "spend", 2)
    client.set("last", "word")
    server.restart()
    assert server.client().get("last") == b"word"
    assert server.client().hget("user:a", "spend") == b"2"


def test_the_clock_never_runs_back_over_a_restart(start_nowthen):
    """Started again at the same time, the clock goes on behind the last write."""
    server = start_nowthen("--clock-start", "2013-07-04T12:00:00Z", definitions=DEFINITIONS)
    client = server.client(protocol=3)
    time.sleep(0.3)
    client.hset("user:a", "spend", 1)
    ((first,),) = features(client, ["spend"], ["user_id"], [("a",)])
    server.restart()
    client = server.client(protocol=3)
    client.hset("user:a", "spend", 2)
    ((second,),) = features(client, ["spend"], ["user_id"], [("a",)])
    assert (first[0], second[0]) == (1, 2) and second[2] > first[2]
