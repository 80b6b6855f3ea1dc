"""What a server does while it loads: as Redis, it listens from the beginning and says LOADING."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import STOP_SECONDS_MAX, Nowthen
from resp import Wire, encode

LOADING = ("-", b"LOADING Redis is loading the dataset in memory")
PAIRS, PAIRS_A_REQUEST = 1_000_000, 1000
# Nothing that compresses: the bytes of the files count.
VALUES = random.Random(20261121).randbytes(PAIRS * 60)
FIGURES = ["loading_loaded_bytes", "loading_total_bytes", "loading_loaded_perc",
           "loading_eta_seconds", "loading_start_time"]


def value(at: int) -> bytes:
    return VALUES[at * 60 : at * 60 + 60]


@pytest.fixture(scope="module", params=["log", "snapshot"])
def filled(request, tmp_path_factory) -> Iterator[Nowthen]:
    """A server that has ended, with so much data that it can be watched while it loads."""
    arguments = ("--save", "", "--durability", "never", "--segment-bytes", "8388608")
    server = Nowthen(tmp_path_factory.mktemp("loading"), None, arguments)
    server.start()
    with Wire(server.port) as wire:
        for first in range(0, PAIRS, PAIRS_A_REQUEST):
            pairs = ((f"key:{at}", value(at)) for at in range(first, first + PAIRS_A_REQUEST))
            assert wire.ask("MSET", *(word for pair in pairs for word in pair)) == ("+", b"OK")
        if request.param == "snapshot":
            assert wire.ask("SAVE") == ("+", b"OK")
    assert server.stop() == 0
    yield server
    server.kill()
    shutil.rmtree(server.data)


@pytest.fixture
def stopped(filled) -> Iterator[Nowthen]:
    """The same, as it was; its output begins anew."""
    filled.output.write_text("")
    command = list(filled.command)
    yield filled
    filled.stop()
    filled.command = command


@contextmanager
def early(server: Nowthen) -> Iterator[Wire]:
    """Starts the server; a connection as soon as it takes one, and no later than it loads."""
    server.launch()
    deadline = time.monotonic() + 20
    while True:
        try:
            wire = Wire(server.port)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline and server.process.poll() is None
    with wire:
        yield wire


def persistence(wire: Wire) -> dict[str, str]:
    lines = wire.ask("INFO", "persistence")[1].decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_connection_of_the_first_moment_sees_it_load_and_then_works(stopped):
    with early(stopped) as wire:
        assert wire.ask("GET", "key:7") == LOADING
        assert stopped.http("/live")[0] == 200
        status, body = stopped.http("/ready")
        assert status == 503 and b'"detail"' in body and b'"error"' in body
        assert stopped.http("/metrics")[0] == stopped.http("/get-online-features", b"{}")[0] == 503
        for refused in ["PING", "DBSIZE", "FLUSHALL", "SAVE", "BGSAVE", "KEYS *", "FS.VIEWS"]:
            assert wire.ask(*refused.split()) == LOADING, refused
        assert wire.ask("SET", "key:7", "new") == LOADING
        assert wire.ask("CLIENT", "SETNAME", "early") == ("+", b"OK")
        assert wire.ask("MULTI") == ("+", b"OK")
        assert wire.ask("GET", "key:7") == LOADING
        assert wire.ask("EXEC")[1].startswith(b"EXECABORT")
        seen = []
        while (told := persistence(wire))["loading"] == "1":
            assert all(name in told for name in FIGURES)
            seen.append((int(told["loading_loaded_bytes"]), int(told["loading_total_bytes"])))
            time.sleep(0.001)
        assert not any(name in told for name in FIGURES)
        assert seen == sorted(seen) and len({done for done, _ in seen}) > 2, seen
        assert all(done <= total for done, total in seen) and seen[-1][1] > PAIRS * 50
        # The same connection, with what it said of itself.
        assert wire.ask("GET", "key:7") == ("$", value(7))
        assert wire.ask("DBSIZE") == (":", PAIRS)
        assert wire.ask("CLIENT", "GETNAME") == ("$", b"early")
        assert wire.ask("SET", "key:7", value(7)) == ("+", b"OK")
        assert stopped.http("/ready")[0] == stopped.http("/live")[0] == 200
    assert " is ready: " in stopped.output.read_text()


def test_the_password_counts_while_it_loads(stopped):
    stopped.command += ["--requirepass", "secret"]
    with early(stopped) as wire:
        assert wire.ask("GET", "key:7") == ("-", b"NOAUTH Authentication required.")
        assert wire.ask("AUTH", "secret") == ("+", b"OK")
        assert wire.ask("GET", "key:7") == LOADING


@pytest.mark.parametrize("how", ["SHUTDOWN", "SHUTDOWN SAVE", "SIGTERM"])
def test_a_stop_while_it_loads_is_quick_and_changes_nothing(stopped, how):
    # A log that is open already may have named its spare, which is empty, as its next segment.
    files = contents(stopped.data).items()
    before = {name: content for name, content in files if not name.endswith(".spare")}
    with early(stopped) as wire:
        assert wire.ask("GET", "key:7") == LOADING
        if how == "SIGTERM":
            stopped.process.terminate()
        else:
            wire.send(encode(*how.split()))
        assert stopped.process.wait(STOP_SECONDS_MAX) == 0
    assert " is ready: " not in stopped.output.read_text()
    # Segments are reserved in advance; nothing was ever written to those.
    after = contents(stopped.data)
    assert {name: after.get(name) for name in before} == before
    stopped.start()
    with Wire(stopped.port) as wire:
        assert wire.ask("DBSIZE") == (":", PAIRS)


def test_damage_ends_it_and_changes_nothing(stopped):
    largest = max(stopped.data.rglob("*.snap"), key=lambda path: path.stat().st_size, default=None)
    damaged = largest or min((stopped.data / "log").glob("wal-*.log"))
    whole = damaged.read_bytes()
    content = bytearray(whole)
    content[len(content) // 8] ^= 1
    damaged.write_bytes(content)
    before = contents(stopped.data)
    stopped.launch()
    while stopped.process.poll() is None:
        with suppress(OSError), Wire(stopped.port) as wire:
            assert wire.ask("GET", "key:7") == LOADING
    assert stopped.process.wait() == 65
    assert damaged.name in stopped.output.read_text()
    assert " is ready: " not in stopped.output.read_text()
    assert contents(stopped.data) == before
    with pytest.raises(ConnectionRefusedError):
        Wire(stopped.port)
    damaged.write_bytes(whole)
