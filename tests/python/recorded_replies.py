"""Replies of a newer Redis, kept: so that a test can compare with it where it cannot be had.

    python tests/python/recorded_replies.py <redis-server, 8.0 or newer>

runs sessions of `FieldGrammar` on that server, and writes `recorded/field_expiry.json`: per
session the version of RESP and a line for each command and its reply, byte for byte.

Invariants
- A command is its words, split by spaces; what would be in the way is escaped as in URLs. A reply
  is its bytes as Latin-1 characters.
- Commands are kept, not drawn again: the file means the same when the grammar changes.
- No reply depends on the time but as `Judge` allows (`differential.py`).
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from conftest import Server, free_ports
from differential import Connection, Frame, state
from field_grammar import FieldGrammar

FILE = Path(__file__).parent / "recorded" / "field_expiry.json"
SESSIONS = 120
SESSION_COMMANDS = 24


def record(program: str) -> None:
    with tempfile.TemporaryDirectory() as folder, newer_redis(program, Path(folder)) as server:
        sessions = [record_session(seed, server.port) for seed in range(SESSIONS)]
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    content = {"redis": told.stdout.split()[2].removeprefix("v="), "sessions": sessions}
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(content, indent=0) + "\n")


class newer_redis(Server):
    """A redis-server that keeps nothing; its process ends with the `with`."""

    def __init__(self, program: str, folder: Path):
        (port,) = free_ports(1)
        data = folder / "data"
        data.mkdir()
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)]
        super().__init__([*command, "--save", "", "--databases", "1"], port, data)

    def __enter__(self) -> newer_redis:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.kill()


def record_session(seed: int, port: int) -> dict:
    grammar = FieldGrammar(seed)
    version = 2 + seed % 2
    connection = Connection(port, version)
    connection.ask([[b"FLUSHALL"]])
    commands = [*grammar.opening()[1:], *(grammar.command() for _ in range(SESSION_COMMANDS))]
    commands += grammar.state() + state(grammar)[:3]
    told = zip(commands, connection.ask(commands), strict=True)
    connection.close()
    lines = [[written(command), reply.raw.decode("latin-1")] for command, reply in told]
    return {"resp": version, "replies": [text for line in lines for text in line]}


def written(command: list[bytes]) -> str:
    return " ".join(quote_from_bytes(word, safe="*?[]-+.:=") or '""' for word in command)


def read(line: str) -> list[bytes]:
    return [b"" if word == '""' else unquote_to_bytes(word) for word in line.split(" ")]


def frame(text: str) -> Frame:
    """The reply that was recorded."""
    connection = Connection.__new__(Connection)
    connection.file = io.BytesIO(text.encode("latin-1"))
    return connection.frame()


def recorded() -> dict:
    return json.loads(FILE.read_text())


if __name__ == "__main__":
    record(sys.argv[1])
