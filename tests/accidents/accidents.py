"""Five accidents, each done alike to whichever server it is given.

Every accident writes, notes what was acknowledged, does its harm, starts the server again (or lets
it go on), and tells what became of what was acknowledged.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers import Peer

from acknowledgements import AcknowledgementList
from counting_writers import KINDS, Writer
from resp import Wire

KEYS = 100
VALUE = b"0.123456789"
ZEROS = 4096
DISK_BYTES = 24 << 20
LARGE_VALUE = "x" * 10_000
LOAD_SECONDS = 1.0


@dataclass
class Outcome:
    """What became of it."""

    # Exit status of the start after the accident, or of the server in the midst of it.
    refused: int | None = None
    stopped: int | None = None
    said: str = ""
    acknowledged: int = 0
    lost: int = 0
    wrong: int = 0
    # While the disk was full: the error of a write, and whether a read was answered.
    error: str = ""
    reads_went_on: bool = False
    resumed_after: float | None = None

    def __str__(self) -> str:
        parts = []
        if self.error:
            parts.append(f"writes get `{self.error}`")
            parts.append("reads go on" if self.reads_went_on else "reads fail")
        if self.stopped is not None:
            parts.append(f"the process ends (status {self.stopped})")
        if self.resumed_after is not None:
            parts.append(f"writes again by itself after {self.resumed_after:.1f} s")
        if self.refused is not None:
            parts.append(f"refuses to start (status {self.refused}): `{self.said}`")
        else:
            parts.append(f"of {self.acknowledged} acknowledged writes {self.lost} lost")
            parts.append(f"{self.wrong} wrong value{'' if self.wrong == 1 else 's'} served")
        return "; ".join(parts)


def flipped_bit(peer: Peer) -> Outcome:
    """A flipped bit in a value in the log: the 1 of 0.123456789 becomes a 9."""

    def harm(path: Path) -> None:
        log = bytearray(path.read_bytes())
        # The one in the middle: more was acknowledged after it.
        at = -1
        for _ in range(KEYS // 2):
            at = log.index(VALUE, at + 1)
        with path.open("r+b") as file:
            file.seek(at + 2)
            file.write(bytes([log[at + 2] ^ 0x08]))

    return damaged(peer, harm)


def zeros_behind(peer: Peer) -> Outcome:
    """4 KiB of zeros after the log, as a file system may leave them after a power cut."""

    def harm(path: Path) -> None:
        with path.open("ab") as file:
            file.write(bytes(ZEROS))

    return damaged(peer, harm)


def damaged(peer: Peer, harm: Callable[[Path], None]) -> Outcome:
    """Writes, kills, harms the log, and looks at what is served then."""
    assert peer.start() is None, peer.said()
    outcome = Outcome()
    with peer.wire() as wire:
        for key in range(KEYS):
            assert wire.ask("SET", f"key:{key}", VALUE) == ("+", b"OK")
            outcome.acknowledged += 1
    peer.kill()
    harm(peer.log_file())
    if start_again(peer, outcome):
        with peer.wire() as wire:
            values = [wire.ask("GET", f"key:{key}")[1] for key in range(KEYS)]
        outcome.lost = values.count(None)
        outcome.wrong = sum(value not in (None, VALUE) for value in values)
    return outcome


def start_again(peer: Peer, outcome: Outcome) -> bool:
    outcome.refused = peer.start()
    if outcome.refused is None:
        return True
    said = peer.said().strip().splitlines()
    outcome.said = said[-1] if said else ""
    return False


def full_disk(peer: Peer, is_killed_while_full: bool = False) -> Outcome:
    """A full disk, and its release; if told so, the process is killed in between. `peer` lives on a
    small disk of its own."""
    assert peer.start() is None, peer.said()
    outcome = Outcome()
    ballast = peer.folder / "ballast"
    ballast.write_bytes(bytes(DISK_BYTES // 4))
    acknowledged = []
    with peer.wire() as wire:
        try:
            while not outcome.error:
                key = f"key:{len(acknowledged)}"
                kind, text = wire.ask("SET", key, LARGE_VALUE)
                if kind == "+":
                    acknowledged.append(key)
                else:
                    outcome.error = text.decode(errors="replace")
            outcome.reads_went_on = wire.ask("GET", "key:0")[1] == LARGE_VALUE.encode()
        except OSError:
            outcome.stopped = peer.exit_status(10)
        if is_killed_while_full:
            peer.kill()
        ballast.unlink()
        if outcome.stopped is None and not is_killed_while_full:
            outcome.resumed_after = seconds_until_a_write(wire)
            acknowledged.append("resumed")
    peer.kill()
    outcome.acknowledged = len(acknowledged)
    if start_again(peer, outcome):
        with peer.wire() as wire:
            values = [wire.ask("GET", key)[1] for key in acknowledged]
        outcome.lost = values.count(None)
        outcome.wrong = sum(value not in (None, LARGE_VALUE.encode()) for value in values)
    return outcome


def seconds_until_a_write(wire: Wire) -> float:
    start = time.monotonic()
    while wire.ask("SET", "resumed", LARGE_VALUE)[0] != "+":
        assert time.monotonic() < start + 30, "it does not write again"
        time.sleep(0.05)
    return time.monotonic() - start


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system in memory with little room; only root can make one."""
    folder = Path(tempfile.mkdtemp(prefix="nowthen-full-"))
    size = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def can_mount() -> bool:
    return os.geteuid() == 0


