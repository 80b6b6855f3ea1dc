"""Writers that count up in keys of their own, each in its way, and how to read the count back.

Every write of a key holds the next count, in every part of it, so a torn or a mixed write shows.
A writer sends one batch, waits for all of its replies, and goes on until the connection ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from acknowledgements import AcknowledgementList
from resp import Wire, encode

KEYS_PER_WRITER = 3
PIPELINE = 4
# Every so many counts a key that can be deleted is.
DELETE_EVERY = 4
DEFINITIONS = """
[entity.counter]
join_keys = { counter_id = "string" }
[view.counts]
entity = "counter"
[view.counts.features]
n = "int64"
text = "string"
[view.others]
entity = "counter"
[view.others.features]
other = "float64"
"""


def padded(count: int) -> str:
    """Text that tells its counter, of a length that varies."""
    return f"{count}:" + "x" * (count * 37 % 400)


@dataclass
class Kind:
    """A way of writing a count."""

    key: str
    write: Callable[[str, int], tuple]
    read: Callable[[str], tuple]
    # What the read gives for a count; all None if there is no key.
    expected: Callable[[int], list[str]]
    is_registered: bool = False
    is_deleting: bool = False


def _fields(key: str) -> tuple:
    return ("HMGET", key, "n", "text")


def _text(count: int) -> list[str]:
    return [padded(count)]


def _number_and_text(count: int) -> list[str]:
    return [str(count), padded(count)]


def _set_or_delete(key: str, count: int) -> tuple:
    return ("DEL", key) if count % DELETE_EVERY == 0 else ("SET", key, padded(count))


KINDS = {
    "hash": Kind(
        "plain:{}", lambda key, n: ("HSET", key, "n", n, "text", padded(n)), _fields,
        _number_and_text,
    ),
    "string": Kind("string:{}", lambda key, n: ("SET", key, padded(n)), lambda key: ("GET", key), _text),
    "gone": Kind("gone:{}", _set_or_delete, lambda key: ("GET", key), _text, is_deleting=True),
    "pair": Kind(
        "pair:{}", lambda key, n: ("MSET", key, padded(n), f"{key}:other", padded(n)),
        lambda key: ("MGET", key, f"{key}:other"), lambda n: [padded(n), padded(n)],
    ),
    "entity": Kind(
        "counter:{}", lambda key, n: ("HSET", key, "n", n, "text", padded(n)), _fields,
        _number_and_text, is_registered=True,
    ),
    "rows": Kind(
        "counter:{}",
        lambda key, n: ("FS.SET", "counts", "EVENT", "NOW", "ROWS", 1, "FEATURES", 2, "n", "text",
                        key.split(":")[1], n, padded(n)),
        _fields, _number_and_text, is_registered=True,
    ),
}  # fmt: skip


@dataclass
class Writer:
    """Counts up in keys of its own."""

    kind: Kind
    keys: list[str]
    batch: int
    counts: dict[str, int] = field(default_factory=dict)
    refused: list = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = dict.fromkeys(self.keys, 0)

    def write_until_killed(self, port: int, noted: AcknowledgementList) -> None:
        acked: list = []
        try:
            with Wire(port) as wire:
                while True:
                    acked = self.write(wire, noted, acked)
        except OSError:
            return

    def write(self, wire: Wire, noted: AcknowledgementList, acked: list) -> list:
        """Sends one batch; what was acknowledged of it."""
        batch = []
        for _ in range(self.batch):
            key = self.keys[sum(self.counts.values()) % len(self.keys)]
            self.counts[key] += 1
            batch.append((key, self.counts[key]))
        noted.note([*acked, *(("sent", key, count) for key, count in batch)])
        wire.send(b"".join(encode(*self.kind.write(key, count)) for key, count in batch))
        acked = []
        try:
            for key, count in batch:
                reply = wire.read()
                if reply[0] == "-":
                    self.refused.append(reply)
                else:
                    acked.append(("acked", key, count))
        except OSError:
            noted.note(acked)
            raise
        return acked

    def found(self, wire: Wire, key: str) -> int | None:
        """The count that the server has; None if it has no such key."""
        _, values = wire.ask(*self.kind.read(key))
        values = [value for _, value in values] if isinstance(values, list) else [values]
        if values == [None] * len(values):
            return None
        count = int(values[-1].split(b":")[0])
        expected = [text.encode() for text in self.kind.expected(count)]
        assert values == expected, f"{key}: never sent so: {values}"
        return count


def eight_writers(is_registered: bool) -> list[Writer]:
    """Half of them send one command at a time, half send several; registered entities or none."""
    names = ["hash", "string", "gone", "pair"]
    if is_registered:
        names = ["hash", "gone", "entity", "rows"]
    return [
        Writer(
            KINDS[name],
            [KINDS[name].key.format(f"{name}_{batch}_{n}") for n in range(KEYS_PER_WRITER)],
            batch,
        )
        for name in names
        for batch in (1, PIPELINE)
    ]
