"""Bad input: a clear error that names what is wrong, and nothing changed.

Files of ours that are damaged, definitions, sources and spines of others, bytes on a socket. Each
case compares all that the server holds before and after (`state.py`), or every byte of a folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import struct
import subprocess
import time
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from conftest import Nowthen, free_ports, run_nowthen
from resp import Wire, encode
from state import everything

DEFINITIONS = """
[entity.user]
join_keys = { user_id = "string" }
[entity.pair]
join_keys = { left = "string", right = "int64" }

[view.stats]
entity = "user"
source = "data/stats.parquet"
event_timestamp = "at"
[view.stats.features]
spend = "float64"
visits = "int64"
genre = "string"
is_new = "bool"

[view.scores]
entity = "pair"
features = { score = "float64" }

[service.model]
features = ["stats:spend"]
"""
MICROSECONDS = pa.timestamp("us", "UTC")
STATS = pa.table(
    {
        "user_id": [f"u{n}" for n in range(1000)],
        "at": pa.array([1_700_000_000_000_000 + n for n in range(1000)], MICROSECONDS),
        "spend": [n / 2 for n in range(1000)],
        "visits": list(range(1000)),
        "genre": ["jazz"] * 1000,
        "is_new": [True] * 1000,
    }
)


@pytest.fixture
def repository(tmp_path) -> Path:
    folder = tmp_path / "features"
    (folder / "data").mkdir(parents=True)
    (folder / "features.toml").write_text(DEFINITIONS)
    pq.write_table(STATS, source_of(folder), row_group_size=100)
    return folder


def source_of(repository: Path) -> Path:
    return repository / "data" / "stats.parquet"


@pytest.fixture
def server(start_nowthen, repository) -> Nowthen:
    server = start_nowthen(repository=repository)
    client = server.client()
    client.execute_command("FS.MATERIALIZE", "stats", "WAIT")
    client.hset("user:a", mapping={"spend": 1, "genre": "x"})
    client.hset("plain", "f", "v")
    client.set("string", "s")
    return server


def state(server) -> dict:
    """Everything but runs: a run that failed is remembered, and should be."""
    whole = everything(server.client(protocol=3))
    del whole["runs"]
    whole["lsn"] = server.client().info("persistence")["log_last_lsn"]
    return whole


def refusal(server, *command) -> str:
    with pytest.raises(redis.ResponseError) as caught:
        server.client().execute_command(*command)
    return str(caught.value)


def assert_names(text: str, *names: str) -> None:
    assert [name for name in names if name not in text] == [], text


# --- sources


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def cut_with_footer(path: Path) -> None:
    """The middle is gone, the footer is whole: only reading the pages tells."""
    data = path.read_bytes()
    footer = struct.unpack("<I", data[-8:-4])[0] + 8
    path.write_bytes(data[:200] + bytes(len(data) - footer - 200) + data[-footer:])


def rewrite(change):
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


def with_column(name: str, values: pa.Array):
    return rewrite(lambda table: table.set_column(table.column_names.index(name), name, values))


BAD_SOURCES = {
    "cut in half": (cut, ["stats.parquet"]),
    "zeros in the middle": (cut_with_footer, ["stats.parquet"]),
    "empty": (lambda path: path.write_bytes(b""), ["stats.parquet"]),
    "no parquet": (lambda path: path.write_text("user_id,at\n"), ["stats.parquet", "Parquet"]),
    "gone": (lambda path: path.unlink(), ["stats.parquet"]),
    "a folder without files": (lambda path: (path.unlink(), path.mkdir()), ["stats.parquet"]),
    "without the event timestamp": (
        rewrite(lambda table: table.drop_columns(["at"])),
        ["stats.parquet", "'at'", "event timestamp"],
    ),
    "without a join key": (
        rewrite(lambda table: table.drop_columns(["user_id"])),
        ["stats.parquet", "'user_id'"],
    ),
    "without a feature": (
        rewrite(lambda table: table.drop_columns(["visits"])),
        ["stats.parquet", "'visits'"],
    ),
    "text for a number": (
        with_column("spend", pa.array(["much"] * 1000)),
        ["stats.parquet", "'spend'", "float64"],
    ),
    "a number for text": (
        with_column("genre", pa.array([1.5] * 1000)),
        ["stats.parquet", "'genre'", "string"],
    ),
    "a number for the event timestamp": (
        with_column("at", pa.array([1.5] * 1000)),
        ["stats.parquet", "'at'", "timestamp"],
    ),
}


@pytest.mark.parametrize(("spoil", "names"), BAD_SOURCES.values(), ids=BAD_SOURCES)
def test_a_bad_source_stops_materialization_and_the_join(server, repository, tmp_path, spoil, names):
    before = state(server)
    spoil(source_of(repository))
    assert_names(refusal(server, "FS.MATERIALIZE", "stats", "WAIT"), *names)
    # The end of the failed run is one record, and no cell is written.
    after = state(server)
    assert after.pop("lsn") - before.pop("lsn") <= 1
    assert after == before
    run = server.client(protocol=3).execute_command("FS.RUNS", "stats")[0]
    assert run[b"state"] == b"failed" and names[0].encode() in run[b"error"]
    done = run_nowthen("materialize", "stats", "--wait", "--url", server.url)
    assert done.returncode == 1
    assert_names(done.stderr, *names)
    spine, out = tmp_path / "spine.parquet", tmp_path / "out.parquet"
    pq.write_table(STATS.select(["user_id", "at"]), spine)
    done = asof(repository, spine, out, "stats:spend,visits,genre")
    assert done.returncode == 1 and not out.exists()
    assert_names(done.stderr, *names)


def asof(repository: Path, spine: Path, out: Path, features: str, *arguments: str):
    options = ["--spine", spine, "--out", out, "--features", features, *arguments]
    return run_nowthen("asof", "--repo", repository, *options)


# --- spines

BAD_SPINES = {
    "without a join key": (STATS.select(["at"]), "stats:spend", ["user_id", "user"]),
    "without one of two join keys": (
        pa.table({"left": ["x"], "at": STATS["at"].slice(0, 1)}),
        "scores:score",
        ["right", "pair"],
    ),
    "without a time": (STATS.select(["user_id"]), "stats:spend", ["timestamp"]),
    "with two times": (
        STATS.select(["user_id", "at"]).append_column("at2", STATS["at"]),
        "stats:spend",
        ["at", "at2"],
    ),
    "with a number as key": (
        pa.table({"user_id": [1.5], "at": STATS["at"].slice(0, 1)}),
        "stats:spend",
        ["user_id", "string"],
    ),
    "with a column named as the feature": (
        STATS.select(["user_id", "at", "spend"]),
        "stats:spend",
        ["spend", "full names"],
    ),
}


@pytest.mark.parametrize(("spine", "features", "names"), BAD_SPINES.values(), ids=BAD_SPINES)
def test_a_bad_spine_is_refused(server, repository, tmp_path, spine, features, names):
    path, out = tmp_path / "spine.parquet", tmp_path / "out.parquet"
    pq.write_table(spine, path)
    before = state(server)
    done = asof(repository, path, out, features)
    assert done.returncode == 1 and not out.exists()
    assert_names(done.stderr, *names)
    stream = ipc_stream(spine)
    assert_names(refusal(server, "FS.ASOF", "FEATURES", 1, features, "SPINE", stream), *names)
    assert state(server) == before


def ipc_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


SPINE_STREAM = ipc_stream(STATS.select(["user_id", "at"]))
BAD_STREAMS = {
    "empty": b"",
    "garbage": b"\xff" * 1000,
    "text": b"user_id,at",
    "cut": SPINE_STREAM[: len(SPINE_STREAM) // 2],
    "cut in the schema": SPINE_STREAM[:50],
    "huge lengths": b"\xff\xff\xff\xff\xff\xff\xff\x7f" + SPINE_STREAM[8:],
}


@pytest.mark.parametrize("stream", BAD_STREAMS.values(), ids=BAD_STREAMS)
def test_bytes_that_are_no_arrow_stream_are_refused(server, stream):
    text = refusal(server, "FS.ASOF", "FEATURES", 1, "stats:spend", "SPINE", stream)
    assert_names(text, "Arrow")
    assert server.client().ping()


def test_flipped_bytes_in_a_spine_give_an_error_or_an_answer_but_never_an_end(server):
    with Wire(server.port) as wire:
        for place in range(0, len(SPINE_STREAM), max(1, len(SPINE_STREAM) // 150)):
            stream = bytearray(SPINE_STREAM)
            stream[place] ^= 0xFF
            reply = wire.ask("FS.ASOF", "FEATURES", 1, "stats:spend", "SPINE", bytes(stream))
            assert reply[0] in "-$", place
    assert server.process.poll() is None


# --- definitions

BAD_DEFINITIONS = {
    "unknown type": ("spend = \"float64\"", "spend = \"flot64\"", ["features.toml:12", "spend", "'flot64'", "'float64'"]),
    "duplicate view": (
        "[view.scores]",
        "[view.stats]\nentity = \"user\"\nfeatures = { x = \"bool\" }\n[view.scores]",
        ["features.toml:", "stats"],
    ),
    "feature of no view": ("stats:spend\"]", "nowhere:spend\"]", ["features.toml:22", "model", "nowhere"]),
    "unknown feature of a view": ("stats:spend\"]", "stats:spent\"]", ["features.toml:22", "spent", "spend"]),
    "unknown entity": ("entity = \"user\"", "entity = \"usr\"", ["features.toml:8", "'usr'", "'user'"]),
    "unknown key": ("event_timestamp =", "event_time =", ["features.toml:10", "event_time"]),
    "no toml": ("[entity.user]", "[entity.user", ["features.toml:2"]),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "names"), BAD_DEFINITIONS.values(), ids=BAD_DEFINITIONS)
def test_a_bad_definition_is_refused_whole(server, repository, old, new, names):
    before = state(server)
    good = DEFINITIONS.replace("[service.model]", "[view.added]\nentity = \"user\"\nfeatures = { a = \"bool\" }\n[service.model]")
    bad = DEFINITIONS.replace(old, new, 1)
    assert bad != DEFINITIONS and good != DEFINITIONS
    (repository / "features.toml").write_text(bad)
    for verb in ("plan", "apply"):
        done = run_nowthen(verb, "--repo", repository, "--url", server.url)
        assert done.returncode == 1
        assert_names(done.stderr, *names)
    text = refusal(server, "FS.APPLY", bad)
    assert_names(text, *names[1:])
    assert state(server) == before
    done = run_nowthen("serve", "--data", repository / "new", *ports(), "--repo", repository)
    assert done.returncode == 1
    assert_names(done.stderr, *names)


def test_a_view_in_two_files_is_a_duplicate_that_names_both(server, repository):
    (repository / "more.toml").write_text("[view.stats]\nentity = \"user\"\nfeatures = { x = \"bool\" }\n")
    before = state(server)
    done = run_nowthen("apply", "--repo", repository, "--url", server.url)
    assert done.returncode == 1
    assert_names(done.stderr, "features.toml", "more.toml", "stats")
    assert state(server) == before


def test_plan_changes_nothing_and_apply_does_what_plan_said(server, repository):
    before = state(server)
    text = DEFINITIONS + "\n[view.added]\nentity = \"user\"\nfeatures = { extra = \"bool\" }\n"
    (repository / "features.toml").write_text(text)
    plan = run_nowthen("plan", "--repo", repository, "--url", server.url)
    assert plan.returncode == 0 and "added" in plan.stdout, plan.stderr
    assert state(server) == before
    assert run_nowthen("apply", "--repo", repository, "--url", server.url).returncode == 0
    assert b"added" in server.client().execute_command("FS.VIEWS")
    assert server.client().hset("user:a", "extra", "true") == 1
    again = run_nowthen("plan", "--repo", repository, "--url", server.url)
    assert "added" not in again.stdout


# --- writes

PUSH = ["FS.SET", "stats", "EVENT", "2024-01-01T00:00:00Z"]
BAD_WRITES = {
    "unknown feature": (["HSET", "user:a", "spent", "1"], ["'spent'", "spend"]),
    "one of several unknown": (["HSET", "user:a", "spend", "5", "nonsense", "1"], ["nonsense"]),
    "wrong type": (["HSET", "user:a", "spend", "much"], ["stats:spend", "'much'", "float64"]),
    "one of several of a wrong type": (
        ["HSET", "user:a", "spend", "5", "genre", "y", "visits", "1.5"],
        ["stats:visits", "'1.5'", "int64"],
    ),
    "a whole number too large": (["HSET", "user:a", "visits", "9223372036854775808"], ["visits"]),
    "no boolean": (["HSET", "user:a", "is_new", "maybe"], ["is_new", "'maybe'", "bool"]),
    "text that is not UTF-8": (["HSET", "user:a", "genre", b"\xff\xfe"], ["genre"]),
    "HMSET too": (["HMSET", "user:a", "spend", "5", "visits", "x"], ["visits"]),
    "a key part of a wrong type": (["HSET", "pair:x:y", "score", "1"], ["right", "int64"]),
    "a key part too few": (["HSET", "pair:x", "score", "1"], ["pair"]),
    "a key part too many": (["HSET", "pair:x:1:2", "score", "1"], ["pair"]),
    "SET of an entity": (["SET", "user:a", "1"], ["user", "HSET"]),
    "EXPIRE of an entity": (["EXPIRE", "user:a", "100"], ["user", "TTL"]),
    "FS.SET of an unknown view": (["FS.SET", "stat", *PUSH[2:], "ROWS", 1, "FEATURES", 1, "spend", "a", 1], ["stat", "stats"]),
    "FS.SET of an unknown feature": ([*PUSH, "ROWS", 1, "FEATURES", 1, "spent", "a", 1], ["'spent'", "'spend'"]),
    "FS.SET with one bad row": ([*PUSH, "ROWS", 2, "FEATURES", 1, "spend", "a", 1, "b", "x"], ["stats:spend", "'x'"]),
    "FS.SET with a row too few": ([*PUSH, "ROWS", 3, "FEATURES", 1, "spend", "a", 1, "b", 2], ["3 rows"]),
    "FS.SET with a value too many": ([*PUSH, "ROWS", 1, "FEATURES", 1, "spend", "a", 1, 2], ["1 rows"]),
    "FS.SET of a feature twice": ([*PUSH, "ROWS", 1, "FEATURES", 2, "spend", "spend", "a", 1, 2], ["spend", "twice"]),
    "FS.SET of huge counts": ([*PUSH, "ROWS", 2**62, "FEATURES", 1, "spend", "a", 1], []),
    "FS.SET of more features than words": ([*PUSH, "ROWS", 1, "FEATURES", 2**62, "spend", "a", 1], ["features"]),
    "FS.SET of minus one row": ([*PUSH, "ROWS", -1, "FEATURES", 1, "spend", "a", 1], []),
    "FS.SET at no time": (["FS.SET", "stats", "EVENT", "soon", "ROWS", 1, "FEATURES", 1, "spend", "a", 1], ["soon"]),
    "dropping an entity with views": (["FS.DROP", "ENTITY", "user"], ["user", "stats"]),
    "dropping a view that is read": (["FS.DROP", "VIEW", "stats"], ["stats", "model"]),
    "dropping an unknown view": (["FS.DROP", "VIEW", "score"], ["'score'", "'scores'"]),
    "dropping what is no kind": (["FS.DROP", "FEATURE", "stats:spend"], ["entity", "view", "service", "'FEATURE'"]),
    "dropping two": (["FS.DROP", "SERVICE", "model", "model"], ["syntax"]),
    "dropping no text": (["FS.DROP", "SERVICE", b"\xff"], ["UTF-8"]),
    "FS.SET in the far future": (
        ["FS.SET", "stats", "EVENT", "2999-01-01T00:00:00Z", "ROWS", 1, "FEATURES", 1, "spend", "a", 1],
        ["2999-01-01", "5m", "clock"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("command", "names"), BAD_WRITES.values(), ids=BAD_WRITES)
def test_a_bad_write_is_refused_whole(server, command, names):
    before = state(server)
    text = refusal(server, *command)
    assert_names(text, *names)
    assert state(server) == before


def test_an_error_never_repeats_more_than_128_bytes_of_input(server):
    long = "x" * 10_000
    commands = [
        ["HSET", "user:a", "spend", long], ["HSET", "user:a", long, "1"], [long, "a"],
        ["FS.SET", long, *PUSH[2:], "ROWS", 1, "FEATURES", 1, "spend", "a", 1],
        ["FS.GET", "FEATURES", 1, long, "FOR", 1, "user_id", "ROWS", 1, "a"],
        ["FS.GET", "FEATURES", 1, "spend", "FOR", 1, long, "ROWS", 1, "a"],
        ["FS.GET", "FEATURES", 1, "spend", "FOR", 1, "user_id", "ROWS", 1, "a", "AT", long],
        ["FS.DROP", "VIEW", long], ["FS.DROP", long, "x"], ["FS.LINEAGE", long], ["FS.LINEAGE", f"stats:{long}"],
        ["FS.LINEAGE", f"stats@{long}"], ["FS.STATS", long], ["FS.STATS", f"stats:{long}"], ["FS.STATS", f"stats@{long}"],
        ["FS.DESCRIBE", long], ["FS.MATERIALIZE", long], ["CLIENT", long], ["CONFIG", long],
        ["COMMAND", long], ["FS.APPLY", f"[view.{long}]"], ["CLIENT", "SETINFO", long, "x"],
        ["HELLO", "3", long], ["EXPIRE", "a", "1", long], ["HSET", f"pair:x:{long}", "score", "1"],
        ["FS.GET", "SERVICE", long, "FOR", 1, "user_id", "ROWS", 1, "a"],
        ["FS.APPLY", f"[entity.{long}]\njoin_keys = {{ a = \"{long}\" }}"],
    ]  # fmt: skip
    too_long = {}
    for command in commands:
        text = refusal(server, *command)
        if "x" * 129 in text:
            too_long[" ".join(str(word)[:20] for word in command)] = len(text)
    assert too_long == {}


BAD_READS = {
    "unknown feature": (["FS.GET", "FEATURES", 1, "stats:spent", "FOR", 1, "user_id", "ROWS", 1, "a"], ["spent", "spend"]),
    "unknown view": (["FS.GET", "FEATURES", 1, "stat:spend", "FOR", 1, "user_id", "ROWS", 1, "a"], ["stat", "stats"]),
    "unknown service": (["FS.GET", "SERVICE", "modle", "FOR", 1, "user_id", "ROWS", 1, "a"], ["modle", "model"]),
    "missing join key": (["FS.GET", "FEATURES", 1, "score", "FOR", 1, "left", "ROWS", 1, "a"], ["right", "pair"]),
    "too many rows": (["FS.GET", "FEATURES", 1, "spend", "FOR", 1, "user_id", "ROWS", 100_001, "a"], ["100000"]),
    "rows that do not follow": (["FS.GET", "FEATURES", 1, "spend", "FOR", 1, "user_id", "ROWS", 5, "a"], ["5 rows"]),
    "no time": (["FS.GET", "FEATURES", 1, "spend", "FOR", 1, "user_id", "ROWS", 1, "a", "AT", "noon"], ["noon"]),
    "lineage of an unknown name": (["FS.LINEAGE", "stat"], ["'stat'", "'stats'"]),
    "lineage of an unknown feature": (["FS.LINEAGE", "stats:spent"], ["stats", "'spent'", "'spend'"]),
    "lineage of an unknown version": (["FS.LINEAGE", "stats@7"], ["stats", "7"]),
    "lineage of no version": (["FS.LINEAGE", "stats@x"], ["version", "'x'"]),
    "lineage of no text": (["FS.LINEAGE", b"\xff"], ["UTF-8"]),
    "lineage of two names": (["FS.LINEAGE", "stats", "scores"], ["fs.lineage"]),
    "figures of an unknown view": (["FS.STATS", "stat"], ["'stat'", "'stats'"]),
    "figures of an entity": (["FS.STATS", "user"], ["view", "'user'"]),
    "figures of an unknown feature": (["FS.STATS", "stats:spent"], ["stats", "'spent'", "'spend'"]),
    "figures of an unknown version": (["FS.STATS", "stats@7"], ["stats", "7"]),
    "figures of no text": (["FS.STATS", b"\xff"], ["UTF-8"]),
    "unknown option": (["FS.GET", "FEATURES", 1, "spend", "FOR", 1, "user_id", "ROWS", 1, "a", "NOW"], ["syntax"]),
}  # fmt: skip


@pytest.mark.parametrize(("command", "names"), BAD_READS.values(), ids=BAD_READS)
def test_a_bad_read_is_refused(server, command, names):
    assert_names(refusal(server, *command), *names)


# --- bytes on the socket

# What is sent, and what the answer begins with.
BAD_BYTES = {
    "garbage": (b"GARBAGE a\x01\r\nQUIT\r\n", b"-ERR unknown command"),
    "huge count": (b"*2147483648\r\n", b"-ERR Protocol error: invalid multibulk length"),
    "count beyond 64 bits": (b"*99999999999999999999\r\n", b"-ERR Protocol error: invalid multibulk length"),
    "count of letters": (b"*abc\r\n", b"-ERR Protocol error: invalid multibulk length"),
    "negative bulk": (b"*2\r\n$3\r\nGET\r\n$-7\r\n", b"-ERR Protocol error: invalid bulk length"),
    "null bulk": (b"*2\r\n$3\r\nGET\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length"),
    "huge bulk": (b"*2\r\n$3\r\nGET\r\n$99999999999\r\n", b"-ERR Protocol error: invalid bulk length"),
    "no dollar": (b"*1\r\n:4\r\n", b"-ERR Protocol error: expected '$', got ':'"),
    "quotes": (b'SET a "b\r\n', b"-ERR Protocol error: unbalanced quotes in request"),
    "a line without an end": (b"A" * 70_000, b"-ERR Protocol error: too big inline request"),
    "a count without an end": (b"*" + b"1" * 70_000, b"-ERR Protocol error: too big mbulk count string"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "answer"), BAD_BYTES.values(), ids=BAD_BYTES)
def test_bad_bytes_get_the_error_of_redis_and_end_the_connection(nowthen, redis_server, data, answer):
    told = []
    for server in (nowthen, redis_server):
        with Wire(server.port) as wire:
            wire.send(data)
            told.append(wire.rest())
        assert server.client().ping()
    assert told[0].startswith(answer), told
    assert told[0] == told[1]


OURS_ONLY = {
    "a count that Redis believes": (b"*2147483647\r\n", b"-ERR Protocol error: invalid multibulk length"),
    "a zero byte": (b"GARBAGE \xff\x00\x01\r\nQUIT\r\n", b"-ERR unknown command 'GARBAGE'"),
    "bytes without order": (bytes(range(1, 256)) + b"\r\nQUIT\r\n", b"-ERR "),
}  # fmt: skip


@pytest.mark.parametrize(("data", "answer"), OURS_ONLY.values(), ids=OURS_ONLY)
def test_bytes_at_which_redis_waits_are_answered(nowthen, data, answer):
    with Wire(nowthen.port) as wire:
        wire.send(data)
        assert wire.rest().startswith(answer)
    assert nowthen.client().ping()


@pytest.mark.parametrize("data", [b"*-5\r\n", b"*0\r\n", b"*-1\r\n", b"\r\n", b"\n\n"], ids=repr)
def test_a_request_for_nothing_is_dropped_as_redis_drops_it(nowthen, redis_server, data):
    told = []
    for server in (nowthen, redis_server):
        with Wire(server.port) as wire:
            wire.send(data + b"PING\r\nQUIT\r\n")
            told.append(wire.rest())
    assert told[0] == told[1] == b"+PONG\r\n+OK\r\n"


def test_a_huge_count_takes_no_memory_before_the_bytes_come(nowthen):
    before = resident_bytes(nowthen)
    wires = [Wire(nowthen.port) for _ in range(50)]
    for wire in wires:
        wire.send(b"*1048576\r\n$67108864\r\nabc")
    time.sleep(0.2)
    assert nowthen.client().ping()
    assert resident_bytes(nowthen) - before < 50_000_000
    for wire in wires:
        wire.close()


def resident_bytes(server) -> int:
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


HALF_REQUESTS = {
    "in a count": b"*3",
    "in a name": b"*3\r\n$3\r\nSE",
    "in a length": b"*3\r\n$3\r\nSET\r\n$1",
    "before a value": b"*3\r\n$3\r\nSET\r\n$3\r\nnew\r\n",
    "in a value": b"*3\r\n$3\r\nSET\r\n$3\r\nnew\r\n$100\r\nabc",
    "before the last line end": b"*3\r\n$3\r\nSET\r\n$3\r\nnew\r\n$3\r\nabc",
    "in an inline line": b"SET new 1",
    "in the second of two": encode("HSET", "plain", "f", "v") + b"*3\r\n$3\r\nSET\r\n$3\r\nnew\r\n$5\r\nab",
}  # fmt: skip


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_a_client_that_hangs_up_in_the_middle_changes_nothing(server, is_reset):
    before = state(server)
    for data in HALF_REQUESTS.values():
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(data)
            if is_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.1)
    after = state(server)
    # The one whole request among them was obeyed: it wrote what stood there already.
    assert after.pop("lsn") - before.pop("lsn") <= 1
    assert after == before


def test_a_client_that_reads_no_replies_does_not_stop_the_others(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(0.5)
        server.client().set("large", b"x" * 1_000_000)
        try:
            connection.sendall(encode("GET", "large") * 100)
        except TimeoutError:
            pass
        assert server.client().ping()
        assert server.client().hget("plain", "f") == b"v"


# --- the data directory


def ports() -> list[str]:
    port, http_port = map(str, free_ports(2))
    return ["--port", port, "--http-port", http_port]


def digest(folder: Path) -> dict[str, str]:
    """Every file below `folder` but the lock, by its contents."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "LOCK")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def serve_fails(data: Path, code: int, *names: str) -> str:
    try:
        done = run_nowthen("serve", "--data", data, *ports(), timeout=10)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it serves, instead of ending with {code}") from None
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert_names(done.stderr, *names)
    return done.stderr


