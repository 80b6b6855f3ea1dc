"""Instructions and allocations a server spends on one request, by callgrind: steadier than any clock.

    python benches/instructions/run.py target/release/nowthen [another binary ...]

Each binary serves under valgrind, one thread, without durability. Counters are set to zero once
everything is warm, then so many requests are answered and the instructions divided by them: those
of the user's side of the process, not of the kernel. Allocations are calls of malloc and its like.
What the server does every second is a part of both. It needs valgrind, and no package of Python.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

REQUESTS = 4000
PIPELINE = 16
ENTITIES = 100
FIELDS = 50
WIDE = 200
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
START_SECONDS_MAX = 120

ALLOCATORS = {"malloc", "calloc", "realloc", "aligned_alloc", "memalign", "posix_memalign"}

DEFINITIONS = """
[entity.user]
join_keys = { user = "int64" }

[view.numbers]
entity = "user"
features = { %s }
"""


class Costs(NamedTuple):
    instructions: float
    allocations: float


def command(*words: str) -> bytes:
    bulks = b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)
    return b"*%d\r\n%s" % (len(words), bulks)


class Server:
    def __init__(self, binary: str, folder: Path):
        repository = folder / "features"
        repository.mkdir()
        features = ", ".join(f'f{i} = "float64"' for i in range(FIELDS))
        (repository / "features.toml").write_text(DEFINITIONS % features)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = [binary, "serve", "--data", folder / "data", "--repo", repository, "--port", str(port)]
        arguments += ["--http-port", "0", "--threads", "1", "--durability", "never"]
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        self.folder = folder
        self.process = subprocess.Popen(
            valgrind + arguments, **QUIET
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise SystemExit(f"{binary} does not start") from None
                time.sleep(0.2)
        self.replies = self.socket.makefile("rb")
        # It listens before its data is loaded.
        while not self.is_ready():
            time.sleep(0.2)
        # Under valgrind many a request is slow, and would be noted.
        self.ask([command("CONFIG", "SET", "slowlog-log-slower-than", "-1")])

    def is_ready(self) -> bool:
        self.socket.sendall(command("PING"))
        return self.replies.readline() == b"+PONG\r\n"

    def read(self) -> None:
        line = self.replies.readline()
        if line[:1] in b"-":
            raise SystemExit(f"an error: {line!r}")
        if line[:1] == b"$" and line != b"$-1\r\n":
            self.replies.read(int(line[1:]) + 2)
        elif line[:1] == b"*":
            for _ in range(int(line[1:])):
                self.read()

    def ask(self, requests: list[bytes]) -> None:
        for start in range(0, len(requests), PIPELINE):
            batch = requests[start : start + PIPELINE]
            self.socket.sendall(b"".join(batch))
            for _ in batch:
                self.read()

    def control(self, what: str) -> None:
        subprocess.run(
            ["callgrind_control", what, str(self.process.pid)], check=True, **QUIET
        )

    def costs(self, requests: list[bytes]) -> Costs:
        """What one of `requests` costs, which are asked once before."""
        self.ask(requests)
        self.control("--zero")
        self.ask(requests)
        before = set(self.folder.glob("out.*"))
        self.control("--dump")
        [dumped] = set(self.folder.glob("out.*")) - before
        profile = dumped.read_text()
        counted = re.search(r"^(?:summary|totals): (\d+)", profile, re.MULTILINE)
        if not counted:
            raise SystemExit(f"no total in {dumped}")
        return Costs(int(counted[1]) / len(requests), allocations(profile) / len(requests))


def allocations(profile: str) -> int:
    """How often the functions of ALLOCATORS were called, in a profile of callgrind.

    A call is `cfn=(number) name` and behind it `calls=count ...`; later mentions of a function have
    its number alone (https://valgrind.org/docs/manual/cl-format.html).
    """
    names = dict(re.findall(r"^c?fn=\((\d+)\) (.+)$", profile, re.MULTILINE))
    calls = re.findall(r"^cfn=\((\d+)\)[^\n]*\ncalls=(\d+)", profile, re.MULTILINE)
    return sum(int(count) for number, count in calls if names.get(number) in ALLOCATORS)


def measure(binary: str) -> dict[str, Costs]:
    values = [f"{i}.5" for i in range(FIELDS)]
    names = [f"f{i}" for i in range(FIELDS)]
    pairs = [word for pair in zip(names, values) for word in pair]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(binary, Path(folder))
        try:
            for entity in range(ENTITIES):
                server.ask([command("HSET", f"{kind}:{entity}", *pairs) for kind in ("user", "plain")])
                server.ask([command("SET", f"s:{entity}", "x" * 20)])
            wide_names = [f"f{i}" for i in range(WIDE)]
            wide_pairs = [word for i, name in enumerate(wide_names) for word in (name, f"{i}.5")]
            for entity in range(ENTITIES):
                server.ask([command("HSET", f"wide:{entity}", *wide_pairs)])
            key = lambda kind, i: f"{kind}:{i % ENTITIES}"  # noqa: E731
            many, few = range(REQUESTS), range(REQUESTS // ENTITIES)
            features = ["FEATURES", str(FIELDS), *(f"numbers:{name}" for name in names)]
            rows = ["FOR", "1", "user", "ROWS", str(ENTITIES), *map(str, range(ENTITIES))]
            batch = lambda form: [command("FS.GET", *features, *rows, "AS", form) for _ in few]  # noqa: E731
            return {
                "GET": server.costs([command("GET", key("s", i)) for i in many]),
                "HMGET 10 of 50, plain": server.costs(
                    [command("HMGET", key("plain", i), *names[:10]) for i in many]
                ),
                "HMGET 50 of 50, plain": server.costs(
                    [command("HMGET", key("plain", i), *names) for i in many]
                ),
                "HMGET 10 of 50, registered": server.costs(
                    [command("HMGET", key("user", i), *names[:10]) for i in many]
                ),
                "HMGET 50 of 50, registered": server.costs(
                    [command("HMGET", key("user", i), *names) for i in many]
                ),
                "HMGET 200 of 200, plain": server.costs(
                    [command("HMGET", key("wide", i), *wide_names) for i in many]
                ),
                "FS.GET 100 x 50 AS VECTOR": server.costs(batch("VECTOR")),
                "FS.GET 100 x 50 AS VALUES": server.costs(batch("VALUES")),
                "SET": server.costs([command("SET", key("s", i), "y" * 20) for i in many]),
                "HSET 20 of 50, registered": server.costs(
                    [command("HSET", key("user", i), *pairs[:40]) for i in many]
                ),
                "HSET 50 of 50, registered": server.costs(
                    [command("HSET", key("user", i), *pairs) for i in many]
                ),
                "HSET 1 of 50, plain": server.costs(
                    [command("HSET", key("plain", i), "f7", "8.5") for i in many]
                ),
            }
        finally:
            server.process.kill()
            server.process.wait()


def main() -> None:
    binaries = sys.argv[1:]
    if not binaries:
        raise SystemExit(__doc__)
    tables = [measure(binary) for binary in binaries]
    print(f"instructions, allocations per request, {PIPELINE} in a pipeline | " + " | ".join(binaries))
    for name, (first, first_allocations) in tables[0].items():
        others = [table[name] for table in tables[1:]]
        cells = [
            f"{other.instructions:.0f} ({other.instructions / first - 1:+.1%}), {other.allocations:.2f}"
            for other in others
        ]
        print(" | ".join([name, f"{first:.0f}, {first_allocations:.2f}", *cells]))


if __name__ == "__main__":
    main()
