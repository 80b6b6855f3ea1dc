"""Random sessions against nowthen and against Debian's redis-server: the replies are the same bytes.

    seed --> session: commands on few keys, few fields, edge-case numbers and texts
         --> both servers, in batches --> frames compared --> state compared

Invariants
- A seed is a session, RESP2 if it is even and RESP3 if it is odd; a failure prints the command
  that replays just that session.
- Two frames differ unless they are the same bytes. What is exempt stands in `INTENDED`, with the
  reason, or is random or without order in Redis itself (`comparable`).

Not here: commands that only one of the two has, transactions, field expiry.
"""

from __future__ import annotations

import os
import random
import socket
from dataclasses import dataclass

import pytest

COMMANDS = int(os.environ.get("NOWTHEN_DIFFERENTIAL_COMMANDS", "20000"))
FIRST_SEED = int(os.environ.get("NOWTHEN_DIFFERENTIAL_SEED", "1"))
SESSION_COMMANDS = 400
BATCH_COMMANDS = 40
MANY_FIELDS = [b"m%d" % number for number in range(100)]
FIELDS_MAX = 200

# What is meant to differ; the grammar stays clear of the first three.
INTENDED = {
    "ends": "ends of life beyond the year 294246 are refused: timestamps count microseconds",
    "lengths": "no command makes a string longer than 64 MiB, which is what a client may send",
    "repeats": "HRANDFIELD with a negative count repeats at most 1 Mi fields: memory is bounded",
    "encoding": "OBJECT ENCODING tells what Redis would choose for the value as it is now; Redis"
    " remembers what the value once was",
    "refcount": "OBJECT REFCOUNT is 1: no two keys share a value",
    "idletime": "OBJECT IDLETIME is 0: nothing notes when a key was read last",
    "dbsize": "DBSIZE counts keys past their end until they are swept, which takes turns",
}

