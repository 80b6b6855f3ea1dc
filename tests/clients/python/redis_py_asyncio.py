"""The program for redis-py's asyncio side: `Redis` and `RedisCluster` of `redis.asyncio`."""

from __future__ import annotations

import asyncio

import redis
import redis.asyncio
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


def connect() -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
    kind = redis.asyncio.RedisCluster if IS_CLUSTER else redis.asyncio.Redis
    return kind(host="127.0.0.1", port=PORT, protocol=PROTOCOL, client_name="same-program")


async def binary(client):
    for text in BINARY_TEXTS:
        assert await client.set(b"bytes:" + text, text)
        assert await client.get(b"bytes:" + text) == text
        assert await client.hset(b"bytes", text, text) == 1
        assert await client.hget(b"bytes", text) == text
    assert await client.hgetall("bytes") == {text: text for text in BINARY_TEXTS}


async def hashes(client):
    assert await client.hset("hash", mapping=FIELDS) == 200
    assert await client.hset("hash", mapping=FIELDS) == 0
    everything = {field.encode(): value.encode() for field, value in FIELDS.items()}
    assert await client.hgetall("hash") == everything
    assert await client.hmget("hash", "field:7", "none") == [b"value:7", None]
    assert {field: value async for field, value in client.hscan_iter("hash")} == everything
    assert await client.hincrby("hash", "count", 5) == 5
    assert await client.hincrbyfloat("hash", "sum", 2.5) == 2.5
    assert await client.hdel("hash", "count", "sum", "none") == 2
    assert await client.hlen("hash") == 200


async def pipeline(client):
    writes = client.pipeline(transaction=False)
    for n in range(100):
        writes.hset(f"entity:{n}", mapping={"a": n, "b": f"b{n}"})
    assert await writes.execute() == [2] * 100
    reads = client.pipeline(transaction=False)
    for n in range(100):
        reads.hmget(f"entity:{n}", "b", "none", "a")
    assert await reads.execute() == [[b"b%d" % n, None, b"%d" % n] for n in range(100)]
    # Many at once, over as many connections as the client likes.
    at_once = await asyncio.gather(*(client.hmget(f"entity:{n}", "a") for n in range(100)))
    assert at_once == [[b"%d" % n] for n in range(100)]


async def transaction(client):
    queued = client.pipeline(transaction=True)
    queued.set("{t}:string", "1").hset("{t}:hash", mapping={"a": "1", "b": "2"}).get("{t}:string")
    written, *others = await queued.execute()
    # In cluster mode redis-py hands on the text of the server.
    assert written in (True, b"OK") and others == [2, b"1"]
    assert await client.hgetall("{t}:hash") == {b"a": b"1", b"b": b"2"}


async def watch(client):
    await client.set("{w}:seen", "1")
    async with client.pipeline(transaction=True) as queued:
        await queued.watch("{w}:seen")
        async with connect() as other:
            await other.set("{w}:seen", "2")
        queued.multi()
        queued.set("{w}:written", "yes")
        try:
            await queued.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key changed, and EXEC went on")
    assert await client.get("{w}:written") is None
    async with client.pipeline(transaction=True) as queued:
        await queued.watch("{w}:seen")
        queued.multi()
        queued.set("{w}:written", "yes")
        assert await queued.execute() in ([True], [b"OK"])


async def scan(client):
    writes = client.pipeline(transaction=False)
    for n in range(1000):
        writes.set(f"scan:{n}", n)
    await writes.execute()
    found = [key async for key in client.scan_iter(match="scan:*", count=100)]
    assert set(found) == {b"scan:%d" % n for n in range(1000)}


async def expiry(client):
    assert await client.set("expiry", "1", ex=100)
    assert between(99, await client.ttl("expiry"), 100)
    assert await client.expire("expiry", 200) and between(199, await client.ttl("expiry"), 200)
    assert await client.persist("expiry") and await client.ttl("expiry") == -1
    assert await client.pexpire("expiry", 30)
    await asyncio.sleep(0.06)
    assert await client.get("expiry") is None and await client.ttl("expiry") == -2


async def field_expiry(client):
    await client.hset("fields", mapping={"a": "1", "b": "2", "c": "3"})
    assert await client.hexpire("fields", 100, "a", "none") == [1, -2]
    seconds, *others = await client.httl("fields", "a", "b", "none")
    assert between(99, seconds, 100) and others == [-1, -2]
    assert await client.hexpire("fields", 50, "a", "b", nx=True) == [0, 1]
    assert await client.hpersist("fields", "a", "c", "none") == [1, -1, -2]
    assert await client.hexpire("fields", 0, "c") == [2]
    assert await client.hsetex("fields", mapping={"d": "4"}, ex=100) == 1
    assert await client.hgetex("fields", "d", "none", persist=True) == [b"4", None]
    assert await client.hpexpire("fields", 30, "a") == [1]
    await asyncio.sleep(0.06)
    assert await client.hgetall("fields") == {b"b": b"2", b"d": b"4"}


async def batch_features(client):
    writes = client.pipeline(transaction=False)
    for n in range(100):
        writes.hset(f"user:{n}", mapping=BATCH_FEATURES)
        writes.expire(f"user:{n}", 86_400)
    assert await writes.execute() == [4, True] * 100
    reads = client.pipeline(transaction=False)
    for n in range(100):
        reads.hmget(f"user:{n}", "spend_30d", "segment", "clicks_5m")
    assert await reads.execute() == [[b"182.5", b"b", None]] * 100
    assert between(86_000, await client.ttl("user:7"), 86_400)


async def streaming_features(client):
    await client.hset("user:7", mapping={**BATCH_FEATURES, **STREAMING_FEATURES})
    assert await client.hexpire("user:7", 300, *STREAMING_FEATURES) == [1, 1]
    clicks, page, country = await client.httl("user:7", "clicks_5m", "last_page", "country")
    assert between(299, clicks, 300) and between(299, page, 300) and country == -1
    reads = client.pipeline(transaction=False)
    for _ in range(100):
        reads.hmget("user:7", "country", "clicks_5m", "last_page")
    assert await reads.execute() == [[b"FR", b"17", b"/cart"]] * 100
    # A newer value of the stream starts without an end of life.
    await client.hset("user:7", "clicks_5m", "18")
    assert await client.httl("user:7", "clicks_5m") == [-1]


async def restart(client):
    await client.set("kept", b"\x00\r\n", ex=500)
    await client.hset("kept:hash", mapping=FIELDS)
    keys = {key async for key in client.scan_iter(count=1000)}
    wait_for_restart()
    # redis-py tries again by itself.
    assert await client.get("kept") == b"\x00\r\n"
    assert between(400, await client.ttl("kept"), 500)
    assert await client.hlen("kept:hash") == 200
    assert {key async for key in client.scan_iter(count=1000)} == keys


async def main():
    async with connect() as client:
        for step in STEPS:
            await globals()[step](client)
            passed(step)


asyncio.run(main())
