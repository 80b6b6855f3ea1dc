"""When snapshots are written: by the schedule, at the end, and again after one that failed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from resp import Wire, encode


def generations(server) -> set[str]:
    """The snapshots there are, by their numbers."""
    return {path.name.split("-")[0] for path in (server.data / "snapshots").glob("*-meta.snap")}


def saves(server) -> int:
    return server.client().info("persistence")["rdb_saves"]


def until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_snapshot_is_written_when_time_and_records_say_so(start_nowthen):
    server = start_nowthen("--save", "1 3")
    client = server.client()
    client.set("a", 1)
    client.set("a", 2)
    time.sleep(1.6)
    assert saves(server) == 0, "two records are not three"
    client.set("a", 3)
    until(lambda: saves(server) == 1)
    info = client.info("persistence")
    assert info["rdb_changes_since_last_save"] <= 1, "the last may have waited for its sync"
    assert info["rdb_last_bgsave_status"] == "ok"
    time.sleep(1.6)
    assert saves(server) == 1, "nothing came since"
    assert client.config_set("save", "")
    for n in range(5):
        client.set("b", n)
    time.sleep(1.6)
    assert saves(server) == 1, "the schedule is off"
    assert client.config_set("save", "1 1")
    until(lambda: saves(server) == 2)


def test_a_snapshot_is_written_when_the_log_has_grown(start_nowthen):
    server = start_nowthen("--save", "", "--snapshot-log-bytes", "200kb")
    client = server.client()
    noise = [random.Random(n).randbytes(10_000) for n in range(30)]
    for n in range(10):
        client.set(f"k{n}", noise[n])
    time.sleep(0.5)
    assert saves(server) == 0
    for n in range(10, 30):
        client.set(f"k{n}", noise[n])
    until(lambda: saves(server) >= 1)
    server.kill()
    server.start()
    assert [server.client().get(f"k{n}") for n in range(30)] == noise


def test_a_failed_snapshot_is_told_and_leaves_nothing(start_nowthen):
    """Its place is taken by a folder: creating the file fails, again and again."""
    server = start_nowthen("--save", "1 1")
    client = server.client()
    in_the_way = server.data / "snapshots" / f"{1:020}-0003.snap.tmp"
    in_the_way.mkdir()
    client.set("a", 1)
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    time.sleep(1)
    output = server.output.read_text()
    assert output.count("a snapshot failed") == 1, "it is not tried again at once"
    assert [path.name for path in (server.data / "snapshots").iterdir()] == [in_the_way.name]
    in_the_way.rmdir()
    assert client.save()
    assert client.info("persistence")["rdb_last_bgsave_status"] == "ok"
    assert generations(server) == {f"{1:020}"}


@pytest.mark.parametrize(
    ("options", "words", "writes"),
    [
        ((), (), True),
        ((), ("SAVE",), True),
        ((), ("NOSAVE", "NOW"), False),
        (("--save", ""), (), False),
        (("--save", ""), ("SAVE", "FORCE"), True),
        ((), None, True),
        (("--save", ""), None, False),
        (("--save", "", "--shutdown-on-sigterm", "save"), None, True),
        (("--shutdown-on-sigterm", "nosave now"), None, False),
    ],
)
def test_a_server_ends_with_a_snapshot_as_redis_does(start_nowthen, options, words, writes):
    server = start_nowthen(*options)
    server.client().set("a", 1)
    if words is None:
        assert server.stop() == 0
    else:
        with Wire(server.port) as wire:
            wire.send(encode("SHUTDOWN", *words))
            assert wire.rest() == b""
        assert server.process.wait(20) == 0
    assert len(generations(server)) == int(writes)
    server.start()
    assert server.client().get("a") == b"1"
    # Nothing came since: there is nothing to write.
    server.stop()
    assert len(generations(server)) <= 1 + ("save" in options)


LINES = [
    ("CONFIG", "GET", "save"),
    *[
        ("CONFIG", "SET", "save", value)
        for value in ["1", "1 2 3", "0 1", "1 -1", "a b", "3600  1", " 3600 1", "1 0", '""', ""]
    ],
    *[
        ("CONFIG", "SET", "shutdown-on-sigterm", value)
        for value in ["save nosave", "x", "", "default save", "now FORCE", "save  now", "default"]
    ],
    ("SHUTDOWN", "SAVE", "NOSAVE"),
    ("SHUTDOWN", "ABORT", "NOW"),
    ("SHUTDOWN", "ABORT"),
    ("SHUTDOWN", "NOSAVE", "x"),
]


def test_the_schedule_has_the_texts_of_redis(start_nowthen, redis_server):
    server = start_nowthen("--save", "")
    with Wire(server.port) as ours, Wire(redis_server.port) as theirs:
        for line in LINES:
            assert ours.ask(*line) == theirs.ask(*line), line
            for get in ("save", "shutdown-on-*"):
                answers = [wire.ask("CONFIG", "GET", get)[1] for wire in (ours, theirs)]
                as_pairs = [set(zip(told[::2], told[1::2])) for told in answers]
                assert as_pairs[0] == as_pairs[1], line


def test_info_tells_how_far_a_snapshot_is(nowthen):
    """A snapshot of so many keys takes a while; some look must fall into it."""
    client = nowthen.client()
    resting = client.info("persistence")
    assert (resting["rdb_current_bgsave_time_sec"], resting["current_save_keys_total"]) == (-1, 0)
    keys = 100_000
    for start in range(0, keys, 10_000):
        client.mset({f"key:{n}": n for n in range(start, start + 10_000)})
    seen = []
    for _ in range(5):
        assert client.bgsave()
        while (info := client.info("persistence"))["rdb_bgsave_in_progress"]:
            assert info["rdb_current_bgsave_time_sec"] >= 0
            assert info["current_save_keys_total"] == keys
            seen.append(info["current_save_keys_processed"])
    assert any(0 < processed <= keys for processed in seen), seen


def test_a_start_tells_what_it_loaded(start_nowthen):
    server = start_nowthen("--shutdown-on-sigterm", "nosave")
    client = server.client()
    client.mset({f"key:{n}": n for n in range(100)})
    client.save()
    client.set("later", 1)
    client.set("last", 1)
    server.restart()
    output = server.output.read_text()
    assert "loaded snapshot_rows=100 snapshot_bytes=" in output
    assert "log_records=2 log_bytes=" in output
