"""Two replies to one command: read from the wire, and compared byte for byte.

    grammar --> batches, on two connections each --> both servers --> frames --> compared

Invariants
- Two frames differ unless they are the same bytes. What is exempt is random, has no order or tells
  the time in Redis itself (`comparable`), or stands in `INTENDED` (`test_differential.py`).
- What EXEC answers is compared command by command, as if each had been sent alone.

Not here: which commands are drawn (`grammar.py`).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from grammar import KEYS, Grammar, encoded

SESSION_COMMANDS = 400
BATCH_COMMANDS = 40
FIELDS_MAX = 200
# Ends that the grammar draws as instants lie behind this one, and all others long before it.
LATE_S = 3_900_000_000


# --- the wire


@dataclass
class Frame:
    """A reply: its bytes as they came, and what they mean."""

    raw: bytes
    kind: bytes
    value: bytes | list[Frame]

    @property
    def is_null(self) -> bool:
        return self.kind == b"_" or self.value == b"-1"


class Connection:
    """To one server; it knows what EXEC will run."""

    def __init__(self, port: int, version: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.file = self.socket.makefile("rb")
        self.queued: list[list[bytes]] = []
        if version == 3:
            self.ask([[b"HELLO", b"3"]])

    def ask(self, commands: list[list[bytes]], requests: bytes | None = None) -> list[Frame]:
        """Sends them at once, or what `requests` has of them, and reads all replies."""
        self.socket.sendall(requests or b"".join(map(encoded, commands)))
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


# --- what is the same


class Judge:
    """Says what must be equal of two replies: their bytes, but for what has no order, is random,
    tells the time, or is intended to differ.

    `is_live`: both servers answer now; otherwise one answered at another time, and an end that
    was given as a length of time cannot be told as an instant, nor an instant as a length.
    """

    def __init__(self, is_live: bool = True):
        self.is_live = is_live
        self.queued: list[list[bytes]] = []
        self.has_past_end = False

    def comparable(self, command: list[bytes], frame: Frame) -> object:
        name = command[0].upper()
        if frame.kind == b"-" or frame.raw == b"+QUEUED\r\n":
            return frame.raw
        if name == b"EXEC" and not frame.is_null:
            ran = zip(self.queued, frame.value, strict=True)
            return frame.kind, [self.comparable(command, element) for command, element in ran]
        special = getattr(self, "of_" + name.decode("ascii", "replace").lower(), None)
        return special(command, frame) if special else frame.raw

    def note(self, command: list[bytes], frame: Frame) -> None:
        """What the next replies of this connection depend on."""
        name = command[0].upper()
        if frame.raw == b"+QUEUED\r\n":
            self.queued = [*self.queued, command]
        elif name in (b"EXEC", b"DISCARD", b"RESET"):
            self.queued = []

    def of_keys(self, command: list[bytes], frame: Frame) -> object:
        return frame.kind, sorted(element.raw for element in frame.value)

    of_hkeys = of_hvals = of_keys

    def of_hgetall(self, command: list[bytes], frame: Frame) -> object:
        return frame.kind, pairs(frame.value)

    def of_hscan(self, command: list[bytes], frame: Frame) -> object:
        cursor, elements = frame.value
        return cursor.raw, elements.kind, pairs(elements.value)

    def of_scan(self, command: list[bytes], frame: Frame) -> object:
        cursor, elements = frame.value
        return cursor.raw, elements.kind, sorted(each.raw for each in elements.value)

    def of_hrandfield(self, command: list[bytes], frame: Frame) -> object:
        count = len(frame.value)
        if len(command) > 2 and int(command[2]) >= FIELDS_MAX:
            is_flat = len(command) > 3 and count > 0 and frame.value[0].kind == b"$"
            raw = sorted(element.raw for element in frame.value)
            return frame.kind, pairs(frame.value) if is_flat else raw
        return frame.kind, frame.is_null, count if frame.kind == b"*" else None

    of_randomkey = of_hrandfield

    def of_ttl(self, command: list[bytes], frame: Frame) -> object:
        if frame.kind == b"*":
            return [self.of_ttl(command, element) for element in frame.value]
        if frame.kind != b":" or int(frame.value) <= 0:
            return frame.raw
        name, number = command[0].upper(), int(frame.value)
        scale = 1000 if name.removeprefix(b"H").startswith(b"P") else 1
        if not self.is_live and name.endswith(b"EXPIRETIME"):
            return number if number > LATE_S * scale else "soon"
        if not self.is_live and number > 1_000_000_000 * scale:
            return "late"
        return Near(number, 5 * scale)

    of_pttl = of_expiretime = of_pexpiretime = of_ttl
    of_httl = of_hpttl = of_hexpiretime = of_hpexpiretime = of_ttl

    def of_object(self, command: list[bytes], frame: Frame) -> object:
        if len(command) != 3 or frame.is_null:
            return frame.raw
        return frame.kind, frame.value in [b"int", b"embstr", b"raw"]

    def of_dbsize(self, command: list[bytes], frame: Frame) -> object:
        return frame.kind if self.has_past_end else frame.raw

    def of_hello(self, command: list[bytes], frame: Frame) -> object:
        # Who answers, its version, the number of the connection, and its modules.
        told = dict(zip((each.value for each in frame.value[::2]), frame.value[1::2], strict=True))
        return frame.kind, [told[name].raw for name in (b"proto", b"mode", b"role")]

    def of_client(self, command: list[bytes], frame: Frame) -> object:
        return frame.kind if command[1].upper() == b"ID" else frame.raw


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


# --- sessions


def batches(grammar: Grammar, commands_max: int) -> Iterator[tuple[int, list[list[bytes]]]]:
    """Of a session: on which of two connections, and what is asked there at once."""
    count = 0
    while count < commands_max:
        if grammar.has_transactions and grammar.random.random() < 0.5:
            parts = list(contest(grammar))
        else:
            commands = [grammar.command() for _ in range(min(BATCH_COMMANDS, commands_max - count))]
            parts = [(grammar.random.randrange(2) if grammar.has_transactions else 0, commands)]
        yield from parts
        count += sum(len(commands) for _, commands in parts)


def contest(grammar: Grammar) -> Iterator[tuple[int, list[list[bytes]]]]:
    """A transaction, and what another connection does somewhere within it."""
    first = grammar.random.randrange(2)
    commands = grammar.transaction()
    middle = grammar.random.randint(0, len(commands))
    if middle > 0:
        yield first, commands[:middle]
    is_transaction = grammar.random.random() < 0.2
    within = [grammar.command() for _ in range(grammar.random.randint(0, 3))]
    yield 1 - first, grammar.transaction() if is_transaction or not within else within
    if middle < len(commands):
        yield first, commands[middle:]


class Session:
    """One seed on two servers, two connections each."""

    def __init__(self, seed: int, ports: list[int], grammar: Grammar, replay: str):
        self.seed, self.grammar, self.replay = seed, grammar, replay
        self.actors = [[Connection(port, 2 + seed % 2) for port in ports] for _ in range(2)]
        self.judges = [Judge(), Judge()]
        self.done = 0

    def run(self, commands_max: int) -> None:
        self.ask(0, self.grammar.opening())
        for actor, commands in batches(self.grammar, commands_max):
            self.ask(actor, commands)
        # By itself: what follows is then answered in RESP2.
        self.ask(0, [[b"RESET"]])
        self.ask(0, state(self.grammar))
        for connection in sum(self.actors, []):
            connection.close()

    def ask(self, actor: int, commands: list[list[bytes]]) -> None:
        """Asks both servers, and compares what they answer."""
        requests = b"".join(map(self.grammar.encoded, commands))
        answers = [connection.ask(commands, requests) for connection in self.actors[actor]]
        judge = self.judges[actor]
        for place, (command, our, their) in enumerate(zip(commands, *answers, strict=True)):
            judge.has_past_end = self.grammar.has_past_end
            if judge.comparable(command, our) != judge.comparable(command, their):
                self.fail(commands, place, our, their)
            judge.note(command, their)
        self.done += len(commands)

    def fail(self, commands: list[list[bytes]], place: int, our: Frame, their: Frame) -> None:
        earlier = "\n".join(f"  {each!r}"[:300] for each in commands[max(0, place - 8) : place])
        pytest.fail(
            f"seed {self.seed}, command {self.done + place}: {commands[place]!r}\n"
            f"nowthen: {our.raw[:1000]!r}\nredis:   {their.raw[:1000]!r}\nbefore it:\n{earlier}\n"
            f"replay: {self.replay}",
            pytrace=False,
        )


def state(grammar: Grammar) -> list[list[bytes]]:
    """Commands that tell all there is."""
    commands = [[b"DBSIZE"], [b"KEYS", b"*"], [b"SCAN", b"0", b"COUNT", b"1000"]]
    for key in KEYS:
        commands += [[b"TYPE", key], [b"GET", key], [b"HGETALL", key], [b"PEXPIRETIME", key]]
    return commands + grammar.state()
