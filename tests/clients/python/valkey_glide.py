"""The program for valkey-glide: `GlideClient` and `GlideClusterClient`."""

from __future__ import annotations

import asyncio
import time

from glide import (
    Batch,
    ClusterBatch,
    ClusterScanCursor,
    ExpireOptions,
    ExpiryGetEx,
    ExpirySet,
    ExpiryType,
    ExpiryTypeGetEx,
    GlideClient,
    GlideClientConfiguration,
    GlideClusterClient,
    GlideClusterClientConfiguration,
    GlideError,
    Logger,
    LogLevel,
    NodeAddress,
    ProtocolVersion,
)
from program import (
    BATCH_FEATURES,
    BINARY_TEXTS,
    FIELDS,
    IS_CLUSTER,
    PORT,
    PROTOCOL,
    RESTART_SECONDS_MAX,
    STEPS,
    STREAMING_FEATURES,
    between,
    passed,
    wait_for_restart,
)


async def connect() -> GlideClient | GlideClusterClient:
    protocol = ProtocolVersion.RESP3 if PROTOCOL == 3 else ProtocolVersion.RESP2
    options = {
        "addresses": [NodeAddress("127.0.0.1", PORT)],
        "protocol": protocol,
        "client_name": "same-program",
        "request_timeout": 5000,
    }
    if IS_CLUSTER:
        return await GlideClusterClient.create(GlideClusterClientConfiguration(**options))
    return await GlideClient.create(GlideClientConfiguration(**options))


def batch(is_atomic: bool) -> Batch | ClusterBatch:
    return ClusterBatch(is_atomic) if IS_CLUSTER else Batch(is_atomic)


async def binary(client):
    for text in BINARY_TEXTS:
        assert await client.set(b"bytes:" + text, text) == "OK"
        assert await client.get(b"bytes:" + text) == text
        assert await client.hset(b"bytes", {text: text}) == 1
        assert await client.hget(b"bytes", text) == text
    assert await client.hgetall("bytes") == {text: text for text in BINARY_TEXTS}


async def hashes(client):
    assert await client.hset("hash", FIELDS) == 200
    assert await client.hset("hash", FIELDS) == 0
    everything = {field.encode(): value.encode() for field, value in FIELDS.items()}
    assert await client.hgetall("hash") == everything
    assert await client.hmget("hash", ["field:7", "none"]) == [b"value:7", None]
    cursor, found = b"0", {}
    while True:
        cursor, flat = await client.hscan("hash", cursor, count=50)
        found.update(zip(flat[0::2], flat[1::2]))
        if cursor == b"0":
            break
    assert found == everything
    assert await client.hincrby("hash", "count", 5) == 5
    assert await client.hincrbyfloat("hash", "sum", 2.5) == 2.5
    assert await client.hdel("hash", ["count", "sum", "none"]) == 2
    assert await client.hlen("hash") == 200


async def pipeline(client):
    writes = batch(is_atomic=False)
    for n in range(100):
        writes.hset(f"entity:{n}", {"a": str(n), "b": f"b{n}"})
    assert await client.exec(writes, raise_on_error=True) == [2] * 100
    reads = batch(is_atomic=False)
    for n in range(100):
        reads.hmget(f"entity:{n}", ["b", "none", "a"])
    expected = [[b"b%d" % n, None, b"%d" % n] for n in range(100)]
    assert await client.exec(reads, raise_on_error=True) == expected
    at_once = await asyncio.gather(*(client.hmget(f"entity:{n}", ["a"]) for n in range(100)))
    assert at_once == [[b"%d" % n] for n in range(100)]


async def transaction(client):
    queued = batch(is_atomic=True)
    queued.set("{t}:string", "1").hset("{t}:hash", {"a": "1", "b": "2"}).get("{t}:string")
    assert await client.exec(queued, raise_on_error=True) == ["OK", 2, b"1"]
    assert await client.hgetall("{t}:hash") == {b"a": b"1", b"b": b"2"}


async def watch(client):
    await client.set("{w}:seen", "1")
    assert await client.watch(["{w}:seen"]) == "OK"
    other = await connect()
    await other.set("{w}:seen", "2")
    await other.close()
    queued = batch(is_atomic=True).set("{w}:written", "yes")
    assert await client.exec(queued, raise_on_error=True) is None
    assert await client.get("{w}:written") is None
    assert await client.watch(["{w}:seen"]) == "OK"
    assert await client.exec(queued, raise_on_error=True) == ["OK"]