def test_a_locked_data_directory_is_refused(server):
    before = state(server)
    serve_fails(server.data, 1, str(server.data), "locked")
    assert state(server) == before


def test_a_file_in_place_of_the_data_directory_is_refused(tmp_path):
    path = tmp_path / "data"
    path.write_text("mine")
    serve_fails(path, 1, str(path))
    serve_fails(path / "below", 1, str(path))
    assert path.read_text() == "mine"


def test_a_read_only_data_directory_is_refused(server):
    server.stop()
    before = digest(server.data)
    bound = ["mount", "--bind", str(server.data), str(server.data)]
    if subprocess.run(bound, capture_output=True).returncode != 0:
        pytest.skip("chmod does not bind root, and a read-only mount is not allowed here")
    try:
        read_only = ["mount", "-o", "remount,ro,bind", str(server.data)]
        if subprocess.run(read_only, capture_output=True).returncode != 0:
            pytest.skip("a read-only mount is not allowed here")
        serve_fails(server.data, 1, str(server.data), "read-only")
    finally:
        subprocess.run(["umount", str(server.data)], check=True)
    assert digest(server.data) == before
    server.start()


def test_a_new_data_directory_below_a_read_only_one_is_refused():
    serve_fails(Path("/proc/nowthen"), 1, "/proc/nowthen")


