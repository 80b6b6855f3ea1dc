"""Existing Redis clients work unchanged: redis-py with RESP2 and RESP3, redis-cli, redis-benchmark.

Not here: whether replies are those of Redis, byte for byte (`test_against_redis.py`).
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest
import redis

DURABILITIES = ["always", "interval:20", "never"]
BINARY_TEXTS = [b"\x00", b"\r\n", b"a\r\nb\x00c", b"*3\r\n$3\r\n", bytes(range(256)), b"\xff" * 5000]
DEFINITIONS = """
[entity.user]
join_keys = { user_id = "string" }
[view.stats]
entity = "user"
[view.stats.features]
spend = "float64"
visits = "int64"
genre = "string"
is_new = "bool"
"""


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request, nowthen) -> redis.Redis:
    return nowthen.client(protocol=request.param)


# --- redis-py


def test_redis_py_reads_back_the_hashes_it_writes(client):
    assert client.hset("user:1", mapping={"name": "Ann", "age": "41", "empty": ""}) == 3
    assert client.hset("user:1", "age", "42") == 0
    assert client.hget("user:1", "age") == b"42"
    assert client.hmget("user:1", "name", "none", "empty") == [b"Ann", None, b""]
    assert client.hgetall("user:1") == {b"name": b"Ann", b"age": b"42", b"empty": b""}
    assert client.hkeys("user:1") == [b"name", b"age", b"empty"]
    assert client.hvals("user:1") == [b"Ann", b"42", b""]
    assert (client.hlen("user:1"), client.hexists("user:1", "name")) == (3, True)
    assert client.hdel("user:1", "name", "none") == 1
    assert client.hdel("user:1", "age", "empty") == 2
    assert (client.exists("user:1"), client.type("user:1")) == (0, b"none")


def test_redis_py_reads_back_the_strings_it_writes(client):
    assert client.set("a", "1") and client.set("b", "2")
    assert client.set("a", "3", nx=True) is None
    assert client.set("a", "3", xx=True, get=True) == b"1"
    assert client.mget("a", "none", "b") == [b"3", None, b"2"]
    assert client.delete("a", "b", "none") == 2
    assert client.get("a") is None


def test_a_hash_of_5000_fields_comes_back_whole(client):
    fields = {f"field_{n}".encode(): b"%d" % n for n in range(5000)}
    assert client.hset("large", mapping=fields) == 5000
    assert client.hgetall("large") == fields


def test_keys_end_when_they_are_told_to(client):
    client.set("short", "x", px=60)
    client.set("long", "x", ex=100)
    client.hset("hash", "f", "v")
    assert client.ttl("hash") == -1
    assert client.expire("hash", 100) and client.pexpire("short", 50)
    assert 99_000 < client.pttl("hash") <= 100_000 and 99 <= client.ttl("long") <= 100
    assert client.expire("hash", 200, nx=True) == 0 and client.expire("hash", 200, gt=True) == 1
    time.sleep(0.08)
    assert client.get("short") is None and client.ttl("short") == -2
    assert client.persist("hash") and client.ttl("hash") == -1
    assert client.expireat("long", 1) and not client.exists("long")


def test_scan_iter_meets_each_of_1000_keys_once(client):
    pipeline = client.pipeline(transaction=False)
    for number in range(500):
        pipeline.set(f"string:{number}", number)
        pipeline.hset(f"hash:{number}", "n", number)
    pipeline.execute()
    hashes = sorted(b"hash:%d" % number for number in range(500))
    assert len(list(client.scan_iter())) == 1000
    assert sorted(client.scan_iter(match="hash:*", count=100)) == hashes
    assert sorted(client.scan_iter(_type="hash", count=7)) == hashes
    assert client.dbsize() == 1000


def test_a_pipeline_of_1000_commands_is_answered_in_order(client):
    pipeline = client.pipeline(transaction=False)
    for number in range(500):
        pipeline.hset("counts", f"f{number % 10}", number)
        pipeline.hget("counts", f"f{number % 10}")
    replies = pipeline.execute()
    assert replies[1::2] == [b"%d" % number for number in range(500)]
    assert replies[0::2] == [1] * 10 + [0] * 490


def test_a_failed_command_in_a_pipeline_leaves_the_others(client):
    client.set("string", "x")
    pipeline = client.pipeline(transaction=False)
    pipeline.set("a", 1).hget("string", "f").get("a")
    first, second, third = pipeline.execute(raise_on_error=False)
    assert (first, third) == (True, b"1")
    assert isinstance(second, redis.ResponseError) and "WRONGTYPE" in str(second)


def test_any_bytes_are_keys_fields_and_values(client):
    for text in BINARY_TEXTS:
        client.set(text, text)
        client.hset(b"hash" + text, text, text)
    for text in BINARY_TEXTS:
        assert client.get(text) == text
        assert client.hgetall(b"hash" + text) == {text: text}
    assert client.dbsize() == 2 * len(BINARY_TEXTS)
    assert set(client.scan_iter()) == {p + t for t in BINARY_TEXTS for p in (b"", b"hash")}


def test_an_empty_key_and_an_empty_field_are_as_good_as_any(client):
    client.set("", "")
    client.hset("h", "", "")
    assert client.get("") == b"" and client.hgetall("h") == {b"": b""}


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_introduces_itself(nowthen, protocol):
    client = nowthen.client(protocol=protocol, client_name="trainer", decode_responses=True)
    assert client.ping()
    assert client.client_getname() == "trainer"
    mine = client.client_info()
    assert mine["name"] == "trainer" and mine["lib-name"].startswith("redis-py")
    assert mine["lib-ver"] == redis.__version__
    assert [c["name"] for c in client.client_list()] == ["trainer"]
    assert client.client_id() == int(mine["id"])


def test_redis_py_can_ask_what_an_operator_asks(client):
    assert client.echo("hello") == b"hello"
    assert client.info()["redis_version"] and client.info("persistence")["durability"] == "always"
    assert client.config_get("maxmemory")
    assert client.command_count() == len(client.command())
    assert client.command_getkeys("HSET", "k", "f", "v") in ([b"k"], ["k"])
    assert abs(client.time()[0] - time.time()) < 5
    assert client.save() and client.lastsave()
    assert client.flushall() and client.dbsize() == 0


def test_hset_and_hmget_work_on_a_registered_entity(start_nowthen):
    server = start_nowthen(definitions=DEFINITIONS)
    for protocol in (2, 3):
        client = server.client(protocol=protocol)
        key = f"user:{protocol}"
        assert client.hset(key, mapping={"spend": 12.5, "visits": 3, "genre": "jazz"}) == 3
        assert client.hset(key, "stats:visits", 4) == 0
        asked = ["visits", "stats:spend", "genre", "is_new", "nonsense"]
        assert client.hmget(key, asked) == [b"4", b"12.5", b"jazz", None, None]
        assert client.hgetall(key) == {b"spend": b"12.5", b"visits": b"4", b"genre": b"jazz"}
        assert (client.hlen(key), client.type(key), client.exists(key)) == (3, b"hash", 1)
        assert client.hdel(key, "spend", "is_new") == 1
        assert client.delete(key) == 1 and client.hgetall(key) == {}


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_write_is_seen_by_others_in_every_durability_mode(start_nowthen, durability):
    server = start_nowthen("--durability", durability)
    writer, reader = server.client(), server.client()
    for number in range(50):
        writer.hset("k", "n", number)
        assert reader.hget("k", "n") == b"%d" % number
    assert writer.info("persistence")["durability"] == durability


# --- redis-cli


def redis_cli(server, *arguments: str, stdin: str | None = None) -> str:
    command = ["redis-cli", "-p", str(server.port), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


CLI_SESSION = [
    (["PING"], "PONG\n"),
    (["HSET", "user:1", "spend", "12", "genre", "jazz"], "2\n"),
    (["HMGET", "user:1", "spend", "none", "genre"], "12\n\njazz\n"),
    (["-3", "HGETALL", "user:1"], "spend 12\ngenre jazz\n"),
    (["SET", "a", "1"], "OK\n"),
    (["GET", "a"], "1\n"),
    (["DBSIZE"], "2\n"),
    (["TYPE", "user:1"], "hash\n"),
]


def test_redis_cli_holds_a_session(nowthen):
    for arguments, output in CLI_SESSION:
        assert redis_cli(nowthen, *arguments) == output, arguments
    assert "redis_version:" in redis_cli(nowthen, "INFO")
    assert sorted(redis_cli(nowthen, "--scan").split()) == ["a", "user:1"]


def test_redis_cli_reads_commands_and_their_documentation_from_a_pipe(nowthen):
    output = redis_cli(nowthen, stdin="COMMAND DOCS hmget\nCOMMAND DOCS\nCOMMAND COUNT\nPING\n")
    assert "Returns the values of fields, in the order asked." in output
    assert "fs.get" in output and output.endswith("PONG\n")
    assert "ERR" not in output


def test_redis_cli_loads_a_file_with_its_pipe_mode(nowthen):
    requests = "".join(f"SET key:{n} {n}\r\n" for n in range(2000))
    output = redis_cli(nowthen, "--pipe", stdin=requests)
    assert "errors: 0, replies: 2000" in output
    assert nowthen.client().get("key:1999") == b"1999"


def test_redis_cli_offers_hints_on_a_terminal(nowthen, tmp_path):
    """On a terminal it asks for COMMAND DOCS by itself, and shows the arguments it read there."""
    ours, theirs = pty.openpty()
    # Without a width it would ask the terminal for one.
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "HOME": str(tmp_path), "TERM": "xterm"}
    command = ["redis-cli", "-p", str(nowthen.port)]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    try:
        output = read_until(ours, b"> ")
        for line in (b"SET greeting hello\r", b"GET greeting\r"):
            os.write(ours, line)
            output += read_until(ours, b"\n127.0.0.1")
        os.write(ours, b"quit\r")
        assert process.wait(10) == 0
    finally:
        process.kill()
        os.close(ours)
    assert b"OK" in output and b'"hello"' in output and b"rror" not in output


def read_until(terminal: int, end: bytes) -> bytes:
    """What redis-cli writes, up to its next prompt."""
    output, deadline = b"", time.monotonic() + 10
    while end not in output and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            output += os.read(terminal, 65536)
    return output


# --- redis-benchmark

# The tests of its default run whose commands we have.
OURS = "ping_inline,ping_mbulk,set,get,incr,hset,mset"
BENCHMARKS = {
    "one at a time": ["-t", OURS, "-n", "2000", "-c", "10"],
    "pipelined": ["-t", OURS, "-n", "2000", "-c", "10", "-P", "16"],
    "RESP3": ["-3", "-t", OURS, "-n", "2000", "-c", "10"],
    "HMGET by hand": ["-n", "2000", "-c", "10", "-r", "9", "HMGET", "user:__rand_int__", "a", "b"],
}


@pytest.mark.parametrize("arguments", BENCHMARKS.values(), ids=BENCHMARKS)
@pytest.mark.parametrize("durability", DURABILITIES)
def test_redis_benchmark_meets_no_error(start_nowthen, durability, arguments):
    server = start_nowthen("--durability", durability)
    command = ["redis-benchmark", "-p", str(server.port), "--csv", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "rror" not in output and "ERR" not in output and "WARNING" not in output, output
    assert "rps" in output and server.client().ping()


def test_redis_benchmark_without_arguments_stops_at_the_first_list(nowthen):
    """Its default run goes on to lists, sets and sorted sets, and ends at an error reply."""
    command = ["redis-benchmark", "-p", str(nowthen.port), "-n", "200", "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finished = re.findall(r'^"([A-Z_]+)"', done.stdout, re.MULTILINE)
    assert finished == ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR"]
    assert done.returncode == 1
    assert re.findall("Error from server: .*?'", done.stdout + done.stderr) == [
        "Error from server: ERR unknown command '"
    ]
    assert nowthen.client().ping()