def failing_sync(folder: Path) -> Path:
    """The program that lets one sync of another fail, compiled."""
    program = folder / "failing_sync"
    source = Path(__file__).with_name("failing_sync.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-o", program, source], check=True)
    return program


def failed_sync(peer: Peer, program: Path) -> Outcome:
    """One fsync or fdatasync fails in the midst of writes that wait for it."""
    status = peer.start((str(program), "0"))
    assert status is None, peer.said()
    outcome = Outcome()
    answerer = int(peer.said().split("\n", 1)[0])
    acknowledged = []
    with peer.wire() as wire:
        try:
            for count in range(KEYS):
                if count == KEYS // 2:
                    os.kill(answerer, 10)
                kind, text = wire.ask("SET", f"key:{count}", VALUE)
                if kind == "+":
                    acknowledged.append(f"key:{count}")
                else:
                    outcome.error = outcome.error or text.decode(errors="replace")
            outcome.reads_went_on = wire.ask("GET", "key:0")[1] == VALUE
        except OSError:
            outcome.stopped = peer.exit_status(10)
    peer.kill()
    outcome.acknowledged = len(acknowledged)
    if start_again(peer, outcome):
        with peer.wire() as wire:
            values = [wire.ask("GET", key)[1] for key in acknowledged]
        outcome.lost = values.count(None)
        outcome.wrong = sum(value not in (None, VALUE) for value in values)
    return outcome


def kill_under_load(peer: Peer) -> Outcome:
    """kill -9 while eight clients write; their acknowledgements are synced to a file outside."""
    assert peer.start() is None, peer.said()
    writers = [
        Writer(KINDS[kind], [f"{kind}:{place}_{n}" for n in range(3)], batch)
        for kind in ("hash", "string")
        for place, batch in enumerate((1, 1, 4, 4))
    ]
    keys = [key for writer in writers for key in writer.keys]
    noted = AcknowledgementList(peer.folder / "acknowledged", dict.fromkeys(keys, 0))
    threads = [
        threading.Thread(target=writer.write_until_killed, args=(peer.port, noted))
        for writer in writers
    ]
    for thread in threads:
        thread.start()
    time.sleep(LOAD_SECONDS)
    peer.kill()
    for thread in threads:
        thread.join()
    bounds = noted.read()
    noted.close()
    outcome = Outcome(acknowledged=sum(of_key.acked for of_key in bounds.values()))
    if start_again(peer, outcome):
        with peer.wire() as wire:
            for writer in writers:
                for key in writer.keys:
                    found = writer.found(wire, key) or 0
                    outcome.lost += max(0, bounds[key].acked - found)
                    outcome.wrong += found > bounds[key].sent
    return outcome