async def scan(client):
    writes = batch(is_atomic=False)
    for n in range(1000):
        writes.set(f"scan:{n}", str(n))
    await client.exec(writes, raise_on_error=True)
    assert await keys_like(client, "scan:*") == {b"scan:%d" % n for n in range(1000)}


async def keys_like(client, pattern: str) -> set[bytes]:
    found = set()
    cursor = ClusterScanCursor() if IS_CLUSTER else b"0"
    while True:
        cursor, keys = await client.scan(cursor, match=pattern, count=100)
        found.update(keys)
        if cursor.is_finished() if IS_CLUSTER else cursor == b"0":
            return found


async def expiry(client):
    assert await client.set("expiry", "1", expiry=ExpirySet(ExpiryType.SEC, 100)) == "OK"
    assert between(99, await client.ttl("expiry"), 100)
    assert await client.expire("expiry", 200) and between(199, await client.ttl("expiry"), 200)
    assert await client.persist("expiry") and await client.ttl("expiry") == -1
    assert await client.pexpire("expiry", 30)
    await asyncio.sleep(0.06)
    assert await client.get("expiry") is None and await client.ttl("expiry") == -2


async def field_expiry(client):
    await client.hset("fields", {"a": "1", "b": "2", "c": "3"})
    assert await client.hexpire("fields", 100, ["a", "none"]) == [1, -2]
    seconds, *others = await client.httl("fields", ["a", "b", "none"])
    assert between(99, seconds, 100) and others == [-1, -2]
    only_new = ExpireOptions.HasNoExpiry
    assert await client.hexpire("fields", 50, ["a", "b"], option=only_new) == [0, 1]
    assert await client.hpersist("fields", ["a", "c", "none"]) == [1, -1, -2]
    assert await client.hexpire("fields", 0, ["c"]) == [2]
    in_100_seconds = ExpirySet(ExpiryType.SEC, 100)
    assert await client.hsetex("fields", {"d": "4"}, expiry=in_100_seconds) == 1
    persist = ExpiryGetEx(ExpiryTypeGetEx.PERSIST, None)
    assert await client.hgetex("fields", ["d", "none"], expiry=persist) == [b"4", None]
    assert await client.hpexpire("fields", 30, ["a"]) == [1]
    await asyncio.sleep(0.06)
    assert await client.hgetall("fields") == {b"b": b"2", b"d": b"4"}


async def batch_features(client):
    writes = batch(is_atomic=False)
    for n in range(100):
        writes.hset(f"user:{n}", BATCH_FEATURES).expire(f"user:{n}", 86_400)
    assert await client.exec(writes, raise_on_error=True) == [4, True] * 100
    reads = batch(is_atomic=False)
    for n in range(100):
        reads.hmget(f"user:{n}", ["spend_30d", "segment", "clicks_5m"])
    assert await client.exec(reads, raise_on_error=True) == [[b"182.5", b"b", None]] * 100
    assert between(86_000, await client.ttl("user:7"), 86_400)


async def streaming_features(client):
    await client.hset("user:7", {**BATCH_FEATURES, **STREAMING_FEATURES})
    assert await client.hexpire("user:7", 300, list(STREAMING_FEATURES)) == [1, 1]
    clicks, page, country = await client.httl("user:7", ["clicks_5m", "last_page", "country"])
    assert between(299, clicks, 300) and between(299, page, 300) and country == -1
    reads = batch(is_atomic=False)
    for _ in range(100):
        reads.hmget("user:7", ["country", "clicks_5m", "last_page"])
    assert await client.exec(reads, raise_on_error=True) == [[b"FR", b"17", b"/cart"]] * 100
    # A newer value of the stream starts without an end of life.
    await client.hset("user:7", {"clicks_5m": "18"})
    assert await client.httl("user:7", ["clicks_5m"]) == [-1]


async def restart(client):
    await client.set("kept", b"\x00\r\n", expiry=ExpirySet(ExpiryType.SEC, 500))
    await client.hset("kept:hash", FIELDS)
    keys = await keys_like(client, "*")
    wait_for_restart()
    assert await patiently(lambda: client.get("kept")) == b"\x00\r\n"
    assert between(400, await client.ttl("kept"), 500)
    assert await client.hlen("kept:hash") == 200 and await keys_like(client, "*") == keys


async def patiently(ask):
    """valkey-glide reconnects by itself, and meanwhile refuses."""
    deadline = time.monotonic() + RESTART_SECONDS_MAX
    while True:
        try:
            return await ask()
        except GlideError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def main():
    # It logs to standard output that a connection broke.
    Logger.set_logger_config(LogLevel.OFF)
    client = await connect()
    for step in STEPS:
        await globals()[step](client)
        passed(step)
    await client.close()


asyncio.run(main())
