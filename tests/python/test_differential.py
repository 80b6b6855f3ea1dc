"""Random sessions against nowthen and against Debian's redis-server: the replies are the same bytes.

    seed --> session: commands on few keys, few fields, edge-case numbers and texts
         --> both servers, in batches --> frames compared --> state compared

Invariants
- A seed is a session, RESP2 if it is even and RESP3 if it is odd; a failure prints the command
  that replays just that session. NOWTHEN_DIFFERENTIAL_COMMANDS=10000000 asks for more of them.
- What is exempt stands in `INTENDED`, with the reason, or is random or without order in Redis.

Not here: the grammar (`grammar.py`), what is the same (`differential.py`), commands newer than
Debian's Redis (`test_field_expiry.py`).
"""

from __future__ import annotations

import os

import pytest
from differential import SESSION_COMMANDS, Connection, Frame, Session
from grammar import Grammar

COMMANDS = int(os.environ.get("NOWTHEN_DIFFERENTIAL_COMMANDS", "100000"))
FIRST_SEED = int(os.environ.get("NOWTHEN_DIFFERENTIAL_SEED", "1"))

# What is meant to differ; the grammar stays clear of the first five.
INTENDED = {
    "ends": "ends of life beyond the year 294246 are refused: timestamps count microseconds",
    "lengths": "no command makes a string longer than 64 MiB, which is what a client may send",
    "repeats": "HRANDFIELD with a negative count repeats at most 1 Mi fields: memory is bounded",
    "watch": "a key that was absent when it was watched, and is absent at EXEC, did not change, even"
    " if it was made and deleted in between",
    "echo": "an error repeats at most 128 bytes of what a client sent, and they are UTF-8",
    "encoding": "OBJECT ENCODING tells what Redis would choose for the value as it is now; Redis"
    " remembers what the value once was",
    "refcount": "OBJECT REFCOUNT is 1: no two keys share a value",
    "idletime": "OBJECT IDLETIME is 0: nothing notes when a key was read last",
    "dbsize": "DBSIZE counts keys past their end until they are swept, which takes turns",
}


@pytest.mark.parametrize("durability, part", [("never", 1), ("always", 50)])
def test_random_sessions_are_answered_as_by_redis(start_nowthen, redis_server, durability, part):
    ports = [start_nowthen("--durability", durability).port, redis_server.port]
    sessions = max(1, COMMANDS // SESSION_COMMANDS // part)
    has_transactions = knows(ports[0], b"multi")
    for seed in range(FIRST_SEED, FIRST_SEED + sessions):
        grammar = Grammar(seed)
        grammar.has_transactions = has_transactions
        replay = f"NOWTHEN_DIFFERENTIAL_SEED={seed} NOWTHEN_DIFFERENTIAL_COMMANDS=1"
        replay += " pytest tests/python/test_differential.py"
        Session(seed, ports, grammar, replay).run(SESSION_COMMANDS)


def knows(port: int, command: bytes) -> bool:
    connection = Connection(port, 2)
    (reply,) = connection.ask([[b"COMMAND", b"INFO", command]])
    connection.close()
    return not reply.value[0].is_null


def test_a_walk_over_a_large_hash_meets_each_field_once(start_nowthen):
    client = start_nowthen("--durability", "never").client()
    fields = {b"f%d" % number: b"%d" % number for number in range(5000)}
    client.hset("large", mapping=fields)
    for count in (1, 100, 10_000):
        assert sorted(client.hscan_iter("large", count=count)) == sorted(fields.items())
    assert dict(client.hscan_iter("large", match="f499?")) == {
        b"f499%d" % number: b"499%d" % number for number in range(10)
    }
    assert set(client.hrandfield("large", 6000)) == set(fields)
    assert len(client.hrandfield("large", -6000)) == 6000


def test_commands_on_keys_are_described_as_by_redis(start_nowthen, redis_server):
    names = [name.encode() for name in Grammar.all_names() if name not in Grammar.RARE]
    told = []
    for port in (start_nowthen().port, redis_server.port):
        connection = Connection(port, 2)
        (reply,) = connection.ask([[b"COMMAND", b"INFO", *names]])
        told.append([described(command.value) for command in reply.value])
        connection.close()
    assert told[0] == told[1]


def described(command: list[Frame]) -> tuple[object, ...]:
    """Name, arity, flags, and where the keys stand."""
    name, arity, flags, *places = command[:6]
    flag_names = sorted(flag.value for flag in flags.value)
    return name.value, arity.value, flag_names, [place.value for place in places]