def files_of(data: Path) -> list[Path]:
    """The files that count: the manifest, segments of the log, snapshots."""
    patterns = ["MANIFEST-*", "log/wal-*.log", "snapshots/*.snap"]
    return [path for pattern in patterns for path in sorted(data.glob(pattern))]


def of_newer_version(data: bytes) -> bytes:
    """The header of `disk/frame.rs` with a version one higher, and its checksum right."""
    version, header_bytes = struct.unpack_from("<HH", data, 8)
    checked = struct.pack("<H", version + 1) + data[10:header_bytes]
    return data[:4] + struct.pack("<I", zlib.crc32(checked)) + checked + data[header_bytes:]


def saved(server) -> Path:
    """A data directory with two generations of everything, cleanly closed."""
    client = server.client()
    for number in range(3):
        client.hset("user:b", mapping={"spend": number, "genre": f"text {number}" * 50})
        assert client.save()
    client.set("after", "the snapshot")
    assert server.stop() == 0
    return server.data


def test_a_data_directory_of_a_newer_version_is_refused(server):
    data = saved(server)
    # A snapshot of a newer version stands in a manifest of a newer version.
    for path in newest_of_each_kind(data)[:2]:
        kept = path.read_bytes()
        path.write_bytes(of_newer_version(kept))
        before = digest(data)
        serve_fails(data, 65, "newer", path.name)
        assert digest(data) == before, path.name
        path.write_bytes(kept)
    server.start()
    assert server.client().get("after") == b"the snapshot"


