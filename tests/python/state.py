"""All that a server holds, as one value: equal before and after means that nothing changed.

Invariants
- Keys with type, content and end of life; registered entities feature by feature with status and
  event timestamp, nulls and tombstones too; definitions; runs.
"""

from __future__ import annotations

import redis


def everything(client: redis.Redis) -> dict:
    """The whole state that a client of RESP3 can see."""
    assert client.connection_pool.connection_kwargs.get("protocol") == 3
    entities = {text(name): describe(client, name) for name in client.execute_command("FS.ENTITIES")}
    keys = sorted(client.scan_iter(count=1000))
    return {
        "keys": {key: content(client, key) for key in keys},
        "entities": entities,
        "views": {v: describe(client, v) for v in sorted(client.execute_command("FS.VIEWS"))},
        "services": {s: describe(client, s) for s in client.execute_command("FS.SERVICES")},
        "runs": client.execute_command("FS.RUNS", "COUNT", 100),
    }


def content(client: redis.Redis, key: bytes) -> tuple:
    """Type and value of a key, and whether it has an end."""
    kind = client.type(key)
    value = client.get(key) if kind == b"string" else client.hgetall(key)
    return kind, value, client.pttl(key) > 0


def features(
    client: redis.Redis, names: list[str], join_keys: list[str], rows: list[tuple], *options
) -> list:
    """Value, status and event timestamp of features of entities."""
    values = [value for row in rows for value in row]
    return client.execute_command(
        "FS.GET", "FEATURES", len(names), *names, "FOR", len(join_keys), *join_keys,
        "ROWS", len(rows), *values, "WITHSTATUS", "WITHTIME", *options,
    )  # fmt: skip


def describe(client: redis.Redis, name: bytes) -> object:
    return client.execute_command("FS.DESCRIBE", name)


def text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
