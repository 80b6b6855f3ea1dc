"""`--recover`: a damaged directory is given up in part only by an operator who says so twice."""

from __future__ import annotations

import json

import pytest
from conftest import Nowthen, run_nowthen

KEYS = 40


@pytest.fixture
def damaged(start_nowthen) -> tuple[Nowthen, int]:
    """A killed server with a bit flipped in the record of one key in the middle of its log."""
    server = start_nowthen("--save", "")
    client = server.client()
    for n in range(KEYS):
        client.set(f"key:{n}", n)
    server.kill()
    (segment,) = (server.data / "log").glob("*.log")
    content = bytearray(segment.read_bytes())
    lost = 17
    content[content.index(b"key:17")] ^= 1
    segment.write_bytes(content)
    return server, lost


def files(server: Nowthen) -> dict:
    found = (path for path in server.data.rglob("*") if path.is_file() and path.name != "LOCK")
    return {path: path.read_bytes() for path in found}


def refused(server: Nowthen, *options: str):
    before = files(server)
    ended = run_nowthen(*server.command[1:], *options)
    assert files(server) == before, "something was changed"
    return ended


def test_a_damaged_log_stops_and_half_a_wish_changes_nothing(damaged):
    server, lost = damaged
    stopped = refused(server)
    assert stopped.returncode == 65
    assert f"LSN {lost + 1} to " in stopped.stderr
    for mode in ("point-in-time", "salvage"):
        half = refused(server, "--recover", mode)
        assert half.returncode == 1
        assert "expected --accept-data-loss with it" in half.stderr
    assert refused(server, "--accept-data-loss").returncode == 65
    unknown = refused(server, "--recover", "all", "--accept-data-loss")
    assert "strict-tail, point-in-time or salvage" in unknown.stderr


@pytest.mark.parametrize("mode", ["point-in-time", "salvage"])
def test_what_is_not_damaged_is_kept_and_a_copy_of_all(damaged, mode, monkeypatch):
    server, lost = damaged
    before = files(server)
    command = list(server.command)
    monkeypatch.setenv("NOWTHEN_RECOVER", mode)
    server.command = [*command, "--accept-data-loss"]
    server.start()
    kept = [n for n in range(KEYS) if n != lost and (mode == "salvage" or n < lost)]

    def check() -> None:
        client = server.client()
        assert sorted(client.scan_iter()) == sorted(f"key:{n}".encode() for n in kept)
        assert [int(client.get(f"key:{n}")) for n in kept] == kept

    check()
    # From here on the directory is as strict as any other, and the wish does nothing more.
    server.client().set("later", 1)
    server.client().delete("later")
    server.kill()
    server.start()
    check()
    server.kill()
    monkeypatch.delenv("NOWTHEN_RECOVER")
    server.command = command
    server.start()
    check()

    lines = [json.loads(line) for line in (server.data / "audit.log").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["recovery begun", "recovery done"]
    last = KEYS if mode == "point-in-time" else lost + 1
    assert lines[1]["mode"] == mode
    assert lines[1]["lost_lsn_ranges"] == [[lost + 1, last]]
    copies = server.data / "aside" / "recover-0"
    for path, content in before.items():
        if path.suffix != ".spare":
            assert (copies / path.relative_to(server.data)).read_bytes() == content