def newest_of_each_kind(data: Path) -> list[Path]:
    """The manifest, the last segment, the meta file of the newest snapshot."""
    manifest, segment, meta = {path.parent: path for path in files_of(data)}.values()
    assert (manifest.name[:8], segment.suffix, meta.suffix) == ("MANIFEST", ".log", ".snap")
    return [manifest, segment, meta]


FOOTER_BYTES = 512


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


def places(path: Path) -> list[int]:
    """The header, and some up to the end; of the log up to the footer, which holds no records."""
    length = path.stat().st_size - (FOOTER_BYTES if path.suffix == ".log" else 0)
    return [20, length // 3, length // 2, length * 3 // 4, length - 1]


def test_a_flipped_byte_in_a_sealed_file_is_found_at_the_start(server):
    """Exit code 65, the file named, the directory as it was; never another value served."""
    data = saved(server)
    for path in newest_of_each_kind(data):
        kept = path.read_bytes()
        for place in places(path):
            flip(path, place)
            before = digest(data)
            text = serve_fails(data, 65, path.name)
            assert "damaged" in text or "hash" in text, text
            assert digest(data) == before, (path.name, place)
            path.write_bytes(kept)
    server.start()
    assert server.client().get("after") == b"the snapshot"


def test_a_flipped_byte_in_the_footer_of_the_log_loses_nothing(server):
    """It says no more than that the stop was clean; without it, the stop was not."""
    data = saved(server)
    (segment,) = data.glob("log/wal-*.log")
    flip(segment, segment.stat().st_size - FOOTER_BYTES + 40)
    server.start()
    assert server.client().get("after") == b"the snapshot"


def test_a_missing_file_is_found_at_the_start(server):
    data = saved(server)
    for path in newest_of_each_kind(data)[1:]:
        aside = data.parent / path.name
        shutil.move(path, aside)
        before = digest(data)
        done = run_nowthen("serve", "--data", data, *ports())
        assert done.returncode == 65, (path.name, done.stdout, done.stderr)
        assert digest(data) == before
        shutil.move(aside, path)
    server.start()
    assert server.client().get("after") == b"the snapshot"


def test_a_torn_tail_is_dropped_and_told(server):
    """What stands behind the last whole frame after a crash was never acknowledged."""
    server.client().set("before", "the crash")
    server.kill()
    segment = max(server.data.glob("log/wal-*.log"))
    data = segment.read_bytes()
    end = -(-len(data.rstrip(b"\0")) // 512) * 512
    torn = b"NTwf" + b"\x55" * 300
    segment.write_bytes(data[:end] + torn + data[end + len(torn) :])
    server.start()
    assert server.client().get("before") == b"the crash"
    assert server.client().set("on", "it goes")
    server.restart()
    assert server.client().get("on") == b"it goes"


# --- ports and the command line


def test_a_port_in_use_is_named_and_the_data_are_left_alone(server, tmp_path):
    data = tmp_path / "new"
    (free,) = free_ports(1)
    taken, taken_http = str(server.port), str(server.http_port)
    for chosen, named in [((taken, str(free)), taken), ((str(free), taken_http), taken_http)]:
        port, http_port = chosen
        done = run_nowthen("serve", "--data", data, "--port", port, "--http-port", http_port)
        assert done.returncode == 1
        assert_names(done.stderr, f"port {named}", "in use")
        assert not data.exists()
    assert server.client().ping()


USAGE = {
    "no verb": [],
    "unknown verb": ["sreve"],
    "unknown option": ["serve", "--nonsense"],
    "no number": ["serve", "--port", "http"],
    "a missing option": ["asof", "--repo", "x"],
    "options that exclude each other": [
        "asof", "--repo", "x", "--spine", "s", "--out", "o", "--features", "a", "--service", "b",
    ],
    "nothing to materialize": ["materialize"],
}  # fmt: skip


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_wrong_usage_exits_with_2(arguments):
    done = run_nowthen(*arguments)
    assert done.returncode == 2 and "--help" in done.stderr and done.stdout == ""


FAILED = {
    "durability": (["serve", "--durability", "sometimes"], ["sometimes", "interval:<ms>"]),
    "clock": (["serve", "--clock-start", "noon"], ["noon"]),
    "bind": (["serve", "--bind", "0.0.0.0"], ["0.0.0.0", "127.0.0.1"]),
    "repository": (["serve", "--repo", "nowhere"], ["nowhere"]),
    "no server": (["get", "user:a", "spend", "--url", "redis://127.0.0.1:1"], ["127.0.0.1:1"]),
    "url": (["get", "user:a", "spend", "--url", "http://x"], ["URL", "redis://"]),
    "spine": (["asof", "--repo", "{repo}", "--spine", "no.parquet", "--features", "stats:spend", "--out", "o.parquet"], ["no.parquet"]),
    "out": (["asof", "--repo", "{repo}", "--spine", "{spine}", "--features", "stats:spend", "--out", "out.txt"], ["out.txt", ".parquet"]),
    "out is the spine": (["asof", "--repo", "{repo}", "--spine", "{spine}", "--features", "stats:visits", "--out", "{spine}"], ["spine"]),
    "map": (["asof", "--repo", "{repo}", "--spine", "{spine}", "--features", "stats:visits", "--out", "o.csv", "--map", "x"], ["KEY=COLUMN"]),
    "known by": (["asof", "--repo", "{repo}", "--spine", "{spine}", "--features", "stats:visits", "--out", "o.csv", "--known-by", "me"], ["me", "arrival"]),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "names"), FAILED.values(), ids=FAILED)
def test_what_cannot_be_done_exits_with_1_and_says_why(repository, tmp_path, arguments, names):
    spine = tmp_path / "spine.parquet"
    pq.write_table(STATS.select(["user_id", "at"]), spine)
    kept = digest(tmp_path)
    words = [word.format(repo=repository, spine=spine) for word in arguments]
    if words[0] == "serve":
        words += [*ports(), "--data", str(tmp_path / "data")]
    done = run_nowthen(*words, cwd=tmp_path)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stderr.startswith("error: ") or "\nerror: " in done.stderr
    assert_names(done.stderr, *names)
    changed = {name: text for name, text in digest(tmp_path).items() if not name.startswith("data/")}
    assert changed == kept


def test_nowthen_get_refuses_names_it_does_not_know(server):
    for key, feature, names in [
        ("usr:a", "spend", ["usr"]),
        ("user:a", "spent", ["spent", "spend"]),
        ("nonsense", "spend", ["nonsense", "airport:JFK"]),
    ]:
        done = run_nowthen("get", key, feature, "--url", server.url)
        assert done.returncode == 1 and done.stdout == ""
        assert_names(done.stderr, *names)