STRING_KEYS = [b"a", b"", b"\x00\r\n\xff"]
HASH_KEYS = [b"b", b"c"]
KEYS = STRING_KEYS + HASH_KEYS
FIELDS = [b"f", b"g", b"n", b"", b"\r\n\x00", b"F" * 70]
INTEGERS = [b"0", b"1", b"-1", b"2", b"3", b"-7", b"10", b"100", b"9223372036854775807"]
INTEGERS += [b"-9223372036854775808", b"9223372036854775808", b"-9223372036854775807"]
NOT_INTEGERS = [b"", b"x", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.0", b"1e3", b"1\x00"]
FLOATS = [b"0", b"1", b"-1", b"0.1", b"0.2", b"-0.3", b"1.5", b"3.0e3", b"5000.1", b"1e-17"]
FLOATS += [b"1e17", b"-1e20", b"123456789.123456789", b".5", b"5.", b"+1", b"0x1.8p3", b"1e308"]
FLOATS += [b"-0", b"1e4000", b"9007199254740993", b"0.000000000000000005", b"1e-300"]
NOT_FLOATS = [b"", b"x", b" 1", b"1 ", b"nan", b"inf", b"-Infinity", b"1e", b"1e5000", b"1e-5000"]
NOT_FLOATS += [b"1\x00", b"0x", b".", b"-", b"1_0", b"1.2.3"]
TEXTS = [b"", b"x", b"hello", b"\x00\r\n", b"v" * 44, b"v" * 45, b"v" * 100, bytes(range(256))]
PATTERNS = [b"*", b"a", b"[a-b]", b"?", b"", b"\\*", b"[^a]", b"[b-a]", b"*\n*", b"[a", b"\\", b"**"]
# Ends are far away, so that nothing ends while two servers are compared.
ABSOLUTE_S = [b"4000000000", b"4000000001", b"5000000000"]


# --- the grammar


class Grammar:
    """Commands, drawn at random."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        # Large hashes are kept in another way than small ones.
        self.has_large_hashes = self.random.random() < 0.25
        self.has_past_end = False

    def command(self) -> list[bytes]:
        name = self.random.choice(NAMES)
        command = [self.case(name), *getattr(self, name)()]
        if self.random.random() < 0.02:
            command = self.spoiled(command)
        return command

    def spoiled(self, command: list[bytes]) -> list[bytes]:
        """One argument too few, or one too many; a walk keeps the COUNT that ends it at once."""
        is_walk = command[0].lower().endswith(b"scan")
        if len(command) > 1 and not is_walk and self.random.random() < 0.5:
            return command[:-1]
        return [*command, self.random.choice([b"x", b"1", b"NX", b"", b"COUNT"])]

    def case(self, word: str) -> bytes:
        word = word.replace("_", "")
        return self.random.choice([word.upper(), word.lower(), word.title()]).encode()

    def pick(self, *weighted: tuple[float, list[bytes]]) -> bytes:
        lists = [choices for _, choices in weighted]
        (choices,) = self.random.choices(lists, [weight for weight, _ in weighted])
        return self.random.choice(choices)

    def key(self) -> bytes:
        return self.random.choice(KEYS)

    def string_key(self) -> bytes:
        return self.pick((8, STRING_KEYS), (1, KEYS))

    def hash_key(self) -> bytes:
        return self.pick((8, HASH_KEYS), (1, KEYS))

    def field(self) -> bytes:
        return self.pick((1, FIELDS), (2 if self.has_large_hashes else 0, MANY_FIELDS))

    def integer(self) -> bytes:
        return self.pick((9, INTEGERS), (1, NOT_INTEGERS))

    def float(self) -> bytes:
        return self.pick((6, FLOATS), (1, NOT_FLOATS), (1, INTEGERS))

    def value(self) -> bytes:
        return self.pick((4, TEXTS), (3, INTEGERS), (1, NOT_INTEGERS), (2, FLOATS), (1, NOT_FLOATS))

    def several(self, draw, most: int = 3) -> list[bytes]:
        return [draw() for _ in range(self.random.randint(1, most))]

    def pairs(self, draw, most: int = 3) -> list[bytes]:
        pairs = [[draw(), self.value()] for _ in range(self.random.randint(1, most))]
        return [word for pair in pairs for word in pair]

    def maybe(self, *words: bytes, chance: float = 0.3) -> list[bytes]:
        return list(words) if self.random.random() < chance else []

    def options(self, choices: list[list[bytes]], most: int) -> list[bytes]:
        picked = [self.random.choice(choices) for _ in range(self.random.randint(0, most))]
        return [word for option in picked for word in option]

    def far_seconds(self) -> int:
        # Any two are rarely the same: GT and LT ask which one is later.
        return self.random.randint(1_000, 100_000_000)

    def wrong_end(self) -> bytes:
        return self.random.choice([b"0", b"-1", b"9223372036854775807", *NOT_INTEGERS])

    def wrong_instant(self) -> bytes:
        return self.random.choice([b"0", b"-1", *NOT_INTEGERS])

    def end(self) -> list[bytes]:
        is_wrong = self.random.random() < 0.15
        word = self.random.choice([b"EX", b"px", b"EXAT", b"PxAt"])
        unit = b"" if word.upper().startswith(b"EX") else b"000"
        far = b"%d" % self.far_seconds() if len(word) == 2 else self.random.choice(ABSOLUTE_S)
        wrong = self.wrong_end() if len(word) == 2 else self.wrong_instant()
        return [word, wrong if is_wrong else far + unit]

    # hashes

    def hset(self):
        most = 60 if self.has_large_hashes else 3
        return [self.hash_key(), *self.pairs(self.field, most)]

    hmset = hset

    def hsetnx(self):
        return [self.hash_key(), self.field(), self.value()]

    def hget(self):
        return [self.hash_key(), self.field()]

    hexists = hstrlen = hget

    def hmget(self):
        return [self.hash_key(), *self.several(self.field)]

    hdel = hmget

    def hgetall(self):
        return [self.hash_key()]

    hkeys = hvals = hlen = hgetall

    def hincrby(self):
        return [self.hash_key(), self.field(), self.integer()]

    def hincrbyfloat(self):
        return [self.hash_key(), self.field(), self.float()]

    def hrandfield(self):
        counts = [b"0", b"1", b"2", b"200", b"-1", b"-5", b"9223372036854775807", *NOT_INTEGERS]
        count = self.random.choice([*counts, b"-9223372036854775808"])
        values = self.random.choice([[], [b"WITHVALUES"], [b"withvalues"], [b"x"]])
        return [self.hash_key(), *([count, *values] if self.random.random() < 0.8 else [])]

    def scan_options(self, is_of_keys: bool) -> list[bytes]:
        choices = [[b"MATCH", self.random.choice(PATTERNS)], [b"count", b"5000"]]
        choices += [[b"COUNT", self.random.choice([b"0", b"-1", *NOT_INTEGERS])], [b"match"]]
        if is_of_keys:
            choices += [[b"TYPE", self.random.choice([b"hash", b"STRING", b"list", b"x"])]] * 2
        # All in one step, so that the cursor, which is each server's own, is 0.
        return [*self.options(choices, 2), b"COUNT", b"1000"]

    def cursor(self) -> bytes:
        return self.pick((9, [b"0"]), (1, [b"", b"x", b" 0", b"0 ", b"99999999999999999999", b"0x1"]))

    def hscan(self):
        return [self.hash_key(), self.cursor(), *self.scan_options(False)]

    # strings

    def get(self):
        return [self.string_key()]

    getdel = strlen = incr = decr = get

    def mget(self):
        return self.several(self.key)

    def set(self):
        words = [[b"NX"], [b"xx"], [b"GET"], [b"KEEPTTL"], self.end(), self.end(), [b"x"], [b"EX"]]
        options = self.options(words, 3) if self.random.random() < 0.6 else []
        if self.random.random() < 0.01:
            self.has_past_end, options = True, [b"PXAT", b"1"]
        return [self.string_key(), self.value(), *options]

    def setnx(self):
        return [self.string_key(), self.value()]

    getset = append = setnx

    def setex(self):
        is_wrong = self.random.random() < 0.2
        seconds = self.wrong_end() if is_wrong else b"%d" % self.far_seconds()
        return [self.string_key(), seconds, self.value()]

    def psetex(self):
        is_wrong = self.random.random() < 0.2
        milliseconds = self.wrong_end() if is_wrong else b"%d000" % self.far_seconds()
        return [self.string_key(), milliseconds, self.value()]

    def getex(self):
        words = [[b"PERSIST"], self.end(), self.end(), [b"x"], [b"KEEPTTL"], [b"EXAT", b"1"]]
        return [self.string_key(), *self.options(words, 2)]

    def mset(self):
        return self.pairs(self.string_key)

    msetnx = mset

    def getrange(self):
        return [self.string_key(), self.integer(), self.integer()]

    substr = getrange

    def setrange(self):
        places = [b"0", b"1", b"5", b"100", b"-1", b"536870912", b"9223372036854775807"]
        return [self.string_key(), self.pick((9, places), (1, NOT_INTEGERS)), self.value()]

    def incrby(self):
        return [self.string_key(), self.integer()]

    decrby = incrby

    def incrbyfloat(self):
        return [self.string_key(), self.float()]

    # keys

    def exists(self):
        return self.several(self.key)

    touch = exists
    del_ = unlink = exists

    def type(self):
        return [self.key()]

    ttl = pttl = expiretime = pexpiretime = persist = type

    def conditions(self):
        return self.options([[b"NX"], [b"xx"], [b"GT"], [b"LT"], [b"x"]], 2)

    def expire_count(self, far: bytes, past: list[bytes]) -> bytes:
        return self.pick((7, [far]), (1, past), (1, NOT_INTEGERS))

    def expire(self):
        past = [b"0", b"-1", b"-9223372036854775", b"-9223372036854776", b"9223372036854775807"]
        far = b"%d" % self.far_seconds()
        return [self.key(), self.expire_count(far, past), *self.conditions()]

    def pexpire(self):
        far = b"%d000" % self.far_seconds()
        past = [b"0", b"-1", b"-9223372036854775808", b"9223372036854775807"]
        return [self.key(), self.expire_count(far, past), *self.conditions()]

    def expireat(self):
        far = self.random.choice(ABSOLUTE_S)
        return [self.key(), self.expire_count(far, [b"0", b"1", b"-1"]), *self.conditions()]

    def pexpireat(self):
        far = self.random.choice(ABSOLUTE_S) + self.random.choice([b"000", b"499", b"500"])
        return [self.key(), self.expire_count(far, [b"0", b"1", b"-1"]), *self.conditions()]

    def scan(self):
        return [self.cursor(), *self.scan_options(True)]

    def keys(self):
        return [self.random.choice(PATTERNS)]

    def randomkey(self):
        return []

    dbsize = randomkey

    def rename(self):
        return [self.key(), self.key()]

    renamenx = rename

    def copy(self):
        databases = [b"0", b"1", b"-1", b"99999999999", *NOT_INTEGERS]
        words = [[b"REPLACE"], [b"DB", self.random.choice(databases)], [b"x"], [b"DB", b"0"]]
        return [self.key(), self.key(), *self.options(words, 2)]

    def object(self):
        words = [b"ENCODING", b"refcount", b"IDLETIME", b"FREQ", b"HELP", b"nosuch"]
        return [self.random.choice(words), *self.maybe(self.key(), chance=0.9)]

    # the rest

    def flushall(self):
        rarely = self.random.random() < 0.1
        return [] if rarely else [b"nosuch"]

    def ping(self):
        return self.maybe(self.value())

    def echo(self):
        return [self.value()]

    def select(self):
        return [self.random.choice([b"0", b"0", b"1", b"-1", b"x", b"99999999999"])]

    def nosuch(self):
        return self.several(self.value)


RARE = ["flushall", "ping", "echo", "select", "nosuch", "dbsize", "randomkey", "object"]
HELPERS = {"command", "spoiled", "case", "pick", "key", "string_key", "hash_key", "field"}
HELPERS |= {"integer", "float", "value", "several", "pairs", "maybe", "options", "far_seconds"}
HELPERS |= {"wrong_end", "wrong_instant", "end", "conditions", "scan_options", "cursor"}
HELPERS |= {"expire_count"}
OFTEN = ["hset", "hincrby", "hincrbyfloat", "set", "incrbyfloat", "append", "getex", "hscan"]
ALL = [name for name in vars(Grammar) if not name.startswith("_") and name not in HELPERS]
NAMES = RARE + 4 * [name for name in ALL if name not in RARE] + 4 * OFTEN


# --- the wire


@dataclass
class Frame:
    """A reply: its bytes as they came, and what they mean."""

    raw: bytes
    kind: bytes
    value: bytes | list[Frame]


class Connection:
    def __init__(self, port: int, version: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")
        if version == 3:
            self.ask([[b"HELLO", b"3"]])

    def ask(self, commands: list[list[bytes]]) -> list[Frame]:
        self.socket.sendall(b"".join(map(encoded, commands)))
        return [self.frame() for _ in commands]

    def frame(self) -> Frame:
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=" and rest != b"-1":
            body = self.file.read(int(rest) + 2)
            return Frame(line + body, kind, body[:-2])
        if kind in b"*~%>" and rest != b"-1":
            elements = [self.frame() for _ in range(int(rest) * (2 if kind == b"%" else 1))]
            return Frame(line + b"".join(element.raw for element in elements), kind, elements)
        assert line.endswith(b"\r\n"), f"the connection ended behind {line!r}"
        return Frame(line, kind, rest)

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def encoded(command: list[bytes]) -> bytes:
    words = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)
    return b"*%d\r\n%s" % (len(command), words)


# --- what is the same


def comparable(command: list[bytes], frame: Frame, grammar: Grammar) -> object:
    """What must be equal of two replies: their bytes, but for what has no order, is random, tells
    the time, or is intended to differ."""
    name, count = command[0].upper(), len(frame.value)
    if frame.kind == b"-":
        return frame.raw
    if name in (b"HKEYS", b"HVALS", b"KEYS"):
        return frame.kind, sorted(element.raw for element in frame.value)
    if name == b"HGETALL":
        return frame.kind, pairs(frame.value)
    if name in (b"HSCAN", b"SCAN"):
        cursor, elements = frame.value
        together = pairs if name == b"HSCAN" else lambda all: sorted(each.raw for each in all)
        return cursor.raw, elements.kind, together(elements.value)
    if name == b"HRANDFIELD" and len(command) > 2 and int(command[2]) >= FIELDS_MAX:
        is_flat = len(command) > 3 and count > 0 and frame.value[0].kind == b"$"
        raw = sorted(element.raw for element in frame.value)
        return frame.kind, pairs(frame.value) if is_flat else raw
    if name in (b"HRANDFIELD", b"RANDOMKEY"):
        return frame.kind, frame.value == b"-1", count if frame.kind == b"*" else None
    if name in (b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME") and int(frame.value) > 0:
        return Near(int(frame.value), 5_000 if name.startswith(b"P") else 5)
    if name == b"OBJECT" and len(command) == 3 and frame.kind != b"_" and frame.value != b"-1":
        texts = [b"int", b"embstr", b"raw"]
        return frame.kind, frame.value in texts
    if name == b"DBSIZE" and grammar.has_past_end:
        return frame.kind
    return frame.raw


@dataclass
class Near:
    """A number that depends on the time."""

    number: int
    distance_max: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Near) and abs(self.number - other.number) <= self.distance_max


def pairs(elements: list[Frame]) -> list[bytes]:
    raw = [element.raw for element in elements]
    return sorted(name + value for name, value in zip(raw[::2], raw[1::2], strict=True))


# --- the test


@pytest.mark.parametrize("durability, part", [("never", 1), ("always", 10)])
def test_random_sessions_are_answered_as_by_redis(start_nowthen, redis_server, durability, part):
    ports = [start_nowthen("--durability", durability).port, redis_server.port]
    sessions = max(1, COMMANDS // SESSION_COMMANDS // part)
    for seed in range(FIRST_SEED, FIRST_SEED + sessions):
        connections = [Connection(port, 2 + seed % 2) for port in ports]
        run_session(seed, connections)
        for connection in connections:
            connection.close()


def run_session(seed: int, connections: list[Connection]) -> None:
    grammar = Grammar(seed)
    ask(seed, 0, connections, [[b"FLUSHALL"]], grammar)
    for start in range(0, min(COMMANDS, SESSION_COMMANDS), BATCH_COMMANDS):
        commands = [grammar.command() for _ in range(BATCH_COMMANDS)]
        ask(seed, start, connections, commands, grammar)
    state = [[b"DBSIZE"], [b"KEYS", b"*"], [b"SCAN", b"0", b"COUNT", b"1000"]]
    for key in KEYS:
        state += [[b"TYPE", key], [b"GET", key], [b"HGETALL", key], [b"PEXPIRETIME", key]]
    ask(seed, SESSION_COMMANDS, connections, state, grammar)


def ask(seed: int, start: int, connections: list[Connection], commands, grammar: Grammar) -> None:
    """Asks both servers, and compares what they answer."""
    ours, theirs = (connection.ask(commands) for connection in connections)
    for place, (command, our, their) in enumerate(zip(commands, ours, theirs, strict=True)):
        if comparable(command, our, grammar) == comparable(command, their, grammar):
            continue
        replay = f"NOWTHEN_DIFFERENTIAL_SEED={seed} NOWTHEN_DIFFERENTIAL_COMMANDS={SESSION_COMMANDS}"
        earlier = "\n".join(f"  {each!r}" for each in commands[max(0, place - 8) : place])
        pytest.fail(
            f"seed {seed}, command {start + place}: {command!r}\n"
            f"nowthen: {our.raw[:1000]!r}\nredis:   {their.raw[:1000]!r}\nbefore it:\n{earlier}\n"
            f"replay: {replay} pytest tests/python/test_differential.py",
            pytrace=False,
        )


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
    names = [name.strip("_").encode() for name in ALL if name not in RARE]
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
