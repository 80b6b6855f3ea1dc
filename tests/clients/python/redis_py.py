"""The program for redis-py: `redis.Redis` and `redis.cluster.RedisCluster`."""

from __future__ import annotations

import time

import redis
from program import (
    BATCH_FEATURES,
    BINARY_TEXTS,
    FIELDS,
    IS_CLUSTER,
    PORT,
    PROTOCOL,
    STEPS,
    STREAMING_FEATURES,
    between,
    passed,
    wait_for_restart,
)


def connect() -> redis.Redis | redis.cluster.RedisCluster:
    kind = redis.cluster.RedisCluster if IS_CLUSTER else redis.Redis
    return kind(host="127.0.0.1", port=PORT, protocol=PROTOCOL, client_name="same-program")


def binary(client):
    for text in BINARY_TEXTS:
        assert client.set(b"bytes:" + text, text)
        assert client.get(b"bytes:" + text) == text
        assert client.hset(b"bytes", text, text) == 1
        assert client.hget(b"bytes", text) == text
    assert client.hgetall("bytes") == {text: text for text in BINARY_TEXTS}


def hashes(client):
    assert client.hset("hash", mapping=FIELDS) == 200
    assert client.hset("hash", mapping=FIELDS) == 0
    everything = {field.encode(): value.encode() for field, value in FIELDS.items()}
    assert client.hgetall("hash") == everything
    assert client.hmget("hash", "field:7", "none", "field:8") == [b"value:7", None, b"value:8"]
    assert dict(client.hscan_iter("hash", count=50)) == everything
    assert client.hincrby("hash", "count", 5) == 5
    assert client.hincrbyfloat("hash", "sum", 2.5) == 2.5
    assert client.hdel("hash", "count", "sum", "none") == 2
    assert client.hlen("hash") == 200


def pipeline(client):
    writes = client.pipeline(transaction=False)
    for n in range(100):
        writes.hset(f"entity:{n}", mapping={"a": n, "b": f"b{n}"})
    assert writes.execute() == [2] * 100
    reads = client.pipeline(transaction=False)
    for n in range(100):
        reads.hmget(f"entity:{n}", "b", "none", "a")
    assert reads.execute() == [[b"b%d" % n, None, b"%d" % n] for n in range(100)]


def transaction(client):
    queued = client.pipeline(transaction=True)
    queued.set("{t}:string", "1").hset("{t}:hash", mapping={"a": "1", "b": "2"}).get("{t}:string")
    written, *others = queued.execute()
    # In cluster mode redis-py hands on the text of the server.
    assert written in (True, b"OK") and others == [2, b"1"]
    assert client.hgetall("{t}:hash") == {b"a": b"1", b"b": b"2"}


def watch(client):
    client.set("{w}:seen", "1")
    with client.pipeline(transaction=True) as queued:
        queued.watch("{w}:seen")
        assert queued.get("{w}:seen") == b"1"
        connect().set("{w}:seen", "2")
        queued.multi()
        queued.set("{w}:written", "yes")
        try:
            queued.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key changed, and EXEC went on")
    assert client.get("{w}:written") is None
    with client.pipeline(transaction=True) as queued:
        queued.watch("{w}:seen")
        queued.multi()
        queued.set("{w}:written", "yes")
        assert queued.execute() in ([True], [b"OK"])


def scan(client):
    writes = client.pipeline(transaction=False)
    for n in range(1000):
        writes.set(f"scan:{n}", n)
    writes.execute()
    found = list(client.scan_iter(match="scan:*", count=100))
    assert set(found) == {b"scan:%d" % n for n in range(1000)}


def expiry(client):
    assert client.set("expiry", "1", ex=100) and between(99, client.ttl("expiry"), 100)
    assert client.expire("expiry", 200) and between(199, client.ttl("expiry"), 200)
    assert between(199_000, client.pttl("expiry"), 200_000)
    assert client.persist("expiry") and client.ttl("expiry") == -1
    assert client.pexpire("expiry", 30)
    time.sleep(0.06)
    assert client.get("expiry") is None and client.ttl("expiry") == -2


def field_expiry(client):
    client.hset("fields", mapping={"a": "1", "b": "2", "c": "3"})
    assert client.hexpire("fields", 100, "a", "none") == [1, -2]
    seconds, *others = client.httl("fields", "a", "b", "none")
    assert between(99, seconds, 100) and others == [-1, -2]
    assert between(99_000, client.hpttl("fields", "a")[0], 100_000)
    assert client.hexpire("fields", 50, "a", "b", nx=True) == [0, 1]
    assert client.hpersist("fields", "a", "c", "none") == [1, -1, -2]
    assert client.hexpire("fields", 0, "c") == [2]
    assert client.hsetex("fields", mapping={"d": "4"}, ex=100) == 1
    assert client.hgetex("fields", "d", "none", persist=True) == [b"4", None]
    assert client.hpexpire("fields", 30, "a") == [1]
    time.sleep(0.06)
    assert client.hgetall("fields") == {b"b": b"2", b"d": b"4"}


def batch_features(client):
    writes = client.pipeline(transaction=False)
    for n in range(100):
        writes.hset(f"user:{n}", mapping=BATCH_FEATURES).expire(f"user:{n}", 86_400)
    assert writes.execute() == [4, True] * 100
    reads = client.pipeline(transaction=False)
    for n in range(100):
        reads.hmget(f"user:{n}", "spend_30d", "segment", "clicks_5m")
    assert reads.execute() == [[b"182.5", b"b", None]] * 100
    assert between(86_000, client.ttl("user:7"), 86_400)


def streaming_features(client):
    client.hset("user:7", mapping={**BATCH_FEATURES, **STREAMING_FEATURES})
    assert client.hexpire("user:7", 300, *STREAMING_FEATURES) == [1, 1]
    clicks, page, country = client.httl("user:7", "clicks_5m", "last_page", "country")
    assert between(299, clicks, 300) and between(299, page, 300) and country == -1
    reads = client.pipeline(transaction=False)
    for _ in range(100):
        reads.hmget("user:7", "country", "clicks_5m", "last_page")
    assert reads.execute() == [[b"FR", b"17", b"/cart"]] * 100
    # A newer value of the stream starts without an end of life.
    client.hset("user:7", "clicks_5m", "18")
    assert client.httl("user:7", "clicks_5m") == [-1]


def restart(client):
    client.set("kept", b"\x00\r\n", ex=500)
    client.hset("kept:hash", mapping=FIELDS)
    keys = set(client.scan_iter(count=1000))
    wait_for_restart()
    # redis-py tries again by itself.
    assert client.get("kept") == b"\x00\r\n" and between(400, client.ttl("kept"), 500)
    assert client.hlen("kept:hash") == 200 and set(client.scan_iter(count=1000)) == keys


def main():
    client = connect()
    for step in STEPS:
        globals()[step](client)
        passed(step)
    client.close()


main()
