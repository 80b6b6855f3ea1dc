"""SIGKILL under eight writers in mode `always`: what was acknowledged is there, nothing else is.

```text
writer: counter 1, 2, 3 ... to each of its keys ──> sent      noted before the bytes leave
                                                 <── acked     noted when the reply is there
after the restart, for every key:   acked <= value <= sent
```
Both fields of a key are written by one command with the same counter, so a torn write shows. The
data directory is the same through all cycles; what a cycle finds is where the next one goes on. In
some cycles a snapshot is being written, or just was, when the kill comes.

`NOWTHEN_KILL_CYCLES` sets the number of cycles, `NOWTHEN_KILL_SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from conftest import Nowthen
from resp import Wire, encode

CYCLES = int(os.environ.get("NOWTHEN_KILL_CYCLES", "100"))
SEED = int(os.environ.get("NOWTHEN_KILL_SEED", random.randrange(2**32)))
ALIVE_SECONDS = (0.05, 0.3)
KEYS_PER_WRITER = 3
PIPELINE = 4
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

Command = Callable[[str, int], tuple]


def padded(count: int) -> str:
    """Text that tells its counter, of a length that varies."""
    return f"{count}:" + "x" * (count * 37 % 400)


# How a writer writes, and under which name its keys stand.
WRITERS: dict[str, tuple[str, Command]] = {
    "hash": ("plain:{}", lambda key, n: ("HSET", key, "n", n, "text", padded(n))),
    "string": ("string:{}", lambda key, n: ("SET", key, padded(n))),
    "entity": ("counter:{}", lambda key, n: ("HSET", key, "n", n, "text", padded(n))),
    "rows": (
        "counter:{}",
        lambda key, n: ("FS.SET", "counts", "EVENT", "NOW", "ROWS", 1, "FEATURES", 2, "n", "text",
                        key.split(":")[1], n, padded(n)),
    ),
}  # fmt: skip


@dataclass
class Writer:
    """Counts up in keys of its own; remembers what it sent and what was acknowledged."""

    kind: str
    place: int
    sent: dict[str, int] = field(default_factory=dict)
    acked: dict[str, int] = field(default_factory=dict)
    refused: list = field(default_factory=list)

    def __post_init__(self) -> None:
        name, self.command = WRITERS[self.kind]
        self.keys = [name.format(f"{self.kind}_{self.place}_{n}") for n in range(KEYS_PER_WRITER)]
        self.sent = dict.fromkeys(self.keys, 0)
        self.acked = dict.fromkeys(self.keys, 0)

    def write_until_killed(self, port: int) -> None:
        """Half of the writers send one command at a time, half send several."""
        count = PIPELINE if self.place % 2 else 1
        try:
            with Wire(port) as wire:
                while True:
                    self.write(wire, count)
        except OSError:
            return

    def write(self, wire: Wire, count: int) -> None:
        batch = []
        for _ in range(count):
            key = self.keys[sum(self.sent.values()) % KEYS_PER_WRITER]
            self.sent[key] += 1
            batch.append((key, self.sent[key]))
        wire.send(b"".join(encode(*self.command(key, n)) for key, n in batch))
        for key, n in batch:
            reply = wire.read()
            if reply[0] == "-":
                self.refused.append(reply)
            else:
                self.acked[key] = n

    def check(self, wire: Wire) -> None:
        """Every key holds a count from the last acknowledged to the last sent; then goes on there."""
        assert not self.refused, self.refused[:3]
        for key in self.keys:
            found = self.found(wire, key)
            assert self.acked[key] <= found <= self.sent[key], (
                f"{key}: acknowledged {self.acked[key]}, sent {self.sent[key]}, found {found}"
            )
            self.acked[key] = self.sent[key] = found

    def found(self, wire: Wire, key: str) -> int:
        if self.kind == "string":
            fields = [wire.ask("GET", key)[1]]
        else:
            fields = [value for _, value in wire.ask("HMGET", key, "n", "text")[1]]
        if fields == [None] * len(fields):
            return 0
        count = int(fields[-1].split(b":")[0])
        expected = [str(count).encode(), padded(count).encode()]
        assert fields == expected[-len(fields) :], f"{key}: never sent so: {fields}"
        return count


def test_no_acknowledged_write_is_lost_by_sigkill(start_nowthen):
    print(f"repeat with NOWTHEN_KILL_SEED={SEED}")
    chance = random.Random(SEED)
    server = start_nowthen("--durability", "always", definitions=DEFINITIONS)
    writers = [Writer(kind, place) for kind in WRITERS for place in range(2)]
    assert len(writers) == 8
    for cycle in range(CYCLES):
        try:
            saves_after = chance.uniform(0, 2 * ALIVE_SECONDS[1])
            kill_under(server, writers, chance.uniform(*ALIVE_SECONDS), saves_after)
            server.start()
            with Wire(server.port) as wire:
                for writer in writers:
                    writer.check(wire)
                assert wire.ask("DBSIZE") == (":", keys_written(writers))
        except (AssertionError, RuntimeError) as error:
            raise AssertionError(f"seed {SEED}, cycle {cycle}: {error}") from error
    counts = [sum(writer.acked.values()) for writer in writers]
    assert min(counts) > CYCLES, f"the writers hardly wrote: {counts}"


def kill_under(server: Nowthen, writers: list[Writer], seconds: float, saves_after: float) -> None:
    """Kills after `seconds`; a snapshot begins before that, if `saves_after` is shorter."""
    threads = [
        threading.Thread(target=writer.write_until_killed, args=(server.port,), daemon=True)
        for writer in writers
    ]
    for thread in threads:
        thread.start()
    if saves_after < seconds:
        time.sleep(saves_after)
        with Wire(server.port) as wire:
            assert wire.ask("BGSAVE")[0] == "+"
        seconds -= saves_after
    time.sleep(seconds)
    server.kill()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def keys_written(writers: list[Writer]) -> int:
    return sum(count > 0 for writer in writers for count in writer.acked.values())


def test_a_key_deleted_before_sigkill_stays_deleted(start_nowthen):
    """Plain keys and entities; a later write with an older event does not bring them back."""
    server = start_nowthen(definitions=DEFINITIONS)
    client = server.client()
    client.hset("counter:a", mapping={"n": 1, "text": "x"})
    client.hset("plain", "f", "v")
    assert client.delete("counter:a", "plain") == 2
    server.kill()
    server.start()
    client = server.client()
    assert client.exists("counter:a", "plain") == 0
    old = ("FS.SET", "counts", "EVENT", "2020-01-01T00:00:00Z", "ROWS", 1, "FEATURES", 1, "n", "a", 7)
    assert client.execute_command(*old) == [0, 1]
    assert client.hget("counter:a", "n") is None
