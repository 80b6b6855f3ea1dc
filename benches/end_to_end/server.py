"""A server for the benches beside this: started, met by redis-py, killed at the end."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import redis

ROOT = Path(__file__).parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RELEASE_BINARY = TARGET / "release" / "nowthen"
START_SECONDS_MAX = 60
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Server:
    """Runs `command` with a port of its own, on some cores."""

    def __init__(self, command: Sequence[object], cores: Sequence[int]):
        self.port = free_port()
        words = ["taskset", "-c", ",".join(map(str, cores)), *command, "--port", self.port]
        # taskset becomes what it starts.
        self.process = subprocess.Popen([str(word) for word in words], **QUIET)
        self.client = redis.Redis(host="127.0.0.1", port=self.port)

    def __enter__(self) -> Server:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.__exit__()
                raise SystemExit(f"{self.process.args} does not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def cpu_seconds(self) -> float:
        """Of the server's own side and of the kernel's."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def redis_server(folder: str, cores: Sequence[int]) -> Server:
    command = ["redis-server", "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
    return Server(command, cores)


def nowthen(binary: Path, folder: str, definitions: str, cores: Sequence[int], *more: str) -> Server:
    repository = Path(folder, "features")
    repository.mkdir()
    (repository / "features.toml").write_text(definitions)
    command = [binary, "serve", "--data", Path(folder, "data"), "--repo", repository]
    return Server([*command, "--http-port", free_port(), "--save", "", *more], cores)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
