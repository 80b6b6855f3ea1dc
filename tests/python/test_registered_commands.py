"""Redis' commands on registered entities: what a type allows goes through, the rest is refused."""

from __future__ import annotations

import pytest
import redis

DEFINITIONS = """
[entity.user]
join_keys = { user_id = "string" }
[view.stats]
entity = "user"
[view.stats.features]
spend = "float64"
share = "float32"
visits = "int64"
rank = "int32"
genre = "string"
"""


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request, start_nowthen) -> redis.Redis:
    return start_nowthen(definitions=DEFINITIONS).client(protocol=request.param)


def test_numbers_are_added_to_by_their_type(client):
    assert client.hincrby("user:1", "visits", 5) == 5
    assert client.hincrby("user:1", "visits", -7) == -2
    assert client.hincrby("user:1", "rank", 2**31 - 1) == 2**31 - 1
    assert client.hincrbyfloat("user:1", "spend", "10.5") == 10.5
    assert client.hincrbyfloat("user:1", "stats:spend", "0.25") == 10.75
    assert client.hincrbyfloat("user:1", "share", "0.5") == 0.5
    assert client.hmget("user:1", "visits", "spend") == [b"-2", b"10.75"]


@pytest.mark.parametrize(
    "command, why",
    [
        ("HINCRBY user:1 rank 1", "increment or decrement would overflow"),
        ("HINCRBY user:1 visits 9223372036854775807", "increment or decrement would overflow"),
        ("HINCRBY user:1 spend 1", "HINCRBY adds to int32 and int64 features; stats:spend is float64"),
        ("HINCRBY user:1 genre 1", "HINCRBY adds to int32 and int64 features; stats:genre is string"),
        ("HINCRBYFLOAT user:1 visits 1", "HINCRBYFLOAT adds to float32 and float64 features"),
        ("HINCRBYFLOAT user:1 spend 1e308", "increment would produce NaN or Infinity"),
        ("HINCRBY user:1 vists 1", "did you mean 'visits'"),
        ("HSETNX user:1 visits many", "stats:visits: expected int64, got 'many'"),
        ("APPEND user:1 x", "APPEND writes plain keys; HSET writes features: user is a registered"),
        ("INCR user:1", "INCR writes plain keys"),
        ("MSET plain 1 user:1 x", "MSET writes plain keys"),
        ("GETEX user:1 PERSIST", "GETEX writes plain keys"),
        ("RENAME user:1 plain", "RENAME is for plain keys only: user is a registered entity"),
        ("COPY plain user:2", "COPY is for plain keys only"),
        ("STRLEN user:1", "wrong kind of value"),
    ],
)
def test_what_a_type_does_not_allow_is_refused_and_changes_nothing(client, command, why):
    before = {"visits": 1, "rank": 2**31 - 1, "spend": 1e308, "genre": "jazz"}
    client.hset("user:1", mapping=before)
    state = client.hgetall("user:1")
    with pytest.raises(redis.ResponseError) as refused:
        client.execute_command(*command.split())
    assert why in str(refused.value)
    assert client.hgetall("user:1") == state and not client.exists("plain")


def test_a_feature_is_set_once_by_hsetnx(client):
    assert client.hsetnx("user:1", "genre", "jazz") == 1
    assert client.hsetnx("user:1", "genre", "rock") == 0
    assert client.hget("user:1", "genre") == b"jazz"
    client.hdel("user:1", "genre")
    assert client.hsetnx("user:1", "genre", "rock") == 1


def test_features_are_walked_over(client):
    client.hset("user:1", mapping={"genre": "jazz", "visits": 12})
    assert client.hscan("user:1") == (0, {b"genre": b"jazz", b"visits": b"12"})
    assert client.hscan("user:1", match="v*") == (0, {b"visits": b"12"})
    assert set(client.hrandfield("user:1", 9)) == {b"genre", b"visits"}
    assert client.hrandfield("user:2") is None
    assert (client.hstrlen("user:1", "genre"), client.hstrlen("user:1", "none")) == (4, 0)
    assert client.keys("user:*") == [b"user:1"] and client.randomkey() == b"user:1"
    assert (client.touch("user:1", "user:2"), client.expiretime("user:1")) == (1, -1)
    assert client.object("ENCODING", "user:1") == b"packed"


def test_what_these_commands_wrote_survives_a_restart(start_nowthen):
    server = start_nowthen("--durability", "always", definitions=DEFINITIONS)
    client = server.client()
    client.hincrby("user:1", "visits", 3)
    client.hset("from", mapping={"f%d" % number: number for number in range(100)})
    client.expireat("from", 4_000_000_000)
    client.hset("to", "old", "x")
    client.set("s", "x", ex=1000)
    pipeline = client.pipeline(transaction=False)
    pipeline.rename("from", "to").copy("to", "copied").append("s", "y").incrbyfloat("n", "0.1")
    pipeline.execute()
    before = [client.hgetall("to"), client.hgetall("copied"), client.pexpiretime("s")]
    server.kill()
    server.start()
    client = server.client()
    assert [client.hgetall("to"), client.hgetall("copied"), client.pexpiretime("s")] == before
    assert len(before[0]) == 100 and client.expiretime("copied") == 4_000_000_000
    assert (client.get("s"), client.get("n"), client.exists("from")) == (b"xy", b"0.1", 0)
    assert client.hget("user:1", "visits") == b"3"
